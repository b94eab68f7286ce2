"""Calls to HubSpot, one method each, and the paging that belongs to them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from connector.errors import MissingScope, PlatformRefused
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.paths import Endpoint
from connector.transport import Call, Reply, Transport

Record = Mapping[str, Any]

#: Characters of a search's body that are accepted beyond doubt.
WIDE_SEARCH = 3000


class Api:
    """HubSpot's endpoints over a transport. `limits` is the manifest's table."""

    def __init__(self, transport: Transport, version: str, limits: Mapping[str, Any]) -> None:
        self._transport, self._version = transport, version
        self.sizes: Mapping[str, int] = limits["pages"]
        self._longest_url: int = limits["url"]["longest"]
        self._wide_search = True

    def now(self) -> datetime:
        """The present on HubSpot's clock (aware, UTC)."""
        return self._transport.platform_now()

    def call(
        self,
        endpoint: Endpoint,
        object_name: str = "",
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        accept: tuple[int, ...] = (),
        to: str = "",
        **parts: str,
    ) -> Reply:
        """Any endpoint. All of ours may be repeated: creations answer 409 the second time."""
        keep = {name: f"{{{name}}}" for name in parts}
        template = endpoint.path.format(version=self._version, object=object_name, to=to, **keep)
        path = template.format(**{name: quote(part, safe="") for name, part in parts.items()})
        call = Call(endpoint.method, template, path, endpoint.budgets, params=params, json=json, accept=accept)
        try:
            return self._transport.send(call)
        except MissingScope as error:
            # Not every 403 names what it misses.
            if error.scope != "unknown":
                raise
            scope = paths.scope_of(endpoint, object_name)
            raise MissingScope(str(error).replace("scope unknown", f"scope {scope}"), scope) from None

    def list_page(
        self,
        object_name: str,
        properties: Sequence[str],
        *,
        after: str | None = None,
        history: Sequence[str] = (),
        associations: Sequence[str] = (),
        archived: bool = False,
    ) -> tuple[list[Record], str | None]:
        """(records, after), ordered by id; `after` is None on the last page."""
        params: dict[str, Any] = {"limit": self.sizes["list_with_history" if history else "list"]}
        if archived:
            params["archived"] = "true"
        for name, values in (
            ("properties", properties),
            ("propertiesWithHistory", history),
            ("associations", associations),
        ):
            if values:
                params[name] = ",".join(values)
        if after is not None:
            params["after"] = after
        return records_and_after(self.call(paths.LIST, object_name, params=params).body)

    def fits_url(self, properties: Sequence[str], history: Sequence[str]) -> bool:
        """Whether a list call can name all these properties (HubSpot answers 414 to long URLs)."""
        # A comma becomes %2C; 600 is ample for host, path and the other parameters.
        return sum(len(name) + 3 for name in (*properties, *history)) + 600 <= self._longest_url

    def search(
        self, object_name: str, filters: Sequence[Mapping[str, Any]], properties: Sequence[str]
    ) -> tuple[int, list[Record]]:
        """(total, first page) of the records that meet all filters, ascending by id.

        Whether a body beyond 3,000 characters is refused, HubSpot's sources disagree about: where it is, ids are
        searched and the properties read in batches.
        """
        if self._wide_search or not _is_wide(properties):
            try:
                return self._search(object_name, filters, properties)
            except PlatformRefused as error:
                if error.status != 400 or not _is_wide(properties):
                    raise
                self._wide_search = False
        total, found = self._search(object_name, filters, ("hs_object_id",))
        read = self.read_batch(object_name, [str(record["id"]) for record in found], properties)
        return total, sorted(read, key=lambda record: int(record["id"]))

    def _search(
        self, object_name: str, filters: Sequence[Mapping[str, Any]], properties: Sequence[str]
    ) -> tuple[int, list[Record]]:
        body = {
            "filterGroups": [{"filters": list(filters)}] if filters else [],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": list(properties),
            "limit": self.sizes["search"],
        }
        reply = self.call(paths.SEARCH, object_name, json=body).body
        return int(reply.get("total") or 0), list(reply.get("results") or ())

    def read_batch(
        self, object_name: str, ids: Sequence[str], properties: Sequence[str], history: Sequence[str] = ()
    ) -> list[Record]:
        """Records by id, in HubSpot's order; those it does not know are missing (a 207 lists them)."""
        found: list[Record] = []
        size = self.sizes["batch_with_history" if history else "batch"]
        for start in range(0, len(ids), size):
            body = {
                "properties": list(properties),
                "propertiesWithHistory": list(history),
                "inputs": [{"id": record} for record in ids[start : start + size]],
            }
            found += self.call(paths.BATCH_READ, object_name, json=body).body.get("results") or ()
        return found

    def associations(self, object_name: str, to: str, ids: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
        """record id -> its associations ({toObjectId, associationTypes}); ids without any are left out.

        A record with many is paged on: its `paging.next.after` goes into the next call's inputs.
        """
        found: dict[str, list[Mapping[str, Any]]] = {}
        waiting: list[dict[str, str]] = [{"id": record} for record in ids]
        while waiting:
            size = self.sizes["associations"]
            inputs, waiting = waiting[:size], waiting[size:]
            reply = self.call(paths.ASSOCIATIONS, object_name, to=to, json={"inputs": inputs})
            for result in reply.body.get("results") or ():
                record = str(result["from"]["id"])
                found.setdefault(record, []).extend(result.get("to") or ())
                after = after_of(result)
                if after is not None:
                    waiting.append({"id": record, "after": after})
        return found

    def forms(self) -> Iterator[Record]:
        """All form definitions."""
        after: str | None = None
        while True:
            params = {"limit": self.sizes["forms"]} | ({} if after is None else {"after": after})
            records, after = records_and_after(self.call(paths.FORMS, params=params).body)
            yield from records
            if after is None:
                return


def _is_wide(properties: Sequence[str]) -> bool:
    """Whether a search that names these properties may be refused for its length; 500 for all else in it."""
    return sum(len(name) + 4 for name in properties) + 500 > WIDE_SEARCH


def records_and_after(body: Mapping[str, Any]) -> tuple[list[Record], str | None]:
    """A page's results and where the next page begins."""
    return list(body.get("results") or ()), after_of(body)


def after_of(page: Mapping[str, Any]) -> str | None:
    """`paging.next.after`; `paging` is absent on the last page."""
    after = ((page.get("paging") or {}).get("next") or {}).get("after")
    return None if after in (None, "") else str(after)
