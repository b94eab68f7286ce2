"""Taking webhooks in: many requests share one commit, and none is answered before it is on disk."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from connector.inbox.store import add_to_totals, connect, transaction

log = logging.getLogger(__name__)

#: Bodies in one commit.
GROUP = 64
#: Bodies that wait for a commit, at most: beyond it the sender is asked to come back.
WAITING = 2_000

_Entry = tuple[str, float, bytes, "asyncio.Future[None]", asyncio.AbstractEventLoop]


class Overloaded(Exception):
    """The disk does not keep up, or we are stopping: the sender shall try again."""


class Intake:
    """One writer thread with its own connection. `arrived` hears, on that thread, how many bytes it committed."""

    def __init__(self, folder: Path, arrived: Callable[[int], None] = lambda _: None) -> None:
        self._connection = connect(folder)
        self._queue: queue.Queue[_Entry | None] = queue.Queue()
        self._arrived = arrived
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="inbox-intake", daemon=True)
        self._thread.start()

    async def put(self, source: str, body: bytes, received_at: float) -> None:
        """Return when the body is on disk. `received_at` is epoch seconds. Raises Overloaded, sqlite3.Error."""
        if not self.alive or self._queue.qsize() >= WAITING:
            raise Overloaded
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.put((source, received_at, body, done, loop))
        await done

    @property
    def alive(self) -> bool:
        """Whether bodies are taken."""
        return self._thread.is_alive() and not self._closed

    def close(self) -> None:
        """Write what was taken, then stop."""
        self._closed = True
        self._queue.put(None)
        self._thread.join(10.0)

    def _run(self) -> None:
        group: list[_Entry] | None = []
        try:
            while (group := self._next()) is not None:
                self._write(group)
        finally:
            self._closed = True
            self._refuse(group or [])
            self._connection.close()

    def _refuse(self, group: list[_Entry]) -> None:
        """Whoever waits still is told to come back: nobody writes any more."""
        while True:
            try:
                group += [entry for entry in (self._queue.get_nowait(),) if entry is not None]
            except queue.Empty:
                break
        _tell(group, Overloaded())

    def _next(self) -> list[_Entry] | None:
        """What waits, as much as goes into one commit; None at the end."""
        first = self._queue.get()
        if first is None:
            return None
        group = [first]
        while len(group) < GROUP:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                self._queue.put(None)
                break
            group.append(entry)
        return group

    def _write(self, group: list[_Entry]) -> None:
        trouble: Exception | None = None
        try:
            with transaction(self._connection):
                self._connection.executemany(
                    "insert into bodies (source, received_at, body) values (?, ?, ?)", [row[:3] for row in group]
                )
                add_to_totals(self._connection, requests=len(group))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait hear of it and may come back
            log.error("webhooks could not be kept: %s", getattr(error, "sqlite_errorname", type(error).__name__))
            trouble = error if isinstance(error, sqlite3.Error) else Overloaded()
        _tell(group, trouble)
        if trouble is None:
            self._arrived(sum(len(body) for _, _, body, *_ in group))


def _tell(group: list[_Entry], trouble: Exception | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for *_, done, loop in group:
        by_loop.setdefault(loop, []).append(done)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, waiting, trouble)
        except RuntimeError:  # the loop was closed: nobody waits any more
            log.warning("the service stopped before %d webhooks were answered", len(waiting))


def _settle(waiting: list["asyncio.Future[None]"], trouble: Exception | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if trouble is None:
            done.set_result(None)
        else:
            done.set_exception(trouble)
