"""How the lead score treats groups of people that it must not look at: rates, errors and calibration by group.

Groups come from the protected properties. These are never features nor reasons; they are read here only to see
whether the model treats the groups alike all the same. All figures come from probabilities that the model gave to
people it had not seen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scoring.context import Context
from scoring.engine import literal, quoted
from scoring.features.property_sources import Source, protected
from scoring.learning import evaluation
from scoring.learning.coding import Flags, Floats, Ints
from scoring.learning.evaluation import rounded
from scoring.scale import Scale

#: Groups of fewer people are not told apart: their figures would say little of the model and much of them.
FEWEST = 20
#: A number with more values than this is cut into four bands; of other properties the rarer values are pooled.
MOST_GROUPS = 12
#: Grade B begins at so many times the average probability: from there on somebody acts.
_ACTED_ON = 2.0
_POOLED, _UNKNOWN = "all smaller groups", "not known"


@dataclass(frozen=True)
class Unseen:
    """Rows that the model did not see: contact, person (0..n-1), outcome, the probability as published."""

    contact_id: pa.Array
    people: Ints
    outcome: Floats
    probabilities: Floats
    scale: Scale


def audit(context: Context, unseen: Unseen) -> list[dict[str, Any]]:
    """By protected property: `property, label, topic, groups[…], ratio`.

    A group has `group, people, rows, base_rate, mean_probability, calibration_gap{value,low,high}` (mean
    probability less the rate found), `acted_on` (share graded A or B), `auc`, `false_positive_rate` and
    `false_negative_rate` at the line of grade B; figures that a group cannot have are null. `ratio`: the smallest
    share graded A or B over the largest, null where nobody is.
    """
    found = []
    for source, topic in sorted(protected(context).items(), key=lambda pair: pair[0].label):
        values = _values(context, source, unseen.contact_id)
        if values is None:
            continue
        groups = [_figures(name, rows, unseen, context.options.seed) for name, rows in _groups(values, unseen)]
        shares = [one["acted_on"] for one in groups if one["group"] not in (_POOLED, _UNKNOWN)]
        if len(shares) < 2:
            continue
        ratio = rounded(min(shares) / max(shares)) if max(shares) > 0 else None
        found.append(
            {"property": source.property, "label": source.label, "topic": topic, "ratio": ratio, "groups": groups}
        )
    return found


def _values(context: Context, source: Source, contact_id: pa.Array) -> pa.Array | None:
    """The property's present value by row, as text; numbers of many values in four bands."""
    alias = "c" if source.table == "contacts" else "m"
    column = f"{alias}.{quoted(source.column)}"
    text = f"nullif(trim(cast({column} as varchar)), '')"
    context.engine.put("audited", pa.table({"contact_id": contact_id, "place": np.arange(len(contact_id))}))
    rows = (
        "from audited a left join contacts c on a.contact_id = c.contact_id "
        "left join companies m on c.company_id = m.company_id"
    )
    many = context.engine.fetch(f"select count(distinct {text}) as n {rows}")["n"][0].as_py()
    if many < 2:
        return None
    # whole numbers as people write them, and as the labels of options name them
    told = f"regexp_replace({text}, '[.]0$', '')" if source.type == "number" else text
    if source.type == "number" and many > MOST_GROUPS:
        told = f"case when {column} is not null then {_banded(context, column, rows)} end"
    options = "".join(f" when {literal(value)} then {literal(label)}" for value, label in source.options)
    spoken = f"case {told}{options} else {told} end" if options else told
    return context.engine.fetch(f"select {spoken} as value {rows} order by place")["value"].combine_chunks()


def _banded(context: Context, column: str, rows: str) -> str:
    numbers = context.engine.fetch(f"select {column} as n {rows} and {column} is not null")["n"]
    cuts = np.unique(np.quantile(numbers.drop_null().to_numpy(), (0.25, 0.5, 0.75)).round(6)).tolist()
    cases, low = [], None
    for high in cuts:
        words = f"up to {high:g}" if low is None else f"over {low:g}, up to {high:g}"
        cases.append(f"when {column} <= {high!r} then {literal(words)}")
        low = high
    cases.append("else " + literal(f"over {low:g}"))
    return f"case {' '.join(cases)} end"


def _groups(values: pa.Array, unseen: Unseen) -> list[tuple[str, Flags]]:
    """Groups of enough people, the largest first, then the others together and those of whom it is not known."""
    told = [_UNKNOWN if value is None else value for value in values.to_pylist()]
    texts = np.array(_one_spelling(told), dtype=object)
    sizes = {name: len(np.unique(unseen.people[texts == name])) for name in np.unique(texts)}
    ranked = sorted((name for name in sizes if name != _UNKNOWN), key=lambda name: (-sizes[name], name))
    kept = [name for name in ranked if sizes[name] >= FEWEST][:MOST_GROUPS]
    out = [(name, texts == name) for name in kept]
    out.append((_POOLED, np.isin(texts, [name for name in ranked if name not in kept])))
    out.append((_UNKNOWN, texts == _UNKNOWN))
    return [(name, rows) for name, rows in out if len(np.unique(unseen.people[rows])) >= FEWEST]


def _one_spelling(texts: list[str]) -> list[str]:
    """Values that differ in their case alone are one group, under the commonest spelling."""
    counts = Counter(texts)
    chosen: dict[str, str] = {}
    for text in sorted(counts, key=lambda one: (-counts[one], one)):
        chosen.setdefault(text.casefold(), text)
    told = {text: chosen[text.casefold()] for text in counts}
    return [told[text] for text in texts]


def _figures(name: str, rows: Flags, unseen: Unseen, seed: int) -> dict[str, Any]:
    probabilities, outcome = unseen.probabilities[rows], unseen.outcome[rows]
    people = np.unique(unseen.people[rows], return_inverse=True)[1].ravel()
    acted = probabilities >= unseen.scale.threshold(_ACTED_ON)
    report = evaluation.measure(probabilities, outcome, people, {}, seed)
    won = outcome > 0
    return {
        "group": name,
        "people": int(people.max()) + 1,
        "rows": len(outcome),
        "base_rate": rounded(float(outcome.mean())),
        "mean_probability": rounded(float(probabilities.mean())),
        "calibration_gap": _gap(probabilities - outcome, people),
        "acted_on": rounded(float(acted.mean())),
        "auc": report.auc.to_json() if won.any() and not won.all() else None,
        "false_positive_rate": rounded(float(acted[~won].mean())) if (~won).any() else None,
        "false_negative_rate": rounded(float((~acted)[won].mean())) if won.any() else None,
    }


def _gap(gaps: Floats, people: Ints) -> dict[str, float | None]:
    """Mean with its 95% interval; rows of one person are no independent evidence (cluster-robust, normal)."""
    mean = float(gaps.mean())
    sums = np.bincount(people, weights=gaps - mean)
    error = 1.96 * float(np.sqrt((sums**2).sum())) / len(gaps)
    return {"value": rounded(mean), "low": rounded(mean - error), "high": rounded(mean + error)}
