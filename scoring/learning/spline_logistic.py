"""Logistic regression on linear splines: plain, smooth, and the better model where conversions are few.

Each number is a clamped straight line plus hat functions at its quantiles; each category a row of indicators;
missing has its own coefficient. Fitted with a ridge penalty, then read off as one curve or table per feature.
"""

import numpy as np

from scoring.learning.coding import Coding, Floats
from scoring.learning.shapes import Curve, Shapes, Steps, centred

NAME = "spline_logistic"
_FEW_KNOTS = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
_MANY_KNOTS = np.linspace(0, 1, 13)
#: Rows from which a finer curve pays.
_MANY_ROWS = 5000
#: Inverse ridge strength. Chosen on public lead sets; a change of three times either way hardly matters.
STRENGTH = 0.1
_DEAR = 10_000_000_000


def fit(values: Floats, outcome: Floats, coding: Coding, seed: int, strength: float = STRENGTH) -> Shapes:
    """Fit on rows x features (NaN is missing) and 0/1 outcomes."""
    from sklearn.linear_model import LogisticRegression

    del seed  # the optimum is unique
    blocks = [_block(values[:, i], i in coding.categories) for i in range(values.shape[1])]
    design = np.hstack([block for block, _ in blocks]) if blocks else np.empty((len(values), 0))
    # Newton steps cost the square of the columns, and are a handful; with very many gradients are cheaper.
    solver = "newton-cholesky" if len(design) * design.shape[1] ** 2 <= _DEAR else "lbfgs"
    model = LogisticRegression(C=strength, max_iter=300, solver=solver)
    model.fit(design, outcome)
    weights, start = model.coef_[0], 0
    singles: list[Curve | Steps] = []
    for i, (block, knots) in enumerate(blocks):
        own = weights[start : start + block.shape[1]]
        start += block.shape[1]
        singles.append(_read_off(i, own, knots, len(coding.levels.get(coding.features[i].name, ()))))
    return centred(NAME, float(model.intercept_[0]), singles, [], values)


def _block(column: Floats, is_category: bool) -> tuple[Floats, Floats | None]:
    """The columns of one feature, and its knots if it is a number."""
    missing = np.isnan(column)
    if is_category:
        width = int(np.nanmax(column, initial=-1)) + 1
        codes = np.where(missing, width, column).astype(int)
        return np.eye(width + 1)[codes], None
    known = column[~missing]
    knots = (
        np.unique(np.quantile(known, _FEW_KNOTS if len(known) < _MANY_ROWS else _MANY_KNOTS))
        if len(known)
        else np.zeros(1)
    )
    return np.column_stack([_basis(np.nan_to_num(column), knots) * ~missing[:, None], missing]), knots


def _basis(column: Floats, knots: Floats) -> Floats:
    """A clamped line scaled to -1..1 over its quantile rank, and a hat at every knot."""
    ranks = np.linspace(-1, 1, len(knots)) if len(knots) > 1 else np.zeros(1)
    hats = [np.interp(column, knots, row) for row in np.eye(len(knots))]
    return np.column_stack([np.interp(column, knots, ranks), *hats])


def _read_off(feature: int, weights: Floats, knots: Floats | None, levels: int) -> Curve | Steps:
    if knots is not None:
        heights = _basis(knots, knots) @ weights[:-1]
        return Curve(feature, knots.tolist(), heights.tolist(), float(weights[-1]))
    width = len(weights) - 1
    # A level that this fold never saw says as much as a missing value.
    own = [*weights[:width].tolist(), *[float(weights[-1])] * (levels - width)]
    edges = (np.arange(levels - 1) + 0.5).tolist() if levels else []
    return Steps(feature, edges, [*own, float(weights[-1])] if own else [0.0, float(weights[-1])])
