"""Contacts: the first time by list, later by search; with addresses, consent, company, history and merges."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from connector.errors import BadSetting, MissingScope
from connector.platform import Page
from connector.platforms.hubspot import definitions, gone, words
from connector.platforms.hubspot.changes import Changes, Found
from connector.platforms.hubspot.client.api import Record
from connector.platforms.hubspot.client.paging import pages
from connector.platforms.hubspot.consent import consent_rows
from connector.platforms.hubspot.reading import (
    Reading,
    Row,
    filled,
    history_rows,
    modified,
    news_and_echoes,
    ours_json,
    stored_json,
)

STREAM = "contacts"


def choose_properties(reading: Reading) -> Page:
    """Decide which properties to take along, and tell their definitions.

    The choice is made once, by a sample of the oldest and the newest contacts, and kept in the cursor: custom
    properties that come later join it, others stay out until everything is read again.
    """
    known = reading.definitions["contacts"]
    names = definitions.candidates(known, reading.request.ours)
    before = reading.cursor("properties").get("contacts")
    if before is None:
        chosen = definitions.filled_enough(names, known, _sample(reading, names))
    else:
        chosen = [name for name in names if name in set(before) or known[name].custom]
    unknown = [name for name in reading.request.goal_columns if name not in known]
    if unknown:
        raise BadSetting(
            f"[goal] column (or a filter, or [consent]) names {unknown[0]!r}, "
            "which is no contact property of this HubSpot account."
        )
    wanted = [name for name in reading.request.goal_columns if name not in chosen]
    reading.chosen["contacts"] = chosen = sorted([*chosen, *wanted])
    table = definitions.table("contact", known, [name for name in chosen if known[name].kind])
    return Page("properties", {"property_definitions": table}, cursor={"contacts": chosen})


def _sample(reading: Reading, names: Sequence[str]) -> list[Record]:
    oldest, _ = reading.api.list_page("contacts", ())
    _, newest = reading.api.search("contacts", _recent(reading, oldest), ())
    ids = list(dict.fromkeys(str(record["id"]) for record in (*oldest, *newest)))
    return reading.api.read_batch("contacts", ids, names)


def _recent(reading: Reading, oldest: Sequence[Record]) -> list[Mapping[str, Any]]:
    """Filters for contacts of the last 90 days, beyond the sample of the oldest."""
    since = words.milliseconds(reading.api.now()) - 90 * 86_400_000
    filters: list[Mapping[str, Any]] = [{"propertyName": "createdate", "operator": "GTE", "value": str(since)}]
    if oldest:
        filters.append({"propertyName": "hs_object_id", "operator": "GT", "value": str(oldest[-1]["id"])})
    return filters


def pull(reading: Reading) -> Iterator[Page]:
    """Contacts that are new since the cursor. Raises MissingScope."""
    cursor = reading.cursor(STREAM)
    if "since" in cursor and not _grew(reading, cursor):
        yield from _changed(reading, cursor)
    else:
        yield from _all(reading, {} if "since" in cursor else cursor)


def _grew(reading: Reading, cursor: Mapping[str, Any]) -> bool:
    """Whether a goal column is asked for that was not read so far: its values are old, no search finds them."""
    return bool(set(reading.request.goal_columns) - set(cursor.get("goals") or ()))


def wanted_properties(reading: Reading) -> list[str]:
    """Names of everything that is read of a contact."""
    return list(dict.fromkeys([*words.CONTACT_BASE, *reading.chosen["contacts"], *sorted(reading.ours)]))


def history_properties(reading: Reading) -> list[str]:
    if not reading.request.history:
        return []
    return [name for name in reading.chosen["contacts"] if name not in words.IMMUTABLE] + [
        name for name in ("lifecyclestage",) if name not in reading.chosen["contacts"]
    ]


def _all(reading: Reading, cursor: Mapping[str, Any]) -> Iterator[Page]:
    """The whole list, in the order of ids; a stopped one goes on where it was."""
    started = int(cursor.get("started") or words.milliseconds(reading.api.now()))
    total = int(cursor["total"] if "total" in cursor else reading.api.search("contacts", (), ("hs_object_id",))[0])
    goals = sorted(reading.request.goal_columns)
    for records, after in pages(lambda after: _list_page(reading, after), cursor.get("after")):
        under_way = {"after": after, "started": started, "total": total}
        listed = page(reading, records, {"since": started, "goals": goals} if after is None else under_way)
        yield replace(listed, total=total)


def _list_page(reading: Reading, after: str | None) -> tuple[Sequence[Record], str | None]:
    """A page of the list with all wanted properties; through batch read where the URL would be too long."""
    names, history = wanted_properties(reading), history_properties(reading)
    if reading.api.fits_url(names, history):
        return _listed(reading, names, after, history)
    listed, after = _listed(reading, ("hs_object_id",), after)
    read = reading.api.read_batch("contacts", [str(record["id"]) for record in listed], names, history)
    full = {str(record["id"]): record for record in read}
    return [{**record, **full.get(str(record["id"]), {})} for record in listed], after


def _listed(
    reading: Reading, properties: Sequence[str], after: str | None, history: Sequence[str] = ()
) -> tuple[Sequence[Record], str | None]:
    """The list, with companies as long as they may be seen."""
    associations = ["companies"] if reading.companies else []
    try:
        return reading.api.list_page(
            "contacts", properties, after=after, history=history, associations=associations
        )
    except MissingScope as error:
        if not reading.companies or "companies" not in error.scope:
            raise
        reading.companies = False
        return _listed(reading, properties, after, history)


def _changed(reading: Reading, cursor: Mapping[str, Any]) -> Iterator[Page]:
    """What a search finds since the cursor. The cursor moves to this pull's start when all of it is read."""
    if reading.request.light:
        yield from _polled(reading, cursor)
        return
    started = int(cursor.get("started") or words.milliseconds(reading.api.now()))
    since = int(cursor["since"])
    keep = {name: cursor[name] for name in ("goals",) if name in cursor}
    changes = Changes(reading, "contacts", wanted_properties(reading), since)
    for found in changes.found(cursor.get("above")):
        under_way = None
        if found.above is not None:
            under_way = {**keep, "since": since, "started": started, "above": found.above}
        yield _news_page(reading, found, under_way) if found.records or found.vanished else Page(STREAM)
    yield Page(STREAM, cursor={**keep, "since": started})


def _polled(reading: Reading, cursor: Mapping[str, Any]) -> Iterator[Page]:
    """The same since the last poll. Where the next whole reading begins stays as it is: what somebody edited
    between a pull and our own write, that one finds."""
    started = words.milliseconds(reading.api.now())
    since = int(cursor.get("polled") or cursor["since"])
    for found in Changes(reading, "contacts", wanted_properties(reading), since, light=True).found():
        # an empty page is where others are let in
        yield _news_page(reading, found, None) if found.records or found.vanished else Page(STREAM)
    yield Page(STREAM, cursor={**cursor, "polled": started})


def _news_page(reading: Reading, found: Found, cursor: Mapping[str, Any] | None) -> Page:
    """Sort out echoes of our own writes before anything else is asked about the records."""
    records, echoes = sort_out(reading, found.records)
    removals = gone.look_up(reading, "contacts", found.vanished) if found.vanished else ()
    return replace(page(reading, _completed(reading, records), cursor, removals), echoes=echoes)


def sort_out(reading: Reading, records: Sequence[Record]) -> tuple[list[Record], pa.Table | None]:
    """The records that are news, and the echoes of our own writes as a page has them."""
    return news_and_echoes(reading, "contacts", records, [contact_row(reading, record) for record in records])


def _completed(reading: Reading, records: Sequence[Record]) -> list[Record]:
    """Add what a search does not give: companies, and histories where they are wanted."""
    ids = [str(record["id"]) for record in records]
    if not ids:
        return []
    full = {name: dict(record) for name, record in zip(ids, records, strict=True)}
    if reading.companies:
        for record, found in reading.api.associations("contacts", "companies", ids).items():
            full[record]["associations"] = {"companies": {"results": found}}
    history = history_properties(reading)
    if history:
        for read in reading.api.read_batch("contacts", ids, ("email",), history):
            full[str(read["id"])]["propertiesWithHistory"] = read.get("propertiesWithHistory") or {}
    return list(full.values())


def page(
    reading: Reading,
    records: Sequence[Record],
    cursor: Mapping[str, Any] | None,
    gone_ones: Sequence[Row] = (),
    known: Mapping[str, Row] | None = None,
) -> Page:
    """Contacts, complete with associations and histories, as a page; and removals besides. `known`: rows of the
    contacts by id, where the caller has made them."""
    now = reading.now()
    ids = [str(record["id"]) for record in records]
    rows_of = known or {one: contact_row(reading, record) for one, record in zip(ids, records, strict=True)}
    removals = [row for record in records for row in gone.merged_away(record, "contacts", now)]
    removals += gone_ones
    rows = filled(
        {
            "contacts": [rows_of[one] for one in ids],
            "contact_addresses": [row for record in records for row in _addresses(record)],
            "consents": [row for record in records for row in consent_rows(record)],
            "property_history": [row for record in records for row in history_rows("contact", record, now)],
            "removals": removals,
        }
    )
    return Page(STREAM, rows, cursor, {"contact_addresses": ids, "consents": ids} if ids else {})


def contact_row(reading: Reading, record: Record) -> Row:
    """A contact as our table has it."""
    given = record.get("properties") or {}
    changed: datetime | None = modified(record, "contacts")
    return {
        "contact_id": str(record["id"]),
        "created_at": words.second(given.get("createdate") or record.get("createdAt")),
        "updated_at": changed and changed.replace(microsecond=0),
        "email": (given.get("email") or "").strip().lower() or None,
        "timezone": words.zone(given.get("hs_timezone")) or words.zone(given.get("hs_ip_timezone")),
        "country": given.get("country") or given.get("ip_country") or None,
        "company_id": primary_company(record),
        "owner_id": given.get("hubspot_owner_id") or None,
        "lifecycle_stage": given.get("lifecyclestage") or None,
        "properties": stored_json(record, frozenset(reading.ours)),
        "ours": ours_json(record, reading.ours),
        "modified_at": changed,
    }


def primary_company(record: Record) -> str | None:
    """The company of a record: the primary one, else the first.

    The list says `{"id", "type": "contact_to_company"}`, the batch read `{"toObjectId", "associationTypes"}`.
    """
    found = ((record.get("associations") or {}).get("companies") or {}).get("results") or ()
    best = sorted(found, key=lambda to: not _is_primary(to))
    return str(best[0].get("toObjectId") or best[0].get("id")) if best else None


def _is_primary(to: Mapping[str, Any]) -> bool:
    labels = [kind.get("label") for kind in to.get("associationTypes") or ()]
    return "Primary" in labels or to.get("type") in ("contact_to_company", "deal_to_company")


def _addresses(record: Record) -> Iterator[Row]:
    given = record.get("properties") or {}
    primary = (given.get("email") or "").strip().lower()
    others = [address.lower() for address in words.id_list(given.get("hs_additional_emails"))]
    for address in dict.fromkeys([primary, *others]):
        if address:
            yield {"contact_id": str(record["id"]), "email": address, "is_primary": address == primary}
