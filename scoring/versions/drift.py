"""What moved between the rows that taught and the later rows."""

from typing import Any

import numpy as np

from scoring.learning.coding import Coding, Floats, Ints

#: Population stability index above which a feature counts as moved (a common rule in credit scoring).
MOVED = 0.25
_CELLS = 10


def stability(before: Floats, after: Floats, is_category: bool) -> float:
    """Population stability index over ten cells of equal count (or the categories) and a cell for missing."""
    if is_category:
        edges = np.arange(np.nanmax(np.concatenate([before, after, [0.0]]))) + 0.5
    else:
        known = before[~np.isnan(before)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _CELLS + 1)[1:-1])) if len(known) else np.zeros(1)
    old, new = _shares(before, edges), _shares(after, edges)
    return float(np.sum((new - old) * np.log(new / old)))


def _shares(column: Floats, edges: Floats) -> Floats:
    cells: Ints = np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column, side="left"))
    counts = np.bincount(cells, minlength=len(edges) + 2) + 0.5
    shares: Floats = counts / counts.sum()
    return shares


def moved(coding: Coding, before: Floats, after: Floats) -> list[dict[str, Any]]:
    """Features whose values moved, most first: `name`, `property` and `psi`."""
    found = []
    for i, feature in enumerate(coding.features):
        psi = stability(before[:, i], after[:, i], feature.kind == "category")
        if psi > MOVED:
            found.append({"name": feature.label, "property": feature.property, "psi": round(psi, 3)})
    return sorted(found, key=lambda one: (-one["psi"], one["name"]))
