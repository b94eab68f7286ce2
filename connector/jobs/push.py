"""Push: write to the platform what changed, and only that."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector.errors import Refused
from connector.jobs import discipline, objections, outside
from connector.jobs.barred import barred
from connector.jobs.companies import awaiting, plan_of_companies, push_companies, take_names_away
from connector.jobs.install import ensure_installed
from connector.jobs.preview import preview
from connector.jobs.run import Run
from connector.jobs.score import Scored, marks_of, property_options
from connector.jobs.sending import Pushed, send
from connector.jobs.spread import Spread, spread
from connector.jobs.train import Trained, gate_json
from connector.jobs.withhold import keep_arms, withhold
from connector.mirror.sql import registered
from connector.platforms.files.results import write_table
from manifests import Property
from scoring.engine import literal, quoted
from scoring.predictors.base import Model


@dataclass(frozen=True)
class PushOptions:
    """What the user asked of one push."""

    dry_run: bool = False
    limit: int | None = None
    #: Outrank the settings of the same names.
    max_changes: int | None = None
    max_grade_moves: float | None = None
    #: Write again what a rollback holds back.
    resume: bool = False
    #: The whole difference goes to this file, CSV or Parquet by its ending.
    out: Path | None = None


def push(
    run: Run, scored: Scored, options: PushOptions = PushOptions(), before: Pushed | None = None
) -> dict[str, Any]:
    """Write the values of the predictors that passed their gates. Returns `pushed`, and what goes beside it.
    `before`: what the run took away already from who objects.

    Raises Refused when every predictor that ran was refused, when a cap is met, or when a person has to approve
    first: then nothing is written, but that who objects to profiling loses what stands, on companies too.
    """
    if options.dry_run:
        objections.find_objecting(run)
        return _push(run, scored, options, Pushed())
    taken = objections.take_away(run)
    if before is not None:
        # who failed then was tried again now
        taken.changed, taken.values = taken.changed + before.changed, taken.values + before.values
    try:
        return _push(run, scored, options, taken)
    except Refused as refusal:
        told = refusal.result.get("companies", {})
        companies = take_names_away(run)
        # what failed or was left was tried again now
        companies |= {name: companies[name] + told.get(name, 0) for name in ("changed", "values")}
        companies |= {name: told.get(name, 0) for name in ("unchanged", "held")}
        if not any(_written(taken).values()) and not companies["changed"] + companies["failed"]:
            raise
        away = (
            f" All the same {taken.changed:,} contacts who object to profiling lost their values, and "
            f"{companies['changed']:,} companies theirs, whose reasons named somebody who may not be named."
        )
        raise Refused(
            f"{refusal}{away if taken.changed + companies['changed'] else ''}",
            {
                **refusal.result,
                "pushed": {**refusal.result["pushed"], **_written(taken)},
                "companies": {**companies, "off": companies["off"] or told.get("off")},
            },
        ) from refusal


def _push(run: Run, scored: Scored, options: PushOptions, taken: Pushed) -> dict[str, Any]:
    """The same; `taken`: what was taken away already from who objects."""
    passed = passed_names(run, scored)
    plan = _plan(run, scored, passed, options)
    # from whom nothing could be taken is in the plan again, and counts by what becomes of it there
    pushed = replace(taken, failed=0, skipped=0, unchanged=plan.unchanged, held=plan.held, left=plan.left)
    result: dict[str, Any] = {"pushed": pushed.to_json()}
    if options.out is not None:
        write_table(options.out, plan.table().drop_columns(["worth"]))
        outside.remember(run.folder, options.out)
    if options.dry_run:
        result["preview"] = preview(run, plan.table(), _wanted(run, scored))
        result["pushed"] |= {"changed": plan.contacts, "values": plan.values}
    result["caps"] = plan.caps
    result["budget"] = None if plan.spread is None else plan.spread.to_json()
    if result["caps"]["exceeded"]:
        raise Refused(" ".join([*result["caps"]["exceeded"], discipline.ADVICE]), _nothing(result, options))
    chosen: dict[str, Any] = {"limit": options.limit, "resume": options.resume, "max_changes": options.max_changes}
    if options.dry_run:
        result["companies"] = push_companies(run, scored, passed, dry_run=True, **chosen)
        return result
    if options.resume:
        # not before the caps: what is refused leaves the holds as they are
        run.mirror.rollbacks.release()
    if plan.contacts and run.settings.require_approval:
        _await_approval(run, plan, result)
    if run.settings.require_approval:
        result["companies"] = _await_companies(run, scored, passed, result, chosen)
    keep_arms(run)
    if plan.contacts:
        ensure_installed(run, _wanted(run, scored))
        start = run.mirror.ledger.next_place(run.id)
        run.mirror.ledger.plan_writes(run.id, plan.table())
        send(run, pushed, start=start)
    if not run.settings.require_approval:
        result["companies"] = push_companies(run, scored, passed, **chosen)
    forget_old(run)
    return {**result, "pushed": pushed.to_json()}


def _written(pushed: Pushed) -> dict[str, int]:
    return {name: getattr(pushed, name) for name in ("changed", "failed", "skipped", "values")}


def _nothing(result: dict[str, Any], options: PushOptions) -> dict[str, Any]:
    """A refusal's JSON; a dry run keeps its figures of what would have changed."""
    if options.dry_run:
        return result
    return {**result, "pushed": {**result["pushed"], "changed": 0, "values": 0}}


def _await_approval(run: Run, plan: "_Plan", result: dict[str, Any]) -> None:
    name = run.mirror.plans.save(run.id, plan.table())
    _await(
        name,
        f"{plan.contacts:,} contacts ({plan.values:,} values)",
        {**result, "planned": {"contacts": plan.contacts, "values": plan.values}, "companies": awaiting(run)},
    )


def _await_companies(
    run: Run, scored: Scored, passed: list[str], result: dict[str, Any], chosen: Mapping[str, Any]
) -> dict[str, Any]:
    """Where no contact changes, companies have a plan of their own; but that names of who may not be named go at
    once. JSON as `push_companies`, where there is nothing to approve."""
    companies, rows = plan_of_companies(run, scored, passed, **chosen)
    if rows is not None:
        name = run.mirror.plans.save(run.id, rows, "company")
        planned = {"contacts": 0, "companies": len(rows["company_id"].unique()), "values": rows.num_rows}
        text = f"{planned['companies']:,} companies ({planned['values']:,} values)"
        _await(name, text, {**result, "planned": planned, "companies": companies})
    return companies


def _await(name: str, what: str, result: dict[str, Any]) -> None:
    raise Refused(
        f"Approval is awaited (require_approval): plan {name} would change {what}, nothing was written. Look at "
        f"it with `leadlight runs {name}`, carry it out with `leadlight approve {name}`.",
        {**result, "plan": name},
    )


def forget_old(run: Run) -> None:
    """Take out of the ledger what is older than the settings keep."""
    before = datetime.now(UTC) - timedelta(days=run.settings.keep_ledger_days)
    run.mirror.ledger.prune(before)
    run.mirror.plans.prune(before)


def _wanted(run: Run, scored: Scored) -> list[Property]:
    return wanted_on(run, scored.trained.models)


def wanted_on(run: Run, models: Mapping[str, Model]) -> list[Property]:
    """Our properties, with the options that the models (by task key) bring."""
    return with_options(run, run.properties(), models)


def with_options(run: Run, wanted: list[Property], models: Mapping[str, Model]) -> list[Property]:
    """These properties, real ones and shadows, with the options that the models bring."""
    options = {
        task.names(prefix).get("leadlight_segment"): property_options(task, models)
        for task in run.tasks()
        if task.predictor.name == "segments"
        for prefix in {run.settings.prefix, run.prefix}
    }
    return [entry.with_options(options.get(entry.name, ())) for entry in wanted]


def passed_names(run: Run, scored: Scored) -> list[str]:
    """Names on the record of the properties whose predictor passed. Raises Refused when all were refused."""
    gates = scored.trained.gates
    passed = [task for task in run.tasks() if gates.get(task.key, {}).get("passed")]
    refused = {key: gate["reasons"] for key, gate in gates.items() if gate["passed"] is False}
    if not passed and refused:
        why = " ".join(f"{key}: {' '.join(reasons)}" for key, reasons in refused.items())
        raise Refused(f"Every prediction was refused, nothing was written. {why}", {"pushed": Pushed().to_json()})
    prefix = run.settings.prefix
    return [name for task in passed for name in task.names(prefix).values()]


@dataclass(frozen=True)
class _Plan:
    """What would be written now; the rows are in the temporary table `planned`."""

    run: Run
    scored: Scored
    contacts: int
    unchanged: int
    values: int
    held: int
    left: int
    caps: dict[str, Any]
    spread: Spread | None

    def table(self) -> Any:
        """The rows for the ledger, in order of worth."""
        return planned_rows(self.run, self.scored)


def planned_rows(run: Run, scored: Scored) -> Any:
    """What stands in `planned`, as rows for the ledger in the order of `worth`."""
    return run.mirror.connection.sql(f"""
        select planned.* exclude (value), planned.value as value_after, source.predictor, source.model,
               {discipline.REASON} as reason, worth.place as worth
        from planned join worth using (contact_id) left join ({_sources(run, scored)}) source using (property)
        order by worth.place, property
    """).to_arrow_table()


def _sources(run: Run, scored: Scored) -> str:
    """SQL: which predictor and model a property comes from."""
    rows = [
        (name, task.key, model.version)
        for task in run.tasks()
        if (model := scored.trained.models.get(task.key)) is not None
        for name in task.names(run.prefix).values()
    ]
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    return f"select * from (values {values}) entry(property, predictor, model)"


def _plan(run: Run, scored: Scored, names: list[str], options: PushOptions) -> _Plan:
    """Fill the temporary table `planned` with every value that is to be written, and `worth` with the contacts'
    order."""
    connection = run.mirror.connection
    held = differ(run, scored, names, resume=options.resume, nothing_for=barred(run))
    unchanged = max(0, stand_already(run) - held)
    discipline.rank(run)
    left = discipline.keep_worthiest(run, options.limit)
    caps = discipline.caps(run, options.max_changes, options.max_grade_moves)
    days = spread(run, caps["changes"]["contacts"])
    if days is not None and not run.settings.require_approval:
        # what is approved is the whole; `approve` spreads it
        left += discipline.keep_worthiest(run, days.today)
    add_marks(run, scored)
    [(contacts, values)] = connection.execute(
        "select count(distinct contact_id), count(*) from planned"
    ).fetchall()
    return _Plan(run, scored, contacts, unchanged, values, held, left, caps, days)


def differ(
    run: Run, scored: Scored, names: list[str], *, resume: bool = False, nothing_for: Collection[str] = ()
) -> int:
    """Fill `planned` with what differs on the contacts that the run is about. Returns how many contacts' values a
    rollback holds back. From the contacts `nothing_for` everything of ours is taken, whatever a gate or a rollback
    says of its predictor."""
    _desire(run, scored, names)
    withhold(run, scored)
    _take_all(run, nothing_for, marks_of(run, scored.trained))
    run.mirror.ledger.differences("desired", into="planned")
    held = 0 if resume else discipline.leave_held(run, scored)
    discipline.leave_small_moves(run)
    return held


def stand_already(run: Run) -> int:
    """How many contacts have values of which none is in `planned`."""
    [(number,)] = run.mirror.connection.execute(
        "select count(distinct contact_id) from desired where value is not null "
        "and contact_id not in (select contact_id from planned)"
    ).fetchall()
    return int(number)


def _take_all(run: Run, contact_ids: Collection[str], marks: Collection[str]) -> None:
    """Desire that nothing of ours stands on these contacts; `marks` go by themselves. They are in `barred_now`."""
    connection = run.mirror.connection
    given = pa.table({"contact_id": pa.array(sorted(contact_ids), pa.string())})
    with registered(connection, "_barred_given", given):
        connection.execute("create or replace temp table barred_now as select * from _barred_given")
    if not contact_ids:
        return
    connection.execute(f"""
        insert into desired
        select contact_id, name, null from (
            select contact_id, unnest(json_keys(ours)) as name from store.contacts
            where ours <> '{{}}' and contact_id in (select contact_id from barred_now)
        ) standing
        where name not in ({", ".join(map(literal, marks)) or "null"})
          and not exists (select 1 from desired d where d.contact_id = standing.contact_id and d.property = name)
    """)


def _desire(run: Run, scored: Scored, names: list[str]) -> None:
    """Fill the temporary table `desired` with what was computed for every live contact that the run is about."""
    connection = run.mirror.connection
    names = [name for name in names if name in scored.computed.column_names]
    connection.register("computed_now", scored.computed)
    columns = ", ".join(f"computed_now.{quoted(name)}" for name in names)
    try:
        connection.execute(f"""
            create or replace temp table desired as
            with wide as (
                select live.contact_id{", " + columns if columns else ""}
                from ({run.contacts_sql}) live left join computed_now using (contact_id)
            )
            {_long(names)}
        """)
    finally:
        connection.unregister("computed_now")


def draw_arms(run: Run, models: Mapping[str, Model]) -> tuple[Scored, list[str]]:
    """Who is held out of what was last computed, for `keep_arms`: what is approved begins an experiment too. What
    that was, and the names of what passed."""
    trained = Trained(dict(models), {key: gate_json(model) for key, model in models.items()})
    scored = Scored(trained, run.mirror.predictions(), 0)
    passed = passed_names(run, scored)
    _desire(run, scored, passed)
    withhold(run, scored)
    return scored, passed


def _long(names: list[str]) -> str:
    if not names:
        return "select contact_id, '' as property, '' as value from wide where false"
    columns = ", ".join(quoted(name) for name in names)
    return (
        f"select contact_id, property, value from wide unpivot include nulls (value for property in ({columns}))"
    )


def add_marks(run: Run, scored: Scored, also: str | None = None) -> None:
    """Model and time go along with another value; by themselves they are no reason to write, but on the contacts
    that the query `also` gives. Where no value is left they go too."""
    whom = "select contact_id from planned" + ("" if also is None else f" union {also}")
    marks = marks_of(run, scored.trained)
    values = ", ".join(f"({literal(name)}, {literal(value)})" for name, value in marks.items())
    run.mirror.connection.execute(f"""
        create or replace temp table desired_marks as
        select contact_id, mark.name as property,
               case when contact_id in (select contact_id from desired where value is not null) then mark.value end
                   as value
        from (select distinct contact_id from ({whom})) cross join (values {values}) mark(name, value)
    """)
    run.mirror.ledger.differences("desired_marks", into="planned_marks")
    run.mirror.connection.execute("insert into planned select * from planned_marks")
