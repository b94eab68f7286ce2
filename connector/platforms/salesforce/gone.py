"""Records that are no longer there, beyond what a query of deleted records tells.

Once a day Salesforce is asked which ids were deleted (it knows for 15 days, and after the recycle bin was emptied
too). Once a week all ids are compared: only that finds what was deleted for good, or by whoever emptied the log.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from connector.errors import PlatformRefused
from connector.platform import Page, Span
from connector.platforms.rows import Row, filled
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client import paths, soql
from connector.platforms.salesforce.reading import Reading, removals
from connector.platforms.salesforce.stream import Source, read
from connector.platforms.salesforce.words import CONTACT, LEAD
from connector.platforms.values import instant, second

log = logging.getLogger(__name__)

ASK_EVERY, COMPARE_EVERY = timedelta(days=1), timedelta(days=7)

#: Salesforce's log of deletions reaches back so far.
_LOG = timedelta(days=15)
#: It tells by the minute.
_NARROWEST = timedelta(minutes=2)


def ask(reading: Reading, object_name: str) -> Iterator[Page]:
    """Ids that Salesforce says were deleted, once a day; the first pull needs none."""
    stream = f"{object_name.lower()}_deleted"
    now = reading.now()
    since = instant(reading.cursor(stream).get("covered"))
    if since is None:
        yield Page(stream, cursor={"covered": now.isoformat()})
        return
    if now - since < ASK_EVERY or now - since > _LOG - timedelta(hours=1):
        # What lies further back the comparison of all ids finds.
        if now - since > _LOG - timedelta(hours=1):
            yield Page(stream, cursor={"covered": now.isoformat()})
        return
    try:
        rows, covered = _told(reading, object_name, since, now)
    except PlatformRefused as error:
        if error.status != 400:
            raise
        # What was purged from there too the comparison of all ids finds.
        log.info("%s: the log of deletions can't be read (%s), the recycle bin is", object_name, error.code)
        rows, covered = _binned(reading, object_name, since), now
    yield Page(stream, filled({"removals": rows}), {"covered": covered.isoformat()})


def _told(reading: Reading, object_name: str, since: datetime, now: datetime) -> tuple[list[Row], datetime]:
    """What the log says, and up to when: a transaction that commits late is told from `latestDateCovered` on.
    Windows with more ids than Salesforce tells at once are halved. Raises PlatformRefused."""
    rows: list[Row] = []
    covered, windows = since, [(since, now)]
    while windows:
        start, end = windows.pop()
        params = {"start": start.isoformat() + "+00:00", "end": end.isoformat() + "+00:00"}
        try:
            body = reading.api.call(paths.DELETED, params=params, object_name=object_name).body
        except PlatformRefused as error:
            if error.code != "EXCEEDED_ID_LIMIT" or end - start <= _NARROWEST:
                raise
            middle = (start + (end - start) / 2).replace(second=0, microsecond=0)
            windows += [(middle, end), (start, middle)]
            continue
        rows += [
            _removal(object_name, str(entry["id"]), second(entry.get("deletedDate")) or now)
            for entry in body.get("deletedRecords") or ()
        ]
        covered = max(covered, instant(body.get("latestDateCovered")) or since)
    return rows, covered


def _binned(reading: Reading, object_name: str, since: datetime) -> list[Row]:
    """What lies in the recycle bin since then."""
    names = reading.fields(object_name, ("Id", "IsDeleted", "MasterRecordId", "SystemModstamp"))
    where = ("IsDeleted = true", f"SystemModstamp >= {soql.instant(since)}")
    source = Source(object_name, names, where, everything=True)
    return [
        row
        for batch in read(reading, "", source, anew=True)
        for row in removals(batch.records, object_name, reading.now())
    ]


def compare(reading: Reading) -> Iterator[Page]:
    """People whom the mirror has and the org has not, once a week."""
    stream = "ids_compared"
    now, before = reading.now(), instant(reading.cursor(stream).get("compared"))
    if before is None or now - before < COMPARE_EVERY:
        if before is None:
            yield Page(stream, cursor={"compared": now.isoformat()})
        return
    present: set[str] = set()
    objects = [name for name in (LEAD, CONTACT) if name in reading.definitions]
    for object_name in objects:
        for batch in read(reading, "", Source(object_name, ("Id", "SystemModstamp")), anew=True):
            present.update(str(record["Id"]) for record in batch.records)
    mirrored = reading.known.ids(Span("contact"))
    rows = [
        _removal(str(words.object_of(contact_id)), contact_id, now)
        for contact_id in mirrored
        if contact_id not in present and words.object_of(contact_id) in objects
    ]
    yield Page(stream, filled({"removals": rows}), {"compared": now.isoformat()})


def _removal(object_name: str, record: str, at: datetime) -> Row:
    return {
        "object": words.OBJECTS[object_name],
        "object_id": record,
        "deleted_at": at,
        "merged_into": None,
    }
