"""Accounts, and Opportunities with their contacts and the history of amount and stage."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from connector.errors import MissingScope
from connector.platform import Page
from connector.platforms.rows import Row, filled
from connector.platforms.salesforce import fields, words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import Record
from connector.platforms.salesforce.reading import Reading, is_deleted, modified, removals, stored_json
from connector.platforms.salesforce.stream import Source, read
from connector.platforms.salesforce.words import ACCOUNT
from connector.platforms.values import flag, number, plain_number, record_json, second

OPPORTUNITY, ROLE = "Opportunity", "OpportunityContactRole"

#: Field of OpportunityHistory -> the property's name in our history of deals.
_HISTORY = {"Amount": "amount", "StageName": "stage", "CloseDate": "closedate"}


def choose_company_properties(reading: Reading) -> Page:
    """Definitions of the account fields that are taken along."""
    known = reading.definitions[ACCOUNT]
    names = fields.candidates(known, reading.our_fields(ACCOUNT))
    chosen = [name for name in names if known[name].custom or name in words.COMPANY_WORTH_KNOWING]
    reading.chosen[ACCOUNT] = chosen
    return Page("properties", {"property_definitions": fields.table("company", known, chosen)})


def pull_companies(reading: Reading) -> Iterator[Page]:
    """Accounts that are new since the cursor."""
    wanted = reading.fields(
        ACCOUNT, [*words.BASE[ACCOUNT], *reading.chosen[ACCOUNT], *reading.our_fields(ACCOUNT)]
    )
    for batch in read(reading, "companies", Source(ACCOUNT, wanted)):
        rows = [company_row(reading, record) for record in batch.records if not is_deleted(record)]
        gone = removals(batch.records, ACCOUNT, reading.now())
        yield Page("companies", filled({"companies": rows, "removals": gone}), batch.cursor, total=batch.total)


def company_row(reading: Reading, record: Record) -> Row:
    """An account as our table has it."""
    changed = modified(record)
    return {
        "company_id": str(record["Id"]),
        "created_at": second(record.get("CreatedDate")),
        "updated_at": changed and changed.replace(microsecond=0),
        "name": record.get("Name") or None,
        "domain": _domain(record.get("Website")),
        "industry": record.get("Industry") or None,
        "employees": number(record.get("NumberOfEmployees")),
        "annual_revenue": number(record.get("AnnualRevenue")),
        "country": record.get("BillingCountry") or None,
        "properties": stored_json(reading, ACCOUNT, record),
        "ours": record_json(reading.held(ACCOUNT, record)),
        "modified_at": changed,
    }


def _domain(website: object) -> str | None:
    text = str(website or "").strip().lower()
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname
    except ValueError:
        return None
    return host.removeprefix("www.") if host else None


def pull_deals(reading: Reading) -> Iterator[Page]:
    """Opportunities that are new since the cursor."""
    rates = _rates(reading)
    wanted = reading.fields(OPPORTUNITY, words.BASE[OPPORTUNITY])
    for batch in read(reading, "deals", Source(OPPORTUNITY, wanted)):
        rows = [deal_row(reading, record, rates) for record in batch.records if not is_deleted(record)]
        gone = removals(batch.records, OPPORTUNITY, reading.now())
        yield Page("deals", filled({"deals": rows, "removals": gone}), batch.cursor, total=batch.total)


def _rates(reading: Reading) -> Mapping[str, float] | None:
    """Currency -> its rate to the org's own; None where there is one currency, {} where rates can't be read."""
    if "CurrencyIsoCode" not in reading.definitions[OPPORTUNITY]:
        return None
    query = soql.select(("IsoCode", "ConversionRate"), "CurrencyType")
    try:
        found = {row["IsoCode"]: number(row["ConversionRate"]) for row in reading.api.rows(query)}
    except MissingScope:
        return {}
    return {str(code): rate for code, rate in found.items() if rate}


def deal_row(reading: Reading, record: Record, rates: Mapping[str, float] | None) -> Row:
    """An opportunity as our table has it. CloseDate is a forecast while it is open, so it counts on closed ones
    only. An amount in a currency without a known rate is null in the account's currency."""
    changed = modified(record)
    amount, currency = number(record.get("Amount")), record.get("CurrencyIsoCode") or None
    rate = 1.0 if rates is None else rates.get(str(currency))
    closed = bool(flag(record.get("IsClosed")))
    return {
        "deal_id": str(record["Id"]),
        "company_id": record.get("AccountId") or None,
        "created_at": second(record.get("CreatedDate")),
        "updated_at": changed and changed.replace(microsecond=0),
        "closed_at": second(record.get("CloseDate")) if closed else None,
        "amount": None if amount is None or rate is None else amount / rate,
        "amount_original": amount,
        "currency": currency,
        "stage": record.get("StageName") or None,
        "pipeline": record.get("RecordTypeId") or None,
        "is_closed": closed,
        "is_won": bool(flag(record.get("IsWon"))),
        "properties": stored_json(reading, OPPORTUNITY, record),
        "ours": "{}",
        "modified_at": changed,
    }


_ROLE_FIELDS = ("Id", "OpportunityId", "ContactId", "Role", "IsPrimary", "IsDeleted", "SystemModstamp")


def pull_roles(reading: Reading) -> Iterator[Page]:
    """Who takes part in which opportunity. Of one on which a role came, changed or went, all are read again."""
    stream = "deal_contacts"
    first = "since" not in reading.cursor(stream)
    for batch in read(reading, stream, Source(ROLE, _ROLE_FIELDS)):
        if first:
            yield Page(stream, filled({"deal_contacts": _roles(batch.records)}), batch.cursor, total=batch.total)
            continue
        deals = sorted({str(record["OpportunityId"]) for record in batch.records})
        rows = roles_of(reading, "OpportunityId", deals)
        replaces = {"deal_contacts": deals} if deals else {}
        yield Page(stream, filled({"deal_contacts": rows}), batch.cursor, replaces)


def roles_of(reading: Reading, field: str, ids: Sequence[str]) -> list[Row]:
    """The roles on these opportunities, or of these contacts (`field`). Raises MissingScope."""
    rows: list[Row] = []
    size = reading.api.sizes["ids"]
    for start in range(0, len(ids), size):
        condition = soql.one_of(field, ids[start : start + size])
        rows += _roles(list(reading.api.rows(soql.select(_ROLE_FIELDS, ROLE, [condition]), object_name=ROLE)))
    return rows


def _roles(records: Sequence[Record]) -> list[Row]:
    return [
        {
            "deal_id": str(record["OpportunityId"]),
            "contact_id": str(record["ContactId"]),
            "role": record.get("Role") or None,
            "is_primary": bool(flag(record.get("IsPrimary"))),
        }
        for record in records
        if record.get("ContactId") and not is_deleted(record)
    ]


def pull_history(reading: Reading) -> Iterator[Page]:
    """What an opportunity's amount, stage and close date were: Salesforce writes a row at each change of one."""
    stream = "deal_history"
    wanted = ("Id", "OpportunityId", *_HISTORY, "CreatedDate", "SystemModstamp")
    for batch in read(reading, stream, Source("OpportunityHistory", wanted)):
        now = reading.now()
        rows = [
            {
                "object": "deal",
                "object_id": str(record["OpportunityId"]),
                "property": ours,
                "value": plain_number(str(value))
                if name == "Amount" and value not in (None, "")
                else value or None,
                "changed_at": second(record.get("CreatedDate")),
                "observed_at": now,
                "source": "OpportunityHistory",
            }
            for record in batch.records
            for name, ours in _HISTORY.items()
            for value in [record.get(name)]
        ]
        yield Page(stream, filled({"property_history": rows}), batch.cursor, total=batch.total)
