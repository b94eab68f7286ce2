"""Push: write to the platform what changed, and only that.

Intent and the value that stood before go into the ledger before the first call, each batch is marked before it
leaves, each outcome is kept after it came back. Whatever was under way when a run died is read back before the
next one writes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from connector.errors import LeadlightError, Refused
from connector.jobs.install import ensure_installed
from connector.jobs.run import Run
from connector.jobs.score import Scored, property_options
from connector.platform import Outcome, Write
from manifests import Property
from scoring.engine import literal, quoted


@dataclass
class Pushed:
    """Contacts by what became of them; `values` counts single property values written."""

    changed: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0
    values: int = 0

    def to_json(self) -> dict[str, int]:
        return dict(vars(self))


def push(
    run: Run, scored: Scored, *, dry_run: bool = False, limit: int | None = None, max_changes: int | None = None
) -> Pushed:
    """Write the values of the predictors that passed their gates.

    Raises Refused when every predictor that ran was refused, or when more than `max_changes` contacts would
    change: then nothing is written.
    """
    passed = _passed(run, scored)
    plan = _plan(run, scored, passed)
    cap = max_changes if max_changes is not None else run.settings.max_changes
    if cap is not None and plan.contacts > cap:
        raise Refused(
            f"{plan.contacts} contacts would change, the cap is {cap}: nothing was written. "
            "Look at --dry-run, then raise max_changes if this is what you want.",
            {"pushed": Pushed(unchanged=plan.unchanged).to_json()},
        )
    pushed = Pushed(unchanged=plan.unchanged)
    if dry_run:
        pushed.changed, pushed.values = plan.contacts, plan.values
        return pushed
    if plan.contacts:
        ensure_installed(run, _wanted(run, scored))
        run.mirror.ledger.plan_writes(run.id, plan.table(limit))
        send(run, pushed)
    return pushed


def _wanted(run: Run, scored: Scored) -> list[Property]:
    """Our properties, with the options that the models bring."""
    options = {
        task.names(run.settings.prefix).get("leadlight_segment"): property_options(task, scored.trained)
        for task in run.tasks()
        if task.predictor.name == "segments"
    }
    return [entry.with_options(options.get(entry.name, ())) for entry in run.properties()]


def recover(run: Run) -> None:
    """Settle what a run that died left open: batches that had left are read back, the rest never happened."""
    ledger = run.mirror.ledger
    for run_id in ledger.open_runs():
        attempted = ledger.attempted_unsettled(run_id)
        names = sorted({name for values in attempted.values() for name in values})
        for ids in _chunks(list(attempted), run.platform.batch_size):
            present = run.platform.read_ours(ids, names)
            _settle_read_back(run, run_id, attempted, present, ids)
        ledger.drop_unattempted(run_id)


def _settle_read_back(run: Run, run_id: str, attempted: Any, present: Any, ids: Sequence[str]) -> None:
    arrived, never = [], []
    for contact_id in ids:
        now = present.get(contact_id)
        if now is None:
            arrived.append(Outcome(contact_id, "gone"))
        elif any(now.values.get(name) == value for name, value in attempted[contact_id].items()):
            # one is enough: a person may have edited another one since
            arrived.append(Outcome(contact_id, "written"))
        else:
            never.append(contact_id)
    run.mirror.ledger.settle(run_id, arrived)
    run.mirror.ledger.forget_attempts(run_id, never)


def _passed(run: Run, scored: Scored) -> list[str]:
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
    run: Run
    scored: Scored
    contacts: int
    unchanged: int
    values: int

    def table(self, limit: int | None) -> Any:
        """The rows for the ledger, of the `limit` contacts that matter most: cleared values first, then by
        score."""
        score = f"{self.run.settings.prefix}_score"
        return self.run.mirror.connection.sql(f"""
            with worth as (
                select contact_id,
                       max(case when property = {literal(score)} then try_cast(value as double) end) as score
                from planned group by contact_id
                order by score desc nulls first, contact_id limit {limit if limit is not None else self.contacts}
            )
            select planned.*, source.predictor, source.model
            from planned join worth using (contact_id) left join ({self._sources()}) source using (property)
            order by worth.score desc nulls first, contact_id, property
        """).to_arrow_table()

    def _sources(self) -> str:
        """Which predictor and model a property comes from."""
        rows = [
            (name, task.key, model.version)
            for task in self.run.tasks()
            if (model := self.scored.trained.models.get(task.key)) is not None
            for name in task.names(self.run.settings.prefix).values()
        ]
        values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
        return f"select * from (values {values}) entry(property, predictor, model)"


def _plan(run: Run, scored: Scored, names: list[str]) -> _Plan:
    """Fill the temporary table `planned` with every value that differs from what stands on the platform."""
    connection = run.mirror.connection
    names = [name for name in names if name in scored.computed.column_names]
    connection.register("computed_now", scored.computed)
    columns = ", ".join(f"computed_now.{quoted(name)}" for name in names)
    try:
        connection.execute(f"""
            create or replace temp table desired as
            with wide as (
                select live.contact_id{", " + columns if columns else ""}
                from ({run.mirror.live_contacts_sql}) live left join computed_now using (contact_id)
            )
            {_long(names)}
        """)
    finally:
        connection.unregister("computed_now")
    run.mirror.ledger.differences("desired", into="planned")
    _add_marks(run, scored)
    [(changed, values)] = connection.execute("select count(distinct contact_id), count(*) from planned").fetchall()
    [(holders,)] = connection.execute(
        "select count(distinct contact_id) from desired where value is not null"
    ).fetchall()
    return _Plan(run, scored, changed, max(0, holders - changed), values)


def _long(names: list[str]) -> str:
    if not names:
        return "select contact_id, '' as property, '' as value from wide where false"
    columns = ", ".join(quoted(name) for name in names)
    return (
        f"select contact_id, property, value from wide unpivot include nulls (value for property in ({columns}))"
    )


def _add_marks(run: Run, scored: Scored) -> None:
    """Model and time go along with another value; by themselves they are no reason to write."""
    prefix = run.settings.prefix
    versions = "; ".join(model.version for _, model in sorted(scored.trained.models.items()))
    marks = {f"{prefix}_model": versions, f"{prefix}_scored_at": f"{run.as_of:%Y-%m-%dT%H:%M:%SZ}"}
    values = ", ".join(f"({literal(name)}, {literal(value)})" for name, value in marks.items())
    run.mirror.connection.execute(f"""
        create or replace temp table desired_marks as
        select contact_id, mark.name as property, mark.value
        from (select distinct contact_id from planned) cross join (values {values}) mark(name, value)
    """)
    run.mirror.ledger.differences("desired_marks", into="planned_marks")
    run.mirror.connection.execute("insert into planned select * from planned_marks")


def send(run: Run, pushed: Pushed) -> None:
    """Batches out, outcomes in; as many at once as the platform takes, the ledger always on this thread."""
    batches = run.mirror.ledger.batches(run.id, run.platform.batch_size)
    total = run.mirror.ledger.planned_contacts(run.id)
    failure: LeadlightError | None = None
    flying: dict[Future[list[Outcome]], Sequence[Write]] = {}
    with ThreadPoolExecutor(run.platform.concurrency) as pool:
        while True:
            while failure is None and len(flying) < run.platform.concurrency and (batch := next(batches, None)):
                run.mirror.ledger.attempt(run.id, [write.contact_id for write in batch])
                flying[pool.submit(run.platform.write, batch)] = batch
            if not flying:
                break
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                sent = flying.pop(future)
                try:
                    _account_for(run, pushed, sent, future.result())
                except LeadlightError as error:
                    failure = failure or error
            run.progress("Writing", pushed.changed + pushed.failed + pushed.skipped, total)
    if failure is not None:
        raise failure


def _account_for(run: Run, pushed: Pushed, batch: Sequence[Write], outcomes: list[Outcome]) -> None:
    run.mirror.ledger.settle(run.id, outcomes)
    sizes = {write.contact_id: len(write.values) for write in batch}
    for outcome in outcomes:
        if outcome.state == "written":
            pushed.changed += 1
            pushed.values += sizes[outcome.contact_id]
        elif outcome.state == "failed":
            pushed.failed += 1
        else:
            pushed.skipped += 1


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
