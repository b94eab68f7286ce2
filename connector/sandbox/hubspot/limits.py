"""Call limits as HubSpot keeps them: a sliding burst window per app, a daily count, search apart."""

import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from connector.sandbox.hubspot.problems import Problem
from connector.sandbox.options import Rate

Bucket = Literal["burst", "search", "associations"]

#: Daily calls of an account by plan, and the burst of one app of private distribution.
DAILY = {"free": 250_000, "starter": 250_000, "professional": 625_000, "enterprise": 1_000_000}
SEARCH = Rate(5, 1.0)
ASSOCIATIONS = {"free": 100, "starter": 100, "professional": 150, "enterprise": 150}
ASSOCIATIONS_DAILY = 500_000


class Window:
    """At most `rate.calls` within any `rate.seconds`."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._times: deque[int] = deque()

    def left(self, now: int) -> int:
        """Calls that would be accepted at `now` (epoch ms)."""
        floor = now - self.rate.seconds * 1000
        while self._times and self._times[0] <= floor:
            self._times.popleft()
        return self.rate.calls - len(self._times)

    def take(self, now: int) -> bool:
        """Count a call, if there is room. A refused call takes no room."""
        if self.left(now) <= 0:
            return False
        self._times.append(now)
        return True


class Limits:
    """All limits of the account and its one app. Times are epoch milliseconds."""

    def __init__(self, rate: Rate, daily: int, plan: str, timezone: str, clock: Callable[[], int]) -> None:
        self.daily = daily
        self.burst = Window(rate)
        self.search = Window(SEARCH)
        self.associations = Window(Rate(min(rate.calls, ASSOCIATIONS[plan]), rate.seconds))
        self._zone = ZoneInfo(timezone)
        self._clock = clock
        self._day: object = None
        self.used_today = 0
        self.associations_today = 0

    def take(self, bucket: Bucket) -> None:
        """Count a call. Raises Problem 429 in the shape of the limit that is met."""
        now = self._clock()
        self._turn_day(now)
        if self.used_today >= self.daily or self.associations_today >= ASSOCIATIONS_DAILY:
            raise _refusal("daily limit", errorType="RATE_LIMIT", policyName="DAILY", requestId=uuid.uuid4().hex)
        if bucket == "search":
            # Search has a limit of its own, per second, and is exempt from the ten-second one.
            if not self.search.take(now):
                raise _refusal("secondly limit", category="RATE_LIMITS")
        elif not self._window(bucket).take(now):
            raise _refusal(
                "ten_secondly_rolling limit",
                errorType="RATE_LIMIT",
                policyName="TEN_SECONDLY_ROLLING",
                groupName="publicapi:private-apps:sandbox",
            )
        self.used_today += 1
        self.associations_today += bucket == "associations"

    def headers(self, bucket: Bucket) -> dict[str, str]:
        """What answers tell of the limits; search answers tell nothing."""
        if bucket == "search":
            return {}
        now = self._clock()
        window = self._window(bucket)
        return {
            "X-HubSpot-RateLimit-Max": str(window.rate.calls),
            "X-HubSpot-RateLimit-Remaining": str(window.left(now)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(int(window.rate.seconds * 1000)),
            "X-HubSpot-RateLimit-Daily": str(self.daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, self.daily - self.used_today)),
            # Deprecated and not enforced, yet still sent.
            "X-HubSpot-RateLimit-Secondly": str(max(1, int(window.rate.calls / window.rate.seconds))),
            "X-HubSpot-RateLimit-Secondly-Remaining": str(max(1, int(window.rate.calls / window.rate.seconds))),
        }

    def _window(self, bucket: Bucket) -> Window:
        return self.associations if bucket == "associations" else self.burst

    def _turn_day(self, now: int) -> None:
        """The daily count starts anew at midnight of the account's time zone."""
        today = datetime.fromtimestamp(now / 1000, UTC).astimezone(self._zone).date()
        if today != self._day:
            self._day, self.used_today, self.associations_today = today, 0, 0


def _refusal(which: str, category: str | None = None, **more: Any) -> Problem:
    return Problem(429, f"You have reached your {which}.", category, **more)
