"""Posting what changes in an account to a receiver: in batches, at least once, in no promised order."""

import itertools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from typing import Any

logger = logging.getLogger(__name__)

BATCH, CONCURRENT, TIMEOUT_SECONDS = 100, 10, 5.0
#: Seconds before each retry. Platforms spread them over a day; nobody waits so long for a sandbox.
DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0)
#: Changes come one by one; those of a moment travel together.
_GATHER_SECONDS = 0.05
#: How late a late event is, at most.
_LATE_SECONDS = 3.0


class Deliveries:
    """A queue of events and its retries, which have threads of their own and never delay fresh events.

    A platform's subclass says in `post` how a batch travels.
    """

    def __init__(
        self, delays: Sequence[float] = DELAYS, faults: Mapping[str, float] | None = None, seed: int = 0
    ) -> None:
        self._delays = tuple(delays)
        self._faults, self._random = dict(faults or {}), random.Random(seed)  # noqa: S311 - a dice, not a secret
        self._late: list[tuple[float, int, dict[str, Any]]] = []
        self._fresh: deque[dict[str, Any]] = deque()
        self._retries: list[tuple[float, int, int, list[dict[str, Any]]]] = []
        self._wake = threading.Condition()
        self._numbers = itertools.count(1)
        self._stopped = False
        self._first = ThreadPoolExecutor(CONCURRENT, "webhooks")
        self._again = ThreadPoolExecutor(CONCURRENT, "webhook-retries")
        self._thread = threading.Thread(target=self._run, name="webhook-dispatch", daemon=True)
        self.delivered = 0

    def post(self, batch: list[dict[str, Any]], attempt: int) -> bool:
        """Send a batch, the `attempt`-th time from 0 on; whether it was taken."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, whatever is left to send."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join(TIMEOUT_SECONDS)
        for pool in (self._first, self._again):
            pool.shutdown(wait=False, cancel_futures=True)

    def put(self, event: dict[str, Any]) -> None:
        """Take an event; it is sent soon."""
        with self._wake:
            for _ in range(2 if self._befalls("webhook-repeat") else 1):
                if self._befalls("webhook-late"):
                    due = time.monotonic() + _LATE_SECONDS * self._random.random()
                    heappush(self._late, (due, self.number(), event))
                else:
                    self._fresh.append(event)
            self._wake.notify()

    def _befalls(self, fault: str) -> bool:
        chance = self._faults.get(fault, 0.0)
        return bool(chance) and self._random.random() < chance

    def number(self) -> int:
        """The next number of a series from 1 on."""
        return next(self._numbers)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._stopped or self._fresh or self._until_due() == 0.0):
                    self._wake.wait(self._until_due())
                if self._stopped:
                    return
            time.sleep(_GATHER_SECONDS)
            with self._wake:
                while self._late and self._late[0][0] <= time.monotonic():
                    self._fresh.append(heappop(self._late)[2])
                batches = [self._next_batch() for _ in range(-(-len(self._fresh) // BATCH))]
                due = []
                while self._retries and self._retries[0][0] <= time.monotonic():
                    due.append(heappop(self._retries))
            for batch in batches:
                self._first.submit(self._send, batch, 0)
            for _, _, attempt, batch in due:
                self._again.submit(self._send, batch, attempt)

    def _until_due(self) -> float | None:
        """Seconds until a retry or a late event is due; None when nothing waits."""
        due = [waiting[0][0] for waiting in (self._retries, self._late) if waiting]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _next_batch(self) -> list[dict[str, Any]]:
        batch = [self._fresh.popleft() for _ in range(min(BATCH, len(self._fresh)))]
        if self._befalls("webhook-shuffle"):
            self._random.shuffle(batch)
        return batch

    def _send(self, batch: list[dict[str, Any]], attempt: int) -> None:
        taken = self.post(batch, attempt)
        with self._wake:
            self.delivered += len(batch) if taken else 0
            if not taken and attempt < len(self._delays) and not self._stopped:
                due = time.monotonic() + self._delays[attempt]
                heappush(self._retries, (due, self.number(), attempt + 1, batch))
                self._wake.notify()
            elif not taken:
                logger.warning("gave up on a webhook of %d events after %d attempts", len(batch), attempt + 1)
