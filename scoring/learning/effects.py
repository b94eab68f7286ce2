"""What a model goes by, to be drawn: for each group of features its weight, direction and shape.

Shapes are means of the model's own contributions by value, so they hold for any kind of model. Where the glass
box is in use they are its curves, with half of each pair table and averaged over the fold models.
"""

from typing import Any

import numpy as np

from scoring.learning.coding import Coding, Flags, Floats

#: Groups that are kept, bins of a number, levels of a category.
GROUPS, BINS, LEVELS = 20, 10, 12
#: Rank correlation of value and contribution from which the direction is one.
_STEADY = 0.7
#: Rows below which a point is noise.
_FEWEST = 10


def effects(coding: Coding, known: Floats, parts: Floats, named: Flags) -> list[dict[str, Any]]:
    """By group, the weightiest first. `known` (NaN: unknown) and `parts` (log-odds) are rows x features.

    `weight` is the mean absolute contribution of the group, `direction` one of up, down, mixed and none (of a
    category), `proven` whether it helps on rows that the model did not see; `points` are of its leading feature.
    """
    members: dict[str, list[int]] = {}
    for i, feature in enumerate(coding.features):
        members.setdefault(feature.group, []).append(i)
    found = []
    for group, positions in members.items():
        weight = float(np.abs(parts[:, positions].sum(axis=1)).mean()) if len(parts) else 0.0
        if weight > 0:
            leading = positions[int(np.argmax(np.abs(parts[:, positions]).mean(axis=0)))]
            shape = _shape(coding, leading, known[:, leading], parts[:, leading])
            proven = bool(named[positions].any())
            found.append({"group": group, "weight": round(weight, 5), "proven": proven, **shape})
    found.sort(key=lambda one: (-one["weight"], one["group"]))
    return found[:GROUPS]


def _shape(coding: Coding, position: int, known: Floats, part: Floats) -> dict[str, Any]:
    feature = coding.features[position]
    there = ~np.isnan(known)
    missing = None if there.all() else round(float(part[~there].mean()), 5)
    common = {
        "label": feature.label,
        "unit": feature.unit,
        "kind": feature.kind,
        "missing": missing,
        "missing_share": round(float((~there).mean()), 5),
    }
    if feature.kind == "category":
        labels = dict(feature.options)
        levels = [labels.get(level, level) for level in coding.levels[feature.name]]
        points = _means(known[there], part[there], np.arange(len(levels), dtype=np.float64) - 0.5)
        named = [{**point, "value": levels[round(float(point["value"]))]} for point in points]
        named.sort(key=lambda point: -point["rows"])
        return {**common, "direction": "none", "points": named[:LEVELS]}
    values = known[there]
    edges: Floats = np.unique(values)
    if len(edges) > BINS:
        borders = np.quantile(values, np.linspace(0, 1, BINS + 1))[:-1]
        edges = np.unique(np.asarray(borders, np.float64))
    points = _means(values, part[there], edges)
    return {**common, "direction": _direction(points), "points": points}


def _means(values: Floats, part: Floats, edges: Floats) -> list[dict[str, Any]]:
    """Mean value, mean contribution and rows of each cell that begins at an edge."""
    if not len(values):
        return []
    cell = np.searchsorted(edges, values, side="right") - 1
    rows = np.bincount(cell, minlength=len(edges))
    some = rows >= min(_FEWEST, len(values))
    worth = np.maximum(rows, 1)
    middle = np.bincount(cell, values, len(edges)) / worth
    mean = np.bincount(cell, part, len(edges)) / worth
    table = zip(middle[some], mean[some], rows[some], strict=True)
    return [{"value": round(float(v), 5), "log_odds": round(float(m), 5), "rows": int(n)} for v, m, n in table]


def _direction(points: list[dict[str, Any]]) -> str:
    if len(points) < 2:
        return "mixed"
    ranks = np.argsort(np.argsort([point["log_odds"] for point in points]))
    if np.ptp([point["log_odds"] for point in points]) == 0:
        return "mixed"
    steady = float(np.corrcoef(np.arange(len(points)), ranks)[0, 1])
    return "up" if steady >= _STEADY else "down" if steady <= -_STEADY else "mixed"
