"""A randomised holdout: who is in it, how large it must be, and what it says.

Arms are drawn by a salted hash for each goal and predictor, so that a contact's arm depends on nothing but its
id: not on other contacts, not on the order of runs. What is compared is the share of contacts that reached the
goal, among those on whom the prediction would have been acted.

Intervals come in two kinds. At a look fixed beforehand, Newcombe's and Donner & Zou's with the usual quantile.
At any time and as often as one likes, the same with the boundary of an asymptotic confidence sequence, which
holds at all looks together.
"""

import math
from dataclasses import dataclass

from scoring.engine import literal

HOLDOUT, REST = "holdout", "rest"

#: Parts of the hash; shares are exact to a millionth.
_PARTS = 1_000_000
#: Below this, arms are not of the sizes that they were drawn at (Fabijan et al., Diagnosing sample ratio
#: mismatch in online controlled experiments, KDD 2019, use the like): a fault, not chance.
RATIO_ALARM = 0.001
#: Outcomes in both arms together before a normal approximation is worth stating.
FEWEST_OUTCOMES = 10


def arm_sql(contact_id: str, *, share: float, salt: str, goal: str, predictor: str) -> str:
    """SQL for the arm of the contact in column `contact_id`. Equal on every engine and for ever.

    A larger share keeps everyone that a smaller one held out.
    """
    prefix = literal(f"{salt} {goal} {predictor} ")
    held = f"stable_bucket(concat({prefix}, {contact_id}), {_PARTS}) < {round(share * _PARTS)}"
    return f"case when {held} then {literal(HOLDOUT)} else {literal(REST)} end"


@dataclass(frozen=True)
class Arm:
    """Contacts whose time is over, and how many of them reached the goal."""

    contacts: int
    outcomes: int

    @property
    def rate(self) -> float:
        return self.outcomes / self.contacts if self.contacts else math.nan


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval. `high` of a ratio is infinite where the holdout's rate may be zero."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Infinite and undefined figures are null."""
        return {name: value if math.isfinite(value) else None for name, value in vars(self).items()}

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def fixed_quantile(alpha: float = 0.05) -> float:
    """The normal quantile for one look that was fixed beforehand."""
    from scipy.stats import norm

    return float(norm.isf(alpha / 2))


def always_valid_quantile(contacts: int, planned: int, alpha: float = 0.05) -> float:
    """What takes the normal quantile's place when one looks at any time, and stops when one likes.

    The two-sided asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform
    central limit theory and asymptotic confidence sequences, Annals of Statistics 52 (2024): with `t` contacts,
    `sqrt(2 (t r² + 1) / (t r²) * log(sqrt(t r² + 1) / alpha))` standard errors; the normal mixture behind the
    always-valid tests of Johari, Koomen, Pekelis and Walsh (Operations Research 70, 2022). `r` makes it
    narrowest near `planned` contacts and must not depend on the data.
    """
    spread = -2 * math.log(alpha)
    weight = (spread + math.log(spread + 1)) / max(planned, 1) * max(contacts, 1)
    return math.sqrt(2 * (weight + 1) / weight * math.log(math.sqrt(weight + 1) / alpha))


def wilson(arm: Arm, quantile: float) -> tuple[float, float]:
    """Wilson's interval for a rate (Journal of the American Statistical Association 22, 1927)."""
    n, rate, square = arm.contacts, arm.rate, quantile**2
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def difference(rest: Arm, holdout: Arm, quantile: float) -> Estimate:
    """The rest's rate less the holdout's; Newcombe's hybrid score interval (Statistics in Medicine 17, 1998,
    method 10)."""
    if not rest.contacts or not holdout.contacts:
        return Estimate(math.nan, -1.0, 1.0)
    (low_r, high_r), (low_h, high_h) = wilson(rest, quantile), wilson(holdout, quantile)
    value = rest.rate - holdout.rate
    return Estimate(
        value,
        value - math.hypot(rest.rate - low_r, high_h - holdout.rate),
        value + math.hypot(high_r - rest.rate, holdout.rate - low_h),
    )


def lift(rest: Arm, holdout: Arm, quantile: float) -> Estimate:
    """The rest's rate over the holdout's, less one: 0.1 is a tenth more. The interval is Donner and Zou's for
    ratios (Statistical Methods in Medical Research 21, 2012) from Wilson's for the rates."""
    if not rest.contacts or not holdout.contacts:
        return Estimate(math.nan, -1.0, math.inf)
    (low_r, high_r), (low_h, high_h) = wilson(rest, quantile), wilson(holdout, quantile)
    a, b = rest.rate, holdout.rate
    low = _ratio_bound(a, b, a - low_r, high_h - b, -1)
    high = _ratio_bound(a, b, high_r - a, b - low_h, +1)
    return Estimate(a / b - 1 if b else math.nan, low - 1, high - 1)


def _ratio_bound(a: float, b: float, of_a: float, of_b: float, side: int) -> float:
    """Fieller's bound of a / b, with the distances of the rates from their limits in place of standard errors."""
    product, square_a, square_b = a * b, a * a - of_a**2, b * b - of_b**2
    if side > 0 and square_b <= 0:
        return math.inf
    root = math.sqrt(max(0.0, product**2 - square_a * square_b))
    # the conjugate form has no pole where the denominator passes through zero
    if side < 0:
        return max(0.0, square_a / (product + root)) if product + root else 0.0
    return (product + root) / square_b


@dataclass(frozen=True)
class RatioCheck:
    """Whether the arms are of the sizes at which they were drawn."""

    expected_share: float
    observed_share: float
    p_value: float

    @property
    def ok(self) -> bool:
        return self.p_value >= RATIO_ALARM

    def to_json(self) -> dict[str, float | bool]:
        return {**{name: round(value, 6) for name, value in vars(self).items()}, "ok": self.ok}


def sample_ratio(in_holdout: int, contacts: int, expected: float) -> RatioCheck | None:
    """Chi-square test of the holdout's size against `expected`, the sum of the shares at which its contacts were
    drawn; None without contacts. What makes arms unequal (contacts lost from one, a workflow that overrides the
    holdout) makes the lift wrong."""
    from scipy.stats import chisquare

    if not 0 < expected < contacts:
        return None
    p_value = chisquare([in_holdout, contacts - in_holdout], [expected, contacts - expected]).pvalue
    return RatioCheck(expected / contacts, in_holdout / contacts, float(p_value))


def contacts_needed(
    base_rate: float, wanted_lift: float, share: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Contacts in both arms together with which a true lift is seen (its interval excludes zero) with
    probability `power`, at one look. Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions,
    3rd edition, §4.3, without continuity correction. Raises ValueError where the rates leave 0 to 1."""
    from scipy.stats import norm

    acted = base_rate * (1 + wanted_lift)
    if not (0 < base_rate < 1 and 0 < acted < 1 and 0 < share < 1) or wanted_lift == 0:
        raise ValueError("base rate, base rate with lift, and share lie between 0 and 1, the lift is not 0")
    pooled = share * base_rate + (1 - share) * acted
    under_none = math.sqrt(pooled * (1 - pooled) * (1 / share + 1 / (1 - share)))
    under_lift = math.sqrt(base_rate * (1 - base_rate) / share + acted * (1 - acted) / (1 - share))
    reach = float(norm.isf(alpha / 2)) * under_none + float(norm.isf(1 - power)) * under_lift
    return math.ceil((reach / (acted - base_rate)) ** 2)


def detectable_lift(base_rate: float, contacts: float, share: float, *, power: float = 0.8) -> float | None:
    """The smallest lift that so many contacts would show; None when not even the largest possible one."""
    from scipy.optimize import brentq

    if not 0 < base_rate < 1:
        return None
    most = (1 - base_rate) / base_rate * (1 - 1e-9)
    if contacts < contacts_needed(base_rate, most, share, power=power):
        return None
    least = min(most, 1e-4)
    return float(
        brentq(lambda x: contacts_needed(base_rate, x, share, power=power) - contacts, least, most, xtol=1e-6)
    )


def weeks_needed(contacts: int, stock: int, weekly: float, window_days: int) -> float | None:
    """Weeks until so many contacts have had their time: `stock` are there at the start, `weekly` come in a week.
    None: never at this pace."""
    missing = contacts - stock
    if missing > 0 and weekly <= 0:
        return None
    return max(0.0, missing / weekly if missing > 0 else 0.0) + window_days / 7
