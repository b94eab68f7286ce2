"""Working the inbox off: bodies become hints, hints are taken, settled, tried again, and at last set aside."""

import json
import logging
import math
import random
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from connector.inbox import reading
from connector.inbox.store import add_to_totals, connect, transaction
from connector.platform import Hint, Receiver

log = logging.getLogger(__name__)

#: Bodies read in one transaction.
BODIES = 64
#: Keys are kept longer than any platform goes on delivering (24 hours), unreadable bodies for a week.
KEEP_KEYS_SECONDS, KEEP_UNREADABLE_SECONDS = 3 * 86_400, 7 * 86_400
#: Seconds before the first repeat, doubled each time up to the last.
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0
#: Seconds that a record which was just handled is left alone, doubled as long as it goes on changing: a storm of
#: changes to one record costs a few readings.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
#: From so many attempts on a record is tried alone, so that a bad one does not take others with it.
ALONE_AFTER = 2


class Inbox:
    """For one worker: its own connection, one thread at a time."""

    def __init__(self, folder: Path, receivers: Mapping[str, Receiver], attempts: int = 8) -> None:
        self._connection = connect(folder)
        self._receivers, self._attempts = receivers, attempts
        self._swept = 0.0
        #: Record -> until when it is left alone, and for how long that is.
        self._paused: dict[tuple[str, str], tuple[float, float]] = {}
        with transaction(self._connection):
            self._connection.execute("update hints set state = 'waiting' where state = 'held'")

    def close(self) -> None:
        """Give the file up."""
        self._connection.close()

    def read(self, now: float | None = None) -> int:
        """Make hints of the bodies that wait, as many as go into one transaction; how many bodies it were."""
        now = time.time() if now is None else now
        rows = self._connection.execute(
            "select id, source, received_at, body from bodies where reason is null order by id limit ?", [BODIES]
        ).fetchall()
        if not rows:
            self._sweep(now)
            return 0
        found = reading.read(rows, self._receivers)
        with transaction(self._connection):
            reading.keep(self._connection, found, now, self._paused_until)
        return len(rows)

    def _paused_until(self, hint: Hint) -> float:
        return self._paused.get((hint.object, hint.object_id), (0.0, 0.0))[0]

    def _pause(self, hints: Sequence[Hint], now: float) -> None:
        """Leave these records alone for a moment; longer each time, until one has been quiet for as long again."""
        later = []
        for record in {(hint.object, hint.object_id) for hint in hints if hint.kind == "changed"}:
            until, last = self._paused.get(record, (0.0, 0.0))
            pause = min(2 * last, LONGEST_PAUSE) if last and now < until + last else FIRST_PAUSE
            self._paused[record] = (now + pause, pause)
            later.append((now + pause, *record))
        # what came in while they were handled
        self._connection.executemany(
            "update hints set due_at = max(due_at, ?) where object = ? and object_id = ? and kind = 'changed' "
            "and state = 'waiting'",
            later,
        )

    def due(
        self, limit: int, *, window: float = 0.0, leave: Collection[str] = (), now: float | None = None
    ) -> list[Hint]:
        """Hints whose time has come, of at most `limit` records, in the order in which things happened.

        A record that changed within the last `window` seconds may wait for more. `leave` names kinds that are not
        wanted now.
        """
        now = time.time() if now is None else now
        wanted = "state = 'waiting' and due_at <= ? and kind not in (select value from json_each(?))"
        given = [now - window, json.dumps(list(leave))]
        first = self._connection.execute(
            f"select object, object_id, attempts from hints where {wanted} order by due_at, id limit 1", given
        ).fetchone()
        if first is None:
            return []
        if first["attempts"] >= ALONE_AFTER:
            rows = self._connection.execute(
                f"select * from hints where {wanted} and object = ? and object_id = ? order by occurred_at, id",
                [*given, first["object"], first["object_id"]],
            )
        else:
            rows = self._connection.execute(
                f"""with records as (
                        select object, object_id, min(due_at) as due from hints
                        where {wanted} and attempts < {ALONE_AFTER} group by 1, 2 order by due limit ?)
                    select h.* from hints h join records using (object, object_id)
                    where {wanted} order by occurred_at, id""",
                [*given, limit, *given],
            )
        return [_hint(row) for row in rows.fetchall()]

    def settle(
        self,
        hints: Sequence[Hint],
        *,
        left: Collection[str] = (),
        hold: bool = False,
        reason: str | None = None,
        now: float | None = None,
    ) -> list[Hint]:
        """Done with these; those whose keys are `left` are tried again later, and set aside after too many times:
        these are returned.

        A record that changed again in the meantime has another key now, and stays. `hold`: they are to be looked
        at once more when the job under way has ended (`release`).
        """
        now = time.time() if now is None else now
        again = set(left)
        done = [(hint.key,) for hint in hints if hint.key not in again]
        with transaction(self._connection):
            if hold:
                self._connection.executemany("update hints set state = 'held' where key = ?", done)
            else:
                self._connection.executemany("delete from hints where key = ?", done)
            self._pause(hints, now)
            dead: list[Hint] = []
            for key in again:
                row = self._connection.execute("select id, attempts from hints where key = ?", [key]).fetchone()
                if row is None:
                    continue
                attempts = row["attempts"] + 1
                state = "dead" if attempts >= self._attempts else "waiting"
                dead += [hint for hint in hints if hint.key == key and state == "dead"]
                self._connection.execute(
                    "update hints set attempts = ?, state = ?, reason = ?, due_at = ? where id = ?",
                    [attempts, state, reason, now + _wait(attempts), row["id"]],
                )
            add_to_totals(self._connection, handled=0 if hold else len(done), dead=len(dead))
        if dead:
            log.error(
                "%d changes were set aside after %d attempts: leadlight inbox list", len(dead), self._attempts
            )
        return dead

    def release(self) -> None:
        """What was held until the end of a job waits again."""
        with transaction(self._connection):
            self._connection.execute("update hints set state = 'waiting' where state = 'held'")

    def waiting(self) -> bool:
        """Whether there is anything to read or to handle, now or later."""
        query = (
            "select exists (select 1 from bodies where reason is null) "
            "or exists (select 1 from hints where state = 'waiting')"
        )
        return bool(self._connection.execute(query).fetchone()[0])

    def next_due(self, now: float | None = None) -> float:
        """Seconds until the next change is to be handled; infinite where none waits."""
        now = time.time() if now is None else now
        [at] = self._connection.execute("select min(due_at) from hints where state = 'waiting'").fetchone()
        return math.inf if at is None else max(0.0, at - now)

    def _sweep(self, now: float) -> None:
        """Once an hour: keys that nobody will deliver again, and bodies that stayed unreadable."""
        if now - self._swept < 3600:
            return
        self._swept = now
        self._paused = {record: one for record, one in self._paused.items() if now < one[0] + one[1]}
        with transaction(self._connection):
            self._connection.execute("delete from seen where at < ?", [now - KEEP_KEYS_SECONDS])
            lost = self._connection.execute(
                "delete from bodies where reason is not null and received_at < ?", [now - KEEP_UNREADABLE_SECONDS]
            ).rowcount
            add_to_totals(self._connection, lost=lost)


def _hint(row: sqlite3.Row) -> Hint:
    occurred = datetime.fromtimestamp(row["occurred_at"], UTC).replace(tzinfo=None)
    others = tuple(json.loads(row["others"]))
    return Hint(row["object"], row["object_id"], row["kind"], occurred, row["key"], row["property"], others)


def _wait(attempts: int) -> float:
    seconds: float = min(FIRST_WAIT * 2 ** (attempts - 1), LONGEST_WAIT)
    return seconds * (1 + 0.25 * random.random())  # noqa: S311 - no secret hangs on it
