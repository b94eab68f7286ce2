"""Exact contributions of deep trees by look-up: what TreeSHAP says, worked out once a leaf instead of once a row.

Whether a row reaches a leaf hangs on what each feature of its path says, yes or no: with d features there are 2^d
patterns, and the leaf's Shapley values are a function of the pattern. So they are tabled, and a row costs a few
look-ups a leaf (J. Yang, Fast TreeSHAP, 2021, the second algorithm there). Worth its preparation from some
thousand rows on.
"""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import factorial

import numpy as np
import numpy.typing as npt

from scoring.learning.coding import Floats
from scoring.learning.tree_paths import Leaf, Tree, goes_left, leaves, share

#: Features on a path at most: a pattern is one byte.
DEEPEST = 8
_ROWS, _THREADS = 4096, 2

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Tabled:
    """A leaf: for each feature of its path the splits (number, side taken), and its contributions by pattern."""

    features: tuple[int, ...]
    splits: tuple[tuple[tuple[int, bool], ...], ...]
    table: Floats  # features x patterns, in log-odds


@dataclass(frozen=True)
class Tables:
    """The leaves of all trees of a model."""

    trees: tuple[tuple[tuple[Tree, ...], tuple[_Tabled, ...]], ...]

    @classmethod
    def of(cls, trees: list[Tree]) -> "Tables | None":
        """None where a path has more features than a pattern holds."""
        found = [[leaf for leaf in leaves(tree) if leaf[0]] for tree in trees]
        if any(len(_features(leaf)) > DEEPEST for some in found for leaf in some):
            return None
        tables = _tables([leaf for some in found for leaf in some])
        done, at = [], 0
        for some in found:
            done.append(_tree(some, tables[at : at + len(some)]))
            at += len(some)
        return cls(tuple(done))

    def contributions(self, values: Floats) -> Floats:
        """Rows x features, in log-odds; with the model's base they add up to its margin."""
        out = np.zeros((values.shape[1], len(values)))

        def fill(at: int) -> None:
            some = slice(at, at + _ROWS)
            columns = np.ascontiguousarray(values[some].T)
            for tree in self.trees:
                _add(tree, columns, out[:, some])

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(fill, range(0, len(values), _ROWS)))
        return np.ascontiguousarray(out.T)


def _features(leaf: Leaf) -> tuple[int, ...]:
    return tuple(sorted({node["split_feature"] for node, _ in leaf[0]}))


def _tree(some: list[Leaf], tables: list[Floats]) -> tuple[tuple[Tree, ...], tuple[_Tabled, ...]]:
    nodes = {id(node): node for path, _ in some for node, _ in path}
    number = {key: i for i, key in enumerate(nodes)}
    tabled = [
        _Tabled(
            features,
            tuple(
                tuple((number[id(node)], left) for node, left in leaf[0] if node["split_feature"] == feature)
                for feature in features
            ),
            table,
        )
        for leaf, table in zip(some, tables, strict=True)
        for features in (_features(leaf),)
    ]
    return tuple(nodes.values()), tuple(tabled)


def _tables(some: list[Leaf]) -> list[Floats]:
    """Each leaf's table; leaves with equally many features are worked out together."""
    found: list[Floats] = [np.empty((0, 0))] * len(some)
    alike: dict[int, list[int]] = defaultdict(list)
    for i, leaf in enumerate(some):
        alike[len(_features(leaf))].append(i)
    for members in alike.values():
        unknown = np.array([_unknown(some[i]) for i in members])
        tables = _shapley(np.array([some[i][1] for i in members]), unknown)
        for i, table in zip(members, tables, strict=True):
            found[i] = np.ascontiguousarray(table)
    return found


def _unknown(leaf: Leaf) -> list[float]:
    """By feature of the path: the share of rows that stay on it where the feature is not known."""
    stay = dict.fromkeys(_features(leaf), 1.0)
    for node, left in leaf[0]:
        stay[node["split_feature"]] *= share(node, left)
    return list(stay.values())


def _shapley(value: Floats, unknown: Floats) -> Floats:
    """Leaves x features x patterns. A coalition's worth is the leaf's value times, for each feature of the path,
    yes or no (1 or 0) where it is in the coalition and its `unknown` share where it is not."""
    count, width = unknown.shape
    yes = (np.arange(2**width)[:, None] >> np.arange(width)) & 1  # patterns x features
    weights = np.array([factorial(s) * factorial(width - 1 - s) for s in range(width)]) / factorial(width)
    out = np.empty((count, width, 2**width))
    for f in range(width):
        # By size of the coalition, the sum over all coalitions of the others.
        sums = np.zeros((count, 2**width, width))
        sums[..., 0] = 1.0
        for g in range(width):
            if g != f:
                larger = sums[..., :-1] * yes[None, :, g, None]
                sums *= unknown[:, None, g, None]
                sums[..., 1:] += larger
        out[:, f] = value[:, None] * (yes[None, :, f] - unknown[:, f, None]) * (sums @ weights)
    return out


def _add(tree: tuple[tuple[Tree, ...], tuple[_Tabled, ...]], columns: Floats, out: Floats) -> None:
    """Add a tree's contributions of some rows to `out`; `columns` and `out` are features x rows."""
    nodes, tabled = tree
    left = [goes_left(node, columns[node["split_feature"]]).view(np.uint8) for node in nodes]
    sides = [(side ^ 1, side) for side in left]
    rows = columns.shape[1]
    pattern, bit, worth = np.empty(rows, np.uint8), np.empty(rows, np.uint8), np.empty(rows)
    for leaf in tabled:
        pattern.fill(0)
        for place, splits in enumerate(leaf.splits):
            bit[:] = sides[splits[0][0]][splits[0][1]]
            for number, side in splits[1:]:
                bit &= sides[number][side]
            np.left_shift(bit, place, out=bit)
            pattern |= bit
        where = pattern.astype(np.intp)
        for feature, table in zip(leaf.features, leaf.table, strict=True):
            table.take(where, out=worth, mode="clip")
            out[feature] += worth
