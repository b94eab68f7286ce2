"""Values as platforms write them to values as we do: times, numbers, booleans, records as text."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - our tables hold naive UTC


def instant(value: object) -> datetime | None:
    """A time as naive UTC with all its digits: ISO 8601, a date, or epoch milliseconds."""
    return None if value in (None, "") else _instant(str(value))


@lru_cache(maxsize=20_000)
def _instant(text: str) -> datetime | None:
    """Records that came together share their times, and each is asked for more than once."""
    try:
        if text.lstrip("-").isdigit():
            return EPOCH + timedelta(milliseconds=int(text))
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def second(value: object) -> datetime | None:
    """The same in whole seconds."""
    found = instant(value)
    return None if found is None else found.replace(microsecond=0)


def number(value: object) -> float | None:
    """A number from a platform's text."""
    try:
        return None if value in (None, "") else float(str(value))
    except ValueError:
        return None


def flag(value: object) -> bool | None:
    """A boolean from a platform's text."""
    return {"true": True, "false": False}.get(str(value).lower())


def plain_number(text: str) -> str:
    """Without exponent and trailing zeros: 87.0 -> 87, 0.50 -> 0.5."""
    found = number(text)
    if found is None:
        return text
    return str(int(found)) if found.is_integer() and abs(found) < 1e15 else repr(found)


def canonical_text(kind: str, text: object) -> str | None:
    """A platform's text of one of our properties as canonical text, so that equal values compare equal."""
    if text in (None, ""):
        return None
    given = str(text)
    if kind == "datetime":
        moment = second(given)
        return given if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if kind == "boolean":
        return given.lower()
    return plain_number(given) if kind == "number" else given


def record_json(values: Mapping[str, Any]) -> str:
    """A record's properties as text: keys sorted, nothing empty, compact; equal records have equal texts."""
    kept = {name: str(value) for name, value in sorted(values.items()) if value not in (None, "")}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False)


def details_json(details: Mapping[str, Any]) -> str:
    """An event's further facts as text, without those that are unknown."""
    kept = {name: value for name, value in sorted(details.items()) if value not in (None, "")}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False)
