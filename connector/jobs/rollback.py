"""Rollback: put back what stood before a run, wherever its own values still stand.

What was edited since, by a person or by a later run, is kept and listed; who objects to profiling gets nothing
back. A rollback is itself a run with its own
ledger, so it can be rolled back too. So that the next scheduled sync does not write the same again, the models
of that run are held back on its contacts: until another model is in use, until `--resume`, or until the rollback
is itself rolled back.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connector.errors import BadCredentials, BadSetting, FixSetup
from connector.jobs import lists
from connector.jobs.barred import barred, find_nameable, unnameable
from connector.jobs.install import ensure_installed
from connector.jobs.push import with_options
from connector.jobs.run import Run
from connector.jobs.sending import Pushed, read_present, recover, send
from connector.jobs.train import standing_models
from connector.mirror.ledger import Ledger
from connector.platform import WrittenObject
from scoring.companies import NAMED

#: In the order in which they are put back.
OBJECTS: tuple[WrittenObject, ...] = ("contact", "company")
#: Batches that are read, planned and written in one go: few, so that an edit by a person seldom falls between.
_BATCHES_AT_ONCE = 20
#: Kept values that are named in the JSON; all are counted.
_NAMED = 1000


@dataclass(frozen=True)
class Target:
    """The run to undo. `written`: by object, what it wrote (the id, property, value_before, value_after,
    predictor, model)."""

    run_id: str
    command: str
    written: Mapping[WrittenObject, pa.Table]

    @property
    def contacts(self) -> int:
        return self._records("contact")

    @property
    def companies(self) -> int:
        return self._records("company")

    @property
    def values(self) -> int:
        return sum(int(table.num_rows) for table in self.written.values())

    def _records(self, object_name: WrittenObject) -> int:
        return len(self.written[object_name][f"{object_name}_id"].unique())

    def to_json(self) -> dict[str, Any]:
        """What a person is asked about, in counts."""
        return {
            "of_run": self.run_id,
            "command": self.command,
            "values": self.values,
            "contacts": self.contacts,
            "companies": self.companies,
        }


@dataclass
class _Found:
    """How an object's records stand now, beside what the run left. Values are (id, property, …)."""

    restore: list[dict[str, Any]] = field(default_factory=list)
    edited: list[tuple[str, str, str | None]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    #: Who may hold no value any more; companies whose former reasons name such a contact.
    barred: set[str] = field(default_factory=set)


def find_target(run: Run, name: str) -> Target:
    """The run of that id, or of the only id that starts so. Settles first what a killed run left open.

    Raises BadSetting for one that is not there or that wrote nothing that the ledger still has.
    """
    recover(run)
    return look_up(run, name)


def look_up(run: Run, name: str) -> Target:
    """The same, by what stands in the ledger now: nothing is settled, nothing is called."""
    target = resolve(run, name)
    ledger = run.mirror.ledger
    written = {of: ledger.of(of).written(target["run_id"]) for of in OBJECTS}
    if not any(table.num_rows for table in written.values()):
        raise BadSetting(
            f"Run {target['run_id']} ({target['command']}) wrote nothing that the ledger still knows "
            f"(keep_ledger_days is {run.settings.keep_ledger_days}): there is nothing to put back."
        )
    return Target(target["run_id"], target["command"], written)


def resolve(run: Run, name: str) -> dict[str, Any]:
    """The run that a name means. Raises BadSetting."""
    found = [row for row in run.mirror.runs() if row["run_id"].startswith(name) and row["run_id"] != run.id]
    exact = [row for row in found if row["run_id"] == name]
    if len(exact or found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise BadSetting(f"{name} names {what} of this account: `leadlight runs` lists them.")
    return (exact or found)[0]


def rollback(run: Run, target: Target, *, dry_run: bool = False) -> dict[str, Any]:
    """The fixed JSON of `leadlight rollback`; `companies`: the same of companies, and `off`, why they were left as
    they are, or null. Stopped anywhere and run again, it ends the same."""
    undone = run.mirror.rollbacks.of_run(target.run_id)
    barred_now = barred(run)
    if not dry_run:
        _reinstall(run, target, "contact")
    taken_over = held = 0
    if not dry_run:
        taken_over = run.mirror.rollbacks.begin(run.id, target.run_id)
        if undone is None:
            # before the first write: a sync that comes between a kill and the next try must find it
            held = run.mirror.rollbacks.hold(run.id, target.run_id)
    found = _put_back(run, target, "contact", barred_now, taken_over, dry_run=dry_run)
    companies, off = _Found(), None
    try:
        if target.companies:
            find_nameable(run)
            if not dry_run:
                _reinstall(run, target, "company")
            companies = _put_back(run, target, "company", barred_now, 0, dry_run=dry_run)
    except BadCredentials:
        raise
    except FixSetup as problem:
        off = f"Companies were left as they are: {problem}"
    if not dry_run and undone is not None:
        # what was not put back on companies stays held
        run.mirror.rollbacks.release_of(undone, OBJECTS if off is None else ("contact",))
    counted = _counts(run, target, companies, "company", dry_run=dry_run)
    return {
        "run_id": run.id,
        "of_run": target.run_id,
        "dry_run": dry_run,
        **_counts(run, target, found, "contact", dry_run=dry_run),
        "notes": [lists.why(run, *one) for one in lists.unread(run, writing=True).items()],
        "held": held,
        "kept_of_companies": counted.pop("kept"),
        "companies": {**counted, "off": off},
    }


def _put_back(
    run: Run, target: Target, object_name: WrittenObject, barred_now: set[str], taken_over: int, *, dry_run: bool
) -> _Found:
    sent, found = Pushed(changed=taken_over), _Found()
    ledger = run.mirror.ledger.of(object_name)
    for part in _parts(target.written[object_name], ledger.key, _BATCHES_AT_ONCE * run.platform.batch_size):
        here = _look(run, ledger, part, barred_now)
        found.edited += here.edited
        found.gone |= here.gone
        found.barred |= here.barred
        found.restore += here.restore if dry_run else ()
        if not dry_run and here.restore:
            planned = pa.schema([(name, pa.string()) for name in (ledger.key, *_PLANNED)])
            ledger.plan_writes(run.id, pa.Table.from_pylist(here.restore, schema=planned))
            send(run, sent, "Putting back", object_name=object_name)
    return found


def _reinstall(run: Run, target: Target, object_name: WrittenObject) -> None:
    """Bring back those properties of ours that were taken away since (`uninstall`), with an option for every value
    that is to stand there again."""
    written = target.written[object_name]
    before = written.filter(pc.is_valid(written["value_before"]))
    names = set(before["property"].unique().to_pylist())
    known_ones = run.all_properties() if object_name == "contact" else run.company_properties()
    wanted = []
    for entry in with_options(run, known_ones, standing_models(run)):
        if entry.name in names and entry.type == "category":
            stood = before.filter(pc.equal(before["property"], entry.name))["value_before"].unique().to_pylist()
            known = {value for value, _ in entry.options}
            entry = entry.with_options(tuple((value, value) for value in sorted(set(stood) - known)))
        if entry.name in names:
            wanted.append(entry)
    if wanted:
        ensure_installed(run, wanted)


#: Besides the record's id.
_PLANNED = ("property", "value_before", "value_after", "predictor", "model", "reason")


def _parts(written: pa.Table, key: str, size: int) -> Iterator[list[dict[str, Any]]]:
    """What the run wrote, whole records at a time."""
    part: list[dict[str, Any]] = []
    records = 0
    previous = None
    for batch in written.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            if row[key] != previous:
                records, previous = records + 1, row[key]
                if records > size:
                    yield part
                    part, records = [], 1
            part.append(row)
    if part:
        yield part


def _look(run: Run, ledger: Ledger, part: Sequence[dict[str, Any]], barred_now: set[str]) -> _Found:
    """Read what stands now; what is neither this run's nor the former value was edited since."""
    key = ledger.key
    records = list(dict.fromkeys(row[key] for row in part))
    names = sorted({row["property"] for row in part})
    present = read_present(run, records, names, ledger.object)
    barred_here = _barred(run, ledger, part, barred_now)
    found = _Found()
    for row in part:
        record = present.get(row[key])
        if record is None:
            found.gone.add(row[key])
            continue
        now = record.values.get(row["property"])
        if now == row["value_after"] and row["value_before"] is not None and row[key] in barred_here:
            found.barred.add(row[key])
        elif now == row["value_after"]:
            swapped = {"value_before": row["value_after"], "value_after": row["value_before"]}
            found.restore.append({**row, **swapped, "reason": "rolled back"})
        elif now != row["value_before"]:
            found.edited.append((row[key], row["property"], now))
    return found


def _barred(run: Run, ledger: Ledger, part: Sequence[dict[str, Any]], barred_now: set[str]) -> set[str]:
    """Records that get nothing back; of companies those whose reasons named who may not be named any more."""
    if ledger.object == "contact":
        return barred_now
    named = {(row[ledger.key], one) for row in part for one in re.findall(NAMED, row["value_before"] or "")}
    out = unnameable(run, {one for _, one in named})
    return {company for company, one in named if one in out}


def _counts(
    run: Run, target: Target, found: _Found, object_name: WrittenObject, *, dry_run: bool
) -> dict[str, Any]:
    """Records are counted once: gone, else failed, else edited since, else restored."""
    ledger = run.mirror.ledger.of(object_name)
    kept = _kept(run, target, found, ledger)
    edited = {row[ledger.key] for row in kept}
    states = _states(run, object_name)
    gone = found.gone | {record for record, state in states.items() if state == "gone"}
    failed = {record for record, state in states.items() if state == "failed"} - gone
    if dry_run:
        back = {row[ledger.key] for row in found.restore}
    else:
        back = {record for record, state in states.items() if state == "written"}
    return {
        "restored": len(back - edited - gone),
        "skipped": {"edited_since": len(edited - gone - failed), "gone": len(gone)},
        "failed": len(failed),
        "barred": len(found.barred),
        "values": len(found.restore) if dry_run else ledger.counts(run.id)["values"],
        "kept": kept[:_NAMED],
    }


def _states(run: Run, object_name: WrittenObject) -> dict[str, str]:
    rows = run.mirror.connection.execute(
        "select object_id, state from store.outcomes where run_id = ? and object = ?", [run.id, object_name]
    ).fetchall()
    return dict(rows)


def _kept(run: Run, target: Target, found: _Found, ledger: Ledger) -> list[dict[str, Any]]:
    """Values that were edited since. Those of no predictor (model, time of scoring), which move along with any
    later write of ours, are none of them then."""
    later = {
        (row["object_id"], row["property"]): row["later_run"]
        for row in run.mirror.rollbacks.later_writers(target.run_id, found.edited, ledger.object).to_pylist()
    }
    written = target.written[ledger.object]
    marks = set(written.filter(pc.is_null(written["predictor"]))["property"].unique().to_pylist())
    kept = []
    for record_id, name, now in found.edited:
        by = later.get((record_id, name))
        if by is None or name not in marks:
            kept.append({ledger.key: record_id, "property": name, "value": now, "by_run": by})
    return kept
