"""How good probabilities are, with intervals, on rows that the model did not see.

Equal probabilities count as ties everywhere, so no figure depends on the order of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scoring.learning import calibration
from scoring.learning.coding import Flags, Floats, Ints

DRAWS = 300
TOP = 0.1


@dataclass(frozen=True)
class Figure:
    """A figure with its 95% bootstrap interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        return {"value": rounded(self.value), "low": rounded(self.low), "high": rounded(self.high)}


@dataclass(frozen=True)
class _Ranked:
    """Scores as levels, so that a weighted figure costs one pass."""

    which: Ints
    levels: Floats
    outcome: Floats

    @classmethod
    def of(cls, scores: Floats, outcome: Floats) -> "_Ranked":
        levels, which = np.unique(scores, return_inverse=True)
        return cls(which, levels, outcome)

    def counts(self, weights: Floats | None) -> tuple[Floats, Floats]:
        """Positives and negatives by level, lowest first."""
        given = np.ones(len(self.outcome)) if weights is None else weights
        every = np.bincount(self.which, weights=given, minlength=len(self.levels))
        hits = np.bincount(self.which, weights=given * self.outcome, minlength=len(self.levels))
        return np.asarray(hits, np.float64), np.asarray(every - hits, np.float64)

    def auc(self, weights: Floats | None = None) -> float:
        hits, misses = self.counts(weights)
        total = hits.sum() * misses.sum()
        if total <= 0:
            return float("nan")
        return float(hits @ (np.cumsum(misses) - misses / 2) / total)

    def lift(self, weights: Floats | None = None, top: float = TOP) -> float:
        hits, misses = self.counts(weights)
        rows, found = np.cumsum((hits + misses)[::-1]), np.cumsum(hits[::-1])
        if found[-1] <= 0:
            return float("nan")
        in_top = np.interp(top * rows[-1], np.concatenate([[0.0], rows]), np.concatenate([[0.0], found]))
        return float(in_top / found[-1] / top)

    def average_precision(self, weights: Floats | None = None) -> float:
        hits, misses = self.counts(weights)
        found, rows = np.cumsum(hits[::-1]), np.cumsum((hits + misses)[::-1])
        if found[-1] <= 0:
            return float("nan")
        return float(np.sum(hits[::-1] * found / np.maximum(rows, 1e-12)) / found[-1])

    def brier(self, weights: Floats | None = None) -> float:
        hits, misses = self.counts(weights)
        total = hits.sum() + misses.sum()
        if total <= 0:
            return float("nan")
        return float((hits @ (1 - self.levels) ** 2 + misses @ self.levels**2) / total)

    def calibration_error(self, weights: Floats | None = None) -> float:
        hits, misses = self.counts(weights)
        return calibration.gap(*calibration.curve_of_levels(self.levels, hits + misses, hits))


def auc(scores: Floats, outcome: Floats) -> float:
    """Chance that a positive outranks a negative, ties count half; nan without both."""
    return _Ranked.of(scores, outcome).auc()


def lift(scores: Floats, outcome: Floats, top: float = TOP) -> float:
    """Rate of positives among the best `top` share, over the rate of all."""
    return _Ranked.of(scores, outcome).lift(top=top)


def average_precision(scores: Floats, outcome: Floats) -> float:
    """Precision averaged over the recall steps, as scikit-learn defines it; nan without positives."""
    return _Ranked.of(scores, outcome).average_precision()


def log_loss(probabilities: Floats, outcome: Floats) -> float:
    """Mean negative log-likelihood in nats."""
    return float(losses(probabilities, outcome).mean())


def losses(probabilities: Floats, outcome: Floats) -> Floats:
    """Negative log-likelihood by row; a probability of 0 or 1 counts as half a published digit away from it."""
    clipped = np.clip(probabilities, 5e-5, 1 - 5e-5)
    out: Floats = -(outcome * np.log(clipped) + (1 - outcome) * np.log1p(-clipped))
    return out


@dataclass(frozen=True)
class Report:
    """Figures of one set of probabilities, and of plain baselines on the same rows."""

    auc: Figure
    average_precision: float
    lift_top_decile: Figure
    brier: float
    log_loss: float
    calibration_error: float
    calibration_limit: float
    baselines: Mapping[str, tuple[float, float]]  # auc, lift
    #: AUC minus the baseline's, paired over bootstrap draws.
    gains: Mapping[str, Figure]
    #: The plain figures above with their intervals: average_precision, brier, calibration_error.
    intervals: Mapping[str, Figure] = field(default_factory=dict)


def measure(
    probabilities: Floats, outcome: Floats, people: Ints, baselines: Mapping[str, Floats], seed: int
) -> Report:
    """All figures. The bootstrap draws people (`people`: 0..n-1 by row), not rows."""
    own = _Ranked.of(probabilities, outcome)
    others = {name: _Ranked.of(scores, outcome) for name, scores in baselines.items()}
    plain = {
        "average_precision": own.average_precision,
        "brier": own.brier,
        "calibration_error": own.calibration_error,
    }
    aucs, lifts = [], []
    gains: dict[str, list[float]] = {name: [] for name in others}
    drawn_plain: dict[str, list[float]] = {name: [] for name in plain}
    for weights in _draws(people, seed):
        drawn = own.auc(weights)
        aucs.append(drawn)
        lifts.append(own.lift(weights))
        for name, figure in plain.items():
            drawn_plain[name].append(figure(weights))
        for name, other in others.items():
            gains[name].append(drawn - other.auc(weights))
    return Report(
        auc=_figure(own.auc(), aucs),
        average_precision=own.average_precision(),
        lift_top_decile=_figure(own.lift(), lifts),
        brier=own.brier(),
        log_loss=log_loss(probabilities, outcome),
        calibration_error=own.calibration_error(),
        calibration_limit=calibration.limit(probabilities, seed),
        baselines={name: (other.auc(), other.lift()) for name, other in others.items()},
        gains={name: _figure(own.auc() - other.auc(), gains[name]) for name, other in others.items()},
        intervals={name: _figure(figure(), drawn_plain[name]) for name, figure in plain.items()},
    )


def by_month(
    probabilities: Floats, outcome: Floats, people: Ints, instants: Ints, tested: Flags, seed: int
) -> list[dict[str, Any]]:
    """Figures by the calendar month (UTC) of the as-of instant, ascending, as JSON.

    `instants` are microseconds since 1970, by row of all labelled rows; `people` and `tested` too. `probabilities`
    are those of the tested rows, in order. Months that only taught have their rows and base rate, and no figures
    of the model.
    """
    months = instants.astype("datetime64[us]").astype("datetime64[M]")
    found = []
    for month in np.unique(months):
        rows = months == month
        told: dict[str, Any] = {
            "month": str(month),
            "rows": int(rows.sum()),
            "positives": int(outcome[rows].sum()),
            "base_rate": rounded(float(outcome[rows].mean())),
            "tested": int((rows & tested).sum()),
        }
        if told["tested"]:
            here = rows & tested
            own = _Ranked.of(probabilities[rows[tested]], outcome[here])
            who = np.unique(people[here], return_inverse=True)[1].ravel()
            told |= {
                "mean_probability": rounded(float(probabilities[rows[tested]].mean())),
                "auc": _figure(own.auc(), [own.auc(weights) for weights in _draws(who, seed)]).to_json(),
                "calibration_error": rounded(own.calibration_error()),
                "calibration_limit": rounded(calibration.limit(probabilities[rows[tested]], seed)),
            }
        found.append(told)
    return found


def _draws(people: Ints, seed: int) -> "list[Floats]":
    count = int(people.max(initial=-1)) + 1
    random = np.random.default_rng(seed)
    return [random.poisson(1.0, count)[people].astype(np.float64) for _ in range(DRAWS)]


def _figure(value: float, drawn: list[float]) -> Figure:
    usable = np.array(drawn)[~np.isnan(drawn)]
    if not len(usable):
        return Figure(value, float("nan"), float("nan"))
    low, high = np.quantile(usable, [0.025, 0.975])
    return Figure(value, float(low), float(high))


def rounded(value: float, digits: int = 5) -> float | None:
    """For JSON: five digits, and null for what is not a number."""
    return None if np.isnan(value) else round(float(value), digits)
