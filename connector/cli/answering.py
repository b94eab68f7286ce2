"""What every command has: its options, its JSON, one clear message for trouble and the right exit code."""

import json as jsonlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from connector import console
from connector.errors import BadSetting, BudgetSpent, LeadlightError, Refused
from connector.settings import PLATFORM_NAMES, Settings, load
from scoring.errors import ModelMismatch, UsageError

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
    except Refused as refusal:
        answer.result, answer.exit_code = {**refusal.result, "refused": str(refusal)}, refusal.exit_code
        console.problem("Refused", str(refusal))
    except LeadlightError as error:
        answer.result, answer.exit_code = _failure(error), error.exit_code
    except (UsageError, ModelMismatch) as error:
        answer.result, answer.exit_code = _failure(error), 2
    except KeyboardInterrupt:
        answer.result, answer.exit_code = {"error": "interrupted"}, 1
        console.problem("Stopped", "Nothing is lost: the next run goes on from the last committed page.")
    except Exception as error:  # noqa: BLE001 - the last line of defence: messages may hold personal data
        where = "; ".join(
            f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
        )
        answer.result, answer.exit_code = {"error": f"unexpected {type(error).__name__}"}, 1
        console.problem("Bug", f"Unexpected {type(error).__name__} at {where}. Please report this line.")
    if json:
        sys.stdout.write(jsonlib.dumps(answer.result, default=str) + "\n")
    if answer.exit_code:
        raise typer.Exit(answer.exit_code)


def _failure(error: Exception) -> dict[str, Any]:
    console.problem("Error", str(error))
    failure: dict[str, Any] = {"error": str(error), "kind": type(error).__name__}
    if isinstance(error, BudgetSpent):
        failure |= {} if error.resume_at is None else {"resume_at": error.resume_at.isoformat()}
        failure |= {} if error.budget is None else {"budget": error.budget}
    return failure


def chosen(config: Path | None, platform: str | None, mapping: Path | None) -> Settings:
    if platform not in (None, *PLATFORM_NAMES):
        raise BadSetting(f"--platform {platform}: known platforms are {', '.join(PLATFORM_NAMES)}.")
    return load(config, {"platform": platform, "mapping": mapping})


def instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise BadSetting(
            f"--as-of {text}: write a date or an ISO instant, such as 2026-11-22T08:00:00Z."
        ) from None
    if given.tzinfo is not None:
        given = given.astimezone(UTC).replace(tzinfo=None)
    return given.replace(microsecond=0)
