"""What every stream needs to read, and how a stream of records is read: by REST a few, by Bulk many.

The cursor of a stream is `since`, the instant at which its last reading began; it is read again from `lookback`
before it, because transactions commit late and under an earlier SystemModstamp. While a Bulk job is under way
the cursor names it: a pull that was stopped goes on at the page it was at.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connector.errors import PlatformRefused
from connector.platform import Account, Known, PullRequest
from connector.platforms.rows import Row
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import Api, QueryPage, Record
from connector.platforms.salesforce.client.bulk import Bulk
from connector.platforms.salesforce.fields import Definition
from connector.platforms.values import instant, record_json, second

log = logging.getLogger(__name__)


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
    #: Our properties by name -> type ('number', 'datetime' …).
    ours: Mapping[str, str] = field(default_factory=dict)
    #: Contact -> the lead it was: when that was created, and when it was converted.
    converted: dict[str, tuple[datetime, datetime | None]] = field(default_factory=dict)
    #: Lead -> the contact that it became, of all; None as long as nobody asked.
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

    def our_fields(self) -> dict[str, str]:
        """Custom field -> the property of ours that it holds."""
        return {words.field_name(name): name for name in self.ours}


@dataclass(frozen=True)
class Source:
    """What is read of an object. `everything`: archived records are read too (activities older than a year)."""

    object: str
    fields: Sequence[str]
    where: tuple[str, ...] = ()
    modified: str = "SystemModstamp"
    everything: bool = False


@dataclass(frozen=True)
class Batch:
    """Some records and where the stream stands after them (None: nowhere yet)."""

    records: Sequence[Record]
    cursor: Mapping[str, Any] | None
    total: int | None = None


def read(
    reading: Reading, stream: str, source: Source, *, anew: bool = False, keep: Mapping[str, Any] | None = None
) -> Iterator[Batch]:
    """A stream's records since its cursor, deleted ones too; all live ones where there is no cursor, or `anew`.

    `keep` goes into every cursor. Raises MissingScope.
    """
    keep = keep or {}
    cursor = reading.cursor(stream)
    if "job" in cursor and not anew and cursor.get("version") == reading.api.version:
        try:
            yield from _pages(reading, str(cursor["job"]), cursor.get("locator"), dict(cursor))
            return
        except PlatformRefused as error:
            # Results are kept for seven days.
            if error.status not in (400, 404, 409):
                raise
            log.info("stream %s: its job is gone, it is read again", stream)
    since = None if anew else instant(cursor.get("since"))
    started = reading.now().isoformat()
    deleted = source.everything or since is not None
    where = list(source.where)
    if since is not None:
        floor = since - timedelta(seconds=reading.lookback)
        where.append(f"{soql.name(source.modified)} >= {soql.instant(floor)}")
    plain = soql.select(source.fields, source.object, where)
    first = None
    if reading.api.fits_url(plain):
        ordered = soql.select(source.fields, source.object, where, order=f"{source.modified},Id")
        first = reading.api.query(ordered, everything=deleted, object_name=source.object)
        if first.total <= reading.api.sizes["rest"]:
            yield from _rest(reading, source, first, {**keep, "since": started})
            return
    job = _job(reading, source, plain, first, everything=deleted)
    if job is None and first is not None:
        yield from _rest(reading, source, first, {**keep, "since": started})
        return
    under_way = {**keep, "job": job, "started": started, "version": reading.api.version}
    if first is not None:
        under_way["total"] = first.total
    yield from _pages(reading, str(job), None, under_way)


def _job(reading: Reading, source: Source, query: str, first: QueryPage | None, *, everything: bool) -> str | None:
    """A Bulk job, or None where Bulk does not take the object and REST does."""
    try:
        return reading.bulk.query(query, source.object, everything=everything)
    except PlatformRefused as error:
        if first is None:
            raise
        log.info("%s is read by REST: Bulk says %s", source.object, error.code)
        return None


def _rest(reading: Reading, source: Source, page: QueryPage, stand: Mapping[str, Any]) -> Iterator[Batch]:
    """Pages in the order of their modified date, which the cursor follows."""
    while True:
        last = instant(page.records[-1].get(source.modified)) if page.records else None
        if page.more is None:
            yield Batch(page.records, stand, page.total)
            return
        yield Batch(page.records, None if last is None else {"since": last.isoformat()}, page.total)
        page = reading.api.more(page.more)


def _pages(reading: Reading, job: str, locator: str | None, under_way: Mapping[str, Any]) -> Iterator[Batch]:
    """A job's pages, handed on in slices; the job is deleted when the last one is stored."""
    keep = {name: value for name, value in under_way.items() if name not in _OF_A_JOB}
    size, total = reading.api.sizes["slice"], under_way.get("total")
    for table, after in reading.bulk.pages(job, locator):
        done = {**keep, "since": under_way["started"]}
        stand = done if after is None else {**under_way, "locator": after}
        for start in range(0, max(table.num_rows, 1), size):
            last = start + size >= table.num_rows
            yield Batch(table.slice(start, size).to_pylist(), stand if last else None, total)
    reading.bulk.forget_query(job)


_OF_A_JOB = ("job", "locator", "started", "version", "total")


def modified(record: Record) -> datetime | None:
    """When a record changed last, whoever did it; all digits."""
    return instant(record.get("SystemModstamp"))


def is_deleted(record: Record) -> bool:
    """Whether a record lies in the recycle bin."""
    return str(record.get("IsDeleted")).lower() == "true"


def stored_json(reading: Reading, object_name: str, record: Record) -> str:
    """A record's fields, without stamps and ours, as the mirror keeps them."""
    definitions, ours = reading.definitions[object_name], reading.our_fields()
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
