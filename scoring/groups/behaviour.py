"""What contacts do, as numbers by contact and instant: recency, frequency, value, depth and what they mix.

Only what people did counts (probability `human` of at least one third), before the instant; windows are 365 days
except where the name says otherwise. Where records do not go back so far, frequency, value and depth are what the
recorded days would make of 365: else everybody would seem to do more from month to month, for no other reason than
that more is on record. Shares are held towards everyone's, so that one click is not a habit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoring.context import Context
from scoring.engine import Engine, literal, quoted
from scoring.zones import zones

Floats = npt.NDArray[np.float64]

#: Event kind -> what a marketer calls the channel. Kinds not listed are not done by the contact.
CHANNELS = {
    "email_open": "open",
    "email_click": "click",
    "email_reply": "reply",
    "page_view": "web",
    "product_view": "web",
    "cart_add": "web",
    "form_submit": "form",
    "meeting": "talk",
    "call": "talk",
    "sms_click": "message",
    "push_open": "message",
    "ad_click": "ad",
    "custom": "other",
}
MIX = (*dict.fromkeys(CHANNELS.values()), "buy")
#: Interests at most, and the share of all visits or lines that one must have.
MAX_INTERESTS = 8
MIN_INTEREST = 0.02
#: Fewer things done than this are too little to know somebody by.
MIN_ACTS = 3
#: Acts' worth of everyone's mix in a contact's own.
_PRIOR = 5.0
_RECENCY_DAYS = (14, 30, 60, 90, 180, 365, 730)
_MIN_HUMAN = 0.33
_WINDOW = 365 * 86400
#: A shorter record is no measure of a year.
_SHORTEST = 30 * 86400
_LATELY = 60 * 86400
#: Records begin where this share of all acts has come: a few dates in the wrong century are no beginning.
_BEGUN = 0.002
_EPOCH = "timestamp '1970-01-01 00:00:00'"


@dataclass(frozen=True)
class Measures:
    """Which numbers are taken; learnt once and stored, so that a model reads as it was trained."""

    interests: tuple[str, ...]
    #: Share of everyone's acts by channel, evening, weekend, and by interest.
    usual: tuple[tuple[str, float], ...]
    buys: bool
    #: UTC second at which records begin; 0 where they reach back further than any window.
    begins: int = 0
    #: How counts grow with the record: 1 where people go on as they began, 0 where they have fallen silent.
    growth: float = 1.0

    def years(self, instants: Floats) -> Floats:
        """The part of what is done in 365 days that is on record at some instants (UTC seconds)."""
        recorded = np.clip(instants - self.begins, _SHORTEST, _WINDOW) / _WINDOW
        done: Floats = recorded**self.growth
        return done

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the matrix, in order."""
        value = ("value",) if self.buys else ()
        return ("recency", "frequency", *value, "depth", *(name for name, _ in self.usual))


@dataclass(frozen=True)
class Behaviour:
    """Rows by contact and instant: ids, instants, how much is known, numbers."""

    contact_id: pa.Array
    as_of: npt.NDArray[np.int64]
    acts: Floats
    values: Floats


def learn(context: Context, people: str) -> Measures:
    """What is there to be measured among the contacts in `people` at the instant."""
    engine = context.engine
    gather(context, people)
    wanted = (
        "select interest, n from (select interest, count(*) as n, sum(count(*)) over () as everything "
        "from interests group by interest) i where "
        f"n >= {MIN_INTEREST}e0 * everything order by n desc, interest limit {MAX_INTERESTS}"
    )
    interests = tuple(engine.fetch(wanted)["interest"].to_pylist())
    engine.run(
        f"create or replace temp table pairs as select contact_id, {_instant(context)} as as_of from {people}"
    )
    sums = _counted(engine, interests)
    total = max(float(np.sum(sums["acts"])), 1.0)
    lines = max(float(np.sum(sums["lines"])), 1.0)
    usual = {name: float(np.sum(sums[name])) / total for name in (*MIX, "evening", "weekend")}
    usual = {name: round(share, 6) for name, share in usual.items() if 0.001 <= share <= 0.999}
    usual |= {
        f"interest:{one}": round(float(np.sum(sums[f"interest_{at}"])) / lines, 6)
        for at, one in enumerate(interests)
    }
    begins = _begins(engine)
    now = float(sums["instant"].max(initial=0.0))
    buys = bool(np.sum(sums["value"]) > 0)
    return Measures(interests, tuple(usual.items()), buys, begins, _growth(engine, begins, now))


def _growth(engine: Engine, begins: int, now: float) -> float:
    """By which power of the recorded days the counts of those known grew over the last third of the record, or the
    last two months of a longer one."""
    recorded = now - begins
    then = now - min(recorded / 3, _LATELY)
    if recorded <= 0 or begins == 0:
        return 1.0
    found = engine.fetch(
        f"select sum(case when second < {then:.0f} then 1 else 0 end) as before, count(*) as after "
        "from acts a join "
        f"(select contact_id from acts group by contact_id having min(second) < {then:.0f}) k "
        "on a.contact_id = k.contact_id"
    ).to_pylist()[0]
    if not found["before"]:
        return 1.0
    power = np.log(float(found["after"]) / float(found["before"])) / np.log(recorded / (then - begins))
    return round(float(np.clip(power, 0.0, 1.0)), 3)


def _begins(engine: Engine) -> int:
    """UTC second at which the gathered acts begin."""
    found = engine.fetch(
        "select min(second) as second from (select second, row_number() over (order by second) as place, "
        f"count(*) over () as n from acts) a where place > {_BEGUN}e0 * n"
    )["second"][0].as_py()
    return 0 if found is None else int(found)


def gather(context: Context, people: str) -> None:
    """Make the temporary tables `acts` and `interests` of the contacts in `people`, before the instant.

    An act is a channel used on a (local) day: a burst of clicks, by hand or by a link scanner, is one.
    """
    channel = " ".join(f"when {literal(kind)} then {literal(name)}" for kind, name in CHANNELS.items())
    kinds = ", ".join(map(literal, CHANNELS))
    before = _instant(context)
    context.engine.run(f"""
create or replace temp table acts as
with done as (
  select contact_id, occurred_at as at_, case kind {channel} end as channel, utc_offset_min, 0.0e0 as amount
  from events where occurred_at < {before} and kind in ({kinds}) and coalesce(human, 1.0e0) >= {_MIN_HUMAN}e0
  union all
  select contact_id, purchased_at, 'buy', null, coalesce(amount, 0.0e0) from purchases
  where purchased_at < {before}
), placed as (
  select d.contact_id, channel, amount, secs_between({_EPOCH}, at_) as second,
    secs_between({_EPOCH}, at_) + coalesce(utc_offset_min * 60,
      secs_between(at_, local_ts(at_, z.timezone))) as local_second
  from done d join {quoted(people)} p on d.contact_id = p.contact_id
    left join ({zones(context.engine, context.options.timezone)}) z on d.contact_id = z.contact_id
)
select contact_id, channel, sum(cast(round(amount * 1000) as bigint)) as value, min(second) as second, day,
  min(cast(floor(safe_div(local_second, 3600)) as bigint) - 24 * day) as hour
from (select *, cast(floor(safe_div(local_second, 86400)) as bigint) as day from placed) p
group by contact_id, channel, day""")
    # the first part of a path is what a site calls a section; a query string is no part of it
    path = "split_part(regexp_replace(url, '^[A-Za-z]+://[^/]*', ''), '?', 1)"
    context.engine.run(f"""
create or replace temp table interests as
select i.contact_id, second, interest from (
  select contact_id, secs_between({_EPOCH}, occurred_at) as second, '/' || split_part({path}, '/', 2) as interest
  from events where occurred_at < {before} and kind in ('page_view', 'product_view')
    and coalesce(human, 1.0e0) >= {_MIN_HUMAN}e0 and url is not null
  union all
  select b.contact_id, secs_between({_EPOCH}, purchased_at), category
  from purchases b join purchase_items l on b.purchase_id = l.purchase_id where purchased_at < {before}
) i join {quoted(people)} p on i.contact_id = p.contact_id where interest is not null and interest <> '/'""")


def measure(engine: Engine, measures: Measures) -> Behaviour:
    """The numbers of the contact-instant pairs in table `pairs`, ordered by contact and instant."""
    sums = _counted(engine, measures.interests)
    instants = sums["instant"].astype(np.int64)
    yearly = {name: sums[name] / measures.years(sums["instant"]) for name in ("acts", "value", "days")}
    # Steps, not days: who buys every week is no other person on the sixth day than on the first.
    columns = [-np.searchsorted(_RECENCY_DAYS, sums["days_since"]).astype(np.float64), yearly["acts"]]
    columns += [yearly["value"]] if measures.buys else []
    columns += [yearly["days"]]
    place = {f"interest:{one}": f"interest_{at}" for at, one in enumerate(measures.interests)}
    for name, share in measures.usual:
        of = sums["lines"] if name in place else sums["acts"]
        columns.append((sums[place.get(name, name)] + _PRIOR * share) / (of + _PRIOR))
    return Behaviour(sums["contact_id"], instants, sums["known"], np.stack(columns, axis=1))


def _counted(engine: Engine, interests: tuple[str, ...]) -> dict[str, npt.NDArray[np.float64]]:
    """Counts in the window before each pair's instant, by column."""
    mix = ", ".join(
        f"sum(case when recent and channel = {literal(name)} then 1 else 0 end) as {name}" for name in MIX
    )
    likes = "".join(
        f", sum(case when interest = {literal(one)} then 1 else 0 end) as interest_{at}"
        for at, one in enumerate(interests)
    )
    rows = engine.fetch(f"""
with timed as (select contact_id, as_of, secs_between({_EPOCH}, as_of) as instant from pairs),
done as (
  select t.contact_id, t.instant, a.channel, a.value, a.second, a.day, a.hour,
    a.second >= t.instant - {_WINDOW} as recent
  from timed t join acts a on t.contact_id = a.contact_id where a.second < t.instant
), counted as (
  select contact_id, instant, count(*) as known, max(second) as latest, {mix},
    sum(case when recent then 1 else 0 end) as acts,
    sum(case when recent then value else 0 end) as value,
    count(distinct case when recent then day end) as days,
    sum(case when recent and (hour >= 18 or hour < 6) then 1 else 0 end) as evening,
    sum(case when recent and (day + 3) % 7 >= 5 then 1 else 0 end) as weekend
  from done group by contact_id, instant
), liked as (
  select t.contact_id, t.instant, count(*) as lines{likes}
  from timed t join interests i on t.contact_id = i.contact_id
  where i.second < t.instant and i.second >= t.instant - {_WINDOW} group by t.contact_id, t.instant
)
select t.contact_id, t.instant, coalesce(known, 0) as known, coalesce(acts, 0) as acts,
  floor(safe_div(t.instant - coalesce(latest, t.instant), 86400)) as days_since, coalesce(value, 0) as value,
  coalesce(days, 0) as days, coalesce(evening, 0) as evening, coalesce(weekend, 0) as weekend,
  coalesce(lines, 0) as lines, {", ".join(f"coalesce({name}, 0) as {name}" for name in MIX)}
  {"".join(f", coalesce(interest_{at}, 0) as interest_{at}" for at in range(len(interests)))}
from timed t left join counted c on t.contact_id = c.contact_id and t.instant = c.instant
  left join liked l on t.contact_id = l.contact_id and t.instant = l.instant
order by t.contact_id, t.instant""")
    columns = {
        name: rows[name].to_numpy().astype(np.float64) for name in rows.column_names if name != "contact_id"
    }
    return {**columns, "instant": columns["instant"], "contact_id": rows["contact_id"].combine_chunks()}


def _instant(context: Context) -> str:
    return f"timestamp '{context.as_of:%Y-%m-%d %H:%M:%S}'"
