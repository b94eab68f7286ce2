"""Models that are tables: one curve or table per feature, and a few tables for pairs of features.

A score is the sum of its tables' entries, so every reason is exact and can be read off. Pair tables are
centred (their main effects belong to the single tables) and count half for each of the two features, which is
the Shapley value under independent features.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scoring.learning.coding import Floats, Ints

_BLOCK, _THREADS = 16_384, 2


@dataclass(frozen=True)
class Curve:
    """A piecewise linear function of one number, flat outside its knots. Values are log-odds."""

    feature: int
    knots: list[float]
    values: list[float]
    missing: float

    @cached_property
    def _line(self) -> tuple[Floats, Floats]:
        return np.array(self.knots, dtype=np.float64), np.array(self.values, dtype=np.float64)

    def __call__(self, column: Floats) -> Floats:
        out: Floats = np.interp(column, *self._line)
        out[np.isnan(column)] = self.missing
        return out


@dataclass(frozen=True)
class Steps:
    """A step function of one feature: cell k holds `edges[k-1] < x <= edges[k]`; the last cell is 'missing'."""

    feature: int
    edges: list[float]
    values: list[float]

    @cached_property
    def _edges(self) -> Floats:
        return np.array(self.edges, dtype=np.float64)

    def cells(self, column: Floats) -> Ints:
        found = np.searchsorted(self._edges, column, side="left")
        return np.where(np.isnan(column), len(self.edges) + 1, found).astype(np.int64)

    def __call__(self, column: Floats) -> Floats:
        out: Floats = np.asarray(self.values)[self.cells(column)]
        return out


@dataclass(frozen=True)
class Pair:
    """A table of two features' cells, centred in both directions."""

    first: Steps
    second: Steps
    values: list[list[float]]

    def __call__(self, values: Floats) -> Floats:
        rows = self.first.cells(values[:, self.first.feature])
        columns = self.second.cells(values[:, self.second.feature])
        out: Floats = np.asarray(self.values)[rows, columns]
        return out


@dataclass(frozen=True)
class Shapes:
    """A sum of single-feature functions and pair tables. `base` is the log-odds of the average contact."""

    kind: str
    base: float
    singles: tuple[Curve | Steps, ...]
    pairs: tuple[Pair, ...] = ()

    def contributions(self, values: Floats) -> Floats:
        """Rows x features, in log-odds; with `base` they add up to the margin."""
        out = np.zeros(values.shape)

        def fill(rows: slice) -> None:
            for feature, column, pairs in self._parts(values[rows]):
                out[rows, feature] += column
                for pair, half in pairs:
                    out[rows, pair.first.feature] += half
                    out[rows, pair.second.feature] += half

        _in_blocks(len(values), fill)
        return out

    def margins(self, values: Floats) -> Floats:
        """Log-odds by row."""
        out = np.full(len(values), self.base)

        def fill(rows: slice) -> None:
            for _, column, pairs in self._parts(values[rows]):
                out[rows] += column
                for _, half in pairs:
                    out[rows] += 2 * half

        _in_blocks(len(values), fill)
        return out

    def _parts(self, values: Floats) -> Iterator[tuple[int, Floats, list[tuple[Pair, Floats]]]]:
        """By feature: its own function's values, and half of each pair table that it completes."""
        waiting: dict[int, Ints] = {}
        for plan in self._plans:
            column = np.ascontiguousarray(values[:, plan.feature])
            if isinstance(plan.single, Curve):
                yield plan.feature, plan.single(column), []
                continue
            found = plan.grid.cells(column)
            done = []
            for number, cell_of in plan.axes:
                cells = cell_of[found]
                if number not in waiting:
                    waiting[number] = cells
                    continue
                # Features come in ascending order, so the one that waits is the pair's first or its second.
                pair, other = self.pairs[number], waiting.pop(number)
                rows, columns = (other, cells) if pair.second.feature == plan.feature else (cells, other)
                table = self._halves[number]
                done.append((pair, table.ravel()[rows * table.shape[1] + columns]))
            yield plan.feature, plan.heights[found], done

    @cached_property
    def _halves(self) -> list[Floats]:
        return [np.asarray(pair.values) / 2 for pair in self.pairs]

    @cached_property
    def _plans(self) -> list["_Plan"]:
        """Each feature looked up once, over the union of the edges of its own function and of its pairs."""
        singles = {single.feature: single for single in self.singles}
        axes: dict[int, list[tuple[int, Steps]]] = {}
        for number, pair in enumerate(self.pairs):
            for axis in (pair.first, pair.second):
                axes.setdefault(axis.feature, []).append((number, axis))
        return [
            _Plan.of(feature, singles.get(feature), axes.get(feature, [])) for feature in sorted({*singles, *axes})
        ]

    def to_text(self) -> str:
        return json.dumps(
            {
                "base": self.base,
                "curves": [asdict(s) for s in self.singles if isinstance(s, Curve)],
                "steps": [asdict(s) for s in self.singles if isinstance(s, Steps)],
                "pairs": [asdict(pair) for pair in self.pairs],
            }
        )

    @classmethod
    def from_text(cls, kind: str, text: str) -> "Shapes":
        given = json.loads(text)
        singles: list[Curve | Steps] = [Curve(**one) for one in given["curves"]]
        singles += [Steps(**one) for one in given["steps"]]
        singles.sort(key=lambda single: single.feature)  # sums keep their order, to the last bit
        return cls(kind, given["base"], tuple(singles), tuple(_pair(one) for one in given["pairs"]))


@dataclass(frozen=True)
class _Plan:
    """How one feature is looked up: the cell in the grid of all its edges, and from there everything else."""

    feature: int
    single: Curve | Steps | None
    grid: Steps
    #: Its own function by the grid's cells.
    heights: Floats
    #: (number of a pair, the pair's cell by the grid's).
    axes: list[tuple[int, Ints]]

    @classmethod
    def of(cls, feature: int, single: Curve | Steps | None, axes: list[tuple[int, Steps]]) -> "_Plan":
        steps = [one for one in (single, *(axis for _, axis in axes)) if isinstance(one, Steps)]
        edges = sorted({edge for one in steps for edge in one.edges})
        spots = np.array([*edges, np.inf, np.nan])
        heights = single(spots) if isinstance(single, Steps) else np.zeros(len(spots))
        return cls(
            feature,
            single,
            Steps(feature, edges, []),
            heights,
            [(number, axis.cells(spots)) for number, axis in axes],
        )


def _in_blocks(rows: int, fill: Callable[[slice], None]) -> None:
    """Work on blocks of rows that fit the cache, two at a time: NumPy lets go of the interpreter meanwhile."""
    blocks = [slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK)]
    if len(blocks) < 4:
        for block in blocks:
            fill(block)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(fill, blocks):
            pass


def _pair(given: dict[str, Any]) -> Pair:
    return Pair(Steps(**given["first"]), Steps(**given["second"]), given["values"])


def centred(kind: str, base: float, singles: list[Curve | Steps], pairs: list[Pair], values: Floats) -> Shapes:
    """Move every function's average over the rows into the base, and pairs' main effects into the singles.

    The functional ANOVA decomposition under the product of the features' own distributions.
    """
    by_feature: dict[int, Curve | Steps] = {single.feature: single for single in singles}
    pure = []
    for pair in pairs:
        table, rows, columns = np.asarray(pair.values), _weights(pair.first, values), _weights(pair.second, values)
        by_row, by_column = table @ columns, rows @ table
        mean = float(rows @ by_row)
        base += mean
        _add(by_feature, pair.first, by_row - mean)
        _add(by_feature, pair.second, by_column - mean)
        rest = table - by_row[:, None] - by_column[None, :] + mean
        pure.append(Pair(pair.first, pair.second, rest.tolist()))
    out = []
    for feature in sorted(by_feature):
        single = by_feature[feature]
        mean = float(single(values[:, feature]).mean()) if len(values) else 0.0
        base += mean
        out.append(_shifted(single, -mean))
    return Shapes(kind, base, tuple(out), tuple(pure))


def _weights(steps: Steps, values: Floats) -> Floats:
    counts = np.bincount(steps.cells(values[:, steps.feature]), minlength=len(steps.edges) + 2)
    return counts / max(1, len(values))


def _shifted(single: Curve | Steps, by: float) -> Curve | Steps:
    moved = [value + by for value in single.values]
    if isinstance(single, Curve):
        return Curve(single.feature, single.knots, moved, single.missing + by)
    return Steps(single.feature, single.edges, moved)


def _add(by_feature: dict[int, Curve | Steps], cells: Steps, effect: Floats) -> None:
    """Add a step function to a feature's own, over the union of their edges."""
    own = by_feature.get(cells.feature)
    if own is None:
        by_feature[cells.feature] = Steps(cells.feature, cells.edges, effect.tolist())
        return
    if isinstance(own, Curve):
        raise TypeError("pair tables go with step functions")
    edges = np.union1d(own.edges, cells.edges)
    spots = np.append(np.append(edges, np.inf), np.nan)
    total = own(spots) + effect[cells.cells(spots)]
    by_feature[cells.feature] = Steps(cells.feature, edges.tolist(), total.tolist())
