"""The command line: arguments and printing, nothing else."""

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
from connector.errors import BadSetting, LeadlightError, Refused
from connector.settings import Settings, load
from scoring.errors import UsageError

app = typer.Typer(
    name="leadlight",
    help="Predictions for marketing platforms: measured before they are published, reversible after.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file (default: leadlight.toml, if there).")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end; prose stays on stderr.")]
PlatformName = Annotated[str | None, typer.Option("--platform", help="hubspot or files.")]
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


@dataclass
class Answer:
    """What a command has to say: JSON for machines; prose was printed on the way."""

    result: dict[str, Any]
    exit_code: int = 0


@contextmanager
def _answering(json: bool) -> Iterator[Answer]:
    """Run a command's body, print its result, turn errors into one clear message and the right exit code."""
    answer = Answer({})
    try:
        yield answer
    except Refused as refusal:
        answer.result, answer.exit_code = {**refusal.result, "refused": str(refusal)}, refusal.exit_code
        console.problem("Refused", str(refusal))
    except LeadlightError as error:
        answer.result, answer.exit_code = _failure(error), error.exit_code
    except UsageError as error:
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
    return {"error": str(error), "kind": type(error).__name__}


def _settings(config: Path | None, platform: str | None, mapping: Path | None) -> Settings:
    if platform not in (None, "hubspot", "files"):
        raise BadSetting(f"--platform {platform}: known platforms are hubspot and files.")
    return load(config, {"platform": platform, "mapping": mapping})


def _instant(text: str | None) -> datetime | None:
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


@app.command()
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

    with _answering(json) as answer, console.watching() as progress:
        with open_run(_settings(config, platform, mapping), "pull", progress=progress) as run:
            pulled = job(run, full=full)
            answer.result = {
                "run_id": run.id,
                "pulled": dict(pulled.rows),
                "streams_off": pulled.streams_off_json(),
                **spent(run),
            }
            run.done(answer.result)
            rejected = run.rejected()
        console.pulled(answer.result)
        console.rejected(rejected)
        answer.exit_code = 4 if rejected else 0


@app.command()
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

    with _answering(json) as answer, console.watching() as progress:
        settings = _settings(config, platform, mapping)
        with open_run(settings, "train", as_of=_instant(as_of), progress=progress) as run:
            ensure_pulled(run)
            trained = job(run)
            answer.result = {
                "run_id": run.id,
                "gates": trained.gates,
                "models": {key: model.version for key, model in trained.models.items()},
            }
            run.done(answer.result)
        console.gates(trained.gates)


@app.command()
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

    with _answering(json) as answer, console.watching() as progress:
        settings = _settings(config, platform, mapping)
        with open_run(settings, "evaluate", as_of=_instant(as_of), progress=progress) as run:
            ensure_pulled(run)
            answer.result = job(run)
            run.done(answer.result)
        console.evaluation(answer.result)
        answer.exit_code = 3 if strict and refused(answer.result) else 0


@app.command()
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

    with _answering(json) as answer, console.watching() as progress:
        settings = _settings(config, platform, mapping)
        if out is not None and out.suffix not in (".csv", ".parquet"):
            raise BadSetting(f"--out {out}: the file must end in .csv or .parquet.")
        with open_run(settings, "score", as_of=_instant(as_of), progress=progress) as run:
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


@app.command()
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

    with _answering(json) as answer, console.watching() as progress:
        settings = _settings(config, platform, mapping)
        with open_run(settings, "push", as_of=_instant(as_of), progress=progress) as run:
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


@app.command()
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

    with _answering(json) as answer, console.watching() as progress:
        settings = _settings(config, platform, mapping)
        with open_run(settings, "sync", as_of=_instant(as_of), progress=progress) as run:
            answer.result = job(run, dry_run=dry_run, limit=limit, max_changes=max_changes)
            run.done(answer.result)
            rejected = run.rejected()
        console.synced(answer.result)
        console.rejected(rejected)
        answer.exit_code = 4 if rejected or answer.result["pushed"]["failed"] else 0


@app.command()
def install(
    config: Config = None, platform: PlatformName = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """Create those of our contact properties that the platform lacks; never changes one that is not ours.

    Examples:

        leadlight install --dry-run

        leadlight install
    """
    from connector.jobs.install import install as job
    from connector.jobs.run import open_run

    with _answering(json) as answer, open_run(_settings(config, platform, None), "install") as run:
        answer.result = job(run, dry_run=dry_run)
        run.done(answer.result)
        console.installed(answer.result)


@app.command()
def sandbox(
    platform: Annotated[str, typer.Argument(help="hubspot")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    source: Annotated[Path | None, typer.Option("--from", help="Serve the contacts of this mapping.toml.")] = None,
    contacts: Annotated[int, typer.Option("--contacts", min=1, help="Size of the made-up market.")] = 2000,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    latency_ms: Annotated[int, typer.Option("--latency-ms", min=0)] = 0,
    rate: Annotated[str, typer.Option("--rate", help="Burst limit, calls/seconds.")] = "190/10s",
    daily: Annotated[int | None, typer.Option("--daily", min=1, help="Calls a day.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", help="NAME=P, any number of them; hang-after=N.")
    ] = None,
    webhooks: Annotated[str | None, typer.Option("--webhooks", help="Send signed webhooks there.")] = None,
    search_lag: Annotated[float, typer.Option("--search-lag", min=0, help="Seconds.")] = 10.0,
    bare: Annotated[bool, typer.Option("--bare", help="Without our properties.")] = False,
) -> None:
    """A pretend account over real HTTP on this machine, to try everything before you connect your own.

    Prints one JSON line with its address and token when it is ready.

    Examples:

        leadlight sandbox hubspot --port 8801 --contacts 5000 --seed 1

        leadlight sandbox hubspot --port 8801 --from mapping.toml --rate 190/10s --fault 503=0.01
    """
    from connector.sandbox.options import SandboxOptions, parse_fault, parse_rate
    from connector.sandbox.server import run

    with _answering(False):
        if platform != "hubspot":
            raise BadSetting(f"sandbox {platform}: there is a sandbox for hubspot.")
        run(
            SandboxOptions(
                port=port,
                mapping=source,
                contacts=contacts,
                seed=seed,
                latency_ms=latency_ms,
                rate=parse_rate(rate),
                daily=daily,
                faults=tuple(parse_fault(text) for text in fault or ()),
                webhooks=webhooks,
                search_lag=search_lag,
                bare=bare,
            )
        )


@app.command()
def demo(
    contacts: Annotated[int, typer.Option("--contacts", min=2000, help="Size of the made-up market.")] = 5000,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    json: Json = False,
) -> None:
    """See the whole job in two minutes: a made-up market behind a pretend HubSpot, scored and written back.

    Examples:

        leadlight demo

        leadlight demo --contacts 2000 --json
    """
    from connector.demo import demo as job

    with _answering(json) as answer, console.watching() as progress:
        answer.result = job(contacts=contacts, seed=seed, progress=progress)


def main() -> None:
    """Entry point of the `leadlight` command."""
    app()
