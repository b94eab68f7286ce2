"""Who is looked at, as of when, and what came of it."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from scoring import snapshots
from scoring.eligibility import Consent, Filter
from scoring.engine import DuckEngine
from scoring.goals import Goal
from scoring.predictors.base import Context, Options
from scoring.readiness import goal_lacks
from scoring.snapshots import MIN_ELIGIBLE, eligible, labelled, population, why_left_out
from tests.scoring.made_tables import Rows, engine_over, made, moment

NOW = moment(2025, 11, 1)
DAY = timedelta(days=1)
PURCHASE = Goal(event="purchase", horizon_days=30)
WON = Goal(event="deal_won", horizon_days=30)


def people(number: int, **columns: Any) -> Rows:
    return [{"contact_id": f"c{n:03}", "created_at": moment(2024, 1, 1), **columns} for n in range(number)]


def over(rows: dict[str, Rows], goal: Goal, **options: Any) -> Context:
    return Context(engine_over(rows), NOW, goal, Options(**options))


def rows_of(engine: DuckEngine, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.fetch(f"select * from {table} order by contact_id, as_of").to_pylist()
    return found


def ids(engine: DuckEngine, table: str) -> list[str]:
    return [row["contact_id"] for row in rows_of(engine, table)]


def bought(contact_id: str, at: datetime, amount: float | None = 10.0) -> dict[str, Any]:
    return {"purchase_id": f"{contact_id}{at}", "contact_id": contact_id, "purchased_at": at, "amount": amount}


def with_purchases(extra: Rows) -> dict[str, Rows]:
    """Sixty contacts and a purchase by a stranger long ago, so that history is long enough."""
    return {"contacts": people(60), "purchases": [bought("stranger", moment(2024, 1, 2)), *extra]}


def static(values: list[str | None]) -> dict[str, Rows]:
    return {"contacts": [{**row, "p_plan": value} for row, value in zip(people(len(values)), values, strict=True)]}


STATIC = Goal(column="plan", equals="yes")


def test_static_rows_are_those_with_a_value() -> None:
    context = over(static(["yes", "no", None, "", "  ", "YES", "yes "]), STATIC)
    snapshot = labelled(context)
    assert (snapshot.split, snapshot.instants, snapshot.rows, snapshot.positives) == ("cv", (NOW,), 4, 1)
    assert {row["contact_id"]: row["label"] for row in rows_of(context.engine, "labelled")} == {
        "c000": True,
        "c001": False,
        "c005": False,
        "c006": False,
    }
    assert all(row["row_order"] is None for row in rows_of(context.engine, "labelled"))


def test_static_scores_go_to_all_who_are_still_open() -> None:
    context = over(static(["yes", "no", None, "", "maybe"]), STATIC)
    assert eligible(context) == 4
    assert ids(context.engine, "eligible") == ["c001", "c002", "c003", "c004"]
    assert population(context) == 5
    repeating = over(static(["yes", "no"]), Goal(column="plan", equals="yes", repeats=True))
    assert eligible(repeating) == 2


def test_rows_in_time_order_keep_their_order() -> None:
    rows = static(["yes", "no", "no"])
    for number, row in enumerate(rows["contacts"]):
        row["row_order"] = 10 - number
    context = over(rows, STATIC, order_by="row")
    assert labelled(context).split == "order"
    assert [row["row_order"] for row in rows_of(context.engine, "labelled")] == [10, 9, 8]


def test_deleted_merged_and_objecting_contacts_appear_nowhere() -> None:
    rows = static(["yes", "no", "no", "no", "no", "no"])
    rows["contacts"][0]["deleted_at"] = moment(2025, 1, 1)
    rows["contacts"][1]["merged_into"] = "c005"
    rows["consents"] = [
        consent("c002", "denied", moment(2025, 1, 1)),
        consent("c003", "denied", moment(2025, 1, 1)),
        consent("c003", "granted", moment(2025, 2, 1)),
        consent("c004", "denied", None, purpose="marketing"),
    ]
    context = over(rows, STATIC)
    for make in (labelled, eligible, population):
        make(context, "found")
        assert ids(context.engine, "found") == ["c003", "c004", "c005"], make


def consent(contact_id: str, status: str, since: datetime | None, purpose: str = "profiling") -> dict[str, Any]:
    return {"contact_id": contact_id, "channel": "email", "purpose": purpose, "status": status, "since": since}


def test_an_objection_to_one_channel_stands_whatever_the_others_say() -> None:
    rows = static(["no", "no", "no"])
    rows["consents"] = [
        consent("c000", "denied", moment(2024, 1, 1)),
        {**consent("c000", "granted", moment(2025, 1, 1)), "channel": "web"},
        consent("c001", "granted", moment(2025, 1, 1)),
        consent("c001", "denied", moment(2025, 1, 1)),
    ]
    context = over(rows, STATIC)
    assert population(context) == 1


def test_the_label_window_is_open_at_the_start_and_closed_at_the_end() -> None:
    instant = NOW - 30 * DAY
    second = timedelta(seconds=1)
    context = over(
        with_purchases(
            [
                bought("c000", instant),
                bought("c001", instant + second),
                bought("c002", instant + 30 * DAY),
                bought("c003", instant + 30 * DAY + second),
                bought("c004", instant - second),
                bought("c005", instant + DAY, amount=-5.0),
                bought("c006", instant + DAY, amount=None),
            ]
        ),
        PURCHASE,
    )
    snapshot = labelled(context)
    at_newest = [row for row in rows_of(context.engine, "labelled") if row["as_of"] == instant]
    assert {row["contact_id"] for row in at_newest if row["label"]} == {"c001", "c002", "c006"}
    assert len(at_newest) == 60
    assert snapshot.positives == 5  # c004 once more, a window earlier, where c000 reached it at the very end
    assert {row["contact_id"] for row in rows_of(context.engine, "labelled") if row["label"]} >= {"c000", "c004"}


def test_instants_are_a_label_window_apart_and_as_many_as_history_allows() -> None:
    context = over(with_purchases([]), PURCHASE)
    snapshot = labelled(context)
    assert snapshot.split == "time"
    assert snapshot.instants == tuple(NOW - 30 * DAY * back for back in range(8, 0, -1))
    short = with_purchases([])
    short["purchases"] = [bought("c000", NOW - 125 * DAY)]
    assert labelled(over(short, PURCHASE)).instants == tuple(NOW - 30 * DAY * back for back in (3, 2, 1))


def test_too_little_history_falls_back_to_one_instant() -> None:
    rows = with_purchases([])
    rows["purchases"] = [bought("c000", NOW - 70 * DAY), bought("c001", NOW - DAY)]
    snapshot = labelled(over(rows, PURCHASE))
    assert (snapshot.split, snapshot.instants) == ("cv", (NOW - 30 * DAY,))
    assert (snapshot.rows, snapshot.positives) == (60, 1)


def test_an_instant_with_few_contacts_ends_the_walk_back() -> None:
    rows = with_purchases([])
    for row in rows["contacts"][MIN_ELIGIBLE - 1 :]:
        row["created_at"] = NOW - 75 * DAY
    context = over(rows, PURCHASE)
    snapshot = labelled(context)
    assert snapshot.instants == (NOW - 60 * DAY, NOW - 30 * DAY)
    assert Counter(row["as_of"] for row in rows_of(context.engine, "labelled")) == {
        NOW - 60 * DAY: 60,
        NOW - 30 * DAY: 60,
    }


def test_nobody_is_looked_at_before_they_were_known() -> None:
    rows = with_purchases([bought("c002", NOW - 45 * DAY)])
    instant = NOW - 30 * DAY
    rows["contacts"][0]["created_at"] = instant
    rows["contacts"][1]["created_at"] = instant - timedelta(seconds=1)
    rows["contacts"][2]["created_at"] = None
    rows["contacts"][3]["created_at"] = None
    context = over(rows, PURCHASE)
    labelled(context)
    seen = Counter(row["contact_id"] for row in rows_of(context.engine, "labelled"))
    assert (seen["c000"], seen["c001"], seen["c002"], seen["c003"], seen["c004"]) == (0, 1, 1, 0, 8)
    assert eligible(context) == 60
    rows["contacts"][0]["created_at"] = NOW + DAY
    assert eligible(over(rows, PURCHASE)) == 59


def won(number: int, at: datetime | None, **columns: Any) -> dict[str, Any]:
    return {"deal_id": f"d{number}", "created_at": moment(2024, 1, 5), "closed_at": at, "is_closed": True,
            "is_won": True, **columns}  # fmt: skip


def with_deals(deals: Rows) -> dict[str, Rows]:
    links = [{"deal_id": deal["deal_id"], "contact_id": f"c{n:03}"} for n, deal in enumerate(deals)]
    return {"contacts": people(60), "deals": deals, "deal_contacts": links}


def test_who_has_reached_a_goal_that_happens_once_leaves_from_then_on() -> None:
    context = over(
        with_deals(
            [
                won(0, NOW - 45 * DAY),
                won(1, NOW - 30 * DAY),
                won(2, NOW - 10 * DAY),
                won(3, NOW - 45 * DAY, is_won=False),
                won(4, NOW - 45 * DAY, deleted_at=NOW),
                won(5, None),
                won(6, NOW + DAY),
            ]
        ),
        WON,
    )
    labelled(context)
    rows = rows_of(context.engine, "labelled")
    seen = Counter(row["contact_id"] for row in rows)
    assert [seen[f"c00{n}"] for n in range(8)] == [7, 7, 8, 8, 8, 0, 8, 8]
    reached = {(row["contact_id"], (NOW - row["as_of"]).days) for row in rows if row["label"]}
    assert reached == {("c000", 60), ("c001", 60), ("c002", 30)}
    eligible(context)
    assert {"c000", "c001", "c002", "c005"}.isdisjoint(ids(context.engine, "eligible"))
    assert {"c003", "c004", "c006", "c007"} <= set(ids(context.engine, "eligible"))
    assert population(context) == 60


def test_a_goal_that_repeats_keeps_everyone() -> None:
    context = over(with_purchases([bought("c000", NOW - 45 * DAY)]), PURCHASE)
    labelled(context)
    assert Counter(row["contact_id"] for row in rows_of(context.engine, "labelled"))["c000"] == 8
    assert eligible(context) == 60
    once = Goal(event="purchase", horizon_days=30, repeats=False)
    assert eligible(over(with_purchases([bought("c000", NOW - 45 * DAY)]), once)) == 59


def test_only_limits_who_is_scored() -> None:
    context = over(with_purchases([]), PURCHASE)
    context.engine.put("few", pa.table({"contact_id": ["c003", "c001", "unknown"]}))
    assert eligible(context, only="few") == 2
    assert population(context, "all_of", only="few") == 2
    assert ids(context.engine, "eligible") == ["c001", "c003"]


def test_folds_go_by_person() -> None:
    rows = static(["no"] * 40)
    rows["identities"] = [
        {"person_id": "ann", "contact_id": "c001", "platform": "files"},
        {"person_id": "ann", "contact_id": "c002", "platform": "files"},
        {"person_id": "ann", "contact_id": "c003", "platform": "files"},
    ]
    context = over(rows, STATIC, folds=7)
    labelled(context)
    population(context)
    found = {row["contact_id"]: (row["person_id"], row["fold"]) for row in rows_of(context.engine, "labelled")}
    assert found == {
        row["contact_id"]: (row["person_id"], row["fold"]) for row in rows_of(context.engine, "population")
    }
    assert found["c001"] == found["c002"] == found["c003"]
    assert found["c001"][0] == "ann"
    assert found["c004"][0] == "c004"
    assert len({fold for _, fold in found.values()}) > 3


def test_many_rows_are_sampled_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_ROWS", 200)
    rows = with_purchases([])
    first, second = over(rows, PURCHASE), over({**rows, "contacts": rows["contacts"][::-1]}, PURCHASE)
    snapshot = labelled(first)
    assert snapshot == labelled(second)
    assert 150 <= snapshot.rows <= 250
    assert rows_of(first.engine, "labelled") == rows_of(second.engine, "labelled")
    assert len(set(Counter(row["as_of"] for row in rows_of(first.engine, "labelled")))) == 8


@pytest.mark.parametrize("goal", [PURCHASE, WON, Goal(event="event:page_view", horizon_days=20)])
def test_snapshots_equal_a_count_by_hand(goal: Goal) -> None:
    """Every contact, instant and label against plain loops over the made tables."""
    rows = made(6, contacts=150)
    context = Context(engine_over(rows), moment(2025, 11, 3, 12), goal)
    snapshot = labelled(context)
    assert len(snapshot.instants) >= 2
    happened = by_hand(rows, goal)
    wanted = {}
    for contact in rows["contacts"]:
        name = contact["contact_id"]
        for as_of in snapshot.instants:
            since = contact["created_at"] or first_trace(rows, name)
            gone = contact["deleted_at"] or contact["merged_into"]
            past = [at for who, at in happened if who == name and (at is None or at <= as_of)]
            if gone or since is None or since >= as_of or (goal.once and past):
                continue
            ends = as_of + timedelta(days=goal.horizon_days)
            wanted[name, as_of] = any(who == name and at and as_of < at <= ends for who, at in happened)
    got = {(row["contact_id"], row["as_of"]): row["label"] for row in rows_of(context.engine, "labelled")}
    assert got == wanted
    assert snapshot.rows == len(wanted)
    assert snapshot.positives == sum(wanted.values()) > 2


def by_hand(rows: dict[str, Rows], goal: Goal) -> list[tuple[str, datetime | None]]:
    if goal.event == "purchase":
        return [(p["contact_id"], p["purchased_at"]) for p in rows["purchases"] if (p["amount"] or 0) >= 0]
    if goal.event == "deal_won":
        deals = {d["deal_id"]: d for d in rows["deals"] if d["is_won"] and not d["deleted_at"]}
        links = [link for link in rows["deal_contacts"] if link["deal_id"] in deals]
        return [(link["contact_id"], deals[link["deal_id"]]["closed_at"]) for link in links]
    kind = str(goal.event).removeprefix("event:")
    return [
        (e["contact_id"], e["occurred_at"])
        for e in rows["events"]
        if e["kind"] == kind and (e["human"] is None or e["human"] >= 0.5)
    ]


def first_trace(rows: dict[str, Rows], name: str) -> datetime | None:
    traces = [e["occurred_at"] for e in rows["events"] if e["contact_id"] == name]
    traces += [p["purchased_at"] for p in rows["purchases"] if p["contact_id"] == name]
    return min(traces, default=None)


def test_contacts_are_counted_once_however_many_instants_look_at_them() -> None:
    snapshot = labelled(over(with_purchases([bought("c001", NOW - DAY)]), PURCHASE))
    assert len(snapshot.instants) > 1
    assert snapshot.rows == len(snapshot.instants) * 60
    assert snapshot.contacts == 60


def test_what_lacks_is_said_of_contacts_and_not_of_rows() -> None:
    nobody = over(with_purchases([]), PURCHASE)
    assert goal_lacks(nobody, labelled(nobody)) == [
        "None of 60 contacts reached the goal (a purchase within 30 days): conversions to learn from."
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"consent": Consent()}, "The contact has reached the goal already (a deal won within 30 days)."),
        ({"consent": Consent()}, "The person objects to profiling."),
        ({"consent": Consent(opt_in=True)}, "The person has not agreed to profiling."),
        (
            {"write": Filter(include={"country": ("DE",)})},
            "The filters that say whom to write to leave the contact out.",
        ),
    ],
)
def test_who_gets_no_score_is_told_the_true_reason(options: dict[str, Any], words: str) -> None:
    won = words.startswith("The contact has reached")
    context = over(
        {
            "contacts": [{"contact_id": "a", "created_at": moment(2024, 1, 1), "country": "FR"}],
            "consents": [
                {
                    "contact_id": "a",
                    "channel": "any",
                    "purpose": "profiling",
                    "status": "denied",
                    "since": NOW - DAY,
                }
            ]
            * ("objects" in words),
            "deals": [{"deal_id": "d", "closed_at": NOW - DAY, "is_won": won, "is_closed": True}],
            "deal_contacts": [{"deal_id": "d", "contact_id": "a"}],
        },
        WON,
        **options,
    )
    assert eligible(context) == 0
    assert why_left_out(context, "a") == words
