"""Contacts: Leads and Contacts alike, with address, consent, the lead that a contact was, and what was merged.

A converted Lead is merged into its Contact. The Contact carries on what is known of the Lead: it is as old as the
Lead was, the Lead's field history is its own too, and it stands at the stage `converted`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from connector.errors import BadSetting, PlatformRefused
from connector.platform import Page, Span
from connector.platforms.rows import Row, filled
from connector.platforms.salesforce import fields, history, words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import Record
from connector.platforms.salesforce.consent import consent_rows
from connector.platforms.salesforce.reading import Reading, is_deleted, modified, removals, stored_json
from connector.platforms.salesforce.stream import TIMED_OUT, Batch, Source, read
from connector.platforms.salesforce.words import CONTACT, LEAD
from connector.platforms.values import flag, instant, second

STREAMS = {LEAD: "leads", CONTACT: "contacts"}

#: Everything is read again so often: formula fields change without moving a record's modified date.
REFRESH_EVERY = timedelta(days=7)

#: With fewer records a sample says nothing.
_LEAST_SAMPLE = 100

#: Kept of the fields that were there when the choice was made, so that custom ones that come later join it.
_PROPERTIES = "properties"


def choose_properties(reading: Reading) -> Page:
    """Decide which fields to take along, and tell their definitions.

    The choice is made once, by a sample of the newest records, and kept in the cursor: custom fields that come
    later join it, others stay out until everything is read again.
    """
    before = reading.cursor(_PROPERTIES)
    there = {
        name: candidates for name in (LEAD, CONTACT) if (candidates := _candidates(reading, name)) is not None
    }
    wanted = set(reading.request.goal_columns)
    for object_name, names in there.items():
        chosen = _choice(reading, object_name, names, before.get(object_name))
        known = reading.definitions[object_name]
        reading.chosen[object_name] = sorted({*chosen, *(wanted & known.keys())})
    both = fields.merged(reading.definitions.get(LEAD, {}), reading.definitions.get(CONTACT, {}))
    if unknown := sorted(wanted - both.keys()):
        raise BadSetting(
            f"[goal] column (or a filter, or [consent]) names {unknown[0]!r}, which is no field of Lead or "
            f"Contact that the integration user may see{_meant(unknown[0], both) or '.'}"
        )
    taken = sorted({name for chosen in reading.chosen.values() for name in chosen if both[name].kind})
    cursor = {name: {"seen": there[name], "chosen": list(reading.chosen[name])} for name in there}
    return Page("properties", {"property_definitions": fields.table("contact", both, taken)}, cursor)


def _meant(name: str, known: Mapping[str, object]) -> str:
    """A custom field is easily named without its ending."""
    return f": did you mean {name}__c?" if f"{name}__c" in known else ""


def _candidates(reading: Reading, object_name: str) -> list[str] | None:
    known = reading.definitions.get(object_name)
    return None if known is None else fields.candidates(known, reading.our_fields())


def _choice(
    reading: Reading, object_name: str, names: Sequence[str], before: Mapping[str, Any] | None
) -> Sequence[str]:
    known = reading.definitions[object_name]
    if before is None:
        return fields.filled_enough(names, known, _sample(reading, object_name, names))
    kept, seen = set(before["chosen"]), set(before["seen"])
    return [name for name in names if name in kept or (known[name].custom and name not in seen)]


def _sample(reading: Reading, object_name: str, names: Sequence[str], size: int | None = None) -> Sequence[Record]:
    """The newest records: one page, or as many as the names need to fit into a URI; fewer where that many take
    Salesforce too long."""
    size = size or reading.api.sizes["rest"]
    query = soql.select(["Id", *names], object_name, order="CreatedDate DESC", limit=size)
    if not reading.api.fits_url(query):
        middle = len(names) // 2
        halves = names[:middle], names[middle:]
        return [row for half in halves for row in _sample(reading, object_name, half, size)]
    try:
        found = reading.api.query(query, object_name=object_name).records
    except PlatformRefused as error:
        if error.code != TIMED_OUT or size < _LEAST_SAMPLE:
            raise
        return _sample(reading, object_name, names, size // 10)
    if len(found) >= reading.api.sizes["rest"]:
        reading.many.add(object_name)
    return found


def pull(reading: Reading, object_name: str) -> Iterator[Page]:
    """Leads, or Contacts, that are new since the cursor. Raises MissingScope."""
    stream = STREAMS[object_name]
    cursor = reading.cursor(stream)
    anew = _due(reading, cursor)
    full = reading.now().isoformat() if anew else cursor["full"]
    keep = {"full": full, "goals": sorted(reading.request.goal_columns)}
    source = Source(object_name, wanted_fields(reading, object_name))
    held = _held(reading) if object_name == LEAD and (anew or "since" not in cursor) else None
    for batch in read(reading, stream, source, anew=anew, keep=keep):
        yield page(reading, object_name, batch, held=held)


def _held(reading: Reading) -> Collection[str]:
    """The leads that the mirror holds as such: of all that are read again, these may have been converted since."""
    people = reading.known.ids(Span("contact"))
    return {contact_id for contact_id in people if words.object_of(contact_id) == LEAD}


def wanted_fields(reading: Reading, object_name: str) -> list[str]:
    """Everything that is read of a Lead or a Contact."""
    wanted = [*words.BASE[object_name], *reading.chosen[object_name], *reading.our_fields()]
    return reading.fields(object_name, wanted)


def _due(reading: Reading, cursor: Mapping[str, Any]) -> bool:
    """Whether all is to be read: never done, too long ago, or a goal column is asked for that was not read."""
    full = instant(cursor.get("full"))
    grew = set(reading.request.goal_columns) - set(cursor.get("goals") or ())
    return full is None or grew != set() or reading.now() - full > REFRESH_EVERY


def page(reading: Reading, object_name: str, batch: Batch, *, held: Collection[str] | None) -> Page:
    """Canonical rows of some records. A lead of `held` (None: any) that is converted now goes into its contact
    with all that the mirror has of it."""
    live = [record for record in batch.records if not is_deleted(record)]
    gone = removals(batch.records, object_name, reading.now())
    told: list[Row] = []
    if object_name == LEAD:
        _remember(reading, live)
        converted = [
            record for record in live if _is_converted(record) and (held is None or str(record["Id"]) in held)
        ]
        if converted:
            left = {str(record["Id"]) for record in converted}
            live = [record for record in live if str(record["Id"]) not in left]
            gone += [_conversion_of(record) for record in converted]
            told = history.carried(reading, converted) if reading.request.history else []
        told += [row for record in live for row in _of_converted(reading, record)]
    else:
        _learn_converted(reading, [str(record["Id"]) for record in live])
        told += [row for record in live for row in _conversion(reading, str(record["Id"]))]
    told += [row for record in live for row in history.initial_rows(reading, object_name, record)]
    ids = [str(record["Id"]) for record in live]
    rows = filled(
        {
            "contacts": [contact_row(reading, object_name, record) for record in live],
            "contact_addresses": [row for record in live for row in _addresses(record)],
            "consents": [row for record in live for row in consent_rows(reading, record)],
            "property_history": told,
            "removals": gone,
        }
    )
    replaces = {"contact_addresses": ids, "consents": ids} if ids else {}
    return Page(STREAMS[object_name], rows, batch.cursor, replaces, total=batch.total)


def contact_row(reading: Reading, object_name: str, record: Record) -> Row:
    """A Lead or a Contact as our table has it."""
    changed = modified(record)
    contact_id = str(record["Id"])
    created = second(record.get("CreatedDate"))
    was = reading.converted.get(contact_id)
    return {
        "contact_id": contact_id,
        "created_at": min(created, was[0]) if was and created else created,
        "updated_at": changed and changed.replace(microsecond=0),
        "email": str(record.get("Email") or "").strip().lower() or None,
        "country": record.get("Country") or record.get("MailingCountry") or None,
        "company_id": record.get("AccountId") or None,
        "owner_id": record.get("OwnerId") or None,
        "lifecycle_stage": words.CONVERTED if was else record.get("Status") or None,
        "merged_into": (record.get("ConvertedContactId") or None) if _is_converted(record) else None,
        "properties": stored_json(reading, object_name, record),
        "ours": words.ours_json(reading.held(object_name, record), reading.ours, flags=reading.flags),
        "modified_at": changed,
    }


def is_complete(reading: Reading, object_name: str) -> bool:
    """Whether all leads, or contacts, were read once."""
    return {"full", "since"} <= reading.cursor(STREAMS[object_name]).keys()


def _conversion_of(lead: Record) -> Row:
    return {
        "object": "contact",
        "object_id": str(lead["Id"]),
        "deleted_at": second(lead.get("ConvertedDate")),
        "merged_into": lead.get("ConvertedContactId") or None,
    }


def _is_converted(record: Record) -> bool:
    return bool(flag(record.get("IsConverted")))


def _addresses(record: Record) -> Iterator[Row]:
    address = str(record.get("Email") or "").strip().lower()
    if address:
        yield {"contact_id": str(record["Id"]), "email": address, "is_primary": True}


def _remember(reading: Reading, leads: Sequence[Record]) -> None:
    """Which contacts these converted leads became."""
    for lead in leads:
        winner, created = lead.get("ConvertedContactId"), second(lead.get("CreatedDate"))
        if winner and created is not None and _is_converted(lead):
            before = reading.converted.get(str(winner), (created, None))
            on = second(lead.get("ConvertedDate")) or before[1]
            reading.converted[str(winner)] = min(before[0], created), on
            reading.met[str(lead["Id"])] = str(winner)


def _learn_converted(reading: Reading, contact_ids: Sequence[str]) -> None:
    """Which leads these contacts were; all that there are where many are asked for."""
    if reading.all_converted or LEAD not in reading.definitions or not contact_ids:
        return
    names = reading.fields(LEAD, ("Id", "IsConverted", "ConvertedContactId", "ConvertedDate", "CreatedDate"))
    if "ConvertedContactId" not in names:
        return
    size = reading.api.sizes["ids"]
    if len(contact_ids) > size:
        for batch in read(reading, "", Source(LEAD, names, ("IsConverted = true",)), anew=True):
            _remember(reading, batch.records)
        reading.all_converted = True
        return
    condition = soql.one_of("ConvertedContactId", contact_ids)
    _remember(reading, list(reading.api.rows(soql.select(names, LEAD, [condition]), object_name=LEAD)))


def _conversion(reading: Reading, contact_id: str) -> Iterator[Row]:
    """The stage `converted`, dated by the day of the conversion (Salesforce keeps no time of it)."""
    created, on = reading.converted.get(contact_id, (None, None))
    if created is not None and on is not None:
        yield {
            "object": "contact",
            "object_id": contact_id,
            "property": "lifecycle_stage",
            "value": words.CONVERTED,
            "changed_at": max(on, created),
            "observed_at": max(on, created),
            "source": "conversion",
        }


def _of_converted(reading: Reading, lead: Record) -> Iterator[Row]:
    """What history says of a converted lead at its creation is said of its contact too."""
    if _is_converted(lead) and lead.get("ConvertedContactId"):
        for row in history.initial_rows(reading, LEAD, lead):
            yield {**row, "object_id": str(lead["ConvertedContactId"])}
