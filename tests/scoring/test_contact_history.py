from datetime import datetime
from typing import Any

import pytest

from scoring.contacts.history import WORDS, history
from scoring.engine import DuckEngine
from scoring.goals import Goal
from scoring.predictors.base import Context
from scoring.tables import KINDS, from_rows
from tests.scoring.made_tables import moment

AS_OF = moment(2026, 3, 10, 12, 0, 0)


def event(kind: str, *at: int, **more: Any) -> dict[str, Any]:
    return {"event_id": f"{kind}{at}", "contact_id": "a", "occurred_at": moment(2026, *at), "kind": kind, **more}


def deal(key: str, closed_at: datetime, won: bool) -> dict[str, Any]:
    opened = moment(2026, 2, 1, 8, 0, 0)
    return {"deal_id": key, "created_at": opened, "closed_at": closed_at, "is_closed": True, "is_won": won}


@pytest.fixture(scope="module")
def here() -> Context:
    events = [
        event("page_view", 3, 9, 9, 0, 0, url="/pricing"),
        event("page_view", 3, 9, 9, 5, 0, url="/plans"),
        event("email_click", 3, 9, 8, 0, 0, human=0.1),
        # the day after in the contact's zone
        event("email_open", 3, 7, 23, 30, 0),
        event("email_sent", 3, 1, 8, 0, 0, campaign_id="m"),
        {**event("form_submit", 3, 8, 8, 0, 0), "contact_id": "b"},
        event("meeting", 3, 10, 12, 0, 0),
    ]
    tables = {
        "contacts": from_rows(
            "contacts",
            [
                {"contact_id": "a", "created_at": moment(2026, 1, 5, 8, 0, 0), "timezone": "Europe/Berlin"},
                {"contact_id": "b"},
            ],
        ),
        "events": from_rows("events", events),
        "campaigns": from_rows("campaigns", [{"campaign_id": "m", "name": "Spring"}]),
        "purchases": from_rows(
            "purchases",
            [{"purchase_id": "p", "contact_id": "a", "purchased_at": moment(2026, 2, 3, 4, 0, 0), "amount": 20.0}],
        ),
        "deals": from_rows(
            "deals",
            [
                deal("d", moment(2026, 4, 1, 8, 0, 0), True),
                deal("e", moment(2026, 2, 9, 8, 0, 0), False),
            ],
        ),
        "deal_contacts": from_rows(
            "deal_contacts", [{"deal_id": "d", "contact_id": "a"}, {"deal_id": "e", "contact_id": "a"}]
        ),
        "property_history": from_rows(
            "property_history",
            [{"object": "contact", "object_id": "a", "property": "lifecyclestage", "value": "lead",
              "changed_at": moment(2026, 1, 5, 8, 0, 0)}],
        ),
    }  # fmt: skip
    options = '[{"value": "lead", "label": "Warm lead"}, {"value": "mql", "label": "Qualified"}]'
    stages = {"object": "contact", "property": "lifecyclestage", "column_name": "p_lifecyclestage"}
    tables["property_definitions"] = from_rows("property_definitions", [{**stages, "options": options}])
    return Context(DuckEngine.in_memory(tables), AS_OF, Goal(event="deal_won"))


def texts(told: dict[str, Any]) -> dict[str, list[str]]:
    return {day["day"]: [entry["text"] for entry in day["entries"]] for day in told["days"]}


def test_days_stand_newest_first_in_the_contacts_own_zone(here: Context) -> None:
    told = history(here, "a", 30)
    assert list(texts(told)) == [
        "2026-03-09", "2026-03-08", "2026-03-01", "2026-02-09", "2026-02-03", "2026-02-01", "2026-01-05",
    ]  # fmt: skip
    assert told["earlier_days"] == 0
    assert texts(told)["2026-03-08"] == ["opened an e-mail"]


def test_what_happened_is_told_in_words(here: Context) -> None:
    told = texts(history(here, "a", 30))
    assert told["2026-03-09"] == ["viewed 2 pages: /plans, …", "clicked in an e-mail (by a machine)"]
    assert told["2026-03-01"] == ["was sent an e-mail: Spring"]
    assert told["2026-02-01"] == ["2 deals were opened"]
    assert told["2026-02-09"] == ["a deal was lost"]
    assert told["2026-02-03"] == ["bought something: 20.00"]
    assert told["2026-01-05"] == ["became known", "became Warm lead"]


def test_nothing_from_the_instant_on_is_told(here: Context) -> None:
    said = str(history(here, "a", 30))
    assert "meeting" not in said
    assert "won" not in said


def test_few_days_leave_the_others_counted(here: Context) -> None:
    told = history(here, "a", 2)
    assert len(told["days"]) == 2
    assert told["earlier_days"] == 5


def test_every_kind_has_words() -> None:
    assert set(KINDS) <= set(WORDS)
