"""Files as a platform: a pull reads them when they changed, a write goes to results beside the state."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connector.errors import BadSetting
from connector.platform import (
    Account,
    Diagnosis,
    Known,
    Outcome,
    Page,
    PropertyPlan,
    PullRequest,
    StreamOff,
    Wanted,
    Write,
    WrittenObject,
)
from connector.platforms.files import doctor
from connector.platforms.files.loading import last_time, load_tables
from connector.platforms.files.mapping import Mapping as FileMapping
from connector.platforms.files.mapping import property_name, read_mapping
from connector.platforms.files.results import Results
from scoring.tables import TABLES

log = logging.getLogger(__name__)

#: Raised when the same files give other tables than before, so that mirrors read them again.
READING = 1

#: One page holds everything that the files say.
_WHOLE = tuple(TABLES)


class FilesPlatform:
    """Tables from files, as a mapping describes them."""

    name = "files"
    objects: tuple[WrittenObject, ...] = ("contact",)
    batch_size = 10_000
    concurrency = 1

    def __init__(self, mapping: Path, results: Path) -> None:
        """`results` is a folder; each mapping has one of its own in it. Raises BadSetting for a wrong mapping."""
        self.mapping: FileMapping = read_mapping(mapping)
        self._results_folder = results / _account_id(mapping)
        self._results: Results | None = None
        self._tables: dict[tuple[str, ...], dict[str, pa.Table]] = {}

    def batch_for(self, records: int) -> int:  # noqa: ARG002 - one way for all
        """See `connector.platform.Platform`."""
        return self.batch_size

    def account(self) -> Account:
        """The mapping is the account: its name and a hash of where it lies."""
        return Account("files", _account_id(self.mapping.path), timezone=self.mapping.timezone)

    @property
    def goals(self) -> Mapping[str, Mapping[str, object]]:
        """The mapping's own goals by name."""
        first = {} if self.mapping.goal is None else {"default": self.mapping.goal}
        return {**first, **self.mapping.goals}

    def pull(self, known: Known, request: PullRequest) -> Iterator[Page | StreamOff]:
        """One page with every table, when files, mapping or goal columns differ from what the cursor saw."""
        columns = tuple(map(property_name, request.goal_columns))
        cursor = fingerprint(self.mapping, columns)
        if not request.full and known.cursor("files") == cursor:
            return
        tables = self.tables(columns)
        rows = {name: table for name, table in tables.items() if table.num_rows or name in _WHOLE}
        rows["contacts"] = self._with_ours(rows["contacts"])
        if tables["rejects"].num_rows:
            log.warning("%d rows of the files could not be used; they are kept aside", tables["rejects"].num_rows)
        yield Page(
            stream="files",
            rows=rows,
            cursor=cursor,
            whole=_WHOLE,
            total=sum(table.num_rows for name, table in rows.items() if name != "rejects"),
        )

    def tables(self, goal_columns: Sequence[str] = ()) -> dict[str, pa.Table]:
        """The canonical tables, read once."""
        wanted = tuple(sorted({*self.mapping.goal_columns(), *map(property_name, goal_columns)}))
        if wanted not in self._tables:
            self._tables = {wanted: load_tables(self.mapping, wanted)}
        return self._tables[wanted]

    def _loaded(self) -> dict[str, pa.Table]:
        """The tables, whatever goal columns they were read with."""
        return next(iter(self._tables.values())) if self._tables else self.tables()

    def last_time(self) -> datetime | None:
        """Just after the last thing that happened in the data (UTC, naive), the default `as_of`."""
        return last_time(self._loaded())

    def install(self, properties: Sequence[Any], *, dry_run: bool, repair: bool = False) -> list[PropertyPlan]:
        """Columns of a file need no preparation."""
        del dry_run, repair
        return [PropertyPlan(entry.name, "none", "a column of the results file") for entry in properties]

    def diagnose(self, wanted: Wanted) -> Diagnosis:
        """See `connector.platform.Diagnosable`: reads the files."""
        try:
            tables = self.tables(wanted.goal_columns)
        except BadSetting as error:
            return Diagnosis((doctor.unreadable(error),))
        checks = doctor.examine(self.mapping, tables, wanted.goal_columns)
        return Diagnosis(tuple(checks), doctor.no_calls(), doctor.no_calls())

    def write(self, batch: Sequence[Write]) -> list[Outcome]:
        """Keep the values; the results files are made when the platform is closed."""
        live = self._live([write.record_id for write in batch])
        self._store().write({write.record_id: write.values for write in batch if write.record_id in live})
        return [
            Outcome(write.record_id, "written" if write.record_id in live else "gone", request_id=None)
            for write in batch
        ]

    def read_ours(
        self,
        contact_ids: Sequence[str],
        properties: Sequence[str],
        object_name: WrittenObject = "contact",  # noqa: ARG002 - results are of contacts
    ) -> Mapping[str, Write | None]:
        """What was written before."""
        live, stored = self._live(contact_ids), self._store().read(contact_ids)
        return {
            contact_id: Write(contact_id, {name: stored.get(contact_id, {}).get(name) for name in properties})
            if contact_id in live
            else None
            for contact_id in contact_ids
        }

    def calls(self) -> Mapping[str, int]:
        """Files are not called."""
        return {}

    def calls_left(self) -> None:
        """Files have no limit."""

    def forget(self, contact_ids: Sequence[str]) -> tuple[Path, ...]:
        """Take contacts out of the results for good; the folder in which they were. The files that are read are
        the user's own and stay as they are."""
        if not self._results_folder.exists():
            return ()
        self._store().forget(contact_ids)
        return (self._results_folder,)

    def publish(self) -> tuple[Path, ...]:
        """Make the results files now; their paths."""
        return self._store().publish()

    def close(self) -> None:
        """Make the results files and let go of the store."""
        if self._results is not None:
            self._results.close()
            self._results = None

    def _store(self) -> Results:
        if self._results is None:
            contacts = self.mapping.contacts
            theirs = None if contacts is None else contacts.id or contacts.columns.get("contact_id")
            self._results = Results(self._results_folder, theirs or "contact_id")
        return self._results

    def _live(self, contact_ids: Sequence[str]) -> set[str]:
        contacts = self._loaded()["contacts"]
        asked = pa.array(list(contact_ids), pa.string())
        live = contacts.filter(
            pc.and_(
                pc.is_in(contacts["contact_id"], value_set=asked),
                pc.and_(pc.is_null(contacts["deleted_at"]), pc.is_null(contacts["merged_into"])),
            )
        )
        return set(live["contact_id"].to_pylist())

    def _with_ours(self, contacts: pa.Table) -> pa.Table:
        """Contacts with the values that were written for them before."""
        if not self._results_folder.exists():
            return contacts
        texts = self._store().texts()
        place = pc.index_in(contacts["contact_id"], value_set=texts["contact_id"].combine_chunks())
        ours = pc.fill_null(texts["ours"].combine_chunks().take(place.combine_chunks()), "{}")
        return contacts.set_column(contacts.column_names.index("ours"), "ours", ours)


def fingerprint(mapping: FileMapping, goal_columns: Sequence[str] = ()) -> dict[str, Any]:
    """What a pull depends on, as a cursor: content hashes of the mapping and its files, and how they are read."""
    return {
        "reading": READING,
        "mapping": _sha256(mapping.path),
        "files": [
            [source.spec.file, source.file.stat().st_size, _sha256(source.file)] for source in mapping.sources
        ],
        "goal_columns": sorted({*mapping.goal_columns(), *goal_columns}),
    }


def _account_id(mapping: Path) -> str:
    resolved = Path(mapping).resolve()
    return f"{property_name(resolved.stem)}-{hashlib.sha256(str(resolved).encode()).hexdigest()[:8]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
