"""Measure: what acting on the predictions was worth, by the contacts that were held out at random.

Compared are contacts on whom one would have acted, each over the same number of days from the moment on which
its value first called for it, whichever arm it is in. Contacts whose days are not over yet are waited for.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.jobs.holdout_plan import plan, window_days
from connector.jobs.run import Run, Task
from connector.mirror.sql import first
from connector.settings import Holdout
from scoring.engine import literal
from scoring.goals import goal_text, reached
from scoring.holdout import (
    FEWEST_OUTCOMES,
    HOLDOUT,
    REST,
    Arm,
    Estimate,
    always_valid_quantile,
    difference,
    fixed_quantile,
    lift,
    sample_ratio,
)
from scoring.snapshots import population

#: For the always-valid interval of an experiment whose plan knew no number.
_PLANNED_ANYHOW = 10_000


def measure(
    run: Run, *, wanted_lift: float | None = None, base_rate: float | None = None, weekly: float | None = None
) -> dict[str, Any]:
    """JSON of `leadlight measure`: for each prediction the power calculation (with the given figures in place of
    those from the data), and the lift where an experiment runs or ran. Writes nothing."""
    holdout = run.settings.holdout or Holdout()
    on = bool(run.settings.holdout and holdout.share) and not run.settings.shadowed
    predictions = {}
    for task in run.tasks():
        if task.predictor.name in holdout.predictors:
            power = plan(run, task, holdout, lift=wanted_lift, base_rate=base_rate, weekly=weekly)
            found = _experiment(run, task, holdout, on=on)
            result = None if found is None else _result(run, found)
            predictions[task.key] = {"goal": task.goal.words, "plan": power, "experiment": result}
    return {"run_id": run.id, "as_of": f"{run.as_of:%Y-%m-%dT%H:%M:%SZ}", "on": on, "predictions": predictions}


@dataclass(frozen=True)
class _Experiment:
    task: Task
    holdout: Holdout
    #: SQL for its rows in `store.holdout h`.
    where: str
    since: datetime
    ended: datetime | None
    #: Contacts after which one look is fixed.
    planned: int | None


def _experiment(run: Run, task: Task, holdout: Holdout, *, on: bool) -> _Experiment | None:
    """The experiment that runs; where none does, the last one."""
    of_task = f"h.goal = {literal(task.goal.name)} and h.predictor = {literal(task.predictor.name)}"
    last = first(
        run.mirror.connection,
        f"""select salt, ended_at, min(assigned_at) from store.holdout h
            where {of_task} {f"and salt = {literal(holdout.salt)} and ended_at is null" if on else ""}
            group by salt, ended_at order by ended_at desc nulls first, min(assigned_at) desc limit 1""",
    )
    if last is None:
        return None
    salt, ended, since = last
    ending = "is null" if ended is None else f"= {_timestamp(ended)}"
    planned = first(
        run.mirror.connection,
        "select contacts from store.holdout_plans where goal = ? and predictor = ? and salt = ? "
        "and planned_at <= ? order by planned_at desc limit 1",
        [task.goal.name, task.predictor.name, salt, since],
    )
    where = f"{of_task} and h.salt = {literal(salt)} and h.ended_at {ending}"
    return _Experiment(task, holdout, where, since, ended, None if planned is None else planned[0])


def _result(run: Run, experiment: _Experiment) -> dict[str, Any]:
    _compare(run, experiment)
    assigned = _by_arm(run, f"select arm, count(*) from store.holdout h where {experiment.where} group by arm")
    acting = _by_arm(run, "select arm, count(*) from compared group by arm")
    waiting = _by_arm(run, "select arm, count(*) from compared where not over group by arm")
    rest, holdout = _arms(run, "over")
    expected = float((first(run.mirror.connection, "select sum(share) from compared") or (None,))[0] or 0)
    ratio = sample_ratio(acting[HOLDOUT], sum(acting.values()), expected)
    quantile = always_valid_quantile(rest.contacts + holdout.contacts, experiment.planned or _PLANNED_ANYHOW)
    worth = rest.outcomes + holdout.outcomes >= FEWEST_OUTCOMES
    gap, gain = difference(rest, holdout, quantile), lift(rest, holdout, quantile)
    look = _planned_look(run, experiment, rest.contacts + holdout.contacts)
    return {
        "since": f"{experiment.since:%Y-%m-%dT%H:%M:%SZ}",
        "ended": None if experiment.ended is None else f"{experiment.ended:%Y-%m-%dT%H:%M:%SZ}",
        "window_days": window_days(experiment.task, experiment.holdout),
        "assigned": assigned,
        "acted_on": acting,
        "waiting": waiting,
        REST: _arm_json(rest),
        HOLDOUT: _arm_json(holdout),
        "interval": "always_valid",
        "lift": gain.to_json(),
        "difference": gap.to_json(),
        "planned_look": look,
        "sample_ratio": None if ratio is None else ratio.to_json(),
        "may_look": {"any_time": worth, "planned": look["reached"]},
        "verdict": _verdict(gap, worth=worth, ratio_ok=ratio is None or ratio.ok),
    }


def _compare(run: Run, experiment: _Experiment) -> None:
    """Make the temporary table `compared`: contact_id, arm, share, due (when its value first called for acting),
    over (its days have passed), outcome (it reached the goal in them)."""
    task, until = experiment.task, min(run.as_of, experiment.ended or run.as_of)
    context = run.context(task.goal)
    population(context, "measurable")
    seconds = window_days(task, experiment.holdout) * 86400
    grades = ", ".join(map(literal, experiment.holdout.act_on))
    graded = f"and g.grade in ({grades})" if "leadlight_grade" in task.predictor.properties else ""
    run.mirror.connection.execute(f"""
        create or replace temp table due as
        select h.contact_id, h.arm, h.share, min(g.since) as due
        from store.holdout h join store.holdout_grades g using (contact_id, goal, predictor, salt)
             join measurable m using (contact_id)
        where {experiment.where} {graded} and g.since >= h.assigned_at and g.since <= {_timestamp(until)}
        group by h.contact_id, h.arm, h.share
    """)
    if task.goal.in_time:
        outcomes = f"""
            select d.contact_id from due d join ({reached(context.engine, task.goal)}) r
                on r.contact_id = d.contact_id
            where r.happened_at > d.due and r.happened_at <= {_timestamp(until)}
                and secs_between(d.due, r.happened_at) <= {seconds}
        """
    else:
        # a column without dates: open when the contact was drawn, so what it says now came since
        outcomes = (
            f"select c.contact_id from contacts c where {goal_text(context.engine, task.goal)} "
            f"= {literal(str(task.goal.equals))}"
        )
    run.mirror.connection.execute(f"""
        create or replace temp table compared as
        select d.*, secs_between(d.due, {_timestamp(until)}) >= {seconds} as over,
               r.contact_id is not null as outcome
        from due d left join (select distinct contact_id from ({outcomes})) r using (contact_id)
    """)


def _planned_look(run: Run, experiment: _Experiment, over: int) -> dict[str, Any]:
    """The narrower interval of one look, which is at the contacts that made the planned number full and at no
    later ones: however often it is asked for, it is the same look."""
    planned = experiment.planned
    look: dict[str, Any] = {"contacts": planned, "reached": planned is not None and over >= planned}
    if not look["reached"]:
        return {**look, "lift": None, "difference": None}
    at = f"(select due from compared where over order by due limit 1 offset {int(planned or 1) - 1})"
    rest, holdout = _arms(run, f"over and due <= {at}")
    return {
        **look,
        "lift": lift(rest, holdout, fixed_quantile()).to_json(),
        "difference": difference(rest, holdout, fixed_quantile()).to_json(),
    }


def _arms(run: Run, which: str) -> tuple[Arm, Arm]:
    """(rest, holdout)"""
    contacts = _by_arm(run, f"select arm, count(*) from compared where {which} group by arm")
    outcomes = _by_arm(run, f"select arm, count(*) from compared where {which} and outcome group by arm")
    return Arm(contacts[REST], outcomes[REST]), Arm(contacts[HOLDOUT], outcomes[HOLDOUT])


def _by_arm(run: Run, query: str) -> dict[str, int]:
    return {HOLDOUT: 0, REST: 0, **dict(run.mirror.connection.execute(query).fetchall())}


def _arm_json(arm: Arm) -> dict[str, Any]:
    return {
        "contacts": arm.contacts,
        "outcomes": arm.outcomes,
        "rate": round(arm.rate, 6) if arm.contacts else None,
    }


def _verdict(gap: Estimate, *, worth: bool, ratio_ok: bool) -> str:
    if not ratio_ok:
        return (
            "The arms are not of the sizes they were drawn at, so the lift cannot be trusted. Look for contacts "
            "that are deleted, merged or overwritten in one arm only."
        )
    if not worth:
        return f"Too early: fewer than {FEWEST_OUTCOMES} outcomes so far."
    if gap.low > 0:
        return "Acting on the prediction brought more outcomes than leaving contacts alone."
    if gap.high < 0:
        return "Acting on the prediction brought fewer outcomes than leaving contacts alone."
    return "No difference is shown yet: the interval contains zero."


def _timestamp(at: datetime) -> str:
    return f"timestamp '{at:%Y-%m-%d %H:%M:%S.%f}'"
