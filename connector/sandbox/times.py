"""Instants of the sandbox: epoch milliseconds inside, ISO 8601 with milliseconds outside."""

import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=65_536)
def iso(ms: int) -> str:
    """1654093908469 -> '2022-06-01T14:31:48.469Z'."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day(ms: int) -> str:
    """The date in UTC."""
    return iso(ms)[:10]


def from_datetime(moment: datetime) -> int:
    """Epoch milliseconds; a moment without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def parse(text: str) -> int | None:
    """Epoch milliseconds of an epoch-ms number, a date or an ISO date-time; None when it is none of them."""
    stripped = text.strip()
    if stripped.lstrip("-").isdigit():
        return int(stripped)
    try:
        if len(stripped) == 10:
            return from_datetime(datetime.combine(date.fromisoformat(stripped), datetime.min.time()))
        return from_datetime(datetime.fromisoformat(stripped))
    except ValueError:
        return None
