"""The job and its stages: pull, train, evaluate, score, push, sync."""

from pathlib import Path
from typing import Annotated

import typer

from connector import console
from connector.cli.answering import (
    AsOf,
    Config,
    DryRun,
    Json,
    Limit,
    Mapping,
    MaxChanges,
    PlatformName,
    answering,
    chosen,
    instant,
)
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
    from connector.jobs.score import score as job
    from connector.platforms.files.results import write_table

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        if out is not None and out.suffix not in (".csv", ".parquet"):
            raise BadSetting(f"--out {out}: the file must end in .csv or .parquet.")
        with open_run(settings, "score", as_of=instant(as_of), progress=progress) as run:
            ensure_pulled(run)
            scored = job(run)
            if out is not None:
                write_table(out, scored.computed)
            answer.result = {
                "run_id": run.id,
                "scored": scored.contacts,
                "gates": scored.trained.gates,
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
    json: Json = False,
) -> None:
    """Write what changed since the last push, and only that.

    Examples:

        leadlight push --dry-run

        leadlight push --max-changes 2000
    """
    from connector.jobs.push import push as job
    from connector.jobs.push import recover
    from connector.jobs.run import open_run
    from connector.jobs.score import score as compute
    from connector.jobs.sync import spent

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        with open_run(settings, "push", as_of=instant(as_of), progress=progress) as run:
            if not dry_run:
                recover(run)
            scored = compute(run)
            pushed = job(run, scored, dry_run=dry_run, limit=limit, max_changes=max_changes)
            answer.result = {
                "run_id": run.id,
                "gates": scored.trained.gates,
                "pushed": pushed.to_json(),
                "dry_run": dry_run,
                **spent(run),
            }
            run.done(answer.result)
        console.synced(answer.result)
        answer.exit_code = 4 if pushed.failed else 0


def sync(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    as_of: AsOf = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    max_changes: MaxChanges = None,
    json: Json = False,
) -> None:
    """Pull, score, push: the one command that a schedule runs.

    Examples:

        leadlight sync --dry-run

        leadlight sync --max-changes 5000 --json
    """
    from connector.jobs.run import open_run
    from connector.jobs.sync import sync as job

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        with open_run(settings, "sync", as_of=instant(as_of), progress=progress) as run:
            answer.result = job(run, dry_run=dry_run, limit=limit, max_changes=max_changes)
            run.done(answer.result)
            rejected = run.rejected()
        console.synced(answer.result)
        console.rejected(rejected)
        answer.exit_code = 4 if rejected or answer.result["pushed"]["failed"] else 0
