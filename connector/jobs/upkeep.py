"""Upkeep: whether a model is still good, when to train again, and which version comes into use."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from connector.jobs.run import Run, Task
from connector.mirror.sql import first
from scoring.predictors.base import Model
from scoring.versions import model_history, model_store, upkeep
from scoring.versions.reference import Population, weighty

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """The model to use, why it is time to train again (None: it is not), and what was seen, for JSON."""

    model: Model
    due: str | None
    seen: dict[str, Any]


def look(run: Run, task: Task, model: Model) -> Look:
    """Whether a model is still good.

    Once per UTC day contacts are compared with those at training, and promises with what came of them: a level
    that is off is set right, in a version of its own, unless it is time to train again anyway. From data too old
    to publish from nothing is concluded.
    """
    seen: dict[str, Any] = {}
    moved: tuple[str, ...] = ()
    if (reason := _stale(run)) is not None:
        return Look(model, None, {"stale": reason})
    found: upkeep.Level | None = None
    if task.predictor.name == "lead_score" and _new_day(run, model):
        run.progress("Comparing contacts with those at training", 0, None)
        context = run.context(task.goal)
        seen["moved"] = Population.now(context, model).moved(model.meta["reference"])
        moved = tuple(weighty(seen["moved"]))
        found = upkeep.matured(context, model)
    due = upkeep.due(_newest(run, task, model), run.as_of, run.settings.retrain_days, moved)
    if due is not None:
        seen["trained_because"] = due
    if found is not None:
        seen["matured"] = {**found.to_json(), "set_right": found.off and due is None}
        model = _set_right(run, task, model, found) if seen["matured"]["set_right"] else model
    return Look(model, due, seen)


def _set_right(run: Run, task: Task, model: Model, found: upkeep.Level) -> Model:
    right = upkeep.recalibrated(model, found, run.as_of)
    model_store.save(run.models, right, in_use=False)
    _crown(run, task, right, "recalibrated")
    return right


def _new_day(run: Run, model: Model) -> bool:
    """Whether everyone is to be scored as of another day than before, and later than the model was made."""
    scored = run.mirror.scored_day()
    another = scored is None or scored[0] != run.as_of.date()
    return another and "reference" in model.meta and model.meta["as_of"] < run.as_of.isoformat()


def _newest(run: Run, task: Task, model: Model) -> dict[str, Any]:
    """The meta of the version trained last, in use or not."""
    metas: list[dict[str, Any]] = [dict(model.meta)]
    for version in model_store.versions(run.models, task.goal.name, task.predictor.name):
        meta = model_store.read_meta(run.models, task.goal.name, task.predictor.name, version)
        if meta.get("goal") == model.meta.get("goal"):
            metas.append(meta)
    return max(metas, key=lambda meta: str(meta.get("as_of") or meta.get("until") or ""))


def keep(run: Run, task: Task, model: Model, previous: Model | None) -> Model:
    """Store a model that was just fitted; returns the one in use: it, or the former where it is clearly worse."""
    if previous is not None and previous.version == model.version:
        return previous
    choice: dict[str, Any] = {"champion": None, "replaced": True, "why": "The first model for this goal."}
    context = run.context(task.goal)
    meta = {"as_of": run.as_of.isoformat(), **model.meta}
    if task.predictor.name == "lead_score":
        population = Population.now(context, model)
        meta |= {"reference": population.reference(), "drivers": population.drivers()}
        if previous is not None and previous.meta.get("choices") != model.meta.get("choices"):
            # in use it would outlive what the settings say of whom to learn from, and rescoring would refuse it
            why = "In use: the former model was trained under other settings."
            choice = {"champion": previous.version, "replaced": True, "why": why}
        elif previous is not None:
            run.progress("Comparing with the model in use", 0, None)
            choice = upkeep.choose(context, previous, model)
    elif previous is not None:
        choice = {"champion": previous.version, "replaced": True, "why": "In use: the newest."}
    model = replace(model, meta={**meta, "choice": choice})
    model_store.save(run.models, model, in_use=False)
    if previous is not None and not choice["replaced"]:
        log.info("%s is kept aside, %s stays in use", model.version, previous.version)
        return previous
    _crown(run, task, model, "trained")
    return model


def _crown(run: Run, task: Task, model: Model, why: model_history.Why) -> None:
    at = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    model_history.crown(run.models, task.goal.name, task.predictor.name, model.version, at, why)


def with_staleness(run: Run, gate: dict[str, Any]) -> dict[str, Any]:
    """A verdict, refused where an API was last read too long before the instant."""
    reason = _stale(run)
    return gate if reason is None else {**gate, "passed": False, "reasons": [*gate["reasons"], reason]}


def _stale(run: Run) -> str | None:
    if run.platform.name == "files":
        return None
    row = first(run.mirror.connection, "select max(committed_at) from store.cursors")
    return upkeep.stale(None if row is None else row[0], run.as_of, run.settings.gates)
