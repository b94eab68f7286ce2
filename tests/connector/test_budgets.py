"""Call budgets on made time."""

import threading
from datetime import UTC, datetime

import pytest

from connector.budgets import Budgets, Quota, next_midnight
from connector.errors import BudgetSpent
from tests.connector.made_time import MadeTime

LIMITS = {
    "burst": {"calls": 190, "seconds": 10},
    "search": {"calls": 5, "seconds": 1},
    "daily": {"calls": 1000, "seconds": 86400},
}


def budgets(time: MadeTime, share: float = 0.9) -> Budgets:
    return Budgets(LIMITS, share=share, clock=time.clock, ticks=time.ticks, sleep=time.sleep)


def times_of(time: MadeTime, given: Budgets, names: list[str], calls: int) -> list[float]:
    taken = []
    for _ in range(calls):
        given.take(names)
        taken.append(time.ticks())
    return taken


def most_within(taken: list[float], seconds: float) -> int:
    return max(sum(1 for other in taken if start <= other < start + seconds) for start in taken)


def test_a_share_of_the_burst_is_left_to_others() -> None:
    time = MadeTime()
    taken = times_of(time, budgets(time), ["burst"], 400)
    assert most_within(taken, 10) == 171
    assert taken[170] == 0
    assert taken[171] == pytest.approx(10)


def test_search_calls_are_spread_evenly() -> None:
    time = MadeTime()
    taken = times_of(time, budgets(time), ["search"], 30)
    assert most_within(taken, 1) <= 5
    assert taken[-1] == pytest.approx(29 / 4.5)


def test_the_tightest_of_several_budgets_rules() -> None:
    time = MadeTime()
    taken = times_of(time, budgets(time), ["search", "burst", "daily"], 10)
    assert taken[-1] == pytest.approx(9 / 4.5)


def test_the_daily_budget_ends_at_midnight_of_the_account() -> None:
    time = MadeTime()
    given = budgets(time)
    given.settle_in("Asia/Tokyo")
    times_of(time, given, ["daily"], 900)
    with pytest.raises(BudgetSpent) as spent:
        given.take(["daily"])
    assert spent.value.resume_at == datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
    time.sleep(3 * 3600 + 1)
    given.take(["daily"])


def test_headers_correct_the_limits() -> None:
    time = MadeTime()
    given = budgets(time)
    given.correct(["burst", "daily"], Quota(limit=100, remaining=99, seconds=10.0))
    assert most_within(times_of(time, given, ["burst"], 200), 10) == 90


def test_what_others_used_up_is_theirs() -> None:
    time = MadeTime()
    given = budgets(time)
    given.correct(["burst"], Quota(limit=190, remaining=5, seconds=10.0))
    given.take(["burst"])
    assert time.ticks() == pytest.approx(1)
    given.correct(["burst", "daily"], Quota(daily_limit=2000, daily_remaining=201))
    given.take(["daily"])
    with pytest.raises(BudgetSpent):
        given.take(["daily"])


def test_a_pause_is_everybodys() -> None:
    time = MadeTime()
    given = budgets(time)
    given.hold_all(30)
    given.take(["search"])
    assert time.ticks() == pytest.approx(30)


def test_threads_together_stay_within_the_budget() -> None:
    time = MadeTime()
    given = budgets(time)
    taken: list[float] = []

    def work() -> None:
        for _ in range(60):
            given.take(["burst"])
            taken.append(time.ticks())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 240
    assert sum(1 for moment in taken if moment == 0) <= 171


@pytest.mark.parametrize(
    ("now", "zone", "expected"),
    [
        (datetime(2026, 3, 28, 23, 30, tzinfo=UTC), "Europe/Berlin", datetime(2026, 3, 29, 22, 0, tzinfo=UTC)),
        (datetime(2026, 11, 22, 4, 59, tzinfo=UTC), "US/Eastern", datetime(2026, 11, 22, 5, 0, tzinfo=UTC)),
        (datetime(2026, 11, 22, 5, 0, tzinfo=UTC), "US/Eastern", datetime(2026, 11, 23, 5, 0, tzinfo=UTC)),
    ],
)
def test_midnight_follows_the_zone_and_its_daylight_saving(now: datetime, zone: str, expected: datetime) -> None:
    assert next_midnight(now, zone) == expected
