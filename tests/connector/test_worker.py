"""The worker by itself: orders one after the other, what the next service goes on with, nobody's fault."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connector.errors import BudgetSpent, PlatformDown, Refused, Stopped
from connector.inbox import Inbox
from connector.jobs.ended import Ended
from connector.platform import Hint
from connector.service import worker as module
from connector.service.orders import JOURNAL, RESUMING, Order
from connector.service.worker import Worker
from tests.connector.portal import wait_for
from tests.connector.workers import Job, Watched


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
