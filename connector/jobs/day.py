"""The caps of a run, over all that is rescored in one UTC day: many small runs must not pass where one big one
would be stopped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time

import pyarrow as pa

from connector.jobs import discipline
from connector.jobs.objections import REASON
from connector.jobs.run import Run
from connector.mirror.ledger import SETTLES
from connector.mirror.sql import registered
from scoring.engine import literal


@dataclass
class Grades:
    """How one lead score's grades moved since midnight, net: a contact that is back at its grade has not moved."""

    #: Contacts that held a grade at midnight: what shares are of.
    held: int
    #: Grade at midnight, by contact whose grade was written since; None: it had none.
    before: dict[str, str | None] = field(default_factory=dict)
    #: Contacts that held a grade then, and hold another one or none now.
    moved: set[str] = field(default_factory=set)

    def with_(self, changes: Iterable[tuple[str, str | None, str | None]]) -> "Grades":
        """After these changes: contact, grade before, grade after."""
        before, moved = dict(self.before), set(self.moved)
        for contact_id, was, now in changes:
            was = before.setdefault(contact_id, was)
            if was is not None and was != now:
                moved.add(contact_id)
            else:
                moved.discard(contact_id)
        return Grades(self.held, before, moved)

    @property
    def share(self) -> float:
        return len(self.moved) / max(1, self.held)


@dataclass
class Day:
    """What was rescored since midnight: contacts written, and grades by task key. What an objection took away does
    not count."""

    date: date
    contacts: set[str] = field(default_factory=set)
    grades: dict[str, Grades] = field(default_factory=dict)


def today(run: Run, as_of: datetime) -> Day:
    """The day so far, by the ledger; kept between calls within one run."""
    day: Day | None = run.kept.get("day")
    if day is None or day.date != as_of.date():
        day = run.kept["day"] = _counted(run, as_of.date())
    return day


def _counted(run: Run, on: date) -> Day:
    written = f"""from store.writes w join store.runs r using (run_id) join store.outcomes o on {SETTLES}
                 where r.command = ? and r.started_at >= ? and o.state = 'written'
                   and w.object = 'contact' and w.reason is distinct from {literal(REASON)}"""
    since = [run.command, datetime.combine(on, time())]
    day = Day(on, _ids(run, f"select distinct w.object_id {written}", since))
    for task in run.tasks():
        if task.predictor.name == "lead_score":
            grade = task.names(run.prefix)["leadlight_grade"]
            changes = run.mirror.connection.execute(
                f"select w.object_id, value_before, value_after {written} and property = {literal(grade)} "
                "order by r.started_at, w.run_id, w.position",
                since,
            ).fetchall()
            moved = Grades(0).with_(changes)
            day.grades[task.key] = Grades(_held(run, grade, moved.before), moved.before, moved.moved)
    return day


def _held(run: Run, grade: str, before: Mapping[str, str | None]) -> int:
    """How many held a grade at midnight: those of whom it was written since as they stood then, the others as they
    stand now."""
    written = pa.table({"contact_id": pa.array(list(before), pa.string())})
    with registered(run.mirror.connection, "_day_written", written):
        others = discipline.graded(run, grade, "contact_id not in (select contact_id from _day_written)")
    return others + sum(was is not None for was in before.values())


def exceeded(run: Run, day: Day) -> list[str]:
    """In words, which caps the temporary table `planned` would break; if none, it counts from now on."""
    contacts = day.contacts | _ids(run, "select distinct contact_id from planned")
    reasons, grades = [], {}
    cap = run.settings.max_changes
    if cap is not None and len(contacts) > cap:
        reasons.append(f"{len(contacts):,} contacts would change today, the cap (max_changes) is {cap:,}.")
    for task in run.tasks():
        if task.key not in day.grades:
            continue
        grade = literal(task.names(run.prefix)["leadlight_grade"])
        changes = run.mirror.connection.execute(
            f"select contact_id, value_before, value from planned where property = {grade}"
        ).fetchall()
        grades[task.key] = then = day.grades[task.key].with_(changes)
        if then.share > run.settings.max_grade_moves:
            reasons.append(
                f"{len(then.moved):,} of {then.held:,} contacts with a grade would move to "
                f"another one today ({then.share:.0%}; {task.key}), the cap (max_grade_moves) is "
                f"{run.settings.max_grade_moves:.0%}."
            )
    if not reasons:
        day.contacts, day.grades = contacts, {**day.grades, **grades}
    return reasons


def _ids(run: Run, query: str, parameters: list[object] | None = None) -> set[str]:
    return {row[0] for row in run.mirror.connection.execute(query, parameters).fetchall()}
