"""Lead score: how likely a contact is to reach the goal, and why.

Snapshots of contacts as they were teach fold models; each contact is scored by the model that left it out;
the figures come from that same procedure on rows it did not see; gates judge them.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from scoring import curves, gates
from scoring.content import version_of
from scoring.errors import ModelMismatch, UsageError
from scoring.explanation import reasons, worthy
from scoring.fairness import Unseen
from scoring.features import build as features
from scoring.features.property_sources import protected, telling
from scoring.gates import BaseRates
from scoring.learning import evaluation, training
from scoring.learning.coding import Floats, Ints
from scoring.learning.effects import effects
from scoring.learning.ensemble import Ensemble
from scoring.learning.evaluation import Report
from scoring.learning.training import Contest, Prepared, Rows
from scoring.predictors.base import Context, Evaluation, Model
from scoring.readiness import column_lacks, goal_lacks
from scoring.scale import Scale, confidence
from scoring.snapshots import eligible, labelled
from scoring.versions import drift

_BATCH = 50_000
_LIBRARIES = ("lightgbm", "numpy", "scikit-learn", "scipy", "duckdb")
_SCHEMA = pa.schema(
    [
        ("contact_id", pa.string()),
        ("leadlight_score", pa.float64()),
        ("leadlight_probability", pa.float64()),
        ("leadlight_grade", pa.string()),
        ("leadlight_reasons", pa.string()),
        ("leadlight_confidence", pa.string()),
    ]
)


@dataclass(frozen=True)
class _Trial:
    """Everything that one look at the labelled rows gives."""

    rows: Rows
    ready: Prepared
    contest: Contest
    evaluation: Evaluation
    #: To look at, of the tested rows (`scoring.curves`).
    curves: dict[str, Any]


class LeadScore:
    """Calibrated probability of the goal, its score, grade, reasons and confidence."""

    name = "lead_score"
    properties = tuple(_SCHEMA.names[1:])

    def lacks(self, context: Context) -> list[str]:
        """Why there is no goal to learn: no such column, no outcome, nobody who reached it."""
        return column_lacks(context) or goal_lacks(context, labelled(context))

    def evaluate(self, context: Context) -> Evaluation:
        """Figures on rows left out, baselines beside them, leaks, drift, and the gates' verdict."""
        return self._try(context, None).evaluation

    def unseen(self, context: Context) -> Unseen:
        """The rows that test, with the probabilities that would have been published. Raises UsageError."""
        trial = self._try(context, None)
        rows, contest = trial.rows, trial.contest
        _, _, test = training.held_out(rows)
        return Unseen(
            rows.table["contact_id"].combine_chunks().filter(pa.array(test)),
            np.unique(rows.people[test], return_inverse=True)[1].ravel(),
            rows.outcome[test],
            contest.chosen.probabilities(trial.ready.sample.values[test], rows.fold[test]),
            Scale(float(rows.outcome.mean())),
        )

    def train(self, context: Context, previous: Model | None = None) -> Model:
        """Evaluate, then fit the chosen kind on all rows. Kind and score map are kept from `previous`."""
        before = previous.meta if previous is not None else {}
        trial = self._try(context, before.get("kind"))
        ensemble = trial.contest.chosen
        if trial.evaluation.figures["split"] != "cv":
            ensemble = training.fit_kind(trial.ready.sample, trial.ready.coding, context, ensemble.kind)
        scale = before.get("average") or float(trial.rows.outcome.mean())
        return _packed(self.name, context, trial, ensemble, scale)

    def prepare(self, model: Model) -> Iterator[None]:
        return _ensemble(model).prepare()

    def score(self, context: Context, model: Model, only: str | None = None) -> pa.Table:
        """Everyone who has not reached the goal yet, each by the fold model that left the person out."""
        if model.predictor != self.name or model.goal != context.goal.name:
            raise ModelMismatch(f"{model.version} is no {self.name} model of goal {context.goal.name!r}.")
        if len(model.meta["kinds"]) != context.options.folds:
            raise ModelMismatch(f"{model.version} has {len(model.meta['kinds'])} folds: train again.")
        ensemble = _ensemble(model)
        eligible(context, "lead_now", only)
        table = features.read(context, "lead_now", ensemble.coding.features, "fold")
        parts = [_SCHEMA.empty_table()]
        parts += [_scored(table.slice(at, _BATCH), ensemble, model) for at in range(0, table.num_rows, _BATCH)]
        return pa.concat_tables(parts)

    def _try(self, context: Context, previous_kind: str | None) -> _Trial:
        snapshots = labelled(context)
        lacking = goal_lacks(context, snapshots)
        if lacking:
            raise UsageError(" ".join(lacking))
        rows = training.read(context, snapshots)
        ready = training.prepare(context, rows)
        split, teach, test = training.held_out(rows)
        contest = training.compete(
            ready.sample.where(teach), ready.coding, context, split == "order", previous_kind
        )
        scores = contest.chosen.probabilities(ready.sample.values[test], rows.fold[test])
        report = evaluation.measure(
            scores,
            rows.outcome[test],
            np.unique(rows.people[test], return_inverse=True)[1].ravel(),
            _baselines(context, rows, ready, contest, test),
            context.options.seed,
        )
        months: list[dict[str, Any]] = []
        if context.goal.in_time:
            months = evaluation.by_month(
                scores, rows.outcome, rows.people, rows.instant, test, context.options.seed
            )
        judged = _judged(context, rows, ready, contest, (split, teach, test), report, months)
        return _Trial(rows, ready, contest, judged, curves.of(scores, rows.outcome[test]))


def _baselines(context: Context, rows: Rows, ready: Prepared, contest: Contest, test: Any) -> dict[str, Floats]:
    """Scores of plain rules on the tested rows."""
    found = {"base_rate": np.zeros(int(test.sum())), "recency": rows.recency[test]}
    if contest.logistic is not None:
        found["logistic_regression"] = contest.logistic.probabilities(ready.sample.values[test], rows.fold[test])
    present = context.options.compare_to
    for feature in rows.features:
        if present is not None and feature.property == present and feature.kind == "number":
            values = rows.table[feature.name].cast(pa.float64()).to_numpy()
            found[present] = np.nan_to_num(values[test], nan=-np.inf)
    return found


def _judged(
    context: Context,
    rows: Rows,
    ready: Prepared,
    contest: Contest,
    how: tuple[str, Any, Any],
    report: Report,
    months: list[dict[str, Any]],
) -> Evaluation:
    split, teach, test = how
    rates = None
    if split != "cv":
        rates = BaseRates(
            float(rows.outcome[teach].mean()), float(rows.outcome[test].mean()), int(teach.sum()), int(test.sum())
        )
    positives = int(rows.outcome.sum())
    refusals = gates.lead_score_refusals(context, report, positives, rates)
    rounded = evaluation.rounded
    figures = {
        "split": split,
        "goal": context.goal.words,
        "rows": len(rows),
        "tested": int(test.sum()),
        "positives": positives,
        "model": contest.chosen.kind,
        "candidates": list(contest.figures),
        "glass_box_cost": None if contest.cost is None else rounded(contest.cost),
        "auc": report.auc.to_json(),
        "auc_with_leaks": rounded(_with_leaks(context, rows, ready, contest, teach, test, report)),
        "average_precision": rounded(report.average_precision),
        "lift_top_decile": report.lift_top_decile.to_json(),
        "brier": rounded(report.brier),
        "log_loss": rounded(report.log_loss),
        "calibration_error": rounded(report.calibration_error),
        "calibration_limit": rounded(report.calibration_limit),
        "intervals": {name: figure.to_json() for name, figure in report.intervals.items()},
        "by_month": months,
        "baselines": {
            name: {"auc": rounded(auc), "lift_top_decile": rounded(lift), "gain": report.gains[name].to_json()}
            for name, (auc, lift) in report.baselines.items()
        },
        "leaks": [leak.to_json() for leak in ready.leaks],
        "protected": [
            {"property": source.property, "topic": topic} for source, topic in protected(context).items()
        ],
        "proxies": [proxy.to_json() for proxy in telling(context).values()],
        "drift": []
        if rates is None
        else [rates.to_json(), *drift.moved(ready.coding, ready.known[teach], ready.known[test])],
    }
    return Evaluation("lead_score", figures, not refusals, refusals)


def _with_leaks(
    context: Context, rows: Rows, ready: Prepared, contest: Contest, teach: Any, test: Any, report: Report
) -> float:
    """The AUC that would be claimed if leaks were left in."""
    if ready.whole is None:
        return report.auc.value
    coding, sample = ready.whole
    ensemble = training.fit_kind(sample.where(teach), coding, context, contest.chosen.kind)
    return evaluation.auc(ensemble.probabilities(sample.values[test], rows.fold[test]), rows.outcome[test])


def _packed(name: str, context: Context, trial: _Trial, ensemble: Ensemble, average: float) -> Model:
    rows, ready = trial.rows, trial.ready
    content = hashlib.sha256(np.ascontiguousarray(ready.sample.values).tobytes())
    content.update(rows.outcome.tobytes())
    meta: dict[str, Any] = {
        "goal": context.goal.words,
        "as_of": context.as_of.isoformat(),
        "kind": ensemble.kind,
        "kinds": [model.kind for model in ensemble.models],
        "average": average,
        **_weights(ensemble, ready),
        "features": list(ensemble.coding.names),
        "training": {
            "rows": len(rows),
            "positives": int(rows.outcome.sum()),
            "instants": [instant.isoformat() for instant in rows.snapshots.instants],
            "fingerprint": content.hexdigest(),
        },
        "libraries": {library: version(library) for library in _LIBRARIES},
        "evaluation": trial.evaluation.to_json(),
        "curves": trial.curves,
    }
    meta = json.loads(json.dumps(meta))
    files = ensemble.to_files()
    return Model(name, context.goal.name, version_of(name, context.as_of, meta, files), meta, files)


def _weights(ensemble: Ensemble, ready: Prepared) -> dict[str, Any]:
    """By feature: mean absolute contribution, and whether it may be named as a reason; by group: its shape."""
    every = max(1, len(ready.sample) // 20_000)
    values, fold = ready.sample.values[::every], ready.sample.fold[::every]
    parts = ensemble.contributions(values, fold)
    named = worthy(ensemble.coding, ensemble.margins(values, fold), parts, ready.sample.outcome[::every])
    return {
        "importance": np.abs(parts).mean(axis=0).tolist(),
        "named": named.tolist(),
        "effects": effects(ensemble.coding, ready.known[::every], parts, named),
    }


def _ensemble(model: Model) -> Ensemble:
    if "ensemble" not in model.parsed:
        read = Ensemble.from_files(model.meta["kinds"], model.meta["kind"], model.files)
        # another thread may have been quicker, and has it made ready
        model.parsed.setdefault("ensemble", read)
    found: Ensemble = model.parsed["ensemble"]
    return found


def _scored(table: pa.Table, ensemble: Ensemble, model: Model) -> pa.Table:
    known = ensemble.coding.known(table)
    values = ensemble.coding.filled(known)
    fold: Ints = table["fold"].cast(pa.int64()).to_numpy()
    probabilities = ensemble.probabilities(values, fold)
    scale = Scale(float(model.meta["average"]))
    return pa.table(
        [
            table["contact_id"].combine_chunks(),
            scale.scores(probabilities),
            probabilities,
            scale.grades(probabilities),
            reasons(
                ensemble.coding, known, ensemble.contributions(values, fold), np.array(model.meta["named"], bool)
            ),
            confidence(_known_share(ensemble, known, model), ensemble.spread(values)),
        ],
        schema=_SCHEMA,
    )


def _known_share(ensemble: Ensemble, known: Floats, model: Model) -> Floats:
    """Share of what the model goes by that is known; an activity that never happened is known not to have."""
    weights = np.asarray(model.meta["importance"], dtype=np.float64)
    computed = np.array([feature.property is None for feature in ensemble.coding.features], dtype=bool)
    if not len(weights) or weights.sum() <= 0:
        return np.zeros(len(known))
    return np.asarray((~np.isnan(known) | computed) @ weights / weights.sum(), np.float64)
