"""A worker among stand-ins: what it tells, what jobs do, what rescoring comes to."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connector.inbox import Inbox, connect
from connector.jobs.ended import Ended
from connector.platform import Hint
from connector.platforms.hubspot.webhooks import HubSpotReceiver
from connector.service import rescoring
from connector.service import worker as module
from connector.service.orders import Order
from connector.service.worker import Worker
from tests.connector.served import hubspot_events

Job = Callable[[Any, Order], Ended]


class Watched:
    """What the worker told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def began(self, order: Order) -> None:
        self.told.append(("began", order.command))

    def ended(self, order: Order, outcome: Ended) -> None:
        self.told.append(("ended", (order.command, outcome.status, outcome.kind)))

    def given_up(self, order: Order) -> None:
        self.told.append(("given up", (order.command, order.attempt)))

    def rescored(self, hints: Sequence[Hint], result: Any) -> None:
        self.told.append(("rescored", sorted(hint.object_id for hint in hints)))

    def set_aside(self, hints: Sequence[Hint]) -> None:
        self.told += [("set aside", hint.object_id) for hint in hints]

    def ails(self, trouble: Exception) -> None:
        self.told.append(("ails", type(trouble).__name__))

    def polled(self, result: Any) -> None:
        self.told.append(("polled", result))


class Rescorings:
    """Stands for `Rescoring`: `follow` says what becomes of a batch."""

    follow: Callable[[list[str]], dict[str, Any]]

    def __init__(self, *_: Any) -> None:
        self.over = False

    def hints(self, hints: Sequence[Hint]) -> dict[str, Any]:
        named = sorted(hint.object_id for hint in hints)
        found = type(self).follow(named)
        return {"left": [], "changed": len(named), **found}

    def poll(self, _pause: Any) -> dict[str, Any]:
        return {"contacts": 0}

    def end(self) -> None:
        pass


def stand_ins(monkeypatch: pytest.MonkeyPatch) -> dict[str, Job]:
    """What each command does, to be filled in; a run is a stand-in with `pause` and `progress`."""
    given: dict[str, Job] = {}

    @contextmanager
    def run_on(*_: Any, progress: Any, pause: Any, **more: Any) -> Iterator[Any]:
        yield SimpleNamespace(id="r", progress=progress, pause=pause, **more)

    def carry_out(run: Any, command: str, params: Any) -> Ended:
        return given[command](run, params)

    class Fresh(Rescorings):
        follow = staticmethod(lambda _named: {})

    monkeypatch.setattr(module, "run_on", run_on)
    monkeypatch.setattr(module, "carry_out", carry_out)
    monkeypatch.setattr(module, "Rescoring", Fresh)
    monkeypatch.setattr(rescoring, "Rescoring", Fresh)
    return given


@contextmanager
def workers(folder: Path) -> Iterator[Callable[[], tuple[Worker, Watched]]]:
    """What begins a worker on the folder; all are ended with the block."""
    started: list[tuple[Worker, Inbox]] = []

    def start() -> tuple[Worker, Watched]:
        beside = SimpleNamespace(close=lambda: None)
        mirror = SimpleNamespace(has_contacts=lambda: True, beside=lambda: beside)
        account = SimpleNamespace(platform="hubspot")
        state = SimpleNamespace(folder=folder, mirror=mirror, account=account, platform=None, settings=None)
        inbox, watched = Inbox(folder, {"hubspot": HubSpotReceiver(["s"])}, attempts=4), Watched()
        made = Worker(state, inbox, watched)  # type: ignore[arg-type]
        made.start()
        started.append((made, inbox))
        return made, watched

    yield start
    for worker, inbox in started:
        worker.stop()
        assert worker.join(20)
        inbox.close()


def deliver(worker: Worker, folder: Path, *contacts: str, first: int = 1, **event: str) -> None:
    connection = connect(folder)
    connection.execute(
        "insert into bodies (source, received_at, body) values ('hubspot', ?, ?)",
        [time.time(), hubspot_events(contacts, first, **event)],
    )
    connection.close()
    worker.arrived()
