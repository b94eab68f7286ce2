"""Finding out what the predictions are worth once they are used."""

from collections.abc import Mapping as Reading
from typing import Annotated, Any

import typer

from connector import console, console_figures
from connector.cli.answering import AsOf, Config, Json, Mapping, PlatformName, answering, chosen
from connector.cli.performing import perform
from connector.pages.words import weeks as weeks_of


def measure(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    as_of: AsOf = None,
    lift: Annotated[
        float | None, typer.Option("--lift", min=0.001, help="The lift to plan for: 0.1 is a tenth more outcomes.")
    ] = None,
    base_rate: Annotated[
        float | None,
        typer.Option("--base-rate", min=0.00001, max=0.99999, help="Share that converts without acting."),
    ] = None,
    inflow: Annotated[
        float | None, typer.Option("--inflow", min=0.0, help="Contacts a week on whom one would act.")
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Report on the shadow properties before they are promoted.")
    ] = False,
    json: Json = False,
) -> None:
    """Plan a holdout, and read what it shows: the lift of acting on predictions. Writes nothing.

    Examples:

        leadlight measure --lift 0.1

        leadlight measure --base-rate 0.04 --inflow 250 --json

        leadlight measure --shadow
    """
    params = {"lift": lift, "base_rate": base_rate, "inflow": inflow, "shadow": shadow}
    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        answer.result = perform(settings, "measure", params, progress=progress, as_of=as_of).result
        for key, figures in answer.result["predictions"].items():
            console.heading(f"{key.replace('_', ' ').capitalize()}: {figures['goal']}")
            for line in _shadow_lines(figures) if shadow else _lines(figures, on=answer.result["on"]):
                console.say(line)


def _lines(figures: Reading[str, Any], *, on: bool) -> list[str]:
    lines = _plan_lines(figures["plan"])
    experiment = figures["experiment"]
    if experiment is None:
        how = "the next sync draws." if on else "[holdout] in leadlight.toml turns it on."
        return [*lines, f"Nobody is held out yet: {how}"]
    rest, holdout = experiment["rest"], experiment["holdout"]
    lines.append(
        f"Since {experiment['since'][:10]}: {rest['outcomes']:,} of {rest['contacts']:,} reached the goal, "
        f"{holdout['outcomes']:,} of {holdout['contacts']:,} in the holdout, each within "
        f"{experiment['window_days']} days; {sum(experiment['waiting'].values()):,} still have time."
    )
    ratio = experiment["sample_ratio"]
    if ratio is not None:
        word = "as drawn" if ratio["ok"] else "NOT as drawn"
        lines.append(
            f"The holdout is {ratio['observed_share']:.1%} of them, {word} ({ratio['expected_share']:.1%})."
        )
    if experiment["may_look"]["any_time"]:
        lines.append(f"Lift {_percent(experiment['lift'])}; holds however often you look.")
    if experiment["planned_look"]["reached"]:
        lines.append(f"At the planned look: {_percent(experiment['planned_look']['lift'])}.")
    return [*lines, experiment["verdict"]]


def _plan_lines(plan: Reading[str, Any]) -> list[str]:
    if plan["contacts"] is None:
        return [str(plan["why"])]
    weeks = "never comes together" if plan["weeks"] is None else f"takes {weeks_of(plan['weeks'])}"
    pace = plan["contacts_per_week"]
    lines = [
        f"Without acting, {plan['base_rate']:.1%} reach the goal. To show a lift of {plan['lift']:.0%} on that, "
        f"{plan['contacts']:,} contacts are needed, {plan['in_holdout']:,} of them held out; with "
        f"{plan['stock']:,} now and {pace:,.{0 if pace >= 10 else 1}f} more a week that {weeks}."
    ]
    seen = [f"{lift:.0%} in {weeks} weeks" for weeks, lift in plan["detectable_lift"].items() if lift is not None]
    return [*lines, f"The smallest lift that would show: {', '.join(seen)}."] if seen else lines


def _percent(figure: Reading[str, Any]) -> str:
    value, low, high = (
        "unknown" if figure[name] is None else f"{figure[name]:+.0%}" for name in ("value", "low", "high")
    )
    return f"{value} (95% interval {low} to {high})"


def _shadow_lines(figures: Reading[str, Any]) -> list[str]:
    lines = [f"{figures['contacts']:,} contacts scored in the shadow."]
    found = figures["agreement"]
    if found["rank_correlation"] is not None:
        lines.append(
            f"Beside the score in use, on {found['contacts']:,} contacts: rank correlation "
            f"{found['rank_correlation']:.2f}, {found['top_overlap']:.0%} of its best tenth in common."
        )
    for grade, row in figures["outcomes"].items():
        lines.append(
            f"{grade}: {row['outcomes']:,} of {row['contacts']:,} reached the goal since "
            f"({row['rate']['low']:.1%} to {row['rate']['high']:.1%})."
        )
    ranking = figures["ranking"]
    if ranking is None:
        return [*lines, "Too few outcomes so far to tell which score ranks better."]
    lines.append(f"AUC {console_figures.interval(ranking['auc'])} on what happened since.")
    if ranking["difference"] is not None:
        gain = console_figures.interval(ranking["difference"])
        lines.append(f"The score in use: {ranking['present_auc']:.3f}; the difference {gain}.")
    return lines
