"""CRM properties of the made-up market, with their history: honest, useless and leaky ones.

Honest: `company_size_band`, `job_seniority`, `lead_source` (immutable), `department`, `jobtitle`, `budget`,
`lead_status` and `lifecyclestage` (which change), `score_by_hand` (what the customer uses now).
Null (no bearing on anything): `favourite_colour`, `shirt_size`, `lucky_number`.
Leaky (filled after the deal is won, and by mistake now and then): `contract_number`, `onboarding_date`,
`customer_tier`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoring.synthetic.clock import DAY, HOUR, Ints, timestamps
from scoring.synthetic.engagement import DEMO, FORMS, KIND, PAGE, Happenings
from scoring.synthetic.outcomes import Spells
from scoring.synthetic.people import (
    DEPARTMENTS,
    INDUSTRIES,
    PLACES,
    SENIORITIES,
    SIZE_BANDS,
    SOURCES,
    Companies,
    People,
)
from scoring.tables import PROPERTY_SQL_TYPES, Column, schema

LEAKY = ("contract_number", "onboarding_date", "customer_tier")
NULL = ("favourite_colour", "shirt_size", "lucky_number")
HONEST = ("company_size_band", "job_seniority", "lead_source")

COLOURS = ("red", "orange", "yellow", "green", "blue", "violet")
SHIRTS = ("s", "m", "l", "xl")
TIERS = ("bronze", "silver", "gold")
STAGES = ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer")
STATUSES = ("new", "open", "in_progress", "open_deal", "unqualified", "closed")
TOPICS = ("product", "events", "product;events", "benchmarks", "benchmarks;events")
FIRST_NAMES = ("Alex", "Kim", "Robin", "Sam", "Jo", "Charlie", "Noa", "Mika", "Toni", "Ari", "Sasha", "Lee")
LAST_NAMES = (
    "Ash",
    "Birch",
    "Cedar",
    "Elm",
    "Hazel",
    "Juniper",
    "Larch",
    "Maple",
    "Oak",
    "Pine",
    "Rowan",
    "Willow",
)
DEAL_STAGES = ("qualifiedtobuy", "contractsent", "closedwon", "closedlost")
#: A deal that is still open so long after its opening has a contract sent.
CONTRACT_AFTER = 14 * DAY
#: Share of contacts for whom a field that belongs to customers was filled by mistake.
STRAY = 0.03
FUNDING = ("none", "seed", "series_a", "series_b", "public")

#: property, label, type, values with options, immutable
DEFINITIONS: tuple[tuple[str, str, str, Sequence[str], bool], ...] = (
    ("firstname", "First name", "text", (), False),
    ("lastname", "Last name", "text", (), False),
    ("jobtitle", "Job title", "text", (), False),
    ("job_seniority", "Seniority", "category", tuple(SENIORITIES), False),
    ("department", "Department", "category", tuple(DEPARTMENTS), False),
    ("company_size_band", "Company size", "category", tuple(SIZE_BANDS), False),
    ("lead_source", "Lead source", "category", tuple(SOURCES), True),
    ("lead_status", "Lead status", "category", STATUSES, False),
    ("newsletter_topics", "Newsletter topics", "multi", ("product", "events", "benchmarks"), False),
    ("budget", "Budget", "number", (), False),
    ("is_partner", "Is a partner", "boolean", (), False),
    ("score_by_hand", "Score by hand", "number", (), False),
    ("favourite_colour", "Favourite colour", "category", COLOURS, False),
    ("shirt_size", "Shirt size", "category", SHIRTS, False),
    ("lucky_number", "Lucky number", "number", (), False),
    ("contract_number", "Contract number", "text", (), False),
    ("onboarding_date", "Onboarding date", "date", (), False),
    ("customer_tier", "Customer tier", "category", TIERS, False),
)
COMPANY_DEFINITIONS: tuple[tuple[str, str, str, Sequence[str], bool], ...] = (
    ("funding_stage", "Funding stage", "category", FUNDING, False),
    ("uses_crm", "Uses a CRM", "boolean", (), False),
)

_TITLES = {
    "c_level": "Chief {} Officer",
    "vp": "VP {}",
    "director": "Director of {}",
    "manager": "{} Manager",
    "specialist": "{} Specialist",
    "intern": "{} Intern",
}


@dataclass(frozen=True)
class Changes:
    """Values of one property over time: who, what (as text), when (seconds), how (the platform's word)."""

    property: str
    who: Ints
    value: pa.Array
    at: Ints
    source: str
    object: str = "contact"


def words(values: Sequence[str], codes: Ints) -> pa.Array:
    """Text by index; -1 is null."""
    return pa.array(values, pa.string()).take(pa.array(codes, mask=codes < 0))


def titles(who: People) -> pa.Array:
    """Job titles from seniority and department."""
    fields = [name.replace("_", " ").title().replace("It", "IT") for name in DEPARTMENTS]
    names = [_TITLES[level].format(field) for level in SENIORITIES for field in fields]
    return words(names, who.seniority * len(fields) + who.department)


def changes(
    rng: np.random.Generator,
    who: People,
    firms: Companies,
    past: Spells,
    events: Happenings,
    until: int,
    missing: float,
) -> list[Changes]:
    """Every property's values over time, up to the market's end."""
    everyone, born = np.arange(len(who)), who.created
    band = firms.band[who.company]
    wrong = rng.random(len(who)) < 0.05
    band = np.where(wrong, np.clip(band + rng.choice([-1, 1], len(who)), 0, len(SIZE_BANDS) - 1), band)
    has_budget = rng.random(len(who)) < 0.3
    budget = np.exp(rng.normal(8.5, 0.6, len(who)) + 0.35 * who.fit).round(-2).astype(np.int64)
    by_hand = np.clip(50 + 12 * who.fit + rng.normal(0, 22, len(who)), 0, 100).astype(np.int64)
    fixed = {
        "firstname": (words(FIRST_NAMES, rng.integers(0, len(FIRST_NAMES), len(who))), 0.0),
        "lastname": (words(LAST_NAMES, rng.integers(0, len(LAST_NAMES), len(who))), 0.0),
        "jobtitle": (titles(who), missing),
        "job_seniority": (words(tuple(SENIORITIES), who.seniority), missing / 2),
        "department": (words(tuple(DEPARTMENTS), who.department), missing),
        "company_size_band": (words(tuple(SIZE_BANDS), band), missing / 2),
        "lead_source": (words(tuple(SOURCES), who.source), 0.0),
        "newsletter_topics": (words(TOPICS, rng.integers(0, len(TOPICS), len(who))), 0.5),
        "budget": (pc.cast(pa.array(budget, mask=~has_budget), pa.string()), 0.0),
        "is_partner": (words(("false", "true"), (rng.random(len(who)) < 0.05).astype(np.int64)), 0.0),
        "score_by_hand": (pc.cast(pa.array(by_hand), pa.string()), 0.0),
        "favourite_colour": (words(COLOURS, rng.integers(0, len(COLOURS), len(who))), 0.35),
        "shirt_size": (words(SHIRTS, rng.integers(0, len(SHIRTS), len(who))), 0.5),
        "lucky_number": (pc.cast(pa.array(rng.integers(1, 100, len(who))), pa.string()), 0.35),
    }
    found = []
    for name, (values, lacking) in fixed.items():
        there = (rng.random(len(who)) >= lacking) & np.asarray(pc.is_valid(values))
        found.append(Changes(name, everyone[there], values.filter(pa.array(there)), born[there], "FORM"))
    country = words([place[1] for place in PLACES], who.place)
    found.append(Changes("country", everyone, country, born, "FORM"))
    found += _moves(rng, who, past, events, until)
    return [*found, *_afterwards(rng, who, past, until), *_of_companies(rng, firms), _deal_stages(past, until)]


def _of_companies(rng: np.random.Generator, firms: Companies) -> list[Changes]:
    """What is known of companies since they were entered."""
    everyone = np.arange(len(firms.band))
    found = {
        "industry": words(tuple(INDUSTRIES), firms.industry),
        "numberofemployees": pc.cast(pa.array(firms.employees), pa.string()),
        "annualrevenue": pc.cast(pa.array(firms.revenue.astype(np.int64)), pa.string()),
        "country": words([place[1] for place in PLACES], firms.place),
        "funding_stage": words(FUNDING, rng.integers(0, len(FUNDING), len(everyone))),
        "uses_crm": words(("false", "true"), (rng.random(len(everyone)) < 0.6).astype(np.int64)),
    }
    return [Changes(name, everyone, value, firms.created, "IMPORT", "company") for name, value in found.items()]


def _deal_stages(past: Spells, until: int) -> Changes:
    """Stages of the deals there are, numbered in order of opening."""
    deals = past.deals(until)
    everyone = np.arange(len(deals), dtype=np.int64)
    opened, end = past.deal_at()[deals], past.end[deals]
    sent = end > opened + CONTRACT_AFTER
    outcome: Ints = np.where(past.won[deals], 2, 3)
    steps: list[tuple[Ints, Ints | int, Ints]] = [
        (everyone, 0, opened),
        (everyone[sent], 1, opened[sent] + CONTRACT_AFTER),
        (everyone, outcome, end),
    ]
    found = _steps("dealstage", DEAL_STAGES, steps, until, forward=False)
    return Changes(found.property, found.who, found.value, found.at, found.source, "deal")


def _moves(rng: np.random.Generator, who: People, past: Spells, events: Happenings, until: int) -> list[Changes]:
    """Lifecycle stage and lead status as marketing and sales move them."""
    everyone = np.arange(len(who))
    demo = (events.kind == KIND["form_submit"]) & (events.about == PAGE[FORMS[DEMO][0]])
    deal, open_ = past.deal_at(), past.deal_at() < until
    won, lost = past.won & (past.end < until), ~past.won & (past.end < until)
    talked = deal - rng.integers(2 * HOUR, 3 * DAY, len(deal))
    stage = [
        (everyone, (who.source != list(SOURCES).index("list_import")).astype(np.int64), who.created),
        (events.contact[demo], 2, events.at[demo] + 60),
        (past.contact[open_], 3, np.maximum(talked, past.begin)[open_]),
        (past.contact[open_], 4, deal[open_]),
        (past.contact[won], 5, past.end[won] + 60),
    ]
    called = rng.random(len(who)) < 0.5
    first_call = (who.created + rng.exponential(20 * DAY, len(who))).astype(np.int64)
    status = [
        (everyone, 0, who.created),
        (everyone[called], 1, first_call[called]),
        (past.contact[open_], 3, deal[open_] + 120),
        (past.contact[won], 5, past.end[won] + 120),
        (past.contact[lost], 4, past.end[lost] + 120),
    ]
    return [
        _steps("lifecyclestage", STAGES, stage, until, forward=True),
        _steps("lead_status", STATUSES, status, until, forward=False),
    ]


def _steps(
    name: str, values: Sequence[str], steps: Sequence[tuple[Ints, Ints | int, Ints]], until: int, *, forward: bool
) -> Changes:
    """Steps in time order by contact, without those that change nothing (or, with `forward`, lead back)."""
    contact = np.concatenate([step[0] for step in steps])
    code = np.concatenate([np.zeros(len(step[0]), dtype=np.int64) + step[1] for step in steps])
    at = np.concatenate([step[2] for step in steps])
    order = np.lexsort((code, at, contact))
    order = order[at[order] < until]
    contact, code, at = contact[order], code[order], at[order]
    first = np.r_[True, contact[1:] != contact[:-1]] if len(contact) else np.zeros(0, dtype=bool)
    if forward:
        # a running maximum by contact: offset each contact's codes above all former contacts' codes
        base = np.cumsum(first) * len(values)
        before = np.maximum.accumulate(base + code)
        new = first | (base + code > np.r_[-1, before[:-1]])
    else:
        new = first | np.r_[True, code[1:] != code[:-1]]
    return Changes(name, contact[new], words(values, code[new]), at[new], "CRM_UI")


def _afterwards(rng: np.random.Generator, who: People, past: Spells, until: int) -> list[Changes]:
    """What is filled in once a deal is won: the planted leaks. A few stray entries fall on anybody, any time."""
    winner, end = past.contact[past.won], past.end[past.won]
    found = []
    for name, share, days in (
        ("contract_number", 0.93, 6),
        ("onboarding_date", 0.85, 3),
        ("customer_tier", 0.97, 3),
    ):
        filled = rng.random(len(end)) < share
        stray = np.flatnonzero(rng.random(len(who)) < STRAY)
        anytime = who.created[stray] + (rng.random(len(stray)) * (until - who.created[stray])).astype(np.int64)
        contact = np.concatenate([winner[filled], stray])
        at = np.concatenate([end[filled] + rng.integers(HOUR, days * DAY, filled.sum()), anytime])
        order = np.lexsort((at, contact))
        order = order[at[order] < until]
        found.append(Changes(name, contact[order], _entry(rng, name, at[order]), at[order], "CRM_UI"))
    return found


def _entry(rng: np.random.Generator, name: str, at: Ints) -> pa.Array:
    """What somebody types into a leaky field at an instant."""
    if name == "onboarding_date":
        begins = at + rng.integers(2 * DAY, 20 * DAY, len(at))
        return pc.strftime(timestamps(begins // DAY * DAY), format="%Y-%m-%d")
    if name == "customer_tier":
        return words(TIERS, rng.integers(0, len(TIERS), len(at)))
    numbers = pc.cast(pa.array(rng.integers(200_000, 900_000, len(at))), pa.string())
    return pc.binary_join_element_wise("C", numbers, "-")


def latest(change: Changes, count: int) -> pa.Array:
    """Each contact's last value; null where there is none. Changes stand in time order by contact."""
    place = np.full(count, -1, dtype=np.int64)
    place[change.who] = np.arange(len(change.who))
    return change.value.take(pa.array(place, mask=place < 0))


def typed(values: pa.Array, kind: str) -> pa.Array:
    """A property's texts in the type of its `p_` column."""
    sql = PROPERTY_SQL_TYPES.get(kind, "VARCHAR")
    if sql == "TIMESTAMP":
        return pc.strptime(values, format="%Y-%m-%d", unit="us")
    return values.cast(Column("value", sql).arrow)


def history(found: Sequence[Changes], kind: str, ids: pa.Array) -> pa.Table:
    """Changes of one kind of object as `property_history`, by object, property and time."""
    found = [change for change in found if change.object == kind]
    who = np.concatenate([change.who for change in found])
    at = np.concatenate([change.at for change in found])
    name = np.repeat(np.arange(len(found)), [len(change.who) for change in found])
    table = pa.Table.from_arrays(
        [
            pa.repeat(kind, len(who)),
            ids.take(pa.array(who)),
            words([change.property for change in found], name),
            pa.chunked_array([change.value for change in found]),
            timestamps(at),
            timestamps(at),
            words([change.source for change in found], name),
        ],
        schema=schema("property_history"),
    )
    return table.take(pa.array(np.lexsort((at, name, who))))


def definitions() -> pa.Table:
    """`property_definitions` of all made-up properties."""
    rows = [
        {
            "object": kind,
            "property": name,
            "column_name": f"p_{name}",
            "label": label,
            "type": type_,
            "options": json.dumps([{"value": value, "label": _option_label(value)} for value in options])
            if options
            else None,
            "immutable": immutable,
        }
        for kind, some in (("contact", DEFINITIONS), ("company", COMPANY_DEFINITIONS))
        for name, label, type_, options, immutable in some
    ]
    return pa.Table.from_pylist(rows, schema=schema("property_definitions"))


def _option_label(value: str) -> str:
    return {"vp": "VP", "c_level": "C-level"}.get(value, value.replace("_", " ").capitalize())
