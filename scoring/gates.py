"""Gates that refuse: what is not good enough is not written.

Each reason names the figure that failed and what would mend it. Thresholds can be changed in the settings by
the names in THRESHOLDS.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scoring.context import Context
from scoring.learning.evaluation import Figure, Report
from scoring.readiness import POSITIVES, more_conversions

THRESHOLDS: Mapping[str, float] = {
    "min_positives": POSITIVES,
    # the lower end of the paired 95% interval of AUC minus a baseline's must be above this
    "min_gain": 0.0,
    # calibration error above the larger of the two refuses
    "max_calibration_error": 0.02,
    "max_calibration_ratio": 2.0,
    # rate of conversions on later rows over that on earlier ones, or its inverse
    "max_base_rate_ratio": 1.5,
}

#: Reported beside the model and never gated on: it may be the model.
NOT_GATED = ("logistic_regression",)
_NAMES = {"base_rate": "the base rate", "recency": "the recency rule"}


@dataclass(frozen=True)
class BaseRates:
    """Conversions on the rows that taught and on the later rows that tested."""

    before: float
    after: float
    rows_before: int
    rows_after: int

    @property
    def ratio(self) -> float:
        low, high = sorted((self.before, self.after))
        return high / max(low, 0.5 / max(1, self.rows_before))

    @property
    def beyond_chance(self) -> bool:
        """Whether the two rates differ by more than two standard errors."""
        pooled = (self.before * self.rows_before + self.after * self.rows_after) / (
            self.rows_before + self.rows_after
        )
        variance = pooled * (1 - pooled) * (1 / max(1, self.rows_before) + 1 / max(1, self.rows_after))
        return abs(self.before - self.after) > 2 * math.sqrt(variance)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": "base_rate",
            "before": round(self.before, 5),
            "after": round(self.after, 5),
            "ratio": round(self.ratio, 3),
        }


def lead_score_refusals(
    context: Context, report: Report | None, positives: int, rates: BaseRates | None
) -> tuple[str, ...]:
    """Why a lead score must not be published; empty when it may."""
    limits = {**THRESHOLDS, **context.options.gates}
    reasons = []
    wanted = int(limits["min_positives"])
    if positives < wanted:
        remedy = more_conversions(context, positives, wanted)
        reasons.append(f"Only {positives} conversions to learn from, at least {wanted} are needed: {remedy}.")
    if report is None:
        return tuple(reasons) or ("There were no rows to measure on: more contacts with a known outcome.",)
    for name, gain in report.gains.items():
        if name not in NOT_GATED and not gain.low > limits["min_gain"]:
            reasons.append(_no_gain(name, gain, report, context, positives))
    allowed = max(limits["max_calibration_ratio"] * report.calibration_limit, limits["max_calibration_error"])
    if not report.calibration_error <= allowed:
        reasons.append(
            f"The calibration error is {report.calibration_error:.3f}, above {allowed:.3f}: probabilities would "
            "mislead. Train again on recent outcomes, or leave out properties whose meaning changed."
        )
    if rates is not None and rates.beyond_chance and rates.ratio > limits["max_base_rate_ratio"]:
        reasons.append(
            f"The share of conversions moved from {rates.before:.1%} to {rates.after:.1%}: probabilities learnt "
            "before do not hold. Outcomes of the newest contacts, or a training window after the change."
        )
    return tuple(reasons)


def _no_gain(name: str, gain: Figure, report: Report, context: Context, positives: int) -> str:
    other = _NAMES.get(name, name)
    return (
        f"The AUC of {report.auc.value:.3f} is not surely better than {other} "
        f"(difference {gain.value:+.3f}, 95% interval {gain.low:+.3f} to {gain.high:+.3f}): "
        f"{more_conversions(context, positives, positives * 2)}, or properties and activity that tell "
        "contacts apart."
    )
