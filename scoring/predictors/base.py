"""The contract of a predictor, and what it is given.

A predictor is one file in this folder, its rows in `manifests/properties.toml`, and one line in
`scoring/predictors/__init__.py`. It never sees a platform, a file or a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from scoring.eligibility import Consent, Filter
from scoring.engine import Engine
from scoring.goals import Goal


@dataclass(frozen=True)
class Options:
    """Choices of the user that predictors heed."""

    seed: int = 20261123
    folds: int = 5
    #: 'row': contacts stand in time order (contacts.row_order); the last fifth is held out.
    order_by: str | None = None
    #: Properties (internal names) never used as features or reasons.
    excluded: frozenset[str] = frozenset()
    #: Topics and words (`scoring.protected`) whose properties are never used, besides the default ones; and
    #: those of the default ones that are used after all.
    protected: frozenset[str] = frozenset()
    unprotected: frozenset[str] = frozenset()
    #: When people may be scored and trained on at all.
    consent: Consent = field(default_factory=Consent)
    #: Whom to train on, and whom to give values to.
    train: Filter = field(default_factory=Filter)
    write: Filter = field(default_factory=Filter)
    #: Properties that the user trusts although they look like leaks.
    trusted: frozenset[str] = frozenset()
    #: IANA zone of contacts without one.
    timezone: str = "UTC"
    #: A property with the customer's present score, as a further baseline.
    compare_to: str | None = None
    #: Event data are from an API (staleness is judged) rather than from files.
    live: bool = False
    #: Gate thresholds that the user changed, by name.
    gates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """All that a predictor may look at: canonical tables, an instant, a goal, choices."""

    engine: Engine
    #: UTC without a zone, whole seconds. Nothing that occurred at or after it may be read.
    as_of: datetime
    goal: Goal
    options: Options = Options()


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


class Predictor(Protocol):
    """Learns one thing about contacts and says it as properties."""

    @property
    def name(self) -> str:
        """File name, and key in the JSON of `evaluate` and `sync`."""

    @property
    def properties(self) -> tuple[str, ...]:
        """Names in manifests/properties.toml, without prefix changes, that `score` may give."""

    def lacks(self, context: Context) -> list[str]:
        """What input is missing for this predictor to run at all, in words; empty when it can run."""

    def evaluate(self, context: Context) -> Evaluation:
        """Measure on held-out data. Leaves nothing behind but temporary tables."""

    def train(self, context: Context, previous: Model | None = None) -> Model:
        """Fit, with the evaluation in `meta["evaluation"]`. What must outlive retraining comes from `previous`."""

    def score(self, context: Context, model: Model, only: str | None = None) -> pa.Table:
        """One row per contact that gets a value: `contact_id` and the properties, sorted by contact_id.

        `only` names a table with a `contact_id` column that limits who is scored. A contact that cannot be
        scored has nulls (a cleared property) or no row. For one contact no more may be looked at than its own rows
        (of events not `properties`), its company, its deals, the contacts of the same company with what they did
        in the last `features.account.COMPANY_DAYS` days, and consents of the same person: a rescoring has no more
        (`connector.mirror.excerpt`), and gives the same values. Raises ModelMismatch when the model does not fit.
        """
