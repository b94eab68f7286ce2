"""One person in the mirror: which contacts and addresses are that person's, and everything that is known."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.errors import BadSetting
from connector.jobs.run import Run
from scoring.engine import quoted

#: Columns that hold a contact's id, by how tables call them; `object_id` where the object is a contact.
ID_COLUMNS = ("contact_id", "merged_into", "person_id")


@dataclass(frozen=True)
class Person:
    """Ids of the contact itself, of those merged with it or sharing an address, and all addresses, lower case."""

    contact_ids: tuple[str, ...]
    addresses: tuple[str, ...]


def find(run: Run, contact: str | None, email: str | None) -> Person | None:
    """The person with this contact id or address; None when the mirror has none. Raises BadSetting when neither
    or both are given."""
    if (contact is None) == (email is None):
        raise BadSetting("Name one contact: by its id, or by --email - with the address on stdin.")
    first = contact
    if email is not None:
        address = email.strip().lower()
        # who was deleted on the platform is still known here
        first = run.mirror.known.addresses([email]).get(address) or next(iter(_holders(run, [address])), None)
    if first is None or not _fetch(run, "select 1 from store.contacts where contact_id = ?", (first,)):
        return None
    ids: tuple[str, ...] = (first,)
    before = 0
    while len(ids) > before:
        before = len(ids)
        ids = _merged(run, ids)
        addresses = _addresses(run, ids)
        ids = tuple(dict.fromkeys([*ids, *_holders(run, addresses)]))
    return Person(ids, tuple(sorted({*addresses, *_former(run, ids)})))


def _holders(run: Run, addresses: Sequence[str]) -> list[str]:
    """Contacts with one of the addresses: they are the same person, and a trace of each other."""
    if not addresses:
        return []
    marks = _marks(addresses)
    rows = _fetch(
        run,
        f"select contact_id from store.contacts where lower(email) in ({marks}) "
        f"union select contact_id from store.contact_addresses where lower(email) in ({marks}) order by 1",
        (*addresses, *addresses),
    )
    return [row[0] for row in rows]


def _merged(run: Run, contact_ids: Sequence[str]) -> tuple[str, ...]:
    """The contacts, whoever they were merged into, and whoever was merged into any of them."""
    ids: set[str] = set()
    new = set(contact_ids)
    while new:
        ids |= new
        marks, known = _marks(tuple(new)), tuple(new)
        rows = _fetch(
            run,
            f"select merged_into from store.contacts where contact_id in ({marks}) and merged_into is not null "
            f"union select contact_id from store.contacts where merged_into in ({marks})",
            known + known,
        )
        new = {row[0] for row in rows} - ids
    return (*contact_ids, *sorted(ids - set(contact_ids)))


def _addresses(run: Run, ids: Sequence[str]) -> tuple[str, ...]:
    """Those that stand on the contacts now."""
    marks = _marks(ids)
    rows = _fetch(
        run,
        f"select email from store.contacts where contact_id in ({marks}) "
        f"union select email from store.contact_addresses where contact_id in ({marks})",
        (*ids, *ids),
    )
    return _listed(rows)


def _former(run: Run, ids: Sequence[str]) -> tuple[str, ...]:
    """Those that once stood there, but for addresses that are somebody else's now: a wrong entry put right would
    take another person along."""
    rows = _fetch(
        run,
        "select value from store.property_history where object = 'contact' "
        f"and object_id in ({_marks(ids)}) and lower(property) in ('email', 'hs_additional_emails')",
        ids,
    )
    return tuple(one for one in _listed(rows) if set(_holders(run, [one])) <= set(ids))


def _listed(rows: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    found = {part.strip().lower() for (text,) in rows if text for part in text.split(";")}
    return tuple(sorted(one for one in found if "@" in one))


def everything(run: Run, person: Person) -> dict[str, Any]:
    """All that the state knows of a person, table by table; rows as JSON-able dicts."""
    marks, ids = _marks(person.contact_ids), person.contact_ids
    tables = {
        table: _rows(run, table, where.format(ids=marks), ids)
        for table, columns in columns_by_table(run).items()
        if (where := of_contacts(columns)) is not None
    }
    related = {
        "purchase_items": "purchase_id in (select purchase_id from store.purchases "
        f"where contact_id in ({marks}))",
        "deals": f"deal_id in (select deal_id from store.deal_contacts where contact_id in ({marks}))",
        "companies": f"company_id in (select company_id from store.contacts where contact_id in ({marks}))",
        "campaigns": f"campaign_id in (select campaign_id from store.events where contact_id in ({marks}))",
    }
    tables |= {table: _rows(run, table, where, ids) for table, where in related.items()}
    for company in tables["companies"]:
        company.pop("ours", None)  # its reasons name colleagues
    return {
        "contact_ids": list(person.contact_ids),
        "addresses": list(person.addresses),
        "platform": run.platform.name,
        "tables": {table: rows for table, rows in sorted(tables.items()) if rows},
    }


def of_contacts(columns: Container[str]) -> str | None:
    """SQL: a row of a table with these columns is one of the contacts `{ids}`; None for a table without their
    ids."""
    if "contact_id" in columns:
        return "contact_id in ({ids})"
    return "object = 'contact' and object_id in ({ids})" if "object_id" in columns else None


def columns_by_table(run: Run) -> dict[str, dict[str, str]]:
    """Stored tables, their columns and types."""
    rows = run.mirror.connection.execute(
        "select table_name, column_name, data_type from duckdb_columns() where schema_name = 'store' "
        "and database_name = current_database() order by table_name, column_index"
    ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    return found


def _rows(run: Run, table: str, where: str, parameters: Sequence[str]) -> list[dict[str, Any]]:
    found = run.mirror.connection.sql(
        f"select * from store.{quoted(table)} where {where}", params=list(parameters)
    ).to_arrow_table()
    return [_spoken(row) for row in found.to_pylist()]


def _spoken(row: Mapping[str, Any]) -> dict[str, Any]:
    """Values that are JSON as what they say; nothing that is empty."""
    return {name: _read(value) for name, value in row.items() if value is not None}


def _read(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _fetch(run: Run, query: str, parameters: Sequence[str]) -> list[tuple[Any, ...]]:
    return run.mirror.connection.execute(query, list(parameters)).fetchall()


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
