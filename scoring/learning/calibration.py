"""Probabilities that mean what they say.

Beta calibration (Kull, Silva Filho, Flach 2017): `logit p' = c + a ln p - b ln(1 - p)` with a, b > 0. It is
fitted on margins of contacts that the model did not see, and one fold's calibrator never saw that fold.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scoring.learning.coding import Flags, Floats, Ints

BINS = 10
_CLIP = 30.0


@dataclass(frozen=True)
class Beta:
    """A monotone map of log-odds to log-odds; the default changes nothing."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __call__(self, margins: Floats) -> Floats:
        """Calibrated log-odds."""
        below, above = _logs(margins)
        return self.c + self.a * below - self.b * above

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _logs(margins: Floats) -> tuple[Floats, Floats]:
    """ln p and ln(1 - p)."""
    clipped = np.clip(margins, -_CLIP, _CLIP)
    return -np.logaddexp(0, -clipped), -np.logaddexp(0, clipped)


def fit(margins: Floats, outcome: Floats) -> Beta:
    """Maximum likelihood with a weak pull towards no change, which decides where data are few."""
    from scipy.optimize import minimize
    from scipy.special import expit

    below, above = _logs(margins)

    def loss(weights: Floats) -> tuple[float, Floats]:
        a, b, c = weights
        logits = c + a * below - b * above
        pull = weights - np.array([1.0, 1.0, 0.0])
        wrong = expit(logits) - outcome
        value = np.sum(np.logaddexp(0, logits) - outcome * logits) + pull @ pull / 2
        return float(value), np.array([wrong @ below, -(wrong @ above), wrong.sum()]) + pull

    found = minimize(
        loss, np.array([1.0, 1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.01, 20), (0.01, 20), (-20, 20)]
    )
    return Beta(*(float(weight) for weight in found.x))


def cross_fitted(
    margins: Floats, outcome: Floats, fold: Ints, folds: int, recent: Flags | None = None
) -> tuple[Beta, ...]:
    """One calibrator per fold, fitted on the out-of-fold margins of the other folds.

    `recent` marks the newest rows: the level is theirs, because base rates move and what comes next is closer to
    them; the shape is everyone's.
    """
    newest = np.ones(len(fold), dtype=bool) if recent is None else recent
    found = []
    for k in range(folds):
        rest = fold != k
        beta = fit(margins[rest], outcome[rest]) if rest.any() else Beta()
        if not newest.all():
            shift = _level(beta(margins[rest & newest]), outcome[rest & newest])
            beta = Beta(beta.a, beta.b, beta.c + shift)
        found.append(beta)
    return tuple(found)


def _level(logits: Floats, outcome: Floats) -> float:
    """The intercept that makes the mean probability the rate found, pulled weakly towards none (Newton)."""
    from scipy.special import expit

    shift = 0.0
    for _ in range(25):
        promised = expit(logits + shift)
        slope = float(np.sum(promised * (1 - promised))) + 1
        shift -= float(np.clip((np.sum(promised - outcome) + shift) / slope, -2, 2))
    return shift


def error(probabilities: Floats, outcome: Floats, bins: int = BINS) -> float:
    """Expected calibration error over equal-count bins: the mean gap between promised and found rates."""
    return gap(*curve(probabilities, outcome, bins))


def gap(promised: Floats, found: Floats, rows: Floats) -> float:
    """The mean gap of a calibration curve."""
    return float(np.average(np.abs(promised - found), weights=rows)) if rows.sum() else 0.0


def curve(probabilities: Floats, outcome: Floats, bins: int = BINS) -> tuple[Floats, Floats, Floats]:
    """Mean probability, rate found, and rows by equal-count bin, lowest probabilities first.

    Rows of equal probability that straddle a border share their mean outcome, so their order is irrelevant.
    """
    levels, which = np.unique(probabilities, return_inverse=True)
    counts: Floats = np.bincount(which, minlength=len(levels)).astype(float)
    hits: Floats = np.bincount(which, weights=outcome, minlength=len(levels)).astype(float)
    return curve_of_levels(levels, counts, hits, bins)


def curve_of_levels(
    levels: Floats, counts: Floats, hits: Floats, bins: int = BINS
) -> tuple[Floats, Floats, Floats]:
    """`curve` of ascending distinct probabilities with the (weighted) rows and positives at each."""
    ends = np.concatenate([[0.0], np.cumsum(counts)])
    borders = np.linspace(0, ends[-1], bins + 1)
    rows = np.diff(borders)
    promised = np.diff(np.interp(borders, ends, np.concatenate([[0.0], np.cumsum(counts * levels)])))
    found = np.diff(np.interp(borders, ends, np.concatenate([[0.0], np.cumsum(hits)])))
    safe = np.maximum(rows, 1e-12)
    return promised / safe, found / safe, rows


def limit(probabilities: Floats, seed: int, bins: int = BINS, draws: int = 2000) -> float:
    """What a perfect model of these probabilities stays below in 95% of samples of this size.

    Outcomes of a bin are drawn from the normal approximation of its sum of coin flips.
    """
    ordered = np.sort(probabilities)
    parts = np.array_split(ordered, bins)
    rows = np.array([len(part) for part in parts], dtype=float)
    spread = np.sqrt(np.array([np.sum((part * (1 - part)).clip(0)) for part in parts]))
    noise = np.random.default_rng(seed).standard_normal((draws, bins)) * spread
    return float(np.quantile(np.abs(noise).sum(axis=1) / max(1.0, rows.sum()), 0.95))
