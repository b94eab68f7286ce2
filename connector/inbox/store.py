"""The inbox's file: SQLite in the state folder, which any number of threads and processes may open.

- `bodies`: webhooks as they came, acknowledged and not yet read; gone as soon as they are. `reason`: why one could
  not be read.
- `hints`: what is to be looked at again, one row a record and kind of change, however often it changed.
  `state`: waiting, held (until the job under way has ended), dead.
- `seen`: hashed keys of events, so that a second delivery is no second event.
- `totals`: counts since the file was made.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connector.errors import StateMismatch

FILE = "inbox.sqlite"
VERSION = 1

_MAKING = threading.Lock()

_SCHEMA = """
create table if not exists bodies (
    id integer primary key, source text not null, received_at real not null, body blob not null, reason text);
create index if not exists unread on bodies (reason, id);
create table if not exists hints (
    id integer primary key, source text not null, object text not null, object_id text not null,
    kind text not null, key text not null, property text, others text not null, occurred_at real not null,
    received_at real not null, due_at real not null, attempts integer not null default 0,
    state text not null default 'waiting', reason text, unique (source, object, object_id, kind));
create index if not exists by_due on hints (state, due_at);
create index if not exists by_key on hints (key);
create table if not exists seen (key text primary key, at real not null) without rowid;
create index if not exists by_age on seen (at);
create table if not exists totals (name text primary key, n integer not null) without rowid;
"""


def connect(folder: Path) -> sqlite3.Connection:
    """Open the folder's inbox; make it where there is none. Committed means on disk.

    Raises StateMismatch when a newer program wrote it.
    """
    path = folder / FILE
    _make(path)
    connection = sqlite3.connect(path, timeout=15.0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        # 32 MB instead of 4: bodies are large, and each checkpoint writes them once more while senders wait.
        connection.execute("pragma wal_autocheckpoint = 8000")
        # What was deleted is overwritten: bodies hold property values.
        connection.execute("pragma secure_delete = on")
        [found] = connection.execute("pragma user_version").fetchone()
        if found > VERSION:
            raise StateMismatch(f"{path} was written by a newer Leadlight: update Leadlight.")
        if found < VERSION:
            connection.executescript(_SCHEMA)
            connection.execute(f"pragma user_version = {VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    """An empty file, readable by us alone. One that stands is opened by nothing but SQLite: to close it would let
    go of the locks that this process's connections hold (https://sqlite.org/howtocorrupt.html, 2.2), and the next
    process that is done with the inbox would take away the log that ours is writing."""
    with _MAKING:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; takes the write lock at once, so that it never has to give up half-way.

    A full disk may have ended the transaction by itself, or have left it open at its commit (SQLite, "Response To
    Errors Within A Transaction"): either way none is open afterwards.
    """
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def add_to_totals(connection: sqlite3.Connection, **more: int) -> None:
    """Count up, within a transaction."""
    connection.executemany(
        "insert into totals values (?, ?) on conflict (name) do update set n = n + excluded.n",
        [(name, n) for name, n in more.items() if n],
    )
