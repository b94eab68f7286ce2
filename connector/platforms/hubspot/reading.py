"""What every stream needs to read, and small steps that they share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from connector.platform import Account, Known, PullRequest
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client.api import Api, Record
from connector.platforms.hubspot.definitions import Definition
from connector.platforms.rows import Row, filled, to_table
from connector.platforms.values import details_json

__all__ = [
    "Reading",
    "Row",
    "details_json",
    "filled",
    "history_rows",
    "modified",
    "news_and_echoes",
    "ours_json",
    "stored_json",
    "to_table",
]


@dataclass
class Reading:
    """One pull: where to read, what is known, what is asked, and what this pull has found out so far."""

    api: Api
    known: Known
    request: PullRequest
    account: Account
    #: Seconds before a cursor in which the search index is not trusted to have been complete.
    lookback: int
    #: Definitions by object ('contacts'), fetched once a pull.
    definitions: Mapping[str, Mapping[str, Definition]] = field(default_factory=dict)
    #: Properties taken, by object.
    chosen: dict[str, Sequence[str]] = field(default_factory=dict)
    #: Types of our own properties by name ('number', 'datetime' …), of contacts and of companies.
    ours: Mapping[str, str] = field(default_factory=dict)
    company_ours: Mapping[str, str] = field(default_factory=dict)
    #: Companies can be read, so that contacts may be asked for theirs.
    companies: bool = True

    def cursor(self, stream: str) -> Mapping[str, Any]:
        """The stream's cursor, {} where there is none (or all is wanted again)."""
        return {} if self.request.full else self.known.cursor(stream) or {}

    def now(self) -> datetime:
        """HubSpot's present as naive UTC, whole seconds."""
        return self.api.now().replace(tzinfo=None, microsecond=0)


def history_rows(object_name: str, record: Record, observed_at: datetime) -> Iterator[Row]:
    """`property_history` from a record's propertiesWithHistory (newest first there)."""
    for name, entries in (record.get("propertiesWithHistory") or {}).items():
        for entry in entries or ():
            changed_at = words.second(entry.get("timestamp"))
            if changed_at is not None:
                yield {
                    "object": object_name,
                    "object_id": str(record["id"]),
                    "property": name,
                    "value": entry.get("value") or None,
                    "changed_at": changed_at,
                    "observed_at": observed_at,
                    "source": entry.get("sourceType"),
                }


def modified(record: Record, object_name: str) -> datetime | None:
    """When a record changed last, by the property that searches filter on; all digits."""
    name = words.MODIFIED.get(object_name, words.MODIFIED_ELSEWHERE)
    return words.instant((record.get("properties") or {}).get(name) or record.get("updatedAt"))


def ours_json(record: Record, kinds: Mapping[str, str]) -> str:
    """A record's values of our properties, as the mirror keeps them."""
    given = record.get("properties") or {}
    return words.record_json({name: words.from_hubspot(kind, given.get(name)) for name, kind in kinds.items()})


def stored_json(record: Record, skip: Mapping[str, Any] | frozenset[str]) -> str:
    """A record's properties, without stamps and those in `skip`, as the mirror keeps them."""
    properties = record.get("properties") or {}
    return words.record_json(
        {name: value for name, value in properties.items() if name not in words.STAMPS and name not in skip}
    )


def news_and_echoes(
    reading: Reading, table: str, records: Sequence[Record], rows: Sequence[Row]
) -> tuple[list[Record], pa.Table | None]:
    """The records (contacts or companies; `rows` are theirs in our table) that are news, and the echoes of our own
    writes as a page has them."""
    news, echoes = reading.known.split_echoes(to_table(table, rows))
    key = news.column_names[0]
    fresh = set(news[key].to_pylist())
    kept = [record for record in records if str(record["id"]) in fresh]
    return kept, echoes.select([key, "modified_at"]) if echoes.num_rows else None
