"""Traces of a person: in every text column of the mirror, and in every other file, decompressed.

An address is looked for everywhere, plain and as in a link. An id that is distinctive is too; one that is a short
number would be found in every amount and date, so it is looked for where ids stand.
"""

import csv
import gzip
import html
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Any
from urllib.parse import quote

import duckdb
import pyarrow.parquet as pq

from connector import inbox
from connector.jobs.people import ID_COLUMNS, Person
from connector.mirror.schema import FILE
from scoring.companies import AFTER, BEFORE
from scoring.engine import literal, quoted

#: An id shorter than this that is only digits is not distinctive.
_DISTINCTIVE = 9
_CHUNK, _OVERLAP = 1 << 23, 1 << 10

#: What may stand right before a token, and what may not after it: a@b.com is no trace in xa@b.com, nor in
#: a@b.com.au. Escapes of JSON (a line's end) and of links within links end in letters and digits.
_BEFORE = (
    r"^|[^a-z0-9._%+-]|\\[nrtbf]|\\u[0-9a-f]{4}"
    r"|%(?:25)*(?:0[9ad]|2[0-2 6-9ac f]|3[a-f]|5[bd]|7[bd])".replace(" ", "")
)
_AFTER = r"[a-z0-9-]"


def tokens(person: Person) -> tuple[str, ...]:
    """Lower-case texts that are a trace wherever they stand."""
    plain = [*person.addresses, *(one.lower() for one in person.contact_ids if is_distinctive(one))]
    return tuple(dict.fromkeys(plain))


def is_distinctive(contact_id: str) -> bool:
    """Whether an id means this contact wherever it stands."""
    return len(contact_id) >= (_DISTINCTIVE if contact_id.isdigit() else 6)


def pattern(person: Person) -> str | None:
    """RE2 for a token as a whole, with what stands before and after as groups 1 and 2; None without any token."""
    found = tokens(person)
    if not found:
        return None
    either = "|".join(_spelt(one) for one in found)
    return rf"(?i)({_BEFORE})(?:{either})($|[^a-z0-9.-]|\.(?:$|[^a-z0-9]))"


def as_reason(person: Person) -> str | None:
    """RE2 for a contact's id as a company's reasons name it, whatever its length; what stands before and after it
    as groups 1 and 2. None without any id."""
    ids = "|".join(map(re.escape, person.contact_ids))
    return f"({BEFORE})(?:{ids})({AFTER})" if ids else None


def meant_in(column: str, person: Person) -> Person:
    """Whose traces a column can hold: a deal's or a company's id may be the same number as a contact's."""
    another = column.endswith("_id") and column not in ID_COLUMNS
    return Person((), person.addresses) if another else person


def _spelt(token: str) -> str:
    """A pattern for the ways to write a token: as it stands, escaped for a link (or a link within a link), or for
    JSON, letter by letter."""
    return "".join(_letter(one) for one in token)


def _letter(one: str) -> str:
    if one.isascii() and (one.isalnum() or one in "._-"):
        return re.escape(one)
    ways = {one, one.upper()}
    links = [f"%(?:25)*{quote(way, safe='').lower()[1:]}" for way in ways]
    points = [] if one.isascii() else [rf"\\u{ord(way):04x}" for way in ways if len(way) == 1]
    return f"(?:{'|'.join([*map(re.escape, sorted(ways)), *sorted(links), *sorted(points)])})"


def in_tables(connection: duckdb.DuckDBPyConnection, person: Person) -> tuple[int, list[dict[str, Any]]]:
    """How many columns were asked, and where something was found."""
    columns = connection.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() "
        "where database_name = current_database() and not internal order by all"
    ).fetchall()
    by_table: dict[tuple[str, str], list[str]] = {}
    for schema, table, column, kind in columns:
        if kind in ("VARCHAR", "JSON", "BLOB") or kind.endswith("[]") or kind.startswith(("STRUCT", "MAP")):
            by_table.setdefault((schema, table), []).append(column)
    traces = []
    for (schema, table), names in by_table.items():
        for column in names:
            where = _trace(column, names, person)
            if where is None:
                continue
            [(rows,)] = connection.execute(
                f"select count(*) from {quoted(schema)}.{quoted(table)} where {where}"
            ).fetchall()
            if rows:
                traces.append({"where": f"{schema}.{table}.{column}", "rows": rows})
    return sum(map(len, by_table.values())), traces


def _trace(column: str, columns: Sequence[str], person: Person) -> str | None:
    parts = []
    text = f"cast({quoted(column)} as varchar)"
    if (wanted := pattern(meant_in(column, person))) is not None:
        parts.append(f"regexp_matches({text}, {literal(wanted)})")
    if (named := as_reason(person)) is not None:
        parts.append(f"regexp_matches({text}, {literal(named)})")
    ids = ", ".join(map(literal, person.contact_ids))
    if ids and column in ID_COLUMNS:
        parts.append(f"{text} in ({ids})")
    elif ids and column == "object_id" and "object" in columns:
        parts.append(f"(object = 'contact' and {text} in ({ids}))")
    return f"({' or '.join(parts)})" if parts else None


def in_files(folders: Sequence[Path], person: Person, leave_out: Sequence[Path]) -> tuple[int, list[Path]]:
    """How many files were read, and those with a trace; what is compressed is read decompressed. A path in
    `folders` may be a file."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*") if folder.is_dir() else [folder])]
    paths = [path for path in paths if path.is_file() and path not in leave_out]
    return len(paths), [path for path in paths if in_file(path, person)]


def in_file(path: Path, person: Person) -> bool:
    """Whether a file has a trace."""
    if path.name == FILE:
        # A number in the mirror's bytes may be a deal's id: that file was made anew, and its tables are asked.
        person = Person(tuple(one for one in person.contact_ids if not one.isdigit()), person.addresses)
    return _has_trace(path, searched(person), person)


def searched(person: Person) -> re.Pattern[bytes] | None:
    """A pattern for lower-case bytes; None where nothing of the person is distinctive."""
    either = "|".join(_spelt(one) for one in tokens(person))
    return re.compile(rf"(?:{_BEFORE})(?:{either})(?!{_AFTER}|\.[a-z0-9])".encode()) if either else None


def _has_trace(path: Path, wanted: re.Pattern[bytes] | None, person: Person) -> bool:
    if _has_id(path, set(person.contact_ids)):
        return True
    if wanted is None:
        return False
    return any(wanted.search(chunk) for chunk in _contents(path))


def _contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what they say when decompressed, in lower-case chunks that overlap."""
    if path.name.startswith(inbox.FILE):
        yield from _read_elsewhere(path)
        return
    with path.open("rb") as opened:
        start = opened.read(4)
        opened.seek(0)
        yield from _chunks(opened)
    if start[:2] == b"\x1f\x8b":
        with gzip.open(path, "rb") as unpacked:
            yield from _chunks(unpacked)
    elif start == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    yield from _chunks(member)
    elif start == b"PAR1":
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=20_000):
                for column in batch.columns:
                    yield "\n".join(str(one) for one in column.to_pylist()).lower().encode()


def _read_elsewhere(path: Path) -> Iterator[bytes]:
    """By a process of its own: a service that closes a file of its inbox lets go of its locks on it (see
    `connector.inbox.store`)."""
    copy = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
    command = [sys.executable, "-I", "-c", copy, str(path)]
    # its errors are told by its exit code; a reader that has found a trace does not wait for the rest
    with subprocess.Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL) as reader:  # noqa: S603
        assert reader.stdout is not None
        yield from _chunks(reader.stdout)
    if reader.returncode:
        raise OSError(f"{path.name} could not be read.")


def _chunks(opened: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    before = b""
    while chunk := opened.read(_CHUNK):
        yield (before + chunk).lower()
        before = chunk[-_OVERLAP:]


def _has_id(path: Path, ids: set[str]) -> bool:
    """Whether a table in a file has a row of one of these contacts: in its first column, or one called so."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", errors="replace", newline="") as opened:
            rows = csv.reader(opened)
            header = next(rows, [])
            place = header.index("contact_id") if "contact_id" in header else 0
            return any(len(row) > place and row[place] in ids for row in (header, *rows))
    if path.suffix == ".html":
        # as our report writes it below each name, or in the place of one; a company's is written another way
        told = path.read_text(encoding="utf-8", errors="replace")
        return any(re.search(rf"\b(?:id|[Cc]ontact) {re.escape(html.escape(one))}\b", told) for one in ids)
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as parquet:
            names = parquet.schema_arrow.names
            column = "contact_id" if "contact_id" in names else names[0]
            batches = parquet.iter_batches(columns=[column])
            return any(str(one) in ids for batch in batches for one in batch.column(0).to_pylist())
    if path.suffix in (".sqlite", ".db"):
        return _sqlite_has_id(path, ids)
    return False


def _sqlite_has_id(path: Path, ids: set[str]) -> bool:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            columns = [row[1] for row in connection.execute(f"pragma table_info({quoted(table)})")]
            of_contacts = {"object_id": "object = 'contact' and "} if "object" in columns else {}
            for column in set(columns) & {*ID_COLUMNS, *of_contacts}:
                marks = ", ".join("?" * len(ids))
                where = f"{of_contacts.get(column, '')}{quoted(column)} in ({marks})"
                query = f"select 1 from {quoted(table)} where {where} limit 1"
                if connection.execute(query, sorted(ids)).fetchone():
                    return True
        return False
    finally:
        connection.close()
