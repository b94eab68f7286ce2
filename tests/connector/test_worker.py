"""The worker by itself: orders one after the other, hints before all, trouble that is nobody's fault."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connector.errors import BudgetSpent, PlatformDown, Refused, Stopped
from connector.inbox import Inbox, connect
from connector.jobs.ended import Ended
from connector.platform import Hint
from connector.platforms.hubspot.webhooks import HubSpotReceiver
from connector.service import worker as module
from connector.service.orders import JOURNAL, RESUMING, Order
from connector.service.worker import Worker
from tests.connector.portal import wait_for
from tests.connector.served import counted, hubspot_events

Job = Callable[[Any, Order], Ended]


class Watched:
    """What the worker told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def began(self, order: Order) -> None:
        self.told.append(("began", order.command))

    def ended(self, order: Order, outcome: Ended) -> None:
        self.told.append(("ended", (order.command, outcome.status, outcome.kind)))

    def rescored(self, hints: Sequence[Hint], result: Any) -> None:
        self.told.append(("rescored", sorted(hint.object_id for hint in hints)))

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


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Job]:
    """What each command does; a run is a stand-in with `pause` and `progress`."""
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
    return given


@pytest.fixture
def begun(tmp_path: Path, jobs: dict[str, Job]) -> Iterator[Callable[[], tuple[Worker, Watched]]]:
    started: list[tuple[Worker, Inbox]] = []

    def start() -> tuple[Worker, Watched]:
        beside = SimpleNamespace(close=lambda: None)
        mirror = SimpleNamespace(has_contacts=lambda: True, beside=lambda: beside)
        account = SimpleNamespace(platform="hubspot")
        state = SimpleNamespace(folder=tmp_path, mirror=mirror, account=account, platform=None, settings=None)
        inbox, watched = Inbox(tmp_path, {"hubspot": HubSpotReceiver(["s"])}, attempts=4), Watched()
        made = Worker(state, inbox, watched)  # type: ignore[arg-type]
        made.start()
        started.append((made, inbox))
        return made, watched

    yield start
    for worker, inbox in started:
        worker.stop()
        assert worker.join(20)
        inbox.close()


def deliver(worker: Worker, folder: Path, *contacts: str, first: int = 1) -> None:
    connection = connect(folder)
    connection.execute(
        "insert into bodies (source, received_at, body) values ('hubspot', ?, ?)",
        [time.time(), hubspot_events(contacts, first)],
    )
    connection.close()
    worker.arrived()


def test_two_syncs_never_overlap_and_a_scheduled_one_is_left_out(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job]
) -> None:
    inside, most, leave = [0], [0], threading.Event()

    def sync(_run: Any, _params: Any) -> Ended:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        leave.wait(20)
        inside[0] -= 1
        return Ended({})

    jobs["sync"] = sync
    worker, watched = begun()
    first = worker.order_once(Order("sync"))
    assert first is not None
    wait_for(lambda: worker.at_work is first, "the first sync")
    assert worker.order_once(Order("sync")) is None
    by_hand = worker.order(Order("sync", who="anna"))
    leave.set()
    assert by_hand.ended.result(20).status == "done"
    assert most[0] == 1
    assert [told for told in watched.told if told[0] == "began"] == [("began", "sync")] * 2


def test_what_the_schedule_ordered_is_tried_again_after_trouble_and_not_when_refused(
    begun: Callable[[], tuple[Worker, Watched]],
    jobs: dict[str, Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MINUTES_BETWEEN", 0.005)
    tries = []

    def sync(_run: Any, _params: Any) -> Ended:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise PlatformDown("away")
        raise Refused("a gate says no", {})

    jobs["sync"] = sync
    worker, watched = begun()
    worker.order_once(Order("sync"))
    wait_for(lambda: len(tries) == 3, "three tries")
    wait_for(lambda: not (tmp_path / JOURNAL).exists(), "the journal to be empty")
    time.sleep(0.6)
    assert len(tries) == 3
    assert tries[1] - tries[0] >= 0.3
    assert [told[1][1] for told in watched.told if told[0] == "ended"] == ["failed", "failed", "refused"]
    by_hand = worker.order(Order("sync", who="anna"))
    assert by_hand.ended.result(20).status == "refused"


def test_a_day_whose_calls_are_used_up_is_waited_for(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], tmp_path: Path
) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=7)

    def sync(_run: Any, _params: Any) -> Ended:
        raise BudgetSpent("used up", at)

    jobs["sync"] = sync
    worker, _ = begun()
    ticket = worker.order_once(Order("sync"))
    assert ticket is not None
    assert ticket.ended.result(20).status == "failed"
    [kept] = json.loads((tmp_path / JOURNAL).read_text())
    assert (kept["attempt"], kept["not_before"]) == (2, at.timestamp())
    # the next night's is that one
    assert worker.order_once(Order("sync")) is None


def test_hints_are_let_in_to_a_sync_but_never_to_a_rollback(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], tmp_path: Path
) -> None:
    contacts, aside = iter(range(100, 200)), []

    def long(run: Any, _params: Any) -> Ended:
        for _ in range(8):
            one = next(contacts)
            deliver(worker, tmp_path, str(one), first=one)
            time.sleep(0.1)
            run.pause()
        with run.aside():
            until, told = time.monotonic() + 2, len(watched.told)
            deliver(worker, tmp_path, "99", first=next(contacts))
            while len(watched.told) == told and time.monotonic() < until:
                time.sleep(0.02)
            aside.append(len(watched.told) > told)
        return Ended({})

    jobs["sync"] = jobs["rollback"] = long
    worker, watched = begun()
    worker.order(Order("rollback", {"run": "r"})).ended.result(30)
    ended = watched.told.index(("ended", ("rollback", "done", "")))
    assert [told for told in watched.told[:ended] if told[0] == "rescored"] == []
    wait_for(lambda: counted(tmp_path)["waiting"] + counted(tmp_path)["bodies"] == 0, "what waited")
    watched.told.clear()
    worker.order(Order("sync")).ended.result(30)
    ended = watched.told.index(("ended", ("sync", "done", "")))
    assert len([told for told in watched.told[:ended] if told[0] == "rescored"]) >= 2
    assert aside == [False, True]


def test_one_bad_record_is_set_aside_and_takes_nobody_with_it(
    begun: Callable[[], tuple[Worker, Watched]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.inbox.work.FIRST_WAIT", 0.02)
    seen: list[list[str]] = []

    def follow(named: list[str]) -> dict[str, Any]:
        seen.append(named)
        if "13" in named:
            raise ZeroDivisionError
        return {}

    module.Rescoring.follow = staticmethod(follow)  # type: ignore[attr-defined]
    worker, watched = begun()
    deliver(worker, tmp_path, "12", "13", "14")
    wait_for(lambda: counted(tmp_path)["dead"] == 1, "contact 13 to be set aside")
    assert counted(tmp_path)["waiting"] == 0
    assert {one for told in watched.told if told[0] == "rescored" for one in told[1]} == {"12", "14"}


def test_while_the_platform_is_away_nothing_is_given_up(
    begun: Callable[[], tuple[Worker, Watched]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_REST", 0.05)
    monkeypatch.setattr(module, "LONGEST_REST", 0.05)
    tries = [0]

    def follow(_named: list[str]) -> dict[str, Any]:
        tries[0] += 1
        if tries[0] <= 12:  # more often than an attempt that counts
            raise PlatformDown("away")
        return {}

    module.Rescoring.follow = staticmethod(follow)  # type: ignore[attr-defined]
    worker, watched = begun()
    deliver(worker, tmp_path, "7")
    wait_for(lambda: ("rescored", ["7"]) in watched.told, "contact 7")
    found = counted(tmp_path)
    assert (found["dead"], found["waiting"], found["totals"]["handled"]) == (0, 0, 1)


def test_an_order_that_was_stopped_at_goes_on_with_the_next_service(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], tmp_path: Path
) -> None:
    def sync(run: Any, _params: Any) -> Ended:
        while True:
            time.sleep(0.02)
            run.pause()

    jobs["sync"] = sync
    worker, _ = begun()
    ticket = worker.order(Order("sync", {"max_changes": 7}, "anna"))
    waiting = worker.order(Order("train", who="anna"))
    wait_for(lambda: worker.at_work is ticket, "the sync")
    worker.stop()
    assert worker.join(10)
    assert ticket.ended.result(1).kind == "Stopped"
    assert waiting.ended.result(1).kind == "Stopped"
    with pytest.raises(Stopped):
        worker.order(Order("sync"))
    gone_on = []

    def finish(_run: Any, params: Any) -> Ended:
        gone_on.append(params)
        return Ended({})

    jobs["sync"] = finish
    begun()
    wait_for(lambda: gone_on == [{"max_changes": 7}], "the sync to go on")
    wait_for(lambda: not (tmp_path / JOURNAL).exists(), "the journal to be empty")


def test_a_dry_run_that_was_stopped_never_becomes_a_real_one(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], tmp_path: Path
) -> None:
    def sync(run: Any, _params: Any) -> Ended:
        while True:
            time.sleep(0.02)
            run.pause()

    jobs["sync"] = sync
    worker, _ = begun()
    ticket = worker.order(Order("sync", {"dry_run": True}))
    wait_for(lambda: worker.at_work is ticket, "the sync")
    assert not (tmp_path / JOURNAL).exists()
    worker.stop()
    assert worker.join(10)
    assert not (tmp_path / JOURNAL).exists()


def test_a_poll_waits_for_hints_but_not_for_ever(
    begun: Callable[[], tuple[Worker, Watched]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.4)
    monkeypatch.setattr("connector.inbox.work.FIRST_PAUSE", 0.01)
    number = [0]

    def follow(_named: list[str]) -> dict[str, Any]:
        number[0] += 1
        deliver(worker, tmp_path, str(1000 + number[0]), first=number[0] + 100)
        time.sleep(module.WINDOW)
        return {}

    module.Rescoring.follow = staticmethod(follow)  # type: ignore[attr-defined]
    worker, watched = begun()
    deliver(worker, tmp_path, "1")
    wait_for(lambda: len(watched.told) > 2, "the storm")
    worker.poll_soon()
    asked = len(watched.told)
    wait_for(lambda: ("polled", {"contacts": 0}) in watched.told, "the poll", 20)
    assert watched.told.index(("polled", {"contacts": 0})) > asked
    module.Rescoring.follow = staticmethod(lambda _named: {})  # type: ignore[attr-defined]


def test_an_order_that_nothing_can_be_written_down_of_ends_and_blocks_no_later_one(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [True]
    keep = module.Journal.keep

    def kept(self: Any, orders: Any) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        keep(self, orders)

    monkeypatch.setattr(module.Journal, "keep", kept)
    jobs["sync"] = lambda _run, _params: Ended({})
    worker, watched = begun()
    first = worker.order(Order("sync", who="anna"))
    assert first.ended.result(10).status == "failed"
    wait_for(lambda: worker.at_work is None, "the order to be over", 10)
    assert ("ended", ("sync", "failed", "TryLater")) in watched.told
    full[0] = False
    again = worker.order_once(Order("sync"))
    assert again is not None
    assert again.ended.result(10).status == "done"


def test_an_inbox_that_cannot_be_written_to_hides_no_order_s_end(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Inbox) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Inbox, "release", full)
    jobs["sync"] = lambda _run, _params: Ended({"run_id": "r"})
    worker, watched = begun()
    assert worker.order(Order("sync")).ended.result(10).status == "done"
    assert watched.told == [("began", "sync"), ("ended", ("sync", "done", ""))]


def test_while_the_platform_is_left_alone_the_worker_sleeps_whatever_comes_in(
    begun: Callable[[], tuple[Worker, Watched]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_named: list[str]) -> dict[str, Any]:
        raise PlatformDown("away")

    module.Rescoring.follow = staticmethod(away)  # type: ignore[attr-defined]
    turns = [0]
    turn = Worker._turn

    def counted_turn(self: Worker) -> None:
        turns[0] += 1
        turn(self)

    monkeypatch.setattr(Worker, "_turn", counted_turn)
    worker, _ = begun()
    deliver(worker, tmp_path, "7")
    wait_for(lambda: worker._rest_until > time.monotonic(), "the rest")
    deliver(worker, tmp_path, "8", first=2)
    before = turns[0]
    time.sleep(0.5)
    assert turns[0] - before <= 3


def test_an_order_is_under_way_from_the_moment_it_is_taken(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    within, leave = threading.Event(), threading.Event()

    def slowly(_self: Worker) -> None:
        within.set()
        leave.wait(20)

    monkeypatch.setattr(Worker, "_end_rescoring", slowly)
    jobs["sync"] = lambda _run, _params: Ended({})
    worker, _ = begun()
    ticket = worker.order(Order("sync", who="anna"))
    assert within.wait(10)
    assert worker.order_once(Order("sync")) is None
    assert worker.order_alone(Order("approve", {"plan": "p"})) is None
    leave.set()
    assert ticket.ended.result(10).status == "done"


def test_more_webhooks_than_can_be_read_keep_no_order_and_no_stop_waiting(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READING", 0.05)
    monkeypatch.setattr(Inbox, "read", lambda _self: time.sleep(0.01) or 64)
    jobs["sync"] = lambda _run, _params: Ended({})
    worker, _ = begun()
    worker.arrived()
    time.sleep(0.1)
    assert worker.order(Order("sync")).ended.result(10).status == "done"
    worker.stop()
    assert worker.join(5)


def test_a_run_of_rescoring_lasts_its_hour_however_much_there_is_to_do(
    begun: Callable[[], tuple[Worker, Watched]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class Short(module.Rescoring):  # type: ignore[misc, valid-type]
        follow = staticmethod(lambda _named: {})

        def __init__(self, *_: Any) -> None:
            self.over = True
            made.append(self)

    at = datetime(2026, 11, 22)
    waiting = [[Hint("contact", str(number), "changed", at, str(number))] for number in range(5)]
    monkeypatch.setattr(module, "Rescoring", Short)
    monkeypatch.setattr(Inbox, "due", lambda *_, **__: waiting.pop() if waiting else [])
    _, watched = begun()
    wait_for(lambda: len(watched.told) == 5, "the batches", 20)
    assert len(made) == 5


def test_a_worker_that_fails_at_everything_says_so(
    begun: Callable[[], tuple[Worker, Watched]], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True]
    turn = Worker._turn

    def fails(self: Worker) -> None:
        if broken[0]:
            time.sleep(0.01)
            raise sqlite3.OperationalError("database disk image is malformed")
        turn(self)

    monkeypatch.setattr(Worker, "_turn", fails)
    worker, _ = begun()
    wait_for(lambda: worker.failing, "the worker to say so", 10)
    assert worker.alive
    broken[0] = False
    wait_for(lambda: not worker.failing, "the worker to be well", 10)


def test_an_erasure_that_was_taken_up_again_is_tried_again_after_trouble(
    begun: Callable[[], tuple[Worker, Watched]],
    jobs: dict[str, Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MINUTES_BETWEEN", 0.002)
    tries = []

    def erase(_run: Any, params: Any) -> Ended:
        tries.append(params)
        assert not (tmp_path / JOURNAL).exists()
        if len(tries) == 1:
            raise PlatformDown("away")
        return Ended({})

    jobs["erase"] = erase
    worker, _ = begun()
    worker.order_once(Order("erase", {"contact": "7"}, RESUMING))
    wait_for(lambda: len(tries) == 2, "the second try", 20)
    assert tries == [{"contact": "7"}] * 2


def test_a_poll_gives_way_to_an_order_and_to_the_end_and_goes_on_afterwards(
    begun: Callable[[], tuple[Worker, Watched]], jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, endless = [0], [True]

    def poll(_self: Any, pause: Callable[[], None]) -> dict[str, Any]:
        while endless[0]:
            steps[0] += 1
            time.sleep(0.01)
            pause()
        return {"contacts": 0}

    monkeypatch.setattr(module.Rescoring, "poll", poll)
    jobs["sync"] = lambda _run, _params: Ended({})
    worker, watched = begun()
    worker.poll_soon()
    wait_for(lambda: steps[0] > 3, "the poll")
    assert worker.order(Order("sync")).ended.result(10).status == "done"
    before = steps[0]
    wait_for(lambda: steps[0] > before + 3, "the poll once more")
    assert [told for told in watched.told if told[0] == "polled"] == []
    endless[0] = False
    wait_for(lambda: ("polled", {"contacts": 0}) in watched.told, "the poll's end")
    endless[0] = True
    worker.poll_soon()
    wait_for(lambda: steps[0] > before + 6, "another poll")
    worker.stop()
    assert worker.join(5)
