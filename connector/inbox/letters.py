"""What a person may see and do about the inbox: its figures, what was set aside, and taking somebody out."""

import json
import re
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from connector.inbox import reading
from connector.inbox.store import add_to_totals, transaction
from connector.platform import Receiver

#: The figures of an inbox that was never used.
NOTHING: Mapping[str, Any] = {
    "bodies": 0,
    "waiting": 0,
    "dead": 0,
    "unreadable": 0,
    "oldest_seconds": 0.0,
    "totals": {},
}


def figures(connection: sqlite3.Connection, now: float | None = None) -> dict[str, Any]:
    """bodies, waiting, dead, unreadable (counts), oldest_seconds of what waits, and totals since the beginning."""
    now = time.time() if now is None else now
    bodies, unreadable = connection.execute(
        "select count(*) filter (where reason is null), count(*) filter (where reason is not null) from bodies"
    ).fetchone()
    waiting, dead = connection.execute(
        "select count(*) filter (where state <> 'dead'), count(*) filter (where state = 'dead') from hints"
    ).fetchone()
    [oldest] = connection.execute(
        """select min(received_at) from (select received_at from bodies where reason is null
           union all select received_at from hints where state <> 'dead')"""
    ).fetchone()
    totals = {row["name"]: row["n"] for row in connection.execute("select * from totals order by name")}
    return {
        "bodies": bodies,
        "waiting": waiting,
        "dead": dead,
        "unreadable": unreadable,
        "oldest_seconds": 0.0 if oldest is None else round(max(0.0, now - oldest), 1),
        "totals": totals,
    }


def entries(connection: sqlite3.Connection, limit: int, *, dead_only: bool = False) -> list[dict[str, Any]]:
    """What was set aside, then what waits, the oldest first: records by id, no values."""
    where = "where state = 'dead'" if dead_only else ""
    hints = connection.execute(
        f"""select id, object, object_id, kind, received_at, attempts, state, reason from hints {where}
            order by state <> 'dead', received_at, id limit ?""",
        [limit],
    ).fetchall()
    bodies = connection.execute(
        "select id, received_at, length(body) as bytes, reason from bodies where reason is not null "
        "order by id limit ?",
        [limit],
    ).fetchall()
    found: list[dict[str, Any]] = [
        {
            "id": f"b{row['id']}",
            "what": f"a body of {row['bytes']:,} bytes",
            "state": "unreadable",
            "attempts": 1,
            "received_at": _iso(row["received_at"]),
            "reason": row["reason"],
        }
        for row in bodies
    ]
    found += [
        {
            "id": f"h{row['id']}",
            "what": f"{row['object']} {row['object_id']} {row['kind']}",
            "state": row["state"],
            "attempts": row["attempts"],
            "received_at": _iso(row["received_at"]),
            "reason": row["reason"],
        }
        for row in hints
    ]
    return found[:limit]


def aside(connection: sqlite3.Connection) -> set[str]:
    """Ids of everything that was set aside."""
    rows = connection.execute(
        "select 'h' || id from hints where state = 'dead' union all "
        "select 'b' || id from bodies where reason is not null"
    )
    return {row[0] for row in rows}


def retry_dead(connection: sqlite3.Connection, ids: Collection[str]) -> int:
    """Try again what was set aside: these, or all where none is named. How many."""
    hints, bodies = _split(ids)
    with transaction(connection):
        count = connection.execute(
            f"""update hints set state = 'waiting', attempts = 0, reason = null, due_at = ?
                where state = 'dead' {_among(hints, ids)}""",
            [time.time(), *hints],
        ).rowcount
        count += connection.execute(
            f"update bodies set reason = null where reason is not null {_among(bodies, ids)}", bodies
        ).rowcount
    return count


def drop(connection: sqlite3.Connection, ids: Collection[str]) -> int:
    """Give up what was set aside: these, or all where none is named. How many; they count as lost."""
    hints, bodies = _split(ids)
    with transaction(connection):
        count = connection.execute(f"delete from hints where state = 'dead' {_among(hints, ids)}", hints).rowcount
        count += connection.execute(
            f"delete from bodies where reason is not null {_among(bodies, ids)}", bodies
        ).rowcount
        add_to_totals(connection, lost=count)
    return count


def forget(
    connection: sqlite3.Connection,
    contact_ids: Sequence[str],
    addresses: Sequence[str],
    spelt: re.Pattern[bytes] | None = None,
    readers: Mapping[str, Receiver] = MappingProxyType({}),
) -> int:
    """Take a person out: hints about the contact, the person's id in those about others, and every body that names
    it. How many rows. `spelt` finds the person in lower-case bytes in ways that the plain texts do not (escapes of
    JSON and of links).

    Bodies hold values of others too, and what happened to them: `readers` make hints of that first, which name
    records and no values. What cannot be read counts as lost. Afterwards the file is written anew.
    """
    named = _naming(contact_ids, addresses)
    if named is None:
        return 0
    ids = json.dumps(list(contact_ids))
    with transaction(connection):
        rows = connection.execute("select id, source, received_at, body from bodies").fetchall()
        naming = [row for row in rows if _names(row["body"].lower(), named, spelt)]
        found = reading.read(naming, readers)
        reading.keep(connection, found, time.time())
        connection.executemany("delete from bodies where id = ?", [(body,) for _, body in found.aside])
        removed = len(naming)
        removed += connection.execute(
            "delete from hints where object = 'contact' and object_id in (select value from json_each(?))", [ids]
        ).rowcount
        removed += connection.execute(
            """update hints set others = (select json_group_array(value) from json_each(others)
                                          where value not in (select value from json_each($1)))
               where exists (select 1 from json_each(others) where value in (select value from json_each($1)))""",
            [ids],
        ).rowcount
        add_to_totals(connection, erased=removed, lost=len(found.aside))
    connection.execute("vacuum")
    for _ in range(50):
        if connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0:
            break
        time.sleep(0.1)
    return removed


def about(
    connection: sqlite3.Connection,
    contact_ids: Sequence[str],
    addresses: Sequence[str],
    spelt: re.Pattern[bytes] | None = None,
) -> dict[str, Any]:
    """What waits about a person: `hints`, and how many `bodies` name it, which hold values of others too. `spelt`
    as for `forget`."""
    named = _naming(contact_ids, addresses)
    ids = ", ".join("?" * len(contact_ids))
    hints = connection.execute(
        f"select kind, property, received_at, state from hints where object = 'contact' and object_id in ({ids}) "
        "order by received_at, id",
        list(contact_ids),
    ).fetchall()
    bodies = [row["body"].lower() for row in connection.execute("select body from bodies")]
    return {
        "hints": [{**row, "received_at": _iso(row["received_at"])} for row in map(dict, hints)],
        "bodies": sum(_names(body, named, spelt) for body in bodies),
    }


def _naming(contact_ids: Sequence[str], addresses: Sequence[str]) -> re.Pattern[bytes] | None:
    tokens = [re.escape(one.lower()) for one in (*contact_ids, *addresses)]
    return re.compile(rf"(?<![\w.@+-])(?:{'|'.join(tokens)})(?![\w@-])".encode()) if tokens else None


def _names(body: bytes, *patterns: re.Pattern[bytes] | None) -> bool:
    return any(one is not None and one.search(body) is not None for one in patterns)


def _split(ids: Collection[str]) -> tuple[list[int], list[int]]:
    """Numbers of hints and of bodies. What is neither names nothing."""
    numbers: dict[str, list[int]] = {"h": [], "b": []}
    for one in ids:
        if one[:1] in numbers and one[1:].isascii() and one[1:].isdigit():
            numbers[one[:1]].append(int(one[1:]))
    return numbers["h"], numbers["b"]


def _among(numbers: Sequence[int], ids: Collection[str]) -> str:
    return f"and id in ({', '.join('?' * len(numbers))})" if ids else ""


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
