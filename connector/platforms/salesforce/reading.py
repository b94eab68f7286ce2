"""What every stream needs to read: where, what is known, and what this pull has found out so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connector.platform import Account, Known, PullRequest
from connector.platforms.rows import Row
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client.api import Api, Record
from connector.platforms.salesforce.client.bulk import Bulk
from connector.platforms.salesforce.fields import Definition
from connector.platforms.values import instant, record_json, second


@dataclass
class Reading:
    """One pull: where to read, what is known, what is asked, and what this pull has found out so far."""

    api: Api
    bulk: Bulk
    known: Known
    request: PullRequest
    account: Account
    #: Seconds before a cursor in which records may have been committed after it was set.
    lookback: int
    #: Definitions by object ('Lead'); objects that this user may not see are missing.
    definitions: dict[str, Mapping[str, Definition]] = field(default_factory=dict)
    #: Fields taken, by object.
    chosen: dict[str, Sequence[str]] = field(default_factory=dict)
    #: Our properties by name -> type ('number', 'datetime' …), of people and of accounts.
    ours: Mapping[str, str] = field(default_factory=dict)
    company_ours: Mapping[str, str] = field(default_factory=dict)
    #: Contact -> the lead it was: when that was created, and when it was converted.
    converted: dict[str, tuple[datetime, datetime | None]] = field(default_factory=dict)
    #: Lead -> the contact that it became, of those that this pull has met.
    met: dict[str, str] = field(default_factory=dict)
    #: The same of all; None as long as nobody asked.
    became: Mapping[str, str] | None = None
    #: All converted leads are in `converted`.
    all_converted: bool = False
    #: Individual -> the fields by which it objects.
    objecting: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: (record, field) -> the first change that history has and the value before it; fields whose history is kept.
    initial: dict[tuple[str, str], tuple[datetime, str | None]] = field(default_factory=dict)
    tracked: set[tuple[str, str]] = field(default_factory=set)
    #: The oldest change that history has; before it nothing is known.
    history_from: datetime | None = None
    #: This pull reads all the history that there is: the first reading of people is not complete.
    whole_history: bool = False
    #: Flags (the holdout's) are in use: an unticked checkbox says no.
    flags: bool = False
    #: Objects that a sample has shown to be too many for REST.
    many: set[str] = field(default_factory=set)

    def cursor(self, stream: str) -> Mapping[str, Any]:
        """The stream's cursor, {} where there is none (or all is wanted again)."""
        return {} if self.request.full else self.known.cursor(stream) or {}

    def now(self) -> datetime:
        """Salesforce's present as naive UTC, whole seconds."""
        return self.api.now().replace(tzinfo=None, microsecond=0)

    def fields(self, object_name: str, names: Sequence[str]) -> list[str]:
        """Of these names those that the object has, each once."""
        there = self.definitions.get(object_name, {})
        return [name for name in dict.fromkeys(names) if name in there]

    def our_fields(self, object_name: str = words.CONTACT) -> dict[str, str]:
        """Custom field -> the property of ours that it holds."""
        return {words.field_name(name): name for name in self.kinds_of(object_name)}

    def kinds_of(self, object_name: str) -> Mapping[str, str]:
        """Types of our properties on an object of Salesforce's."""
        return self.company_ours if object_name == words.ACCOUNT else self.ours

    def held(self, object_name: str, record: Record) -> dict[str, str | None]:
        """What a record holds of ours, of the fields that are there."""
        kinds, there = self.kinds_of(object_name), self.definitions[object_name]
        return {
            name: words.from_salesforce(kinds[name], record.get(field))
            for field, name in self.our_fields(object_name).items()
            if field in there
        }


def modified(record: Record) -> datetime | None:
    """When a record changed last, whoever did it; all digits."""
    return instant(record.get("SystemModstamp"))


def is_deleted(record: Record) -> bool:
    """Whether a record lies in the recycle bin."""
    return str(record.get("IsDeleted")).lower() == "true"


def stored_json(reading: Reading, object_name: str, record: Record) -> str:
    """A record's fields, without stamps and ours, as the mirror keeps them."""
    definitions, ours = reading.definitions[object_name], reading.our_fields(object_name)
    return record_json(
        {
            name: words.text_of(definitions[name].kind if name in definitions else None, value)
            for name, value in record.items()
            if name not in words.STAMPS and name not in ours
        }
    )


def removals(records: Sequence[Record], object_name: str, now: datetime) -> list[Row]:
    """Records that were deleted; the loser of a merge lies in the recycle bin and names its winner."""
    return [
        {
            "object": words.OBJECTS[object_name],
            "object_id": str(record["Id"]),
            "deleted_at": second(record.get("SystemModstamp")) or now,
            "merged_into": record.get("MasterRecordId") or None,
        }
        for record in records
        if is_deleted(record)
    ]
