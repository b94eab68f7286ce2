"""Records that are no longer there, beyond what a query of deleted records tells.

Once a day Salesforce is asked which ids were deleted (it knows for 15 days, and after the recycle bin was emptied
too). Once a week all ids are compared: only that finds what was deleted for good, or by whoever emptied the log.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from connector.platform import Page
from connector.platforms.rows import Row, filled
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client import paths
from connector.platforms.salesforce.reading import Reading, Source, read
from connector.platforms.salesforce.words import CONTACT, LEAD
from connector.platforms.values import instant, second

ASK_EVERY, COMPARE_EVERY = timedelta(days=1), timedelta(days=7)

#: Salesforce's log of deletions reaches back so far.
_LOG = timedelta(days=15)
_EVER = (datetime(1970, 1, 1), datetime(9999, 1, 1))  # noqa: DTZ001 - naive UTC, as the mirror's


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
    params = {"start": since.isoformat() + "+00:00", "end": now.isoformat() + "+00:00"}
    body = reading.api.call(paths.DELETED, params=params, object_name=object_name).body
    rows = [
        _removal(object_name, str(entry["id"]), second(entry.get("deletedDate")) or now)
        for entry in body.get("deletedRecords") or ()
    ]
    # A transaction that commits late is told from `latestDateCovered` on.
    covered = instant(body.get("latestDateCovered")) or since
    yield Page(stream, filled({"removals": rows}), {"covered": max(covered, since).isoformat()})


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
    mirrored = reading.known.ids("contact", _EVER[0], _EVER[1], None, None)
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
