"""A glass box: boosted tables of one feature each, plus the ten pairs of features that matter most.

LightGBM under interaction constraints finds the tables; the trees are then added up into them, so that what is
stored, scored and explained is the tables themselves.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from scoring.learning.coding import Coding, Flags, Floats
from scoring.learning.shapes import Curve, Pair, Shapes, Steps, centred
from scoring.learning.tree_paths import Leaf, Tree, goes_left, leaves, roots
from scoring.learning.trees import boost, predicted

NAME = "glass_box"
PAIRS = 10
_SINGLE: dict[str, Any] = {
    "num_leaves": 8,
    "max_depth": 3,
    "min_data_in_leaf": 50,
    "learning_rate": 0.06,
    "feature_fraction": 1.0,
}
_SEARCH: dict[str, Any] = {
    "num_leaves": 31,
    "max_depth": 5,
    "min_data_in_leaf": 50,
    "learning_rate": 0.1,
    "feature_fraction": 1.0,
}
_PAIR: dict[str, Any] = {
    "num_leaves": 16,
    "max_depth": 5,
    "min_data_in_leaf": 50,
    "learning_rate": 0.05,
    "max_bin": 63,
}
_ROUNDS, _SEARCH_ROUNDS, _PAIR_ROUNDS = 150, 60, 200


def fit(values: Floats, outcome: Floats, coding: Coding, seed: int) -> Shapes:
    """Fit on rows x features (NaN is missing, categories are codes) and 0/1 outcomes."""
    width = values.shape[1]
    alone = [[i] for i in range(width)]
    singles = boost(values, outcome, coding, seed, _ROUNDS, interaction_constraints=alone, **_SINGLE)
    trees = roots(singles.dump_model())
    pairs: list[tuple[int, int]] = []
    if width > 1:
        start = predicted(singles, values, raw_score=True)
        search = boost(values, outcome, coding, seed, _SEARCH_ROUNDS, start, **_SEARCH)
        pairs = _strongest(roots(search.dump_model()))
    if pairs:
        constraints = [list(pair) for pair in pairs]
        joint = boost(
            values, outcome, coding, seed, _PAIR_ROUNDS, start, interaction_constraints=constraints, **_PAIR
        )
        trees += roots(joint.dump_model())
    return _tables(trees, coding, values)


def _tables(trees: list[Tree], coding: Coding, values: Floats) -> Shapes:
    """Add leaves up by the features on their paths: a leaf is its value times one indicator per feature."""
    groups: dict[tuple[int, ...], list[Leaf]] = defaultdict(list)
    for tree in trees:
        for leaf in leaves(tree):
            groups[tuple(sorted({node["split_feature"] for node, _ in leaf[0]}))].append(leaf)
    base = sum(value for _, value in groups.pop((), []))
    singles: list[Curve | Steps] = []
    pairs = []
    for used, some in sorted(groups.items()):
        axes = [_axis(some, feature, coding) for feature in used]
        inside = [_inside(some, axis, coding) for axis in axes]
        heights = np.array([value for _, value in some])
        if len(used) == 1:
            singles.append(Steps(used[0], axes[0].edges, (heights @ inside[0]).tolist()))
        else:
            table = (inside[0] * heights[:, None]).T @ inside[1]
            pairs.append(Pair(axes[0], axes[1], table.tolist()))
    return centred(NAME, float(base), singles, pairs, values)


def _inside(some: list[Leaf], axis: Steps, coding: Coding) -> Floats:
    """Leaves x cells of a feature: 1 where the leaf can be reached from the cell."""
    spots = _spots(axis, coding)
    reached = np.ones((len(some), len(spots)), dtype=bool)
    # By node, which many leaves have on their way.
    to_left: dict[int, Flags] = {}
    for row, (path, _) in zip(reached, some, strict=True):
        for node, left in path:
            if node["split_feature"] == axis.feature:
                if id(node) not in to_left:
                    to_left[id(node)] = goes_left(node, spots)
                row &= to_left[id(node)] == left
    return reached.astype(np.float64)


def _axis(some: list[Leaf], feature: int, coding: Coding) -> Steps:
    if feature in coding.categories:
        edges = [k + 0.5 for k in range(len(coding.levels[coding.features[feature].name]) - 1)]
    else:
        nodes = (node for path, _ in some for node, _ in path if node["split_feature"] == feature)
        edges = sorted({float(node["threshold"]) for node in nodes})
    return Steps(feature, edges, [0.0] * (len(edges) + 2))


def _spots(axis: Steps, coding: Coding) -> Floats:
    """One value inside each cell, the last is missing."""
    if axis.feature in coding.categories:
        return np.append(np.arange(len(axis.edges) + 1.0), np.nan)
    return np.array([*axis.edges, np.inf, np.nan])


def _strongest(trees: list[Tree]) -> list[tuple[int, int]]:
    """The pairs of features whose split below split gained most."""
    gains: dict[tuple[int, int], float] = defaultdict(float)
    for tree in trees:
        for path in _paths(tree, []):
            for above, below in pairwise(path):
                if above["split_feature"] != below["split_feature"]:
                    first, second = sorted((above["split_feature"], below["split_feature"]))
                    gains[first, second] += below["split_gain"]
    ranked = sorted(gains, key=lambda pair: (-gains[pair], pair))
    return sorted(ranked[:PAIRS])


def _paths(node: Tree, above: list[Tree]) -> Iterator[list[Tree]]:
    """The last two splits on the way to each split."""
    if "split_feature" in node:
        yield [*above[-1:], node]
        yield from _paths(node["left_child"], [node])
        yield from _paths(node["right_child"], [node])
