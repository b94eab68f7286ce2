"""Small canonical tables full of awkward rows, for tests that recompute what SQL computes."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from scoring import tables
from scoring.engine import DuckEngine

Rows = list[dict[str, Any]]


def moment(*parts: int) -> datetime:
    """A time as canonical tables hold it: UTC without a zone."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[arg-type,misc]


#: Just after the clocks went back in Europe, so that windows span both changes of the year.
NOW = moment(2025, 11, 3, 12, 0, 0)
BEFORE = moment(2025, 4, 2, 8, 30, 0)

KINDS = (
    *("email_sent", "email_delivered", "email_open", "email_click", "email_reply", "page_view", "form_submit"),
    *("meeting", "call", "sms_click", "push_open", "ad_click", "product_view", "cart_add", "custom"),
    *("email_bounce", "email_unsubscribe", "email_spam", "ad_impression", "fax_sent", None),
)
URLS = (
    "https://example.com/Pricing?utm_campaign=demo",
    "https://demo.example.com/blog",
    "/plans",
    "https://example.com/request-demo#pricing",
    "https://pricing.example.com",
    "HTTPS://EXAMPLE.COM/BOOK/A-CALL",
    None,
    "",
)
#: Job titles, and what a reader would say of each: seniority and department.
TITLES: dict[str | None, tuple[str | None, str | None]] = {
    "Chief Marketing Officer": ("executive", "marketing"),
    " V.P., Sales": ("vice_president", "sales"),
    "Leiterin Personalabteilung (m/w/d)": ("director", "human_resources"),
    "Chef de produit": ("manager", "product"),
    "Becaria de informática": ("trainee", "it"),
    "Accountant": ("specialist", "finance"),
    "Manager": ("manager", None),
    "Abogado": (None, "legal"),
    "Mrs": (None, None),
    "Herr": (None, None),
    "": (None, None),
    None: (None, None),
}
#: Property: type, SQL type, immutable, values.
PROPERTIES: dict[str, tuple[str, pa.DataType, bool, tuple[Any, ...]]] = {
    "budget": ("number", pa.float64(), False, (0.0, 1500.0, 99.5, None)),
    "plan": ("category", pa.string(), False, ("free", "pro", " ", "team", None)),
    "town": ("category", pa.string(), False, (*(f"town {n}" for n in range(60)), "Rome", "Rome", "Rome")),
    "notes": ("text", pa.string(), False, ("hello", "", None)),
    "topics": ("multi", pa.string(), False, ("a;b", "b", "a; b;long name", "b;c", None)),
    "renewal": ("date", pa.timestamp("us"), False, (moment(2025, 1, 1), moment(2026, 3, 1, 5), None)),
    "vip": ("boolean", pa.bool_(), False, (True, False, None)),
    "field__c": ("category", pa.string(), False, ("x", "y")),
    "source": ("category", pa.string(), True, ("web", "event", None)),
    "first_seen": ("date", pa.timestamp("us"), True, (moment(2025, 2, 1), moment(2025, 10, 1), None)),
    "jobtitle": ("text", pa.string(), False, tuple(TITLES)),
    "leadlight_score": ("number", pa.float64(), False, (1.0, 2.0)),
    "hs_object_id": ("number", pa.float64(), False, (1.0, 2.0)),
}
TEXTS = {
    "budget": ("0", "1500", "-99.5", "", "a lot", "nan", "inf", None),
    "plan": ("free", "pro", "team", "", None),
    "renewal": ("2025-01-01", "2026-03-01T05:00:00Z", "1740000000123", "soon", None),
    "vip": ("true", "false", "", None),
    "topics": ("a;b", "b", "b;c", None),
    "lifecyclestage": ("lead", "opportunity", "customer"),
}
EMAILS = (
    "a@gmail.com",
    "b@Web.de",
    "c@firm.example.com",
    "d@mit.edu",
    "e@x.ac.uk",
    "f@y.gov",
    "nobody",
    "@",
    None,
)


def made(seed: int = 1, contacts: int = 40) -> dict[str, Rows]:
    """Contacts with and without everything: zones, companies, dates, events at window edges, unknown kinds."""
    rng = random.Random(seed)
    out: dict[str, Rows] = {
        "contacts": [_contact(rng, f"c{n:02}") for n in range(contacts)],
        "companies": [_company(rng, f"m{n}") for n in range(5)],
        "property_definitions": [_definition(name) for name in PROPERTIES],
    }
    out["events"] = _events(rng, contacts)
    out["purchases"] = _purchases(rng, contacts)
    out["deals"] = [_deal(rng, f"d{n:02}") for n in range(30)]
    out["deal_contacts"] = [
        {"deal_id": f"d{rng.randrange(30):02}", "contact_id": f"c{rng.randrange(contacts):02}", "role": None}
        for _ in range(60)
    ]
    out["property_history"] = _history(rng, contacts)
    return out


def engine_over(rows: dict[str, Rows]) -> DuckEngine:
    """An engine over tables given as rows; contacts keep their `p_` columns."""
    given = {name: tables.from_rows(name, table) for name, table in rows.items() if name != "contacts"}
    schema = tables.schema("contacts")
    for name, (_, kind, _, _) in PROPERTIES.items():
        if rows["contacts"] and f"p_{name}" in rows["contacts"][0]:
            schema = schema.append(pa.field(f"p_{name}", kind))
    given["contacts"] = pa.Table.from_pylist([dict(row) for row in rows["contacts"]], schema=schema)
    return DuckEngine.in_memory(given)


def _some_time(rng: random.Random, since: datetime = moment(2024, 6, 1)) -> datetime:
    return since + timedelta(seconds=rng.randrange(int((NOW - since).total_seconds()) + 5 * 86400))


def _contact(rng: random.Random, contact_id: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "contact_id": contact_id,
        "created_at": rng.choice([None, NOW, BEFORE, *(_some_time(rng) for _ in range(6))]),
        "email": rng.choice(EMAILS),
        "timezone": rng.choice(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", None]),
        "country": rng.choice(["DE", "US", None]),
        "company_id": rng.choice(["m0", "m1", "m2", "gone", None]),
        "lifecycle_stage": rng.choice(["lead", "customer", None]),
        "deleted_at": rng.choice([None] * 9 + [BEFORE]),
        "merged_into": rng.choice([None] * 9 + ["c00"]),
        "owner_id": None,
        "updated_at": None,
        "row_order": None,
    }
    for name, (_, _, _, values) in PROPERTIES.items():
        own = random.Random(f"{name} {contact_id}") if name == "jobtitle" else rng
        row[f"p_{name}"] = own.choice(values)
    return row


def _company(rng: random.Random, company_id: str) -> dict[str, Any]:
    return {
        "company_id": company_id,
        "created_at": _some_time(rng),
        "industry": rng.choice(["software", "retail", None]),
        "employees": rng.choice([12.0, 400.0, None]),
        "annual_revenue": rng.choice([1e6, 5e7]),
        "country": rng.choice(["DE", "FR"]),
    }


def _definition(name: str) -> dict[str, Any]:
    kind, _, immutable, _ = PROPERTIES[name]
    options = '[{"value": "pro", "label": "Professional"}, {"value": "free", "label": "free"}]'
    return {
        "object": "contact",
        "property": name,
        "column_name": f"p_{name}",
        "label": f"{name}_label".replace("plan_label", "Booked plan"),
        "type": kind,
        "options": options if name == "plan" else None,
        "immutable": immutable,
    }


def _events(rng: random.Random, contacts: int) -> Rows:
    times = [_some_time(rng) for _ in range(1500)]
    for as_of in (NOW, BEFORE):
        for window in (0, 7, 30, 60, 90, 365):
            edge = as_of - timedelta(days=window)
            times += [edge + timedelta(seconds=shift) for shift in (-1, 0, 1) for _ in range(12)]
    # The hour that the clocks of Berlin and New York skip, and the one that they have twice.
    for hour in (
        moment(2025, 3, 30, 1),
        moment(2025, 10, 26, 0),
        moment(2025, 3, 9, 7),
        moment(2025, 11, 2, 5),
    ):
        times += [hour + timedelta(minutes=10 * n) for n in range(-6, 12) for _ in range(2)]
    return [
        {
            "event_id": f"e{n}",
            "contact_id": rng.choice([f"c{rng.randrange(contacts):02}"] * 20 + [None, "stranger"]),
            "occurred_at": at,
            "utc_offset_min": rng.choice([None] * 5 + [-330, 120]),
            "kind": rng.choice(KINDS),
            "url": rng.choice(URLS),
            "human": rng.choice([None, 1.0, 1.0, 0.5, 0.4999, 0.123, 0.0]),
        }
        for n, at in enumerate(times)
    ]


def _purchases(rng: random.Random, contacts: int) -> Rows:
    times = [_some_time(rng) for _ in range(80)]
    times += [NOW, BEFORE, NOW - timedelta(days=30), BEFORE - timedelta(days=90)] * 3
    return [
        {
            "purchase_id": f"b{n}",
            "contact_id": f"c{rng.randrange(contacts // 2):02}",
            "purchased_at": at,
            "amount": rng.choice([None, 0.0, 10.5, 19.99, 250.0, -5.25]),
        }
        for n, at in enumerate(times)
    ]


def _deal(rng: random.Random, deal_id: str) -> dict[str, Any]:
    closed, won = rng.choice([(True, True), (True, False), (False, False), (None, None), (None, True)])
    return {
        "deal_id": deal_id,
        "created_at": rng.choice([_some_time(rng), BEFORE]),
        "closed_at": rng.choice([None, NOW, BEFORE, _some_time(rng), _some_time(rng)]),
        "amount": rng.choice([None, 100.0, 2500.75]),
        "amount_original": rng.choice([None, 0.0, 200.0]),
        "is_closed": closed,
        "is_won": won,
        "deleted_at": rng.choice([None, None, None, NOW]),
    }


def _history(rng: random.Random, contacts: int) -> Rows:
    rows: Rows = []
    for name, values in TEXTS.items():
        for n in range(contacts):
            at = rng.choice([BEFORE, BEFORE + timedelta(seconds=1), NOW, _some_time(rng)])
            for _ in range(rng.randrange(4)):
                rows.append(_change(rng, "contact", f"c{n:02}", name, at, rng.choice(values)))
                at = rng.choice([at, _some_time(rng)])
        # So that the property's history reaches back to every instant.
        rows.append(_change(rng, "contact", "c01", name, moment(2024, 1, 1), values[0]))
    for n in range(4):
        rows.append(_change(rng, "company", f"m{n}", "numberofemployees", _some_time(rng), "30"))
    rows.append(_change(rng, "company", "m0", "numberofemployees", moment(2024, 1, 1), "10"))
    rows += [
        _change(rng, "deal", f"d{n:02}", "amount", _some_time(rng), rng.choice(["50", "80.5"])) for n in range(20)
    ]
    for n in range(contacts):
        rows += [
            _change(rng, "contact", f"c{n:02}", "jobtitle", _some_time(rng), rng.choice([*TITLES]))
            for _ in range(rng.randrange(3))
        ]
    rows.append(_change(rng, "contact", "c01", "jobtitle", moment(2024, 1, 1), "Accountant"))
    return rows


def _change(
    rng: random.Random, object_name: str, object_id: str, name: str, at: datetime, value: str | None
) -> dict[str, Any]:
    return {
        "object": object_name,
        "object_id": object_id,
        "property": name,
        "value": value,
        "changed_at": at,
        "observed_at": rng.choice([None, at, at + timedelta(days=1)]),
        "source": rng.choice([None, "CRM_UI", "observed"]),
    }
