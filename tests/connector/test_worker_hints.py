"""The worker by itself: hints before all, polls when there is time, records that cannot be followed up."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connector.errors import PlatformDown
from connector.inbox import Inbox
from connector.jobs.ended import Ended
from connector.service import worker as module
from connector.service.orders import Order
from connector.service.worker import Worker
from tests.connector.portal import wait_for
from tests.connector.served import counted
from tests.connector.workers import Job, Watched, deliver


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


def test_an_erasure_that_comes_during_a_poll_is_done_when_the_poll_has_ended(
    begun: Callable[[], tuple[Worker, Watched]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poll(_self: Any, pause: Callable[[], None]) -> dict[str, Any]:
        deliver(worker, tmp_path, "8", kind="contact.privacyDeletion")
        time.sleep(2 * module.WINDOW)
        pause()
        return {"contacts": 0}

    worker, watched = begun()
    monkeypatch.setattr(module.Rescoring, "poll", poll)
    worker.poll_soon()
    wait_for(lambda: watched.told.count(("rescored", ["8"])) == 2, "the erasure", 20)
    polled = watched.told.index(("polled", {"contacts": 0}))
    assert watched.told.index(("rescored", ["8"])) < polled, "it was let in, and held"
    wait_for(lambda: counted(tmp_path)["waiting"] == 0, "the inbox to be empty")
    assert counted(tmp_path)["totals"]["handled"] == 1


def test_what_is_set_aside_is_told(
    begun: Callable[[], tuple[Worker, Watched]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.inbox.work.FIRST_WAIT", 0.01)
    untaken = lambda _self, hints: {"left": [hint.key for hint in hints], "changed": 0}  # noqa: E731
    monkeypatch.setattr(module.Rescoring, "hints", untaken)
    worker, watched = begun()
    deliver(worker, tmp_path, "8", kind="contact.privacyDeletion")
    wait_for(lambda: ("set aside", "8") in watched.told, "the last try", 20)
    assert counted(tmp_path)["dead"] == 1
