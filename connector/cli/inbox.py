"""Webhooks that were received: what waits, what was set aside, and what is to become of it."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from connector import console
from connector.cli.answering import Config, Json, PlatformName, answering, chosen
from connector.cli.asking import Yes, confirm, somebody_decides
from connector.errors import BadSetting
from connector.settings import Settings

#: What is wrong with an entry is cut after so many characters in the table.
_CUT = 80
#: Ids named to SQLite in one statement, which takes 32,766 at most.
_AT_ONCE = 10_000


def inbox(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[list|retry|drop] [ID]…", help="Ids as the list has them.")
    ] = None,
    config: Config = None,
    platform: PlatformName = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many entries.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="retry, drop: all that was set aside.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """What the platform told of and is not worked off: what waits, and what was set aside after too many attempts.

    Works whether a service is running or not. What is dropped is repaired by a later poll or pull, where the
    platform tells of it at all.

    Examples:

        leadlight inbox list

        leadlight inbox retry h17 h18

        leadlight inbox retry --all

        leadlight inbox drop --all --yes --json
    """
    with answering(json) as answer:
        action, *ids = words or ["list"]
        _check(action, ids, everything=everything)
        with _opened(chosen(config, platform, None)) as connection:
            if action == "list":
                answer.result = _listed(connection, limit)
                _print(answer.result)
                return
            answer.result = _settled(connection, action, ids, yes=yes)
        done = "will be tried again" if action == "retry" else "dropped"
        console.say(f"{next(iter(answer.result.values())):,} entries {done}.")


def _check(action: str, ids: Sequence[str], *, everything: bool) -> None:
    if action not in ("list", "retry", "drop"):
        raise BadSetting(f"inbox {action}: use list, retry or drop.")
    if action == "list" and (ids or everything):
        raise BadSetting("inbox list takes no ids: --limit shows more.")
    if action != "list" and bool(ids) == everything:
        raise BadSetting(f"inbox {action}: name ids as `leadlight inbox list` has them, or say --all.")


@contextmanager
def _opened(settings: Settings) -> Iterator[sqlite3.Connection | None]:
    """The account's inbox; None where no webhook was ever received: to look makes no file, which the service's
    user might then not be able to write to."""
    from connector.inbox import FILE, connect
    from connector.jobs.stored import account_of

    account = account_of(settings)
    folder = settings.state_dir / f"{account.platform}-{account.id}"
    if not (folder / FILE).is_file():
        yield None
        return
    connection = connect(folder)
    try:
        yield connection
    finally:
        connection.close()


def _listed(connection: sqlite3.Connection | None, limit: int) -> dict[str, Any]:
    from connector.inbox import NOTHING, entries, figures

    if connection is None:
        return {"entries": [], "figures": NOTHING}
    return {"entries": entries(connection, limit), "figures": figures(connection)}


def _settled(
    connection: sqlite3.Connection | None, action: str, ids: Sequence[str], *, yes: bool
) -> dict[str, Any]:
    """Raises BadSetting, with nothing done, for an id that was not set aside."""
    from connector.inbox import aside, drop_letters, retry_dead

    there = set() if connection is None else aside(connection)
    if unknown := [one for one in ids if one not in there]:
        raise BadSetting(
            f"{', '.join(unknown)}: nothing of that name was set aside; `leadlight inbox list` names what was."
        )
    # by name, so that what is set aside while a person thinks about it stays
    chosen_ids = list(ids) or sorted(there)
    if action == "drop" and chosen_ids:
        somebody_decides("What is dropped does not come back.", yes=yes)
        confirm(f"Drop {len(chosen_ids):,} entries for good?", yes=yes)
    settle, word = (retry_dead, "retried") if action == "retry" else (drop_letters, "dropped")
    if connection is None:
        return {word: 0}
    parts = (chosen_ids[start : start + _AT_ONCE] for start in range(0, len(chosen_ids), _AT_ONCE))
    return {word: sum(settle(connection, part) for part in parts)}


def _print(result: Mapping[str, Any]) -> None:
    figures = result["figures"]
    if result["entries"]:
        table = Table(Column("Id", no_wrap=True), "What", "State", "Attempts", "Age", "Reason")
        now = datetime.now(UTC)
        for row in result["entries"]:
            age = (now - datetime.fromisoformat(row["received_at"])).total_seconds()
            reason = escape((row["reason"] or "")[:_CUT])
            table.add_row(row["id"], escape(row["what"]), row["state"], str(row["attempts"]), _age(age), reason)
        console.console.print(table)
    oldest = f", the oldest for {_age(figures['oldest_seconds'])}" if figures["oldest_seconds"] else ""
    console.say(
        f"{figures['bodies']:,} bodies and {figures['waiting']:,} changes wait{oldest}; "
        f"{figures['dead']:,} changes and {figures['unreadable']:,} unreadable bodies were set aside."
    )
    totals = ", ".join(f"{name} {count:,}" for name, count in figures["totals"].items())
    if totals:
        console.say(f"Since the beginning: {totals}.")


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
