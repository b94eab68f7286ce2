"""The org's daily allowance: a count over the last 24 hours. Nothing tells how long to wait."""

from collections import deque
from collections.abc import Callable
from typing import Any

from connector.sandbox.salesforce.problems import Problem

DAILY = 100_000
QUERY_JOBS, INGEST_BATCHES = 10_000, 15_000
_DAY_MS, _MINUTE_MS = 86_400_000, 60_000


class Rolling:
    """A count of what happened in the last 24 hours, kept by the minute."""

    def __init__(self, most: int, clock: Callable[[], int]) -> None:
        self.most, self._clock = most, clock
        self._minutes: deque[tuple[int, int]] = deque()
        self._used = 0

    @property
    def used(self) -> int:
        """Within the last 24 hours."""
        floor = self._clock() - _DAY_MS
        while self._minutes and self._minutes[0][0] <= floor:
            self._used -= self._minutes.popleft()[1]
        return self._used

    def take(self, count: int = 1) -> bool:
        """Count, if there is room."""
        if self.used + count > self.most:
            return False
        minute = self._clock() // _MINUTE_MS * _MINUTE_MS
        standing = self._minutes.pop()[1] if self._minutes and self._minutes[-1][0] == minute else 0
        self._minutes.append((minute, standing + count))
        self._used += count
        return True


class Limits:
    """All allowances of the org."""

    def __init__(self, daily: int | None, clock: Callable[[], int]) -> None:
        self.requests = Rolling(DAILY if daily is None else daily, clock)
        self.query_jobs = Rolling(QUERY_JOBS, clock)
        self.batches = Rolling(INGEST_BATCHES, clock)

    def take(self) -> None:
        """Count a call. Raises Problem 403."""
        if not self.requests.take():
            raise Problem(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")

    def headers(self) -> dict[str, str]:
        """What every answer tells."""
        return {"Sforce-Limit-Info": f"api-usage={self.requests.used}/{self.requests.most}; api-bursts=1/750"}

    def served(self) -> dict[str, Any]:
        """JSON of /limits."""
        named = {
            "DailyApiRequests": self.requests,
            "DailyBulkApiBatches": self.batches,
            "DailyBulkV2QueryJobs": self.query_jobs,
        }
        served = {name: {"Max": one.most, "Remaining": max(0, one.most - one.used)} for name, one in named.items()}
        return {**served, "DailyBulkV2QueryFileStorageMB": {"Max": 976_562, "Remaining": 976_562}}
