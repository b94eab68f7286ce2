"""Companies: each one's score and reasons, from what stands for its open contacts, written where it differs.

A company counts those of its contacts that have a probability now (who has reached the goal, objects, or is left
out by a filter has none), but for those of a holdout: who acts on the company acts on them. Contacts come first:
what keeps companies from being written (a scope, fields that are not there) is said in one line and stops nothing.
"""

from typing import Any

import pyarrow as pa

from connector.errors import BadCredentials, FixSetup
from connector.jobs.barred import NAMEABLE, find_nameable
from connector.jobs.discipline import REASON
from connector.jobs.install import conflict
from connector.jobs.run import Run, Task
from connector.jobs.score import Scored
from connector.jobs.sending import Pushed, send
from connector.jobs.spread import spread
from connector.mirror.sql import count
from connector.mirror.views import texts
from scoring.companies import NAMED, company_scores
from scoring.engine import literal, quoted
from scoring.holdout import HOLDOUT

SHADOWED = "Shadow mode writes nothing on companies."
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
    max_changes: int | None = None,
) -> dict[str, Any]:
    """Write what differs on companies, after the contacts; JSON: `Pushed`, and `off`: why nothing is written, or
    null. `passed` are names of properties whose predictor passed its gate. Expects the arms of this run
    (`withhold`); `limit`, `resume` and `max_changes` as in `PushOptions`. `known`: how many companies the account
    has."""
    off = _off(run)
    if off is None and not run.settings.shadowed:
        pushed, off = plan_companies(run, scored, passed, limit=limit, resume=resume, max_changes=max_changes)
    elif off is None:
        pushed, off = _plan_removals(run), SHADOWED
    else:
        return {**Pushed().to_json(), "off": off, "known": _known(run)}
    planned = _companies(run, _PLANNED)
    if dry_run:
        pushed.changed, pushed.values = planned, count(run.mirror.connection, _PLANNED)
    elif planned:
        off = _write(run, scored, pushed, install=not run.settings.shadowed) or off
    return {**pushed.to_json(), "off": off, "known": _known(run)}


def take_names_away(run: Run) -> dict[str, Any]:
    """Clear the companies whose reasons name somebody who may not be named, whatever else is refused or awaits
    approval; JSON as `push_companies`. Who was held out before counts, not whom this run would draw."""
    pushed, off = Pushed(), _off(run)
    if off is None:
        pushed = _plan_removals(run)
        off = _write(run, None, pushed, install=False) if _companies(run, _PLANNED) else None
    return {**pushed.to_json(), "off": off, "known": _known(run)}


def plan_of_companies(
    run: Run,
    scored: Scored,
    passed: list[str],
    *,
    limit: int | None = None,
    resume: bool = False,
    max_changes: int | None = None,
) -> tuple[dict[str, Any], pa.Table | None]:
    """What a person has to approve, as rows for the ledger; None where there is nothing. Names of who may not be
    named go at once: of them JSON as `push_companies`."""
    removed = take_names_away(run)
    if removed["off"] or run.settings.shadowed:
        return {**removed, "off": removed["off"] or SHADOWED}, None
    pushed, off = plan_companies(run, scored, passed, limit=limit, resume=resume, max_changes=max_changes)
    rows = _rows(run, scored)
    if rows.num_rows:
        off = _unwritable(run) or off
    told = {**removed, **{name: getattr(pushed, name) for name in ("unchanged", "held", "left")}, "off": off}
    return told, rows if rows.num_rows and off is None else None


def awaiting(run: Run) -> dict[str, Any]:
    """JSON of a run whose plan awaits approval: companies are worked out when it is carried out."""
    off = "Companies are written when a plan of contacts is approved."
    return {**Pushed().to_json(), "off": off, "known": _known(run)}


def counting(run: Run, task: Task, held_out: str) -> str:
    """SQL: company_id, contact_id, probability and score of the contacts that count for their companies, by what
    was computed last. `held_out` is a query of the contacts in the task's holdout."""
    names = task.names(run.settings.prefix)
    probability, score = names["leadlight_probability"], names["leadlight_score"]
    find_nameable(run, held_out)
    return f"""
        select company_id, contact_id, try_cast(parsed.{quoted(probability)} as double) as probability,
               try_cast(parsed.{quoted(score)} as double) as score
        from (select contact_id, from_json("values", {texts([probability, score])}) as parsed
              from store.predictions)
             join store.contacts using (contact_id)
        where contact_id in (select contact_id from {NAMEABLE})
    """


def named_in(text: str) -> str:
    """SQL: ids of the contacts that a company's reasons name."""
    return f"list_sort(regexp_extract_all(coalesce({text}, ''), {literal(NAMED)}, 1))"


def _off(run: Run) -> str | None:
    """Why companies hold no score here; None where they may."""
    if "company" not in run.platform.objects:
        return "Results of files are of contacts; `leadlight report` shows the likeliest companies."
    if not _known(run):
        return "No companies are known: the account has none, or they can't be read (streams_off)."
    return None


def _known(run: Run) -> int:
    """How many companies there are."""
    return count(run.mirror.connection, "(from store.companies where deleted_at is null and merged_into is null)")


def _task(run: Run) -> Task:
    """The lead score of the main goal."""
    return next(task for task in run.tasks() if task.predictor.name == "lead_score")


def _names(run: Run) -> tuple[str, str]:
    """Of score and reasons on the record, in shadow mode too."""
    score, reasons = (entry.name for entry in run.company_properties())
    return score, reasons


def plan_companies(
    run: Run,
    scored: Scored,
    passed: list[str],
    *,
    limit: int | None = None,
    resume: bool = False,
    max_changes: int | None = None,
) -> tuple[Pushed, str | None]:
    """Fill the temporary table of what is to be written; what is not, and why nothing is for a cap. Where the lead
    score is refused, nothing but what names a contact that may not be named, which goes."""
    pushed, task = Pushed(), _task(run)
    held_out = (
        f"select contact_id from arms where goal = {literal(task.goal.name)} "
        f"and predictor = {literal(task.predictor.name)} and arm = {literal(HOLDOUT)}"
    )
    counted = counting(run, task, held_out)
    good = task.names(run.settings.prefix)["leadlight_score"] in passed
    _desire(run, company_scores(counted) if good else None)
    if not resume:
        pushed.held = _leave_held(run, scored, task)
    _leave_small_moves(run, *_names(run))
    stays = f"value is not null and company_id not in (select company_id from {_PLANNED})"
    pushed.unchanged = max(0, _companies(run, f"{_DESIRED} where {stays}") - pushed.held)
    off = _capped(run, max_changes, limit)
    pushed.left = _keep_best(run, limit)
    return pushed, off


def _plan_removals(run: Run) -> Pushed:
    """Fill the same table with nothing but what names a contact that may not be named, which goes."""
    find_nameable(run)
    _desire(run, None)
    return Pushed(left=_keep_best(run, None))


def _desire(run: Run, scores: str | None) -> None:
    """Fill the temporary tables of what should stand on companies and what of it differs: by a query of scores;
    None: those alone lose their values whose reasons name a contact that NAMEABLE lacks."""
    score, reasons = _names(run)
    path = literal(f'$."{reasons}"')
    standing = named_in(f"json_extract_string(ours, {path})")
    scored = "select null::varchar as company_id, null as score, null as reasons" if scores is None else scores
    run.mirror.connection.execute(
        f"""create or replace temp table {_DESIRED} as
            with live as (
                select company_id, {standing} as named from store.companies
                where deleted_at is null and merged_into is null
            ),
            musts as (
                select company_id from (select company_id, unnest(named) as contact_id from live)
                where contact_id not in (select contact_id from {NAMEABLE})
            ),
            scored as ({scored}),
            wide as (
                select company_id, company_id in (from musts) as must, scored.score, scored.reasons
                from live left join scored using (company_id)
                where {"company_id in (from musts)" if scores is None else "true"}
            )
            select company_id, {literal(score)} as property, cast(score as varchar) as value, must from wide
            union all select company_id, {literal(reasons)}, reasons, must from wide"""
    )
    run.mirror.ledger.of("company").differences(_DESIRED, into=_PLANNED)


def _capped(run: Run, max_changes: int | None, limit: int | None) -> str | None:
    """Take out everything where more companies would change (of the first `limit`) than `max_changes` allows, and
    say so; those that name somebody who may not be named are neither counted nor taken out, but only cleared."""
    cap = run.settings.max_changes if max_changes is None else max_changes
    beyond = f"company_id not in (select company_id from {_DESIRED} where must)"
    companies = _companies(run, f"{_PLANNED} where {beyond}")
    companies = companies if limit is None else min(companies, limit)
    if cap is None or companies <= cap:
        return None
    _clear_alone(run, "true")
    run.mirror.connection.execute(f"delete from {_PLANNED} where {beyond}")
    return (
        f"{companies:,} companies would change, the cap (max_changes) is {cap:,}: their scores were left as they "
        "are. Raise the cap for one run (--max-changes) or in leadlight.toml."
    )


def _leave_held(run: Run, scored: Scored, task: Task) -> int:
    """Take out companies that a rollback holds back; how many. Those that name somebody who may not be named are
    cleared."""
    model = scored.trained.models.get(task.key)
    if model is None:
        return 0
    all_held = f"""
        select object_id from store.holds where object = 'company' and predictor = {literal(task.key)}
            and model = {literal(model.version)}
    """
    _clear_alone(run, f"company_id in ({all_held})")
    held = f"{all_held} and object_id not in (select company_id from {_DESIRED} where must)"
    companies = _companies(run, f"{_PLANNED} where company_id in ({held})")
    run.mirror.connection.execute(f"delete from {_PLANNED} where company_id in ({held})")
    return companies


def _clear_alone(run: Run, where: str) -> None:
    """Desire that nothing stands on those of these companies that name somebody who may not be named, in the place
    of new values."""
    changed = run.mirror.connection.execute(
        f"update {_DESIRED} set value = null where must and value is not null and {where}"
    ).fetchall()
    if changed[0][0]:
        run.mirror.ledger.of("company").differences(_DESIRED, into=_PLANNED)


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
    score = literal(_names(run)[0])
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


def _rows(run: Run, scored: Scored | None) -> pa.Table:
    """What is planned, as rows for the ledger, in order of worth."""
    task = _task(run)
    model = None if scored is None else scored.trained.models.get(task.key)
    return run.mirror.connection.sql(
        f"""select company_id, property, value_before, value as value_after, {literal(task.key)} as predictor,
                   {"null" if model is None else literal(model.version)}::varchar as model, {REASON} as reason
            from {_PLANNED} join company_worth using (company_id) order by place, property"""
    ).to_arrow_table()


def _unwritable(run: Run) -> str | None:
    """What of the set-up keeps companies from being written, as far as can be told before; else None."""
    try:
        plans = run.platform.install(run.company_properties(), dry_run=True)
    except BadCredentials:
        raise
    except FixSetup as problem:
        return f"Companies were not written: {problem}"
    return next((conflict(plan) for plan in plans if plan.action == "conflict"), None)


def _write(run: Run, scored: Scored | None, pushed: Pushed, *, install: bool) -> str | None:
    """Send what is planned; why that was not possible, or None. `install`: fields that are missing are made."""
    rows, ledger = _rows(run, scored), run.mirror.ledger.of("company")
    if (why := _unwritable(run)) is not None:
        return why
    try:
        if install:
            run.platform.install(run.company_properties(), dry_run=False)
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
