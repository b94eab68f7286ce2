"""Records that are no longer there: archived, erased, or merged into another."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from connector.platform import Page, Span
from connector.platforms.hubspot import words
from connector.platforms.hubspot.changes import Changes
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Record
from connector.platforms.hubspot.reading import Reading, Row, filled

#: Archived records never appear in a search, so that their list is gone through once a day.
SWEEP_EVERY = timedelta(hours=24)


#: Looking up vanished ids one by one stops here; the next sweep finds the rest.
MOST_LOOKUPS = 50


def merged_away(record: Record, object_name: str, now: object) -> list[Row]:
    """Removals of the records that were merged into this one."""
    properties = record.get("properties") or {}
    winner = str(record["id"])
    return [
        {"object": words.OBJECTS[object_name], "object_id": loser, "deleted_at": now, "merged_into": winner}
        for loser in words.id_list(properties.get("hs_merged_object_ids"))
        if loser != winner
    ]


def look_up(reading: Reading, object_name: str, ids: Sequence[str]) -> list[Row]:
    """What became of ids that a search misses: a single GET follows a merge to its winner, or says 404.

    Those that are still there give no row: the index was late, or they changed after the window.
    """
    still_there = {
        str(record["id"]) for record in reading.api.read_batch(object_name, ids[:MOST_LOOKUPS], ["email"])
    }
    removed: list[Row] = []
    for record in ids[:MOST_LOOKUPS]:
        if record in still_there:
            continue
        reply = reading.api.call(paths.READ, object_name, id=record, accept=(404,))
        winner = str(reply.body.get("id", "")) if reply.status != 404 else None
        if winner == record:
            continue
        removed.append(
            {
                "object": words.OBJECTS[object_name],
                "object_id": record,
                "deleted_at": reading.now(),
                "merged_into": winner or None,
            }
        )
    return removed


def sweep(reading: Reading, object_name: str) -> Iterator[Page]:
    """Go through the list of archived records, once a day; the first pull needs none."""
    stream = f"{object_name}_archived"
    cursor = reading.cursor(stream)
    now = words.milliseconds(reading.api.now())
    if not cursor:
        yield Page(stream, cursor={"swept": now})
        return
    after, started = cursor.get("after"), int(cursor.get("started") or now)
    if after is None and now - int(cursor["swept"]) < SWEEP_EVERY / timedelta(milliseconds=1):
        return
    while True:
        records, after = reading.api.list_page(object_name, (), after=after, archived=True)
        done = {"swept": started}
        yield Page(
            stream,
            filled({"removals": [_removal(reading, object_name, record) for record in records]}),
            cursor=done if after is None else {**cursor, "after": after, "started": started},
        )
        if after is None:
            return


def count_off(reading: Reading) -> Iterator[Page]:
    """Contacts that the mirror has and HubSpot's index does not, found by counting: one call when there are none.

    This sees on the same day what was archived, merged or erased for good; the last is in no list at all. What
    can't be explained (`gap`) is remembered, so that it is not looked for again until it grows.
    """
    stream = "contacts_counted"
    total, _ = reading.api.search("contacts", (), ("hs_object_id",))
    before = int(reading.cursor(stream).get("gap") or 0)
    if _mirrored(reading) - total > before:
        horizon = words.milliseconds(reading.api.now() + timedelta(days=1))
        for found in Changes(reading, "contacts", ("hs_object_id",), horizon).differing():
            removals = look_up(reading, "contacts", found.vanished) if found.vanished else []
            yield Page(stream, filled({"removals": removals}))
        # others were let in meanwhile, and contacts created since are in the mirror too
        total, _ = reading.api.search("contacts", (), ("hs_object_id",))
    gap = max(0, _mirrored(reading) - total)
    if gap != before:
        yield Page(stream, cursor={"gap": gap})


def _mirrored(reading: Reading) -> int:
    return reading.known.count(Span("contact"))


def _removal(reading: Reading, object_name: str, record: Record) -> Row:
    return {
        "object": words.OBJECTS[object_name],
        "object_id": str(record["id"]),
        "deleted_at": words.second(record.get("archivedAt")) or reading.now(),
        "merged_into": None,
    }
