"""Calls to Salesforce: any endpoint, queries with their paging, descriptions, writes of up to 200 records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from connector.errors import MissingScope, PlatformRefused
from connector.platforms.salesforce.client import paths
from connector.platforms.salesforce.client.paths import Endpoint
from connector.transport import Call, Reply, Transport

Record = Mapping[str, Any]

#: Codes by which Salesforce says that an object or a field is not there for this user.
OUT_OF_SIGHT = frozenset(
    {
        "INVALID_TYPE",
        "INVALID_FIELD",
        "NOT_FOUND",
        "INSUFFICIENT_ACCESS",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INVALID_TYPE_FOR_OPERATION",
        "API_DISABLED_FOR_ORG",
        "INVALIDENTITY",
    }
)

#: What our writes are told apart by in Salesforce's change events.
CLIENT = "client=leadlight"


@dataclass(frozen=True)
class QueryPage:
    """A page of a REST query: how many rows there are in all, those of this page, and where the next one is."""

    total: int
    records: list[dict[str, Any]]
    more: str | None


class Api:
    """Salesforce's endpoints over a transport. `limits` is the manifest's table, `version` like 'v68.0'."""

    def __init__(self, transport: Transport, version: str, limits: Mapping[str, Any]) -> None:
        self._transport, self.version, self.limits = transport, version, limits
        self.sizes: Mapping[str, int] = limits["pages"]

    def now(self) -> datetime:
        """The present on Salesforce's clock (aware, UTC)."""
        return self._transport.platform_now()

    def call(
        self,
        endpoint: Endpoint,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        raw: bool = False,
        repeatable: bool = True,
        accept: tuple[int, ...] = (),
        object_name: str = "",
        **parts: str,
    ) -> Reply:
        """Any endpoint. A creation of a job that broke off is not repeatable: there would be two.

        Raises MissingScope for what this user may not see, whatever the status that says so; PlatformRefused (404)
        for a job that is gone.
        """
        keep = {part: f"{{{part}}}" for part in parts}
        template = endpoint.path.format(version=self.version, object=object_name, **keep)
        path = template.format(**{part: quote(value, safe="") for part, value in parts.items()})
        call = Call(
            endpoint.method,
            template,
            path,
            endpoint.budgets,
            repeatable=repeatable,
            params=params,
            json=json,
            data=data,
            headers={"Sforce-Call-Options": CLIENT, **(headers or {})},
            raw=raw,
            accept=accept,
        )
        try:
            return self._transport.send(call)
        except (MissingScope, PlatformRefused) as error:
            raise _worded(error, object_name) from None

    def query(self, soql: str, *, everything: bool = False, object_name: str = "") -> QueryPage:
        """A query's first page; `everything`: with deleted and archived records."""
        endpoint = paths.QUERY_ALL if everything else paths.QUERY
        return _page(self.call(endpoint, params={"q": soql}, object_name=object_name).body)

    def more(self, where: str) -> QueryPage:
        """The next page; `where` is `nextRecordsUrl` as it came."""
        parts = urlsplit(where)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        template = paths.QUERY.path.format(version=self.version) + "/{locator}"
        headers = {"Sforce-Call-Options": CLIENT}
        return _page(self._transport.send(Call("GET", template, path, paths.QUERY.budgets, headers=headers)).body)

    def rows(self, soql: str, *, everything: bool = False, object_name: str = "") -> Iterator[dict[str, Any]]:
        """All rows of a query, page by page."""
        page = self.query(soql, everything=everything, object_name=object_name)
        yield from page.records
        while page.more is not None:
            page = self.more(page.more)
            yield from page.records

    def count(self, soql: str, object_name: str) -> int:
        """The rows that a counting query finds."""
        return self.query(soql, object_name=object_name).total

    def fits_url(self, soql: str) -> bool:
        """Whether a query can go by GET (Salesforce answers 414 or 431 to long ones)."""
        return len(urlencode({"q": soql})) + 200 <= int(self.limits["url"]["longest"])

    def describe(self, object_name: str) -> list[Record]:
        """An object's fields, as far as this user may see them. Raises MissingScope."""
        return list(self.call(paths.DESCRIBE, object_name=object_name).body.get("fields") or ())

    def update(self, records: Sequence[Mapping[str, Any]]) -> Reply:
        """Update at most 200 records of at most ten runs of one type each; one result a record, in order."""
        return self.call(paths.COLLECTIONS, json={"allOrNone": False, "records": list(records)})


def _page(body: Mapping[str, Any]) -> QueryPage:
    records = [{key: value for key, value in record.items() if key != "attributes"} for record in body["records"]]
    done = body.get("done", True)
    return QueryPage(int(body.get("totalSize") or 0), records, None if done else body.get("nextRecordsUrl"))


def _worded(error: MissingScope | PlatformRefused, object_name: str) -> MissingScope | PlatformRefused:
    """What is out of this user's sight, as a missing right that names the object."""
    code = error.scope if isinstance(error, MissingScope) else error.code
    if code not in OUT_OF_SIGHT and not isinstance(error, MissingScope):
        return error
    if code == "NOT_FOUND" and not object_name:
        return error
    right = f"read access to {object_name}" if object_name else str(code)
    text = str(error).partition(": the token lacks")[0].rstrip(".")
    return MissingScope(f"{text}: the integration user lacks {right}.", right)
