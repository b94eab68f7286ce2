"""How a stream of records is read: by REST a few, by Bulk many, in windows of time what no query gets through.

The cursor of a stream is `since`, the instant at which its last reading began; it is read again from `lookback`
before it, because transactions commit late and under an earlier SystemModstamp. While a Bulk job is under way the
cursor names it beside what it held before: a pull that was stopped goes on at the page it was at, and one whose
job is gone makes the same job again.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.errors import MissingScope, PlatformRefused
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import QueryPage, Record
from connector.platforms.salesforce.reading import Reading
from connector.platforms.values import instant

log = logging.getLogger(__name__)

#: Salesforce gives a query up that takes longer than two minutes or so.
TIMED_OUT = "QUERY_TIMEOUT"

#: No record of Salesforce's is older.
_OLDEST = datetime(1999, 1, 1)  # noqa: DTZ001 - naive UTC, as all our times
_NARROWEST = timedelta(minutes=30)

#: What a job under way adds to a cursor.
_OF_A_JOB = ("job", "asked", "locator", "started", "version", "total", "keep")


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


@dataclass(frozen=True)
class _Way:
    """One reading of a stream: what is asked, and what its cursor was and will be."""

    source: Source
    where: tuple[str, ...]
    #: Deleted (and archived) records too.
    everything: bool
    #: The cursor without what belongs to a job: it stands until the reading is complete.
    former: Mapping[str, Any]
    #: The cursor of a complete reading.
    done: Mapping[str, Any]
    #: Whether a reading that broke off may go on from the modified date that it came to.
    steps: bool

    def query(self, *more: str, ordered: bool = False) -> str:
        order = f"{self.source.modified},Id" if ordered else ""
        return soql.select(self.source.fields, self.source.object, (*self.where, *more), order=order)

    @property
    def asked(self) -> str:
        """What tells this question from another one about the same stream."""
        return hashlib.sha256(f"{self.everything} {self.query()}".encode()).hexdigest()[:16]

    def stand(self, record: Record) -> Mapping[str, Any] | None:
        """The cursor after a record, in the order of the modified date."""
        last = instant(record.get(self.source.modified)) if self.steps else None
        return None if last is None else {**self.former, "since": last.isoformat()}


def read(
    reading: Reading, stream: str, source: Source, *, anew: bool = False, keep: Mapping[str, Any] | None = None
) -> Iterator[Batch]:
    """A stream's records since its cursor, deleted ones too. Where there is no cursor, or `anew`: all live ones,
    and those that were deleted since. Without a name it is read whole and leaves no cursor.

    `keep` goes into the cursor of a complete reading. Raises MissingScope.
    """
    cursor = reading.cursor(stream) if stream else {}
    way = _way(reading, stream, source, anew=anew, keep=keep or {})
    if "job" in cursor:
        if cursor.get("asked") == way.asked and cursor.get("version") == reading.api.version:
            try:
                yield from _resumed(reading, cursor)
                return
            except (PlatformRefused, MissingScope) as error:
                # Results are kept for seven days, and for the user who asked.
                log.info("stream %s: its job is gone (%s), it is made again", stream, type(error).__name__)
        reading.bulk.give_up(str(cursor["job"]))
    yield from _afresh(reading, way, lasting=bool(stream))


def _way(reading: Reading, stream: str, source: Source, *, anew: bool, keep: Mapping[str, Any]) -> _Way:
    known = (reading.known.cursor(stream) or {}) if stream else {}
    former = {name: value for name, value in reading.cursor(stream).items() if name not in _OF_A_JOB}
    since = instant(known.get("since"))
    again = anew or reading.request.full or "since" not in former
    where, everything = list(source.where), source.everything
    if since is not None and not (again and "IsDeleted" not in source.fields):
        floor = soql.instant(since - timedelta(seconds=reading.lookback))
        changed = f"{soql.name(source.modified)} >= {floor}"
        where.append(f"(IsDeleted = false OR {changed})" if again else changed)
        everything = True
    done = {**keep, "since": reading.now().isoformat()}
    return _Way(source, tuple(where), everything, former, done, steps=not anew)


def _afresh(reading: Reading, way: _Way, *, lasting: bool) -> Iterator[Batch]:
    """By REST what is little, by a Bulk job what is much; what Bulk does not take or does not get through by REST
    after all."""
    by_rest = reading.api.fits_url(way.query(ordered=True))
    first, timed_out = None, False
    if by_rest and (way.source.where or way.source.object not in reading.many):
        try:
            first = _first(reading, way)
        except PlatformRefused as error:
            if error.code != TIMED_OUT:
                raise
            timed_out = True
    if first is not None and first.total <= reading.api.sizes["rest"]:
        yield from _rest(reading, way, first)
        return
    job = _started(reading, way, or_none=by_rest)
    if job is not None:
        under_way = {
            **way.former, "job": job, "asked": way.asked, "started": way.done["since"],
            "version": reading.api.version, "keep": {name: way.done[name] for name in way.done if name != "since"},
        }  # fmt: skip
        if lasting:
            yield Batch((), under_way, None if first is None else first.total)
        rows = _ended(reading, job, lasting=lasting, or_none=by_rest)
        if rows is not None:
            yield from _pages(reading, {**under_way, "total": rows})
            return
    yield from _by_rest(reading, way, first, timed_out=timed_out)


def _started(reading: Reading, way: _Way, *, or_none: bool) -> str | None:
    """A new job, or None where Bulk does not take the object (and REST may)."""
    try:
        return reading.bulk.start(way.query(), way.source.object, everything=way.everything)
    except PlatformRefused as error:
        if not or_none:
            raise
        log.info("%s is read by REST: Bulk says %s", way.source.object, error.code)
        return None


def _ended(reading: Reading, job: str, *, lasting: bool, or_none: bool) -> int | None:
    """The rows of a job when it is done, None when it failed (and REST may do). One that no cursor names is not
    left running."""
    try:
        return reading.bulk.wait(job)
    except PlatformRefused as error:
        if not or_none:
            raise
        log.info("a job failed (%s): REST has to do", error.code)
        return None
    except BaseException:
        if not lasting:
            reading.bulk.give_up(job)
        raise


def _by_rest(reading: Reading, way: _Way, first: QueryPage | None, *, timed_out: bool) -> Iterator[Batch]:
    if not timed_out:
        try:
            first = first or _first(reading, way)
        except PlatformRefused as error:
            if error.code != TIMED_OUT:
                raise
    yield from _windows(reading, way) if first is None else _rest(reading, way, first)


def _first(reading: Reading, way: _Way, *window: str) -> QueryPage:
    query = way.query(*window, ordered=True)
    return reading.api.query(query, everything=way.everything, object_name=way.source.object)


def _rest(reading: Reading, way: _Way, page: QueryPage, *, last: bool = True) -> Iterator[Batch]:
    """Pages in the order of their modified date, which the cursor follows."""
    while True:
        if page.more is None:
            if last or page.records:
                yield Batch(page.records, way.done if last else way.stand(page.records[-1]), page.total)
            return
        yield Batch(page.records, way.stand(page.records[-1]) if page.records else None, page.total)
        page = reading.api.more(page.more)


def _windows(reading: Reading, way: _Way) -> Iterator[Batch]:
    """Windows of time, halved until a query gets through. Raises PlatformRefused where none does."""
    modified = soql.name(way.source.modified)
    windows = [(_OLDEST, reading.now() + timedelta(days=1))]
    while windows:
        start, end = windows.pop()
        within = f"{modified} >= {soql.instant(start)}", f"{modified} < {soql.instant(end)}"
        try:
            page = _first(reading, way, *within)
        except PlatformRefused as error:
            if error.code != TIMED_OUT or end - start <= _NARROWEST:
                raise
            middle = start + (end - start) / 2
            windows += [(middle, end), (start, middle)]
            continue
        yield from _rest(reading, way, page, last=not windows)


def _resumed(reading: Reading, cursor: Mapping[str, Any]) -> Iterator[Batch]:
    """What a job that an earlier pull made has left. Raises PlatformRefused, MissingScope when it is gone."""
    if "locator" in cursor:
        yield from _pages(reading, cursor)
    else:
        yield from _pages(reading, {**cursor, "total": reading.bulk.wait(str(cursor["job"]))})


def _pages(reading: Reading, under_way: Mapping[str, Any]) -> Iterator[Batch]:
    """A job's pages, handed on in slices. The job is left to Salesforce, which removes it after seven days."""
    size, total = reading.api.sizes["slice"], under_way.get("total")
    done = {**under_way["keep"], "since": under_way["started"]}
    for table, after in reading.bulk.pages(str(under_way["job"]), under_way.get("locator")):
        stand = done if after is None else {**under_way, "locator": after}
        for start in range(0, max(table.num_rows, 1), size):
            last = start + size >= table.num_rows
            yield Batch(table.slice(start, size).to_pylist(), stand if last else None, total)
