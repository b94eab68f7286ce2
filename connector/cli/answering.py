"""What every command has: its options, its JSON, one clear message for trouble and the right exit code."""

import json as jsonlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from connector import console
from connector.errors import BadSetting
from connector.jobs.ended import ended_by
from connector.settings import PLATFORM_NAMES, Settings, load

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file (default: leadlight.toml, if there).")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end; prose stays on stderr.")]
PlatformName = Annotated[str | None, typer.Option("--platform", help="hubspot, salesforce or files.")]
Mapping = Annotated[Path | None, typer.Option("--mapping", help="mapping.toml of the files platform.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Compute as of this instant (2026-11-22 or 2026-11-22T08:00:00Z), UTC."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do everything but write.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Write at most this many contacts.")]
MaxChanges = Annotated[
    int | None, typer.Option("--max-changes", min=0, help="Write nothing if more contacts than this would change.")
]
MaxGradeMoves = Annotated[
    float | None,
    typer.Option(
        "--max-grade-moves", min=0, max=1, help="Write nothing if more than this share of grades would move."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Write again what a rollback holds back, and forget the holds.")
]
Difference = Annotated[
    Path | None,
    typer.Option("--out", help="The whole difference, old and new, to this file: CSV or Parquet by its ending."),
]


@dataclass
class Answer:
    """What a command has to say: JSON for machines; prose was printed on the way."""

    result: dict[str, Any]
    exit_code: int = 0


@contextmanager
def answering(json: bool) -> Iterator[Answer]:
    """Run a command's body, print its result, turn errors into one clear message and the right exit code."""
    answer = Answer({})
    try:
        yield answer
    except Exception as error:  # noqa: BLE001 - the last line of defence: messages may hold personal data
        _ended(answer, error)
    except KeyboardInterrupt as error:
        _ended(answer, error)
    if json:
        sys.stdout.write(jsonlib.dumps(answer.result, default=str) + "\n")
    if answer.exit_code:
        raise typer.Exit(answer.exit_code)


def _ended(answer: Answer, error: BaseException) -> None:
    ended = ended_by(error)
    answer.result, answer.exit_code = ended.result, ended.exit_code
    console.problem(ended.title, ended.message)


def chosen(config: Path | None, platform: str | None, mapping: Path | None) -> Settings:
    if platform not in (None, *PLATFORM_NAMES):
        raise BadSetting(f"--platform {platform}: known platforms are {', '.join(PLATFORM_NAMES)}.")
    return load(config, {"platform": platform, "mapping": mapping})
