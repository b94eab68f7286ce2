"""Erase: a person is taken out of everything, for good, and what is left is searched for traces.

While it is under way a file in the state folder says whose erasure it is; whoever is killed finishes by running it
again. Of the person a keyed hash remains, so that no later pull brings the person back.
"""

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector import inbox
from connector.errors import BadCredentials, BadSetting, FixSetup, NotTaken
from connector.jobs import outside, traces
from connector.jobs.companies import named_in
from connector.jobs.erasure import remove
from connector.jobs.people import Person, find
from connector.jobs.run import Run
from connector.jobs.sending import give_up, recover
from connector.mirror.ledger import Ledger
from connector.mirror.pages import ERASED
from connector.mirror.schema import FILE
from connector.platform import Write
from connector.registry import reader
from scoring.engine import literal

JOURNAL = "erasing.json"

#: Files of the inbox, in which a platform may tell of the person again while we search, and how often we look.
_INBOX, _LOOKS = {inbox.FILE, f"{inbox.FILE}-wal"}, 3


@dataclass(frozen=True)
class Erasure:
    """Whom an erasure is of, and whether an earlier one was stopped half-way and is finished with it."""

    person: Person
    resumed: bool

    def to_json(self) -> dict[str, Any]:
        """How much a person is asked about: counts, nothing of whom it is about."""
        return {
            "contacts": len(self.person.contact_ids),
            "addresses": len(self.person.addresses),
            "resumed": self.resumed,
        }


def prepare(run: Run, contact: str | None, email: str | None = None) -> Erasure:
    """Find the person. Raises BadSetting when nothing is known of such a contact, and never was."""
    found = find(run, contact, email)
    half = begun(run.folder)
    if found is None and half is None and not _was_erased(run, contact, email):
        raise BadSetting("No such contact is in the mirror: check the id or the address, or pull first.")
    if found is None:
        found = Person((contact,) if contact is not None else (), (email.strip().lower(),) if email else ())
    if half is None:
        return Erasure(found, resumed=False)
    ids = dict.fromkeys([*found.contact_ids, *half.contact_ids])
    addresses = dict.fromkeys([*found.addresses, *half.addresses])
    return Erasure(Person(tuple(ids), tuple(addresses)), resumed=True)


def erase(run: Run, erasure: Erasure) -> dict[str, Any]:
    """The JSON of `leadlight erase`; `proof.traces` is empty when nothing is left. Holds no id and no address of
    the person. `companies_off`: why companies whose reasons name the person were not cleared on the platform, or
    null; `companies_left`: their ids. Everything else is erased all the same.

    Raises NotTaken when the platform did not take the cleared values: then the mirror is as before.
    """
    person = erasure.person
    recover(run)
    _begin(run.folder, person)
    run.progress("Clearing values on the platform", 0, None)
    try:
        cleared = _clear(run, person)
    except NotTaken as refusal:
        if not erasure.resumed:
            # nothing was begun that the next erasure would have to finish, which may be somebody else's
            (run.folder / JOURNAL).unlink()
        why = f"{refusal} Nothing was erased here, so that you can run it again."
        raise NotTaken(why, refusal.request_id) from refusal
    companies, off = _clear_companies(run, person)
    run.progress("Taking the person out of the mirror", 0, None)
    removed = remove(run, person)
    taken = outside.take_out(run.folder, person)
    folders = [run.folder, *getattr(run.platform, "forget", lambda _: ())(person.contact_ids)]
    run.mirror.rewrite(run.platform.account())
    shutil.rmtree(run.folder / "spill", ignore_errors=True)
    models = _drop_models(run, person)
    run.progress("Searching what is left", 0, None)
    for _ in range(_LOOKS):
        # last: the hint by which a platform asked for this is what starts it again if it is stopped
        if letters := _forget_letters(run, person):
            removed["inbox"] = removed.get("inbox", 0) + letters
        proof = _prove(run, person, folders)
        if {trace["where"] for trace in proof["traces"]} - _INBOX or not proof["traces"]:
            break
    if not proof["traces"]:
        (run.folder / JOURNAL).unlink(missing_ok=True)
    return {
        "run_id": run.id,
        **erasure.to_json(),
        "cleared": cleared + companies.values,
        "companies_off": off,
        "companies_left": companies.left,
        "removed": removed,
        "models_removed": models,
        "files": {"rows_removed": taken.rows, "deleted": taken.deleted},
        "proof": proof,
    }


def erase_people(run: Run, contact_ids: Sequence[str]) -> dict[str, Any] | None:
    """Erase several people in one go, as the platform tells of it: JSON as `erase`, None when nobody of them is
    known. Who is not known stays out too, whatever page brings them later."""
    people: list[Erasure] = []
    for one in contact_ids:
        try:
            people.append(prepare(run, one))
        except BadSetting:
            run.mirror.erased.add([one], ())
    if not people:
        return None
    ids = dict.fromkeys(key for erasure in people for key in erasure.person.contact_ids)
    addresses = dict.fromkeys(key for erasure in people for key in erasure.person.addresses)
    whole = Person(tuple(ids), tuple(addresses))
    return erase(run, Erasure(whole, any(erasure.resumed for erasure in people)))


def _was_erased(run: Run, contact: str | None, email: str | None) -> bool:
    known = run.mirror.erased
    return known.has_contact(contact) if contact is not None else known.has_address(email or "")


@dataclass
class _Companies:
    """Values that were cleared on companies, and companies on which they still stand."""

    values: int = 0
    left: list[str] = field(default_factory=list)


def _clear(run: Run, person: Person) -> int:
    """Clear our properties of the contacts on the platform, through the ledger; how many values. What is gone
    holds none."""
    names = [entry.name for entry in run.all_properties()]
    return _clear_records(run, run.mirror.ledger, person.contact_ids, names)


def _clear_companies(run: Run, person: Person) -> tuple[_Companies, str | None]:
    """The same of companies whose reasons name the person (the next sync works these out again); why that was not
    possible, or None."""
    ledger, naming = run.mirror.ledger.of("company"), _naming(run, person)
    names = [entry.name for entry in run.company_properties()]
    try:
        return _Companies(_clear_records(run, ledger, naming, names)), None
    except BadCredentials:
        raise
    except (FixSetup, NotTaken) as problem:
        give_up(ledger, run.id, problem)
        mending = "Run" if isinstance(problem, NotTaken) else "Grant it and run"
        off = (
            f"{len(naming):,} companies on the platform still name the person, or one erased before, in their "
            f"reasons, and could not be cleared: {problem} {mending} "
            f"`leadlight sync` or this again, which clears them; or clear {' and '.join(names)} of them by hand."
        )
        return _Companies(left=naming), off


def _naming(run: Run, person: Person) -> list[str]:
    """Live companies whose reasons name a contact of the person, or one who was erased before and could not be
    taken out of them then."""
    ids = ", ".join(map(literal, (*person.contact_ids, ERASED)))
    rows = run.mirror.connection.execute(
        "select company_id from store.companies where deleted_at is null and merged_into is null "
        f"and list_has_any({named_in('ours')}, [{ids}]::varchar[]) order by company_id"
    ).fetchall()
    return [row[0] for row in rows]


def _clear_records(run: Run, ledger: Ledger, record_ids: Sequence[str], properties: Sequence[str]) -> int:
    names = sorted(properties)
    ids, size = list(record_ids), run.platform.batch_size
    present: dict[str, Write | None] = {}
    for start in range(0, len(ids), size):
        present.update(run.platform.read_ours(ids[start : start + size], names, ledger.object))
    rows = [
        {
            ledger.key: key,
            "property": name,
            "value_before": run.mirror.erased.unnamed(value),
            "value_after": None,
            "reason": "erasure",
        }
        for key, write in present.items()
        if write is not None
        for name, value in write.values.items()
        if value not in (None, "")
    ]
    if rows:
        schema = pa.schema([(name, pa.string()) for name in rows[0]])
        ledger.plan_writes(run.id, pa.Table.from_pylist(rows, schema=schema))
        _send(run, ledger)
    return len(rows)


def _send(run: Run, ledger: Ledger) -> None:
    for batch in ledger.batches(run.id, run.platform.batch_size):
        ledger.attempt(run.id, [write.record_id for write in batch])
        outcomes = run.platform.write(batch)
        ledger.settle(run.id, outcomes)
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        if failed:
            raise NotTaken(
                f"The platform did not clear our properties on {len(failed)} records ({failed[0].error}).",
                failed[0].request_id,
            )


def _forget_letters(run: Run, person: Person) -> int:
    """Take the person out of the inbox, whether a service runs or its file was only left behind; rows."""
    if not (run.folder / inbox.FILE).exists():
        return 0
    found = reader(run.settings, run.platform.account())
    readers = {} if found is None else {found.name: found}
    with closing(inbox.connect(run.folder)) as connection:
        return inbox.forget(connection, person.contact_ids, person.addresses, traces.searched(person), readers)


def _drop_models(run: Run, person: Person) -> list[str]:
    """Remove stored models that spell out something of the person (a rare property value); the next score trains
    afresh."""
    _, found = traces.in_files([run.models], person, ())
    dropped = sorted({path.parent for path in found if path.parent.parent != run.models})
    for version in dropped:
        champion = version.parent / "champion"
        if champion.exists() and champion.read_text(encoding="utf-8").strip() == version.name:
            champion.unlink()
        shutil.rmtree(version)
    return [version.name for version in dropped]


def _prove(run: Run, person: Person, folders: list[Path]) -> dict[str, Any]:
    """Ask every text column and read every file for what is left."""
    columns, in_tables = traces.in_tables(run.mirror.connection, person)
    journal = run.folder / JOURNAL
    files, found = traces.in_files([*folders, *outside.files(run.folder)], person, (journal,))
    return {
        "columns": columns,
        "files": files,
        "traces": [*in_tables, *({"where": _relative(path, run.folder), "rows": None} for path in found)],
    }


def _relative(path: Path, folder: Path) -> str:
    if path.name == FILE:
        return f"{FILE} (bytes)"
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def begun(folder: Path) -> Person | None:
    """Whose erasure was stopped half-way; None where none was."""
    try:
        given = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return Person(tuple(given["contact_ids"]), tuple(given["addresses"]))


def _begin(folder: Path, person: Person) -> None:
    unfinished = folder / f"{JOURNAL}.new"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump({"contact_ids": person.contact_ids, "addresses": person.addresses}, opened)
        opened.flush()
        os.fsync(opened.fileno())
    unfinished.replace(folder / JOURNAL)
