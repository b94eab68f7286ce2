"""When more webhooks come in than can be taken and read at once, taking goes first: its senders wait."""

import time
from collections import deque

#: Bytes within a second from which on it is a rush: about as much as one second's reading (18,000 events).
RUSH = 5_000_000
#: Seconds that reading waits for a rush to end, and then goes on all the same for a moment.
PATIENCE = 5.0


class Rush:
    """Counts what comes in. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._taken: deque[tuple[float, int]] = deque()
        self._in_a_second = 0
        self._since: float | None = None

    def counted(self, size: int, now: float | None = None) -> None:
        """So many bytes were taken just now."""
        now = time.monotonic() if now is None else now
        self._taken.append((now, size))
        self._in_a_second += size
        self._forget(now)

    def patience(self, now: float | None = None) -> float:
        """Seconds that reading is to wait still: 0 without a rush, and where it has waited long enough."""
        now = time.monotonic() if now is None else now
        self._forget(now)
        if self._in_a_second < RUSH:
            self._since = None
            return 0.0
        self._since = now if self._since is None else self._since
        return max(0.0, self._since + PATIENCE - now)

    def had_its_turn(self) -> None:
        """Reading was done in the middle of a rush: the next one waits anew."""
        self._since = None

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0][0] < now - 1.0:
            self._in_a_second -= self._taken.popleft()[1]
