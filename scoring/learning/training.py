"""From labelled snapshots to a fitted, chosen, honest ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scoring.context import Context
from scoring.engine import quoted
from scoring.features.build import Feature, build
from scoring.learning import candidates, ensemble, evaluation, leakage
from scoring.learning.coding import Coding, Flags, Floats, Ints
from scoring.learning.ensemble import Ensemble, Sample
from scoring.learning.leakage import Leak
from scoring.snapshots import Snapshots

#: Cost in AUC at which the glass box is still preferred: its reasons are the model.
GLASS_BOX_COST = 0.005
#: What a rule of thumb knows: time since anything that the contact did by itself.
_OWN_DOING = (
    *("email_open", "email_click", "email_reply", "page_view", "form_submit", "meeting", "call", "sms_click"),
    *("push_open", "ad_click", "product_view", "cart_add", "custom"),
)
#: Fewest positives on either side of a split by time.
_SPLIT_POSITIVES = 20


@dataclass(frozen=True)
class Rows:
    """Labelled rows with their features, ordered by contact and instant."""

    table: pa.Table
    features: tuple[Feature, ...]
    snapshots: Snapshots
    outcome: Floats
    fold: Ints
    people: Ints  # 0..n-1
    instant: Ints  # microseconds since 1970
    recency: Floats  # higher is more recent

    def __len__(self) -> int:
        return len(self.outcome)


def read(context: Context, snapshots: Snapshots, features: tuple[Feature, ...] | None = None) -> Rows:
    """Build the features of labelled rows, or exactly the given ones, and read both."""
    features = build(context, snapshots.table, "lead_features", features)
    columns = "".join(f", f.{quoted(feature.name)}" for feature in features)
    table = context.engine.fetch(f"""
        select l.contact_id, l.person_id, l.as_of, l.label, l.fold, l.row_order, r.age as "_recency"{columns}
        from {quoted(snapshots.table)} l
        join lead_features f on f.contact_id = l.contact_id and f.as_of = l.as_of
        left join ({_recency(snapshots.table)}) r on r.contact_id = l.contact_id and r.as_of = l.as_of
        order by l.contact_id, l.as_of
    """)
    age = table["_recency"].cast(pa.float64()).to_numpy()
    return Rows(
        table=table,
        features=features,
        snapshots=snapshots,
        outcome=table["label"].cast(pa.float64()).to_numpy(),
        fold=table["fold"].cast(pa.int64()).to_numpy(),
        people=np.unique(table["person_id"].to_numpy(zero_copy_only=False), return_inverse=True)[1].ravel(),
        instant=table["as_of"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(),
        recency=-np.where(np.isnan(age), np.inf, age),
    )


def _recency(pairs: str) -> str:
    """Seconds since the contact last did something, by pair; no row where it never did."""
    kinds = ", ".join(f"'{kind}'" for kind in _OWN_DOING)
    return f"""
        select p.contact_id, p.as_of, min(secs_between(a.acted_at, p.as_of)) as age
        from {quoted(pairs)} p join (
            select contact_id, occurred_at as acted_at from events where kind in ({kinds}) and human >= 0.5e0
            union all select contact_id, purchased_at from purchases where purchased_at is not null
        ) a on a.contact_id = p.contact_id and a.acted_at < p.as_of
        group by p.contact_id, p.as_of
    """


def held_out(rows: Rows) -> tuple[str, Flags, Flags]:
    """How to measure: the split's name, the rows that teach and the rows that test.

    `time`: the newest instants test, and only instants whose whole label window ended before them teach.
    `order`: the last fifth tests. `cv`: all rows do both, each contact left out by its fold model.
    """
    everyone = np.ones(len(rows), dtype=bool)
    if rows.snapshots.split == "order":
        order = rows.table["row_order"].cast(pa.float64()).to_numpy()
        later = order >= np.quantile(order, 0.8)
        return "order", ~later, later
    if rows.snapshots.split == "time":
        found = _newest(rows)
        if found is not None:
            return "time", *found
    return "cv", everyone, everyone


def _newest(rows: Rows) -> tuple[Flags, Flags] | None:
    """The split whose poorer side has most positives, the testing side never the larger one."""
    instants = np.unique(rows.instant)
    best: tuple[float, Flags, Flags] | None = None
    for first in instants[1:]:
        # Instants stand a label window apart: what came before `first` had its outcome by then.
        before, after = rows.instant < first, rows.instant >= first
        taught, tested = rows.outcome[before].sum(), rows.outcome[after].sum()
        worth = float(min(taught / 2, tested))
        if min(taught, tested) >= _SPLIT_POSITIVES and (best is None or worth > best[0]):
            best = (worth, before, after)
    return None if best is None else best[1:]


@dataclass(frozen=True)
class Prepared:
    """A coding and sample from which leaks are gone, and what they were."""

    coding: Coding
    sample: Sample
    known: Floats
    leaks: tuple[Leak, ...]
    #: The same with leaks, to say what they are worth; None when there are none.
    whole: tuple[Coding, Sample] | None


def prepare(context: Context, rows: Rows) -> Prepared:
    """Code the rows and leave out what knows the outcome."""
    # The customer's present score is what we are measured against, not what we learn from.
    rival = context.options.compare_to
    features = tuple(one for one in rows.features if rival is None or one.property != rival)
    coding = Coding.learn(rows.table, features)
    known = coding.known(rows.table)
    sample = Sample(coding.filled(known), rows.outcome, rows.fold, rows.instant)
    trusted, seed = context.options.trusted, context.options.seed
    leaks = [leak for leak in leakage.proven(context, features) if leak.property not in trusted]
    names = {leak.property for leak in leaks}
    less, part, left = _without(coding, sample, known, names)
    leaks += leakage.suspected(part, left, less, trusted, seed)
    names = {leak.property for leak in leaks}
    if not names:
        return Prepared(coding, sample, known, (), None)
    less, part, left = _without(coding, sample, known, names)
    return Prepared(less, part, left, tuple(leaks), (coding, sample))


def _without(coding: Coding, sample: Sample, known: Floats, properties: set[str]) -> tuple[Coding, Sample, Floats]:
    out = [i for i, feature in enumerate(coding.features) if feature.property in properties]
    names = [coding.features[i].name for i in out]
    return coding.without(names), sample.without(out), np.delete(known, out, axis=1)


@dataclass(frozen=True)
class Contest:
    """Candidates' figures on the rows that each left out, and which one was chosen."""

    chosen: Ensemble
    figures: tuple[dict[str, Any], ...]
    #: What the glass box costs in AUC against the best; None where it was not a candidate.
    cost: float | None
    #: The plain model, as a baseline; None where positives were too few even for it.
    logistic: Ensemble | None


def compete(
    sample: Sample, coding: Coding, context: Context, ordered: bool, previous: str | None = None
) -> Contest:
    """Fit what the positives allow and choose once, by out-of-fold log loss.

    The glass box is preferred at a small cost, and the kind of the `previous` model is kept unless it is clearly
    worse (two standard errors). Where rows stand in time order no choice is made by fit to the past, which
    says nothing of what comes: the average of all is taken.
    """
    seed, folds = context.options.seed, context.options.folds
    kinds = candidates.allowed(int(sample.outcome.sum()), len(sample)) or ("base_rate",)
    fitted = ensemble.fit(sample, coding, kinds, folds, seed)
    losses, aucs = {}, {}
    for kind, one in fitted.items():
        probabilities = one.probabilities(sample.values, sample.fold)
        losses[kind] = evaluation.losses(probabilities, sample.outcome)
        aucs[kind] = evaluation.auc(probabilities, sample.outcome)
    chosen = "average" if ordered and "average" in fitted else _choice(losses, aucs, previous)
    cost = max(aucs.values()) - aucs["glass_box"] if "glass_box" in aucs else None
    figures = tuple(
        {"model": kind, "auc": round(aucs[kind], 5), "log_loss": round(float(losses[kind].mean()), 5)}
        for kind in fitted
    )
    return Contest(fitted[chosen], figures, cost, fitted.get("spline_logistic"))


def _choice(losses: dict[str, Floats], aucs: dict[str, float], previous: str | None) -> str:
    best = min(losses, key=lambda kind: losses[kind].mean())
    if "glass_box" in losses and max(aucs.values()) - aucs["glass_box"] <= GLASS_BOX_COST:
        best = "glass_box"
    if previous in losses and previous != best and not _clearly_worse(losses[previous] - losses[best]):
        return previous
    return best


def _clearly_worse(gaps: Floats) -> bool:
    return bool(gaps.mean() > 2 * gaps.std() / max(1.0, len(gaps) ** 0.5))


def fit_kind(sample: Sample, coding: Coding, context: Context, kind: str) -> Ensemble:
    """An ensemble of one kind, or of the average of all that the positives allow."""
    kinds: Sequence[str] = (kind,)
    if kind == "average":
        kinds = candidates.allowed(int(sample.outcome.sum()), len(sample))
    fitted = ensemble.fit(sample, coding, kinds or ("base_rate",), context.options.folds, context.options.seed)
    return fitted.get(kind) or next(iter(fitted.values()))
