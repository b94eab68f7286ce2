"""Change discipline: which differences are worth a write, how many of them one run may make, in which order.

All of it works on the temporary table `planned` (contact_id, property, value, value_before), in SQL.
"""

from typing import Any

from connector.jobs.objections import OBJECTING
from connector.jobs.run import Run, Task
from connector.jobs.score import Scored
from scoring.engine import literal, quoted

ADVICE = (
    "Nothing was written. Look at it with --dry-run; if this is what you want, raise the cap for one run "
    "(--max-changes, --max-grade-moves) or in leadlight.toml."
)

#: SQL: why a value is written, for the ledger.
REASON = """case when value_before is null then 'first value' when value is null then 'no longer has one'
                 else 'changed' end"""

#: SQL: of contacts that do not object.
_FREE = f"contact_id not in (select contact_id from {OBJECTING})"


def leave_held(run: Run, scored: Scored) -> int:
    """Take out what a rollback holds back as long as the same model would write it; how many contacts have
    nothing else to be written. Who may hold no value (`barred_now`) is not held back from losing it."""
    models = {key: model.version for key, model in scored.trained.models.items()}
    if not run.mirror.rollbacks.held(models):
        return 0
    rows = [
        (name, task.key, models[task.key])
        for task in run.tasks()
        if task.key in models
        for name in task.names(run.prefix).values()
    ]
    if not rows:
        return 0
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    run.mirror.connection.execute(f"""
        create or replace temp table held_now as
        select p.contact_id, p.property
        from planned p join (values {values}) source(property, predictor, model) using (property)
             join store.holds h on h.object = 'contact' and h.object_id = p.contact_id
                                and h.predictor = source.predictor and h.model = source.model
        where p.contact_id not in (select contact_id from barred_now)
    """)
    run.mirror.connection.execute(
        "delete from planned where (contact_id, property) in (select contact_id, property from held_now)"
    )
    return _number(
        run,
        "select count(distinct contact_id) from held_now where contact_id not in (select contact_id from planned)",
    )


def leave_small_moves(run: Run) -> None:
    """Take out a lead score's values where nothing of weight changed on a contact without new rows: what time or a
    new model alone moved a little is not worth a write, what somebody just did or edited is.

    Of weight: a value that comes or goes, another grade, a score that moved by at least `min_score_step` points
    (or the probability by as many percentage points, where the score's scale is flat), and reasons that differ
    in more than their numbers.
    """
    step = run.settings.min_score_step
    if step <= 0:
        return
    for task in run.tasks():
        if task.predictor.name == "lead_score":
            run.mirror.connection.execute(_small_moves(task.names(run.prefix), step, run.news))


def _small_moves(names: dict[str, str], step: float, news: str | None) -> str:
    score, probability, grade, reasons = (
        literal(names[f"leadlight_{part}"]) for part in ("score", "probability", "grade", "reasons")
    )
    group = ", ".join(map(literal, names.values()))
    moved = "coalesce(round(abs(try_cast(value as double) - try_cast(value_before as double)), 6), 1e9)"
    active = "" if news is None else f" and contact_id not in (select contact_id from {quoted(news)})"
    return f"""
        delete from planned
        where property in ({group}){active} and contact_id not in (
            select contact_id from planned
            where property in ({group}) and (
                value is null or value_before is null or property = {grade}
                or (property = {score} and {moved} >= {step})
                or (property = {probability} and 100 * {moved} >= {step})
                or (property = {reasons} and {_substance("value")} is distinct from {_substance("value_before")})
            )
        )
    """


def _substance(text: str) -> str:
    """SQL: reasons without their numbers and their order ("4 times", "12 days ago" are numbers)."""
    numbers = f"regexp_replace({text}, '[0-9][0-9.,]*', '#', 'g')"
    words = f"regexp_replace({numbers}, 'once|# times', '#', 'g')"
    days = f"regexp_replace({words}, 'today|in # days?|# days? ago', '#', 'g')"
    return f"list_sort(string_split({days}, '; '))"


def rank(run: Run) -> None:
    """Put the contacts of the plan in order of worth, cleared scores first, then by score: the temporary table
    `worth` (contact_id, place from 1)."""
    score = literal(f"{run.prefix}_score")
    connection = run.mirror.connection
    connection.execute(f"""
        create or replace temp table worth as
        with contacts as (
            select contact_id, coalesce(bool_or(property = {score} and value is null), false) as cleared
            from planned group by contact_id
        ),
        scores as (select contact_id, try_cast(value as double) as score from desired where property = {score})
        select contact_id, row_number() over (order by cleared desc, score desc nulls last, contact_id) as place
        from contacts left join scores using (contact_id)
    """)


def keep_worthiest(run: Run, room: int | None) -> int:
    """Take the contacts beyond the first `room` out of the plan; how many."""
    if room is None:
        return 0
    connection = run.mirror.connection
    beyond = f"select contact_id from worth where place > {int(room)}"
    left = _number(run, f"select count(*) from ({beyond})")
    connection.execute(f"delete from planned where contact_id in ({beyond})")
    return left


def caps(run: Run, max_changes: int | None, max_grade_moves: float | None) -> dict[str, Any]:
    """What this run would change, beside its caps; `exceeded` says in words which it is over.

    Grade moves are a share of the contacts that hold a grade now; who gets a first one has not moved, who
    loses it has. What today's calls do not allow counts too: spread over days it would pass a day at a time. Who
    objects to profiling (`objections.find_objecting` comes before) does not count: what stands there is taken away
    whatever a cap says.
    """
    contacts = _number(run, f"select count(distinct contact_id) from planned where {_FREE}")
    cap = max_changes if max_changes is not None else run.settings.max_changes
    exceeded = []
    if cap is not None and contacts > cap:
        exceeded.append(f"{contacts:,} contacts would change, the cap (max_changes) is {cap:,}.")
    share_cap = max_grade_moves if max_grade_moves is not None else run.settings.max_grade_moves
    moves = {}
    for task in run.tasks():
        if task.predictor.name == "lead_score":
            moves[task.key] = move = _grade_moves(run, task, share_cap)
            # not by the share, which is rounded; nor by `>`, which no number is to NaN
            if not move["moved"] <= share_cap * move["graded"]:
                exceeded.append(
                    f"{move['moved']:,} of {move['graded']:,} contacts with a grade would move to another one "
                    f"({move['share']:.0%}; {task.key}), the cap (max_grade_moves) is {share_cap:.0%}."
                )
    return {"changes": {"contacts": contacts, "cap": cap}, "grade_moves": moves, "exceeded": exceeded}


def _grade_moves(run: Run, task: Task, cap: float) -> dict[str, Any]:
    grade = task.names(run.prefix)["leadlight_grade"]
    moved = _number(
        run,
        f"select count(*) from planned where property = {literal(grade)} and value_before is not null and {_FREE}",
    )
    among = graded(run, grade, _FREE)
    return {"moved": moved, "graded": among, "share": round(moved / among, 4) if among else 0.0, "cap": cap}


def graded(run: Run, grade: str, where: str = "true") -> int:
    """Live contacts that hold a value of this grade property now; `where` is a condition on `store.contacts`."""
    path = literal(f'$."{grade}"')
    return _number(
        run,
        f"""select count(*) from store.contacts where deleted_at is null and merged_into is null
            and nullif(json_extract_string(ours, {path}), '') is not null and {where}""",
    )


def _number(run: Run, query: str) -> int:
    [(number,)] = run.mirror.connection.execute(query).fetchall()
    return int(number)
