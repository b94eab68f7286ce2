"""Rows of a query as JSON records and as CSV."""

from datetime import date, datetime
from typing import Any

import pyarrow as pa

from connector.sandbox.salesforce.soql import Query, Selected
from connector.sandbox.salesforce.store import Org


def run(org: Org, query: Query) -> pa.Table:
    """The rows, one column for each selected field, in order."""
    return org.engine.sql(query.sql).to_arrow_table()


def json_value(value: object) -> object:
    """A value as REST shows it."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    if isinstance(value, date):
        return value.isoformat()
    return value


def records(query: Query, rows: pa.Table, version: str) -> list[dict[str, Any]]:
    """Rows as JSON records with their attributes; parents are records in them."""
    found = []
    for values in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        if query.aggregates:
            record: dict[str, Any] = {"attributes": {"type": "AggregateResult"}}
        else:
            record = {"attributes": {"type": query.entity.name}}
        for selected, value in zip(query.columns, values, strict=True):
            _place(record, selected, json_value(value))
        if record.get("Id"):
            url = f"/services/data/{version}/sobjects/{query.entity.name}/{record['Id']}"
            record["attributes"]["url"] = url
        found.append(record)
    return found


def _place(record: dict[str, Any], selected: Selected, value: object) -> None:
    *parents, name = selected.path or (selected.name,)
    for parent in parents:
        inner = record.get(parent)
        if inner is None:
            if value is None:
                record.setdefault(parent, None)
                return
            inner = record[parent] = {"attributes": {"type": parent}}
        record = inner
    record[name] = value


def csv_page(org: Org, query: Query, rows: pa.Table, separator: str, ending: str) -> bytes:
    """Rows as CSV, every value quoted and a header on top, as Bulk API 2.0 writes it; made in the engine."""
    org.engine.register("page", rows)
    cells = []
    for name, selected in zip(rows.column_names, query.columns, strict=True):
        if selected.field.type == "datetime":
            text = f"strftime(\"{name}\", '%Y-%m-%dT%H:%M:%S.000Z')"
        elif selected.field.stored == "DOUBLE":
            text = f"regexp_replace(cast(\"{name}\" as varchar), '\\.0$', '.0')"
        else:
            text = f'cast("{name}" as varchar)'
        cells.append(f"""'"' || replace(coalesce({text}, ''), '"', '""') || '"'""")
    line = f" || '{separator}' || ".join(cells)
    lines = org.engine.sql(f"select {line} from page").to_arrow_table().column(0).to_pylist()
    org.engine.unregister("page")
    head = separator.join(f'"{selected.name}"' for selected in query.columns)
    return ending.join([head, *lines, ""]).encode()
