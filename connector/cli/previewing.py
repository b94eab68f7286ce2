"""A dry run's figures, as a person reads them; on stderr."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from connector.console import console, say
from connector.errors import Refused
from connector.pages.words import percent


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
    if not preview["by_property"]:
        say("A dry run: nothing is written, and nothing would be: every record has what it should.")
        return
    say("A dry run: nothing is written. This would be:")
    _by_property(preview["by_property"])
    if preview["grade_moves"]:
        moves = ", ".join(f"{move}: {count:,}" for move, count in preview["grade_moves"].items())
        say(f"Grades: {moves}.")
    _biggest(preview["biggest_moves"])
    _sample(preview)
    if preview["properties"]:
        made = ", ".join(f"{name} ({action.replace('_', ' ')})" for name, action in preview["properties"].items())
        say(f"Properties to be made or changed: {made}.")
    say(f"{preview['calls']['write']:,} write calls would be needed.")


def _by_property(counts: Mapping[str, Mapping[str, int]]) -> None:
    table = Table("Property", *(Column(name, justify="right") for name in _COUNTS))
    for name, row in counts.items():
        table.add_row(name, *(f"{row[key]:,}" for key in _COUNTS.values()))
    console.print(table)


def _biggest(moves: list[Mapping[str, Any]]) -> None:
    if not moves:
        return
    table = Table("Biggest moves", "Score", "Grade", "Why")
    for row in moves:
        score = _move(row["score_before"], row["score_after"])
        grade = _move(row["grade_before"], row["grade_after"]) if row["grade_after"] else ""
        table.add_row(row["contact_id"], score, grade, _reasons(row["reasons_after"]))
    console.print(table)


def _sample(preview: Mapping[str, Any]) -> None:
    """One contact a row, old → new where something stood; times of scoring and models are left to the file."""
    rows, named = preview["sample"], preview["labels"].get(f"{preview['prefix']}_segment", {})
    if not rows:
        return
    table = Table(
        Column("Contact", no_wrap=True), "Score", "Likely", "Best time", "Segment", "Why", title_justify="left"
    )
    table.title = f"A sample of {len(rows)} contacts, drawn by lot (--out FILE writes all)"
    for row in rows:
        given = {name.removeprefix(f"{preview['prefix']}_"): both for name, both in row["values"].items()}
        score = " ".join(part for part in (_moved(given, "score"), _moved(given, "grade")) if part)
        rest = [
            f"{name.replace('_', ' ')}: {_move(both['before'], both['after'])}"
            for name, both in given.items()
            if name not in _SHOWN
        ]
        table.add_row(
            row["contact_id"],
            score,
            _moved(given, "probability", _chance),
            " ".join(
                part for part in (_moved(given, "send_weekday", _day), _moved(given, "send_hour", _clock)) if part
            ),
            _moved(given, "segment", lambda value: str(named.get(value, value))),
            "\n".join([_reasons((given.get("reasons") or {}).get("after")), *rest]).strip(),
        )
    console.print(table)


#: Values with a place of their own in the sample, or of no use to a reader.
_SHOWN = (
    *("score", "grade", "probability", "send_weekday", "send_hour", "segment", "reasons"),
    *("confidence", "send_source", "model", "scored_at"),
)
_COUNTS = {"Contacts": "total", "First value": "first", "Changed": "changed", "Cleared": "cleared"}


def _moved(given: Mapping[str, Any], name: str, say: Callable[[str], str] = str) -> str:
    both = given.get(name)
    return "" if both is None else _move(both["before"], both["after"], say)


def _move(before: str | None, after: str | None, say: Callable[[str], str] = str) -> str:
    """ "41 → 68"; the first value alone, and "41 → none" for one that is cleared."""
    now = "none" if after is None else say(after)
    return escape(now if before is None else f"{say(before)} → {now}")


def _chance(value: str) -> str:
    return percent(float(value))


def _clock(value: str) -> str:
    return f"{int(float(value)):02d}:00"


def _day(value: str) -> str:
    return value[:3].capitalize()


def _reasons(text: str | None) -> str:
    """One reason a line."""
    return escape("\n".join((text or "").split("; ")))
