"""What predictors give besides values: a fitted model as text, and its figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """Figures from data the model has not seen, and the verdict of the gates."""

    predictor: str
    #: The fixed JSON keys of `leadlight evaluate` for this predictor, and more beside them.
    figures: Mapping[str, Any]
    passed: bool
    #: For a refusal: the figure that failed and the data that would mend it. Empty when passed.
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**self.figures, "passed": self.passed, "reasons": list(self.reasons)}


@dataclass(frozen=True)
class Model:
    """A fitted predictor as text: JSON and LightGBM's own text format, never pickle."""

    predictor: str
    goal: str
    #: `<predictor>-<as_of date>-<8 hex digits of its content>`
    version: str
    #: JSON-able: feature list, training window, data fingerprint, library versions, evaluation.
    meta: Mapping[str, Any]
    #: File name -> text.
    files: Mapping[str, str]

    @cached_property
    def parsed(self) -> dict[str, Any]:
        """Room for what a predictor made of the files: reading them costs more than scoring a few contacts."""
        return {}
