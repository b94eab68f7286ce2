"""How fast contacts get their exact contributions, and their reasons in words."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from scoring.explanation import reasons
from scoring.features.sql import Feature
from scoring.learning import glass_box, trees
from scoring.learning.coding import Coding, Floats

#: Rows that models are fitted on, and that each is asked to explain.
FITTED, EXPLAINED, EXPLAINED_BY_TREES, WORDED = 20_000, 1_000_000, 10_000, 100_000


def cases(seed: int) -> Iterator[tuple[str, int, Any]]:
    """(name, contacts, what to do): at 20 and 60 columns, tables and trees."""
    for width in (20, 60):
        values, outcome = made(FITTED, width, seed)
        coding = Coding(tuple(feature(i) for i in range(width)), {}, {})
        box = glass_box.fit(values, outcome, coding, seed)
        many = made(EXPLAINED, width, seed + 1)[0]
        yield f"glass_box_{width}_columns", len(many), lambda box=box, many=many: box.contributions(many)
        few = many[:EXPLAINED_BY_TREES]
        deep = trees.fit(values, outcome, coding, seed)
        yield f"trees_{width}_columns", len(few), lambda deep=deep, few=few: deep.contributions(few)
        some = many[:WORDED]
        parts, named = box.contributions(some), np.ones(width, bool)
        yield (
            f"words_{width}_columns",
            len(some),
            lambda coding=coding, some=some, parts=parts, named=named: reasons(coding, some, parts, named),
        )


def feature(number: int) -> Feature:
    name = f"f{number}"
    return Feature(name, "number", name, None, name, "number", f"{name} is {{value}}", None)


def made(rows: int, width: int, seed: int) -> tuple[Floats, Floats]:
    """Continuous columns, a tenth of the values missing; the outcome hangs on a few of them and on one pair."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, width))
    odds = values[:, 0] + 0.5 * values[:, 1] ** 2 - 1 + values[:, 2] * values[:, 3]
    odds += 0.3 * values[:, 4:].sum(axis=1) / np.sqrt(width)
    values[rng.random(values.shape) < 0.1] = np.nan
    return values, (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
