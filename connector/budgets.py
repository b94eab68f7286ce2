"""Call budgets: several at once, thread-safe, corrected by what the platform's responses say.

A share of every limit is left to the customer's other integrations. Short budgets make the caller wait; a
daily budget that is used up raises `BudgetSpent` with the instant at which there are calls again.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from connector.errors import BudgetSpent

_DAY_SECONDS = 86400

#: Below this many calls a window is spread evenly: three bursts of four a second would pass a limit of five
#: a second wherever the platform's second begins.
_SPREAD_BELOW = 20


@dataclass(frozen=True)
class Quota:
    """What a response says about the budgets; None where it says nothing."""

    limit: int | None = None
    remaining: int | None = None
    seconds: float | None = None
    daily_limit: int | None = None
    daily_remaining: int | None = None


@dataclass(frozen=True)
class Today:
    """A day's calls as the platform counts them: `left` for everybody, of which `ours` may be used by us."""

    calls: int
    left: int
    ours: int
    share: float


class Window:
    """At most `share` of `calls` in any `seconds`."""

    def __init__(self, calls: int, seconds: float, share: float) -> None:
        self._share = share
        self._not_before = 0.0
        self._taken: deque[float] = deque()
        self._set(calls, seconds)

    def _set(self, calls: int, seconds: float) -> None:
        self._limit, self._seconds = calls, seconds
        allowed = calls * self._share
        spread = allowed < _SPREAD_BELOW
        self._calls = 1 if spread else int(allowed)
        self._span = seconds / max(allowed, 0.1) if spread else seconds

    @property
    def rate(self) -> float:
        """Calls a second that are ours."""
        return self._limit * self._share / self._seconds

    def wait(self, now: float) -> float:
        """Seconds until a call may be made."""
        while self._taken and self._taken[0] <= now - self._span:
            self._taken.popleft()
        full = len(self._taken) >= self._calls
        free_at = self._taken[len(self._taken) - self._calls] + self._span if full else now
        return max(free_at, self._not_before) - now

    def take(self, now: float) -> None:
        """Count a call."""
        self._taken.append(now)

    def hold(self, until: float) -> None:
        """No calls before then."""
        self._not_before = max(self._not_before, until)

    def correct(self, quota: Quota, now: float) -> None:
        """Take over the platform's limit; ease off when others have used what we leave to them."""
        if quota.limit and (quota.limit, quota.seconds or self._seconds) != (self._limit, self._seconds):
            self._set(quota.limit, quota.seconds or self._seconds)
        if quota.remaining is not None and quota.remaining < self._limit * (1 - self._share):
            self.hold(now + self._seconds / 10)


class Day:
    """At most `share` of `calls` until midnight in the account's time zone."""

    def __init__(self, calls: int, share: float) -> None:
        self._calls, self._share = calls, share
        self._left = calls * share
        self._ends: datetime | None = None
        self._reported = False

    def today(self) -> Today | None:
        """What is left, None as long as the platform has not said."""
        if not self._reported:
            return None
        others = self._calls * (1 - self._share)
        return Today(self._calls, max(0, round(self._left + others)), max(0, int(self._left)), self._share)

    def take(self, now: datetime, timezone: str) -> None:
        """Count a call. Raises BudgetSpent."""
        if self._ends is None or now >= self._ends:
            self._left = self._calls * self._share if self._ends else self._left
            self._ends = next_midnight(now, timezone)
        if self._left < 1:
            raise BudgetSpent(
                f"Today's share of the platform's calls ({self._share:.0%} of {self._calls}) is used up; "
                f"there are some again at {self._ends.isoformat()}.",
                self._ends,
            )
        self._left -= 1

    def left(self, now: datetime) -> int:
        """Calls that may still be made until midnight."""
        fresh = self._ends is not None and now >= self._ends
        return max(0, int(self._calls * self._share if fresh else self._left))

    @property
    def whole(self) -> int:
        """Calls that are ours on a day that is whole."""
        return int(self._calls * self._share)

    def correct(self, quota: Quota) -> None:
        """Take over the platform's own count, which knows the other integrations' calls."""
        if quota.daily_limit and quota.daily_remaining is not None:
            self._calls, self._reported = quota.daily_limit, True
            self._left = quota.daily_remaining - quota.daily_limit * (1 - self._share)


class Budgets:
    """All budgets of one account. `limits` is the manifest's table: name -> {calls, seconds}."""

    def __init__(
        self,
        limits: Mapping[str, Mapping[str, Any]],
        *,
        share: float,
        clock: Callable[[], datetime],
        ticks: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._clock, self._ticks, self._sleep = clock, ticks, sleep
        self._lock = threading.Lock()
        self._timezone = "UTC"
        self._windows: dict[str, Window] = {}
        self._days: dict[str, Day] = {}
        for name, limit in limits.items():
            if limit["seconds"] >= _DAY_SECONDS:
                self._days[name] = Day(limit["calls"], share)
            else:
                self._windows[name] = Window(limit["calls"], limit["seconds"], share)

    def settle_in(self, timezone: str) -> None:
        """Days end at midnight in this zone."""
        self._timezone = timezone

    def take(self, names: Sequence[str]) -> None:
        """Wait until all named budgets have a call, and take it. Raises BudgetSpent."""
        while True:
            with self._lock:
                now = self._ticks()
                wait = max((self._windows[name].wait(now) for name in names if name in self._windows), default=0)
                if wait <= 0:
                    self._count(names, now)
                    return
            self._sleep(wait)

    def _count(self, names: Sequence[str], now: float) -> None:
        for name in names:
            if name in self._days:
                self._days[name].take(self._clock(), self._timezone)
        for name in names:
            if name in self._windows:
                self._windows[name].take(now)

    def correct(self, names: Sequence[str], quota: Quota) -> None:
        """Learn from a response to a call that took `names`; the first of each kind is the one it speaks of."""
        with self._lock:
            window = next((self._windows[name] for name in names if name in self._windows), None)
            if window:
                window.correct(quota, self._ticks())
            day = next((self._days[name] for name in names if name in self._days), None)
            if day:
                day.correct(quota)

    def left_today(self, name: str) -> int:
        """Calls that a daily budget still has."""
        with self._lock:
            return self._days[name].left(self._clock())

    def a_day(self, name: str) -> int:
        """Calls that a daily budget has on a day that is whole."""
        with self._lock:
            return self._days[name].whole

    def rates(self) -> dict[str, float]:
        """Calls a second that are ours, by the name of the budget."""
        with self._lock:
            return {name: window.rate for name, window in self._windows.items()}

    def today(self, name: str) -> Today | None:
        """A daily budget as the platform last reported it; None as long as it has not."""
        with self._lock:
            return self._days[name].today()

    def hold_all(self, seconds: float) -> None:
        """The platform asked for a pause: nobody calls for so long."""
        with self._lock:
            for window in self._windows.values():
                window.hold(self._ticks() + seconds)

    def midnight(self) -> datetime:
        """When the daily budgets are full again (UTC, aware)."""
        return next_midnight(self._clock(), self._timezone)


def next_midnight(now: datetime, timezone: str) -> datetime:
    """The coming midnight in a time zone, as an aware UTC instant."""
    local = now.astimezone(ZoneInfo(timezone))
    tomorrow = (local + timedelta(days=1)).date()
    return datetime.combine(tomorrow, datetime.min.time(), tzinfo=ZoneInfo(timezone)).astimezone(UTC)
