"""A dry run's figures, as a person reads them; on stderr."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.table import Table

from connector.console import console, say
from connector.errors import Refused

#: Reasons are cut after so many characters in a table.
_CUT = 90


@contextmanager
def previewing() -> Iterator[None]:
    """Show what would have changed also where a cap refuses it."""
    try:
        yield
    except Refused as refusal:
        print_preview(refusal.result)
        raise


def print_preview(result: Mapping[str, Any]) -> None:
    """Counts by property, grade moves, the biggest moves, the sample, the calls; nothing without a preview."""
    preview = result.get("preview")
    if preview is None:
        return
    say("A dry run: nothing is written. This would be:")
    _by_property(preview["by_property"])
    if preview["grade_moves"]:
        moves = ", ".join(f"{move}: {count:,}" for move, count in preview["grade_moves"].items())
        say(f"Grades: {moves}.")
    _biggest(preview["biggest_moves"])
    _sample(preview["sample"])
    if preview["properties"]:
        made = ", ".join(f"{name} ({action.replace('_', ' ')})" for name, action in preview["properties"].items())
        say(f"Properties: {made}.")
    say(f"{preview['calls']['write']:,} write calls would be needed.")


def _by_property(counts: Mapping[str, Mapping[str, int]]) -> None:
    table = Table("Property", "Contacts", "First value", "Changed", "Cleared")
    for name, row in counts.items():
        table.add_row(name, *(f"{row[key]:,}" for key in ("total", "first", "changed", "cleared")))
    console.print(table)


def _biggest(moves: list[Mapping[str, Any]]) -> None:
    if not moves:
        return
    table = Table("Biggest moves", "Score", "Grade", "Reasons")
    for row in moves:
        score = f"{row['score_before']} → {row['score_after']}"
        grade = f"{row['grade_before']} → {row['grade_after']}" if row["grade_after"] else ""
        table.add_row(row["contact_id"], score, grade, _short(row["reasons_after"]))
    console.print(table)


def _sample(rows: list[Mapping[str, Any]]) -> None:
    if not rows:
        return
    table = Table("Sample", "Property", "Old", "New")
    for row in rows:
        for place, (name, value) in enumerate(row["values"].items()):
            first = row["contact_id"] if place == 0 else ""
            table.add_row(first, name, _short(value["before"]), _short(value["after"]))
        table.add_section()
    console.print(table)


def _short(text: str | None) -> str:
    return "" if text is None else escape(text if len(text) <= _CUT else f"{text[: _CUT - 1]}…")
