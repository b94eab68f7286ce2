"""Withhold: what a contact in the holdout does not get, and what goes to the shadow set instead.

Both happen to the table `desired` of a push, between what was computed and what is compared with the platform.
What would have stood on a record stays in the mirror's predictions, and for the first time that it would have,
in `store.holdout`, `store.holdout_grades` and `store.shadow`: by these `leadlight measure` compares.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from connector.jobs.holdout_plan import plan
from connector.jobs.run import Run, Task
from connector.jobs.score import Scored
from connector.mirror.sql import registered, transaction
from connector.settings import Holdout
from scoring.engine import DuckEngine, literal, quoted
from scoring.holdout import HOLDOUT, arm_sql


def withhold(run: Run, scored: Scored) -> None:
    """Change the temporary table `desired` (contact_id, property, value) by holdout or shadow mode. Writes
    nothing that lasts: `keep_arms` does."""
    if run.settings.shadowed:
        _to_shadow(run, scored)
        return
    connection = run.mirror.connection
    with registered(connection, "computed_now", scored.computed):
        connection.execute(f"create or replace temp table predicted as {_with_any_value(scored)}")
    connection.execute(_NO_ARMS)
    for draw in draws(run):
        connection.execute(draw.arms_sql(run))
    for draw in draws(run):
        names = ", ".join(map(literal, draw.names))
        connection.execute(
            f"update desired set value = null where property in ({names}) and contact_id in "
            f"(select contact_id from arms where {draw.where} and arm = {literal(HOLDOUT)})"
        )
    connection.execute(_flags(run))
    _leave_the_shadow(run)


@dataclass(frozen=True)
class Draw:
    """The arms of one predictor for one goal."""

    task: Task
    #: Property in the manifest -> name on the record.
    named: dict[str, str]
    holdout: Holdout

    @property
    def names(self) -> list[str]:
        return list(self.named.values())

    @property
    def where(self) -> str:
        """SQL: rows of this draw."""
        return (
            f"goal = {literal(self.task.goal.name)} and predictor = {literal(self.task.predictor.name)} "
            f"and salt = {literal(self.holdout.salt)}"
        )

    def arms_sql(self, run: Run) -> str:
        """Contacts that were drawn before, and those that are from now on: whoever has a value to withhold."""
        DuckEngine(run.mirror.connection)  # the prelude
        goal, predictor = self.task.goal.name, self.task.predictor.name
        arm = arm_sql(
            "w.contact_id", share=self.holdout.share, salt=self.holdout.salt, goal=goal, predictor=predictor
        )
        about = "" if run.among is None else f" and contact_id in (select contact_id from {run.among})"
        score, grade = self._value("leadlight_score"), self._value("leadlight_grade")
        return f"""
            insert into arms
            with would_be as (
                select contact_id, try_cast({score} as double) as score, {grade} as grade,
                       cast(json_group_object(property, value) as varchar) as "values"
                from (select * from desired where property in ({", ".join(map(literal, self.names))})
                      and nullif(value, '') is not null order by contact_id, property)
                group by contact_id
            ),
            standing as (select * from store.holdout where {self.where} and ended_at is null{about})
            select coalesce(w.contact_id, s.contact_id) as contact_id, {literal(goal)}, {literal(predictor)},
                   {literal(self.holdout.salt)}, coalesce(s.arm, {arm}),
                   s.arm is null, w.score, case when w.contact_id is not null then coalesce(w.grade, '') end,
                   coalesce(w."values", '')
            from would_be w full join standing s on s.contact_id = w.contact_id
        """

    def _value(self, name: str) -> str:
        return f"max(case when property = {literal(self.named.get(name, ''))} then value end)"


def draws(run: Run) -> Iterator[Draw]:
    """What the settings hold out."""
    holdout = run.settings.holdout
    if holdout is None or not holdout.share:
        return
    for task in run.tasks():
        if task.predictor.name in holdout.predictors:
            yield Draw(task, task.names(run.settings.prefix), holdout)


#: fresh: drawn in this run; grade: null without a value now.
_NO_ARMS = """create or replace temp table arms (contact_id varchar, goal varchar, predictor varchar, salt varchar,
    arm varchar, fresh boolean, score double, grade varchar, "values" varchar)"""


def _with_any_value(scored: Scored) -> str:
    """Contacts for whom anything was computed, by predictors that a gate refuses too."""
    names = [quoted(name) for name in scored.computed.column_names if name != "contact_id"]
    return f"select contact_id from computed_now where coalesce({', '.join(names) or 'null'}, null) is not null"


def _flags(run: Run) -> str:
    """Whether a contact is held out: on everyone for whom something was computed. Without a holdout, on nobody."""
    goals = {draw.task.goal.name for draw in draws(run)}
    flags = [(goal, _flag(run, goal)) for goal in {goal.name for goal in run.goals()}]
    values = ", ".join(
        f"({literal(goal)}, {literal(name)}, {'true' if goal in goals else 'false'})" for goal, name in flags
    )
    return f"""
        insert into desired
        select live.contact_id, flag.name,
               case when flag.used and p.contact_id is not null
                    then case when held.contact_id is not null then 'true' else 'false' end end
        from ({run.contacts_sql}) live cross join (values {values}) flag(goal, name, used)
             left join predicted p on p.contact_id = live.contact_id
             left join (select distinct contact_id, goal from arms where arm = {literal(HOLDOUT)}) held
                  on held.contact_id = live.contact_id and held.goal = flag.goal
    """


def _flag(run: Run, goal: str) -> str:
    return f"{run.settings.prefix}_holdout" + ("" if goal == "default" else f"_{goal}")


def keep_arms(run: Run) -> None:
    """Keep who is in which arm since when, what would have stood there, and each first grade. Experiments that
    are over are marked so."""
    if run.settings.shadowed:
        _keep_shadow(run)
        return
    connection, at = run.mirror.connection, run.as_of
    drawn = list(draws(run))
    if (
        not drawn
        and not connection.execute("select 1 from store.holdout where ended_at is null limit 1").fetchall()
    ):
        return
    for draw in drawn:
        _keep_plan(run, draw)
    going_on = " or ".join(f"({draw.where})" for draw in drawn) or "false"
    share = run.settings.holdout.share if run.settings.holdout is not None else 0.0
    with transaction(connection):
        connection.execute(
            f"update store.holdout set ended_at = ? where ended_at is null and not ({going_on})", [at]
        )
        connection.execute(
            "insert into store.holdout select contact_id, goal, predictor, salt, arm, ?, ?, null, score, grade, "
            '"values" from arms where fresh',
            [share, at],
        )
        connection.execute(
            """insert into store.holdout_grades
               select contact_id, goal, predictor, salt, grade, ? from arms
               where grade is not null and not exists (
                   select 1 from store.holdout_grades g join store.holdout h
                       using (contact_id, goal, predictor, salt)
                   where g.contact_id = arms.contact_id and g.goal = arms.goal and g.predictor = arms.predictor
                     and g.salt = arms.salt and g.grade = arms.grade and h.ended_at is null
                     and g.since >= h.assigned_at)""",
            [at],
        )


def _keep_plan(run: Run, draw: Draw) -> None:
    """Fix how many contacts one look needs, before the first outcome: once for each experiment."""
    goal, predictor, salt = draw.task.goal.name, draw.task.predictor.name, draw.holdout.salt
    begins = (
        f"select 1 where exists (from arms where {draw.where} and fresh) "
        f"and not exists (from store.holdout where {draw.where} and ended_at is null)"
    )
    if not run.mirror.connection.execute(begins).fetchall():
        return
    planned = plan(run, draw.task, draw.holdout)
    run.mirror.connection.execute(
        "insert into store.holdout_plans values (?, ?, ?, ?, ?, ?)",
        [goal, predictor, salt, run.as_of, planned["contacts"], json.dumps(planned, sort_keys=True)],
    )


def _to_shadow(run: Run, scored: Scored) -> None:
    """The names of the shadow set in place of the real ones; and what `keep_arms` is to keep."""
    real, shadow = run.settings.prefix, run.prefix
    connection = run.mirror.connection
    with registered(connection, "computed_now", scored.computed):
        connection.execute("create or replace temp table shadowed as select * from computed_now")
    connection.execute(f"update desired set property = {literal(shadow)} || substr(property, {len(real) + 1})")


def _keep_shadow(run: Run) -> None:
    """Each contact's first score of each goal, beside the customer's own score at that time."""
    connection = run.mirror.connection
    present = present_score_sql(run)
    for task in run.tasks():
        names = task.names(run.settings.prefix)
        columns = [names.get(f"leadlight_{what}") for what in ("probability", "score", "grade")]
        if None in columns or columns[0] not in _columns(run, "shadowed"):
            continue
        probability, score, grade = (quoted(str(name)) for name in columns)
        connection.execute(
            f"""insert into store.shadow
                select contact_id, ?, ?, try_cast({probability} as double), try_cast({score} as double), {grade},
                       own.present
                from shadowed left join ({present}) own using (contact_id)
                where {score} is not null
                  and contact_id not in (select contact_id from store.shadow where goal = ?)""",
            [task.goal.name, run.as_of, task.goal.name],
        )


def _columns(run: Run, table: str) -> list[str]:
    return list(DuckEngine(run.mirror.connection).columns(table))


def present_score_sql(run: Run) -> str:
    """SQL: contact_id and what the property `compare_to` holds now, as a number; null without one."""
    if run.settings.compare_to is None:
        return "select contact_id, cast(null as double) as present from store.contacts"
    path = literal(f'$."{run.settings.compare_to}"')
    text = f"coalesce(json_extract_string(properties, {path}), json_extract_string(ours, {path}))"
    return f"select contact_id, try_cast({text} as double) as present from store.contacts"


def _leave_the_shadow(run: Run) -> None:
    """Values of the shadow set that stand are cleared, once the real ones are written again."""
    if not run.ever_shadowed():
        return
    shadow = literal(f"{run.settings.prefix}_shadow_%".replace("_", "\\_"))
    run.mirror.connection.execute(f"""
        insert into desired
        select contact_id, name, null from (
            select contact_id, unnest(json_keys(ours)) as name from store.contacts
            where contact_id in ({run.contacts_sql})
        ) where name like {shadow} escape '\\'
    """)
