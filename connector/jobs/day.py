"""The caps of a run, over all that is rescored in one UTC day: many small runs must not pass where one big one
would be stopped."""

from dataclasses import dataclass, field
from datetime import date, datetime, time

from connector.jobs import discipline
from connector.jobs.run import Run
from scoring.engine import literal


@dataclass
class Day:
    """What was rescored since midnight: contacts written, and by task key those whose grade moved."""

    date: date
    contacts: set[str] = field(default_factory=set)
    moved: dict[str, set[str]] = field(default_factory=dict)
    #: Contacts that hold a grade, by task key, as the day was looked at first.
    graded: dict[str, int] = field(default_factory=dict)


def today(run: Run, as_of: datetime) -> Day:
    """The day so far, by the ledger; kept between calls within one run."""
    day: Day | None = run.kept.get("day")
    if day is None or day.date != as_of.date():
        day = run.kept["day"] = _counted(run, as_of.date())
    return day


def _counted(run: Run, on: date) -> Day:
    written = """from store.writes w join store.runs r using (run_id) join store.outcomes o
                 on o.run_id = w.run_id and o.contact_id = w.contact_id
                 where r.command = ? and r.started_at >= ? and o.state = 'written'"""
    since = [run.command, datetime.combine(on, time())]
    day = Day(on, _ids(run, f"select distinct w.contact_id {written}", since))
    for task in run.tasks():
        if task.predictor.name == "lead_score":
            grade = task.names(run.prefix)["leadlight_grade"]
            moved = f"select w.contact_id {written} and value_before is not null and property = {literal(grade)}"
            day.moved[task.key] = _ids(run, moved, since)
            day.graded[task.key] = discipline.graded(run, grade)
    return day


def exceeded(run: Run, day: Day) -> list[str]:
    """In words, which caps the temporary table `planned` would break; if none, it counts from now on."""
    contacts = day.contacts | _ids(run, "select distinct contact_id from planned")
    reasons, moves = [], {}
    cap = run.settings.max_changes
    if cap is not None and len(contacts) > cap:
        reasons.append(f"{len(contacts):,} contacts would change today, the cap (max_changes) is {cap:,}.")
    for task in run.tasks():
        if task.key not in day.moved:
            continue
        grade = literal(task.names(run.prefix)["leadlight_grade"])
        now = f"select contact_id from planned where property = {grade} and value_before is not null"
        moves[task.key] = day.moved[task.key] | _ids(run, now)
        share = len(moves[task.key]) / max(1, day.graded[task.key])
        if share > run.settings.max_grade_moves:
            reasons.append(
                f"{len(moves[task.key]):,} of {day.graded[task.key]:,} contacts with a grade would move to "
                f"another one today ({share:.0%}; {task.key}), the cap (max_grade_moves) is "
                f"{run.settings.max_grade_moves:.0%}."
            )
    if not reasons:
        day.contacts, day.moved = contacts, {**day.moved, **moves}
    return reasons


def _ids(run: Run, query: str, parameters: list[object] | None = None) -> set[str]:
    return {row[0] for row in run.mirror.connection.execute(query, parameters).fetchall()}
