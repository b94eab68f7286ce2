"""Companies, and deals with their pipelines, contacts and companies."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connector.platform import Page
from connector.platforms.hubspot import definitions, gone, words
from connector.platforms.hubspot.changes import Changes
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Record
from connector.platforms.hubspot.client.paging import Fetched, pages
from connector.platforms.hubspot.contacts import primary_company
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

#: Deal properties whose history tells what was known of a deal at an instant.
DEAL_HISTORY = ("dealstage", "amount", "closedate")

#: What a stream makes of records: canonical rows by table.
Rows = Callable[[Sequence[Record]], Mapping[str, Sequence[Row]]]


def choose_company_properties(reading: Reading) -> Page:
    """Definitions of the company properties that are taken along."""
    known = reading.definitions["companies"]
    names = definitions.candidates(known, reading.request.company_ours)
    chosen = [name for name in names if known[name].custom or name in words.COMPANY_WORTH_KNOWING]
    reading.chosen["companies"] = chosen
    return Page("properties", {"property_definitions": definitions.table("company", known, chosen)})


def pull_companies(reading: Reading) -> Iterator[Page]:
    """Companies that are new since the cursor."""
    wanted = list(
        dict.fromkeys([*words.COMPANY_BASE, *reading.chosen["companies"], *sorted(reading.company_ours)])
    )

    def rows(records: Sequence[Record]) -> Mapping[str, Sequence[Row]]:
        return {"companies": [company_row(reading, record) for record in records]}

    yield from _pull(reading, "companies", wanted, (), (), rows)


def pull_deals(reading: Reading) -> Iterator[Page]:
    """Deals that are new since the cursor, with the contacts and the company of each."""
    stages = read_stages(reading)
    history = DEAL_HISTORY if reading.request.history else ()

    def rows(records: Sequence[Record]) -> Mapping[str, Sequence[Row]]:
        now = reading.now()
        return {
            "deals": [deal_row(record, stages, reading.account.currency) for record in records],
            "deal_contacts": [row for record in records for row in deal_contacts(record)],
            "property_history": [row for record in records for row in history_rows("deal", record, now)],
        }

    yield from _pull(reading, "deals", words.DEAL_BASE, history, ("contacts", "companies"), rows)


def _pull(
    reading: Reading,
    object_name: str,
    wanted: Sequence[str],
    history: Sequence[str],
    associations: Sequence[str],
    rows: Rows,
) -> Iterator[Page]:
    cursor = reading.cursor(object_name)
    if "since" in cursor:
        yield from _changed(reading, object_name, wanted, history, associations, rows, cursor)
        return
    started = int(cursor.get("started") or words.milliseconds(reading.api.now()))

    def fetch(after: str | None) -> Fetched:
        return reading.api.list_page(object_name, wanted, after=after, history=history, associations=associations)

    for records, after in pages(fetch, cursor.get("after")):
        stand = {"since": started} if after is None else {"after": after, "started": started}
        yield _page(reading, object_name, records, rows, stand)


def _changed(
    reading: Reading,
    object_name: str,
    wanted: Sequence[str],
    history: Sequence[str],
    associations: Sequence[str],
    rows: Rows,
    cursor: Mapping[str, Any],
) -> Iterator[Page]:
    started = int(cursor.get("started") or words.milliseconds(reading.api.now()))
    since = int(cursor["since"])
    for found in Changes(reading, object_name, wanted, since).found(cursor.get("above")):
        under_way = None
        if found.above is not None:
            under_way = {"since": since, "started": started, "above": found.above}
        records = _completed(reading, object_name, found.records, history, associations)
        some = records or found.vanished
        # an empty page is where others are let in
        yield _page(reading, object_name, records, rows, under_way, found.vanished) if some else Page(object_name)
    yield Page(object_name, cursor={"since": started})


def _completed(
    reading: Reading,
    object_name: str,
    records: Sequence[Record],
    history: Sequence[str],
    associations: Sequence[str],
) -> list[Record]:
    """Add the associations and histories that a search does not give."""
    full = {str(record["id"]): {**record, "associations": {}} for record in records}
    if not full:
        return []
    for to in associations:
        for record, found in reading.api.associations(object_name, to, list(full)).items():
            full[record]["associations"][to] = {"results": found}
    if history:
        for read in reading.api.read_batch(object_name, list(full), ("hs_object_id",), history):
            full[str(read["id"])]["propertiesWithHistory"] = read.get("propertiesWithHistory") or {}
    return list(full.values())


def _page(
    reading: Reading,
    object_name: str,
    records: Sequence[Record],
    rows: Rows,
    cursor: Mapping[str, Any] | None,
    vanished: Sequence[str] = (),
) -> Page:
    removals = [row for record in records for row in gone.merged_away(record, object_name, reading.now())]
    removals += gone.look_up(reading, object_name, vanished) if vanished else []
    echoes = None
    if object_name == "companies":
        records, echoes = news_and_echoes(reading, object_name, records, rows(records)[object_name])
    ids = [str(record["id"]) for record in records]
    replaces = {"deal_contacts": ids} if object_name == "deals" and ids else {}
    return Page(object_name, filled({**rows(records), "removals": removals}), cursor, replaces, echoes)


def company_row(reading: Reading, record: Record) -> Row:
    """A company as our table has it."""
    given = record.get("properties") or {}
    changed = modified(record, "companies")
    return {
        "company_id": str(record["id"]),
        "created_at": words.second(given.get("createdate") or record.get("createdAt")),
        "updated_at": changed and changed.replace(microsecond=0),
        "name": given.get("name") or None,
        "domain": (given.get("domain") or "").lower() or None,
        "industry": given.get("industry") or None,
        "employees": words.number(given.get("numberofemployees")),
        "annual_revenue": words.number(given.get("annualrevenue")),
        "country": given.get("country") or None,
        "properties": stored_json(record, frozenset(reading.company_ours)),
        "ours": ours_json(record, reading.company_ours),
        "modified_at": changed,
    }


def read_stages(reading: Reading) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(pipeline id, stage id) -> the stage's metadata, whose values are texts."""
    pipelines = reading.api.call(paths.PIPELINES, "deals").body.get("results") or ()
    return {
        (str(pipeline["id"]), str(stage["id"])): stage.get("metadata") or {}
        for pipeline in pipelines
        for stage in pipeline.get("stages") or ()
    }


def deal_row(record: Record, stages: Mapping[tuple[str, str], Mapping[str, Any]], home: str | None) -> Row:
    """A deal as our table has it.

    Won is what HubSpot calculates (`hs_is_closed_won`), else a stage of probability 1.0, whatever its id: ids of
    custom pipelines are numbers. `closedate` is a forecast while a deal is open, so it counts on closed ones only.
    """
    given = record.get("properties") or {}
    changed = modified(record, "deals")
    stage = stages.get((str(given.get("pipeline")), str(given.get("dealstage"))), {})
    won = words.flag(given.get("hs_is_closed_won"))
    if won is None:
        won = words.number(stage.get("probability")) == 1.0
    closed = words.flag(given.get("hs_is_closed"))
    if closed is None:
        closed = won or bool(words.flag(stage.get("isClosed")))
    return {
        "deal_id": str(record["id"]),
        "company_id": primary_company(record),
        "created_at": words.second(given.get("createdate") or record.get("createdAt")),
        "updated_at": changed and changed.replace(microsecond=0),
        "closed_at": words.second(given.get("closedate")) if closed else None,
        "amount": _home_amount(given, home),
        "amount_original": words.number(given.get("amount")),
        "currency": given.get("deal_currency_code") or home,
        "stage": given.get("dealstage") or None,
        "pipeline": given.get("pipeline") or None,
        "is_closed": closed,
        "is_won": won,
        "properties": stored_json(record, frozenset()),
        "ours": "{}",
        "modified_at": changed,
    }


def _home_amount(given: Mapping[str, Any], home: str | None) -> float | None:
    """The amount in the account's currency; null where the rate is unknown."""
    amount = words.number(given.get("amount_in_home_currency"))
    if amount is None and given.get("deal_currency_code") in (None, "", home):
        return words.number(given.get("amount"))
    return amount


def deal_contacts(record: Record) -> Iterator[Row]:
    """The contacts of a deal. The list names the association's type, the batch read its labels."""
    found = ((record.get("associations") or {}).get("contacts") or {}).get("results") or ()
    seen: set[str] = set()
    for to in found:
        contact = str(to.get("toObjectId") or to.get("id"))
        if contact in seen:
            continue
        seen.add(contact)
        labels = [kind.get("label") for kind in to.get("associationTypes") or () if kind.get("label")]
        role = next((label for label in labels if label != "Primary"), None)
        yield {
            "deal_id": str(record["id"]),
            "contact_id": contact,
            "role": role,
            "is_primary": "Primary" in labels,
        }
