"""How long a holdout must run: from how many contacts one acts on, how many come in, and how many convert."""

from datetime import timedelta
from typing import Any

from connector.jobs.run import Run, Task
from connector.mirror.sql import first, registered
from connector.settings import Holdout
from scoring.engine import literal, quoted
from scoring.holdout import contacts_needed, detectable_lift, weeks_needed

POWER = 0.8
#: Days over which the inflow is counted.
_RECENT_DAYS = 28
#: Weeks for which the smallest lift that would be seen is told.
_HORIZONS = (4, 12, 26, 52)


def window_days(task: Task, holdout: Holdout) -> int:
    """Days after which a contact's outcome counts."""
    return holdout.window_days or task.goal.horizon_days


def plan(
    run: Run,
    task: Task,
    holdout: Holdout,
    *,
    lift: float | None = None,
    base_rate: float | None = None,
    weekly: float | None = None,
) -> dict[str, Any]:
    """The power calculation as JSON. What is not given is taken from the latest predictions: `base_rate` is the
    mean calibrated probability of the contacts one would act on, `weekly` how many of them were created in a week
    of the last four. `contacts` and `weeks` are null where they cannot be known, `why` says why."""
    days, wanted = window_days(task, holdout), lift or holdout.lift
    stock, recent, probability = _acted_on(run, task, holdout)
    if base_rate is None and probability is not None:
        base_rate = _within(probability, days, task.goal.horizon_days)
    weekly = recent * 7 / _RECENT_DAYS if weekly is None else weekly
    share = holdout.share or 0.1
    found: dict[str, Any] = {
        "lift": wanted,
        "share": share,
        "power": POWER,
        "window_days": days,
        "act_on": _acting_grades(task, holdout),
        "base_rate": None if base_rate is None else round(base_rate, 6),
        "stock": stock,
        "contacts_per_week": round(weekly, 2),
        "contacts": None,
        "in_holdout": None,
        "weeks": None,
        "detectable_lift": {},
        "why": None,
    }
    if base_rate is None:
        return {**found, "why": "There is no base rate yet: score first, or give --base-rate."}
    try:
        contacts = contacts_needed(base_rate, wanted, share, power=POWER)
    except ValueError:
        return {**found, "why": f"A base rate of {base_rate:.1%} cannot rise by {wanted:.0%}."}
    weeks = weeks_needed(contacts, stock, weekly, days)
    return {
        **found,
        "contacts": contacts,
        "in_holdout": round(contacts * share),
        "weeks": None if weeks is None else round(weeks, 1),
        "detectable_lift": _detectable(base_rate, share, stock, weekly, days),
        "why": None if weeks is not None else "No contacts come in: so many are never reached at this pace.",
    }


def _detectable(base_rate: float, share: float, stock: int, weekly: float, days: int) -> dict[str, float | None]:
    """Weeks since the start -> the smallest lift that would be seen by then; null: none."""
    found: dict[str, float | None] = {}
    for weeks in _HORIZONS:
        over = weeks - days / 7
        smallest = None if over < 0 else detectable_lift(base_rate, stock + weekly * over, share, power=POWER)
        found[str(weeks)] = None if smallest is None else round(smallest, 4)
    return found


def _within(probability: float, days: int, horizon: int) -> float:
    """The probability of a shorter or longer window than the goal's, at a constant hazard."""
    return float(1 - (1 - min(probability, 1 - 1e-9)) ** (days / horizon))


def _acting_grades(task: Task, holdout: Holdout) -> list[str] | None:
    return list(holdout.act_on) if "leadlight_grade" in task.predictor.properties else None


def _acted_on(run: Run, task: Task, holdout: Holdout) -> tuple[int, int, float | None]:
    """Contacts on whom one would act now, those of them created lately, and their mean probability."""
    computed = run.mirror.predictions()
    names = task.names(run.settings.prefix)
    own = [name for name in names.values() if name in computed.column_names]
    if not own:
        return 0, 0, None
    acting = f"coalesce({', '.join(map(quoted, own))}, null) is not null"
    if _acting_grades(task, holdout) is not None:
        grades = ", ".join(map(literal, holdout.act_on))
        acting = f"{quoted(names['leadlight_grade'])} in ({grades})"
    suffix = "" if task.goal.name == "default" else f"_{task.goal.name}"
    probability = f"{run.settings.prefix}_probability{suffix}"
    mean = f"avg(try_cast({quoted(probability)} as double))" if probability in computed.column_names else "null"
    since = run.as_of - timedelta(days=_RECENT_DAYS)
    with registered(run.mirror.connection, "computed_now", computed):
        row = first(
            run.mirror.connection,
            f"""select count(*), count(case when c.created_at >= ? and c.created_at < ? then 1 end), {mean}
                from computed_now join store.contacts c using (contact_id)
                where {acting} and c.deleted_at is null and c.merged_into is null""",
            [since, run.as_of],
        )
    return (0, 0, None) if row is None else (int(row[0]), int(row[1]), row[2])
