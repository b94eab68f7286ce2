"""Feature tables as number matrices: categories become codes, unknown becomes NaN.

The coding is learnt once per model and stored with it, so that a category seen later is missing, never another
category's code, and a column that is gone is missing, never an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoring.features.build import Feature

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Levels beyond these, and levels with fewer rows, are too rare to learn from: they count as missing.
MAX_LEVELS = 64
MIN_LEVEL_ROWS = 10


@dataclass(frozen=True)
class Coding:
    """Which columns a model reads, in which order, and how.

    `levels` holds the known values of each category. `fill` holds the median of each number that was never
    missing in training: a model that never met a missing value there has learnt nothing about it.
    """

    features: tuple[Feature, ...]
    levels: Mapping[str, tuple[str, ...]]
    fill: Mapping[str, float]

    @classmethod
    def learn(cls, table: pa.Table, features: Sequence[Feature]) -> "Coding":
        """Read levels and medians off training rows; features that never vary are left out."""
        kept, levels, fill = [], {}, {}
        for feature in features:
            column = table[feature.name]
            if feature.kind == "category":
                found = _frequent(column)
                if len(found) > 1 or (found and column.null_count):
                    levels[feature.name] = found
                    kept.append(feature)
                continue
            numbers = _numbers(column)
            known = numbers[~np.isnan(numbers)]
            if len(known) == 0 or (len(known) == len(numbers) and known.min() == known.max()):
                continue
            if len(known) == len(numbers):
                fill[feature.name] = float(np.median(known))
            kept.append(feature)
        return cls(tuple(kept), levels, fill)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def categories(self) -> list[int]:
        """Positions of the category columns."""
        return [i for i, feature in enumerate(self.features) if feature.kind == "category"]

    def known(self, table: pa.Table) -> Floats:
        """Rows x features as they are: NaN where the value is unknown."""
        there = set(table.column_names)
        columns = [
            self._column(table, feature) if feature.name in there else np.full(table.num_rows, np.nan)
            for feature in self.features
        ]
        return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))

    def filled(self, known: Floats) -> Floats:
        """What models read: medians where training never met a missing value."""
        medians = np.array([self.fill.get(name, np.nan) for name in self.names])
        return np.where(np.isnan(known), medians, known) if len(medians) else known

    def _column(self, table: pa.Table, feature: Feature) -> Floats:
        if feature.kind == "number":
            return _numbers(table[feature.name])
        levels = pa.array(self.levels[feature.name], pa.string())
        codes = pc.index_in(table[feature.name].cast(pa.string()), value_set=levels)
        return _numbers(codes)

    def without(self, names: Sequence[str]) -> "Coding":
        """The same coding for fewer features."""
        return Coding(tuple(f for f in self.features if f.name not in set(names)), self.levels, self.fill)

    def to_json(self) -> dict[str, Any]:
        return {
            "features": [feature.to_json() for feature in self.features],
            "levels": {name: list(values) for name, values in self.levels.items()},
            "fill": dict(self.fill),
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Coding":
        return cls(
            tuple(Feature.from_json(feature) for feature in given["features"]),
            {name: tuple(values) for name, values in given["levels"].items()},
            dict(given["fill"]),
        )


def _numbers(column: pa.ChunkedArray) -> Floats:
    numbers: Floats = column.cast(pa.float64()).to_numpy().astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _frequent(column: pa.ChunkedArray) -> tuple[str, ...]:
    counts = column.cast(pa.string()).combine_chunks().drop_null().value_counts()
    names, rows = counts.field("values").to_pylist(), counts.field("counts").to_numpy()
    enough = [(-int(n), name) for name, n in zip(names, rows, strict=True) if n >= MIN_LEVEL_ROWS]
    return tuple(name for _, name in sorted(enough)[:MAX_LEVELS])
