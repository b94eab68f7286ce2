"""Properties that know the outcome because they were written after it.

Only history is proof: a property that people who converted got after converting is quarantined. Static signs
cannot tell a leak from a strong honest property, so they raise a question: the property stays out until the
user trusts it, and both figures are shown. What we computed as of an instant ourselves is never accused.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from scoring.context import Context
from scoring.engine import literal
from scoring.features.build import Feature
from scoring.goals import reached
from scoring.learning import trees
from scoring.learning.coding import Coding, Floats, Ints
from scoring.learning.ensemble import Sample
from scoring.learning.evaluation import auc

#: Static signs, chosen so that known leaks are caught and few honest properties are asked about.
SHARE_LOST, STRONG = 0.2, 0.7
NEAR_PERFECT, AHEAD, FAR_AHEAD = 0.97, 0.85, 0.1
FILL = 0.7
CERTAIN, CERTAIN_SHARE, CERTAIN_ROWS = 0.97, 0.25, 30
#: History: share of converted contacts whose first value came after converting, and how many must be seen.
AFTER_SHARE, AFTER_CONTACTS = 0.5, 10
_CELLS, _ROWS, _TRIALS, _ROUNDS, _PASSES = 20, 30_000, 5, 60, 3


@dataclass(frozen=True)
class Leak:
    """A property that is left out, and why."""

    property: str
    why: str
    action: Literal["quarantined", "review"]

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def proven(context: Context, features: Sequence[Feature]) -> list[Leak]:
    """Properties that history shows to be filled only with or after the outcome, for most who converted.

    Others must have it far less often: a property that everyone got late is new, not a leak. For goals that
    repeat, 'after the outcome' is also 'before the next one' and proves nothing.
    """
    names = {feature.property for feature in features if feature.property is not None}
    if not names or not context.goal.once:
        return []
    return [
        Leak(
            row["property"],
            f"{row['late']} of {row['filled']} contacts who converted got their first value only then or later",
            "quarantined",
        )
        for row in context.engine.fetch(_first_values(context)).to_pylist()
        if row["property"] in names
        and row["filled"] >= AFTER_CONTACTS
        and row["late"] >= AFTER_SHARE * row["filled"]
        and row["filled"] * row["others"] >= 2 * row["filled_others"] * row["converted"]
    ]


def _first_values(context: Context) -> str:
    """Per property: how many have it, of those who converted and of the others, and how many got it late.

    A value that a pull merely saw (`observed`) has no known beginning and proves nothing.
    """
    goal, now = context.goal, f"timestamp '{context.as_of:%Y-%m-%d %H:%M:%S}'"
    if goal.in_time:
        outcomes = reached(context.engine, goal)
    else:
        outcomes = (
            "select h.object_id as contact_id, h.changed_at as happened_at from property_history h "
            f"where h.object = 'contact' and h.property = {literal(str(goal.column))} "
            f"and h.value = {literal(str(goal.equals))} and coalesce(h.source, '') <> 'observed'"
        )
    return f"""
        with outcome as (
            select o.contact_id, min(o.happened_at) as won_at from ({outcomes}) o
            where o.happened_at < {now} group by o.contact_id
        ),
        sizes as (
            select count(case when o.won_at is not null then 1 end) as converted,
                count(case when o.won_at is null then 1 end) as others
            from contacts c left join outcome o on o.contact_id = c.contact_id
        ),
        firsts as (
            select object_id as contact_id, property, min(changed_at) as filled_at
            from property_history
            where object = 'contact' and coalesce(source, '') <> 'observed' and value <> '' and changed_at < {now}
            group by object_id, property
        )
        select f.property, max(s.converted) as converted, max(s.others) as others,
            count(case when o.won_at is not null then 1 end) as filled,
            count(case when o.won_at is null then 1 end) as filled_others,
            count(case when secs_between(o.won_at, f.filled_at) >= 0 then 1 end) as late
        from firsts f left join outcome o on o.contact_id = f.contact_id cross join sizes s
        group by f.property
        order by f.property
    """


def suspected(sample: Sample, known: Floats, coding: Coding, trusted: frozenset[str], seed: int) -> list[Leak]:
    """Properties that look too good; `known` is the sample's values with NaN for unknown."""
    sample, known = _thinned(sample, known)
    if sample.outcome.sum() < CERTAIN_ROWS or not coding.features:
        return []
    cells = [_cells(known[:, i], i in coding.categories) for i in range(known.shape[1])]
    alone = np.array([_alone(cell, sample) for cell in cells])
    found: dict[int, str] = {}
    for i, feature in enumerate(coding.features):
        if feature.property is None or feature.property in trusted:
            continue
        why = _plain_sign(i, cells[i], known[:, i], alone, sample.outcome)
        if why:
            found[i] = why
    for _ in range(_PASSES):
        lost = _worst(sample, coding, alone, set(found), trusted, seed)
        if lost is None:
            break
        found[lost[0]] = lost[1]
    named: dict[str, str] = {}
    for i in sorted(found, key=lambda i: -alone[i]):
        named.setdefault(str(coding.features[i].property), found[i])
    return [Leak(name, why, "review") for name, why in named.items()]


def _thinned(sample: Sample, known: Floats) -> tuple[Sample, Floats]:
    if len(sample) <= _ROWS:
        return sample, known
    every = -(-len(sample) // _ROWS)
    rows = np.arange(len(sample)) % every == 0
    return sample.where(rows), known[rows]


def _cells(column: Floats, is_category: bool) -> Ints:
    """About twenty cells of equal count, one for each category, and cell 0 for missing."""
    missing = np.isnan(column)
    if is_category:
        return np.where(missing, 0, column + 1).astype(np.int64)
    known = column[~missing]
    edges: Floats = np.zeros(0)
    if len(known):
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _CELLS + 1)[1:-1]))
    return np.where(missing, 0, np.searchsorted(edges, column, side="left") + 1).astype(np.int64)


def _alone(cells: Ints, sample: Sample) -> float:
    """What the cells predict by themselves: AUC of each row's cell rate in the other half of the people."""
    half, scores = sample.fold % 2 == 0, np.zeros(len(sample))
    for here in (half, ~half):
        rows = np.bincount(cells[~here], minlength=cells.max() + 1)
        hits = np.bincount(cells[~here], weights=sample.outcome[~here], minlength=cells.max() + 1)
        base = sample.outcome[~here].mean() if (~here).any() else 0.0
        scores[here] = ((hits + base) / (rows + 1))[cells[here]] / max(base, 1e-9)
    value = auc(scores, sample.outcome)
    return 0.5 if np.isnan(value) else value


def _plain_sign(i: int, cells: Ints, column: Floats, alone: Floats, outcome: Floats) -> str | None:
    """What can be seen without fitting a model: far ahead, near-certain, or telling by being filled."""
    others = np.delete(alone, i)
    second = float(others.max()) if len(others) else 0.5
    if alone[i] >= NEAR_PERFECT or (alone[i] >= AHEAD and alone[i] - second >= FAR_AHEAD):
        return f"alone it reaches an AUC of {alone[i]:.2f}, the next best property or activity {second:.2f}"
    filled = (~np.isnan(column)).astype(np.float64)
    by_filling = auc(filled, outcome)
    if abs(by_filling - 0.5) >= FILL - 0.5:
        return f"whether it is filled predicts the outcome (AUC {max(by_filling, 1 - by_filling):.2f})"
    return _certain(cells, outcome)


def _certain(cells: Ints, outcome: Floats) -> str | None:
    base = outcome.mean()
    rows = np.bincount(cells)
    hits = np.bincount(cells, weights=outcome)
    sure = (rows >= CERTAIN_ROWS) & (hits >= CERTAIN * rows)
    share = hits[sure].sum() / max(1.0, outcome.sum())
    if base < 0.5 and share >= CERTAIN_SHARE:
        rate = hits[sure].sum() / rows[sure].sum()
        return f"some of its values are near-certain ({rate:.0%} converted, {share:.0%} of all conversions)"
    return None


def _worst(
    sample: Sample, coding: Coding, alone: Floats, out: set[int], trusted: frozenset[str], seed: int
) -> tuple[int, str] | None:
    """The property whose removal costs the largest share of what the model knows, if that is suspicious."""
    left = [i for i in range(len(coding.features)) if i not in out]
    trial = [i for i in sorted(left, key=lambda i: -alone[i]) if _accusable(coding.features[i], trusted)]
    trial = [i for i in trial if alone[i] >= STRONG][:_TRIALS]
    if not trial:
        return None
    whole = _quick(sample, coding, out, seed)
    costs = {i: whole - _quick(sample, coding, out | {i}, seed) for i in trial}
    worst = max(trial, key=lambda i: costs[i])
    share = costs[worst] / max(whole - 0.5, 1e-9)
    if share < SHARE_LOST or whole < AHEAD:
        return None
    return (
        worst,
        f"without it the model loses {share:.0%} of what it knows (AUC {whole:.2f} to {whole - costs[worst]:.2f})",
    )


def _accusable(feature: Feature, trusted: frozenset[str]) -> bool:
    return feature.property is not None and feature.property not in trusted


def _quick(sample: Sample, coding: Coding, out: set[int], seed: int) -> float:
    """Two-fold AUC of a small boosted model without some features."""
    names = [coding.features[i].name for i in out]
    rest, less = sample.without(sorted(out)), coding.without(names)
    if not less.features:
        return 0.5
    scores, half = np.zeros(len(sample)), sample.fold % 2 == 0
    for here in (half, ~half):
        learn = rest.where(~here)
        if not here.any() or not 0 < learn.outcome.sum() < len(learn):
            return 0.5
        booster = trees.boost(learn.values, learn.outcome, less, seed, _ROUNDS, learning_rate=0.1)
        scores[here] = trees.predicted(booster, rest.values[here], raw_score=True)
    return auc(scores, sample.outcome)
