"""Which version of a model was in use since when: `<folder>/<goal>/<predictor>/history.json`.

The pointer of `model_store` says what is in use; this says how it came to be, so that there is a way back.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from scoring.versions import model_store

_FILE = "history.json"

Why = Literal["trained", "recalibrated", "promoted", "rolled back"]


@dataclass(frozen=True)
class Reign:
    """A version that came into use at an instant (UTC, ISO), and why."""

    version: str
    since: str
    why: Why


def crown(folder: Path, goal: str, predictor: str, version: str, at: datetime, why: Why) -> None:
    """Make a stored version the one in use and remember since when. Raises ModelMismatch when there is none.

    `at` is UTC without a zone. A version that is in use already stays so, since when it was.
    """
    before = reigns(folder, goal, predictor)
    if before and before[-1].version == version == model_store.champion(folder, goal, predictor):
        return
    model_store.promote(folder, goal, predictor, version)
    entries = [asdict(reign) for reign in (*before, Reign(version, at.isoformat(timespec="seconds"), why))]
    place = folder / goal / predictor / _FILE
    aside = place.with_suffix(".writing")
    aside.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    aside.replace(place)


def reigns(folder: Path, goal: str, predictor: str) -> tuple[Reign, ...]:
    """All changes, the oldest first; empty when none was recorded or the file cannot be read."""
    try:
        entries = json.loads((folder / goal / predictor / _FILE).read_text(encoding="utf-8"))
        return tuple(Reign(**entry) for entry in entries)
    except (OSError, ValueError, TypeError):
        return ()


def since(folder: Path, goal: str, predictor: str) -> str | None:
    """Since when the present version is in use; None when that was not recorded."""
    before = reigns(folder, goal, predictor)
    present = model_store.champion(folder, goal, predictor)
    return before[-1].since if before and before[-1].version == present else None


def previous(folder: Path, goal: str, predictor: str) -> str | None:
    """The version to go back to: what stood before the present one, where going back undid what it left.

    A version that is no longer stored is passed over.
    """
    stored = set(model_store.versions(folder, goal, predictor))
    stack: list[str] = []
    for reign in reigns(folder, goal, predictor):
        if reign.why == "rolled back":
            while stack and stack[-1] != reign.version:
                stack.pop()
        if not stack or stack[-1] != reign.version:
            stack.append(reign.version)
    present = model_store.champion(folder, goal, predictor)
    if stack and stack[-1] == present:
        stack.pop()
    return next((version for version in reversed(stack) if version in stored and version != present), None)
