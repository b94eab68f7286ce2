"""The figures of predictions as a person reads them in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from connector.console import console, gates, say
from connector.pages.words import month as month_of
from connector.pages.words import percent, plain, rule


def evaluation(results: Mapping[str, Mapping[str, Any]]) -> None:
    """The figures of every prediction, with their intervals and beside their baselines."""
    for key, figures in results.items():
        gates({key: {"ran": figures.get("ran", True), **figures}})
        printer = {"lead_score": _lead_score, "send_time": _send_time, "segments": _segments}.get(
            key.split(":")[0]
        )
        if figures.get("passed") is not None and printer is not None:
            printer(figures)


def interval(figure: Mapping[str, float], places: int = 3, unit: str = "") -> str:
    """A figure with its 95% interval."""
    low, high = (f"{figure[name]:.{places}f}{unit}" for name in ("low", "high"))
    return f"{figure['value']:.{places}f}{unit} ({low} to {high})"


_SPLITS = {
    "time": "split by time",
    "cv": "cross-validated, no time split",
    "order": "on the last fifth of the rows",
}


def _numbers(first: str, *rest: str) -> list[Column]:
    """Columns of a table: a name, then figures."""
    return [Column(first), *(Column(name, justify="right") for name in rest)]


def _lead_score(figures: Mapping[str, Any]) -> None:
    table = Table("Lead score", "AUC", "Lift in the top tenth", title=figures.get("goal"), title_justify="left")
    table.add_row(
        f"[bold]Leadlight[/] ({plain(figures['model'])})",
        interval(figures["auc"]),
        interval(figures["lift_top_decile"], 1, "×"),
    )
    for name, baseline in figures["baselines"].items():
        table.add_row(plain(name), f"{baseline['auc']:.3f}", f"{baseline['lift_top_decile']:.1f}×")
    console.print(table)
    say(
        f"  {figures['rows']:,} cases, {figures['positives']:,} reached the goal, {_SPLITS[figures['split']]}. "
        f"Percentages off by {100 * figures['calibration_error']:.1f} points on average (a perfect model of this "
        f"size: up to {100 * figures['calibration_limit']:.1f})."
    )
    wide = figures["intervals"]
    say(f"  Average precision {interval(wide['average_precision'])}, Brier score {interval(wide['brier'], 4)}.")
    for leak in figures["leaks"]:
        say(f"  Left out, {leak['action']}: {leak['property']}: {leak['why']}")
    _by_month(figures.get("by_month", ()))


def _by_month(months: Sequence[Mapping[str, Any]]) -> None:
    """How often the goal was reached by month, and how the model did in the months that tested it."""
    if len(months) < 2:
        return
    table = Table(*_numbers("Contacts as of", "Cases", "Reached the goal", "Foretold", "AUC", "Off by, points"))
    for month in months:
        row = [month_of(month["month"]), f"{month['rows']:,}", f"{month['base_rate']:.1%}"]
        if month["tested"] and month["auc"]["value"] is not None:
            row += [
                f"{month['mean_probability']:.1%}",
                interval(month["auc"]),
                f"{100 * month['calibration_error']:.1f}",
            ]
        else:
            row += ["taught", "", ""]
        table.add_row(*row)
    console.print(table)


def _send_time(figures: Mapping[str, Any]) -> None:
    table = Table(*_numbers("Send time", "In the best hour", "In the best three", "Bits per response"))
    rows = {"Leadlight": figures, **figures["baselines"]}
    for name, row in rows.items():
        table.add_row(
            rule(name, figures.get("basis")),
            _share(row["hit_top1"]),
            _share(row["hit_top3"]),
            f"{row['log_loss_bits']:.3f}",
        )
    console.print(table)
    say(
        f"  {figures['contacts']:,} contacts with enough responses, {figures['events']:,} later responses; "
        f"{figures['personal_share']:.0%} have an hour of their own."
    )
    if figures.get("basis") == "activity":
        say("  Too few sends known: these are people's active hours, not corrected for when mail was sent.")


def _share(figure: Any) -> str:
    if isinstance(figure, Mapping):
        return f"{percent(figure['value'])} ({percent(figure['low'])} to {percent(figure['high'])})"
    return percent(figure)


def _segments(figures: Mapping[str, Any]) -> None:
    valued = any(one["value"] is not None for one in figures["segments"])
    worth_each = [Column("Worth each", justify="right")] if valued else []
    table = Table(*_numbers("Segment", "Contacts", "Reached the goal"), *worth_each, "Best reached by")
    for one in figures["segments"]:
        rate = "" if one["conversion_rate"] is None else f"{one['conversion_rate']:.1%}"
        worth = "" if one["value"] is None else f"{one['value']:,.0f}"
        row = [escape(one["name"]), f"{one['contacts']:,}", rate, *([worth] if valued else [])]
        table.add_row(*row, one["reached_by"] or "")
    console.print(table)
    stability, membership = figures["stability"], figures["membership"]
    say(f"  {figures['k']} segments, stability {stability['value']:.2f} (at least {stability['low']:.2f}).")
    say(
        f"  {membership['moved_share']:.1%} of those known changed segment since the start of the month; "
        f"{membership['stale_share']:.1%} stay in theirs though another is nearer now."
    )
    if figures["gone"]:
        say(f"  No longer there: {', '.join(map(str, figures['gone'].values()))}.")
