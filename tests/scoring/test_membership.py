from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scoring.engine import DuckEngine
from scoring.goals import Goal
from scoring.groups import behaviour, clusters, membership
from scoring.groups.membership import Freshness
from scoring.predictors.base import Context
from scoring.tables import from_rows

NOW = datetime(2026, 6, 30)
DAY = timedelta(days=1)


def test_freshness_counts_the_known_only() -> None:
    group, nearest, before = np.array([0, 0, 1, -1, 2]), np.array([0, 1, 1, 0, 2]), np.array([0, 1, -1, 0, 2])
    assert Freshness.of(group, nearest, before) == Freshness(stale=0.25, moved=round(1 / 3, 6))
    nobody = np.full(3, -1)
    assert Freshness.of(nobody, nobody, nobody) == Freshness(0.0, 0.0)


def made(events: Sequence[dict[str, Any]], **more: Sequence[dict[str, Any]]) -> Context:
    given = {"events": events, **more}
    ids = sorted({row["contact_id"] for row in events})
    tables = {name: from_rows(name, rows) for name, rows in given.items()}
    engine = DuckEngine.in_memory({**tables, "contacts": from_rows("contacts", [{"contact_id": i} for i in ids])})
    engine.run("create temp table everyone as select contact_id from contacts")
    context = Context(engine, NOW, Goal(event="deal_won", horizon_days=90))
    behaviour.gather(context, "everyone")
    return context


def acts(contact_id: str, kind: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"{contact_id}{kind}{at}",
            "contact_id": contact_id,
            "occurred_at": NOW - (at + 1) * DAY,
            "kind": kind,
        }
        for at in range(count)
    ]


def deal(deal_id: str, contact_id: str, amount: float, days_ago: int) -> dict[str, dict[str, Any]]:
    closed = NOW - days_ago * DAY
    return {
        "deals": {"deal_id": deal_id, "closed_at": closed, "amount": amount, "is_won": True, "is_closed": True},
        "deal_contacts": {"deal_id": deal_id, "contact_id": contact_id, "is_primary": True},
    }


def test_a_segment_is_described_by_size_conversion_value_and_channel() -> None:
    deals = [deal("d1", "a", 300.0, 10), deal("d2", "b", 100.0, 400)]
    context = made(
        [*acts("a", "email_click", 9), *acts("b", "email_click", 9), *acts("c", "page_view", 9)],
        deals=[one["deals"] for one in deals],
        deal_contacts=[one["deal_contacts"] for one in deals],
    )
    assigned = pa.table({"contact_id": ["a", "b", "c"], "leadlight_segment": ["s1", "s1", "s2"]})
    clickers, visitors, empty = membership.described(context, assigned, {"s1": "One", "s2": "Two", "s3": "Three"})
    assert (clickers["contacts"], clickers["conversion_rate"], clickers["value"]) == (2, 1.0, 200.0)
    assert (clickers["best_channel"], visitors["best_channel"]) == ("click", "web")
    assert (
        clickers["description"]
        == "2 contacts, 100.0% reached the goal, worth 200 each, best reached by e-mail clicks"
    )
    assert visitors["conversion_rate"] == 0.0
    assert (empty["contacts"], empty["conversion_rate"], empty["value"]) == (0, None, None)


def test_outcomes_are_those_of_the_window_and_activity_where_nobody_converted() -> None:
    events = [*acts("a", "email_click", 3), {**acts("b", "email_click", 1)[0], "occurred_at": NOW - 200 * DAY}]
    won = deal("d", "b", 1.0, 30)
    ids = pa.array(["a", "b"])
    with_deal = made(events, deals=[won["deals"]], deal_contacts=[won["deal_contacts"]])
    found = membership.came_true(with_deal, ids, 90)
    assert found is not None
    assert found.tolist() == [0.0, 1.0]
    active = membership.came_true(made(events), ids, 90)
    assert active is not None
    assert active.tolist() == [1.0, 0.0]
    assert membership.came_true(made(acts("a", "email_click", 3)), pa.array(["a"]), 90) is None


def test_groups_that_know_the_outcome_tell_more_than_groups_drawn_by_lot() -> None:
    rng = np.random.default_rng(1)
    outcome = (rng.random(500) < 0.3).astype(float)
    assert membership.information(outcome.astype(int), outcome) == pytest.approx(1.0)
    assert abs(membership.information(rng.integers(0, 4, 500), outcome)) < 0.02


def test_of_numbers_found_again_equally_well_the_telling_one_is_taken() -> None:
    rng = np.random.default_rng(3)
    corners = np.array([[x, y] for x in (0.0, 8.0) for y in (0.0, 8.0)])
    points = np.concatenate([corner + 0.3 * rng.standard_normal((80, 2)) for corner in corners])
    number, found = clusters.choose_number(points, 1)
    again = [n for n, one in found.items() if one.good]
    assert number == 4
    assert clusters.choose_number(points, 1, lambda n: float(n == number))[0] == number
    told = {n: clusters.choose_number(points, 1, lambda k, n=n: float(k == n))[0] for n in again}
    assert set(told.values()) <= set(again)
