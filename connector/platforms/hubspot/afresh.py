"""Single contacts read again by their ids, as a webhook asks for it: two or three calls for a hundred of them.

Unlike the search index, a read by id is never behind. Association changes do not move a contact's modified date,
so companies and deals are read where the caller asks for them, and else stay as the mirror has them.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from connector.errors import MissingScope
from connector.platform import Asked, Page
from connector.platforms.hubspot import contacts, gone
from connector.platforms.hubspot.client.api import Record
from connector.platforms.hubspot.companies_deals import deal_contacts
from connector.platforms.hubspot.reading import Reading, Row, filled, news_and_echoes

STREAM = "contacts_afresh"


def read(reading: Reading, asked: Sequence[Asked], concurrency: int) -> Iterator[Page]:
    """See `connector.platform.Readable`. Reads the properties that the last pull chose; without one, the base."""
    if not asked:
        return
    known = reading.definitions["contacts"]
    chosen = (reading.known.cursor("properties") or {}).get("contacts") or ()
    reading.chosen["contacts"] = [name for name in chosen if name in known]
    ids = list(dict.fromkeys(one.contact_id for one in asked))
    found = _records(reading, ids, concurrency)
    linked = [one.contact_id for one in asked if one.associations and one.contact_id in found]
    records = _with_companies(reading, found, linked)
    # associations move no modified date: what looks like our own write may have another company now
    maybe = [record for record in records if str(record["id"]) not in linked]
    rows = {str(record["id"]): contacts.contact_row(reading, record) for record in records}
    news, echoes = news_and_echoes(reading, "contacts", maybe, [rows[str(record["id"])] for record in maybe])
    news += [record for record in records if str(record["id"]) in linked]
    page = contacts.page(reading, news, None, _removed(reading, asked, found), rows)
    yield replace(page, stream=STREAM, echoes=echoes)
    if linked:
        yield from _deals(reading, linked)


def _records(reading: Reading, ids: Sequence[str], concurrency: int) -> dict[str, Record]:
    """Those that are there, by the ids asked for."""
    names, history = contacts.wanted_properties(reading), contacts.history_properties(reading)
    size = reading.api.sizes["batch_with_history" if history else "batch"]
    parts = [ids[start : start + size] for start in range(0, len(ids), size)]
    with ThreadPoolExecutor(max(1, min(concurrency, len(parts)))) as pool:
        read = list(pool.map(lambda part: reading.api.read_batch("contacts", part, names, history), parts))
    asked = set(ids)
    return {str(one["id"]): one for part in read for one in part if str(one["id"]) in asked}


def _with_companies(reading: Reading, found: Mapping[str, Record], linked: Sequence[str]) -> list[Record]:
    """The records with their companies: read where that is asked for, else as the mirror knows them."""
    known = reading.known.companies_of(list(found))
    companies: dict[str, list[object]] = {one: [{"toObjectId": known[one]}] for one in found if one in known}
    if linked:
        try:
            read = reading.api.associations("contacts", "companies", linked)
            companies |= {one: list(read.get(one, ())) for one in linked}
        except MissingScope:
            reading.companies = False
    return [
        {**record, "associations": {"companies": {"results": companies.get(one, ())}}}
        for one, record in found.items()
    ]


def _removed(reading: Reading, asked: Sequence[Asked], found: Mapping[str, Record]) -> list[Row]:
    """Removals of who was not found. Merged contacts lead to their winner, which takes a call each."""
    missing = [one for one in asked if one.contact_id not in found]
    told = [one.contact_id for one in missing if one.gone]
    unsure = [one.contact_id for one in missing if not one.gone]
    now = reading.now()
    rows: list[Row] = [
        {"object": "contact", "object_id": one, "deleted_at": now, "merged_into": None} for one in told
    ]
    return rows + (gone.look_up(reading, "contacts", unsure) if unsure else [])


def _deals(reading: Reading, linked: Sequence[str]) -> Iterator[Page]:
    """The contacts of every deal that one of these is on now, or was on; nothing where deals may not be seen."""
    try:
        now = reading.api.associations("contacts", "deals", linked)
        on = {str(to.get("toObjectId") or to.get("id")) for found in now.values() for to in found}
        deals = sorted(on | set(reading.known.deals_of(linked)))
        if not deals:
            return
        read = reading.api.associations("deals", "contacts", deals)
    except MissingScope:
        return
    rows = [
        row
        for deal in deals
        for row in deal_contacts({"id": deal, "associations": {"contacts": {"results": read.get(deal, ())}}})
    ]
    yield Page(STREAM, filled({"deal_contacts": rows}), replaces={"deal_contacts": deals})
