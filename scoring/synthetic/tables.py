"""The made-up market written as canonical tables, with the truth beside them.

Ids are numbers as text, so that a platform's sandbox can serve them as they are: contacts from 1001, companies
from 5001, deals from 9001, campaigns from 700001, events from 100000001.
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoring.synthetic.clock import Ints, timestamps
from scoring.synthetic.draft import Draft
from scoring.synthetic.engagement import FORMS, KIND, KINDS, ORIGINS, PAGES, PROXY, SCANNER
from scoring.synthetic.mail import SUBJECTS
from scoring.synthetic.people import ARCHETYPES, INDUSTRIES, PLACES, SEGMENTS, ZONES
from scoring.synthetic.properties import (
    COMPANY_DEFINITIONS,
    CONTRACT_AFTER,
    DEAL_STAGES,
    DEFINITIONS,
    Changes,
    definitions,
    history,
    latest,
    typed,
    words,
)
from scoring.tables import empty, schema

SITE = "https://www.leadlight-demo.example"
OWNERS = ("301", "302", "303", "304", "305")
#: Value of one unit in the account's currency; a currency without a rate leaves `amount` null.
RATES = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17, "CHF": None}
#: Mailings and their names are by month: 700001 is the oldest.
_FIRST = {"contact": 1001, "company": 5001, "deal": 9001, "campaign": 700001, "event": 100000001}
#: By how much the ids of a part of a large market are above those of the part before; mailings are common.
_PART = {"contact": 10**7, "company": 10**7, "deal": 10**7, "campaign": 0, "event": 10**10}
_CHANNELS = dict.fromkeys(KINDS, "email") | {
    "page_view": "web",
    "form_submit": "web",
    "meeting": "sales",
    "call": "sales",
}
_SOURCES = dict.fromkeys(KINDS, "marketing_email") | {
    "email_reply": "crm",
    "page_view": "website",
    "form_submit": "forms",
    "meeting": "crm",
    "call": "crm",
}
_OUTCOMES = {
    "meeting": ("COMPLETED", "COMPLETED", "NO_SHOW"),
    "call": ("connected", "no_answer", "left_voicemail"),
    "email_reply": ("reply", "reply", "reply"),
}


def tables(draft: Draft, rng: np.random.Generator) -> tuple[dict[str, pa.Table], pa.Table, pa.Table]:
    """The canonical tables, then the truth about contacts and about events."""
    ids = _ids(draft, "contact", len(draft.people))
    denied = rng.random(len(draft.people)) < draft.parameters.profiling_denied
    emails = _emails(draft)
    events, origin = _events(draft, ids, rng)
    made = {name: empty(name) for name in ("identities", "list_members", "purchases", "purchase_items")} | {
        "companies": _companies(draft),
        "contacts": _contacts(draft, ids, emails, rng),
        "contact_addresses": _addresses(ids, emails, rng),
        "consents": _consents(draft, ids, denied),
        "property_definitions": definitions(),
        "property_history": pa.concat_tables(
            history(draft.changes, kind, _ids(draft, kind, count)) for kind, count in _counts(draft).items()
        ),
        "campaigns": _campaigns(draft),
        "events": events,
        **_deals(draft, ids, rng),
    }
    return made, _truth(draft, ids, denied), pa.table({"event_id": events["event_id"], "origin": origin})


def _counts(draft: Draft) -> dict[str, int]:
    """Number of objects that have a history."""
    deals = len(draft.deals.deals(draft.until))
    return {"contact": len(draft.people), "company": len(draft.companies.band), "deal": deals}


def _ids(draft: Draft, kind: str, count: int) -> pa.Array:
    return _of(draft, kind, np.arange(count))


def _of(draft: Draft, kind: str, index: Ints) -> pa.Array:
    """Ids by index; null for -1."""
    return pc.cast(pa.array(index + _FIRST[kind] + draft.part * _PART[kind], mask=index < 0), pa.string())


def _table(table: str, more: dict[str, pa.Array] | None = None, /, **columns: Any) -> pa.Table:
    """A canonical table; a column that is not given is null, `more` are its `p_` columns."""
    rows = len(next(iter(columns.values())))
    arrays = [columns.pop(field.name, pa.nulls(rows, field.type)) for field in schema(table)]
    made = pa.Table.from_arrays([_flat(array) for array in arrays], schema=schema(table))
    for column, values in (more or {}).items():
        made = made.append_column(column, values)
    return made


def _flat(array: Any) -> pa.Array:
    return array if isinstance(array, pa.Array | pa.ChunkedArray) else pa.array(array)


def _joined(*parts: Any) -> pa.Array:
    """Texts put together row by row."""
    return pc.binary_join_element_wise(*parts, "")


def _companies(draft: Draft) -> pa.Table:
    firms, count = draft.companies, len(draft.companies.band)
    return _table(
        "companies",
        {
            f"p_{name}": typed(latest(_named(draft, "company")[name], count), kind)
            for name, _, kind, _, _ in COMPANY_DEFINITIONS
        },
        company_id=_ids(draft, "company", count),
        created_at=timestamps(firms.created),
        updated_at=timestamps(np.maximum(firms.created, draft.start)),
        name=_joined("Company ", _number(draft, np.arange(count))),
        domain=_domain(draft, np.arange(count)),
        industry=words(tuple(INDUSTRIES), firms.industry),
        employees=firms.employees.astype(float),
        annual_revenue=firms.revenue,
        country=words([place[1] for place in PLACES], firms.place),
    )


def _named(draft: Draft, kind: str) -> dict[str, Changes]:
    return {change.property: change for change in draft.changes if change.object == kind}


def _number(draft: Draft, company: Ints) -> pa.Array:
    return pc.cast(pa.array(company + 1 + draft.part * _PART["company"]), pa.string())


def _domain(draft: Draft, company: Ints) -> pa.Array:
    return _joined("company", _number(draft, company), ".example")


def _emails(draft: Draft) -> pa.Array:
    count = len(draft.people)
    return _joined("contact", _ids(draft, "contact", count), "@", _domain(draft, draft.people.company))


def _contacts(draft: Draft, ids: pa.Array, emails: pa.Array, rng: np.random.Generator) -> pa.Table:
    who, count = draft.people, len(draft.people)
    by_name = _named(draft, "contact")
    updated = who.created.copy()
    for change in by_name.values():
        np.maximum.at(updated, change.who, change.at)
    zone = np.where(rng.random(count) < draft.parameters.zone_known, who.place, -1)
    owner = np.where(rng.random(count) < 0.8, rng.integers(0, len(OWNERS), count), -1)
    kinds = {name: kind for name, _, kind, _, _ in DEFINITIONS}
    return _table(
        "contacts",
        {f"p_{name}": typed(latest(by_name[name], count), kind) for name, kind in kinds.items()},
        contact_id=ids,
        created_at=timestamps(who.created),
        updated_at=timestamps(updated),
        email=emails,
        timezone=words(ZONES, zone),
        country=words([place[1] for place in PLACES], who.place),
        company_id=_of(draft, "company", who.company),
        owner_id=words(OWNERS, owner),
        lifecycle_stage=latest(by_name["lifecyclestage"], count),
    )


def _addresses(ids: pa.Array, emails: pa.Array, rng: np.random.Generator) -> pa.Table:
    second = pa.array(rng.random(len(ids)) < 0.04)
    others = _joined("contact", ids.filter(second), "@mail.example")
    primary = np.arange(len(ids) + len(others)) < len(ids)
    return _table(
        "contact_addresses",
        contact_id=pa.concat_arrays([ids, ids.filter(second)]),
        email=pa.concat_arrays([emails, others]),
        is_primary=pa.array(primary),
    )


def _consents(draft: Draft, ids: pa.Array, denied: Any) -> pa.Table:
    left = draft.stopped < draft.until
    objects = np.flatnonzero(denied)
    since = np.concatenate([np.where(left, draft.stopped, draft.people.created), draft.people.created[objects]])
    count = len(ids)
    return _table(
        "consents",
        contact_id=pa.concat_arrays([ids, ids.take(pa.array(objects))]),
        channel=words(("email", "any"), (np.arange(len(since)) >= count).astype(np.int64)),
        purpose=words(("marketing", "profiling"), (np.arange(len(since)) >= count).astype(np.int64)),
        status=words(("granted", "denied"), np.concatenate([left, np.ones(len(objects), bool)]).astype(np.int64)),
        since=timestamps(since),
    )


def _campaigns(draft: Draft) -> pa.Table:
    runs = draft.campaigns
    sent = timestamps(runs.sent)
    number = pa.array(np.arange(len(runs.sent)) + 1).cast(pa.string())
    subject = words(SUBJECTS, runs.subject)
    return _table(
        "campaigns",
        campaign_id=_ids(draft, "campaign", len(runs.sent)),
        channel=words(("email",), np.zeros(len(runs.sent), dtype=np.int64)),
        name=_joined(pc.strftime(sent, format="%Y-%m"), " mailing ", number),
        subject=subject,
        sent_at=sent,
        cost=runs.cost,
    )


def _deals(draft: Draft, ids: pa.Array, rng: np.random.Generator) -> dict[str, pa.Table]:
    """Deals that were opened before the market's end, in order of opening; each has one contact."""
    deals = draft.deals
    order = deals.deals(draft.until)
    contact, opened, end = deals.contact[order], deals.deal_at()[order], deals.end[order]
    closed = end < draft.until
    won = closed & deals.won[order]
    currency = rng.choice(4, len(order), p=[0.7, 0.18, 0.1, 0.02])
    employees = draft.companies.employees[draft.people.company[contact]]
    original = (300 * employees**0.55 * rng.lognormal(0.0, 0.5, len(order))).round(-1)
    rates = [_rate(code, draft.parameters.currency) for code in RATES]
    amount = original * np.array(rates, dtype=float)[currency]
    deal_ids = _ids(draft, "deal", len(order))
    stage = np.where(won, 2, np.where(closed, 3, (opened < draft.until - CONTRACT_AFTER).astype(int)))
    return {
        "deals": _table(
            "deals",
            deal_id=deal_ids,
            company_id=_of(draft, "company", draft.people.company[contact]),
            created_at=timestamps(opened),
            updated_at=timestamps(np.where(closed, end, opened)),
            closed_at=timestamps(end, closed),
            amount=pa.array(amount.round(2), from_pandas=True),
            amount_original=original,
            currency=words(tuple(RATES), currency),
            stage=words(DEAL_STAGES, stage),
            pipeline=words(("default",), stage * 0),
            is_closed=pa.array(closed),
            is_won=pa.array(won),
        ),
        "deal_contacts": _table(
            "deal_contacts",
            deal_id=deal_ids,
            contact_id=ids.take(pa.array(contact)),
            role=words(("decision_maker",), stage * 0),
            is_primary=pa.array(np.ones(len(order), dtype=bool)),
        ),
    }


def _rate(currency: str, home: str) -> float:
    """Value of one unit of `currency` in the account's own; NaN where no rate is known."""
    one, base = RATES[currency], RATES.get(home)
    return float("nan") if one is None or base is None else one / base


def _events(draft: Draft, ids: pa.Array, rng: np.random.Generator) -> tuple[pa.Table, pa.Array]:
    """All events by time, and who was behind each."""
    events = draft.events
    order = np.lexsort((events.kind, events.contact, events.at))
    contact, at, kind = events.contact[order], events.at[order], events.kind[order]
    campaign, about, origin = events.campaign[order], events.about[order], events.origin[order]
    seen_through = _seen_through(draft, contact, origin, rng)
    late = rng.random(len(order)) < 0.01
    delay = np.where(late, rng.integers(60, 21600, len(order)), rng.integers(1, 20, len(order)))
    made = _table(
        "events",
        event_id=_ids(draft, "event", len(order)),
        contact_id=ids.take(pa.array(contact)),
        company_id=_of(draft, "company", draft.people.company[contact]),
        occurred_at=timestamps(at),
        ingested_at=timestamps(at + delay),
        kind=words(KINDS, kind),
        channel=words([_CHANNELS[name] for name in KINDS], kind),
        campaign_id=_of(draft, "campaign", campaign),
        url=_urls(kind, about),
        human=np.where(seen_through, 0.0, 1.0),
        source=words([_SOURCES[name] for name in KINDS], kind),
        properties=_details(kind, about, seen_through),
    )
    return made, words(ORIGINS, origin)


def _seen_through(draft: Draft, contact: Ints, origin: Ints, rng: np.random.Generator) -> Any:
    """Which machine events the platform recognised: all of some gateways, all of some people's proxies."""
    gateway = rng.random(len(draft.companies.band)) < draft.parameters.filtered
    proxy = rng.random(len(draft.people)) < draft.parameters.filtered
    by_gateway = (origin == SCANNER) & gateway[draft.people.company[contact]]
    return by_gateway | ((origin == PROXY) & proxy[contact])


def _paged(kind: Ints) -> Any:
    return np.isin(kind, [KIND[name] for name in ("page_view", "form_submit", "email_click")])


def _urls(kind: Ints, about: Ints) -> pa.Array:
    """Address of the page, with the mail's mark on links out of mails."""
    texts = [SITE + path for path, _ in PAGES]
    marked = [f"{text}?utm_medium=email" for text in texts]
    code = about + len(PAGES) * (kind == KIND["email_click"])
    return words([*texts, *marked], np.where(_paged(kind), code, -1))


def _details(kind: Ints, about: Ints, filtered: Any) -> pa.Array:
    """The JSON of `properties`: a page's title, a form's id and name, an outcome, a filtered mark."""
    texts: list[str] = [_json(title=title) for _, title in PAGES]
    by_page = {path: _json(form_id=form, form_name=name) for path, form, name in FORMS}
    texts += [by_page.get(path, "{}") for path, _ in PAGES]
    code = np.where(kind == KIND["page_view"], about, -1)
    code = np.where(kind == KIND["form_submit"], about + len(PAGES), code)
    for name, outcomes in _OUTCOMES.items():
        code = np.where(kind == KIND[name], about + len(texts), code)
        texts += [_json(outcome=outcome) for outcome in outcomes]
    texts.append(_json(filtered=True))
    return words(texts, np.where(filtered, len(texts) - 1, code))


def _json(**fields: Any) -> str:
    return json.dumps(fields, sort_keys=True)


def _truth(draft: Draft, ids: pa.Array, denied: Any) -> pa.Table:
    who = draft.people
    hours = np.argsort(-who.hours, axis=1, kind="stable")[:, :3]
    return pa.table(
        {
            "contact_id": ids,
            "segment": words(tuple(SEGMENTS), who.segment),
            "archetype": words(tuple(ARCHETYPES), who.archetype),
            "zone": words(ZONES, who.place),
            "best_hour": hours[:, 0],
            "best_hours": pa.FixedSizeListArray.from_arrays(pa.array(hours.ravel()), 3),
            "best_weekday": who.weekdays.argmax(axis=1) + 1,
            "fit": who.fit,
            "machine_opens": who.privacy,
            "scanned": draft.companies.scanned[who.company],
            "opted_out": draft.stopped < draft.until,
            "profiling_denied": denied,
        }
    )
