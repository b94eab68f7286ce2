"""Curves to look at: what was promised beside what came, and what a ranking finds. Small lists for JSON."""

from typing import Any

import numpy as np

from scoring.learning import calibration
from scoring.learning.coding import Floats

#: Points of the gain curve besides the origin: every twentieth of the contacts.
STEPS = 20


def of(probabilities: Floats, outcome: Floats) -> dict[str, Any]:
    """`calibration` and `gain` of probabilities on rows that the model did not see (outcome: 0 or 1)."""
    return {"calibration": calibrated(probabilities, outcome), "gain": gain(probabilities, outcome)}


def calibrated(probabilities: Floats, outcome: Floats) -> list[dict[str, float]]:
    """By bin of equally many rows, lowest first: the mean probability, the rate found, its 95% interval, rows.

    The interval is Clopper and Pearson's (1934), for as many outcomes as the bin holds.
    """
    from scipy.stats import beta

    promised, found, rows = calibration.curve(probabilities, outcome)
    hits = found * rows
    low = np.where(hits > 0, beta.ppf(0.025, np.maximum(hits, 1e-9), rows - hits + 1), 0.0)
    high = np.where(hits < rows, beta.ppf(0.975, hits + 1, np.maximum(rows - hits, 1e-9)), 1.0)
    table = np.column_stack([promised, found, low, high]).round(5).tolist()
    return [
        {"promised": one[0], "found": one[1], "low": one[2], "high": one[3], "rows": round(float(n))}
        for one, n in zip(table, rows, strict=True)
        if n > 0
    ]


def gain(probabilities: Floats, outcome: Floats) -> list[dict[str, float]]:
    """The share of all outcomes among the best share of the rows; rows of equal probability share theirs."""
    levels, which = np.unique(probabilities, return_inverse=True)
    every = np.bincount(which, minlength=len(levels)).astype(np.float64)[::-1]
    hits = np.bincount(which, weights=outcome, minlength=len(levels))[::-1]
    if not hits.sum():
        return []
    seen, found = np.append(0.0, np.cumsum(every)), np.append(0.0, np.cumsum(hits))
    shares = np.linspace(0, 1, STEPS + 1)
    at = np.interp(shares * seen[-1], seen, found) / found[-1]
    pairs = zip(shares, at, strict=True)
    return [{"contacts": round(float(share), 4), "outcomes": round(float(part), 5)} for share, part in pairs]
