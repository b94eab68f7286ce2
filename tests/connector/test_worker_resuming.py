"""What the next service takes up: whose that is, how often, and what who gave an order is told of it."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connector.errors import PlatformDown
from connector.jobs import erase
from connector.jobs.ended import Ended
from connector.service import worker as module
from connector.service.orders import JOURNAL, RESUMING, SCHEDULE, TRIES, Order
from connector.service.worker import Worker
from tests.connector.portal import wait_for
from tests.connector.workers import Job, Watched

Begun = Callable[[], tuple[Worker, Watched]]


def endless(run: Any, _params: Any) -> Ended:
    while True:
        time.sleep(0.01)
        run.pause()


def journal(folder: Path) -> dict[str, Any]:
    [kept] = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    return dict(kept)


def at_work(worker: Worker, watched: Watched) -> None:
    wait_for(lambda: ("began", "sync") in watched.told, "the sync")
    assert worker.at_work is not None


def killed(worker: Worker, folder: Path) -> None:
    """End it, and leave what a process leaves that is killed in the middle."""
    left = (folder / JOURNAL).read_text(encoding="utf-8")
    worker.stop()
    assert worker.join(10)
    (folder / JOURNAL).write_text(left, encoding="utf-8")


def test_what_ends_the_process_each_time_is_given_up_in_the_end(
    begun: Begun, jobs: dict[str, Job], tmp_path: Path
) -> None:
    jobs["sync"] = endless
    worker, watched = begun()
    worker.order(Order("sync"))
    for attempt in range(1, TRIES + 1):
        at_work(worker, watched)
        assert journal(tmp_path)["attempt"] == attempt
        killed(worker, tmp_path)
        worker, watched = begun()
    wait_for(lambda: ("given up", ("sync", TRIES + 1)) in watched.told, "it to be given up")
    assert not (tmp_path / JOURNAL).exists()
    time.sleep(0.2)
    assert ("began", "sync") not in watched.told


def test_what_was_stopped_as_the_service_was_told_to_goes_on_however_often(
    begun: Begun, jobs: dict[str, Job], tmp_path: Path
) -> None:
    jobs["sync"] = endless
    worker, watched = begun()
    worker.order(Order("sync"))
    for _ in range(TRIES + 1):
        at_work(worker, watched)
        worker.stop()
        assert worker.join(10)
        assert (journal(tmp_path)["attempt"], journal(tmp_path)["under_way"]) == (1, False)
        worker, watched = begun()
    at_work(worker, watched)


def test_a_job_that_does_not_come_to_its_end_in_time_is_no_failed_attempt(
    begun: Begun, jobs: dict[str, Job], tmp_path: Path
) -> None:
    leave = threading.Event()

    def sync(_run: Any, _params: Any) -> Ended:
        leave.wait(5)
        return Ended({})

    jobs["sync"] = sync
    worker, watched = begun()
    worker.order(Order("sync"))
    at_work(worker, watched)
    assert journal(tmp_path)["under_way"] is True
    worker.stop()
    # the process would end here, with the job still under way
    assert not worker.join(0.1)
    assert (journal(tmp_path)["attempt"], journal(tmp_path)["under_way"]) == (1, False)
    leave.set()


@pytest.mark.parametrize("who", ["anna", SCHEDULE])
def test_what_is_taken_up_is_nobody_s_any_more_and_tried_again_after_trouble(
    who: str, begun: Begun, jobs: dict[str, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MINUTES_BETWEEN", 0.002)
    jobs["sync"] = endless
    worker, watched = begun()
    worker.order(Order("sync", {"max_changes": 7}, who))
    at_work(worker, watched)
    worker.stop()
    assert worker.join(10)
    tries = []

    def sync(run: Any, params: Any) -> Ended:
        tries.append((run.who, params, journal(tmp_path)["attempt"]))
        if len(tries) == 1:
            raise PlatformDown("away")
        return Ended({})

    jobs["sync"] = sync
    begun()
    wait_for(lambda: len(tries) == 2, "the second try")
    assert tries == [(RESUMING, {"max_changes": 7}, 1), (RESUMING, {"max_changes": 7}, 2)]
    wait_for(lambda: not (tmp_path / JOURNAL).exists(), "the journal to be empty")


def told_of(begun: Begun, jobs: dict[str, Job], command: str, params: dict[str, Any]) -> str:
    """What who gave the order is told when the service is stopped during it."""
    jobs[command] = endless
    worker, _ = begun()
    ticket = worker.order(Order(command, params, "anna"))
    wait_for(lambda: worker.at_work is ticket, "the order")
    worker.stop()
    assert worker.join(10)
    return ticket.ended.result(1).message


@pytest.mark.parametrize(
    ("command", "params", "typed"),
    [
        ("push", {"limit": 7, "resume": True, "out": None}, "leadlight push --limit 7 --resume"),
        ("train", {"as_of": "2026-11-22"}, "leadlight train --as-of 2026-11-22"),
        ("score", {"out": "a b.csv"}, "leadlight score --out 'a b.csv'"),
        ("install", {"dry_run": False}, "leadlight install"),
        ("sync", {"dry_run": True}, "leadlight sync --dry-run"),
        ("rollback", {"run": "r1", "dry_run": True}, "leadlight rollback r1 --dry-run"),
        ("erase", {"email": "jane@x.example"}, "leadlight erase"),
    ],
)
def test_what_is_not_taken_up_is_to_be_given_again(
    command: str, params: dict[str, Any], typed: str, begun: Begun, jobs: dict[str, Job], tmp_path: Path
) -> None:
    told = told_of(begun, jobs, command, params)
    assert f"give it again ({typed})" in told
    assert "goes on" not in told
    assert not (tmp_path / JOURNAL).exists()


def test_what_is_taken_up_is_said_to_go_on(begun: Begun, jobs: dict[str, Job], tmp_path: Path) -> None:
    assert "goes on with this" in told_of(begun, jobs, "approve", {"plan": "p"})
    assert (tmp_path / JOURNAL).exists()


def test_an_erasure_that_has_begun_goes_on(begun: Begun, jobs: dict[str, Job], tmp_path: Path) -> None:
    (tmp_path / erase.JOURNAL).write_text("{}", encoding="utf-8")
    assert "goes on with this" in told_of(begun, jobs, "erase", {"contact": "7"})
