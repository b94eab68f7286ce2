"""The tables of `tree_shap` for a few rows at a time: every leaf of a model at once, instead of leaf after leaf.

For twenty rows the work lies in calling numpy for each of thousands of leaves. Laid out as one array per question
(which way does each split send a row, which pattern is that at each leaf, what does the table say there), a model
takes a dozen calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoring.learning.coding import Floats
from scoring.learning.tree_paths import Tree, goes_left
from scoring.learning.tree_shap import Tables

#: Rows at a time: what they take of memory is this times the leaves.
_ROWS = 64

Indices = npt.NDArray[np.intp]
Bits = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lookup:
    """A model's leaves side by side. Places on a way: the splits from the root to a leaf, at most so many."""

    numbers: "_Numbers"
    categories: "tuple[_Category, ...]"
    #: By split, where it stands among numbers and categories.
    place: Indices
    #: places x leaves: the split, the side that the way takes, and the bit of the split's feature (0: no split).
    split: Indices
    side: Flags
    bit: Bits
    #: By leaf, the bits of all its features.
    every: Bits
    #: By pair of leaf and feature, in order of features: the leaf, and where its table begins in `worth`.
    leaf: Indices
    begin: Indices
    #: Features that have a pair, and the first pair of each.
    features: Indices
    first: Indices
    worth: Floats

    @classmethod
    def of(cls, tables: Tables) -> "Lookup | None":
        """None for a model without a split."""
        nodes: list[Tree] = []
        ways: list[list[tuple[int, bool, int]]] = []
        pairs: list[tuple[int, int, Floats]] = []
        for some, tabled in tables.trees:
            for leaf in tabled:
                way = [
                    (len(nodes) + number, left, 1 << place)
                    for place, splits in enumerate(leaf.splits)
                    for number, left in splits
                ]
                pairs += [
                    (feature, len(ways), row) for feature, row in zip(leaf.features, leaf.table, strict=True)
                ]
                ways.append(way)
            nodes += some
        if not pairs:
            return None
        pairs.sort(key=lambda pair: pair[0])
        longest = max(map(len, ways))
        laid = np.array([way + [(0, False, 0)] * (longest - len(way)) for way in ways]).transpose(2, 1, 0)
        of_feature = np.array([feature for feature, _, _ in pairs])
        features, first = np.unique(of_feature, return_index=True)
        sizes = np.array([len(row) for _, _, row in pairs])
        by_set = np.array([node["decision_type"] == "==" for node in nodes], np.bool_)
        return cls(
            _Numbers.of([node for node, is_set in zip(nodes, by_set, strict=True) if not is_set]),
            tuple(_Category(node) for node, is_set in zip(nodes, by_set, strict=True) if is_set),
            np.argsort(np.argsort(by_set, kind="stable"), kind="stable").astype(np.intp),
            np.ascontiguousarray(laid[0], np.intp),
            np.ascontiguousarray(laid[1], np.bool_),
            np.ascontiguousarray(laid[2], np.uint8),
            np.bitwise_or.reduce(laid[2], axis=0).astype(np.uint8),
            np.array([leaf for _, leaf, _ in pairs], np.intp),
            np.cumsum(sizes) - sizes,
            features.astype(np.intp),
            first.astype(np.intp),
            np.concatenate([row for _, _, row in pairs]),
        )

    def contributions(self, values: Floats) -> Floats:
        """Rows x features, in log-odds; with the model's base they add up to its margin."""
        out = np.zeros((values.shape[1], len(values)))
        for at in range(0, len(values), _ROWS):
            some = slice(at, at + _ROWS)
            pattern = self._patterns(np.ascontiguousarray(values[some].T))
            worth = self.worth.take(self.begin[:, None] + pattern[self.leaf])
            out[self.features, some] = np.add.reduceat(worth, self.first, axis=0)
        return np.ascontiguousarray(out.T)

    def _patterns(self, columns: Floats) -> Bits:
        """Leaves x rows: the bits of the features that lead there."""
        left = self._left(columns)
        pattern = np.repeat(self.every[:, None], columns.shape[1], axis=1)
        for split, side, bit in zip(self.split, self.side, self.bit, strict=True):
            pattern &= np.where(left[split] == side[:, None], np.uint8(255), ~bit[:, None])
        return pattern

    def _left(self, columns: Floats) -> Flags:
        """Splits x rows: whether a row goes left; `columns` is features x rows."""
        found = [self.numbers.left(columns), *(one.left(columns) for one in self.categories)]
        return np.concatenate(found)[self.place]


@dataclass(frozen=True)
class _Numbers:
    """Splits of numbers by threshold, as `tree_paths.goes_left` decides them."""

    feature: Indices
    threshold: Floats
    #: What a missing value counts as: nothing (NaN) where it has a side of its own, else zero.
    missing: Floats
    missing_left: Flags

    @classmethod
    def of(cls, nodes: Sequence[Tree]) -> "_Numbers":
        own = np.array([node["missing_type"] == "NaN" for node in nodes], np.bool_)
        default = np.array([bool(node["default_left"]) for node in nodes], np.bool_)
        return cls(
            np.array([node["split_feature"] for node in nodes], np.intp),
            np.array([node["threshold"] for node in nodes], np.float64),
            np.where(own, np.nan, 0.0),
            own & default,
        )

    def left(self, columns: Floats) -> Flags:
        found = columns[self.feature]
        missing = np.isnan(found)
        filled = np.where(missing, self.missing[:, None], found)
        left: Flags = (filled <= self.threshold[:, None]) | (missing & self.missing_left[:, None])
        return left


@dataclass(frozen=True)
class _Category:
    """A split by a set of categories."""

    node: Tree

    def left(self, columns: Floats) -> Flags:
        return goes_left(self.node, columns[self.node["split_feature"]])[None]
