"""Who is in which segment: how fresh that is, what it says about outcomes, and each segment in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoring.context import Context
from scoring.engine import Engine
from scoring.goals import reached
from scoring.groups.behaviour import CHANNELS
from scoring.learning.coding import Floats, Ints

#: What a channel is called on a segment's card.
_WORDS = {
    "open": "e-mail opens",
    "click": "e-mail clicks",
    "reply": "e-mail replies",
    "web": "the website",
    "form": "forms",
    "talk": "calls and meetings",
    "message": "text and push messages",
    "ad": "advertisements",
    "other": "other activity",
    "buy": "purchases",
}
#: A channel sets a segment apart when its share is so many times everyone's.
_APART = 1.1


@dataclass(frozen=True)
class Freshness:
    """Shares of the contacts who are known. `stale`: kept in their segment by hysteresis though another centre is
    nearer now; `moved`: in another segment than at the start of the month."""

    stale: float
    moved: float

    @classmethod
    def of(cls, group: Ints, nearest: Ints, before: Ints) -> Freshness:
        """`group`, `nearest`, `before` by contact; -1 is not known."""
        known, both = group >= 0, (group >= 0) & (before >= 0)
        return cls(
            round(float((group != nearest)[known].mean()), 6) if known.any() else 0.0,
            round(float((group != before)[both].mean()), 6) if both.any() else 0.0,
        )

    def to_json(self) -> dict[str, float]:
        return {"stale_share": self.stale, "moved_share": self.moved}


def came_true(context: Context, contact_id: pa.Array, since_days: int) -> Floats | None:
    """1 for each contact whose outcome came in the `since_days` before the instant: the goal, or where it is not
    in time, or nobody reached it, anything that the contact did. None where all fared alike.

    Expects the gathered acts (`scoring.groups.behaviour.gather`).
    """
    since = f"timestamp '{context.as_of - timedelta(days=since_days):%Y-%m-%d %H:%M:%S}'"
    until = f"timestamp '{context.as_of:%Y-%m-%d %H:%M:%S}'"
    queries = [
        "select distinct contact_id from acts "
        f"where second >= secs_between(timestamp '1970-01-01 00:00:00', {since})"
    ]
    if context.goal.in_time:
        happened = reached(context.engine, context.goal)
        queries.insert(
            0,
            f"select distinct contact_id from ({happened}) r "
            f"where happened_at >= {since} and happened_at < {until}",
        )
    for query in queries:
        found = pc.is_in(contact_id, context.engine.fetch(query)["contact_id"].combine_chunks())
        outcome: Floats = found.to_numpy(zero_copy_only=False).astype(np.float64)
        if 0 < outcome.sum() < len(outcome):
            return outcome
    return None


def information(groups: Ints, outcome: Floats) -> float:
    """What groups say about outcomes that came after: adjusted mutual information, 0 is nothing."""
    from sklearn.metrics import adjusted_mutual_info_score

    return round(float(adjusted_mutual_info_score(outcome, groups)), 6)


def described(context: Context, assigned: pa.Table, named: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each segment with its size, conversion rate, value and best channel, and a sentence of them.

    `assigned` has contact_id and leadlight_segment. `conversion_rate`: share that reached the goal, ever or, where
    it repeats, within the last horizon; null where nobody did or it is not in time. `value`: won deals and
    purchases by contact in the account's currency, null without any. `best_channel`: the one used most beyond
    everyone's share. Expects the gathered acts.
    """
    engine = context.engine
    engine.put(
        "segment_of",
        assigned.select(["contact_id", "leadlight_segment"]).rename_columns(["contact_id", "segment"]),
    )
    converted = _conversions(context)
    value = _values(context)
    channels = _channels(engine)
    sizes = dict(zip(*np.unique(assigned["leadlight_segment"].to_pylist(), return_counts=True), strict=True))
    out = []
    for key, name in named.items():
        size = int(sizes.get(key, 0))
        one = {
            "id": key,
            "name": name,
            "contacts": size,
            "conversion_rate": None if converted is None or not size else round(converted.get(key, 0) / size, 6),
            "value": None if value is None or not size else round(value.get(key, 0.0) / size, 2),
            "best_channel": channels.get(key),
        }
        out.append({**one, "reached_by": _WORDS.get(str(one["best_channel"])), "description": _sentence(one)})
    return out


def _conversions(context: Context) -> dict[str, int] | None:
    """Contacts by segment that reached the goal; None where nobody did: then nothing is known of it."""
    if not context.goal.in_time:
        return None
    until = f"timestamp '{context.as_of:%Y-%m-%d %H:%M:%S}'"
    happened = reached(context.engine, context.goal)
    lately = f"timestamp '{context.as_of - timedelta(days=context.goal.horizon_days):%Y-%m-%d %H:%M:%S}'"
    counts = f"happened_at < {until}"
    # A stage without a date was reached some time; of what repeats only the last horizon tells segments apart.
    counts = f"({counts} or happened_at is null)" if context.goal.once else f"{counts} and happened_at >= {lately}"
    return (
        _by_segment(
            context.engine,
            f"select segment, count(distinct s.contact_id) as n from segment_of s join ({happened}) r "
            f"on s.contact_id = r.contact_id where {counts} group by segment",
        )
        or None
    )


def _values(context: Context) -> dict[str, float] | None:
    until = f"timestamp '{context.as_of:%Y-%m-%d %H:%M:%S}'"
    found = _by_segment(
        context.engine,
        f"""
with worth as (
  select contact_id, amount from purchases where purchased_at < {until}
  union all
  select dc.contact_id, d.amount from deal_contacts dc join deals d on dc.deal_id = d.deal_id
  where d.is_won and d.deleted_at is null and d.closed_at < {until} and coalesce(dc.is_primary, true)
)
select segment, sum(amount) as n from segment_of s join worth w on s.contact_id = w.contact_id
where amount is not null group by segment""",
    )
    return found or None


def _channels(engine: Engine) -> dict[str, str]:
    """The channel that sets each segment most apart from everyone."""
    rows = engine.fetch(
        "select segment, channel, count(*) as n from segment_of s join acts a on s.contact_id = a.contact_id "
        "group by segment, channel"
    )
    segments = sorted(set(rows["segment"].to_pylist()))
    channels = list(dict.fromkeys([*CHANNELS.values(), "buy"]))
    counts = np.zeros((len(segments), len(channels)))
    for segment, channel, n in zip(*(rows[name].to_pylist() for name in ("segment", "channel", "n")), strict=True):
        counts[segments.index(segment), channels.index(channel)] = n
    usual = counts.sum(axis=0) / max(1.0, counts.sum())
    # Five acts' worth of everyone's mix keeps a rarely used channel from standing out by chance.
    share = (counts + 5 * usual) / (counts.sum(axis=1, keepdims=True) + 5)
    ratio = np.divide(share, usual, out=np.zeros_like(share), where=usual > 0.01)
    best = ratio.argmax(axis=1)
    return {
        one: channels[at] for one, at, by in zip(segments, best, ratio.max(axis=1), strict=True) if by >= _APART
    }


def _by_segment(engine: Engine, query: str) -> dict[str, Any]:
    found = engine.fetch(query)
    return dict(zip(found["segment"].to_pylist(), found["n"].to_pylist(), strict=True))


def _sentence(one: Mapping[str, Any]) -> str:
    parts = [f"{one['contacts']:,} contacts"]
    if one["conversion_rate"] is not None:
        parts.append(f"{one['conversion_rate']:.1%} reached the goal")
    if one["value"] is not None:
        parts.append(f"worth {one['value']:,.0f} each")
    if one["best_channel"] is not None:
        parts.append(f"best reached by {_WORDS[str(one['best_channel'])]}")
    return ", ".join(parts)
