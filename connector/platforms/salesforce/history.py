"""Field history: LeadHistory and ContactHistory tell every change of the fields that an administrator tracks.

A record without a change of a tracked field has had its present value from the start. That is told as a row dated
by the record's creation (or by the oldest change that is kept: Salesforce forgets after some 18 months), so that a
value is not known only of those records on which it changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from connector.errors import MissingScope
from connector.platform import Page
from connector.platforms.rows import Row, filled
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import Record
from connector.platforms.salesforce.reading import Reading
from connector.platforms.salesforce.stream import Source, read
from connector.platforms.salesforce.words import CONTACT, LEAD
from connector.platforms.values import second

_OBJECTS = {LEAD: ("LeadHistory", "LeadId"), CONTACT: ("ContactHistory", "ContactId")}

#: Fields whose history is that of a canonical column too.
_CANONICAL = {"Status": "lifecycle_stage"}


def pull(reading: Reading, object_name: str) -> Iterator[Page]:
    """Changes since the cursor, or all as long as the first reading of people is under way: that has to know them.

    Raises MissingScope where no history is kept or may be read.
    """
    source_name, parent = _OBJECTS[object_name]
    stream = f"{object_name.lower()}_history"
    source = Source(source_name, _fields(parent), modified="CreatedDate")
    for batch in read(reading, stream, source, anew=reading.whole_history):
        leads = [str(record[parent]) for record in batch.records] if object_name == LEAD else []
        rows = _changes(reading, object_name, batch.records, _became(reading, leads))
        yield Page(stream, filled({"property_history": rows}), batch.cursor, total=batch.total)


def _fields(parent: str) -> tuple[str, ...]:
    return ("Id", parent, "Field", "OldValue", "NewValue", "CreatedDate", "IsDeleted")


def carried(reading: Reading, leads: Sequence[Record]) -> list[Row]:
    """What history says of leads that were converted since the last pull, as their contacts' own."""
    became = {str(lead["Id"]): str(lead["ConvertedContactId"]) for lead in leads if lead.get("ConvertedContactId")}
    source_name, parent = _OBJECTS[LEAD]
    found: list[Record] = []
    ids, size = sorted(became), reading.api.sizes["ids"]
    try:
        for start in range(0, len(ids), size):
            condition = soql.one_of(parent, ids[start : start + size])
            query = soql.select(_fields(parent), source_name, [condition])
            found += reading.api.rows(query, object_name=source_name)
    except MissingScope:
        return []
    rows = _changes(reading, LEAD, found, became)
    for lead in leads:
        created, key = second(lead.get("CreatedDate")), str(lead["Id"])
        for (owner, name), (_, value) in reading.initial.items():
            if owner == key and key in became and created is not None:
                rows += _rows(LEAD, became[key], name, value, created, created)
    return rows


def _became(reading: Reading, leads: Sequence[str]) -> Mapping[str, str]:
    """Converted lead -> its contact, so that its history is the contact's too."""
    names = reading.fields(LEAD, ("Id", "ConvertedContactId"))
    if len(names) < 2 or not leads:
        return {}
    wanted = sorted(set(leads))
    if len(wanted) <= reading.api.sizes["ids"]:
        where = [soql.one_of("Id", wanted), "IsConverted = true"]
        found = reading.api.rows(soql.select(names, LEAD, where), object_name=LEAD)
        return {str(record["Id"]): str(record["ConvertedContactId"]) for record in found}
    if reading.became is None:
        source = Source(LEAD, names, ("IsConverted = true",))
        reading.became = {
            str(record["Id"]): str(record["ConvertedContactId"])
            for batch in read(reading, "", source, anew=True)
            for record in batch.records
            if record.get("ConvertedContactId")
        }
    return reading.became


def _changes(
    reading: Reading, object_name: str, records: Sequence[Record], became: Mapping[str, str]
) -> list[Row]:
    now, parent = reading.now(), _OBJECTS[object_name][1]
    wanted = {*reading.chosen[object_name], *_CANONICAL}
    rows: list[Row] = []
    # The earliest last, so that its old value is the one that stays.
    for record in sorted(records, key=lambda record: str(record["CreatedDate"]), reverse=True):
        name, changed_at = str(record.get("Field")), second(record.get("CreatedDate"))
        if name not in wanted or changed_at is None:
            continue
        _note(reading, object_name, record, str(record[parent]), name)
        kind = reading.definitions[object_name][name].kind if name in reading.definitions[object_name] else None
        value = words.text_of(kind, record.get("NewValue"))
        owners = filter(None, (str(record[parent]), became.get(str(record[parent]))))
        rows += [row for owner in owners for row in _rows(object_name, owner, name, value, changed_at, now)]
    return rows


def _note(reading: Reading, object_name: str, record: Record, owner: str, name: str) -> None:
    """Remember the value before the earliest change."""
    at = second(record.get("CreatedDate"))
    reading.tracked.add((object_name, name))
    known = reading.initial.get((owner, name))
    if at is not None and (known is None or at < known[0]):
        kind = reading.definitions[object_name][name].kind if name in reading.definitions[object_name] else None
        reading.initial[owner, name] = at, words.text_of(kind, record.get("OldValue"))
    if at is not None and (reading.history_from is None or at < reading.history_from):
        reading.history_from = at


def initial_rows(reading: Reading, object_name: str, record: Record) -> Iterator[Row]:
    """The tracked fields' values at a record's creation; for a pull that read the whole history."""
    created = second(record.get("CreatedDate"))
    if created is None or reading.history_from is None or not reading.whole_history:
        return
    at = max(created, reading.history_from)
    for tracked, name in sorted(reading.tracked):
        if tracked != object_name or name not in record:
            continue
        first: Any = reading.initial.get((str(record["Id"]), name))
        definition = reading.definitions[object_name].get(name)
        value = words.text_of(definition.kind if definition else None, record[name]) if first is None else first[1]
        if first is not None and first[0] <= at:
            continue
        yield from _rows(object_name, str(record["Id"]), name, value, at, at)


def _rows(
    object_name: str, owner: str, name: str, value: str | None, changed_at: datetime, observed_at: datetime
) -> Iterator[Row]:
    """A value of a field, and of the canonical column that the field is."""
    for property_name in filter(None, (name, _CANONICAL.get(name))):
        yield {
            "object": "contact",
            "object_id": owner,
            "property": property_name,
            "value": value,
            "changed_at": changed_at,
            "observed_at": observed_at,
            "source": _OBJECTS[object_name][0],
        }
