"""The command line: arguments and printing, nothing else. One module a group of commands."""

import json
import sys

import typer

from connector import console
from connector.cli import (
    account,
    deploying,
    explaining,
    history,
    inbox,
    measuring,
    models,
    people,
    pipeline,
    reporting,
    serving,
    trying,
)

app = typer.Typer(
    name="leadlight",
    help="Predictions for marketing platforms: measured before they are published, reversible after.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    pipeline.sync,
    pipeline.pull,
    pipeline.train,
    pipeline.evaluate,
    pipeline.score,
    pipeline.push,
    explaining.explain,
    reporting.report,
    models.models,
    account.init,
    account.doctor,
    account.install,
    account.uninstall,
    deploying.manifest,
    measuring.measure,
    serving.serve,
    history.runs,
    history.rollback,
    history.approve,
    inbox.inbox,
    people.export,
    people.erase,
    trying.sandbox,
    trying.demo,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Entry point of the `leadlight` command. Wrong use says so in JSON too where JSON was asked for."""
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        code = 1
    except typer.TyperException as wrong:
        console.problem("Error", f"{wrong.format_message()} (leadlight --help shows every command and option.)")
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"error": wrong.format_message(), "kind": "UsageError"}) + "\n")
        code = wrong.exit_code
    raise SystemExit(code or 0)
