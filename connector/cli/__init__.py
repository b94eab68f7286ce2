"""The command line: arguments and printing, nothing else. One module a group of commands."""

import typer

from connector.cli import account, pipeline, trying

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
    account.init,
    account.doctor,
    account.install,
    account.uninstall,
    trying.sandbox,
    trying.demo,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Entry point of the `leadlight` command."""
    app()
