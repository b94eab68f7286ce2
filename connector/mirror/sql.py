"""What the mirror's parts share when they speak to DuckDB."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from scoring.engine import literal


def now() -> datetime:
    """The present instant as the mirror keeps times: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def naive(instant: datetime) -> datetime:
    """An instant as UTC without a zone; one without a zone is taken as UTC."""
    return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo is not None else instant


#: Connections that are in a transaction.
_OPEN: set[int] = set()


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing. Committed means on disk: DuckDB syncs its log before it answers. Within another one it is a
    part of that."""
    if id(connection) in _OPEN:
        yield
        return
    connection.execute("begin")
    _OPEN.add(id(connection))
    try:
        yield
        # where somebody caught an error in it, `commit` would roll it back without a word; a statement says so
        connection.execute("select 1").fetchall()
    except BaseException:
        _OPEN.discard(id(connection))
        connection.execute("rollback")
        raise
    _OPEN.discard(id(connection))
    connection.execute("commit")


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> Iterator[None]:
    """Make an Arrow table readable as `name` for a while.

    A result of which somebody read only the first row would refuse it (DuckDB 2.0): it is run to its end.
    """
    connection.complete()
    connection.register(name, table)
    try:
        yield
    except duckdb.Error:
        # in a transaction that failed nothing can be taken away; what went wrong is told, not that
        with suppress(duckdb.Error):
            _unregister(connection, name)
        raise
    except BaseException:
        _unregister(connection, name)
        raise
    _unregister(connection, name)


def _unregister(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    connection.complete()
    connection.unregister(name)


def first(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[object] = ()
) -> tuple[Any, ...] | None:
    """The first row, and no result left open."""
    rows = connection.execute(query, list(parameters) or None).fetchall()
    return rows[0] if rows else None


def same(one: str, other: str, columns: Sequence[str]) -> str:
    """SQL: rows of two aliases are equal in these columns, null equalling null."""
    return " and ".join(f"{one}.{name} is not distinct from {other}.{name}" for name in columns)


def bounds(alias: str, column: str, within: str) -> str:
    """SQL: the column is in its range of a temporary table, so that zone maps rule out the rest."""
    return (
        f"{alias}.{column} >= (select min({column}) from {within}) "
        f"and {alias}.{column} <= (select max({column}) from {within})"
    )


#: So many literals are read faster than all rows of a table are unpacked.
FEW = 1000


def texts(values: Iterable[str]) -> str:
    """SQL: literals for `in (…)`. Unlike a join with a table of them, a scan is filtered by these as it reads, so
    that wide columns of other rows are never unpacked."""
    return ", ".join(map(literal, values)) or "null"


def count(connection: duckdb.DuckDBPyConnection, what: str) -> int:
    """Rows of a table, or of a query in brackets."""
    row = first(connection, f"select count(*) from {what}")
    return int(row[0]) if row else 0
