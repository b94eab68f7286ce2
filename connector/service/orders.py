"""Orders: what the one worker is asked for, by the schedule, the dashboard or a command, and how it is doing."""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connector.jobs.ended import Ended
from connector.jobs.orders import RESUMED

log = logging.getLogger(__name__)

#: In the state folder: what a service that was stopped takes up again.
JOURNAL = "order.json"

#: Who orders what nobody ordered just now: the schedule, and a start that takes up what a former service left
#: undone, whoever ordered that. What they order is tried again after trouble, and told of by alerts: nobody is
#: there to see it fail.
SCHEDULE, RESUMING = "schedule", "resumed"
BY_ITSELF = frozenset({SCHEDULE, RESUMING})

#: How often an order is tried: what the platform's own trouble must not end, and what must not end us for ever.
TRIES = 5


@dataclass(frozen=True)
class Order:
    """A command of `connector.jobs.orders`, who wants it, and for the how manieth time it is tried."""

    command: str
    params: Mapping[str, Any] = field(default_factory=dict)
    who: str = SCHEDULE
    attempt: int = 1
    #: Epoch seconds before which it is not tried.
    not_before: float = 0.0
    #: Epoch seconds at which it was given.
    given: float = field(default_factory=time.time, compare=False)
    #: In the journal: whether it was being carried out.
    under_way: bool = False

    def again(self, at: datetime) -> "Order":
        """The same for the next time, not before `at` (aware)."""
        return replace(self, attempt=self.attempt + 1, not_before=at.timestamp())


class Ticket:
    """An order on its way. Listeners are told of progress on the worker's thread, and must not wait."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.ended: Future[Ended] = Future()
        self.begun_at: datetime | None = None
        self._stages: dict[str, tuple[int, int | None]] = {}
        self._listeners: list[Callable[[str, int, int | None], None]] = []
        self._word = threading.Lock()

    def listen(self, listener: Callable[[str, int, int | None], None]) -> None:
        """Hear of progress from now on."""
        with self._word:
            self._listeners.append(listener)

    def tell(self, stage: str, done: int, total: int | None) -> None:
        """How far the job is."""
        with self._word:
            self._stages.pop(stage, None)
            self._stages[stage] = (done, total)
            listeners = list(self._listeners)
        for listener in listeners:
            listener(stage, done, total)

    @property
    def stages(self) -> list[tuple[str, int, int | None]]:
        """Stages so far, the present one last."""
        with self._word:
            return [(stage, *far) for stage, far in self._stages.items()]


class Journal:
    """Orders that were begun or wait for their next try, on disk before they begin."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._word = threading.Lock()
        self._stopping = False

    def keep(self, orders: Sequence[Order]) -> None:
        """These, as far as they may be taken up again, and no others."""
        with self._word:
            self._write(orders)

    def stopping(self) -> None:
        """We end because we were told to: what is under way has not ended us, and this costs it no attempt."""
        with self._word:
            self._stopping = True
            orders = self._read()
            if any(one.under_way for one in orders):
                # where the disk is full it costs one after all
                with contextlib.suppress(OSError):
                    self._write(orders)

    def left(self, given_up: Callable[[Order], None]) -> list[Order]:
        """What a former service did not bring to its end, but for what was tried too often: that is told.

        Nobody waits for it any more. Of what was under way in a process that nobody had told to end, one more
        attempt counts: it may be what ended the process, and would again at each start.
        """
        found = [
            replace(one, who=RESUMING, attempt=one.attempt + (1 if one.under_way else 0), under_way=False)
            for one in self._read()
        ]
        going_on = [one for one in found if one.attempt <= TRIES]
        for one in found:
            if one in going_on:
                log.info("%s goes on, which the service was stopped at", one.command)
            else:
                given_up(one)
        if going_on != found:
            # where the disk is full it is told again at the next start
            with contextlib.suppress(OSError):
                self.keep(going_on)
        return going_on

    def _write(self, orders: Sequence[Order]) -> None:
        kept = [asdict(order) for order in orders if order.command in RESUMED and not order.params.get("dry_run")]
        if self._stopping:
            kept = [one | {"under_way": False} for one in kept]
        if not kept:
            self._path.unlink(missing_ok=True)
            return
        aside = self._path.with_name(f"{JOURNAL}.new")
        with os.fdopen(
            os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)

    def _read(self) -> list[Order]:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return [Order(**given) for given in json.loads(self._path.read_text(encoding="utf-8"))]
        return []


def tried_again(order: Order, outcome: Ended) -> bool:
    """Whether it is: what no person ordered, after passing trouble; who ordered by hand decides himself."""
    passing = outcome.status == "failed" and outcome.exit_code == 1
    return passing and order.who in BY_ITSELF and order.attempt < TRIES


def now() -> datetime:
    """This instant, aware."""
    return datetime.now(UTC)
