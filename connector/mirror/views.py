"""The canonical tables, as temporary views over the mirror's storage.

`contacts` and `companies` get their `p_` columns from each record's JSON by one parse a record. Queries read
them many times and a view would parse every time, so `materialise` keeps the typed rows in a temporary table:
a snapshot, made anew only when something was committed since. All other views are live.
"""

import json
from collections.abc import Collection, Mapping, Sequence

import duckdb

from scoring.engine import literal, quoted
from scoring.tables import PROPERTY_SQL_TYPES, TABLES

_KEYS = {"contacts": "contact_id", "companies": "company_id", "deals": "deal_id"}
_OBJECTS = {"contacts": "contact", "companies": "company", "deals": "deal"}
_MAP = """'"MAP(VARCHAR,VARCHAR)"'"""
_JSON_TEXTS = "from_json({column}, " + _MAP + ")"

#: Digits as platforms give instants since 1970 in milliseconds; shorter ones would be years or counts.
_MILLISECONDS = r"'^-?\d{11,14}$'"


def entries(column: str) -> str:
    """SQL: the (key, value) pairs of a JSON object of texts, one struct each."""
    return f"unnest(map_entries({_JSON_TEXTS.format(column=column)}))"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make every canonical name readable. `p_` columns are parsed at each query until `materialise`."""
    for table, columns in TABLES.items():
        if table in ("contacts", "companies"):
            _view(connection, table, typed(connection, table))
        elif table == "property_history":
            _view(connection, table, history())
        elif table == "events":
            _view(connection, table, events())
        else:
            names = ", ".join(column.name for column in columns)
            _view(connection, table, f"select {names} from store.{table}")


def materialise(connection: duckdb.DuckDBPyConnection, text_columns: Collection[str]) -> None:
    """Keep `contacts` and `companies` with their typed columns as they are now."""
    for table in ("contacts", "companies"):
        kept = f"_typed_{table}"
        connection.execute(f"create or replace temp table {kept} as {typed(connection, table, text_columns)}")
        _view(connection, table, f"select * from {kept}")


def typed(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    text_columns: Collection[str] = (),
    source: str | None = None,
) -> str:
    """SQL: a record table's canonical columns and one `p_` column for each defined property.

    What cannot be read as its type is null. `text_columns` names properties that stay texts as they stand.
    `source` is what is read in the place of the stored table: some of its rows.
    """
    source = source or f"store.{table}"
    definitions = connection.execute(
        "select property, column_name, type from store.property_definitions where object = ? order by column_name",
        [_OBJECTS[table]],
    ).fetchall()
    canonical = ", ".join(column.name for column in TABLES[table])
    live = "" if table == "contacts" else " where deleted_at is null and merged_into is null"
    if not definitions:
        return f"select {canonical} from {source}{live}"
    structures = _structures([row[0] for row in definitions])
    parsed = ", ".join(
        f"from_json(properties, {texts(names)}) as _parsed{number}" for number, names in enumerate(structures)
    )
    place = {name: f"_parsed{number}.{quoted(name)}" for number, names in enumerate(structures) for name in names}
    columns = ", ".join(
        f"{_cast(place[name], 'text' if name in text_columns else kind)} as {quoted(column)}"
        for name, column, kind in definitions
    )
    return f"select {canonical}, {columns} from (select {canonical}, {parsed} from {source}{live})"


def _structures(names: Sequence[str]) -> list[list[str]]:
    """Names in groups without two that differ by case only, which a STRUCT cannot hold; nearly always one."""
    groups: list[dict[str, str]] = []
    for name in names:
        group = next((group for group in groups if name.lower() not in group), None)
        if group is None:
            groups.append(group := {})
        group[name.lower()] = name
    return [list(group.values()) for group in groups]


def texts(names: Sequence[str]) -> str:
    """SQL: the structure for `from_json` of an object with these keys, which differ by more than case."""
    return literal(json.dumps(dict.fromkeys(names, "VARCHAR"), ensure_ascii=False))


def _cast(text: str, kind: str) -> str:
    sql_type = PROPERTY_SQL_TYPES.get(kind)
    if sql_type == "DOUBLE":
        number = f"try_cast({text} as double)"
        return f"case when isfinite({number}) then {number} end"
    if sql_type == "TIMESTAMP":
        return (
            f"date_trunc('second', case when regexp_matches({text}, {_MILLISECONDS}) "
            f"then epoch_ms(try_cast({text} as bigint)) "
            f"else timezone('UTC', try_cast({text} as timestamptz)) end)"
        )
    return text if sql_type is None else f"try_cast({text} as {sql_type})"


def history(changes: str = "store.property_history", records: Mapping[str, str] | None = None) -> str:
    """SQL: stored changes; for a property without any its present value, known since the record was first seen.

    `changes` and `records` (by table) are what is read in the place of the stored tables: some of their rows.
    """
    sources = {table: f"store.{table}" for table in _KEYS} | dict(records or {})
    every = " union all ".join(
        f"select '{_OBJECTS[table]}' as object, {key} as object_id, first_seen_at, "
        f"{entries('properties')} as entry from {sources[table]}"
        for table, key in _KEYS.items()
    )
    return f"""
        select object, object_id, property, value, changed_at, observed_at, source from {changes}
        union all
        select object, object_id, entry.key, entry.value, date_trunc('second', first_seen_at),
               date_trunc('second', first_seen_at), 'observed'
        from ({every}) records
        where not exists (
            select 1 from {changes} kept
            where kept.object = records.object and kept.object_id = records.object_id
              and kept.property = records.entry.key)
    """


def events(rows: str = "store.events", marks: str = "store.machine_made") -> str:
    """SQL: events as they were read, with what the platform says of `human` times what `scoring.machines` found.
    `rows` and `marks` are the tables, or queries in parentheses, that they come from."""
    names = ", ".join(
        "case when machine is null then human else coalesce(human, 1) * (1 - machine) end as human"
        if column.name == "human"
        else f"e.{column.name}"
        for column in TABLES["events"]
    )
    return f"select {names} from {rows} e left join {marks} m on e.event_id = m.event_id"


def _view(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    connection.execute(f"create or replace temp view {quoted(name)} as {select}")
