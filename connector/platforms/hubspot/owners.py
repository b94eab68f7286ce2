"""Names of the people who own contacts. There are few, and nothing tells what changed: all are read every time."""

from collections.abc import Iterator

from connector.platform import OWNERS, Page
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api, Record, records_and_after
from connector.platforms.hubspot.client.paging import Fetched, pages
from connector.platforms.hubspot.reading import Reading


def pull(reading: Reading) -> Iterator[Page]:
    """One page without rows: the names are the cursor. Raises MissingScope."""
    yield Page(OWNERS, {}, {"names": names(reading.api)})


def names(api: Api) -> dict[str, str]:
    """Owner id -> name, of owners in use; one without a name is left out, as its address is nobody's business."""

    def fetch(after: str | None) -> Fetched:
        params = {"limit": api.sizes["owners"]} | ({} if after is None else {"after": after})
        return records_and_after(api.call(paths.OWNERS, params=params).body)

    found = {str(one["id"]): _name(one) for records, _ in pages(fetch) for one in records}
    return {ident: name for ident, name in found.items() if name}


def _name(owner: Record) -> str:
    parts = (str(owner.get(key) or "").strip() for key in ("firstName", "lastName"))
    return " ".join(part for part in parts if part)
