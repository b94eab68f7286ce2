"""Times of the made-up market: local hours of many people turned into UTC seconds without a loop over them.

Seconds are int64 since 1970-01-01 UTC. Zones are read from the machine's time zone data once an hour of the
market's span, so daylight-saving changes and half-hour zones are right to the hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HOUR, DAY, WEEK = 3600, 86400, 604800
#: 1970-01-05 was a Monday.
_MONDAY = 4 * DAY


def seconds(instant: datetime) -> int:
    """A naive UTC instant as whole seconds."""
    return int(instant.replace(tzinfo=UTC).timestamp())


def timestamps(secs: Ints, known: Bools | None = None) -> pa.Array:
    """Seconds as the canonical TIMESTAMP; null where not `known`."""
    mask = None if known is None else ~known
    return pa.array(secs * 1_000_000, mask=mask).cast(pa.timestamp("us"))


@dataclass(frozen=True)
class Clock:
    """UTC offsets of some zones between two instants (seconds)."""

    zones: Sequence[str]
    start: int
    end: int

    @cached_property
    def _offsets(self) -> Ints:
        """One row a zone, one column an hour from `start`; offsets in seconds."""
        hours = np.arange(self.start, self.end + 2 * DAY, HOUR)
        return np.array([_by_hour(ZoneInfo(name), hours) for name in self.zones], dtype=np.int64)

    def offset(self, utc: Ints, zone: Ints) -> Ints:
        """Seconds to add to `utc` for the wall-clock time in `zone` (index into `zones`)."""
        column = np.clip((utc - self.start) // HOUR, 0, self._offsets.shape[1] - 1)
        found: Ints = self._offsets[zone, column]
        return found

    def local(self, utc: Ints, zone: Ints) -> Ints:
        """Wall-clock seconds in `zone`."""
        return utc + self.offset(utc, zone)

    def utc(self, local: Ints, zone: Ints) -> Ints:
        """The instant at which clocks in `zone` show `local`; an hour that clocks skip becomes the next one."""
        guess: Ints = local - self.offset(local, zone)
        return local - self.offset(guess, zone)


def _by_hour(zone: ZoneInfo, hours: Ints) -> Ints:
    """The zone's offset at each hour: asked at both ends of a day, and hour by hour only where they differ."""
    ends = [*range(0, len(hours), 24), len(hours) - 1]
    at_ends = [_offset(zone, int(hours[end])) for end in ends]
    found = np.full(len(hours), at_ends[-1], dtype=np.int64)
    for (first, last), (before, after) in zip(pairwise(ends), pairwise(at_ends), strict=True):
        changes = before != after
        found[first:last] = [_offset(zone, int(hour)) for hour in hours[first:last]] if changes else before
    return found


def _offset(zone: ZoneInfo, at: int) -> int:
    found = datetime.fromtimestamp(at, zone).utcoffset()
    return 0 if found is None else int(found.total_seconds())


def hour_of(local: Ints) -> Ints:
    """Hour of the day, 0 to 23, of wall-clock seconds."""
    return (local % DAY) // HOUR


def weekday_of(local: Ints) -> Ints:
    """0 is Monday, 6 is Sunday."""
    return ((local - _MONDAY) % WEEK) // DAY


def week_start(local: Ints) -> Ints:
    """Monday 0:00 of the week that holds wall-clock seconds."""
    found: Ints = local - (local - _MONDAY) % WEEK
    return found


def pick(rng: np.random.Generator, weights: Floats) -> Ints:
    """One column for each row, drawn with the row's weights (which need not sum to one)."""
    upto = np.cumsum(weights, axis=1)
    drawn = rng.random(len(weights)) * upto[:, -1]
    column: Ints = (upto < drawn[:, None]).sum(axis=1).astype(np.int64)
    last: Ints = np.minimum(column, weights.shape[1] - 1)
    return last


def repeated(rng: np.random.Generator, expected: Floats) -> Ints:
    """Indices of rows, each as often as a Poisson draw with its expected number says."""
    return np.repeat(np.arange(len(expected)), rng.poisson(np.maximum(expected, 0.0)))
