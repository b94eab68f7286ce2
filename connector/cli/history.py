"""What was written, and taking it back: runs, rollback, approve."""

from collections.abc import Mapping
from datetime import datetime
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
from connector.cli.performing import perform
from connector.errors import BadSetting
from connector.jobs.ended import agreed
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
    with answering(json) as answer:
        given = [word for word in words or () if word != "show"]
        if len(given) > 1 or (words and not given):
            raise BadSetting("leadlight runs [show] RUN: name one run.")
        params = {"name": given[0] if given else None, "limit": limit}
        answer.result = perform(chosen(config, platform, mapping), "runs", params).result
        if given:
            _print_entries(answer.result)
        else:
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

    def sure(target: dict[str, Any]) -> bool:
        companies = f" and {target['companies']:,} companies" if target["companies"] else ""
        question = (
            f"Put back what stood before run {target['of_run']} ({target['command']}): "
            f"{target['values']:,} values on {target['contacts']:,} contacts{companies}?"
        )
        confirm(question, yes=yes)
        return True

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        somebody_decides("A rollback writes to the platform.", yes=yes or dry_run)
        params = {"run": run_id, "dry_run": dry_run}
        ask = agreed if yes or dry_run else sure
        ended = perform(settings, "rollback", params, progress=progress, ask=ask)
        answer.result, answer.exit_code = ended.result, ended.exit_code
        _print_rollback(answer.result)


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
    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        ended = perform(settings, "approve", {"plan": plan}, progress=progress)
        answer.result, answer.exit_code = ended.result, ended.exit_code
        console.approved(answer.result)


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
            console.say(f"Plan {plan['plan']} awaits approval: {_size(plan)} (run {plan['run_id']}).")


def _print_entries(result: Mapping[str, Any]) -> None:
    console.say(_headline(result))
    table = Table(
        "Contact", Column("Property", no_wrap=True), "Before", "After", "Why", "Model", "State", "Request"
    )
    for row in result["entries"][:_SHOWN]:
        texts = (row.get(key) for key in ("before", "after", "reason", "model", "state", "request_id"))
        table.add_row(_record(row), row["property"], *(escape(text or "") for text in texts))
    console.console.print(table)
    console.say(f"{result['entries_total']:,} values in all; --json and --limit show more.")


def _headline(result: Mapping[str, Any]) -> str:
    """What a run or a plan is, in a line."""
    if "run_id" in result and "command" in result:
        counts, by = result["contacts"], f" by {result['who']}" if result["who"] else ""
        companies = result["companies"]["written"]
        of_companies = f"; {companies:,} companies written" if companies else ""
        undone = f" Rolled back by {result['rolled_back_by']}." if result["rolled_back_by"] else ""
        return (
            f"Run {result['run_id']}: {result['command']}{by}, {_time(result['started_at'])} UTC, "
            f"{result['status']}; {counts['written']:,} contacts written ({counts['values']:,} values), "
            f"{counts['failed']:,} failed, {counts['gone']:,} gone{of_companies}.{undone}"
        )
    state = {"open": "awaits approval", "done": "was carried out", "void": "no longer holds"}[result["status"]]
    return f"Plan {result['plan']} {state}: {_size(result)}."


def _size(plan: Mapping[str, Any]) -> str:
    """What a plan is of, in words."""
    of = f"{plan['companies']:,} companies" if plan["companies"] else f"{plan['contacts']:,} contacts"
    return f"{of}, {plan['value_count']:,} values"


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
    of_companies = result["companies"]
    if of_companies["off"]:
        console.say(of_companies["off"])
    elif of_companies["restored"] or any(of_companies["skipped"].values()) or of_companies["failed"]:
        skipped = of_companies["skipped"]
        console.say(
            f"{of_companies['restored']:,} companies {would}; {skipped['edited_since']:,} edited since and kept, "
            f"{skipped['gone']:,} gone, {of_companies['failed']:,} failed."
        )
    for note in result["notes"]:
        console.problem("Note", f"{note} Until then values are only taken away, not put back.")
    for row in [*result["kept"], *result["kept_of_companies"]][:_SHOWN]:
        by = f"written by run {row['by_run']}" if row["by_run"] else "edited"
        console.say(f"  kept: {'contact ' if 'contact_id' in row else ''}{_record(row)}, {row['property']} ({by})")
    if result["held"]:
        console.say(
            f"The models of that run are held back on {result['held']:,} contacts until you train new ones or say "
            "`leadlight sync --resume`."
        )
    if not result["dry_run"]:
        console.say(f"To undo this: leadlight rollback {result['run_id']}")


def _record(row: Mapping[str, Any]) -> str:
    """Which contact, or company, a value is of."""
    return str(row["contact_id"]) if "contact_id" in row else f"company {row['company_id']}"


def _time(at: Any) -> str:
    given = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    return f"{local(given, 'UTC')}:{given:%S}"
