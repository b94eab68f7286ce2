"""What a person is told of orders that nobody waits for: failures, erasures, runs that begin late."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connector.errors import BudgetSpent, LeadlightError, PlatformDown, Refused, Stopped
from connector.jobs import erase
from connector.jobs.ended import Ended, ended_by
from connector.service.orders import RESUMING, SCHEDULE, TRIES, Order
from connector.service.watch import Watch
from connector.settings import Serve, Settings

DUE = datetime(2026, 11, 28, 2, 15, tzinfo=UTC)
PERSON = {"contact": "30151", "email": "jane@x.example"}


class Told:
    """A watch whose clock and whose alerts the test has."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        state = SimpleNamespace(
            settings=Settings(serve=Serve(sync="15 2 * * *")),
            folder=folder,
            mirror=SimpleNamespace(runs=list),
            platform=SimpleNamespace(calls=dict),
            account=SimpleNamespace(platform="hubspot"),
        )
        self.watch = Watch(state, ZoneInfo("UTC"), receives=False, next_sync=lambda: None)  # type: ignore[arg-type]
        self.sent: list[tuple[str, str, list[str]]] = []
        monkeypatch.setattr(self.watch, "_alerts", SimpleNamespace(send=self._send))
        self._patch = monkeypatch

    def _send(self, kind: str, subject: str, lines: Any = (), **_: Any) -> None:
        self.sent.append((kind, subject, list(lines)))

    def at(self, moment: datetime) -> None:
        self._patch.setattr(self.watch, "now", lambda: moment)

    def fails(self, order: Order, error: LeadlightError) -> None:
        self.watch.began(order)
        self.watch.ended(order, ended_by(error))


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(tmp_path, monkeypatch)


@pytest.mark.parametrize("attempt", [1, TRIES])
def test_an_erasure_that_fails_where_nobody_waits_is_told_and_not_whose_it_is(
    told: Told, attempt: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told.fails(Order("erase", PERSON, RESUMING, attempt), PlatformDown("30151 (jane@x.example) was not cleared"))
    [(kind, subject, lines)] = told.sent
    assert (kind, subject) == ("failed", "erase")
    assert ("tried again in some minutes" in lines[1]) == (attempt < TRIES)
    everything = " ".join([*lines, *(str(vars(record)) for record in caplog.records)])
    assert "30151" not in everything
    assert "jane" not in everything
    assert "PlatformDown" in everything


def test_an_erasure_by_hand_is_told_of_where_the_person_stands_half_erased(told: Told, tmp_path: Path) -> None:
    by_hand = Order("erase", PERSON, "anna")
    told.fails(by_hand, PlatformDown("away"))
    assert told.sent == []
    (tmp_path / erase.JOURNAL).write_text("{}", encoding="utf-8")
    told.fails(by_hand, Stopped("The service is stopping."))
    assert told.sent == []
    told.fails(by_hand, PlatformDown("away"))
    assert [kind for kind, *_ in told.sent] == ["failed"]


def test_an_erasure_that_leaves_something_is_told_where_nobody_waits(told: Told) -> None:
    for order in (Order("erase", PERSON, "anna"), Order("erase", PERSON, RESUMING)):
        told.watch.began(order)
        told.watch.ended(order, Ended({"run_id": "r1"}, exit_code=4))
    [(kind, _, lines)] = told.sent
    assert kind == "failed"
    assert "erase r1: something of the person is left" in lines[0]
    told.watch.ended(Order("erase", PERSON, RESUMING), Ended({"run_id": "r2"}))
    assert len(told.sent) == 1


def test_whatever_is_taken_up_and_fails_is_told(told: Told) -> None:
    told.fails(Order("sync", {}, "anna"), PlatformDown("away"))
    assert told.sent == []
    told.fails(Order("sync", {}, RESUMING), PlatformDown("away"))
    told.fails(Order("rollback", {"run": "r1"}, RESUMING), BudgetSpent("used up"))
    told.fails(Order("approve", {"plan": "p"}, RESUMING), Refused("no"))
    assert [kind for kind, *_ in told.sent] == ["failed", "failed", "refused"]
    assert told.sent[1][2][0].startswith("rollback")


def test_what_is_given_up_is_told_with_the_command_to_give(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.watch.given_up(Order("sync", {"max_changes": 7}, RESUMING, TRIES + 1))
    [(kind, subject, lines)] = told.sent
    assert (kind, subject) == ("failed", "sync (given up)")
    assert f"{TRIES} tries" in lines[0]
    assert "leadlight sync --max-changes 7" in lines[1]
    assert [record.getMessage() for record in caplog.records] == ["given up"]


@pytest.mark.parametrize(
    ("given", "begins", "late"),
    [
        (0, 1, False),
        # the machine slept
        (45, 45, True),
        # another job was at work
        (0, 45, True),
        # for so long that the next one is due meanwhile
        (0, 24 * 60 + 5, True),
    ],
)
def test_a_scheduled_run_that_begins_later_than_due_is_late_whatever_the_reason(
    told: Told, given: int, begins: int, late: bool
) -> None:
    told.at(DUE + timedelta(minutes=begins))
    told.watch.began(Order("sync", given=(DUE + timedelta(minutes=given)).timestamp()))
    assert [kind for kind, *_ in told.sent] == ["late"] * late
    if late:
        assert "2026-11-28 02:15 (UTC)" in told.sent[0][2][0]


def test_a_late_run_is_told_of_once_and_neither_its_further_tries_nor_a_person_s(told: Told) -> None:
    told.at(DUE + timedelta(hours=1))
    given = told.watch.now().timestamp()
    told.watch.began(Order("sync", who="anna", given=given))
    told.watch.began(Order("sync", who=SCHEDULE, attempt=2, given=given))
    told.watch.began(Order("sync", who=RESUMING, given=given))
    told.watch.began(Order("pull", given=given))
    assert told.sent == []
    told.watch.late(DUE)
    told.watch.began(Order("sync", given=given))
    assert len(told.sent) == 1
    told.at(DUE + timedelta(days=1, hours=1))
    told.watch.began(Order("sync", given=told.watch.now().timestamp()))
    assert len(told.sent) == 2
