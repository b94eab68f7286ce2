"""Companies: each one's score and reasons, from what stands for its open contacts, written where it differs.

A company counts those of its contacts that have a probability now (who has reached the goal, objects, or is left
out by a filter has none), but for those of a holdout: who acts on the company acts on them. Contacts come first:
what keeps companies from being written (a scope, fields that are not there) is said in one line and stops nothing.
"""

from typing import Any

import pyarrow as pa

from connector.errors import BadCredentials, FixSetup
from connector.jobs.barred import barred
from connector.jobs.discipline import REASON
from connector.jobs.install import conflict
from connector.jobs.run import Run, Task
from connector.jobs.score import Scored
from connector.jobs.sending import Pushed, send
from connector.jobs.spread import spread
from connector.mirror.sql import count, registered
from connector.mirror.views import texts
from scoring.companies import NAMED, company_scores
from scoring.engine import literal, quoted
from scoring.holdout import HOLDOUT

_DESIRED, _PLANNED = "company_desired", "company_planned"
#: SQL: how many contacts reasons speak of.
_NUMBER = "regexp_extract({}, '^[0-9]+')"


def push_companies(
    run: Run,
    scored: Scored,
    passed: list[str],
    *,
    dry_run: bool = False,
    limit: int | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Write what differs on companies, after the contacts; JSON: `Pushed`, and `off`: why nothing is written, or
    null. `passed` are names of properties whose predictor passed its gate. Expects the arms of this run
    (`withhold`); `limit` and `resume` as in `PushOptions`. `known`: how many companies the account has."""
    pushed = Pushed()
    off = _off(run)
    if off is None:
        _plan(run, scored, passed, pushed, resume=resume)
        pushed.left = _keep_best(run, limit)
        planned = _companies(run, _PLANNED)
        if dry_run:
            pushed.changed, pushed.values = planned, count(run.mirror.connection, _PLANNED)
        elif planned:
            off = _write(run, scored, pushed)
    return {**pushed.to_json(), "off": off, "known": _known(run)}


def awaiting(run: Run) -> dict[str, Any]:
    """JSON of a run whose plan awaits approval: companies are worked out when it is carried out."""
    off = "Companies are written when a plan of contacts is approved."
    return {**Pushed().to_json(), "off": off, "known": _known(run)}


def counting(run: Run, task: Task, held_out: str) -> str:
    """SQL: company_id, contact_id, probability and score of the contacts that count for their companies, by what
    was computed last. `held_out` is a query of the contacts in the task's holdout."""
    names = task.names(run.settings.prefix)
    probability, score = names["leadlight_probability"], names["leadlight_score"]
    given = pa.table({"contact_id": pa.array(sorted(barred(run)), pa.string())})
    with registered(run.mirror.connection, "_not_counted", given):
        run.mirror.connection.execute("create or replace temp table not_counted as select * from _not_counted")
    return f"""
        select company_id, contact_id, try_cast(parsed.{quoted(probability)} as double) as probability,
               try_cast(parsed.{quoted(score)} as double) as score
        from (select contact_id, from_json("values", {texts([probability, score])}) as parsed
              from store.predictions)
             join store.contacts using (contact_id)
        where deleted_at is null and merged_into is null
          and contact_id not in (select contact_id from not_counted)
          and contact_id not in ({held_out})
    """


def named_in(text: str) -> str:
    """SQL: ids of the contacts that a company's reasons name."""
    return f"list_sort(regexp_extract_all(coalesce({text}, ''), {literal(NAMED)}, 1))"


def _off(run: Run) -> str | None:
    """Why companies have no score here; None where they have one."""
    if "company" not in run.platform.objects:
        return "Results of files are of contacts; `leadlight report` shows the likeliest companies."
    if run.settings.shadowed:
        return "Shadow mode writes nothing on companies."
    if not _known(run):
        return "No companies are known: the account has none, or they can't be read (streams_off)."
    return None


def _known(run: Run) -> int:
    """How many companies there are."""
    return count(run.mirror.connection, "(from store.companies where deleted_at is null and merged_into is null)")


def _task(run: Run) -> Task:
    """The lead score of the main goal."""
    return next(task for task in run.tasks() if task.predictor.name == "lead_score")


def _plan(run: Run, scored: Scored, passed: list[str], pushed: Pushed, *, resume: bool) -> None:
    """Fill the temporary table of what is to be written. Where the lead score is refused, nothing but what names a
    contact that may hold no value any more, which goes."""
    task, connection = _task(run), run.mirror.connection
    score, reasons = (entry.name for entry in run.properties("company"))
    held_out = (
        f"select contact_id from arms where goal = {literal(task.goal.name)} "
        f"and predictor = {literal(task.predictor.name)} and arm = {literal(HOLDOUT)}"
    )
    counted = counting(run, task, held_out)
    path = literal(f'$."{reasons}"')
    standing = named_in(f"json_extract_string(ours, {path})")
    good = task.names(run.settings.prefix)["leadlight_score"] in passed
    connection.execute(
        f"""create or replace temp table {_DESIRED} as
            with live as (
                select company_id, {standing} as named from store.companies
                where deleted_at is null and merged_into is null
            ),
            musts as (
                select company_id from (select company_id, unnest(named) as contact_id from live)
                where contact_id not in (
                    select contact_id from store.contacts where deleted_at is null and merged_into is null
                        and contact_id not in (select contact_id from not_counted)
                        and contact_id not in ({held_out}))
            ),
            scored as (select * from ({company_scores(counted)}) where {"true" if good else "false"}),
            wide as (
                select company_id, company_id in (from musts) as must, scored.score, scored.reasons
                from live left join scored using (company_id)
                where {"true" if good else "company_id in (from musts)"}
            )
            select company_id, {literal(score)} as property, cast(score as varchar) as value, must from wide
            union all select company_id, {literal(reasons)}, reasons, must from wide"""
    )
    run.mirror.ledger.of("company").differences(_DESIRED, into=_PLANNED)
    if not resume:
        pushed.held = _leave_held(run, scored, task)
    _leave_small_moves(run, score, reasons)
    stays = f"value is not null and company_id not in (select company_id from {_PLANNED})"
    pushed.unchanged = max(0, _companies(run, f"{_DESIRED} where {stays}") - pushed.held)


def _leave_held(run: Run, scored: Scored, task: Task) -> int:
    """Take out companies that a rollback holds back, unless they name somebody who may not be named; how many."""
    model = scored.trained.models.get(task.key)
    if model is None:
        return 0
    held = f"""
        select object_id from store.holds where object = 'company' and predictor = {literal(task.key)}
            and model = {literal(model.version)}
            and object_id not in (select company_id from {_DESIRED} where must)
    """
    companies = _companies(run, f"{_PLANNED} where company_id in ({held})")
    run.mirror.connection.execute(f"delete from {_PLANNED} where company_id in ({held})")
    return companies


def _leave_small_moves(run: Run, score: str, reasons: str) -> None:
    """Take out companies on which nothing of weight changed: a value that comes or goes, a score that moved by
    `min_score_step` points, other contacts among the reasons, more or fewer of them."""
    step = run.settings.min_score_step
    if step <= 0:
        return
    moved = "coalesce(abs(try_cast(value as double) - try_cast(value_before as double)), 1e9)"
    run.mirror.connection.execute(
        f"""delete from {_PLANNED} where company_id not in (
                select company_id from {_PLANNED}
                where value is null or value_before is null
                   or (property = {literal(score)} and {moved} >= {step})
                   or (property = {literal(reasons)}
                       and ({named_in("value")}, {_NUMBER.format("value")})
                           is distinct from ({named_in("value_before")}, {_NUMBER.format("value_before")})))"""
    )


def _keep_best(run: Run, limit: int | None) -> int:
    """Leave what today's calls or the user's limit do not allow for the next run: first come companies that name
    somebody who may not be named, then those that are cleared, then the likeliest; how many are left."""
    score = literal(run.properties("company")[0].name)
    run.mirror.connection.execute(
        f"""create or replace temp table company_worth as
            select company_id,
                   row_number() over (order by must desc, cleared desc, score desc nulls last, company_id) as place
            from (select company_id, bool_or(value is null) as cleared from {_PLANNED} group by company_id)
                 left join (select company_id, must, try_cast(value as double) as score from {_DESIRED}
                            where property = {score}) using (company_id)"""
    )
    planned = count(run.mirror.connection, "company_worth")
    days = spread(run, planned)
    room = min(planned if limit is None else limit, planned if days is None else days.today)
    run.mirror.connection.execute(
        f"delete from {_PLANNED} where company_id in (select company_id from company_worth where place > {room})"
    )
    return planned - min(planned, room)


def _write(run: Run, scored: Scored, pushed: Pushed) -> str | None:
    """Send what is planned; why that was not possible, or None."""
    task = _task(run)
    model = scored.trained.models.get(task.key)
    rows = run.mirror.connection.sql(
        f"""select company_id, property, value_before, value as value_after, {literal(task.key)} as predictor,
                   {"null" if model is None else literal(model.version)}::varchar as model, {REASON} as reason
            from {_PLANNED} join company_worth using (company_id) order by place, property"""
    ).to_arrow_table()
    ledger = run.mirror.ledger.of("company")
    try:
        wanted = run.properties("company")
        for plan in run.platform.install(wanted, dry_run=True):
            if plan.action == "conflict":
                return conflict(plan)
        run.platform.install(wanted, dry_run=False)
        start = ledger.next_place(run.id)
        ledger.plan_writes(run.id, rows)
        send(run, pushed, "Writing companies", start, "company")
    except BadCredentials:
        raise
    except FixSetup as problem:
        # what had left is read back by the next run
        ledger.drop_unattempted(run.id)
        return f"Companies were not written: {problem}"
    return None


def _companies(run: Run, where: str) -> int:
    """Companies in a table, or in a part of it."""
    return count(run.mirror.connection, f"(select distinct company_id from {where})")
