"""Fairness: how the lead score treats the groups that protected properties make."""

from typing import Any

from connector.jobs.run import Run
from scoring.fairness import audit
from scoring.predictors.lead_score import LeadScore


def fairness(run: Run) -> dict[str, Any]:
    """By goal's task key: `goal, properties[…]` (`scoring.fairness.audit`), or why there is nothing to look at.

    The model is measured afresh on rows that it has not seen; nothing is written, and nothing of it is kept.
    """
    found: dict[str, Any] = {}
    for task in run.tasks():
        if not isinstance(task.predictor, LeadScore):
            continue
        run.progress("Measuring lead score by group", 0, None)
        context = run.context(task.goal)
        lacks = task.predictor.lacks(context)
        properties = [] if lacks else audit(context, task.predictor.unseen(context))
        found[task.key] = {"goal": task.goal.words, "lacks": lacks, "properties": properties}
    return found
