"""Train: fit every predictor that has input, measure it on data it has not seen, keep the model as text."""

from dataclasses import dataclass, field, replace
from typing import Any

from connector.jobs.eligibility import training_choices
from connector.jobs.run import Run, Task, goal_json
from scoring import model_store
from scoring.predictors.base import Model


@dataclass
class Trained:
    """Models by task key; what was not run, with the reasons in words."""

    models: dict[str, Model] = field(default_factory=dict)
    gates: dict[str, dict[str, Any]] = field(default_factory=dict)


def train(run: Run, *, only_missing: bool = False) -> Trained:
    """Fit the predictors; with `only_missing`, those without a model for the goal and the settings as they now
    stand: a model must not outlive an objection's setting, or a property that became protected."""
    trained = Trained()
    for task in run.tasks():
        previous = standing_model(run, task)
        fits = previous is not None and previous.meta.get("choices") == training_choices(run.options())
        model = previous if only_missing and fits else _fit(run, task, previous, trained)
        if model is not None:
            trained.models[task.key] = model
            trained.gates[task.key] = gate_json(model)
    return trained


def _fit(run: Run, task: Task, previous: Model | None, trained: Trained) -> Model | None:
    run.progress(f"Training {task.predictor.name.replace('_', ' ')}", 0, None)
    context = run.context(task.goal)
    lacks = task.predictor.lacks(context)
    if lacks:
        trained.gates[task.key] = {"passed": None, "ran": False, "reasons": lacks}
        return None
    model = task.predictor.train(context, previous)
    choices = training_choices(context.options)
    meta = {**model.meta, "goal": goal_json(task.goal), "choices": choices}
    version = model_store.version_of(model.predictor, context.as_of, meta, model.files)
    model = replace(model, meta=meta, version=version)
    model_store.save(run.models, model)
    return model


def standing_model(run: Run, task: Task) -> Model | None:
    """The model in use, unless the goal has changed its meaning since it was fitted."""
    model = model_store.load(run.models, task.goal.name, task.predictor.name)
    if model is None or model.meta.get("goal") != goal_json(task.goal):
        return None
    return model


def gate_json(model: Model) -> dict[str, Any]:
    """The verdict stored with a model, as `sync` prints it."""
    evaluation = model.meta["evaluation"]
    return {"passed": evaluation["passed"], "ran": True, "reasons": evaluation["reasons"]}
