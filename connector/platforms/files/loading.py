"""The canonical tables of a mapping, from its files."""

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connector.errors import BadSetting
from connector.platform import page_schema
from connector.platforms.files.definitions import Property, define, definitions
from connector.platforms.files.mapping import Mapping, property_name, suggest, zones
from connector.platforms.files.staging import Stage, Staged
from scoring.engine import connect, literal, quoted
from scoring.tables import TABLES

#: Tables made in a way of their own; all others are their files' rows one below the other.
_OWN_WAY = ("contacts", "companies", "events", "purchases", "purchase_items", "property_definitions")

#: What a page holds of a deal beside its canonical columns.
_KEPT = {"deals": ", '{}' as properties, '{}' as ours, cast(null as timestamp) as modified_at"}

#: Times at which something happened, for `last_time`. Not closed_at, updated_at of plans, or p_ dates: those may
#: lie ahead.
_HAPPENED = (
    ("contacts", "created_at"),
    ("contacts", "updated_at"),
    ("consents", "since"),
    ("property_history", "changed_at"),
    ("companies", "created_at"),
    ("deals", "created_at"),
    ("deals", "updated_at"),
    ("events", "occurred_at"),
    ("purchases", "purchased_at"),
    ("campaigns", "sent_at"),
)


def load_tables(mapping: Mapping, goal_columns: Sequence[str] = ()) -> dict[str, pa.Table]:
    """Every canonical table in the shape it has in a page (`connector.platform.page_schema`), and `rejects`.

    `goal_columns` are read as text, besides those of the mapping's own goals. Dropped columns are nowhere.
    Raises BadSetting.
    """
    goals = tuple(dict.fromkeys([*mapping.goal_columns(), *map(property_name, goal_columns)]))
    with (
        tempfile.TemporaryDirectory(prefix="leadlight-") as folder,
        closing(connect()) as connection,
    ):
        connection.execute("set TimeZone = 'UTC'")
        _register_zones(connection)
        try:
            return _load(mapping, connection, Path(folder), goals)
        except duckdb.InvalidInputException as error:
            raise _format_error(mapping, error) from error


def last_time(tables: dict[str, pa.Table]) -> datetime | None:
    """One second after the last thing that happened, UTC without a zone; None where nothing has a time.

    One second after, because only what occurred strictly before an `as_of` counts, and the last row should.
    """
    found = [
        pc.max(tables[table][column]).as_py()
        for table, column in _HAPPENED
        if table in tables and column in tables[table].column_names
    ]
    times = [time for time in found if time is not None]
    return max(times) + timedelta(seconds=1) if times else None


def _load(
    mapping: Mapping, connection: duckdb.DuckDBPyConnection, folder: Path, goals: tuple[str, ...]
) -> dict[str, pa.Table]:
    stage = Stage(connection, folder, goals)
    staged = [stage.stage(source) for source in mapping.sources]
    _check_goals(mapping, goals, staged)
    for table in TABLES:
        if table not in _OWN_WAY:
            _stack(connection, table, [item for item in staged if item.source.table == table])
    _events(connection, [item for item in staged if item.source.table == "events"])
    _purchases(connection, [item for item in staged if item.source.table == "purchases"], staged)
    for table, key in (("deals", "deal_id"), ("campaigns", "campaign_id"), ("events", "event_id")):
        _put_repeated_aside(connection, table, key, [item for item in staged if item.source.table == table])
    defined: list[Property] = []
    for name, key in (("companies", "company_id"), ("contacts", "contact_id")):
        own = [item for item in staged if item.source.table == name]
        defined += _records(connection, name, key, own, goals)
    _add_missing_contacts(connection)
    return _collect(connection, defined)


def _check_goals(mapping: Mapping, goals: Iterable[str], staged: Iterable[Staged]) -> None:
    """A goal's column must be one of the contacts'."""
    contacts = [item for item in staged if item.source.table == "contacts"]
    names = {extra.name: extra.label for item in contacts for extra in item.extras}
    for column in goals:
        if column not in names:
            dropped = any(property_name(name) == column for item in contacts for name in item.source.spec.drop)
            why = "it is in drop" if dropped else f"no contacts file has it{suggest(column, names)}"
            raise BadSetting(f"{mapping.path}, goal.column: {column!r} cannot be the goal: {why}.")


def _stack(connection: duckdb.DuckDBPyConnection, table: str, staged: Sequence[Staged]) -> None:
    """The rows of all files of a table; columns that a file lacks are null."""
    selects = [
        f"select {', '.join(_cast(item, c.name, c.type) for c in TABLES[table])}, _source, _row from {item.table}"
        for item in staged
    ]
    nothing = ", ".join(f"cast(null as {column.type}) as {column.name}" for column in TABLES[table])
    body = " union all ".join(selects) or f"select {nothing}, 0 as _source, 0 as _row where false"
    connection.execute(f"create or replace temp table {table} as select *{_KEPT.get(table, '')} from ({body})")


def _put_repeated_aside(
    connection: duckdb.DuckDBPyConnection, table: str, key: str, staged: Sequence[Staged]
) -> None:
    """Of rows with one id in several files, that of the last file counts."""
    if len(staged) < 2:
        return
    connection.execute(
        f"create or replace temp table repeated as select _source, _row from (select _source, _row, row_number() "
        f"over (partition by {key} order by _source desc, _row desc) as place from {table}) where place > 1"
    )
    for item in staged:
        record = literal(f"{item.source.file.name}, record ")
        connection.execute(
            f"insert into rejects select {record} || _row, {literal(key)}, "
            f"{literal(f'the same {key} comes again in a later file; that row counts')}, _row, _source "
            f"from repeated where _source = {item.source.number}"
        )
    connection.execute(f"delete from {table} where (_source, _row) in (select (_source, _row) from repeated)")


def _cast(item: Staged, name: str, kind: str, default: str = "null") -> str:
    return f"cast({name if name in item.given else default} as {kind}) as {name}"


def _events(connection: duckdb.DuckDBPyConnection, staged: Sequence[Staged]) -> None:
    selects = []
    for item in staged:
        defaults = {
            "event_id": f"'e{item.source.number}-' || _row",
            "human": "1",
            "source": "'file'",
            "kind": "'custom'",
            "channel": _channel(item),
            "properties": _details(item),
        }
        columns = [_cast(item, c.name, c.type, defaults.get(c.name, "null")) for c in TABLES["events"]]
        selects.append(f"select {', '.join(columns)}, _source, _row from {item.table}")
    if not selects:
        _stack(connection, "events", ())
        return
    connection.execute(f"create or replace temp table events as {' union all '.join(selects)}")


def _channel(item: Staged) -> str:
    if "kind" not in item.given:
        return "null"
    return (
        "case when kind in ('page_view', 'form_submit', 'product_view', 'cart_add') then 'web' "
        "when split_part(kind, '_', 1) in ('email', 'sms', 'push', 'ad') then split_part(kind, '_', 1) end"
    )


def _details(item: Staged) -> str:
    """Columns that are not canonical, and the file's own word for a kind that is not ours, as JSON."""
    fields = {extra.name: extra.column for extra in item.extras}
    if "kind" in item.given:
        fields.setdefault("name", "_word")
    return json_object(fields) if fields else "null"


def _purchases(connection: duckdb.DuckDBPyConnection, staged: Sequence[Staged], every: Sequence[Staged]) -> None:
    """Lines with one purchase_id are one purchase. The sum is rounded, so that it is equal whatever the order
    in which threads add."""
    lines = []
    for item in staged:
        amount = "quantity * price" if {"quantity", "price"} <= set(item.given) else "null"
        columns = [
            _cast(item, "purchase_id", "VARCHAR", f"'p{item.source.number}-' || _row"),
            _cast(item, "contact_id", "VARCHAR"),
            _cast(item, "purchased_at", "TIMESTAMP"),
            _cast(item, "amount", "DOUBLE", amount),
            *(_cast(item, name, "VARCHAR") for name in ("currency", "product_id", "category")),
            *(_cast(item, name, "DOUBLE") for name in ("quantity", "price")),
        ]
        lines.append(f"select {', '.join(columns)}, _source, _row from {item.table}")
    _stack(connection, "purchase_items", [item for item in every if item.source.table == "purchase_items"])
    if not lines:
        _stack(connection, "purchases", ())
        return
    # An id that several contacts share (counters by shop) is one purchase of each of them.
    connection.execute(
        f"create or replace temp table lines as select * replace (case when contact_id = first_contact "
        f"then purchase_id else purchase_id || '/' || contact_id end as purchase_id) from ("
        "select *, first_value(contact_id) over (partition by purchase_id order by _source, _row) as first_contact"
        f" from ({' union all '.join(lines)}))"
    )
    connection.execute(
        "create or replace temp table purchases as select purchase_id, any_value(contact_id) as contact_id, "
        "min(purchased_at) as purchased_at, round(sum(amount), 6) as amount, "
        "arg_min(currency, _source * 1000000000000 + _row) as currency, min(_source) as _source, "
        "min(_row) as _row "
        "from lines group by purchase_id"
    )
    connection.execute(
        "insert into purchase_items select purchase_id, product_id, category, quantity, price, _source, _row "
        "from lines where product_id is not null"
    )


def _records(
    connection: duckdb.DuckDBPyConnection, table: str, key: str, staged: Sequence[Staged], goals: tuple[str, ...]
) -> list[Property]:
    """`table` with its canonical columns and `properties`; the definitions of its properties."""
    labels: dict[str, str] = {}
    for item in staged:
        for extra in item.extras:
            labels.setdefault(extra.name, extra.label)
    texts = {name: f"p_{place}" for place, name in enumerate(labels)}
    _widen(connection, table, key, staged, texts)
    own_goals = goals if table == "contacts" else ()
    source = staged[0].source if staged else None
    found = define(connection, f"wide_{table}", table, labels, texts, own_goals, source)
    properties = json_object({prop.name: prop.value for prop in found}) if found else "'{}'"
    canonical = ", ".join(column.name for column in TABLES[table])
    connection.execute(
        f"create or replace temp table {table} as select {canonical}, {properties} as properties, "
        f"'{{}}' as ours, cast(null as timestamp) as modified_at, _source, _row from wide_{table}"
    )
    return found


def _widen(
    connection: duckdb.DuckDBPyConnection, table: str, key: str, staged: Sequence[Staged], texts: dict[str, str]
) -> None:
    """One row an id, with all texts of properties. Where several files know a contact, the first that has a
    value gives it."""
    selects = []
    for item in staged:
        own = {extra.name: extra.column for extra in item.extras}
        columns = [_cast(item, c.name, c.type, "_row" if c.name == "row_order" else "null") for c in TABLES[table]]
        columns += [f"cast({own.get(name, 'null')} as varchar) as {text}" for name, text in texts.items()]
        selects.append(f"select {', '.join(columns)}, _source, _row from {item.table}")
    if not selects:
        _stack(connection, table, ())
        connection.execute(f"create or replace temp table wide_{table} as select * from {table}")
        return
    body = " union all ".join(selects)
    if len(selects) > 1:
        names = [column.name for column in TABLES[table] if column.name != key] + list(texts.values())
        merged = ", ".join(
            f"first({name} order by _source) filter ({name} is not null) as {name}" for name in names
        )
        body = f"select {key}, {merged}, min(_source) as _source, min(_row) as _row from ({body}) group by {key}"
    connection.execute(f"create or replace temp table wide_{table} as {body}")


def _add_missing_contacts(connection: duckdb.DuckDBPyConnection) -> None:
    """Contacts are the union of the ids in all tables."""
    mentions = [
        f"select contact_id from {table}"
        for table, columns in TABLES.items()
        if table != "contacts" and any(column.name == "contact_id" for column in columns)
    ]
    mentions.append(
        "select object_id as contact_id from property_history where coalesce(object, 'contact') = 'contact'"
    )
    connection.execute(
        "insert into contacts by name select contact_id, '{}' as properties, '{}' as ours, 0 as _source, 0 as _row"
        f" from (select distinct contact_id from ({' union all '.join(mentions)}) where contact_id is not null) "
        "where contact_id not in (select contact_id from contacts)"
    )


def _collect(connection: duckdb.DuckDBPyConnection, defined: Sequence[Property]) -> dict[str, pa.Table]:
    tables: dict[str, pa.Table] = {}
    for table in TABLES:
        if table == "property_definitions":
            tables[table] = definitions(defined)
            continue
        schema = page_schema(table)
        names = ", ".join(quoted(name) for name in schema.names)
        order = "_source = 0, _source, _row" + (", contact_id" if table == "contacts" else "")
        tables[table] = (
            connection.sql(f"select {names} from {table} order by {order}").to_arrow_table().cast(schema)
        )
    rejects = "select record, field, reason from rejects order by source, number"
    tables["rejects"] = connection.sql(rejects).to_arrow_table().cast(page_schema("rejects"))
    return tables


def json_object(fields: dict[str, str]) -> str:
    """A JSON object from SQL expressions of texts: keys sorted, nulls left out, no blanks."""
    parts = [
        f"{literal(chr(34) + name + chr(34) + ':')} || cast(to_json({expression}) as varchar)"
        for name, expression in sorted(fields.items())
    ]
    return "'{' || concat_ws(',', " + ", ".join(parts) + ") || '}'"


def _register_zones(connection: duckdb.DuckDBPyConnection) -> None:
    """Zones that this machine's library and the engine both know."""
    names = pa.table({"name": sorted(zones())})
    connection.register("_incoming", names)
    connection.execute(
        "create temp table known_zones as select name from _incoming "
        "where name in (select name from pg_timezone_names())"
    )
    connection.unregister("_incoming")


def _format_error(mapping: Mapping, error: duckdb.Error) -> BaseException:
    """A time_format that the engine does not know is the user's; anything else is ours."""
    if "format specifier" not in str(error):
        return error
    for source in mapping.sources:
        if source.spec.time_format is not None:
            return source.wrong("time_format", f"{source.spec.time_format!r} is no time format; see strptime.")
    return error
