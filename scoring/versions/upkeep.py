"""Looking after a lead-score model: when to train again, whether the new one may replace the old, and how a
level that has moved is set right.

Champion and challenger are compared on the same later rows. The champion scores each person by the fold model
that never saw the person; the challenger is taught on the rows before these only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from scoring.content import version_of
from scoring.context import Context
from scoring.engine import literal
from scoring.learning import evaluation, training
from scoring.learning.coding import Floats, Ints
from scoring.learning.ensemble import Ensemble, Sample
from scoring.learning.evaluation import Figure, rounded
from scoring.learning.training import Rows
from scoring.model import Model
from scoring.snapshots import labelled

DRAWS = 500
#: Days between two trainings that something other than the schedule asks for.
PATIENCE_DAYS = 7
#: Log-odds by which the level must be off to be set right: a fifth more or less in the odds.
LEAST_SHIFT = 0.2
#: Days without anything read from the platform after which nothing is written.
STALE_DAYS = 30
#: Contacts that the look at matured outcomes takes, at most about.
MATURED = 20_000
_HALF_DIGIT = 5e-5


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the same rows; a difference is challenger minus champion."""

    rows: int
    positives: int
    champion_loss: float
    challenger_loss: float
    champion_auc: float
    challenger_auc: float
    loss_difference: Figure

    @property
    def clearly_worse(self) -> bool:
        """Whether the whole 95% interval says that the challenger loses."""
        return self.loss_difference.low > 0

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "positives": self.positives,
            "champion_log_loss": rounded(self.champion_loss),
            "challenger_log_loss": rounded(self.challenger_loss),
            "champion_auc": rounded(self.champion_auc),
            "challenger_auc": rounded(self.challenger_auc),
            "loss_difference": self.loss_difference.to_json(),
        }


def paired(champion: Floats, challenger: Floats, outcome: Floats, people: Ints, seed: int) -> Comparison:
    """Compare probabilities on the same rows; the bootstrap draws people (0..n-1 by row), not rows."""
    before, after = evaluation.losses(champion, outcome), evaluation.losses(challenger, outcome)
    count = int(people.max(initial=-1)) + 1
    gaps = np.bincount(people, weights=after - before, minlength=count)
    rows = np.bincount(people, minlength=count)
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        weights = random.poisson(1.0, count)
        drawn.append(float(weights @ gaps) / max(1.0, float(weights @ rows)))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Comparison(
        rows=len(outcome),
        positives=int(outcome.sum()),
        champion_loss=float(before.mean()),
        challenger_loss=float(after.mean()),
        champion_auc=evaluation.auc(champion, outcome),
        challenger_auc=evaluation.auc(challenger, outcome),
        loss_difference=Figure(float((after - before).mean()), float(low), float(high)),
    )


def choose(context: Context, champion: Model, challenger: Model) -> dict[str, Any]:
    """Whether the challenger replaces the champion, and why, for its meta.

    `{"replaced", "champion", "why", …figures}`. It does unless it is clearly worse on the same later rows; one
    that goes by what is a leak, or may no longer be used, is replaced in any case.
    """
    told: dict[str, Any] = {"champion": champion.version}
    barred = _barred(context, champion, challenger)
    if barred:
        return {**told, "replaced": True, "why": f"The former model goes by {barred}, which may not be used."}
    if len(champion.meta["kinds"]) != context.options.folds:
        return {**told, "replaced": True, "why": "The former model has another number of folds."}
    if champion.meta["as_of"] > context.as_of.isoformat():
        return {**told, "replaced": True, "why": "The former model knows what came after this instant."}
    found = compare(context, champion, challenger)
    if found.clearly_worse:
        why = "Kept aside: clearly worse than the model in use on the same later rows."
    else:
        why = (
            "In use: not clearly worse than the former model on the same later rows, and it knows what came since."
        )
    return {**told, "replaced": not found.clearly_worse, "why": why, **found.to_json()}


def _barred(context: Context, champion: Model, challenger: Model) -> str | None:
    leaks = {leak["property"] for leak in challenger.meta["evaluation"].get("leaks", ())}
    used = {feature.property for feature in _ensemble(champion).coding.features if feature.property is not None}
    return next(iter(sorted(used & (leaks | context.options.excluded))), None)


def compare(context: Context, champion: Model, challenger: Model) -> Comparison:
    """Both on the rows that the challenger's own figures come from.

    A level of the champion that was set right since its training is taken back: it knows these rows' outcomes.
    """
    given = champion.meta.get("recalibrated", {}).get("total_shift", 0.0)
    old, new = _ensemble(replace(champion, files=_shifted(champion, -given))), _ensemble(challenger)
    rows = _read(context, old, new)
    split, teach, test = training.held_out(rows)
    values = new.coding.filled(new.coding.known(rows.table))
    if split != "cv":
        sample = Sample(values, rows.outcome, rows.fold, rows.instant)
        new = training.fit_kind(sample.where(teach), new.coding, context, new.kind)
    fold = rows.fold[test]
    return paired(
        old.probabilities(old.coding.filled(old.coding.known(rows.table))[test], fold),
        new.probabilities(values[test], fold),
        rows.outcome[test],
        np.unique(rows.people[test], return_inverse=True)[1].ravel(),
        context.options.seed,
    )


def _ensemble(model: Model) -> Ensemble:
    return Ensemble.from_files(model.meta["kinds"], model.meta["kind"], model.files)


def _read(context: Context, *ensembles: Ensemble, newest: bool = False) -> Rows:
    """Labelled rows with every feature that any of the ensembles reads; `newest` takes a draw of the last
    instant's only."""
    snapshots = labelled(context, "upkeep_labelled")
    wanted = "true"
    if newest:
        last = literal(max(snapshots.instants).isoformat(sep=" "))
        wanted = f"as_of = cast({last} as timestamp) "
        wanted += f"and stable_bucket(contact_id, {1 + snapshots.rows // MATURED}) = 0"
    context.engine.run(f"create or replace temp table upkeep_rows as select * from upkeep_labelled where {wanted}")
    features = tuple({f.name: f for one in ensembles for f in one.coding.features}.values())
    return training.read(context, replace(snapshots, table="upkeep_rows"), features)


@dataclass(frozen=True)
class Level:
    """What was promised and what came, on matured outcomes; `shift` in log-odds makes them equal."""

    rows: int
    positives: int
    promised: float
    found: float
    shift: float
    #: Standard error of the shift.
    error: float

    @property
    def off(self) -> bool:
        """Whether the level is off by more than chance explains, and by enough to matter."""
        return abs(self.shift) > max(LEAST_SHIFT, 2 * self.error)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "positives": self.positives,
            "promised": rounded(self.promised),
            "found": rounded(self.found),
            "shift": rounded(self.shift),
        }


def level(probabilities: Floats, outcome: Floats) -> Level:
    """The trailing intercept: the shift of all log-odds with which the mean probability is the rate that came.

    Maximum likelihood with half a conversion added to each side, so that it exists without conversions, too.
    """
    from scipy.special import expit, logit

    logits = logit(np.clip(probabilities, _HALF_DIGIT, 1 - _HALF_DIGIT))
    target = (outcome.sum() + 0.5) * len(outcome) / (len(outcome) + 1.0)
    low, high = -15.0, 15.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(logits + middle).sum() < target else (low, middle)
    shift = (low + high) / 2
    moved = expit(logits + shift)
    error = 1 / np.sqrt(max(float(np.sum(moved * (1 - moved))), 1e-9))
    promised, found = float(probabilities.mean()), float(outcome.mean())
    return Level(len(outcome), int(outcome.sum()), promised, found, shift, float(error))


def matured(context: Context, model: Model) -> Level | None:
    """The champion's level on the newest outcomes; None where they say nothing new since it was trained."""
    if not context.goal.in_time or datetime.fromisoformat(model.meta["as_of"]) >= context.as_of:
        return None
    ensemble = _ensemble(model)
    rows = _read(context, ensemble, newest=True)
    if not len(rows) or rows.snapshots.split != "time":
        return None
    values = ensemble.coding.filled(ensemble.coding.known(rows.table))
    return level(ensemble.probabilities(values, rows.fold), rows.outcome)


def recalibrated(model: Model, found: Level, as_of: datetime) -> Model:
    """The same model with its level set right: a version of its own, trained when the former was."""
    files = _shifted(model, found.shift)
    total = model.meta.get("recalibrated", {}).get("total_shift", 0.0) + found.shift
    choice = {
        "champion": model.version,
        "replaced": True,
        "why": f"The former model with its level moved by {found.shift:+.3f} log-odds: "
        f"{found.promised:.2%} were promised to {found.rows:,} contacts, {found.found:.2%} came.",
    }
    told = {"as_of": as_of.isoformat(), "total_shift": total, **found.to_json()}
    meta = {**model.meta, "choice": choice, "recalibrated": told}
    return replace(model, meta=meta, files=files, version=version_of(model.predictor, as_of, meta, files))


def _shifted(model: Model, shift: float) -> dict[str, str]:
    """Its files with all log-odds moved."""
    calibrators = json.loads(model.files["calibration.json"])
    moved = [{**one, "c": one["c"] + shift} for one in calibrators]
    return {**model.files, "calibration.json": json.dumps(moved, indent=1)}


def due(newest: Mapping[str, Any], as_of: datetime, every_days: int, moved: tuple[str, ...] = ()) -> str | None:
    """Why it is time to train again, None when it is not.

    `newest` is the meta of the model trained last, in use or not, so that one that lost is not made anew each
    day. `moved` names what moved and matters: it asks for a training after some patience.
    """
    at = newest.get("as_of") or newest.get("until")
    if at is None:
        return None
    age = as_of - datetime.fromisoformat(at)
    if age >= timedelta(days=every_days):
        return f"The last training was {age.days} days ago (retrain_days is {every_days})."
    if moved and age >= timedelta(days=PATIENCE_DAYS):
        return f"Contacts have changed since the last training: {', '.join(moved)}."
    return None


def stale(newest: datetime | None, as_of: datetime, gates: Mapping[str, float]) -> str | None:
    """Why data are too old to publish predictions from; None when they are not.

    `newest` is when the platform was last read (UTC); the gate is `max_stale_days`.
    """
    allowed = gates.get("max_stale_days", STALE_DAYS)
    if newest is None or as_of - newest <= timedelta(days=allowed):
        return None
    return (
        f"The data are {(as_of - newest).days} days old, at most {allowed:g} are allowed (max_stale_days): "
        "pull from the platform first."
    )
