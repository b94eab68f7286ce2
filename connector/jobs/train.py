"""Train: fit every predictor that has input, measure it on data it has not seen, keep the model as text."""

import logging
from dataclasses import dataclass, field, replace
from typing import Any

from connector.jobs import upkeep
from connector.jobs.eligibility import training_choices
from connector.jobs.run import Run, Task, goal_json
from connector.platforms.files.mapping import read_mapping
from scoring.errors import ModelMismatch
from scoring.predictors.base import Model
from scoring.versions import model_store

log = logging.getLogger(__name__)


@dataclass
class Trained:
    """Models by task key; what was not run, with the reasons in words."""

    models: dict[str, Model] = field(default_factory=dict)
    gates: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: By task key, what was seen of a model's state once a day, and why it was trained again.
    upkeep: dict[str, dict[str, Any]] = field(default_factory=dict)


def train(run: Run, *, only_missing: bool = False) -> Trained:
    """Fit the predictors; with `only_missing`, those without a model for the goal and the settings as they now
    stand (a model must not outlive an objection's setting, or a property that was excluded), and those whose time
    has come (`upkeep.look`)."""
    trained = Trained()
    for task in run.tasks():
        model = previous = standing_model(run, task)
        fits = previous is not None and previous.meta.get("choices") == _choices(run)
        look = upkeep.look(run, task, previous) if only_missing and previous is not None and fits else None
        if look is not None:
            model = previous = look.model
            trained.upkeep.update({task.key: look.seen} if look.seen else {})
        if look is None or look.due is not None:
            run.progress(f"Training {task.predictor.name.replace('_', ' ')}", 0, None)
            model = _fit(run, task, previous, trained)
        if model is not None:
            trained.models[task.key] = model
            trained.gates[task.key] = upkeep.with_staleness(run, gate_json(model))
    return trained


def _fit(run: Run, task: Task, previous: Model | None, trained: Trained) -> Model | None:
    run.progress(f"Training {task.predictor.name.replace('_', ' ')}", 0, None)
    context = run.context(task.goal)
    lacks = task.predictor.lacks(context)
    if lacks:
        trained.gates[task.key] = {"passed": None, "ran": False, "reasons": lacks}
        return None
    model = task.predictor.train(context, previous)
    meta = {**model.meta, "goal": goal_json(task.goal), "choices": _choices(run)}
    version = model_store.version_of(model.predictor, context.as_of, meta, model.files)
    return upkeep.keep(run, task, replace(model, meta=meta, version=version), previous)


def _choices(run: Run) -> dict[str, Any]:
    """What of the settings and the mapping shapes a model."""
    options = run.options()
    mapping = None if run.settings.mapping is None else read_mapping(run.settings.mapping)
    dropped = (
        []
        if mapping is None
        else [f"{source.label} {name}" for source in mapping.sources for name in source.spec.drop]
    )
    return {
        **training_choices(options),
        "seed": options.seed,
        "order_by": options.order_by,
        "timezone": options.timezone,
        "compare_to": options.compare_to,
        "gates": dict(sorted(options.gates.items())),
        "drop": sorted(dropped),
    }


def standing_model(run: Run, task: Task) -> Model | None:
    """The model in use, unless the goal has changed its meaning since it was fitted, or it cannot be used."""
    try:
        model = model_store.load(run.models, task.goal.name, task.predictor.name)
    except ModelMismatch as problem:
        log.warning("%s", problem)
        return None
    if model is None or model.meta.get("goal") != goal_json(task.goal):
        return None
    return model


def standing_models(run: Run) -> dict[str, Model]:
    """The models in use, by task key."""
    return {task.key: model for task in run.tasks() if (model := standing_model(run, task)) is not None}


def standing(run: Run) -> Trained:
    """The models in use that fit the settings as they stand, with their gates' verdicts; nothing is trained."""
    trained, choices = Trained(), _choices(run)
    for task in run.tasks():
        model = _remembered(run, task)
        if model is not None and model.meta.get("choices") == choices:
            trained.models[task.key] = model
            trained.gates[task.key] = upkeep.with_staleness(run, gate_json(model))
    return trained


def _remembered(run: Run, task: Task) -> Model | None:
    """`standing_model`, read again only when another version is in use."""
    # without [goal] in the settings the data decide what the goal is
    version = (model_store.champion(run.models, task.goal.name, task.predictor.name), goal_json(task.goal))
    known: dict[str, tuple[Any, Model | None]] = run.kept.setdefault("models", {})
    if task.key not in known or known[task.key][0] != version:
        known[task.key] = (version, standing_model(run, task))
    return known[task.key][1]


def gate_json(model: Model) -> dict[str, Any]:
    """The verdict stored with a model, as `sync` prints it."""
    evaluation = model.meta["evaluation"]
    return {"passed": evaluation["passed"], "ran": True, "reasons": evaluation["reasons"]}
