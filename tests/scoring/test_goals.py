"""What counts as an outcome, and where it is read."""

from typing import Any

import pyarrow as pa
import pytest

from scoring import tables
from scoring.engine import DuckEngine
from scoring.errors import UsageError
from scoring.goals import Goal, goal_column, goal_text, reached
from tests.scoring.made_tables import Rows, moment


def engine(contacts: pa.Table | None = None, **rows: Rows) -> DuckEngine:
    given = {name: tables.from_rows(name, table) for name, table in rows.items()}
    if contacts is not None:
        given["contacts"] = contacts
    return DuckEngine.in_memory(given)


def contacts_with(**columns: list[str | None]) -> pa.Table:
    number = len(next(iter(columns.values())))
    plain = tables.from_rows("contacts", [{"contact_id": f"c{n}"} for n in range(number)])
    for name, values in columns.items():
        if name in plain.column_names:
            plain = plain.drop_columns([name])
        plain = plain.append_column(name, pa.array(values))
    return plain


def outcomes(where: DuckEngine, goal: Goal) -> list[tuple[str, Any]]:
    table = where.fetch(f"select * from ({reached(where, goal)}) r order by contact_id, happened_at")
    return list(zip(table["contact_id"].to_pylist(), table["happened_at"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, "column and equals"),
        ({"column": "y"}, "equals"),
        ({"column": "y", "equals": "yes", "event": "purchase"}, "either"),
        ({"event": "deal_lost"}, "deal_lost"),
        ({"event": "event:fax"}, "fax"),
        ({"event": "lifecycle_stage"}, "value"),
        ({"event": "purchase", "horizon_days": 0}, "horizon_days"),
        ({"event": "purchase", "horizon_days": True}, "horizon_days"),
        ({"event": "purchase", "horizon_days": "30"}, "horizon_days"),
        ({"event": "purchase", "days": 30}, "days"),
    ],
)
def test_a_wrong_goal_is_named(given: dict[str, Any], names: str) -> None:
    with pytest.raises(UsageError, match=names):
        Goal.from_settings(given)


@pytest.mark.parametrize(
    ("given", "once"),
    [
        ({"column": "y", "equals": "yes"}, True),
        ({"event": "deal_won"}, True),
        ({"event": "lifecycle_stage", "value": "customer"}, True),
        ({"event": "purchase"}, False),
        ({"event": "event:form_submit"}, False),
        ({"event": "purchase", "repeats": False}, True),
        ({"event": "deal_won", "repeats": True}, False),
    ],
)
def test_what_happens_once(given: dict[str, Any], once: bool) -> None:
    goal = Goal.from_settings(given, name="renewal")
    assert goal.once is once
    assert goal.name == "renewal"
    assert goal.in_time is ("event" in given)


def test_words_of_a_goal() -> None:
    assert Goal(column="y", equals="yes").words == "y is “yes”"
    assert Goal(event="deal_won").words == "a deal won within 90 days"
    assert Goal(event="event:form_submit", horizon_days=7).words == "form submit within 7 days"


def test_the_column_is_found_by_property_label_or_name() -> None:
    definitions = [
        {"object": "contact", "property": "y", "column_name": "p_y_1", "label": "Outcome", "type": "category"},
        {"object": "contact", "property": "z", "column_name": "p_z", "label": "y", "type": "category"},
        {"object": "company", "property": "w", "column_name": "p_w", "label": "w", "type": "category"},
    ]
    where = engine(contacts_with(p_y_1=["yes"], p_z=["no"], p_v=["v"]), property_definitions=definitions)
    assert goal_column(where, Goal(column="y", equals="yes")) == "p_y_1"
    assert goal_column(where, Goal(column="Outcome", equals="yes")) == "p_y_1"
    assert goal_column(where, Goal(column="p_z", equals="yes")) == "p_z"
    assert goal_column(where, Goal(column="v", equals="yes")) == "p_v"
    assert goal_column(where, Goal(column="lifecyclestage", equals="customer")) == "lifecycle_stage"
    with pytest.raises(UsageError, match="'w'"):
        goal_column(where, Goal(column="w", equals="yes"))


def test_text_is_compared_as_it_stands_and_blank_is_unknown() -> None:
    where = engine(contacts_with(p_y=["yes", " yes", "", "  ", None, "it's"]))
    text = goal_text(where, Goal(column="y", equals="yes"))
    found = where.fetch(f"select {text} as y from contacts c order by contact_id")["y"].to_pylist()
    assert found == ["yes", " yes", None, None, None, "it's"]


def test_deals_count_when_won_for_each_of_their_contacts() -> None:
    at = moment(2025, 5, 1)
    where = engine(
        deals=[
            {"deal_id": "won", "closed_at": at, "is_won": True, "is_closed": True},
            {"deal_id": "lost", "closed_at": at, "is_won": False, "is_closed": True},
            {"deal_id": "gone", "closed_at": at, "is_won": True, "deleted_at": at},
            {"deal_id": "undated", "closed_at": None, "is_won": True},
            {"deal_id": "unknown", "closed_at": at, "is_won": None},
        ],
        deal_contacts=[
            {"deal_id": deal, "contact_id": contact}
            for deal, contact in (
                *(("won", "a"), ("won", "b"), ("lost", "c"), ("gone", "d")),
                *(("undated", "e"), ("unknown", "f"), ("won", None)),
            )
        ],
    )
    assert outcomes(where, Goal(event="deal_won")) == [("a", at), ("b", at), ("e", None)]


def test_returns_are_no_purchases() -> None:
    at = moment(2025, 5, 1)
    where = engine(
        purchases=[
            {"purchase_id": str(n), "contact_id": who, "purchased_at": when, "amount": amount}
            for n, (who, when, amount) in enumerate(
                [
                    ("a", at, 5.0),
                    ("b", at, -5.0),
                    ("c", at, None),
                    ("d", None, 5.0),
                    (None, at, 5.0),
                    ("e", at, 0.0),
                ]
            )
        ]
    )
    assert outcomes(where, Goal(event="purchase")) == [("a", at), ("c", at), ("e", at)]


def test_an_event_counts_when_a_person_probably_did_it() -> None:
    at = moment(2025, 5, 1)
    where = engine(
        events=[
            {"event_id": who, "contact_id": who, "occurred_at": at, "kind": kind, "human": human}
            for who, kind, human in (
                *(("a", "email_click", 1.0), ("b", "email_click", None), ("c", "email_click", 0.2)),
                *(("d", "email_open", 1.0), ("e", "email_click", 0.5)),
            )
        ]
    )
    assert [who for who, _ in outcomes(where, Goal(event="event:email_click"))] == ["a", "b", "e"]


def test_a_lifecycle_stage_is_dated_by_history_or_by_the_platform_or_not_at_all() -> None:
    at, entered = moment(2025, 5, 1), moment(2025, 6, 1)
    contacts = contacts_with(lifecycle_stage=["customer", "customer", "lead", "customer", None])
    contacts = contacts.append_column(
        "p_hs_v2_date_entered_customer", pa.array([entered, entered, entered, None, None], pa.timestamp("us"))
    )
    history = [
        {"object": "contact", "object_id": who, "property": name, "value": value, "changed_at": at}
        for who, name, value in (
            *(("c0", "lifecyclestage", "customer"), ("c2", "lifecyclestage", "lead")),
            *(("c4", "lifecycle_stage", "customer"), ("c1", "plan", "customer")),
        )
    ]
    history.append({**history[0], "object": "company", "object_id": "c2"})
    where = engine(contacts, property_history=history)
    goal = Goal(event="lifecycle_stage", value="customer")
    assert outcomes(where, goal) == [("c0", at), ("c1", entered), ("c3", None), ("c4", at)]
    assert outcomes(where, Goal(event="lifecycle_stage", value="it's")) == []
