"""What the data allow: rows, history, outcomes, missing values, duplicates, consent; which predictors can run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from connector.errors import BadSetting
from connector.jobs.run import Run
from connector.platform import Check
from scoring.eligibility import objectors
from scoring.engine import DuckEngine, quoted
from scoring.errors import ScoringError, UsageError
from scoring.readiness import POSITIVES, more_conversions
from scoring.snapshots import labelled

#: Fewer contacts than this rarely hold enough outcomes.
FEW_CONTACTS = 500
#: Recorded days that a goal in time wants besides its horizon.
SHORT_HISTORY = 30
#: Properties whose missing values are named.
NAMED = 8

_LIVE = "deleted_at is null and merged_into is null"
_DATED = (("events", "occurred_at"), ("purchases", "purchased_at"), ("deals", "created_at"))


@dataclass
class Readiness:
    """Checks for a person, figures for a machine, and what each predictor lacks (empty: it can run)."""

    checks: list[Check] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    lacks: dict[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Readiness":
        return cls([Check(**check) for check in given["checks"]], given["figures"], given["lacks"])


def examine(run: Run) -> Readiness:
    """Judge the mirror's data. Writes nothing but temporary tables."""
    found = Readiness()
    engine = run.engine()
    contacts = int(_first(engine, f"select count(*) from contacts where {_LIVE}")[0])
    found.figures["contacts"] = contacts
    few = contacts < FEW_CONTACTS
    remedy = f"Models want some {FEW_CONTACTS} contacts at least." if few else ""
    found.checks.append(Check("contacts", "warn" if few else "ok", f"{contacts:,} live contacts.", remedy))
    _history(engine, found)
    _goals(run, found)
    if contacts:
        _missing(engine, contacts, found)
        _duplicates(engine, contacts, found)
        _consent(run, engine, contacts, found)
    _excluded(run, engine, found)
    _predictors(run, found)
    return found


def _history(engine: DuckEngine, found: Readiness) -> None:
    dated = " union all ".join(f"select {column} as moment from {table}" for table, column in _DATED)
    rows, first, last = _first(engine, f"select count(moment), min(moment), max(moment) from ({dated})")
    if not rows:
        found.figures["history_days"] = 0
        found.checks.append(
            Check(
                "history",
                "warn",
                "No event, purchase or deal has a date.",
                "Only a goal that is a column can be learned; send time and segments need what contacts did.",
            )
        )
        return
    days = (last - first).days
    found.figures |= {"history_days": days, "first_at": first.isoformat(), "last_at": last.isoformat()}
    text = f"{rows:,} events, purchases and deals over {days:,} days, up to {last:%Y-%m-%d}."
    found.checks.append(Check("history", "ok", text))


def _goals(run: Run, found: Readiness) -> None:
    """Positives by goal, against the fewest with which anything is published."""
    needed = int(run.settings.gates.get("min_positives", POSITIVES))
    found.figures["goals"] = {}
    for goal in run.goals():
        name = "goal" if goal.name == "default" else f"goal {goal.name}"
        try:
            context = run.context(goal)
            seen = labelled(context)
        except (ScoringError, BadSetting) as error:
            found.checks.append(
                Check(name, "fail", str(error), "Correct [goal] in leadlight.toml or the mapping.")
            )
            continue
        found.figures["goals"][goal.name] = {"rows": seen.rows, "positives": seen.positives, "split": seen.split}
        text = f"{goal.words}: {seen.positives:,} of {seen.rows:,} training rows reached it."
        if seen.positives >= needed:
            found.checks.append(Check(name, "ok", text))
            continue
        remedy = f"At least {needed} are needed: {more_conversions(context, seen.positives, needed)}."
        found.checks.append(Check(name, "warn", text, remedy))


def _missing(engine: DuckEngine, contacts: int, found: Readiness) -> None:
    """Share of missing values of the properties, the best filled first."""
    there = engine.columns("contacts")
    rows = engine.fetch(
        "select property, column_name from property_definitions where object = 'contact'"
    ).to_pylist()
    columns = {row["property"]: row["column_name"] for row in rows if row["column_name"] in there}
    if not columns:
        return
    filled = ", ".join(f"count({quoted(column)})" for column in columns.values())
    counts = _first(engine, f"select {filled} from contacts where {_LIVE}")
    shares = {name: round(1 - count / contacts, 4) for name, count in zip(columns, counts, strict=True)}
    best = dict(sorted(shares.items(), key=lambda item: (item[1], item[0])))
    found.figures["missing"] = best
    named = ", ".join(f"{name} {share:.0%}" for name, share in list(best.items())[:NAMED])
    half = sum(share <= 0.5 for share in best.values())
    text = f"{half:,} of {len(best):,} properties are filled on half of the contacts; best: {named} missing."
    remedy = "" if half else "Scores rest on what is filled: enrich contacts, or map further columns."
    found.checks.append(Check("missing values", "ok" if half else "warn", text, remedy))


def _excluded(run: Run, engine: DuckEngine, found: Readiness) -> None:
    """A name that was misspelt would leave the property in use."""
    rows = engine.fetch("select property, column_name, label from property_definitions").to_pylist()
    columns = {*engine.columns("contacts"), *engine.columns("companies")}
    known = {name.lower() for name in (*columns, *(name for row in rows for name in row.values() if name))}
    if unknown := sorted(name for name in run.settings.excluded if name.lower() not in known):
        named = ", ".join(unknown)
        found.checks.append(
            Check(
                "excluded",
                "warn",
                f"No property that was read is called so: {named}.",
                "Correct excluded = […] in leadlight.toml; what is empty on nearly everyone is not read.",
            )
        )


def _duplicates(engine: DuckEngine, contacts: int, found: Readiness) -> None:
    """Contacts that share an address, case, `+tag` and the dots of Gmail set aside."""
    known, twice = _first(
        engine,
        f"""
        with parts as (
            select split_part(lower(trim(email)), '@', 1) as name, split_part(lower(trim(email)), '@', 2) as host
            from contacts where {_LIVE} and email like '%@%'
        ),
        plain as (
            select case when host in ('gmail.com', 'googlemail.com')
                        then replace(regexp_replace(name, '[+].*$', ''), '.', '') || '@gmail.com'
                        else regexp_replace(name, '[+].*$', '') || '@' || host end as address
            from parts
        ),
        counted as (select address, count(*) as n from plain group by address)
        select coalesce(sum(n), 0), coalesce(sum(n) filter (n > 1), 0) from counted
        """,
    )
    found.figures |= {"with_email": int(known), "duplicates": int(twice)}
    text = f"{int(twice):,} of {int(known):,} contacts with an address share it with another."
    many = twice > 0.02 * contacts
    remedy = "Merge them on the platform: each is scored on a part of what the person did." if many else ""
    found.checks.append(Check("duplicates", "warn" if many else "ok", text, remedy))


def _consent(run: Run, engine: DuckEngine, contacts: int, found: Readiness) -> None:
    """For how many something is known, who objects to profiling, and what that means in the mode that is set."""
    consent = run.options().consent
    try:
        denied, not_granted = (objectors(engine, replace(consent, opt_in=mode)) for mode in (False, True))
    except UsageError as error:
        found.checks.append(Check("consent", "fail", str(error), "Correct [consent] in leadlight.toml."))
        return
    known, unsubscribed, objecting, granted = _first(
        engine,
        f"""
        with said as (
            select contact_id, bool_or(purpose = 'marketing' and status = 'denied') as unsubscribed
            from consents group by contact_id
        )
        select count(*) filter (s.contact_id is not null or d.contact_id is not null or g.contact_id is null),
               count(*) filter (s.unsubscribed), count(d.contact_id), count(*) filter (g.contact_id is null)
        from contacts c left join said s on s.contact_id = c.contact_id
             left join (select distinct contact_id from ({denied}) o) d on d.contact_id = c.contact_id
             left join (select distinct contact_id from ({not_granted}) o) g on g.contact_id = c.contact_id
        where {_LIVE}
        """,
    )
    found.figures["consent"] = {
        "known": known,
        "coverage": round(known / contacts, 4),
        "marketing_denied": unsubscribed,
        "profiling_denied": objecting,
    }
    found.figures["profiled"] = granted if consent.opt_in else contacts - objecting
    text = (
        f"Known for {known:,} of {contacts:,} contacts ({known / contacts:.0%}); {unsubscribed:,} unsubscribed "
        f"and get no send time; {objecting:,} object to profiling and are neither scored nor trained on. "
    )
    if not consent.opt_in:
        text += "Unknown counts as allowed."
        if consent.denied and not objecting:
            text += f" No contact's {consent.property!r} is {' or '.join(map(repr, consent.denied))}."
            remedy = "If people object in other words there, name these too: [consent] denied_values."
            found.checks.append(Check("consent", "warn", text, remedy))
        else:
            found.checks.append(Check("consent", "ok", text))
        return
    few = granted < FEW_CONTACTS
    remedy = "Name the property that holds it: [consent] profiling_property and granted_values." if few else ""
    text += f'Unknown counts as no (consent = "opt_in"): {granted:,} have agreed.'
    found.checks.append(Check("consent", "warn" if few else "ok", text, remedy))


def _predictors(run: Run, found: Readiness) -> None:
    for task in run.tasks():
        run.progress(f"Looking at {task.key.replace('_', ' ')}", 0, None)
        try:
            lacks = task.predictor.lacks(run.context(task.goal))
        except (ScoringError, BadSetting) as error:
            lacks = [str(error)]
        found.lacks[task.key] = lacks
        name = task.key.replace("_", " ")
        if lacks:
            found.checks.append(Check(f"predict {name}", "off", " ".join(lacks)))
        else:
            found.checks.append(Check(f"predict {name}", "ok", "Can run; `leadlight evaluate` says how well."))


def _first(engine: DuckEngine, query: str) -> tuple[Any, ...]:
    row: Mapping[str, Any] = engine.fetch(query).to_pylist()[0]
    return tuple(row.values())
