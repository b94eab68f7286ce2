"""Evaluate: what the predictors are worth on data they have not seen, and what the gates say."""

from typing import Any

from connector.jobs.run import Run
from connector.jobs.upkeep import with_staleness


def evaluate(run: Run) -> dict[str, dict[str, Any]]:
    """The fixed JSON of `leadlight evaluate`, by predictor (further goals as `<predictor>:<goal>`)."""
    results: dict[str, dict[str, Any]] = {}
    for task in run.tasks():
        run.progress(f"Measuring {task.predictor.name.replace('_', ' ')}", 0, None)
        context = run.context(task.goal)
        lacks = task.predictor.lacks(context)
        if lacks:
            results[task.key] = {"passed": None, "ran": False, "reasons": lacks}
            continue
        measured = task.predictor.evaluate(context).to_json()
        results[task.key] = with_staleness(run, {"ran": True, "goal": task.goal.words, **measured})
    return results


def refused(results: dict[str, dict[str, Any]]) -> bool:
    """Whether every predictor that ran was refused."""
    verdicts = [result["passed"] for result in results.values() if result["passed"] is not None]
    return bool(verdicts) and not any(verdicts)
