"""Which contacts are looked at, and as of when: pairs of a contact and an instant.

A training snapshot is a contact as it stood at a past instant, with what came of it in the label window
`(as_of, as_of + horizon]`. Contacts that were deleted or merged, and people who object to profiling, are in
none of the tables made here; the user's filters say who else is not (`scoring.eligibility`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from scoring import eligibility
from scoring.context import Context
from scoring.eligibility import Filter
from scoring.engine import Engine, literal, quoted
from scoring.goals import goal_text, reached

#: Training rows beyond this are sampled: more cost time and memory and teach little.
MAX_ROWS = 200_000
#: Past instants at most, a label window apart.
MAX_INSTANTS = 8
#: An instant with fewer eligible contacts is no snapshot.
MIN_ELIGIBLE = 50
#: Recorded days before the first instant; with less, a contact's past is mostly unseen.
MIN_PAST_DAYS = 30

_LIVE, _CANDIDATES, _REACHED = "leadlight_live", "leadlight_candidates", "leadlight_reached"
_PAIRS = "leadlight_pairs"
_DAY = 86400


@dataclass(frozen=True)
class Snapshots:
    """Training rows. The table has contact_id, person_id, as_of, label, fold and row_order."""

    table: str
    #: time: by instants; order: by row_order; cv: by fold.
    split: Literal["time", "cv", "order"]
    #: Ascending; one for cv and order.
    instants: tuple[datetime, ...]
    #: Pairs of a contact and an instant.
    rows: int
    positives: int
    contacts: int


def labelled(context: Context, into: str = "labelled") -> Snapshots:
    """The training rows of the goal, about MAX_ROWS at most, drawn by a hash of contact and instant.

    A static goal gives each contact whose goal column is not empty, as of now. A goal in time gives every
    contact that was eligible at each of several past instants; with fewer than two usable instants one
    snapshot, a label window ago, remains and the split is `cv`.
    """
    if not context.goal.in_time:
        _live(context, chosen=context.options.train)
        return _static(context, into)
    _live(context)
    instants = _candidate_instants(context)
    _outcomes(context, instants)
    counts = _eligible_counts(context.engine)
    usable = []
    for instant in reversed(instants):
        if counts.get(instant, 0) < MIN_ELIGIBLE:
            break
        usable.append(instant)
    if len(usable) >= 2:
        return _sampled(context, into, "time", tuple(reversed(usable)))
    return _sampled(context, into, "cv", instants[-1:])


def eligible(context: Context, into: str = "eligible", only: str | None = None) -> int:
    """Who gets a lead score now: contact_id, person_id, as_of, fold. Returns how many.

    Who has reached a goal that happens once is left out. `only` names a table of contact_ids.
    """
    live = context.live or _live(context, only, context.options.write)
    return _now(context, into, live, _done(context))


def _done(context: Context) -> str:
    """SQL: who has reached a goal that happens once, and so gets no lead score any more."""
    goal = context.goal
    if not goal.once:
        return "select contact_id from contacts where false"
    if goal.in_time:
        return (
            f"select contact_id from ({reached(context.engine, goal)}) r "
            f"where happened_at is null or happened_at <= {_timestamp(context.as_of)}"
        )
    text = goal_text(context.engine, goal)
    return f"select c.contact_id from contacts c where {text} = {literal(str(goal.equals))}"


def why_left_out(context: Context, contact_id: str) -> str:
    """Why a contact is not among the `eligible`, in words; of several reasons the one that people decided."""
    engine, consent, chosen = context.engine, context.options.consent, context.options.write
    unasked = replace(consent, opt_in=False)
    after = f"select contact_id from contacts where created_at > {_timestamp(context.as_of)}"
    reasons = [
        (eligibility.objectors(engine, unasked), "The person objects to profiling."),
        (eligibility.objectors(engine, consent), "The person has not agreed to profiling."),
        (after, f"The contact was not known yet on {context.as_of:%Y-%m-%d %H:%M} UTC."),
        (_done(context), f"The contact has reached the goal already ({context.goal.words})."),
    ]
    if chosen:
        outside = (
            f"select c.contact_id from contacts c where not coalesce({eligibility.present(engine, chosen)}, false)"
        )
        reasons.append((outside, "The filters that say whom to write to leave the contact out."))
    for query, words in reasons:
        found = f"select count(*) from ({query}) q where contact_id = {literal(contact_id)}"
        if _number(engine, found):
            return words
    return "The contact is left out of scoring."


def population(
    context: Context, into: str = "population", only: str | None = None, *, training: bool = False
) -> int:
    """Every live contact who may get a value, or, with `training`, be learnt from: contact_id, person_id, as_of,
    fold. Returns how many."""
    if training:
        live = _live(context, only, context.options.train)
    else:
        live = context.live or _live(context, only, context.options.write)
    return _now(context, into, live, "select contact_id from contacts where false")


def may_score(context: Context, only: str | None = None) -> str:
    """SQL: contacts that a value may be written to, with person, fold and when they became known (null: never
    dated)."""
    return _may(context, only, context.options.write)


def _now(context: Context, into: str, live: str, done: str) -> int:
    known = f"(l.known_since is null or l.known_since <= {_timestamp(context.as_of)})"
    context.engine.run(
        f"create or replace temp table {quoted(into)} as "
        f"select l.contact_id, l.person_id, {_timestamp(context.as_of)} as as_of, l.fold from {live} l "
        f"left join (select distinct contact_id from ({done}) d) gone on gone.contact_id = l.contact_id "
        f"where gone.contact_id is null and {known}"
    )
    return _number(context.engine, f"select count(*) from {quoted(into)}")


def _live(context: Context, only: str | None = None, chosen: Filter | None = None) -> str:
    context.engine.run(f"create or replace temp table {_LIVE} as {_may(context, only, chosen)}")
    return _LIVE


def _may(context: Context, only: str | None, chosen: Filter | None) -> str:
    """SQL: contacts that may be looked at, with person, fold and when they became known (null: never dated)."""
    among = f"and c.contact_id in (select contact_id from {quoted(only)})" if only else ""
    if chosen:
        among += f" and {eligibility.present(context.engine, chosen)}"
    return f"""
        with people as (select contact_id, min(person_id) as person_id from identities group by contact_id),
        objections as ({eligibility.objectors(context.engine, context.options.consent)}),
        firsts as ({_first_traces()})
        select c.contact_id, coalesce(p.person_id, c.contact_id) as person_id,
            stable_bucket(coalesce(p.person_id, c.contact_id), {context.options.folds}) as fold,
            coalesce(c.created_at, f.seen_at) as known_since, c.row_order
        from contacts c
        left join people p on p.contact_id = c.contact_id
        left join objections o on o.contact_id = c.contact_id
        left join firsts f on f.contact_id = c.contact_id
        where c.deleted_at is null and c.merged_into is null and o.contact_id is null {among}
    """


def _first_traces() -> str:
    """SQL: when contacts without a creation date first did something."""
    undated = "in (select contact_id from contacts where created_at is null)"
    return (
        "select contact_id, min(seen_at) as seen_at from ("
        f"select contact_id, occurred_at as seen_at from events where contact_id {undated} "
        f"union all select contact_id, purchased_at from purchases where contact_id {undated}"
        ") traces group by contact_id"
    )


def _static(context: Context, into: str) -> Snapshots:
    order = context.options.order_by == "row"
    text = goal_text(context.engine, context.goal)
    context.engine.run(f"""
        create or replace temp table {_CANDIDATES} as
        select l.contact_id, l.person_id, {_timestamp(context.as_of)} as as_of,
            {text} = {literal(str(context.goal.equals))} as label, l.fold,
            {"l.row_order" if order else "cast(null as bigint)"} as row_order
        from {_LIVE} l join contacts c on c.contact_id = l.contact_id
        where {text} is not null
    """)
    return _sampled(context, into, "order" if order else "cv", (context.as_of,))


def _candidate_instants(context: Context) -> tuple[datetime, ...]:
    """Past instants, ascending, a label window apart, as far back as anything was recorded; at least one."""
    horizon = timedelta(days=context.goal.horizon_days)
    newest = context.as_of - horizon
    first = _first_record(context.engine)
    if first is None:
        return (newest,)
    earliest = first + min(horizon, timedelta(days=MIN_PAST_DAYS))
    found = [newest - horizon * back for back in range(MAX_INSTANTS)]
    return tuple(reversed([instant for instant in found if instant >= earliest] or [newest]))


def _first_record(engine: Engine) -> datetime | None:
    """When recording began. Old deals and stages reach back further than activity and say little without it."""
    for query in (
        "select min(t) as first from (select min(occurred_at) as t from events where contact_id is not null "
        "union all select min(purchased_at) from purchases) all_of",
        "select min(t) as first from (select min(created_at) as t from deals "
        "union all select min(changed_at) from property_history) all_of",
        "select min(created_at) as first from contacts",
    ):
        found: datetime | None = engine.fetch(query)["first"][0].as_py()
        if found is not None:
            return found
    return None


def _outcomes(context: Context, instants: Sequence[datetime]) -> None:
    """Each contact that was eligible at each instant, and whether the goal was reached in its label window."""
    engine, goal = context.engine, context.goal
    engine.run(f"create or replace temp table {_REACHED} as {reached(engine, goal)}")
    union = " union all ".join(f"select {_timestamp(instant)} as as_of" for instant in instants)
    still_open = "coalesce(o.earlier, 0) = 0" if goal.once else "true"
    engine.run(
        f"create or replace temp table {_PAIRS} as "
        f"select l.*, i.as_of from {_LIVE} l cross join ({union}) i where l.known_since < i.as_of"
    )
    if context.options.train:
        eligibility.at_instants(engine, context.options.train, _PAIRS, f"{_PAIRS}_chosen")
    pairs = f"{_PAIRS}_chosen" if context.options.train else _PAIRS
    engine.run(f"""
        create or replace temp table {_CANDIDATES} as
        with outcomes as (
            select p.contact_id, p.as_of,
                max(case when r.happened_at is null or r.happened_at <= p.as_of then 1 else 0 end) as earlier,
                max(case when r.happened_at > p.as_of
                    and secs_between(p.as_of, r.happened_at) <= {goal.horizon_days * _DAY}
                    then 1 else 0 end) as reached
            from {pairs} p join {_REACHED} r on r.contact_id = p.contact_id
            group by p.contact_id, p.as_of
        )
        select p.contact_id, p.person_id, p.as_of, coalesce(o.reached, 0) = 1 as label, p.fold,
            cast(null as bigint) as row_order
        from {pairs} p left join outcomes o on o.contact_id = p.contact_id and o.as_of = p.as_of
        where {still_open}
    """)


def _eligible_counts(engine: Engine) -> dict[datetime, int]:
    rows = engine.fetch(f"select as_of, count(*) as n from {_CANDIDATES} group by as_of")
    return dict(zip(rows["as_of"].to_pylist(), rows["n"].to_pylist(), strict=True))


def _sampled(
    context: Context, into: str, split: Literal["time", "cv", "order"], instants: tuple[datetime, ...]
) -> Snapshots:
    engine = context.engine
    wanted = " or ".join(f"as_of = {_timestamp(instant)}" for instant in instants)
    rows = _number(engine, f"select count(*) from {_CANDIDATES} where {wanted}")
    keep = "true" if rows <= MAX_ROWS else f"{_draw(instants)} < {1_000_000 * MAX_ROWS // rows}"
    engine.run(
        f"create or replace temp table {quoted(into)} as select * from {_CANDIDATES} "
        f"where ({wanted}) and {keep} order by as_of, row_order, contact_id"
    )
    (counts,) = engine.fetch(
        "select count(*) as rows, count(case when label then 1 end) as positives, "
        f"count(distinct contact_id) as contacts from {quoted(into)}"
    ).to_pylist()
    return Snapshots(into, split, instants, **counts)


def _draw(instants: Sequence[datetime]) -> str:
    """A number from 0 to 999,999 by contact and instant, the same in every run."""
    names = " ".join(f"when as_of = {_timestamp(at)} then '{at.isoformat()}'" for at in instants)
    return f"stable_bucket(concat(contact_id, ' ', case {names} end), 1000000)"


def _timestamp(at: datetime) -> str:
    return f"timestamp '{at:%Y-%m-%d %H:%M:%S}'"


def _number(engine: Engine, query: str) -> int:
    value: Any = engine.fetch(query).column(0)[0].as_py()
    return int(value)
