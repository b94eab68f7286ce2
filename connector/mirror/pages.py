"""A page's Arrow tables as temporary tables, in the types of storage."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from connector.errors import Bug
from connector.mirror.sql import registered
from connector.platform import RECORD_TABLES, Page
from scoring.tables import TABLES

#: Kept with all their digits: echoes and stale reads are told by them.
_EXACT = ("modified_at",)


def stage(
    connection: duckdb.DuckDBPyConnection, page: Page, table: str, key: Sequence[str], latest: str | None = None
) -> list[str]:
    """Make `_page_in` of the page's rows of a table and return its columns. Where a key stands twice, the row
    with the latest `latest` stays, then the last one. A column that the page lacks is null."""
    columns = {column.name: column.type for column in TABLES[table]}
    if table in RECORD_TABLES:
        columns |= {"properties": "VARCHAR", "ours": "VARCHAR", "modified_at": "TIMESTAMP"}
    given = page.rows.get(table)
    given = pa.table({name: pa.nulls(0) for name in columns}) if given is None else given
    if unknown := sorted(set(given.column_names) - set(columns)):
        raise Bug(f"A page of stream {page.stream} has a column {table}.{unknown[0]} that there is not.")
    present = set(given.column_names)
    select = ", ".join(f"{_value(name, kind, present)} as {name}" for name, kind in columns.items())
    order = (f"g.{latest} desc nulls last, " if latest is not None and latest in present else "") + "_place desc"
    by = ", ".join(_value(name, columns[name], present) for name in key)
    once = f"qualify row_number() over (partition by {by} order by {order}) = 1" if key else ""
    placed = given.append_column("_place", pa.array(range(given.num_rows), pa.int64()))
    with registered(connection, "_page_given", placed):
        connection.execute(f"create or replace temp table _page_in as select {select} from _page_given g {once}")
    return list(columns)


def _value(name: str, kind: str, present: set[str]) -> str:
    if name not in present:
        return f"cast(null as {kind})"
    if kind == "TIMESTAMP" and name not in _EXACT:
        return f"date_trunc('second', cast(g.{name} as timestamp))"
    return f"cast(g.{name} as {kind})"
