"""The models that compete for a goal, plain to rich, behind one small contract.

Few positives allow only the plain ones: what boosted trees gain with thousands of conversions they lose with
hundreds. Imbalance is left to calibration, never to resampling.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scoring.learning import glass_box, spline_logistic, trees
from scoring.learning.coding import Coding, Floats
from scoring.learning.shapes import Shapes
from scoring.learning.trees import Trees


class Fitted(Protocol):
    """A fitted candidate: log-odds and their exact parts."""

    @property
    def kind(self) -> str:
        """The candidate's name."""

    @property
    def base(self) -> float:
        """Log-odds before any feature is known."""

    def margins(self, values: Floats) -> Floats:
        """Log-odds by row."""

    def contributions(self, values: Floats) -> Floats:
        """Rows x features; with `base` they add up to the margins."""

    def to_text(self) -> str:
        """What `read` takes."""


@dataclass(frozen=True)
class Constant:
    """Everyone at the base rate: what remains when there is nothing to learn from."""

    base: float
    kind: str = "base_rate"

    def margins(self, values: Floats) -> Floats:
        return np.full(len(values), self.base)

    def contributions(self, values: Floats) -> Floats:
        return np.zeros(values.shape)

    def to_text(self) -> str:
        return json.dumps({"base": self.base})


@dataclass(frozen=True)
class Average:
    """The mean of members' log-odds, so that reasons stay exact: they are the mean of the members' reasons."""

    members: tuple[Fitted, ...]
    kind: str = "average"

    @property
    def base(self) -> float:
        return sum(member.base for member in self.members) / len(self.members)

    def margins(self, values: Floats) -> Floats:
        return _mean([member.margins(values) for member in self.members])

    def contributions(self, values: Floats) -> Floats:
        return _mean([member.contributions(values) for member in self.members])

    def prepare(self) -> None:
        for member in self.members:
            prepare(member)

    def to_text(self) -> str:
        return json.dumps({member.kind: member.to_text() for member in self.members})


def prepare(fitted: Fitted) -> None:
    """Do what makes contributions of a few rows faster from now on: a second or two where trees are among it."""
    if isinstance(fitted, Trees | Average):
        fitted.prepare()


def _mean(columns: list[Floats]) -> Floats:
    out: Floats = np.mean(columns, axis=0)
    return out


Fit = Callable[[Floats, Floats, Coding, int], Fitted]

#: Candidates that are fitted; `average` is made of them.
FITS: dict[str, Fit] = {
    spline_logistic.NAME: spline_logistic.fit,
    glass_box.NAME: glass_box.fit,
    trees.NAME: trees.fit,
}

#: Fewest positives that a candidate is tried with.
NEEDS = {spline_logistic.NAME: 10, glass_box.NAME: 300, trees.NAME: 1000}


def allowed(positives: int, rows: int) -> tuple[str, ...]:
    """Which candidates may compete, by the rarer outcome's count; none when only the base rate is honest."""
    rarer = min(positives, rows - positives)
    return tuple(name for name, need in NEEDS.items() if rarer >= need)


def constant(outcome: Floats) -> Constant:
    """The base rate as a model, half a case added to each side."""
    positives = float(outcome.sum())
    return Constant(float(np.log((positives + 0.5) / (len(outcome) - positives + 0.5))))


def read(kind: str, text: str) -> Fitted:
    """A fitted candidate from its text."""
    if kind == "average":
        return Average(tuple(read(name, one) for name, one in json.loads(text).items()))
    if kind == trees.NAME:
        return Trees(text)
    if kind == "base_rate":
        return Constant(float(json.loads(text)["base"]))
    return Shapes.from_text(kind, text)
