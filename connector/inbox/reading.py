"""Bodies become hints: what each says, and how that is kept."""

import json
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC

from connector.errors import BadPayload, places
from connector.inbox.store import add_to_totals
from connector.platform import Hint, Receiver

log = logging.getLogger(__name__)


@dataclass
class Read:
    """What some bodies say."""

    #: By their keys: source, when the body came (epoch seconds), hint.
    hints: dict[str, tuple[str, float, Hint]] = field(default_factory=dict)
    #: Hints before the same one was told again.
    events: int = 0
    #: Ids of bodies that were read.
    done: list[int] = field(default_factory=list)
    #: Why a body could not be read, or not all of it, and its id.
    aside: list[tuple[str, int]] = field(default_factory=list)


def read(rows: Iterable[sqlite3.Row], receivers: Mapping[str, Receiver]) -> Read:
    """Rows of `bodies`. What one event or one body lacks keeps no other from being read."""
    found = Read()
    for row in rows:
        try:
            receiver = receivers.get(row["source"])
            if receiver is None:
                raise BadPayload("there is no receiver for it in the settings any more")
            hints = receiver.hints(row["body"])
            found.done.append(row["id"])
        except BadPayload as error:
            hints = list(error.hints)
            found.aside.append((str(error), row["id"]))
        except Exception as error:  # noqa: BLE001 - one that nobody foresaw must not keep all behind it waiting
            log.error("%s in reading a body at %s", type(error).__name__, places(error))
            hints = []
            found.aside.append((f"it could not be read ({type(error).__name__})", row["id"]))
        found.events += len(hints)
        for hint in hints:
            found.hints.setdefault(hint.key, (row["source"], row["received_at"], hint))
    return found


def keep(
    connection: sqlite3.Connection, found: Read, now: float, not_before: Callable[[Hint], float] = lambda _: 0.0
) -> None:
    """Put hints in the place of their bodies, within a transaction. `not_before`: epoch seconds until which a
    hint's record is left alone."""
    fresh = _unseen(connection, found.hints, now)
    connection.executemany(_ADD, [_row(*found.hints[key], not_before) for key in fresh])
    connection.executemany("delete from bodies where id = ?", [(one,) for one in found.done])
    connection.executemany("update bodies set reason = ? where id = ?", found.aside)
    add_to_totals(connection, events=len(fresh), duplicates=found.events - len(fresh), unreadable=len(found.aside))


def _unseen(connection: sqlite3.Connection, hints: Collection[str], now: float) -> list[str]:
    """Those keys that were never met, in their order; they are met now."""
    new = {
        row[0]
        for row in connection.execute(
            "insert into seen select value, ? from json_each(?) where true on conflict do nothing returning key",
            [now, json.dumps(list(hints))],
        ).fetchall()
    }
    return [key for key in hints if key in new]


def _row(source: str, received_at: float, hint: Hint, not_before: Callable[[Hint], float]) -> tuple[object, ...]:
    occurred = hint.occurred_at.replace(tzinfo=UTC).timestamp()
    return (
        *(source, hint.object, hint.object_id, hint.kind, hint.key, hint.property),
        *(json.dumps(list(hint.others)), occurred, received_at, max(received_at, not_before(hint))),
    )


_ADD = """
insert into hints (source, object, object_id, kind, key, property, others, occurred_at, received_at, due_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (source, object, object_id, kind) do update set
    key = excluded.key, property = excluded.property, occurred_at = max(occurred_at, excluded.occurred_at),
    received_at = case when state = 'waiting' then min(received_at, excluded.received_at)
                       else excluded.received_at end,
    others = case when excluded.others = '[]' then others else
        (select json_group_array(distinct value) from (
            select value from json_each(hints.others) union all select value from json_each(excluded.others))) end,
    due_at = case when state <> 'waiting' then excluded.due_at when attempts > 0 then due_at
                  else min(due_at, excluded.due_at) end,
    attempts = case when state = 'dead' then 0 else attempts end, state = 'waiting', reason = null
"""
