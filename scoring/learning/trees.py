"""Boosted trees (LightGBM), deterministic, one thread each: folds run side by side instead.

Depth is capped because exact contributions cost what depth costs: many rows are looked up (`tree_shap`), few are
asked of LightGBM itself, or, where a few come again and again, looked up as well (`tree_lookup`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scoring.learning.coding import Coding, Floats
from scoring.learning.tree_lookup import Lookup
from scoring.learning.tree_paths import roots
from scoring.learning.tree_shap import Tables

if TYPE_CHECKING:
    import lightgbm as lgb

NAME = "lightgbm"
ROUNDS = 200
#: Rows from which tables are worth their preparation.
MANY = 2000
#: Of every call into LightGBM, also those whose default would be all cores. It keeps one count for the whole
#: process, which each call sets anew, and sizes its buffers by it: two calls at once with different counts write
#: past their ends and crash the process.
THREADS = 1
#: Fixed on public lead and churn sets; searching them per account gained on one set of six.
PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.04,
    "num_leaves": 31,
    "max_depth": 6,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.5,
    "lambda_l2": 5.0,
    "cat_smooth": 50.0,
    "cat_l2": 30.0,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": THREADS,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Trees:
    """A LightGBM model in its text format."""

    text: str
    kind: str = NAME

    @cached_property
    def _booster(self) -> lgb.Booster:
        import lightgbm as lgb

        return lgb.Booster(model_str=self.text)

    @cached_property
    def _tables(self) -> Tables | None:
        return Tables.of(roots(self._booster.dump_model()))

    @cached_property
    def _lookup(self) -> Lookup | None:
        tables = Tables.of(roots(self._booster.dump_model()))
        return None if tables is None else Lookup.of(tables)

    def prepare(self) -> None:
        """Take the second that makes contributions of a few rows several times faster from now on."""
        _ = self._lookup

    def margins(self, values: Floats) -> Floats:
        """Log-odds by row."""
        return predicted(self._booster, values, raw_score=True)

    def contributions(self, values: Floats) -> Floats:
        """Rows x features, in log-odds (TreeSHAP, exact); with `base` they add up to the margin."""
        if len(values) >= MANY and self._tables is not None:
            return self._tables.contributions(values)
        if "_lookup" in vars(self) and self._lookup is not None:
            return self._lookup.contributions(values)
        return self._shap(values)[:, :-1]

    @property
    def base(self) -> float:
        width = self._booster.num_feature()
        return float(self._shap(np.full((1, width), np.nan))[0, -1])

    def _shap(self, values: Floats) -> Floats:
        return predicted(self._booster, values, pred_contrib=True)

    def to_text(self) -> str:
        return self.text


def fit(values: Floats, outcome: Floats, coding: Coding, seed: int) -> Trees:
    """Fit on rows x features (NaN is missing, categories are codes) and 0/1 outcomes."""
    return Trees(boost(values, outcome, coding, seed, ROUNDS).model_to_string())


def boost(
    values: Floats,
    outcome: Floats,
    coding: Coding,
    seed: int,
    rounds: int,
    start: Floats | None = None,
    **changed: Any,
) -> lgb.Booster:
    """A booster with our parameters; `start` holds log-odds to begin from."""
    import lightgbm as lgb

    parameters = {**PARAMETERS, "seed": seed, **changed}
    data = lgb.Dataset(
        values,
        outcome,
        init_score=start,
        categorical_feature=coding.categories,
        params={"max_bin": parameters["max_bin"], "num_threads": THREADS, "verbosity": -1},
    )
    return lgb.train(parameters, data, rounds)


def predicted(booster: lgb.Booster, values: Floats, **how: bool) -> Floats:
    """What a booster says of rows; `raw_score` for log-odds, `pred_contrib` for what they are made of."""
    return np.asarray(booster.predict(values, num_threads=THREADS, **how), dtype=np.float64)
