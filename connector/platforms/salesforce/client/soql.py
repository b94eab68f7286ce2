"""SOQL from validated names and escaped literals only, and Salesforce's record ids."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

#: Reserved in a string literal: any other backslash is an error to Salesforce.
_ESCAPES = {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def name(text: str) -> str:
    """An object's or a field's name as it is. Raises ValueError when it is none."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of an object or a field.")
    return text


def literal(text: str) -> str:
    """A string literal."""
    return "'" + "".join(_ESCAPES.get(character, character) for character in text) + "'"


def instant(moment: datetime) -> str:
    """A datetime literal, whole seconds; naive means UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return utc.strftime("%Y-%m-%dT%H:%M:%SZ")


def one_of(field: str, values: Iterable[str]) -> str:
    """A condition: the field is one of these texts."""
    return f"{name(field)} IN ({','.join(literal(value) for value in values)})"


def select(
    fields: Sequence[str], source: str, where: Sequence[str] = (), *, order: str = "", limit: int | None = None
) -> str:
    """A query; `where` are conditions built by this module, `order` names a field, with DESC after it or not."""
    text = f"SELECT {','.join(name(field) for field in fields)} FROM {name(source)}"
    if where:
        text += " WHERE " + " AND ".join(where)
    if order:
        terms = [term.split() for term in order.split(",")]
        text += " ORDER BY " + ",".join(
            " ".join([name(term[0]), *(name(word) for word in term[1:])]) for term in terms
        )
    return text if limit is None else f"{text} LIMIT {int(limit)}"


def count(source: str, where: Sequence[str] = ()) -> str:
    """A query that only counts: its `totalSize`."""
    conditions = f" WHERE {' AND '.join(where)}" if where else ""
    return f"SELECT COUNT() FROM {name(source)}{conditions}"


def is_id(text: str) -> bool:
    """Whether a text has the form of a record id."""
    return bool(_ID.fullmatch(text))


def long_id(text: str) -> str:
    """A record id in its 18-character form: the last three tell which letters are capitals.

    Raises ValueError for what is no id.
    """
    if not is_id(text):
        raise ValueError("This is no Salesforce record id: it has neither 15 nor 18 letters and digits.")
    if len(text) == 18:
        return text
    fives = (text[start : start + 5] for start in (0, 5, 10))
    return text + "".join(
        _CHECK[sum(1 << place for place, character in enumerate(five) if character.isupper())] for five in fives
    )
