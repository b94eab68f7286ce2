"""Time that passes only when someone sleeps."""

from datetime import UTC, datetime, timedelta


class MadeTime:
    """A clock, its monotonic ticks and a sleep that moves both."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)) -> None:
        self._start, self._passed = start, 0.0
        self.slept: list[float] = []

    def clock(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def ticks(self) -> float:
        return self._passed

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._passed += seconds
