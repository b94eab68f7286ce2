"""Commands on the state: carried out here, or by the service that has it."""

from pathlib import Path
from typing import Any

from connector import console
from connector.jobs.ended import Ask, Ended, agreed
from connector.progress import Progress, silent
from connector.settings import Settings


def perform(
    settings: Settings,
    command: str,
    params: dict[str, Any],
    *,
    progress: Progress = silent,
    as_of: str | None = None,
    ask: Ask = agreed,
) -> Ended:
    """`connector.handing.perform`, which says in the terminal what becomes of the command."""
    from connector import handing

    return handing.perform(settings, command, params, progress=progress, as_of=as_of, ask=ask, say=console.say)


def absolute(path: Path | None) -> str | None:
    """As a process in another folder finds it."""
    return None if path is None else str(path.absolute())
