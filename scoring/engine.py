"""Where expressions run: SQL text over canonical tables, on one engine.

Features and snapshots are SQL written once. The prelude gives the few scalar functions that engines spell
differently, so that the same text runs on DuckDB and, as temporary functions, on Spark:

- `local_ts(ts, tz)`: the wall-clock time at a UTC instant in an IANA zone; null when the zone is null
- `secs_between(a, b)`: whole seconds from `a` to `b`
- `iso_dow(ts)`: 1 is Monday, 7 is Sunday
- `safe_div(a, b)`: null, never an error or infinity, when `b` is zero
- `stable_bucket(text, n)`: 0..n-1 from the text's MD5, equal on every engine and for ever

Rules that keep results equal on both engines: aggregates as `sum(case when …)`, no `max_by`, no bare `/`
but by a floating constant, floating literals as `86400.0e0`, `row_number()` with a full ordering for 'latest as
of'.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from scoring.parsing import parsing_once
from scoring.tables import TABLES, empty

_DUCKDB_PRELUDE = {
    "local_ts(ts, tz)": "timezone(tz, timezone('UTC', ts))",
    "secs_between(a, b)": "date_diff('second', a, b)",
    "iso_dow(ts)": "isodow(ts)",
    "safe_div(a, b)": "(a) / nullif(cast(b as double), 0)",
    "stable_bucket(text, n)": "cast(cast('0x' || substr(md5(text), 1, 8) as bigint) % (n) as integer)",
}


# `DuckEngine(few=True)` takes the copy knowingly.
warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")


class Engine(Protocol):
    """Runs SQL over the canonical tables, which are readable under their plain names."""

    def run(self, sql: str) -> None:
        """Execute a statement for its effect."""

    def fetch(self, sql: str) -> pa.Table:
        """The rows of a query."""

    def put(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as a temporary table `name`, replacing one of that name."""

    def drop(self, *names: str) -> None:
        """Take away temporary tables, those that there are."""

    def columns(self, name: str) -> dict[str, str]:
        """Column names and SQL types of a table or view, in order; empty when there is none."""


class DuckEngine:
    """The local engine: one DuckDB connection. Temporary tables belong to it and end with it."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, *, prepared: bool = False, few: bool = False
    ) -> None:
        """`prepared`: the prelude is readable on the connection, which counts in UTC. `few`: what is fetched is
        small, so that a second copy of it costs less than binding each query a second time."""
        self.connection = connection
        self._few = few
        if not prepared:
            connection.execute("set TimeZone = 'UTC'")
            prelude(connection)

    @classmethod
    def in_memory(cls, tables: Mapping[str, pa.Table] | None = None) -> "DuckEngine":
        """An engine over the given canonical tables; those not given are there without rows."""
        engine = cls(connect())
        given = dict(tables or {})
        for name in TABLES:
            engine.put(name, given.pop(name, empty(name)))
        for name, table in given.items():
            engine.put(name, table)
        return engine

    def run(self, sql: str) -> None:
        self.connection.execute(sql)

    def fetch(self, sql: str) -> pa.Table:
        asked = self.connection.execute if self._few else self.connection.sql
        return asked(sql).to_arrow_table()

    def put(self, name: str, table: pa.Table) -> None:
        self.connection.register("_incoming", table)
        try:
            self.connection.execute(f"create or replace temp table {quoted(name)} as select * from _incoming")
        finally:
            self.connection.unregister("_incoming")

    def drop(self, *names: str) -> None:
        self.connection.execute("; ".join(f"drop table if exists {quoted(name)}" for name in names))

    def columns(self, name: str) -> dict[str, str]:
        try:
            rows: list[tuple[Any, ...]] = self.connection.execute(f"describe {quoted(name)}").fetchall()
        except duckdb.CatalogException:
            return {}
        return {row[0]: row[1] for row in rows}


def prelude(connection: duckdb.DuckDBPyConnection, database: str | None = None) -> None:
    """Make the prelude's functions, as temporary ones of this connection or for good in a database."""
    temporary, place = ("temp ", "") if database is None else ("", f"{database}.main.")
    connection.execute(
        "; ".join(
            f"create or replace {temporary}macro {place}{head} as {body}" for head, body in _DUCKDB_PRELUDE.items()
        )
    )


def connect(path: Path | str = ":memory:", *, read_only: bool = False, **config: str) -> duckdb.DuckDBPyConnection:
    """DuckDB that downloads nothing, counts in UTC and leaves standard output to its caller."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        **config,
    }
    connection = parsing_once(duckdb.connect(path, read_only=read_only, config=settings))
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    return connection


def quoted(name: str) -> str:
    """A name as a SQL identifier, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text as a SQL literal, whatever it holds."""
    return "'" + value.replace("'", "''") + "'"
