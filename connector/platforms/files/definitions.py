"""What type each property has, judged by all its values."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from connector.platforms.files.mapping import Source
from connector.platforms.files.values import ISO, NUMBER, full_match, iso, local
from scoring.engine import literal
from scoring.tables import from_rows

#: A category has at most this many values, each of them twice on average (two may always be).
CATEGORY_LIMIT = 50

_BATCH = 40


@dataclass(frozen=True)
class Property:
    """A property of a contact or company. `value` is the SQL expression of its canonical text."""

    object: str
    name: str
    label: str
    type: str
    value: str
    options: tuple[str, ...] = ()


def define(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    records: str,
    labels: dict[str, str],
    texts: dict[str, str],
    goals: Sequence[str],
    source: Source | None,
) -> list[Property]:
    """Types of the text columns `texts` (property -> column of `table`). Those without any value are left out.

    number, boolean (true and false only) and date when every value is one; category for few distinct values; else
    text. Codes with leading zeros are no numbers. Columns of goals stay text.
    """
    owner = "contact" if records == "contacts" else "company"
    defined: list[Property] = []
    names = list(texts)
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        counts = _counts(connection, table, [texts[name] for name in batch], source)
        for name, count in zip(batch, counts, strict=True):
            if count["filled"]:
                kind = "text" if name in goals else _type(count)
                options = _options(connection, table, texts[name]) if kind == "category" else ()
                value = texts[name] if name in goals else _canonical(texts[name], kind, source)
                defined.append(Property(owner, name, labels[name], kind, value, options))
    return defined


def definitions(defined: Sequence[Property]) -> pa.Table:
    """The `property_definitions` table."""
    return from_rows(
        "property_definitions",
        (
            {
                "object": prop.object,
                "property": prop.name,
                "column_name": f"p_{prop.name}",
                "label": prop.label,
                "type": prop.type,
                "options": _options_json(prop.options),
                "immutable": False,
            }
            for prop in defined
        ),
    )


def _options_json(options: Sequence[str]) -> str | None:
    if not options:
        return None
    listed = [{"value": option, "label": option} for option in options]
    return json.dumps(listed, ensure_ascii=False, separators=(",", ":"))


def _counts(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], source: Source | None
) -> list[dict[str, int]]:
    measures = {
        "filled": "count(@)",
        "distinct": "count(distinct @)",
        "numbers": f"count(case when {full_match('@', NUMBER)} then 1 end)",
        "codes": "count(case when regexp_full_match(@, '[+-]?0[0-9]+') then 1 end)",
        "booleans": "count(case when lower(@) in ('true', 'false') then 1 end)",
        "dates": f"count({_date('@', source)})",
    }
    wanted = ", ".join(measure.replace("@", column) for column in columns for measure in measures.values())
    row = connection.execute(f"select {wanted} from {table}").fetchall()[0]
    width = len(measures)
    return [
        dict(zip(measures, row[place * width : (place + 1) * width], strict=True)) for place in range(len(columns))
    ]


def _type(count: dict[str, int]) -> str:
    filled, distinct = count["filled"], count["distinct"]
    if count["numbers"] == filled and not count["codes"]:
        return "number"
    if count["booleans"] == filled:
        return "boolean"
    if count["dates"] == filled:
        return "date"
    if distinct <= CATEGORY_LIMIT and (distinct <= 2 or 2 * distinct <= filled):
        return "category"
    return "text"


def _date(text: str, source: Source | None) -> str:
    """The instant that a text means (UTC), null when it is no date."""
    if source is not None and source.spec.time_format is not None:
        parsed = f"try_strptime({text}, {literal(source.spec.time_format)})"
        zoned = "%z" in source.spec.time_format or "%Z" in source.spec.time_format
        found = f"timezone('UTC', {parsed})" if zoned else local(parsed, source.timezone)
        return f"case when not {full_match(text, NUMBER)} then {found} end"
    return f"case when {full_match(text, ISO)} then {iso(text, source.timezone if source else 'UTC')} end"


def _canonical(text: str, kind: str, source: Source | None) -> str:
    if kind == "boolean":
        return f"lower({text})"
    if kind == "date":
        return f"strftime({_date(text, source)}, '%Y-%m-%dT%H:%M:%SZ')"
    return text


def _options(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> tuple[str, ...]:
    rows = connection.execute(
        f"select distinct {column} from {table} where {column} is not null order by {column}"
    ).fetchall()
    return tuple(row[0] for row in rows)
