"""While more webhooks come in than can be taken and read at once, taking goes first, and reading has its turns."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from connector.inbox import Inbox, Rush
from connector.inbox.rush import PATIENCE, RUSH
from connector.platforms.hubspot.webhooks import HubSpotReceiver
from connector.service.worker import Worker
from tests.connector.portal import wait_for


def test_many_in_a_second_are_a_rush_and_few_are_none() -> None:
    rush = Rush()
    for tenth in range(50):
        rush.counted(RUSH // 11, now=tenth / 10)
        assert rush.patience(now=tenth / 10) == 0
    rush.counted(RUSH, now=5.0)
    assert rush.patience(now=5.0) == PATIENCE
    assert rush.patience(now=5.5) == PATIENCE - 0.5
    assert rush.patience(now=6.1) == 0, "a second later nothing has come any more"


def test_a_rush_that_lasts_lets_reading_have_its_turn_now_and_then() -> None:
    rush = Rush()
    turns = []
    for tenth in range(300):
        now = tenth / 10
        rush.counted(RUSH // 2, now=now)
        if tenth and rush.patience(now=now) == 0:
            turns.append(now)
            rush.had_its_turn()
    assert 3 <= len(turns) <= 30 / PATIENCE
    assert all(later - earlier >= PATIENCE for earlier, later in pairwise(turns))


@contextmanager
def reading(folder: Path) -> Iterator[tuple[Worker, list[float]]]:
    """A worker that is not begun yet, and when it has read the inbox."""
    state: Any = SimpleNamespace(folder=folder, account=SimpleNamespace(platform="hubspot"))
    read: list[float] = []

    class Watched(Inbox):
        def read(self, now: float | None = None) -> int:
            read.append(time.monotonic())
            return super().read(now)

    inbox = Watched(folder, {"hubspot": HubSpotReceiver(["s"])})
    worker = Worker(state, inbox, SimpleNamespace(given_up=None))  # type: ignore[arg-type]
    try:
        yield worker, read
    finally:
        worker.stop()
        assert worker.join(20)
        inbox.close()


def test_the_worker_reads_what_came_in_a_rush_when_it_is_over(tmp_path: Path) -> None:
    with reading(tmp_path) as (worker, read):
        began = time.monotonic()
        worker.arrived(RUSH)
        worker.start()
        wait_for(lambda: bool(read), "the inbox to be read", 20)
        assert read[0] - began >= 0.9, "it was read in the middle of the rush"


def test_a_rush_wakes_a_worker_that_sleeps(tmp_path: Path) -> None:
    """It comes in one commit, and nothing after it."""
    with reading(tmp_path) as (worker, read):
        worker.start()
        wait_for(lambda: bool(read), "the first look", 20)
        time.sleep(0.2)
        read.clear()
        worker.arrived(RUSH)
        wait_for(lambda: bool(read), "the inbox to be read", 2 * PATIENCE)
