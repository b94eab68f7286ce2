"""Members of the lists that filters name. A list does not tell what changed, so each is read wholly every time."""

from collections.abc import Iterator
from typing import Any

from connector.errors import MissingScope
from connector.platform import Page
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api, Record, records_and_after
from connector.platforms.hubspot.client.paging import Fetched, pages
from connector.platforms.hubspot.reading import Reading, to_table

STREAM = "lists"


def pull(reading: Reading) -> Iterator[Page]:
    """A page a list; the cursor holds the lists whose members are known. A list that HubSpot does not know is none
    of them, nor, once the scope is missing, what was not read before it was missed: the cursor names that scope.
    Raises MissingScope."""
    known = set(reading.cursor(STREAM).get("lists", ())) & set(reading.request.lists)
    read: list[str] = []
    for list_id in reading.request.lists:
        try:
            found = members(reading.api, list_id)
        except MissingScope as error:
            yield Page(STREAM, cursor={"lists": read, "missing_scope": error.scope})
            raise
        rows = [
            {
                "list_id": list_id,
                "contact_id": str(one["recordId"]),
                "added_at": words.second(one.get("membershipTimestamp")),
            }
            for one in found or ()
        ]
        read += [] if found is None else [list_id]
        known = known - {list_id} if found is None else known | {list_id}
        table = to_table("list_members", rows)
        yield Page(STREAM, {"list_members": table}, {"lists": sorted(known)}, {"list_members": [list_id]})


def members(api: Api, list_id: str) -> list[Record] | None:
    """All memberships of a list; None where there is no such list. Raises MissingScope."""
    unknown = False

    def fetch(after: str | None) -> Fetched:
        nonlocal unknown
        reply = _page(api, list_id, api.sizes["list_members"], after)
        unknown = unknown or reply is None
        return records_and_after(reply or {})

    found = [one for records, _ in pages(fetch) for one in records]
    return None if unknown else found


def count(api: Api, list_id: str) -> int | None:
    """How many members a list has; None where there is no such list. Raises MissingScope."""
    body = _page(api, list_id, 1, None)
    return None if body is None else int(body.get("total") or 0)


def _page(api: Api, list_id: str, limit: int, after: str | None) -> Any:
    params = {"limit": limit} | ({} if after is None else {"after": after})
    reply = api.call(paths.MEMBERSHIPS, params=params, list=list_id, accept=(404,))
    return None if reply.status == 404 else reply.body
