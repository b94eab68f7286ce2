"""Fill an account from canonical tables: a mapping's files, or the made-up market."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connector.sandbox import times
from connector.sandbox.contents import UNDATED_AGE_MS, contents
from connector.sandbox.hubspot import activities, standard
from connector.sandbox.hubspot.ids import Ids, ids_of
from connector.sandbox.hubspot.pipelines import Stages, sales_pipelines
from connector.sandbox.hubspot.schema import Definition
from connector.sandbox.hubspot.state import CRM_UI, AccountFacts, Collection, Entry, Portal, Record, Source
from connector.sandbox.options import SandboxOptions

Row = Mapping[str, Any]
Tables = Mapping[str, pa.Table]

#: Property that keeps an id that HubSpot could not have.
ORIGINAL_ID = "source_record_id"
#: canonical type -> type and field type.
_TYPES = {
    "text": ("string", "text"),
    "category": ("enumeration", "select"),
    "multi": ("enumeration", "checkbox"),
    "number": ("number", "number"),
    "boolean": ("bool", "booleancheckbox"),
    "date": ("datetime", "date"),
}
#: Facts about a record, which no file's column may replace.
_FACTS = frozenset(
    {"email", "createdate", "lastmodifieddate", "hs_lastmodifieddate", "hs_object_id", "lifecyclestage"}
)


def portal(options: SandboxOptions, clock: Callable[[], int] = times.now_ms) -> Portal:
    """The account that the options describe. Raises BadSetting for a mapping that is wrong."""
    found = contents(options, clock())
    facts = AccountFacts(timezone=found.timezone, currency=found.currency)
    account = Portal(clock=clock, search_lag=options.search_lag, facts=facts)
    fill(account, found.tables)
    return account


def fill(account: Portal, tables: Tables) -> None:
    """Put canonical tables (`scoring.tables`, with `p_` columns or JSON `properties`) into an empty account."""
    contacts = Filler(account, "contacts", tables)
    companies = Filler(account, "companies", tables)
    deals = Filler(account, "deals", tables)
    stages = sales_pipelines(_rows(tables, "deals"))
    account.pipelines["deals"] = stages.pipelines
    owners = _owners(tables)
    account.owners = [_owner(name, id_, account.started) for name, id_ in owners.items()]
    account.objects["deals"].schema.widen("pipeline", {one["id"] for one in stages.pipelines})
    account.objects["deals"].schema.widen("dealstage", stages.ids)
    companies.load(lambda row: _company(row))
    addresses, denied = _addresses(tables), activities.consents(account, tables)
    contacts.load(lambda row: _contact(row, companies.ids, owners, addresses, denied))
    deals.load(lambda row: _deal(row, stages))
    _date_refusals(account, denied, contacts.ids)
    _date_deals(account, stages)
    _link(account, tables, contacts.ids, companies.ids, deals.ids)
    activities.fill(account, tables, contacts.ids)


@dataclass(frozen=True)
class _Named:
    """A property of the tables: where its value is, and what it is called in the account."""

    source: str
    name: str
    type: str


class Filler:
    """Turns the rows of one canonical table into records."""

    def __init__(self, account: Portal, name: str, tables: Tables) -> None:
        self._account = account
        self._collection: Collection = account.objects[name]
        self._table = tables.get(name)
        self._key = f"{self._collection.single}_id"
        self._names = [one["property"] for one in self._definitions(tables)]
        self.ids: Ids = ids_of([] if self._table is None else self._table[self._key].to_pylist())
        self._properties = [self._define(one) for one in self._definitions(tables)]
        self._history = _history(tables, self._collection.single)
        if self.ids.renumbered:
            account.define(name, _custom(name, ORIGINAL_ID, "Source record ID", "text", ()))

    def _definitions(self, tables: Tables) -> list[Row]:
        return [one for one in _rows(tables, "property_definitions") if one["object"] == self._collection.single]

    def _define(self, one: Row) -> _Named:
        """Use the standard property of that name if it takes any text, else define one of the account's own."""
        name, kind = str(one["property"]), str(one["type"])
        options = [(str(o["value"]), str(o["label"])) for o in json.loads(one["options"] or "[]")]
        if kind in ("category", "multi") and (not options or any(";" in value for value, _ in options)):
            kind = "text"
        standing = self._collection.schema.definitions.get(name)
        if name in _FACTS:
            name = f"{name}_1"
        elif standing is not None and standing.type == "string" and kind == "text" and not standing.read_only:
            return _Named(str(one["column_name"]), name, kind)
        made = _custom(self._collection.name, name, str(one["label"] or name), kind, tuple(options))
        self._account.define(self._collection.name, made)
        return _Named(str(one["column_name"]), name, kind)

    def load(self, translate: Callable[[Row], dict[str, str | None]]) -> None:
        """Every row as a record; those merged away become ids that lead to the winner."""
        records = []
        for row in () if self._table is None else _iterate(self._table):
            id_, winner = self.ids[row[self._key]], row.get("merged_into")
            if winner is not None and winner in self.ids:
                self._collection.merged_into[id_] = self.ids[winner]
                continue
            records.append(self._record(id_, row, translate(row)))
        for record in records:
            self._widen(record)
        self._collection.load(records)
        for loser, winner_id in self._collection.merged_into.items():
            self._note_merge(loser, self._collection.records.get(winner_id))

    def _record(self, id_: int, row: Row, known: Mapping[str, str | None]) -> Record:
        values = {name: value for name, value in known.items() if value not in (None, "")}
        own = json.loads(row["properties"]) if row.get("properties") else None
        for prop in self._properties:
            value = own.get(prop.source.removeprefix("p_")) if own is not None else row.get(prop.source)
            if value is not None and value != "":
                values[prop.name] = text(value)
        if self.ids.renumbered:
            values[ORIGINAL_ID] = str(row[self._key])
        undated = self._account.started - UNDATED_AGE_MS
        created, modified = row.get("created_at"), row.get("updated_at")
        first = times.from_datetime(created) if created else None
        last = times.from_datetime(modified) if modified else first
        made = first if first is not None else min(undated, last if last is not None else undated)
        record = Record(id_, {k: str(v) for k, v in values.items()}, made, max(made, last if last else made))
        if row.get("deleted_at") is not None:
            record.archived_at = times.from_datetime(row["deleted_at"])
        record.history = {
            self._served_name(name): entries for name, entries in self._history.get(row[self._key], {}).items()
        }
        return record

    def _served_name(self, name: str) -> str:
        return f"{name}_1" if name in _FACTS and name in self._names else name

    def _widen(self, record: Record) -> None:
        """Values that a standard choice does not have yet become options of it."""
        schema = self._collection.schema
        for name in ("industry", "lifecyclestage", "hs_timezone"):
            found, value = schema.live(name), record.properties.get(name)
            if found and value and found.type == "enumeration" and value not in dict(found.options):
                schema.widen(name, {value})

    def _note_merge(self, loser: int, winner: Record | None) -> None:
        if winner is not None:
            standing = winner.properties.get("hs_merged_object_ids")
            winner.properties["hs_merged_object_ids"] = f"{standing};{loser}" if standing else str(loser)


def text(value: object) -> str:
    """A value as HubSpot keeps it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return times.iso(times.from_datetime(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def _custom(
    object_name: str, name: str, label: str, kind: str, options: tuple[tuple[str, str], ...]
) -> Definition:
    type_, field_type = _TYPES[kind]
    group = standard.group_of(object_name)[0]
    return Definition(name, label, type_, field_type, group, options, hubspot_defined=False)


def _contact(
    row: Row,
    companies: Ids,
    owners: Mapping[str, str],
    addresses: Mapping[str, list[str]],
    denied: Mapping[str, object],
) -> dict[str, str | None]:
    email = (row.get("email") or "").lower() or None
    company, zone = row.get("company_id"), row.get("timezone")
    more = [one for one in addresses.get(row["contact_id"], ()) if one != email]
    return {
        "email": email,
        "hs_email_domain": email.rpartition("@")[2] if email else None,
        "hs_additional_emails": ";".join(more),
        "hs_timezone": standard.zone_option(zone) if zone else None,
        "country": row.get("country"),
        "associatedcompanyid": str(companies[company]) if company is not None and company in companies else None,
        "hubspot_owner_id": owners.get(str(row.get("owner_id"))),
        "lifecyclestage": row.get("lifecycle_stage"),
        "hs_email_optout": "true" if row["contact_id"] in denied else None,
    }


def _company(row: Row) -> dict[str, str | None]:
    employees, revenue = row.get("employees"), row.get("annual_revenue")
    return {
        "name": row.get("name"),
        "domain": row.get("domain"),
        "industry": row.get("industry"),
        "numberofemployees": None if employees is None else text(employees),
        "annualrevenue": None if revenue is None else text(revenue),
        "country": row.get("country"),
    }


def _deal(row: Row, stages: Stages) -> dict[str, str | None]:
    home, foreign = row.get("amount"), row.get("amount_original")
    closed = row.get("closed_at")
    return {
        "dealname": f"Deal {row['deal_id']}",
        "amount": None if foreign is None and home is None else text(home if foreign is None else foreign),
        "amount_in_home_currency": None if home is None else text(home),
        "deal_currency_code": row.get("currency"),
        "closedate": None if closed is None else times.iso(times.from_datetime(closed)),
        **stages.properties(row),
    }


def _date_refusals(account: Portal, denied: Mapping[str, int | None], contacts: Ids) -> None:
    """A refusal of mail stands in the history from its own date on."""
    for name, since in denied.items():
        record = account.contacts.records.get(contacts.get(name, -1))
        if record is not None and since is not None:
            record.history["hs_email_optout"] = [Entry("true", since, Source("EMAIL"))]


def _date_deals(account: Portal, stages: Stages) -> None:
    """A closed deal was open once: its history must not say that it was won from the beginning."""
    for deal in account.objects["deals"].records.values():
        closed = times.parse(deal.properties.get("closedate", ""))
        if deal.properties.get("hs_is_closed") != "true" or closed is None or closed <= deal.created:
            continue
        before = stages.first_open(deal.properties["pipeline"])
        for name, value in before.items():
            entries = [Entry(value, deal.created, CRM_UI), Entry(deal.properties[name], closed, CRM_UI)]
            deal.history.setdefault(name, entries if value != deal.properties[name] else entries[:1])


def _history(tables: Tables, single: str) -> dict[str, dict[str, list[Entry]]]:
    """id -> property -> entries, oldest first."""
    table = tables.get("property_history")
    if table is None:
        return {}
    own = table.filter(pc.and_(pc.equal(table["object"], single), pc.is_valid(table["changed_at"])))
    own = own.sort_by("changed_at")
    moments = pc.divide(own["changed_at"].cast(pa.int64()), 1_000).to_pylist()
    columns = [own[name].to_pylist() for name in ("object_id", "property", "value", "source")]
    sources = {word: Source(word or "IMPORT") for word in set(columns[3])}
    found: dict[str, dict[str, list[Entry]]] = {}
    for id_, name, value, source, at in zip(*columns, moments, strict=True):
        entry = Entry(value or "", at, sources[source])
        found.setdefault(id_, {}).setdefault(name, []).append(entry)
    return found


def _addresses(tables: Tables) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in _rows(tables, "contact_addresses"):
        found[row["contact_id"]].append(row["email"].lower())
    return found


def _owners(tables: Tables) -> dict[str, str]:
    table = tables.get("contacts")
    names = sorted({one for one in table["owner_id"].to_pylist() if one is not None}) if table is not None else []
    numbered = ids_of(names)
    return {name: str(numbered[name]) for name in names}


def _owner(name: str, id_: str, at: int) -> dict[str, Any]:
    return {
        "id": id_,
        "email": f"owner{id_}@leadlight-demo.example",
        "type": "PERSON",
        "firstName": "Owner",
        "lastName": name,
        "userId": 1_000_000 + int(id_),
        "userIdIncludingInactive": 1_000_000 + int(id_),
        "createdAt": times.iso(at),
        "updatedAt": times.iso(at),
        "archived": False,
        "teams": [],
    }


def _link(account: Portal, tables: Tables, contacts: Ids, companies: Ids, deals: Ids) -> None:
    winner = account.contacts.winner
    pairs: Sequence[tuple[str, str, str, Ids, str, str, Ids]] = (
        ("contacts", "contact_id", "contacts", contacts, "company_id", "companies", companies),
        ("deals", "deal_id", "deals", deals, "company_id", "companies", companies),
        ("deal_contacts", "deal_id", "deals", deals, "contact_id", "contacts", contacts),
    )
    for table, left_key, left, left_ids, right_key, right, right_ids in pairs:
        for row in _rows(tables, table, (left_key, right_key)):
            one, other = row[left_key], row[right_key]
            if one in left_ids and other in right_ids:
                left_id, right_id = left_ids[one], right_ids[other]
                left_id = winner(left_id) if left == "contacts" else left_id
                account.links.add(left, left_id, right, winner(right_id) if right == "contacts" else right_id)


def _rows(tables: Tables, name: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
    table = tables.get(name)
    if table is None or (columns and not set(columns) <= set(table.column_names)):
        return iter(())
    return _iterate(table if columns is None else table.select(list(columns)))


def _iterate(table: pa.Table) -> Iterator[Row]:
    for batch in table.to_batches(max_chunksize=8_192):
        yield from batch.to_pylist()
