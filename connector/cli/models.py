"""The versions of the models, and which one is in use."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from connector import console
from connector.cli.answering import Config, Json, Mapping, PlatformName, answering, chosen
from connector.cli.performing import perform
from connector.errors import BadSetting
from connector.pages.words import local


def models(
    action: Annotated[str, typer.Argument(help="list, promote or rollback.")] = "list",
    version: Annotated[str | None, typer.Argument(help="The version to promote.")] = None,
    predictor: Annotated[str, typer.Option("--predictor", help="Whose model to roll back.")] = "lead_score",
    goal: Annotated[str, typer.Option("--goal", help="Name of the goal.")] = "default",
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    json: Json = False,
) -> None:
    """Every version of every model with its figures; put one into use, or go back to the one before.

    What changes shows on the platform at the next sync.

    Examples:

        leadlight models list

        leadlight models promote lead_score-2026-11-01-1a2b3c4d

        leadlight models rollback --predictor segments --json
    """
    with answering(json) as answer:
        if action not in ("list", "promote", "rollback"):
            raise BadSetting(f"models {action}: use list, promote VERSION or rollback.")
        if (action == "promote") != (version is not None):
            raise BadSetting("models: promote, and only promote, takes a VERSION; see `leadlight models list`.")
        settings = chosen(config, platform, mapping)
        if action == "list":
            answer.result = perform(settings, "models", {}).result
            _listed(answer.result["models"])
            return
        params = {"version": version, "predictor": predictor, "goal": goal}
        answer.result = perform(settings, "models-choose", params).result
        console.say(f"In use now: {answer.result['version']}; before: {answer.result['before']}.")


def _listed(rows: list[dict[str, Any]]) -> None:
    if not rows:
        console.say("No model was trained yet: leadlight train.")
        return
    table = Table()
    table.add_column("Version", no_wrap=True)
    for title in ("In use since (UTC)", "Verdict", "Figures"):
        table.add_column(title)
    for row in rows:
        verdict = {True: "passed", False: "refused", None: "unknown"}[row["passed"]]
        used = (local(row["since"], "UTC") if row["since"] else "yes") if row["in_use"] else ""
        name = row["version"] if row["goal"] == "default" else f"{row['version']} ({row['goal']})"
        table.add_row(escape(name), used, verdict, escape(_figures(row["figures"])))
    console.console.print(table)


def _figures(figures: dict[str, Any]) -> str:
    """The few that fit in a line."""
    words = []
    for key, say in _WORDS.items():
        value = figures.get(key)
        if isinstance(value, dict):
            value = value.get("value")
        if value is not None:
            words.append(say(value))
    return ", ".join(words)


_WORDS: dict[str, Callable[[float], str]] = {
    "auc": lambda value: f"AUC {value:.2f}",
    "lift_top_decile": lambda value: f"lift {value:.1f}× in the top tenth",
    "calibration_error": lambda value: f"percentages off by {100 * value:.1f} points",
    "hit_top1": lambda value: f"{value:.0%} of responses in the best hour",
    "k": lambda value: f"{value:.0f} groups",
    "stability": lambda value: f"agreement {value:.2f} of 1",
}
