"""Statements parsed once: a service runs the same few hundred texts again and again, and for a few contacts DuckDB
takes longer to parse and plan them than to carry them out (a fifth to a third of it is the parsing).
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import duckdb

#: Texts that are remembered, as parsed or as seen; the ones longest unused go first.
MOST = 1000

Parameters = Sequence[object] | Mapping[str, object] | None


def parsing_once(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The same connection, which remembers what its texts, and those of its cursors, are parsed to."""
    return cast(duckdb.DuckDBPyConnection, _Connection(connection))


class _Connection:
    """A DuckDB connection in all but the two ways of running a text."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, query: object, parameters: Parameters = None) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(_PARSED.of(self._connection, query), parameters)

    def sql(self, query: object, **more: Any) -> duckdb.DuckDBPyRelation:
        return self._connection.sql(_PARSED.of(self._connection, query), **more)

    def cursor(self) -> "_Connection":
        return _Connection(self._connection.cursor())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


class _Parsed:
    """What texts were parsed to, for all connections and threads: a statement is bound anew wherever it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, duckdb.Statement | None] = OrderedDict()

    def of(self, connection: duckdb.DuckDBPyConnection, query: object) -> Any:
        """The statement of a text that comes again; else, and for a text of several, what was given."""
        if not isinstance(query, str):
            return query
        with self._lock:
            again = query in self._known
            found = self._known.setdefault(query, None)
            self._known.move_to_end(query)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        if found is not None or not again:
            return found or query
        statements = connection.extract_statements(query)
        if len(statements) != 1:
            return query
        with self._lock:
            self._known[query] = statements[0]
        return statements[0]


_PARSED = _Parsed()
