"""Questions to a person at the terminal."""

import sys
from typing import Annotated

import typer

from connector import console
from connector.errors import BadSetting, Refused

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def at_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def somebody_decides(what: str, *, yes: bool) -> None:
    """Raises BadSetting, before anything was done, where neither `--yes` nor a person will answer."""
    if not yes and not at_terminal():
        raise BadSetting(f"{what} There is no terminal to ask at: add --yes. Nothing was done.")


def confirm(question: str, *, yes: bool) -> None:
    """Go on with `--yes`, or when a person says so. Raises Refused when not."""
    somebody_decides(question, yes=yes)
    if yes:
        return
    with console.still():
        agreed = typer.confirm(question, default=False, err=True)
    if not agreed:
        raise Refused("You said no: nothing was written.")


def ask(question: str, default: str) -> str:
    """An answer typed at the terminal."""
    answer: str = typer.prompt(question, default=default, err=True)
    return answer.strip()
