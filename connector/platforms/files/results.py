"""What was written for each contact: a small store, and the files that are made of it.

Values are kept in SQLite as soon as they are written, so that a killed push loses nothing; `publish` makes the
CSV that the platform's importer takes, and the same as Parquet.
"""

import csv
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from connector.errors import BadSetting

CSV_NAME = "leadlight_results.csv"
PARQUET_NAME = "leadlight_results.parquet"

_SCHEMA = "create table if not exists results (contact_id text primary key, property_values text not null)"
#: Ids per statement: SQLite allows 32,766 parameters.
_IDS = 10_000


class Results:
    """The present values of our properties, by contact. Thread-safe."""

    def __init__(self, folder: Path, id_column: str = "contact_id") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder, self._id_column = folder, id_column
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(folder / "results.sqlite", check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute(_SCHEMA)
        self._written = False

    def write(self, values: Mapping[str, Mapping[str, str | None]]) -> None:
        """Set the given properties of the given contacts, all or none; None clears one."""
        with self._lock, self._connection:
            present = self._read(list(values))
            merged = [
                (contact_id, _json({**present.get(contact_id, {}), **new})) for contact_id, new in values.items()
            ]
            self._connection.executemany("insert or replace into results values (?, ?)", merged)
            self._written = True

    def read(self, contact_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Values of those contacts that have any."""
        with self._lock:
            return self._read(contact_ids)

    def _read(self, contact_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for start in range(0, len(contact_ids), _IDS):
            ids = list(contact_ids[start : start + _IDS])
            marks = ", ".join("?" * len(ids))
            rows = self._connection.execute(f"select * from results where contact_id in ({marks})", ids)
            found.update((contact_id, json.loads(text)) for contact_id, text in rows)
        return found

    def forget(self, contact_ids: Sequence[str]) -> None:
        """Take contacts out for good: from the store, its free pages, its log, and the files made of it."""
        with self._lock:
            self._connection.execute("pragma secure_delete = on")
            with self._connection:
                self._connection.executemany(
                    "delete from results where contact_id = ?", [(i,) for i in contact_ids]
                )
            self._connection.execute("vacuum")
            self._connection.execute("pragma wal_checkpoint(truncate)")
        self._written = any((self.folder / name).exists() for name in (CSV_NAME, PARQUET_NAME))
        self.publish()

    def texts(self) -> pa.Table:
        """`contact_id` and `ours`: all values as canonical JSON."""
        with self._lock:
            rows = self._connection.execute("select * from results order by contact_id").fetchall()
        ids, texts = zip(*rows, strict=True) if rows else ((), ())
        schema = pa.schema([("contact_id", pa.string()), ("ours", pa.string())])
        return pa.table([pa.array(ids, pa.string()), pa.array(texts, pa.string())], schema=schema)

    def table(self) -> pa.Table:
        """One row a contact: its id under the file's own name for it, one text column a property."""
        texts = self.texts()
        values = [json.loads(text) for text in texts["ours"].to_pylist()]
        names = sorted({name for row in values for name in row} - {self._id_column})
        columns = [pa.array([row.get(name) for row in values], pa.string()) for name in names]
        return pa.table([texts["contact_id"], *columns], names=[self._id_column, *names])

    def publish(self) -> tuple[Path, ...]:
        """Make the CSV and the Parquet file anew if anything was written since; their paths."""
        paths = (self.folder / CSV_NAME, self.folder / PARQUET_NAME)
        if self._written or (not all(path.exists() for path in paths) and self.texts().num_rows):
            table = self.table()
            for path in paths:
                write_table(path, table)
            self._written = False
        return paths

    def close(self) -> None:
        """Publish and let go of the store."""
        self.publish()
        self._connection.close()


def write_table(path: Path, table: pa.Table) -> None:
    """Write Parquet or CSV by the path's ending, whole or not at all. Raises BadSetting for other endings and
    places that cannot be written."""
    writers: Mapping[str, Callable[[pa.Table, Path], None]] = {".csv": _write_csv, ".parquet": _write_parquet}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise BadSetting(f"--out {path}: the file must end in .csv or .parquet.")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(table, unfinished)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise BadSetting(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")


def _write_csv(table: pa.Table, path: Path) -> None:
    # An importer takes an empty field for 'no value'; Arrow quotes only what needs it.
    with path.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerow(table.column_names)
    with path.open("ab") as opened_again:
        options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
        pa_csv.write_csv(table, opened_again, options)


def _json(values: Mapping[str, str | None]) -> str:
    """Keys sorted, cleared ones left out, compact."""
    kept = {name: value for name, value in values.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
