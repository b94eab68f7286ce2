"""Cron expressions mean what crontab(5) says, and come once a day on days that have an hour more or less."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from connector.cron import Cron

BERLIN, NEW_YORK, LORD_HOWE = (
    ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
)
#: Days on which the clock moves.
CHANGES = [
    (BERLIN, datetime(2026, 3, 29)),
    (BERLIN, datetime(2026, 10, 25)),
    (NEW_YORK, datetime(2026, 3, 8)),
    (NEW_YORK, datetime(2026, 11, 1)),
    (LORD_HOWE, datetime(2026, 4, 5)),  # by half an hour
    (LORD_HOWE, datetime(2026, 10, 4)),
]


def due(expression: str, zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    """Due times of local days, as UTC."""
    cron, found = Cron(expression, zone), []
    at: datetime | None = since.replace(tzinfo=zone).astimezone(UTC) - timedelta(microseconds=1)
    while at is not None and (at := cron.after(at)) is not None and at < until.replace(tzinfo=zone):
        found.append(at)
    return found


def weekdays(expression: str) -> str:
    """The weekdays of two weeks on which it comes, Sunday 1 November 2026 first."""
    found = due(expression, ZoneInfo("UTC"), datetime(2026, 11, 1), datetime(2026, 11, 15))
    return " ".join(at.strftime("%a") for at in found)


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("15 2 * * 1-5", "Mon Tue Wed Thu Fri Mon Tue Wed Thu Fri"),
        ("0 3 * * 0", "Sun Sun"),
        ("0 3 * * 7", "Sun Sun"),
        ("0 3 * * 6,0", "Sun Sat Sun Sat"),
        ("0 3 * * 5-7", "Sun Fri Sat Sun Fri Sat"),
        ("0 3 * * */3", "Sun Wed Sat Sun Wed Sat"),
        ("0 3 * * 1-5/2", "Mon Wed Fri Mon Wed Fri"),
        ("0 3 * * Mon,THU", "Mon Thu Mon Thu"),
        ("0 3 * * sun-tue", "Sun Mon Tue Sun Mon Tue"),
        ("0 3 4 * 1", "Mon Wed Mon"),  # either is enough
        ("0 3 4 * *", "Wed"),
    ],
)
def test_weekdays_are_those_of_crontab(expression: str, days: str) -> None:
    assert weekdays(expression) == days


@pytest.mark.parametrize("time", ["15 2 * * *", "30 2 * * *", "15 1 * * *", "30 1 * * *", "0 3 * * *"])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_a_daily_time_comes_exactly_once_on_each_day(zone: ZoneInfo, day: datetime, time: str) -> None:
    found = due(time, zone, day - timedelta(days=2), day + timedelta(days=3))
    assert [at.astimezone(zone).day for at in found] == [
        (day + timedelta(days=number)).day for number in (-2, -1, 0, 1, 2)
    ]


@pytest.mark.parametrize(
    ("zone", "day", "came"),
    [
        (BERLIN, datetime(2026, 3, 29), "03:15 +0200"),  # as much later as the clock was put forward
        (BERLIN, datetime(2026, 10, 25), "02:15 +0200"),  # the first of two
        (NEW_YORK, datetime(2026, 3, 8), "03:15 -0400"),
        (NEW_YORK, datetime(2026, 11, 1), "02:15 -0500"),  # 01:00 to 02:00 comes twice there
        (LORD_HOWE, datetime(2026, 10, 4), "02:45 +1100"),
    ],
)
def test_what_becomes_of_02_15_on_a_day_on_which_the_clock_moves(zone: ZoneInfo, day: datetime, came: str) -> None:
    [at] = due("15 2 * * *", zone, day, day + timedelta(days=1))
    assert at.astimezone(zone).strftime("%H:%M %z") == came


@pytest.mark.parametrize("expression", ["7,40 1-3 * * *", "15,40 2 * * *", "0,30 1,2,3,4 * * *"])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_from_any_instant_the_next_is_the_earliest_of_all(zone: ZoneInfo, day: datetime, expression: str) -> None:
    minutes, hours = expression.split()[:2]
    first, _, last = hours.partition("-")
    wanted_hours = range(int(first), int(last) + 1) if last else [int(one) for one in hours.split(",")]
    times = {
        (day + timedelta(days=number, hours=hour, minutes=int(minute))).replace(tzinfo=zone).astimezone(UTC)
        for number in (-1, 0, 1, 2)
        for hour in wanted_hours
        for minute in minutes.split(",")
    }
    cron = Cron(expression, zone)
    start = (day - timedelta(days=1)).replace(tzinfo=zone).astimezone(UTC)
    for step in range(0, 60 * 60, 17):
        instant = start + timedelta(minutes=step)
        assert cron.after(instant) == min(at for at in times if at > instant)


def test_where_every_hour_is_meant_time_that_passes_counts() -> None:
    for zone, day, hours in ((BERLIN, datetime(2026, 3, 29), 23), (BERLIN, datetime(2026, 10, 25), 25)):
        found = due("0 * * * *", zone, day, day + timedelta(days=1))
        assert len(found) == hours
        assert {later - at for at, later in pairwise(found)} == {timedelta(hours=1)}


def test_a_leap_day_is_waited_for() -> None:
    cron = Cron("0 3 29 2 *", ZoneInfo("UTC"))
    assert cron.after(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "15 2 * *",
        "@daily",
        "61 2 * * *",
        "0 24 * * *",
        "0 3-1 * * *",
        "*/0 3 * * *",
        "0 3 31 2 *",
        "0 3 * * 8",
        "0 3 * * fri-mon",
        "0 3 * * 1/2",
        "0 3 * * 1-5/0",
        "0 3 * * 1,",
        "0 3 * * -3",
        "0 ٣ * * *",
    ],
)
def test_what_is_no_schedule_is_told(expression: str) -> None:
    with pytest.raises(ValueError, match=r"^(is no cron expression|has no weekday)"):
        Cron(expression, BERLIN)
