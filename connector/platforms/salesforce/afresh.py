"""Single leads and contacts read again by their ids, as a webhook asks for it: a call or two for some hundreds."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from connector.errors import MissingScope
from connector.platform import Asked, Page
from connector.platforms.rows import Row, filled, to_table
from connector.platforms.salesforce import companies_deals, consent, contacts, words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import Record
from connector.platforms.salesforce.reading import Reading
from connector.platforms.salesforce.stream import Batch

STREAM = "contacts_afresh"


def read(reading: Reading, asked: Sequence[Asked]) -> Iterator[Page]:
    """See `connector.platform.Readable`. Reads the fields that the last pull chose; without one, the base."""
    ids = list(dict.fromkeys(one.contact_id for one in asked))
    known = reading.known.cursor("properties") or {}
    missing = [one for one in ids if words.object_of(one) not in reading.definitions]
    for object_name, definitions in reading.definitions.items():
        chosen = (known.get(object_name) or {}).get("chosen") or ()
        reading.chosen[object_name] = [name for name in chosen if name in definitions]
        wanted = [one for one in ids if words.object_of(one) == object_name]
        if not wanted:
            continue
        records = list(_records(reading, object_name, wanted))
        missing += set(wanted) - {str(record["Id"]) for record in records}
        yield _page(reading, object_name, records)
    if missing:
        yield Page(STREAM, {"removals": to_table("removals", [_gone(reading, one) for one in sorted(missing)])})
    linked = [one.contact_id for one in asked if one.associations and one.contact_id not in missing]
    if linked:
        yield from _deals(reading, linked)


def _records(reading: Reading, object_name: str, ids: Sequence[str]) -> Iterator[Record]:
    """Deleted ones too: they say what became of them."""
    names = contacts.wanted_fields(reading, object_name)
    query = soql.select(names, object_name, [soql.one_of("Id", ids)])
    if len(ids) > 1 and (len(ids) > reading.api.sizes["ids"] or not reading.api.fits_url(query)):
        middle = len(ids) // 2
        yield from _records(reading, object_name, ids[:middle])
        yield from _records(reading, object_name, ids[middle:])
    else:
        yield from reading.api.rows(query, everything=True, object_name=object_name)


def _page(reading: Reading, object_name: str, records: Sequence[Record]) -> Page:
    objections = True
    try:
        consent.learn_of(reading, records)
    except MissingScope:
        objections = False
    page = replace(contacts.page(reading, object_name, Batch(records, None), held=None), stream=STREAM)
    if objections:
        return page
    rows = {name: table for name, table in page.rows.items() if name != "consents"}
    return replace(page, rows=rows, replaces={k: v for k, v in page.replaces.items() if k != "consents"})


def _gone(reading: Reading, contact_id: str) -> Row:
    return {"object": "contact", "object_id": contact_id, "deleted_at": reading.now(), "merged_into": None}


def _deals(reading: Reading, linked: Sequence[str]) -> Iterator[Page]:
    """The roles of every deal that one of these has a role on now, or had; nothing where deals may not be seen."""
    try:
        on = companies_deals.roles_of(reading, "ContactId", linked)
        deals = sorted({row["deal_id"] for row in on} | set(reading.known.deals_of(linked)))
        if deals:
            rows = companies_deals.roles_of(reading, "OpportunityId", deals)
            yield Page(STREAM, filled({"deal_contacts": rows}), replaces={"deal_contacts": deals})
    except MissingScope:
        return
