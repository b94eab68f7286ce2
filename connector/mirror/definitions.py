"""Property definitions into storage, each with a column name of its own."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from connector.mirror.sql import registered
from scoring.tables import schema

_STORED = schema("property_definitions").append(pa.field("known_since", pa.timestamp("us")))


def store_definitions(connection: duckdb.DuckDBPyConnection, given: pa.Table | None, observed_at: datetime) -> int:
    """Replace all definitions of the objects that stand in `given`; how many were new, changed or are gone.

    `known_since` stays from the first page that had the definition.
    """
    if given is None or not given.num_rows:
        return 0
    rows: list[dict[str, Any]] = given.to_pylist()
    objects = sorted({row["object"] for row in rows})
    concerned = "object in (select unnest(?::varchar[]))"
    stored = connection.sql(
        f"select * from store.property_definitions where {concerned}", params=[objects]
    ).to_arrow_table()
    former = {(row["object"], row["property"]): row for row in stored.to_pylist()}
    present = {(row["object"], row["property"]): row for row in _named(rows, former)}
    for key, row in present.items():
        row["known_since"] = former[key]["known_since"] if key in former else observed_at
    changed: int = sum(former.get(key) != row for key, row in present.items()) + len(
        former.keys() - present.keys()
    )
    if changed:
        connection.execute(f"delete from store.property_definitions where {concerned}", [objects])
        with registered(connection, "_page_given", pa.Table.from_pylist(list(present.values()), schema=_STORED)):
            connection.execute("insert into store.property_definitions by name select * from _page_given")
    return changed


def _named(
    rows: Iterable[Mapping[str, Any]], former: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows with column names that differ within an object, whatever the case: `emp.var.rate` and
    `emp_var_rate` make one snake-cased name, and SQL knows no case. Who has a name keeps it."""
    unique = {(row["object"], row["property"]): dict(row) for row in rows}
    taken: set[tuple[str, str]] = set()
    waiting = []
    for key, row in sorted(unique.items()):
        name = former[key]["column_name"] if key in former else None
        if name is not None and _stem(name) == _stem(row["column_name"]) and (key[0], name.lower()) not in taken:
            row["column_name"] = name
            taken.add((key[0], name.lower()))
        else:
            waiting.append((key, row))
    for (object_name, _), row in waiting:
        row["column_name"] = _free(object_name, row["column_name"], taken)
    return [unique[key] for key in sorted(unique)]


def _stem(column: str) -> str:
    return column.lower().rstrip("0123456789").rstrip("_")


def _free(object_name: str, column: str, taken: set[tuple[str, str]]) -> str:
    wanted = column if column.startswith("p_") else f"p_{column}"
    name, number = wanted, 1
    while (object_name, name.lower()) in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add((object_name, name.lower()))
    return name
