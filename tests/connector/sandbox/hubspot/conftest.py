"""A small account with a clock that stands still, served over real HTTP."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests

from connector.sandbox import Sandbox, SandboxOptions
from connector.sandbox.hubspot.market import fill
from connector.sandbox.hubspot.state import Portal
from scoring import tables

PAYLOADS = Path(__file__).resolve().parents[3] / "payloads" / "hubspot"
NOW = 1_795_000_000_000  # 2026-11-18T11:06:40Z


def _at(*parts: int) -> datetime:
    """A canonical time: UTC, without a zone."""
    return datetime(*parts)  # type: ignore[arg-type]


class Clock:
    """Epoch milliseconds that move only when told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


class Api:
    """Calls to a running sandbox, with its token."""

    def __init__(self, box: Sandbox, clock: Clock) -> None:
        self.box, self.clock, self.portal = box, clock, box.state
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {box.token}"

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.session.get(self.box.base_url + path, params=query, timeout=10)

    def post(self, path: str, body: Any) -> requests.Response:
        return self.session.post(self.box.base_url + path, json=body, timeout=10)

    def patch(self, path: str, body: Any) -> requests.Response:
        return self.session.patch(self.box.base_url + path, json=body, timeout=10)

    def delete(self, path: str) -> requests.Response:
        return self.session.delete(self.box.base_url + path, timeout=10)


def payload(name: str) -> Any:
    """A literal answer of HubSpot's."""
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))


def assert_shape(actual: Any, literal: Any, where: str = "$") -> None:
    """Every field of the literal is there, with a value of the same JSON type; null matches anything."""
    if literal is None or actual is None:
        return
    assert type(actual) is type(literal), f"{where}: {actual!r} is not like {literal!r}"
    if isinstance(literal, dict):
        assert literal.keys() <= actual.keys(), f"{where}: lacks {sorted(literal.keys() - actual.keys())}"
        for key, value in literal.items():
            assert_shape(actual[key], value, f"{where}.{key}")
    if isinstance(literal, list) and literal:
        assert actual, f"{where} is empty"
        assert_shape(actual[0], literal[0], f"{where}[0]")


def account_tables() -> dict[str, pa.Table]:
    """Seven contacts (one archived, one merged away), two companies, three deals and some engagement."""
    day = _at(2026, 6, 1, 9, 30)
    contacts = [
        {
            "contact_id": str(number),
            "email": f"person{number}@mill.example",
            "created_at": day,
            "updated_at": _at(2026, 9, number - 100),
            "company_id": "501" if number < 104 else None,
            "owner_id": "31",
            "country": "DE",
            "timezone": "America/New_York",
            "lifecycle_stage": "lead",
            "deleted_at": _at(2026, 10, 1) if number == 106 else None,
            "merged_into": "101" if number == 107 else None,
        }
        for number in range(101, 108)
    ]
    typed = tables.from_rows("contacts", contacts)
    typed = typed.append_column("p_plan", pa.array(["gold", "iron", "gold", None, "iron", "gold", "gold"]))
    typed = typed.append_column("p_seats", pa.array([3.0, 1.5, None, 4.0, 5.0, 6.0, 7.0]))
    return {
        "contacts": typed,
        "contact_addresses": tables.from_rows(
            "contact_addresses",
            [
                {"contact_id": "102", "email": "Person102@mill.example", "is_primary": True},
                {"contact_id": "102", "email": "second@mill.example", "is_primary": False},
            ],
        ),
        "consents": tables.from_rows(
            "consents",
            [{"contact_id": "103", "channel": "email", "purpose": "marketing", "status": "denied", "since": day}],
        ),
        "companies": tables.from_rows(
            "companies",
            [{"company_id": "501", "name": "Mill", "domain": "mill.example", "employees": 12.0}],
        ),
        "deals": tables.from_rows("deals", [_deal(number) for number in (901, 902, 903)]),
        "deal_contacts": tables.from_rows(
            "deal_contacts",
            [
                {"deal_id": "901", "contact_id": "101"},
                {"deal_id": "902", "contact_id": "107"},
                {"deal_id": "903", "contact_id": "103"},
            ],
        ),
        "events": tables.from_rows("events", _events()),
        "property_definitions": tables.from_rows(
            "property_definitions",
            [
                _defined(
                    "plan", "category", '[{"value": "gold", "label": "Gold"}, {"value": "iron", "label": "Iron"}]'
                ),
                _defined("seats", "number", None),
            ],
        ),
        "property_history": tables.from_rows(
            "property_history",
            [_was("subscriber", _at(2026, 6, 1, 9, 30)), _was("lead", _at(2026, 7, 1))],
        ),
    }


def _deal(number: int) -> dict[str, Any]:
    won = number == 902
    return {
        "deal_id": str(number),
        "company_id": "501",
        "created_at": _at(2026, 8, 1),
        "updated_at": _at(2026, 9, 1),
        "closed_at": _at(2026, 9, 1) if number > 901 else None,
        "amount": 100.0 * number,
        "amount_original": 110.0 * number,
        "currency": "USD",
        "stage": {901: "proposal", 902: "won", 903: "lost"}[number],
        "pipeline": "default",
        "is_closed": number > 901,
        "is_won": won,
    }


def _defined(name: str, kind: str, options: str | None) -> dict[str, Any]:
    column = {"object": "contact", "property": name, "column_name": f"p_{name}", "label": name.title()}
    return {**column, "type": kind, "options": options, "immutable": False}


def _was(value: str, at: datetime) -> dict[str, Any]:
    known = {"object": "contact", "object_id": "101", "property": "lifecyclestage", "source": "FORM"}
    return {**known, "value": value, "changed_at": at, "observed_at": at}


def _events() -> list[dict[str, Any]]:
    kinds = (
        *("email_sent", "email_delivered", "email_open", "email_click", "email_unsubscribe"),
        *("page_view", "form_submit", "meeting", "call", "email_reply", "custom"),
    )
    return [
        {
            "event_id": str(7_000 + place),
            "contact_id": "107" if kind == "page_view" else "101",
            "occurred_at": _at(2026, 9, 3, 8, place),
            "kind": kind,
            "campaign_id": "3774" if kind.startswith("email_") and kind != "email_reply" else None,
            "url": "https://mill.example/prices" if kind in ("page_view", "email_click", "form_submit") else None,
            "human": 0.0 if kind == "email_open" else 1.0,
            "properties": '{"form_id": "f1", "form_name": "Ask us"}' if kind == "form_submit" else None,
        }
        for place, kind in enumerate(kinds)
    ]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """One server for all tests: starting and stopping takes longer than most of them."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def start(box: Sandbox, clock: Clock) -> Callable[..., Api]:
    """Puts the small account, with the given options, behind the server."""

    def started(**options: Any) -> Api:
        chosen = SandboxOptions(**{"search_lag": 0.0, **options})
        portal = Portal(clock=clock, search_lag=chosen.search_lag)
        fill(portal, account_tables())
        box.change(chosen, portal)
        return Api(box, clock)

    return started


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    return start()
