"""The job and its stages: pull, train, evaluate, score, push, sync."""

from pathlib import Path
from typing import Annotated

import typer

from connector import console
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
    instant,
)
from connector.cli.previewing import previewing, print_preview
from connector.errors import BadSetting, Refused


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
    from connector.jobs.pull import pull as job
    from connector.jobs.run import open_run
    from connector.jobs.sync import spent

    with answering(json) as answer, console.watching() as progress:
        with open_run(chosen(config, platform, mapping), "pull", progress=progress) as run:
            pulled = job(run, full=full)
            answer.result = {
                "run_id": run.id,
                "pulled": dict(pulled.rows),
                "streams_off": pulled.streams_off_json(),
                **({} if pulled.retention is None else {"retention": pulled.retention}),
                **spent(run),
            }
            run.done(answer.result)
            rejected = run.rejected()
        console.pulled(answer.result)
        console.rejected(rejected)
        answer.exit_code = 4 if rejected else 0


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
    from connector.jobs.pull import ensure_pulled
    from connector.jobs.run import open_run
    from connector.jobs.train import train as job

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        with open_run(settings, "train", as_of=instant(as_of), progress=progress) as run:
            ensure_pulled(run)
            trained = job(run)
            answer.result = {
                "run_id": run.id,
                "gates": trained.gates,
                "models": {key: model.version for key, model in trained.models.items()},
            }
            run.done(answer.result)
        console.gates(trained.gates)


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
    from connector.jobs.evaluate import evaluate as job
    from connector.jobs.evaluate import refused
    from connector.jobs.pull import ensure_pulled
    from connector.jobs.run import open_run

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        with open_run(settings, "evaluate", as_of=instant(as_of), progress=progress) as run:
            ensure_pulled(run)
            answer.result = job(run)
            run.done(answer.result)
        console.evaluation(answer.result)
        answer.exit_code = 3 if strict and refused(answer.result) else 0


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
    from connector.jobs.pull import ensure_pulled
    from connector.jobs.run import open_run
    from connector.jobs.score import marks_of, typed
    from connector.jobs.score import score as job
    from connector.platforms.files.results import write_table

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        check_out(out)
        with open_run(settings, "score", as_of=instant(as_of), progress=progress) as run:
            ensure_pulled(run)
            scored = job(run)
            if out is not None:
                write_table(out, typed(run, scored.computed, marks_of(run, scored.trained)))
            answer.result = {
                "run_id": run.id,
                "scored": scored.contacts,
                "rows": scored.computed.num_rows,
                "gates": scored.trained.gates,
                "upkeep": scored.trained.upkeep,
                "out": None if out is None else str(out),
            }
            run.done(answer.result)
            rejected = run.rejected()
        console.gates(scored.trained.gates)
        console.rejected(rejected)
        answer.exit_code = 4 if rejected else 0


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
    from connector.jobs.push import PushOptions
    from connector.jobs.push import push as job
    from connector.jobs.run import open_run
    from connector.jobs.score import score as compute
    from connector.jobs.sending import recover
    from connector.jobs.sync import spent

    options = PushOptions(dry_run, limit, max_changes, max_grade_moves, resume, out)
    with answering(json) as answer, console.watching() as progress, previewing():
        settings = chosen(config, platform, mapping)
        check_out(out)
        with open_run(settings, "push", as_of=instant(as_of), progress=progress) as run:
            if not dry_run:
                recover(run)
            scored = compute(run)
            first = {"run_id": run.id, "gates": scored.trained.gates, "dry_run": dry_run}
            try:
                answer.result = {**first, **job(run, scored, options), **spent(run)}
            except Refused as refusal:
                refusal.result = {**first, **refusal.result, **spent(run)}
                raise
            run.done(answer.result)
        print_preview(answer.result)
        console.synced(answer.result)
        console.way_back(answer.result)
        answer.exit_code = 4 if answer.result["pushed"]["failed"] else 0


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
    from connector.jobs.push import PushOptions
    from connector.jobs.run import open_run
    from connector.jobs.sync import sync as job

    options = PushOptions(dry_run, limit, max_changes, max_grade_moves, resume, out)
    with answering(json) as answer, console.watching() as progress, previewing():
        settings = chosen(config, platform, mapping)
        check_out(out)
        with open_run(settings, "sync", as_of=instant(as_of), progress=progress) as run:
            answer.result = {**job(run, options), "dry_run": dry_run}
            run.done(answer.result)
            rejected = run.rejected()
        print_preview(answer.result)
        console.synced(answer.result)
        console.way_back(answer.result)
        console.rejected(rejected)
        answer.exit_code = 4 if rejected or answer.result["pushed"]["failed"] else 0


def check_out(out: Path | None) -> None:
    """Raises BadSetting for a file that could not be written in the end."""
    if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
        raise BadSetting(f"--out {out}: the file must end in .csv or .parquet.")
