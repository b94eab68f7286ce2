"""Calls and minutes of a sync, worked out from counts and page sizes."""

from dataclasses import replace

import pytest

import manifests
from connector.platform import Plan
from connector.platforms.hubspot import costing
from connector.platforms.hubspot.costing import Pace, Size

PAGES = manifests.read_toml("hubspot", "limits.toml")["pages"]
#: 17.1 calls a second, 4.5 searches, a tenth of a second each.
PACE = Pace(burst=17.1, search=4.5, seconds=0.1, concurrency=4)


def parts(plan: Plan) -> dict[str, int]:
    return {part.part: part.calls for part in plan.parts}


def test_everything_is_read_in_pages_and_written_in_batches() -> None:
    size = Size({"contacts": 10_001, "companies": 250, "deals": 101, "calls": 0}, installing=13)
    plan = costing.first(size, PAGES, PACE)
    # contacts: three to choose properties and count, a sample of 300, and 101 pages
    assert parts(plan) == {
        "set-up": 17,
        "contacts": 3 + 3 + 101,
        "companies": 3,
        "deals": 1 + 2,
        "calls": 1,
        "writing": 101,
    }
    assert plan.calls == 17 + 107 + 3 + 3 + 1 + 101


def test_history_halves_the_pages_and_long_lists_of_properties_read_twice() -> None:
    size = Size({"contacts": 1000})
    assert parts(costing.first(size, PAGES, PACE))["contacts"] == 6 + 10
    assert parts(costing.first(replace(size, history=True), PAGES, PACE))["contacts"] == 6 + 20
    assert parts(costing.first(replace(size, short=False), PAGES, PACE))["contacts"] == 6 + 10 + 10
    assert parts(costing.first(replace(size, history=True, short=False), PAGES, PACE))["contacts"] == 6 + 10 + 20


def test_a_day_later_only_what_changed_counts() -> None:
    total = {"contacts": 100_000, "deals": 5000, "calls": 3000}
    size = Size(total, {"contacts": 450, "deals": 0, "calls": 201}, {"email_events": 2})
    plan = costing.daily(size, PAGES, PACE)
    assert parts(plan) == {
        "set-up": 4,
        "contacts": 3 + 1 + 2,
        "deals": 1 + 2,
        "calls": 2 + 1,
        "email_events": 2,
        "writing": 5,
    }
    assert [part.part for part in plan.parts if part.records is None] == ["set-up", "email_events"]
    history = costing.daily(replace(size, history=True), PAGES, PACE)
    assert parts(history)["contacts"] == 6 + 9


def test_companies_with_a_score_are_written_too_but_no_more_of_them_than_contacts() -> None:
    size = Size({"contacts": 1000, "companies": 250}, {"contacts": 120, "companies": 7}, scored=True)
    assert parts(costing.first(size, PAGES, PACE))["writing companies"] == 3
    assert parts(costing.daily(size, PAGES, PACE))["writing companies"] == 2
    assert "writing companies" not in parts(costing.first(replace(size, scored=False), PAGES, PACE))


def test_lists_of_filters_are_read_wholly_every_time() -> None:
    size = Size({"contacts": 1000}, lists=(250, 0))
    without, plan = (costing.first(one, PAGES, PACE) for one in (replace(size, lists=()), size))
    # three pages of members, and one to see that there are none
    assert parts(plan) == {**parts(without), "lists": 4}
    assert plan.calls == without.calls + 4
    assert parts(costing.daily(size, PAGES, PACE))["lists"] == 4
    assert "lists" not in parts(without)


def test_minutes_are_those_of_the_slower_of_limit_and_call() -> None:
    size = Size({"contacts": 120_000})
    reading = 3 + 6 + 1200 - 2
    searching, writing = 2 / 4.5, 1200
    slow = costing.first(size, PAGES, PACE).minutes
    assert slow == pytest.approx((reading * 0.1 + searching + writing / 17.1) / 60, abs=0.06)
    quick = costing.first(size, PAGES, replace(PACE, seconds=0.001)).minutes
    assert quick == pytest.approx((reading / 17.1 + searching + writing / 17.1) / 60, abs=0.06)
    assert quick < slow
