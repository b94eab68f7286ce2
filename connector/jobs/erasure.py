"""Taking a person out of the mirror's tables, within one transaction."""

import json
from typing import Any

import duckdb

from connector.jobs.people import Person, columns_by_table, of_contacts
from connector.jobs.run import Run
from connector.jobs.traces import as_reason, meant_in, pattern
from connector.mirror.pages import ERASED
from connector.mirror.sql import transaction
from scoring.engine import literal, quoted

#: What a person did, without a contact's id: a row that names the address goes as a whole.
_BY_ADDRESS = ("events", "rejects", "contact_addresses")
#: A cursor that points at the erased contact goes as a whole too: its stream is read from the start.
_BY_TEXT = (*_BY_ADDRESS, "cursors")


def remove(run: Run, person: Person) -> dict[str, int]:
    """Remember the hashes, delete the person's rows, and blank the person in other rows; rows by table."""
    connection = run.mirror.connection
    columns = columns_by_table(run)
    removed: dict[str, int] = {}
    with transaction(connection):
        run.mirror.erased.add(person.contact_ids, person.addresses)
        for table, where in _rows_of(person, columns):
            removed[table] = removed.get(table, 0) + _delete(connection, table, where)
        _rename_persons(connection, person)
        for table, names in columns.items():
            if table not in ("account", "erased"):
                texts = [column for column, kind in names.items() if kind == "VARCHAR"]
                removed[table] = removed.get(table, 0) + _blank(connection, table, texts, person)
        removed["runs"] = removed.get("runs", 0) + _blank_results(connection, set(person.contact_ids))
    return {table: rows for table, rows in sorted(removed.items()) if rows}


def _rows_of(person: Person, columns: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    """(table, condition): what is found through other rows stands before those."""
    ids = ", ".join(map(literal, person.contact_ids)) or "null"
    purchases = f"select purchase_id from store.purchases where contact_id in ({ids})"
    found = [
        ("purchase_items", f"purchase_id in ({purchases})"),
        ("rejects", f"regexp_matches(record, '(?i)contact') and regexp_extract(record, '[^ ]+$') in ({ids})"),
    ]
    found += [
        (table, where.format(ids=ids))
        for table, names in columns.items()
        if (where := of_contacts(names)) is not None
    ]
    for table in _BY_TEXT:
        named = [
            f"regexp_matches({quoted(name)}, {literal(wanted)})"
            for name, kind in columns[table].items()
            if kind == "VARCHAR" and (wanted := pattern(meant_in(name, person))) is not None
        ]
        found += [(table, f"({' or '.join(named)})")] if named else []
    return found


def _delete(connection: duckdb.DuckDBPyConnection, table: str, where: str) -> int:
    [(rows,)] = connection.execute(f"delete from store.{quoted(table)} where {where}").fetchall()
    return int(rows)


def _rename_persons(connection: duckdb.DuckDBPyConnection, person: Person) -> None:
    """A group of contacts that was named by an erased one takes the name of another."""
    ids = ", ".join(map(literal, person.contact_ids)) or "null"
    connection.execute(
        f"""update store.identities kept set person_id = other.contact_id from (
                select person_id, min(contact_id) as contact_id from store.identities
                where person_id in ({ids}) group by person_id) other
            where kept.person_id = other.person_id"""
    )


def _blank(connection: duckdb.DuckDBPyConnection, table: str, columns: list[str], person: Person) -> int:
    """Put a word in the place of the address (or the distinctive id, or one that a company's reasons name) in the
    texts of other rows; how many."""
    wanted = [
        (column, text)
        for column in columns
        for text in (pattern(meant_in(column, person)), as_reason(person))
        if text is not None
    ]
    if not wanted:
        return 0
    matches = [f"regexp_matches({quoted(column)}, {literal(text)})" for column, text in wanted]
    # One look at the table first: next to no column names the person, and an update of each takes its time.
    looks = ", ".join(f"bool_or({match})" for match in matches)
    [found] = connection.execute(f"select {looks} from store.{quoted(table)}").fetchall()
    blanked = 0
    for (column, text), match, there in zip(wanted, matches, found, strict=True):
        if not there:
            continue
        name, sought = quoted(column), literal(text)
        # Twice: what stands between two occurrences belongs to the first match.
        once = f"regexp_replace({name}, {sought}, '\\1{ERASED}\\2', 'g')"
        twice = f"regexp_replace({once}, {sought}, '\\1{ERASED}\\2', 'g')"
        [(rows,)] = connection.execute(
            f"update store.{quoted(table)} set {name} = {twice} where {match}"
        ).fetchall()
        blanked += int(rows)
    return blanked


def _blank_results(connection: duckdb.DuckDBPyConnection, ids: set[str]) -> int:
    """Samples and lists in the results of former runs name contacts by id."""
    changed = 0
    rows = connection.execute("select run_id, result from store.runs where result is not null").fetchall()
    for run_id, text in rows:
        try:
            before = json.loads(text)
        except ValueError:
            continue
        after = _without(before, ids)
        if after != before:
            written = json.dumps(after, sort_keys=True)
            connection.execute("update store.runs set result = ? where run_id = ?", [written, run_id])
            changed += 1
    return changed


def _without(value: Any, ids: set[str]) -> Any:
    """JSON without the rows of these contacts, and without their ids elsewhere."""
    if isinstance(value, dict):
        return {key: _without(one, ids) for key, one in value.items() if key not in ids}
    if isinstance(value, list):
        return [_without(one, ids) for one in value if not _is_row_of(one, ids)]
    return ERASED if isinstance(value, str) and value in ids else value


def _is_row_of(value: Any, ids: set[str]) -> bool:
    return value in ids if isinstance(value, str) else isinstance(value, dict) and value.get("contact_id") in ids
