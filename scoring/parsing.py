"""Statements parsed once: a service runs the same few hundred texts again and again, and for a few contacts DuckDB
takes longer to parse and plan them than to carry them out (a fifth to a third of it is the parsing).
"""

import atexit
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import duckdb

#: Texts that are remembered, parsed ones and met ones; the ones longest unused go first.
MOST = 1000
#: Characters of a text that is remembered: longer ones list records, and are others each time.
LONGEST = 30_000

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
    """What texts were parsed to, for all connections and threads: a statement is bound anew wherever it runs. Of a
    text that came once its hash alone is kept: it may be one that names somebody, and never comes again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: OrderedDict[int, None] = OrderedDict()
        self._known: OrderedDict[str, duckdb.Statement] = OrderedDict()

    def of(self, connection: duckdb.DuckDBPyConnection, query: object) -> Any:
        """The statement of a text that comes again; else, and for a text of several, what was given."""
        if not isinstance(query, str) or len(query) > LONGEST:
            return query
        with self._lock:
            if query in self._known:
                self._known.move_to_end(query)
                return self._known[query]
            again = hash(query) in self._met
            self._met[hash(query)] = None
            _at_most(self._met)
        if not again:
            return query
        statements = connection.extract_statements(query)
        if len(statements) != 1:
            return query
        with self._lock:
            self._known[query] = statements[0]
            _at_most(self._known)
        return statements[0]

    def forget(self) -> None:
        with self._lock:
            self._met.clear()
            self._known.clear()


def _at_most(kept: OrderedDict[Any, Any]) -> None:
    if len(kept) > MOST:
        kept.popitem(last=False)


_PARSED = _Parsed()


def forget() -> None:
    """Keep no text any more: somebody who was erased may be named in one."""
    _PARSED.forget()


# what DuckDB made must not outlive its module, which complains of it at the end
atexit.register(forget)
