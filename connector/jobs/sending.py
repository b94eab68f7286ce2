"""Sending: what the ledger plans goes out in batches, and whatever a run that died left open is settled.

Intent and the value that stood before are in the ledger before the first call, each batch is marked before it
leaves, each outcome is kept after it came back. Whatever was under way when a run died is read back before the
next one writes.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice

from connector.errors import BudgetSpent, FixSetup, LeadlightError, MissingScope, NotTaken
from connector.jobs.run import Run
from connector.mirror.ledger import Ledger
from connector.platform import Outcome, Write, WrittenObject

#: Records of an object, in words.
_MANY: Mapping[WrittenObject, str] = {"contact": "contacts", "company": "companies"}


@dataclass
class Pushed:
    """Records by what became of them; `values` counts single property values written."""

    changed: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0
    values: int = 0
    #: Records whose values a rollback holds back.
    held: int = 0
    #: Records that would change and wait for the next run: beyond `--limit`, or beyond today's calls.
    left: int = 0

    def to_json(self) -> dict[str, int]:
        return dict(vars(self))


def send(
    run: Run,
    pushed: Pushed,
    stage: str = "Writing",
    start: int = 0,
    object_name: WrittenObject = "contact",
    begun: ExitStack | None = None,
) -> None:
    """One object's records: batches out, outcomes in; as many at once as the platform takes, the ledger always on
    this thread. What stands before place `start` of the run's plan is known to be settled. `begun`: a transaction
    that the plan is part of; it ends with the note of the first attempts, before anything leaves.

    Raises BudgetSpent, saying how far it came, when the platform's calls are used up.
    """
    ledger = run.mirror.ledger.of(object_name)
    total = ledger.planned_records(run.id, start)
    batches = ledger.batches(run.id, run.platform.batch_for(total), start)
    failure: LeadlightError | None = None
    flying: dict[Future[list[Outcome]], Sequence[Write]] = {}
    with ThreadPoolExecutor(run.platform.concurrency) as pool:
        while True:
            fresh: list[list[Write]] = []
            while (
                failure is None
                and len(flying) + len(fresh) < run.platform.concurrency
                and (batch := next(batches, None))
            ):
                fresh.append(batch)
            if fresh:
                ledger.attempt(run.id, [write.record_id for batch in fresh for write in batch], start)
                if begun is not None:
                    begun.close()
                flying |= {pool.submit(run.platform.write, batch): batch for batch in fresh}
            if not flying:
                break
            came: list[tuple[Sequence[Write], list[Outcome]]] = []
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                sent = flying.pop(future)
                try:
                    came.append((sent, future.result()))
                except LeadlightError as error:
                    failure = failure or error
            ledger.settle(run.id, [outcome for _, outcomes in came for outcome in outcomes], start)
            for sent, outcomes in came:
                _account_for(pushed, sent, outcomes)
            try:
                run.progress(stage, pushed.changed + pushed.failed + pushed.skipped, total)
                run.pause()
            except LeadlightError as error:
                # what is under way is still awaited and kept
                failure = failure or error
    if isinstance(failure, BudgetSpent):
        done = f"{pushed.changed:,} of {total:,} {_MANY[object_name]} were written"
        raise BudgetSpent(f"{failure} {done}; the next run goes on with the rest.", failure.resume_at) from failure
    if failure is not None:
        raise failure


def _account_for(pushed: Pushed, batch: Sequence[Write], outcomes: list[Outcome]) -> None:
    sizes = {write.record_id: len(write.values) for write in batch}
    for outcome in outcomes:
        if outcome.state == "written":
            pushed.changed += 1
            pushed.values += sizes[outcome.record_id]
        elif outcome.state == "failed":
            pushed.failed += 1
        else:
            pushed.skipped += 1


def recover(run: Run) -> None:
    """Settle what a run that died left open: batches that had left are read back, the rest never happened."""
    for run_id in run.mirror.ledger.open_runs():
        if run_id != run.id and run_id in run.mirror.running:
            # not dead: another job of this process is at it
            continue
        _recover(run, run_id, run.mirror.ledger)
        companies = run.mirror.ledger.of("company")
        try:
            _recover(run, run_id, companies)
        except MissingScope as error:
            # contacts go on: what may stand on companies that can't be read any more is nobody's to take back
            give_up(companies, run_id, error)


def give_up(ledger: Ledger, run_id: str, error: FixSetup | NotTaken) -> None:
    """Settle what a run planned on records that can be neither read nor written any more: what had left failed,
    the rest never happened."""
    tried = ledger.attempted_unsettled(run_id)
    told = f"unknown: {error.scope if isinstance(error, MissingScope) else type(error).__name__}"
    ledger.settle(run_id, [Outcome(one, "failed", error=told, object=ledger.object) for one in tried])
    ledger.drop_unattempted(run_id)


def _recover(run: Run, run_id: str, ledger: Ledger) -> None:
    attempted = ledger.attempted_unsettled(run_id)
    names = sorted({name for values in attempted.values() for name in values})
    for ids in chunks(list(attempted), run.platform.batch_for(len(attempted))):
        present = run.platform.read_ours(ids, names, ledger.object)
        _settle_read_back(run_id, ledger, attempted, present, ids)
    ledger.drop_unattempted(run_id)


def _settle_read_back(
    run_id: str,
    ledger: Ledger,
    attempted: Mapping[str, Mapping[str, str | None]],
    present: Mapping[str, Write | None],
    ids: Sequence[str],
) -> None:
    arrived, never = [], []
    for record_id in ids:
        now = present.get(record_id)
        if now is None:
            arrived.append(Outcome(record_id, "gone", object=ledger.object))
        elif any(now.values.get(name) == value for name, value in attempted[record_id].items()):
            # one is enough: a person may have edited another one since
            arrived.append(Outcome(record_id, "written", object=ledger.object))
        else:
            never.append(record_id)
    ledger.settle(run_id, arrived)
    ledger.forget_attempts(run_id, never)


def read_present(
    run: Run, record_ids: Sequence[str], names: Sequence[str], object_name: WrittenObject = "contact"
) -> dict[str, Write | None]:
    """What stands on the platform now, batch by batch, several calls at once; None for records that are gone."""
    batches = list(chunks(list(record_ids), run.platform.batch_for(len(record_ids))))
    present: dict[str, Write | None] = {}
    with ThreadPoolExecutor(run.platform.concurrency) as pool:
        for found in pool.map(lambda ids: run.platform.read_ours(ids, names, object_name), batches):
            present.update(found)
    return present


def chunks(items: list[str], size: int) -> Iterator[list[str]]:
    """Lists of `size`, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
