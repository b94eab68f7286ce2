"""Models: which versions there are, what they are worth, which one is in use, and how to go back."""

from datetime import UTC, datetime
from typing import Any

from connector.errors import BadSetting
from connector.jobs.run import Run, Task, goal_json
from scoring.errors import ModelMismatch
from scoring.predictors.base import Model
from scoring.versions import model_history, model_store

#: Figures that tell versions of a predictor apart at a glance.
_FIGURES = {
    "lead_score": (
        *("split", "rows", "positives", "model", "auc", "lift_top_decile", "brier", "calibration_error"),
        *("calibration_limit",),
    ),
    "send_time": ("contacts", "events", "hit_top1", "hit_top3", "log_loss_bits", "personal_share"),
    "segments": ("k", "stability", "separation"),
}


def listed(run: Run) -> dict[str, Any]:
    """JSON of `leadlight models list`: every stored version, newest first, by goal and predictor."""
    rows = []
    for goal in sorted(path.name for path in run.models.glob("*") if path.is_dir()):
        for predictor in sorted(path.name for path in (run.models / goal).glob("*") if path.is_dir()):
            rows += _of(run, goal, predictor)
    return {"models": rows}


def _of(run: Run, goal: str, predictor: str) -> list[dict[str, Any]]:
    present = model_store.champion(run.models, goal, predictor)
    first_used = {reign.version: reign.since for reign in model_history.reigns(run.models, goal, predictor)}
    rows = []
    for version in model_store.versions(run.models, goal, predictor):
        meta = model_store.read_meta(run.models, goal, predictor, version)
        evaluation = meta.get("evaluation", {})
        rows.append(
            {
                "goal": goal,
                "predictor": predictor,
                "version": version,
                "as_of": meta.get("as_of") or meta.get("until"),
                "in_use": version == present,
                "since": model_history.since(run.models, goal, predictor) if version == present else None,
                "last_used": first_used.get(version),
                "passed": evaluation.get("passed"),
                "reasons": evaluation.get("reasons", []),
                "figures": {key: evaluation[key] for key in _FIGURES.get(predictor, ()) if key in evaluation},
                "choice": meta.get("choice"),
                "card": str(run.models / goal / predictor / version / model_store.CARD),
            }
        )
    return sorted(rows, key=lambda row: (str(row["as_of"]), str(row["last_used"])), reverse=True)


def promote(run: Run, version: str, goal: str = "default") -> dict[str, Any]:
    """Put a stored version into use. Raises BadSetting when there is none, or it was made for another goal."""
    for task in run.tasks():
        if task.goal.name == goal and version in model_store.versions(run.models, goal, task.predictor.name):
            return _crowned(run, task, version, "promoted")
    raise BadSetting(f"There is no model version {version!r} for goal {goal!r}: see `leadlight models list`.")


def rollback(run: Run, predictor: str = "lead_score", goal: str = "default") -> dict[str, Any]:
    """Go back to the version that was in use before. Raises BadSetting when there is none."""
    for task in run.tasks():
        if (task.predictor.name, task.goal.name) == (predictor, goal):
            version = model_history.previous(run.models, goal, predictor)
            if version is None:
                raise BadSetting(f"No earlier {predictor} model was in use for goal {goal!r}.")
            return _crowned(run, task, version, "rolled back")
    raise BadSetting(f"--predictor {predictor} --goal {goal}: there is no such prediction.")


def _crowned(run: Run, task: Task, version: str, why: model_history.Why) -> dict[str, Any]:
    goal, predictor = task.goal.name, task.predictor.name
    before = model_store.champion(run.models, goal, predictor)
    _usable(run, task, version)
    at = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    model_history.crown(run.models, goal, predictor, version, at, why)
    return {
        "goal": goal,
        "predictor": predictor,
        "version": version,
        "before": before,
        "since": model_history.since(run.models, goal, predictor),
    }


def _usable(run: Run, task: Task, version: str) -> Model:
    try:
        model = model_store.load(run.models, task.goal.name, task.predictor.name, version)
    except ModelMismatch as problem:
        raise BadSetting(f"{version} cannot be used: {problem}") from None
    if model is None or model.meta.get("goal") != goal_json(task.goal):
        raise BadSetting(f"{version} was made for another goal than {task.goal.words}: train again.")
    return model
