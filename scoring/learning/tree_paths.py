"""LightGBM's trees as it dumps them: the ways to their leaves, and which way a value goes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from scoring.learning.coding import Flags, Floats

Tree = dict[str, Any]
#: Splits from the root down, and whether the way goes left.
Path = tuple[tuple[Tree, bool], ...]
Leaf = tuple[Path, float]


def roots(dump: dict[str, Any]) -> list[Tree]:
    """The trees of `Booster.dump_model()`."""
    return [info["tree_structure"] for info in dump["tree_info"]]


def leaves(node: Tree, path: Path = ()) -> Iterator[Leaf]:
    """Every leaf's value, with the splits that lead to it and the side taken at each."""
    if "split_feature" not in node:
        yield path, float(node["leaf_value"])
        return
    yield from leaves(node["left_child"], (*path, (node, True)))
    yield from leaves(node["right_child"], (*path, (node, False)))


def goes_left(node: Tree, column: Floats) -> Flags:
    """LightGBM's own decision: categories by set, numbers by threshold, missing by the learnt direction."""
    missing = np.isnan(column)
    if node["decision_type"] == "==":
        members = [int(code) for code in str(node["threshold"]).split("||")]
        return np.isin(column, members) & ~missing
    if node["missing_type"] == "NaN":
        return np.where(missing, bool(node["default_left"]), column <= node["threshold"])
    filled: Flags = np.where(missing, 0.0, column) <= node["threshold"]
    return filled


def share(node: Tree, left: bool) -> float:
    """Share of a split's training rows that went to one side."""
    side = node["left_child" if left else "right_child"]
    return float(side.get("internal_count", side.get("leaf_count")) / node["internal_count"])
