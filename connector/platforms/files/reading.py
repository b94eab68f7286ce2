"""Rows of a file into a DuckDB table of texts, each with its number and, where it matters, its line.

Most files have no bad row. DuckDB's own reader takes them (a million rows in a quarter of a second). It knows
no lines for good rows, and after a stray quote it can lose what follows. So a file with any trouble is read again
by `_carefully`, which is slower, names every line, and goes on at the line after a broken record.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from connector.platforms.files.dialect import Dialect
from connector.platforms.files.mapping import Source
from connector.platforms.files.unpacking import Text, is_parquet, parsed, unpack
from scoring.engine import literal, quoted

_BATCH = 50_000


@dataclass(frozen=True)
class Reject:
    """A line that could not be used. `field` is None where the whole row is at fault."""

    line: int
    field: str | None
    reason: str


@dataclass
class Raw:
    """A file's rows as a temporary table: `_row` (1.. among all records, bad ones too), `_line` (null when
    `lined` is false) and one VARCHAR column c0.. per column of the file; empty is null."""

    name: str
    #: Column of the file -> column of the table.
    columns: dict[str, str]
    rows: int
    #: 'line' for text, 'row' for Parquet: what `_line` counts.
    unit: str = "line"
    lined: bool = True
    rejects: list[Reject] = field(default_factory=list)


class Reader:
    """Reads one source; the unpacked text is kept until the rows are taken over."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: Source, folder: Path) -> None:
        self.connection, self.source = connection, source
        self.name = f"raw_{source.number}"
        self._text: Text | None = None
        self._folder = folder

    def read(self, *, lined: bool) -> Raw:
        """The rows; with `lined`, every row knows its line. Raises BadSetting for what is no table at all."""
        if is_parquet(self.source.file):
            return self._parquet()
        if self._text is None:
            self._text = unpack(self.source, self._folder / f"{self.source.number}.csv")
        raw = None if lined or len(self._text.columns) == 1 else self._quickly(self._text)
        return raw or self._carefully(self._text)

    def _quickly(self, text: Text) -> Raw | None:
        """By DuckDB's reader; None when it stumbles over anything."""
        columns = {name: f"c{place}" for place, name in enumerate(text.columns)}
        types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns.values())
        quote = literal(text.dialect.quote or "")
        self.connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")
        try:
            self.connection.execute(
                f"create or replace temp table {self.name} as select row_number() over () as _row, "
                f"cast(null as bigint) as _line, * from read_csv({literal(str(text.path))}, auto_detect=false, "
                f"header=false, delim={literal(text.dialect.delimiter)}, quote={quote}, escape={quote}, "
                f"columns={{{types}}}, strict_mode=true, null_padding=false, store_rejects=true, rejects_limit=0)"
            )
            stumbled = self._count("reject_errors")
        except duckdb.Error:
            return None
        if stumbled:
            return None
        return Raw(self.name, columns, self._count(self.name), lined=False)

    def _carefully(self, text: Text) -> Raw:
        columns = {name: f"c{place}" for place, name in enumerate(text.columns)}
        schema = pa.schema(
            [("_row", pa.int64()), ("_line", pa.int64()), *((column, pa.string()) for column in columns.values())]
        )
        raw = Raw(self.name, columns, 0)
        self.connection.register("_incoming", schema.empty_table())
        self.connection.execute(f"create or replace temp table {self.name} as select * from _incoming")
        for batch in _batches(text, len(columns), raw.rejects):
            # an ordinary table of the same names: DuckDB appends it in one go
            self.connection.register("_incoming", pa.table(batch, schema=schema))
            self.connection.execute(f"insert into {self.name} select * from _incoming")
        self.connection.unregister("_incoming")
        raw.rows = self._count(self.name)
        return raw

    def _parquet(self) -> Raw:
        spec, path = self.source.spec, literal(str(self.source.file))
        if spec.skip_rows:
            raise self.source.wrong("skip_rows", "a Parquet file has no lines to skip.")
        try:
            found = self.connection.execute(f"describe select * from read_parquet({path})").fetchall()
        except duckdb.Error as error:
            raise self.source.wrong("file", f"{self.source.file.name} is damaged: {error}.") from None
        names = spec.names or [row[0] for row in found]
        if len(names) != len(found):
            raise self.source.wrong("names", f"it lists {len(names)} columns, the file has {len(found)}.")
        columns = {name: f"c{place}" for place, name in enumerate(names)}
        texts = ", ".join(
            f"nullif({_as_text(row[0], row[1])}, '') as {column}"
            for row, column in zip(found, columns.values(), strict=True)
        )
        self.connection.execute(
            f"create or replace temp table {self.name} as select row_number() over () as _row, "
            f"row_number() over () as _line, {texts} from read_parquet({path})"
        )
        return Raw(self.name, columns, self._count(self.name), unit="row")

    def _count(self, table: str) -> int:
        return int(self.connection.execute(f"select count(*) from {table}").fetchall()[0][0])


def _as_text(column: str, kind: str) -> str:
    """A Parquet value as the text that a CSV would have. Whole doubles lose their `.0`: data frames turn
    integer ids with gaps into doubles."""
    name = quoted(column)
    if kind in ("DOUBLE", "FLOAT"):
        return (
            f"case when isnan({name}) then null when {name} = trunc({name}) and abs({name}) < 1e15 "
            f"then cast(cast({name} as bigint) as varchar) else cast({name} as varchar) end"
        )
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
        return f"cast(to_json({name}) as varchar)"
    return f"cast({name} as varchar)"


def _batches(text: Text, width: int, rejects: list[Reject]) -> Iterator[list[list[Any]]]:
    rows: list[int] = []
    lines: list[int] = []
    values: list[list[str | None]] = []
    for number, (line, record) in enumerate(_records(text), start=1):
        if len(record) == width + 1 and record[-1] == "" and not isinstance(record, str):
            # A delimiter at the end of each line is common, and no field.
            record.pop()
        if isinstance(record, str):
            rejects.append(Reject(line, None, record))
        elif len(record) != width:
            rejects.append(Reject(line, None, f"{len(record)} fields instead of {width}"))
        else:
            rows.append(number)
            lines.append(line)
            values.append([value or None for value in record])
        if len(rows) == _BATCH:
            yield [rows, lines, *map(list, zip(*values, strict=True))]
            rows, lines, values = [], [], []
    if rows:
        yield [rows, lines, *map(list, zip(*values, strict=True))]


class _Lines:
    """Lines of a file that can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._back, self.taken = lines, list[str](), list[str]()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._lines)
        self.taken.append(line)
        return line

    def give_back(self) -> None:
        """All lines taken for the present record but the first."""
        self._back.extend(reversed(self.taken[1:]))


def _records(text: Text) -> Iterator[tuple[int, list[str] | str]]:
    """(line, fields), or (line, why it is no record). Blank lines are no rows."""
    with text.path.open(encoding="utf-8", newline="") as opened:
        lines = _Lines(iter(opened))
        reader = parsed(lines, text.dialect)
        line = text.first_line
        while True:
            lines.taken.clear()
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # An open quote swallows the lines below: only the line that it stands in is lost.
                lines.give_back()
                yield line, _why(error, text.dialect)
                line += 1
                reader = parsed(lines, text.dialect)
                continue
            if len(record) > 1 or "".join(record).strip():
                yield line, record
            line += len(lines.taken)


def _why(error: csv.Error, dialect: Dialect) -> str:
    message = str(error)
    if "unexpected end" in message or "field larger" in message:
        return f"a quote {dialect.quote} is opened and never closed"
    if "expected after" in message:
        return f"text after a closing quote {dialect.quote}, or a quote that is not doubled"
    return message
