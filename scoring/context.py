"""What everything that predicts is given: tables, an instant, a goal, and the user's choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

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
    #: Topics and words (`scoring.features.protected`) whose properties are never used, besides the default ones;
    #: and those of the default ones that are used after all.
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
    #: A table with the rows of `scoring.snapshots.may_score`, made once for several predictors that score the same
    #: contacts; None: each finds them.
    live: str | None = None
