"""What was written, and taking it back: runs, rollback, approve."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from connector import console
from connector.cli.answering import (
    Config,
    DryRun,
    Json,
    PlatformName,
    answering,
    chosen,
)
from connector.cli.answering import Mapping as MappingFile
from connector.cli.asking import Yes, confirm, somebody_decides
from connector.errors import BadSetting
from connector.pages.words import local

#: Kept values, and entries of a run, that a table shows.
_SHOWN = 20
#: Columns of a terminal from which the start stands beside a run's id, which begins with it.
_WIDE = 100


def runs(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[show] [RUN]", help="A run's or a plan's id, or its beginning.")
    ] = None,
    config: Config = None,
    platform: PlatformName = None,
    mapping: MappingFile = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="So many runs (20), or entries of one run (100).")
    ] = None,
    audit: Annotated[bool, typer.Option("--audit", help="The audit log: who ran what, when.")] = False,
    json: Json = False,
) -> None:
    """What was run, by whom, and what it wrote: every value before and after. Also the plans that await approval.

    Examples:

        leadlight runs

        leadlight runs show 20261123T031500-1a2b3c4d --limit 500 --json

        leadlight runs --audit
    """
    from connector.jobs.history import ENTRIES, RUNS, show
    from connector.jobs.history import runs as listing
    from connector.jobs.run import open_mirror

    with answering(json) as answer:
        given = [word for word in words or () if word != "show"]
        if len(given) > 1 or (words and not given):
            raise BadSetting("leadlight runs [show] RUN: name one run.")
        with open_mirror(chosen(config, platform, mapping), "runs") as mirror:
            if given:
                answer.result = show(mirror, given[0], limit or ENTRIES)
                _print_entries(answer.result)
            else:
                answer.result = listing(mirror, limit or RUNS)
                _print_runs(answer.result, audit=audit)


def rollback(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or its beginning.")],
    config: Config = None,
    platform: PlatformName = None,
    mapping: MappingFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Put back the values that stood before a run, wherever its own still stand.

    What somebody edited since, or a later run wrote, is kept and listed. Stopped half-way, run it again: it goes
    on. A rollback is a run too: roll it back to undo it.

    From then on, sync and push hold back the models of that run on its contacts, so that the schedule does not
    write the same again, until you train a new model, say `--resume` on sync or push, or undo the rollback.

    Examples:

        leadlight rollback 20261123T031500-1a2b3c4d --dry-run

        leadlight rollback 20261123T031500-1a2b3c4d --yes --json
    """
    from connector.jobs.rollback import find_target
    from connector.jobs.rollback import rollback as job
    from connector.jobs.run import open_run
    from connector.jobs.sync import spent

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        somebody_decides("A rollback writes to the platform.", yes=yes or dry_run)
        with open_run(settings, "rollback", progress=progress, subject=run_id) as run:
            target = find_target(run, run_id)
            question = (
                f"Put back what stood before run {target.run_id} ({target.command}): "
                f"{target.values:,} values on {target.contacts:,} contacts?"
            )
            confirm(question, yes=yes or dry_run)
            answer.result = {**job(run, target, dry_run=dry_run), **spent(run)}
            run.done(answer.result)
        _print_rollback(answer.result)
        answer.exit_code = 4 if answer.result["failed"] else 0


def approve(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="The plan's name, or its beginning.")],
    config: Config = None,
    platform: PlatformName = None,
    mapping: MappingFile = None,
    json: Json = False,
) -> None:
    """Carry out exactly the plan that a sync left for approval (require_approval), or say why it no longer holds.

    Examples:

        leadlight runs 3f9a1c20b7de

        leadlight approve 3f9a1c20b7de
    """
    from connector.jobs.approve import approve as job
    from connector.jobs.run import open_run
    from connector.jobs.sync import spent

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        with open_run(settings, "approve", progress=progress, subject=plan) as run:
            answer.result = {**job(run, plan), **spent(run)}
            run.done(answer.result)
        pushed = answer.result["pushed"]
        console.approved(answer.result)
        answer.exit_code = 4 if pushed["failed"] else 0


def _print_runs(result: Mapping[str, Any], *, audit: bool) -> None:
    if audit:
        log = Table("At (UTC)", "Who", "Command", "On", "Run")
        for row in result["audit"]:
            log.add_row(
                _time(row["at"]), *(escape(row[key] or "") for key in ("who", "command", "subject", "run_id"))
            )
        console.console.print(log)
        return
    wide = console.console.width >= _WIDE
    failed = any(row["contacts"]["failed"] for row in result["runs"])
    table = Table(
        *(Column(name, no_wrap=True) for name in ("Run", *(["Started (UTC)"] if wide else []), "Command")),
        *("Who", "Status"),
        *(Column(name, justify="right") for name in ("Contacts", "Values", *(["Failed"] if failed else []))),
    )
    for row in result["runs"]:
        counts = row["contacts"]
        table.add_row(
            row["run_id"],
            *([local(row["started_at"], "UTC")] if wide else []),
            row["command"] or "",
            escape(row["who"] or ""),
            f"{row['status']}, taken back" if row["rolled_back_by"] else row["status"],
            *(
                f"{counts[key]:,}" if counts["planned"] else "–"
                for key in ("written", "values", *(["failed"] if failed else []))
            ),
        )
    console.console.print(table)
    for plan in result["plans"]:
        if plan["status"] == "open":
            console.say(
                f"Plan {plan['plan']} awaits approval: {plan['contacts']:,} contacts, {plan['value_count']:,} "
                f"values (run {plan['run_id']})."
            )


def _print_entries(result: Mapping[str, Any]) -> None:
    table = Table("Contact", Column("Property", no_wrap=True), "Before", "After", "Model", "State", "Request")
    for row in result["entries"][:_SHOWN]:
        texts = (row.get(key) for key in ("before", "after", "model", "state", "request_id"))
        table.add_row(row["contact_id"], row["property"], *(escape(text or "") for text in texts))
    console.console.print(table)
    console.say(f"{result['entries_total']:,} values in all; --json and --limit show more.")


def _print_rollback(result: Mapping[str, Any]) -> None:
    skipped = result["skipped"]
    would = "would be put back" if result["dry_run"] else "put back"
    console.say(
        f"{result['restored']:,} contacts {would} to what stood before run {result['of_run']}; "
        f"{skipped['edited_since']:,} edited since and kept, {skipped['gone']:,} gone, "
        f"{result['failed']:,} failed."
    )
    if result["barred"]:
        console.say(
            f"{result['barred']:,} contacts object to profiling now, or are left out by [write]: nothing was put "
            "back there."
        )
    for row in result["kept"][:_SHOWN]:
        by = f"written by run {row['by_run']}" if row["by_run"] else "edited"
        console.say(f"  kept: contact {row['contact_id']}, {row['property']} ({by})")
    if result["held"]:
        console.say(
            f"The models of that run are held back on {result['held']:,} contacts until you train new ones or say "
            "`leadlight sync --resume`."
        )
    if not result["dry_run"]:
        console.say(f"To undo this: leadlight rollback {result['run_id']}")


def _time(at: Any) -> str:
    return f"{local(at, 'UTC')}:{at:%S}"
