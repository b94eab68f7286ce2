"""Rollback: put back what stood before a run, wherever its own values still stand.

What was edited since, by a person or by a later run, is kept and listed; who objects to profiling gets nothing
back. A rollback is itself a run with its own
ledger, so it can be rolled back too. So that the next scheduled sync does not write the same again, the models
of that run are held back on its contacts: until another model is in use, until `--resume`, or until the rollback
is itself rolled back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connector.errors import BadSetting
from connector.jobs import lists
from connector.jobs.barred import barred
from connector.jobs.install import ensure_installed
from connector.jobs.push import with_options
from connector.jobs.run import Run
from connector.jobs.sending import Pushed, read_present, recover, send
from connector.jobs.train import standing_models

#: Batches that are read, planned and written in one go: few, so that an edit by a person seldom falls between.
_BATCHES_AT_ONCE = 20
#: Kept values that are named in the JSON; all are counted.
_NAMED = 1000


@dataclass(frozen=True)
class Target:
    """The run to undo. `contacts` and `values` are what it wrote."""

    run_id: str
    command: str
    #: contact_id, property, value_before, value_after, predictor, model
    written: pa.Table
    contacts: int

    @property
    def values(self) -> int:
        return int(self.written.num_rows)

    def to_json(self) -> dict[str, Any]:
        """What a person is asked about, in counts."""
        return {
            "of_run": self.run_id,
            "command": self.command,
            "values": self.values,
            "contacts": self.contacts,
        }


@dataclass
class _Found:
    """How contacts stand now, beside what the run left. Values are (contact_id, property, …)."""

    restore: list[dict[str, Any]] = field(default_factory=list)
    edited: list[tuple[str, str, str | None]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    #: Who may hold no value any more.
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
    written = run.mirror.ledger.written(target["run_id"])
    contacts = len(written["contact_id"].unique())
    if not contacts:
        raise BadSetting(
            f"Run {target['run_id']} ({target['command']}) wrote nothing that the ledger still knows "
            f"(keep_ledger_days is {run.settings.keep_ledger_days}): there is nothing to put back."
        )
    return Target(target["run_id"], target["command"], written, contacts)


def resolve(run: Run, name: str) -> dict[str, Any]:
    """The run that a name means. Raises BadSetting."""
    found = [row for row in run.mirror.runs() if row["run_id"].startswith(name) and row["run_id"] != run.id]
    exact = [row for row in found if row["run_id"] == name]
    if len(exact or found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise BadSetting(f"{name} names {what} of this account: `leadlight runs` lists them.")
    return (exact or found)[0]


def rollback(run: Run, target: Target, *, dry_run: bool = False) -> dict[str, Any]:
    """The fixed JSON of `leadlight rollback`. Stopped anywhere and run again, it ends the same."""
    undone = run.mirror.rollbacks.of_run(target.run_id)
    barred_now = barred(run)
    if not dry_run:
        _reinstall(run, target)
    taken_over = held = 0
    if not dry_run:
        taken_over = run.mirror.rollbacks.begin(run.id, target.run_id)
        if undone is None:
            # before the first write: a sync that comes between a kill and the next try must find it
            held = run.mirror.rollbacks.hold(run.id, target.run_id)
    sent, found = Pushed(changed=taken_over), _Found()
    for part in _parts(target, _BATCHES_AT_ONCE * run.platform.batch_size):
        here = _look(run, part, barred_now)
        found.edited += here.edited
        found.gone |= here.gone
        found.barred |= here.barred
        found.restore += here.restore if dry_run else ()
        if not dry_run and here.restore:
            run.mirror.ledger.plan_writes(run.id, pa.Table.from_pylist(here.restore, schema=_PLANNED))
            send(run, sent, "Putting back")
    if not dry_run and undone is not None:
        run.mirror.rollbacks.release_of(undone)
    return {**_result(run, target, found, dry_run=dry_run), "held": held}


def _reinstall(run: Run, target: Target) -> None:
    """Bring back those properties of ours that were taken away since (`uninstall`), with an option for every value
    that is to stand there again."""
    before = target.written.filter(pc.is_valid(target.written["value_before"]))
    names = set(before["property"].unique().to_pylist())
    wanted = []
    for entry in with_options(run, run.all_properties(), standing_models(run)):
        if entry.name in names and entry.type == "category":
            stood = before.filter(pc.equal(before["property"], entry.name))["value_before"].unique().to_pylist()
            known = {value for value, _ in entry.options}
            entry = entry.with_options(tuple((value, value) for value in sorted(set(stood) - known)))
        if entry.name in names:
            wanted.append(entry)
    if wanted:
        ensure_installed(run, wanted)


_PLANNED = pa.schema(
    [
        (name, pa.string())
        for name in ("contact_id", "property", "value_before", "value_after", "predictor", "model", "reason")
    ]
)


def _parts(target: Target, size: int) -> Iterator[list[dict[str, Any]]]:
    """What the run wrote, whole contacts at a time."""
    part: list[dict[str, Any]] = []
    contacts = 0
    previous = None
    for batch in target.written.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            if row["contact_id"] != previous:
                contacts, previous = contacts + 1, row["contact_id"]
                if contacts > size:
                    yield part
                    part, contacts = [], 1
            part.append(row)
    if part:
        yield part


def _look(run: Run, part: Sequence[dict[str, Any]], barred_now: set[str]) -> _Found:
    """Read what stands now; what is neither this run's nor the former value was edited since."""
    contacts = list(dict.fromkeys(row["contact_id"] for row in part))
    names = sorted({row["property"] for row in part})
    present = read_present(run, contacts, names)
    found = _Found()
    for row in part:
        contact = present.get(row["contact_id"])
        if contact is None:
            found.gone.add(row["contact_id"])
            continue
        now = contact.values.get(row["property"])
        if now == row["value_after"] and row["value_before"] is not None and row["contact_id"] in barred_now:
            found.barred.add(row["contact_id"])
        elif now == row["value_after"]:
            swapped = {"value_before": row["value_after"], "value_after": row["value_before"]}
            found.restore.append({**row, **swapped, "reason": "rolled back"})
        elif now != row["value_before"]:
            found.edited.append((row["contact_id"], row["property"], now))
    return found


def _result(run: Run, target: Target, found: _Found, *, dry_run: bool) -> dict[str, Any]:
    """Contacts are counted once: gone, else failed, else edited since, else restored."""
    kept = _kept(run, target, found)
    edited = {row["contact_id"] for row in kept}
    states = _states(run)
    gone = found.gone | {contact for contact, state in states.items() if state == "gone"}
    failed = {contact for contact, state in states.items() if state == "failed"} - gone
    if dry_run:
        back = {row["contact_id"] for row in found.restore}
    else:
        back = {contact for contact, state in states.items() if state == "written"}
    result: dict[str, Any] = {
        "run_id": run.id,
        "of_run": target.run_id,
        "dry_run": dry_run,
        "restored": len(back - edited - gone),
        "skipped": {"edited_since": len(edited - gone - failed), "gone": len(gone)},
        "failed": len(failed),
        "barred": len(found.barred),
        "notes": [lists.why(run, *one) for one in lists.unread(run, writing=True).items()],
        "values": len(found.restore) if dry_run else run.mirror.ledger.counts(run.id)["values"],
        "kept": kept[:_NAMED],
    }
    return result


def _states(run: Run) -> dict[str, str]:
    rows = run.mirror.connection.execute(
        "select object_id, state from store.outcomes where run_id = ? and object = 'contact'", [run.id]
    ).fetchall()
    return dict(rows)


def _kept(run: Run, target: Target, found: _Found) -> list[dict[str, Any]]:
    """Values that were edited since. Those of no predictor (model, time of scoring), which move along with any
    later write of ours, are none of them then."""
    later = {
        (row["object_id"], row["property"]): row["later_run"]
        for row in run.mirror.rollbacks.later_writers(target.run_id, found.edited).to_pylist()
    }
    marks = set(target.written.filter(pc.is_null(target.written["predictor"]))["property"].unique().to_pylist())
    kept = []
    for contact_id, name, now in found.edited:
        by = later.get((contact_id, name))
        if by is None or name not in marks:
            kept.append({"contact_id": contact_id, "property": name, "value": now, "by_run": by})
    return kept
