"""Groups that are found again: rank scaling, k-means, stability under resampling, matching, hysteresis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_GROUPS, MAX_GROUPS = 4, 12
#: Each group needs so many contacts to be worth a name.
MIN_SIZE = 20
#: Rows that stability and separation are measured on, at most.
SAMPLE = 2500
#: Rows that centres are fitted to, at most.
MAX_ROWS = 50_000
#: More groups are preferred if they are as stable as the best but for this.
INDIFFERENT = 0.02
#: Stability that a number of groups should reach: mean and lower bound of the adjusted Rand index.
GOOD, GOOD_LOW = 0.85, 0.75
_SCAN_DRAWS, _DRAWS = 8, 30
_KNOTS = 200
#: A contact changes groups when the other centre is nearer by this share of the distance.
MARGIN = 0.3


@dataclass(frozen=True)
class Scale:
    """Values to mid-ranks from 0 to 1, times the column's weight: ranks bear long tails, standard scores don't."""

    knots: tuple[Floats, ...]
    ranks: tuple[Floats, ...]
    weights: Floats

    @classmethod
    def learn(cls, values: Floats, weights: Sequence[float]) -> Scale:
        knots, ranks = [], []
        for column in values.T:
            levels, counts = np.unique(column, return_counts=True)
            middle = (np.cumsum(counts) - counts / 2) / len(column)
            few = np.unique(np.linspace(0, len(levels) - 1, min(_KNOTS, len(levels))).round().astype(int))
            knots.append(levels[few])
            ranks.append(middle[few].round(6))
        return cls(tuple(knots), tuple(ranks), np.array(weights))

    def ranked(self, values: Floats) -> Floats:
        """0 to 1, unweighted; beyond the ends like the ends."""
        columns = [np.interp(values[:, at], self.knots[at], self.ranks[at]) for at in range(values.shape[1])]
        return np.stack(columns, axis=1)

    def __call__(self, values: Floats) -> Floats:
        scaled: Floats = self.ranked(values) * self.weights
        return scaled

    def to_json(self) -> dict[str, Any]:
        return {
            "knots": [knots.tolist() for knots in self.knots],
            "ranks": [ranks.tolist() for ranks in self.ranks],
            "weights": self.weights.tolist(),
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Scale:
        knots, ranks = (tuple(np.array(one) for one in given[name]) for name in ("knots", "ranks"))
        return cls(knots, ranks, np.array(given["weights"]))


#: A group has at least so many contacts, and at least this share of those who are known well enough.
SMALLEST_GROUP, SMALLEST_SHARE = 10, 0.02


@dataclass(frozen=True)
class Stability:
    """Adjusted Rand index between the groups of all rows and those of resampled rows: mean, lower bound."""

    value: float
    low: float

    @property
    def good(self) -> bool:
        return self.value >= GOOD and self.low >= GOOD_LOW

    @property
    def worth(self) -> float:
        """Mean of both, by which numbers of groups are compared."""
        return (self.value + self.low) / 2


def centres(points: Floats, number: int, seed: int, tries: int = 5) -> Floats:
    """(number, columns), largest first coordinate first; rounded, so that the order of sums does not show."""
    from sklearn.cluster import KMeans  # before the limit, which holds for what is loaded

    some = points if len(points) <= MAX_ROWS else _drawn(points, MAX_ROWS, seed)
    # Small problems: more threads than one only wait for each other, and add in another order.
    with threadpool_limits(1):
        fitted = KMeans(number, n_init=tries, random_state=seed).fit(some)
    found: Floats = fitted.cluster_centers_.round(6)
    return found[np.lexsort(found.T[::-1])[::-1]]


def distances(points: Floats, to: Floats) -> Floats:
    """(points, centres), Euclidean, rounded so that ties are ties."""
    squares = (points**2).sum(axis=1)[:, None] + (to**2).sum(axis=1) - 2 * points @ to.T
    apart: Floats = np.sqrt(np.maximum(squares, 0)).round(9)
    return apart


def nearest(points: Floats, to: Floats) -> Ints:
    which: Ints = np.argmin(distances(points, to), axis=1)
    return which


def stability(points: Floats, number: int, seed: int, draws: int = _DRAWS) -> Stability:
    """How alike the groups are when other contacts had been seen. The lower bound is the 5% quantile."""
    from sklearn.metrics import adjusted_rand_score

    points = _drawn(points, SAMPLE, seed)
    whole = nearest(points, centres(points, number, seed))
    rng = np.random.default_rng([seed, number])
    alike = []
    for draw in range(draws):
        resampled = points[rng.integers(0, len(points), len(points))]
        alike.append(adjusted_rand_score(whole, nearest(points, centres(resampled, number, seed + draw + 1, 2))))
    mean = float(np.mean(alike))  # below its own lower quantile where one draw in thirty is far off
    return Stability(round(mean, 6), round(min(mean, float(np.quantile(alike, 0.05))), 6))


def choose_number(
    points: Floats, seed: int, information: Callable[[int], float] | None = None
) -> tuple[int, dict[int, Stability]]:
    """The number of groups that resampling finds again best, and what each reached.

    Among those that are found again equally well, the one whose groups say most about later outcomes
    (`information`, by number of groups), else the larger.
    """
    most = max(MIN_GROUPS, min(MAX_GROUPS, len(points) // MIN_SIZE))
    found = {number: stability(points, number, seed, _SCAN_DRAWS) for number in range(MIN_GROUPS, most + 1)}
    sizeable = {number: one for number, one in found.items() if _sizeable(points, number, seed)}
    sizeable = sizeable or {MIN_GROUPS: found[MIN_GROUPS]}
    good = {number: one for number, one in sizeable.items() if one.good} or sizeable
    best = max(one.worth for one in good.values())
    close = sorted((number for number, one in good.items() if one.worth >= best - INDIFFERENT), reverse=True)
    for number in close:
        found[number] = stability(points, number, seed)  # a few draws flatter the best of many
    again = [number for number in close if found[number].good]
    if not again:
        return max(close, key=lambda n: found[n].worth), found
    return (again[0] if information is None else max(again, key=lambda n: (information(n), n))), found


def _sizeable(points: Floats, number: int, seed: int) -> bool:
    """Whether the smallest group is worth a campaign of its own: a handful of odd contacts is found again in
    every resample, and is no segment."""
    some = _drawn(points, SAMPLE, seed)
    sizes = np.bincount(nearest(some, centres(some, number, seed)), minlength=number)
    return bool(sizes.min() >= max(SMALLEST_GROUP, SMALLEST_SHARE * len(some)))


def separation(points: Floats, groups: Ints, seed: int) -> float:
    """Mean silhouette: 1 is far apart, 0 is touching."""
    from sklearn.metrics import silhouette_score

    kept = np.sort(np.random.default_rng(seed).choice(len(points), min(SAMPLE, len(points)), replace=False))
    if len(np.unique(groups[kept])) < 2:
        return 0.0
    return (
        round(float(silhouette_score(points[kept], groups[kept])), 6) if len(np.unique(groups[kept])) > 1 else 0.0
    )


def spread(points: Floats, to: Floats) -> float:
    """Mean squared distance to the nearest centre."""
    return float((distances(points, to).min(axis=1) ** 2).mean())


def match(old: Ints, new: Ints, old_number: int, new_number: int, least: float = 0.2) -> dict[int, int]:
    """New group -> old group by overlap of the same contacts (Hungarian); below `least` Jaccard a group is new."""
    from scipy.optimize import linear_sum_assignment

    both = np.zeros((new_number, old_number))
    np.add.at(both, (new, old), 1)
    union = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    alike = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    rows, columns = linear_sum_assignment(-alike)
    return {
        int(row): int(column) for row, column in zip(rows, columns, strict=True) if alike[row, column] >= least
    }


def settle(apart: Floats, known: npt.NDArray[np.bool_]) -> Ints:
    """(contacts,) group after the instants in turn.

    `apart` is (contacts, instants, centres), `known` is (contacts, instants). A contact enters the nearest group
    when first known and leaves it only for one nearer by MARGIN; -1 is not known at the last instant.
    """
    group = np.full(len(apart), -1)
    rows = np.arange(len(apart))
    for step in range(apart.shape[1]):
        closest = np.argmin(apart[:, step], axis=1)
        moves = apart[rows, step, closest] < (1 - MARGIN) * apart[rows, step, group]
        group = np.where(known[:, step] & ((group < 0) | moves), closest, group)
    return np.where(known[:, -1], group, -1)


def _drawn(points: Floats, most: int, seed: int) -> Floats:
    if len(points) <= most:
        return points
    return points[np.sort(np.random.default_rng(seed).choice(len(points), most, replace=False))]
