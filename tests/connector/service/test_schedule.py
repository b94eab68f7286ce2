"""The schedule on a clock of its own: once a night whatever the clock does, and a missed run made up once."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connector.service.schedule import CHECK_MINUTES, Schedule, missed, patience, zone_of
from connector.settings import Serve, Settings

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
CHANGES = [
    (BERLIN, datetime(2026, 3, 29)),
    (BERLIN, datetime(2026, 10, 25)),
    (NEW_YORK, datetime(2026, 3, 8)),
    (NEW_YORK, datetime(2026, 11, 1)),
]


class Clock:
    """A present that stands still until it is moved; `Schedule` and APScheduler live in it."""

    def __init__(self, at: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = at
        clock = self

        class Frozen(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return clock.at.astimezone(tz)

        for module in ("schedulers.base", "triggers.interval"):
            monkeypatch.setattr(f"apscheduler.{module}.datetime", Frozen)
        monkeypatch.setattr("connector.service.schedule.datetime", Frozen)


class Counted:
    """A schedule under a frozen clock whose orders are counted."""

    def __init__(self, clock: Clock, **given: Any) -> None:
        self.clock, self.syncs, self.polls, self.checks = clock, [], 0, 0  # type: ignore[var-annotated]
        given = {"cron": "15 2 * * *", "zone": BERLIN, "poll_minutes": 0, **given}
        self.schedule = Schedule(self._sync, self._poll, self._check, **given)
        # Jobs run where the scheduler looks, so that a step is over when it is over.
        self.schedule._scheduler.add_executor("debug")
        self.schedule._scheduler.start(paused=True)
        self.schedule._scheduler.state = 1

    def _sync(self) -> None:
        self.syncs.append(self.clock.at)

    def _poll(self) -> None:
        self.polls += 1

    def _check(self) -> None:
        self.checks += 1

    def move(self, until: datetime, step: timedelta = timedelta(minutes=1)) -> None:
        while self.clock.at < until:
            self.clock.at = min(until, self.clock.at + step)
            self.schedule._scheduler._process_jobs()


@pytest.fixture
def opened() -> Iterator[list[Counted]]:
    given: list[Counted] = []
    yield given
    for one in given:
        one.schedule.close()


@pytest.mark.parametrize("time", ["15 2 * * *", "30 2 * * *", "30 1 * * *"])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_the_nightly_sync_comes_once_on_the_day_the_clock_moves(
    zone: ZoneInfo, day: datetime, time: str, monkeypatch: pytest.MonkeyPatch, opened: list[Counted]
) -> None:
    start, end = (moment.replace(tzinfo=zone).astimezone(UTC) for moment in (day, day + timedelta(days=1)))
    counted = Counted(Clock(start, monkeypatch), cron=time, zone=zone)
    opened.append(counted)
    assert counted.schedule.next_at() is not None
    foretold = counted.schedule.next_at()
    counted.move(end)
    assert counted.syncs == [foretold]
    assert counted.checks == (end - start) / timedelta(minutes=CHECK_MINUTES)


def test_a_machine_that_slept_for_days_syncs_once(monkeypatch: pytest.MonkeyPatch, opened: list[Counted]) -> None:
    start = datetime(2026, 11, 2, tzinfo=UTC)
    counted = Counted(Clock(start, monkeypatch), poll_minutes=5)
    opened.append(counted)
    counted.move(start + timedelta(days=4), step=timedelta(days=4))
    assert (len(counted.syncs), counted.polls, counted.checks) == (1, 1, 1)
    counted.move(counted.clock.at + timedelta(days=1))
    assert len(counted.syncs) == 2
    assert counted.polls == pytest.approx(1 + 288, abs=1)


def test_a_poll_comes_at_once_and_then_every_few_minutes() -> None:
    polled = threading.Event()
    schedule = Schedule(_never, polled.set, _never, cron="", zone=BERLIN, poll_minutes=5)
    schedule.start()
    try:
        assert polled.wait(10)
        assert schedule.next_at() is None
    finally:
        schedule.close()
        schedule.close()


def test_an_order_that_has_not_returned_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release, count = threading.Semaphore(0), threading.Event(), []

    def poll() -> None:
        count.append(1)
        begun.release()
        release.wait(10)

    clock = Clock(datetime(2026, 11, 2, tzinfo=UTC), monkeypatch)
    schedule = Schedule(_never, poll, _never, cron="", zone=BERLIN, poll_minutes=1)
    schedule.start()
    try:
        assert begun.acquire(timeout=10)
        for _ in range(3):
            clock.at += timedelta(minutes=1)
            schedule._scheduler._process_jobs()
        assert len(count) == 1
    finally:
        release.set()
        schedule.close()


def _never() -> None:
    raise AssertionError("not due")


def utc(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("last", "now", "found"),
    [
        (None, utc(2026, 11, 5, 9), None),
        (utc(2026, 11, 5, 1, 15), utc(2026, 11, 5, 9), None),  # 02:15 in Berlin is 01:15
        (utc(2026, 11, 5, 1, 14, 59), utc(2026, 11, 5, 9), utc(2026, 11, 5, 1, 15)),
        (utc(2026, 11, 5, 1, 14, 59), utc(2026, 11, 5, 1, 14, 59), None),
        (utc(2026, 11, 1, 12), utc(2026, 11, 5, 9), utc(2026, 11, 5, 1, 15)),  # the last of four
        (utc(2019, 11, 1, 12), utc(2026, 11, 5, 1), utc(2026, 11, 4, 1, 15)),
        (datetime(2026, 11, 4, 12), datetime(2026, 11, 5, 9), utc(2026, 11, 5, 1, 15)),  # naive: UTC
    ],
)
def test_what_nobody_began_is_missed(last: datetime | None, now: datetime, found: datetime | None) -> None:
    assert missed("15 2 * * *", BERLIN, last, now) == found


@pytest.mark.parametrize("time", ["15 2 * * *", "30 2 * * *", "30 1 * * *"])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_what_is_missed_on_the_day_the_clock_moves_is_one_run(zone: ZoneInfo, day: datetime, time: str) -> None:
    before = (day - timedelta(hours=12)).replace(tzinfo=zone)
    evening = (day + timedelta(hours=22)).replace(tzinfo=zone)
    due = missed(time, zone, before, evening)
    assert due is not None
    assert due.astimezone(zone).date() == day.date()
    assert missed(time, zone, due, evening) is None
    # A minute before it was due nothing was missed, in the hour that comes twice as well.
    assert missed(time, zone, before, due - timedelta(minutes=1)) is None


def test_without_a_schedule_nothing_is_missed() -> None:
    assert missed("", BERLIN, utc(2020, 1, 1), utc(2026, 1, 1)) is None


def test_a_yearly_run_is_found_again() -> None:
    assert missed("0 3 1 1 *", BERLIN, utc(2024, 6, 1), utc(2026, 11, 5)) == utc(2026, 1, 1, 2)


@pytest.mark.parametrize(
    ("cron", "hours"),
    [
        ("15 2 * * *", 26),
        ("0 * * * *", 26),
        ("", 26),
        ("15 2 * * 1-5", 3 * 24 + 1 + 2),  # from Friday over the weekend on which an hour comes twice
        ("0 3 * * 0", 7 * 24 + 1 + 2),
        ("*/5 8-18 * * 1-5", 2 * 24 + 13 + 1 / 12 + 2),  # Friday 18:55 to Monday 08:00
    ],
)
def test_a_run_is_overdue_after_the_longest_pause_of_the_schedule(cron: str, hours: float) -> None:
    assert patience(cron, BERLIN, 26, utc(2026, 11, 28)) == hours


def test_the_zone_is_the_service_s_then_the_account_s_then_the_settings() -> None:
    given = Settings(timezone="Asia/Tokyo", serve=Serve(timezone="Europe/Berlin"))
    assert zone_of(given, "America/New_York").key == "Europe/Berlin"
    given = Settings(timezone="Asia/Tokyo")
    assert zone_of(given, "America/New_York").key == "America/New_York"
    assert zone_of(given, None).key == zone_of(given, "Mars/Olympus").key == "Asia/Tokyo"
    assert zone_of(Settings(), "").key == "UTC"


def test_a_wrong_expression_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="is no cron expression"):
        Schedule(_never, _never, _never, cron="nightly", zone=BERLIN, poll_minutes=5)
