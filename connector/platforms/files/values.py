"""From the text of a field to a canonical value, as SQL expressions over all rows at once.

A `Value` that is null where the text is not cannot be used; its `complaint` says what it should have been.
"""

from dataclasses import dataclass

from connector.platforms.files.mapping import Source
from scoring.engine import literal
from scoring.tables import KINDS

NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
INTEGER = r"[+-]?[0-9]+(\.0*)?"
DATE = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
TIME = DATE + r"[T ][0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
OFFSET = r" ?(Z|z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)"
ISO = rf"({DATE}|{TIME}({OFFSET})?)"

#: Values that a column may hold; anything else is a complaint.
WORDS = {
    ("consents", "purpose"): ("marketing", "profiling"),
    ("consents", "status"): ("granted", "denied", "unknown"),
    ("property_history", "object"): ("contact", "company", "deal"),
}


@dataclass(frozen=True)
class Value:
    """A SQL expression, and what is wrong with a text that it makes null (None: nothing can be)."""

    sql: str
    complaint: str | None = None


def cleaned(source: Source, column: str) -> str:
    """A field without blanks around it; null when empty or one of `missing`."""
    trimmed = f"nullif(trim({column}, ' \t\r\n'), '')"
    missing = sorted({value.strip() for value in source.spec.missing} - {""})
    if not missing:
        return trimmed
    return f"case when {trimmed} in ({', '.join(map(literal, missing))}) then null else {trimmed} end"


def value(source: Source, column: str, kind: str, text: str) -> Value:
    """The canonical `column` of SQL type `kind` from the expression `text`."""
    match kind:
        case "TIMESTAMP":
            return Value(instant(source, text), _time_words(source))
        case "DOUBLE":
            return Value(f"case when {_full(text, NUMBER)} then {_finite(text)} end", "not a number")
        case "INTEGER" | "BIGINT":
            return _integer(column, kind, text)
        case "BOOLEAN":
            yes, no = "('true', 't', 'yes', 'y', '1')", "('false', 'f', 'no', 'n', '0')"
            sql = f"case when lower({text}) in {yes} then true when lower({text}) in {no} then false end"
            return Value(sql, "neither true nor false")
    words = WORDS.get((source.table, column))
    if words is not None:
        listed = ", ".join(map(literal, words))
        sql = f"case when lower({text}) in ({listed}) then lower({text}) end"
        return Value(sql, f"not one of {', '.join(words)}")
    return Value(text)


def instant(source: Source, text: str) -> str:
    """A text as UTC without a zone, whole seconds (cut off, so that no time moves past an instant it precedes)."""
    spec = source.spec
    if spec.unit is not None:
        factor = "1000000.0e0" if spec.unit == "s" else "1000.0e0"
        number = f"case when {_full(text, NUMBER)} then {_finite(text)} end * {factor}"
        # Beyond the years 1000 to 9999 it is a mistaken unit, and no calendar library would take it.
        sane = f"case when {number} between -30610224000000000.0e0 and 253402300799000000.0e0 then {number} end"
        found = f"make_timestamp(cast(floor({sane}) as bigint))"
    elif spec.time_format is not None:
        parsed = f"try_strptime({text}, {literal(spec.time_format)})"
        zoned = "%z" in spec.time_format or "%Z" in spec.time_format
        found = f"timezone('UTC', {parsed})" if zoned else local(parsed, source.timezone)
    else:
        found = iso(text, source.timezone)
    # Years that no calendar library takes are mistakes.
    return f"date_trunc('second', case when year({found}) between 1000 and 9999 then {found} end)"


def iso(text: str, timezone: str) -> str:
    """An ISO 8601 text as UTC: its own offset counts, else the given zone."""
    naive = local(f"try_cast({text} as timestamp)", timezone)
    offset = rf"regexp_replace(regexp_replace({text}, ' ?(Z|z|UTC)$', '+00'), ' ([+-])', '\1')"
    zoned = f"timezone('UTC', try_cast({offset} as timestamptz))"
    return f"case when {_full(text, TIME + OFFSET)} then {zoned} when {_full(text, ISO)} then {naive} end"


def local(timestamp: str, timezone: str) -> str:
    """A naive time of a zone as UTC."""
    return timestamp if timezone == "UTC" else f"timezone('UTC', timezone({literal(timezone)}, {timestamp}))"


def kind_of_event(text: str) -> tuple[str, str]:
    """(the kind, the file's own word where it is none of ours): unknown kinds are custom events."""
    word = f"replace(replace(lower({text}), ' ', '_'), '-', '_')"
    listed = ", ".join(map(literal, KINDS))
    return (
        f"case when {word} in ({listed}) then {word} else 'custom' end",
        f"case when {word} not in ({listed}) then {text} end",
    )


def full_match(text: str, pattern: str) -> str:
    """Whether the whole text matches."""
    return _full(text, pattern)


def _full(text: str, pattern: str) -> str:
    return f"regexp_full_match({text}, {literal(pattern)})"


def _finite(text: str) -> str:
    return f"case when isfinite(try_cast({text} as double)) then try_cast({text} as double) end"


def _integer(column: str, kind: str, text: str) -> Value:
    number = f"try_cast(try_cast({text} as double) as {kind})"
    within = f" and abs({number}) <= 1080" if column == "utc_offset_min" else ""
    sql = f"case when {_full(text, INTEGER)}{within} then {number} end"
    words = "not minutes from UTC (-1080 to 1080)" if column == "utc_offset_min" else "not a whole number"
    return Value(sql, words)


def _time_words(source: Source) -> str:
    if source.spec.unit is not None:
        return f"not a time in {'seconds' if source.spec.unit == 's' else 'milliseconds'} since 1970"
    if source.spec.time_format is not None:
        return f"not a time written as {source.spec.time_format}"
    return "not a time written as 2024-01-31 or 2024-01-31 10:30:00 (set time_format, or unit for numbers)"
