"""The job and its stages: pull, train, evaluate, score, push, sync."""

from pathlib import Path
from typing import Annotated, Any

import typer

from connector import console, console_figures
from connector.cli.answering import (
    AsOf,
    Config,
    Difference,
    DryRun,
    Json,
    Limit,
    Mapping,
    MaxChanges,
    MaxGradeMoves,
    PlatformName,
    Resume,
    answering,
    chosen,
)
from connector.cli.performing import absolute, perform
from connector.cli.previewing import previewing, print_preview
from connector.errors import BadSetting


def pull(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, whatever was read before.")] = False,
    json: Json = False,
) -> None:
    """Bring the local mirror up to date with the platform.

    Examples:

        leadlight pull

        leadlight pull --platform files --mapping mapping.toml --json
    """
    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        ended = perform(settings, "pull", {"full": full}, progress=progress)
        answer.result, answer.exit_code = ended.result, ended.exit_code
        console.pulled(answer.result)
        for note in answer.result["notes"]:
            console.problem("Note", f"{note} Until then sync, push and approve write nothing.")
        console.rejected(ended.rejected)


def train(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Fit the models afresh and keep them with their figures.

    Examples:

        leadlight train

        leadlight train --platform files --mapping mapping.toml --as-of 2026-06-30
    """
    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        answer.result = perform(settings, "train", {}, progress=progress, as_of=as_of).result
        console.gates(answer.result["gates"])


def evaluate(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    as_of: AsOf = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 when every prediction is refused.")] = False,
    json: Json = False,
) -> None:
    """Measure every prediction on data it has not seen, beside plain baselines. Writes nothing.

    Examples:

        leadlight evaluate --platform files --mapping mapping.toml

        leadlight evaluate --json --strict
    """
    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        ended = perform(settings, "evaluate", {"strict": strict}, progress=progress, as_of=as_of)
        answer.result, answer.exit_code = ended.result, ended.exit_code
        console_figures.evaluation(answer.result)


def score(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    as_of: AsOf = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the values to this file: Parquet or CSV by its ending.")
    ] = None,
    json: Json = False,
) -> None:
    """Compute what should stand on every contact; trains first where no model stands. Pushes nothing.

    Examples:

        leadlight score --platform files --mapping mapping.toml --out scores.csv

        leadlight score --out scores.parquet --json
    """
    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        check_out(out)
        ended = perform(settings, "score", {"out": absolute(out)}, progress=progress, as_of=as_of)
        answer.result = {**ended.result, "out": None if out is None else str(out)}
        answer.exit_code = ended.exit_code
        console.gates(answer.result["gates"])
        console.rejected(ended.rejected)


def push(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    as_of: AsOf = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    max_changes: MaxChanges = None,
    max_grade_moves: MaxGradeMoves = None,
    resume: Resume = False,
    out: Difference = None,
    json: Json = False,
) -> None:
    """Write what changed since the last push, and only that.

    A lead score that hardly moved is left as it stands (min_score_step), and what a rollback put back is held
    until another model is in use or you say --resume.

    Examples:

        leadlight push --dry-run --out difference.csv

        leadlight push --max-changes 2000

        leadlight push --resume
    """
    params = _pushing(dry_run, limit, max_changes, max_grade_moves, resume, out)
    with answering(json) as answer, console.watching() as progress, previewing():
        settings = chosen(config, platform, mapping)
        check_out(out)
        ended = perform(settings, "push", params, progress=progress, as_of=as_of)
        answer.result, answer.exit_code = ended.result, ended.exit_code
        print_preview(answer.result)
        console.synced(answer.result)
        console.way_back(answer.result)


def sync(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    as_of: AsOf = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    max_changes: MaxChanges = None,
    max_grade_moves: MaxGradeMoves = None,
    resume: Resume = False,
    out: Difference = None,
    json: Json = False,
) -> None:
    """Pull, score, push: the one command that a schedule runs.

    What a rollback put back is held until another model is in use or you say --resume.

    Examples:

        leadlight sync --dry-run --out difference.parquet

        leadlight sync --max-changes 5000 --json

        leadlight sync --resume
    """
    params = _pushing(dry_run, limit, max_changes, max_grade_moves, resume, out)
    with answering(json) as answer, console.watching() as progress, previewing():
        settings = chosen(config, platform, mapping)
        check_out(out)
        ended = perform(settings, "sync", params, progress=progress, as_of=as_of)
        answer.result, answer.exit_code = ended.result, ended.exit_code
        print_preview(answer.result)
        console.synced(answer.result)
        console.way_back(answer.result)
        console.rejected(ended.rejected)


def _pushing(
    dry_run: bool,
    limit: int | None,
    max_changes: int | None,
    max_grade_moves: float | None,
    resume: bool,
    out: Path | None,
) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "limit": limit,
        "max_changes": max_changes,
        "max_grade_moves": max_grade_moves,
        "resume": resume,
        "out": absolute(out),
    }


def check_out(out: Path | None) -> None:
    """Raises BadSetting for a file that could not be written in the end."""
    if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
        raise BadSetting(f"--out {out}: the file must end in .csv or .parquet.")
