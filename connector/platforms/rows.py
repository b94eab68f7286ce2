"""Rows as the tables of a page."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from connector.platform import page_schema
from scoring import tables

Row = dict[str, Any]


def to_table(name: str, rows: Sequence[Row]) -> pa.Table:
    """Rows as a page's table."""
    return pa.Table.from_pylist(list(rows), schema=page_schema(name))


def filled(given: Mapping[str, Sequence[Row]]) -> dict[str, pa.Table]:
    """Tables of those that have rows."""
    return {name: to_table(name, rows) for name, rows in given.items() if rows}


class Defined(Protocol):
    """A property as a platform defines it."""

    @property
    def label(self) -> str: ...
    @property
    def kind(self) -> str | None:
        """Our type; None where we can't use its values."""

    @property
    def options(self) -> Sequence[tuple[str, str]]:
        """(value, label) pairs."""


def definitions_table(
    object_name: str, definitions: Mapping[str, Defined], chosen: Sequence[str], immutable: frozenset[str]
) -> pa.Table:
    """`property_definitions` of the chosen properties of one object ('contact', 'company')."""
    columns: dict[str, str] = {}
    taken: set[str] = set()
    for name in chosen:
        columns[name] = _column(name, taken)
        taken.add(columns[name])
    return tables.from_rows(
        "property_definitions",
        (
            {
                "object": object_name,
                "property": name,
                "column_name": columns[name],
                "label": definitions[name].label,
                "type": definitions[name].kind,
                "options": _options(definitions[name].options),
                "immutable": name in immutable,
            }
            for name in chosen
        ),
    )


def _options(options: Sequence[tuple[str, str]]) -> str | None:
    if not options:
        return None
    listed = [{"value": value, "label": label} for value, label in options]
    return json.dumps(listed, separators=(",", ":"), ensure_ascii=False)


def _column(name: str, taken: set[str]) -> str:
    """`p_` and the name in lower_snake; most platforms' names are that already, but nothing enforces it."""
    column = "p_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())
    while column in taken:
        column += "_"
    return column
