"""The shadow report: how far the shadow scores agree with the score in use, and which of them was right."""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from connector.errors import BadSetting
from connector.jobs.run import Run, Task
from connector.mirror.sql import first
from scoring.agreement import agreement
from scoring.engine import literal
from scoring.goals import goal_text, reached
from scoring.holdout import Arm, fixed_quantile, wilson
from scoring.learning.evaluation import measure
from scoring.snapshots import population

#: Outcomes, and contacts without one, before ranking them is worth an interval.
_FEWEST = 10


def shadow_report(run: Run) -> dict[str, Any]:
    """JSON of `leadlight measure --shadow`. Raises BadSetting when nothing was ever scored in shadow mode."""
    started = first(run.mirror.connection, "select min(since) from store.shadow")
    if started is None or started[0] is None:
        raise BadSetting("Nothing was written in shadow mode yet: set shadow = true, then run `leadlight sync`.")
    weeks = run.settings.shadow_weeks
    until = None if weeks is None else started[0] + timedelta(weeks=weeks)
    goals = {
        task.key: _of_goal(run, task) for task in run.tasks() if "leadlight_score" in task.predictor.properties
    }
    return {
        "run_id": run.id,
        "since": f"{started[0]:%Y-%m-%dT%H:%M:%SZ}",
        "until": None if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}",
        "over": None if until is None else run.as_of >= until,
        "on": run.settings.shadowed,
        "compared_with": run.settings.compare_to,
        "predictions": goals,
    }


def _of_goal(run: Run, task: Task) -> dict[str, Any]:
    rows = _rows(run, task)
    return {
        "goal": task.goal.words,
        "contacts": rows.num_rows,
        "agreement": agreement(_floats(rows, "probability"), _floats(rows, "present")),
        "outcomes": _by_grade(rows),
        "ranking": _ranking(run, rows),
    }


def _rows(run: Run, task: Task) -> pa.Table:
    """Each live contact's first shadow score, the score in use at that time, and whether it reached the goal
    since (within the goal's horizon)."""
    context = run.context(task.goal)
    population(context, "measurable")
    if task.goal.in_time:
        outcome = f"""
            select s.contact_id from store.shadow s join ({reached(context.engine, task.goal)}) r
                on r.contact_id = s.contact_id
            where s.goal = {literal(task.goal.name)} and r.happened_at > s.since
                and r.happened_at <= timestamp '{run.as_of:%Y-%m-%d %H:%M:%S}'
                and secs_between(s.since, r.happened_at) <= {task.goal.horizon_days * 86400}
        """
    else:
        outcome = (
            f"select c.contact_id from contacts c where {goal_text(context.engine, task.goal)} "
            f"= {literal(str(task.goal.equals))}"
        )
    return context.engine.fetch(f"""
        select s.contact_id, s.probability, s.grade, s.present, o.contact_id is not null as outcome
        from store.shadow s join measurable m using (contact_id)
             left join (select distinct contact_id from ({outcome})) o using (contact_id)
        where s.goal = {literal(task.goal.name)} order by s.contact_id
    """)


def _floats(rows: pa.Table, name: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.asarray(rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _by_grade(rows: pa.Table) -> dict[str, dict[str, Any]]:
    """Contacts, outcomes and their rate with its 95% interval, by first grade in the shadow."""
    grades = np.asarray(rows["grade"].to_pylist(), object)
    reached_goal = np.asarray(rows["outcome"].to_pylist(), bool)
    found = {}
    for grade in sorted({str(grade) for grade in grades if grade}):
        chosen = grades == grade
        arm = Arm(int(chosen.sum()), int(reached_goal[chosen].sum()))
        low, high = wilson(arm, fixed_quantile())
        rate = {"value": round(arm.rate, 4), "low": round(low, 4), "high": round(high, 4)}
        found[grade] = {"contacts": arm.contacts, "outcomes": arm.outcomes, "rate": rate}
    return found


def _ranking(run: Run, rows: pa.Table) -> dict[str, Any] | None:
    """AUC of the shadow score, of the score in use on the same contacts, and the paired difference; null while
    there are too few outcomes."""
    probability, present = _floats(rows, "probability"), _floats(rows, "present")
    outcome = np.asarray(rows["outcome"].to_pylist(), np.float64)
    both = np.isfinite(present)
    if both.any():
        probability, present, outcome = probability[both], present[both], outcome[both]
    if min(outcome.sum(), len(outcome) - outcome.sum()) < _FEWEST:
        return None
    others = {"present": present} if both.any() else {}
    figures = measure(probability, outcome, np.arange(len(outcome)), others, run.settings.seed)
    return {
        "contacts": len(outcome),
        "auc": figures.auc.to_json(),
        "present_auc": round(figures.baselines["present"][0], 4) if others else None,
        "difference": figures.gains["present"].to_json() if others else None,
    }
