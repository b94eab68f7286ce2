"""What a person reads in the terminal: progress, tables, one clear line for trouble. All of it on stderr."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from connector.progress import Progress as Report

console = Console(stderr=True, highlight=False)


@contextmanager
def watching() -> Iterator[Report]:
    """A progress bar per stage on a terminal; nothing elsewhere."""
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    stages: dict[str, Any] = {}

    def report(stage: str, done: int, total: int | None) -> None:
        if stage not in stages:
            for earlier in stages.values():
                bars.stop_task(earlier)
            stages[stage] = bars.add_task(escape(stage), total=total)
        bars.update(stages[stage], completed=done, total=total)

    with bars:
        yield report


def problem(kind: str, message: str) -> None:
    """One clear message: what is wrong and what to change."""
    colour = {"Refused": "yellow", "Stopped": "yellow", "Note": "yellow"}.get(kind, "red")
    console.print(f"[bold {colour}]{kind}:[/] {escape(message)}", soft_wrap=True)


def erased(result: Mapping[str, Any]) -> None:
    """What was taken out, and what was found of it afterwards."""
    rows = sum(result["removed"].values())
    proof = result["proof"]
    say(f"Erased: {result['cleared']:,} values cleared on the platform, {rows:,} rows removed here.")
    for path, count in result["files"]["rows_removed"].items():
        say(f"  {count:,} rows taken out of {path}.")
    for path in result["files"]["deleted"]:
        say(f"  {path} showed this person and was deleted: leadlight report makes it anew.")
    for trace in proof["traces"]:
        problem("Trace left", f"{trace['where']}. Take it out there, then run this again.")
    if not proof["traces"]:
        say(f"No trace in {proof['columns']} text columns and {proof['files']} files.")


def say(text: str) -> None:
    """A line of prose."""
    console.print(escape(text), soft_wrap=True)


def pulled(result: Mapping[str, Any]) -> None:
    rows = {name: count for name, count in result["pulled"].items() if count}
    words = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(rows.items()))
    say(f"Read {words}." if words else "Nothing new.")
    _streams_off(result)


def _streams_off(result: Mapping[str, Any]) -> None:
    for off in result.get("streams_off", ()):
        say(f"Not read: {off['stream']} ({off['why']}; scope {off['scope']}).")


#: Rejected records that are named; the rest is counted.
_NAMED = 10


def rejected(lines: list[str]) -> None:
    """Records that could not be used, by file and line or by id; the mirror keeps the whole list."""
    if lines:
        say(f"{len(lines):,} records could not be used and were kept aside:")
    for line in lines[:_NAMED]:
        say(f"  {line}")
    if len(lines) > _NAMED:
        say(f"  … and {len(lines) - _NAMED:,} more.")


def gates(verdicts: Mapping[str, Mapping[str, Any]]) -> None:
    """The verdict on each prediction."""
    for key, verdict in verdicts.items():
        name = key.replace("_", " ").capitalize()
        if not verdict["ran"]:
            word = "[dim]did not run[/]"
        else:
            word = "[green]passed[/]" if verdict["passed"] else "[yellow]refused[/]"
        console.print(f"{escape(name)}: {word}", soft_wrap=True)
        for reason in verdict["reasons"]:
            say(f"  {reason}")


def synced(result: Mapping[str, Any]) -> None:
    if "pulled" in result:
        pulled(result)
    gates(result["gates"])
    done = result["pushed"]
    outcome = (
        f"{done['changed']:,} contacts would change ({done['values']:,} values), {done['unchanged']:,} would stay"
        if result.get("dry_run")
        else f"{done['changed']:,} contacts changed ({done['values']:,} values), {done['unchanged']:,} unchanged, "
        f"{done['failed']:,} failed, {done['skipped']:,} gone"
    )
    say(f"{outcome}; {result['api_calls']['total']:,} API calls in {result['seconds']:.0f} s.")
    if done.get("held"):
        say(f"{done['held']:,} contacts are held back by a rollback: --resume writes them again.")
    if done.get("left"):
        say(f"{done['left']:,} contacts are left for the next run, the most worthy first.")
    _spread(result.get("budget"))


def approved(result: Mapping[str, Any]) -> None:
    """What became of a plan."""
    pushed = result["pushed"]
    done = "was carried out" if result["status"] == "done" else "was carried out in part"
    say(
        f"Plan {result['plan']} {done} in run {result['run_id']}: {pushed['changed']:,} contacts changed "
        f"({pushed['values']:,} values), {pushed['failed']:,} failed."
    )
    _spread(result["budget"])
    if result["status"] == "open":
        say(f"The rest: leadlight approve {result['plan']}")


def _spread(budget: Mapping[str, Any] | None) -> None:
    """On how many days a run goes out that today's calls do not allow."""
    if budget is None or budget["fits"]:
        return
    say(
        f"Today's calls allow {budget['contacts_today']:,} of {budget['contacts']:,} contacts "
        f"({budget['calls_today']:,} of {budget['calls']:,} write calls)."
    )
    if budget["days"] is not None:
        say(f"It takes at least {budget['days']:,} days in all; there are calls again at {budget['goes_on_at']}.")


def begun(result: Mapping[str, Any]) -> None:
    """What `init` wrote and what comes next."""
    say(f"Written: {', '.join(result['written'])}. Read the comments; then:")
    for command in result["next"]:
        say(f"  {command}")


def manifested(result: Mapping[str, Any]) -> None:
    """What `manifest` wrote, what to know of it, and what comes next."""
    say(f"Written: {len(result['files'])} files in {result['out']}.")
    if (counts := result.get("subscriptions")) is not None:
        idle = f"; {counts['inactive']} no longer needed stay, inactive" if counts["inactive"] else ""
        say(f"Webhook subscriptions: {counts['active']}{idle}.")
    if result.get("watch"):
        say(f"Fields that the models look at: {', '.join(result['watch'])}.")
    for note in result["notes"]:
        say(f"Note: {note}")
    for command in result["next"]:
        say(f"  {command}")


_SIGNS = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]", "off": "[dim]–[/]"}


def diagnosed(result: Mapping[str, Any]) -> None:
    """What `doctor` found: a table, one remedy for each problem, and the plan."""
    table = Table("", "Check", "Finding")
    for check in result["checks"]:
        remedy = f"\n[bold]→[/] {escape(check['remedy'])}" if check["remedy"] else ""
        table.add_row(_SIGNS[check["state"]], escape(check["name"]), escape(check["detail"]) + remedy)
    console.print(table)
    for key, name in (("first_sync", "The first sync"), ("daily_sync", "A daily sync")):
        plan = result["plan"][key]
        if plan is not None and plan["calls"]:
            more = f", and more for {', '.join(plan['not_counted'])}" if plan["not_counted"] else ""
            say(f"{name} takes about {plan['calls']:,} calls, {plan['minutes']:,} minutes of calling{more}.")
    failed = [check["name"] for check in result["checks"] if check["state"] == "fail"]
    say(f"Not ready: {', '.join(failed)}." if failed else "Ready.")


def installed(result: Mapping[str, Any]) -> None:
    table = Table("Property", "Action", "Detail")
    for entry in result["properties"]:
        table.add_row(entry["name"], entry["action"].replace("_", " "), escape(entry["detail"]))
    console.print(table)


def removing(result: Mapping[str, Any]) -> None:
    """What an uninstall is about to do."""
    installed(result)
    say(
        f"{result['values']:,} values on {result['contacts']:,} contacts are to be cleared; the ledger keeps them."
    )
    say(
        "Segments, workflows, forms and reports that use these properties will stop working as they do: look at "
        "“Used in” of each property in the platform's settings."
    )


def removed(result: Mapping[str, Any]) -> None:
    """What an uninstall did."""
    done = result["cleared"]
    say(f"{done['changed']:,} contacts cleared ({done['values']:,} values), {done['failed']:,} failed.")
    if done["failed"]:
        say("The properties were left standing: run it again when the failed contacts can be written.")
        return
    installed(result)
    for name in result["in_use"]:
        say(
            f"{name} is still used by a segment, workflow, form or report: take it out there, then run this again."
        )


def evaluation(results: Mapping[str, Mapping[str, Any]]) -> None:
    """The figures of every prediction, with their intervals and beside their baselines."""
    for key, figures in results.items():
        gates({key: {"ran": figures.get("ran", True), **figures}})
        printer = {"lead_score": _lead_score, "send_time": _send_time, "segments": _segments}.get(
            key.split(":")[0]
        )
        if figures.get("passed") is not None and printer is not None:
            printer(figures)


def interval(figure: Mapping[str, float], places: int = 3) -> str:
    """A figure with its 95% interval."""
    return f"{figure['value']:.{places}f} ({figure['low']:.{places}f} to {figure['high']:.{places}f})"


_SPLITS = {
    "time": "split by time",
    "cv": "cross-validated, no time split",
    "order": "on the last fifth of the rows",
}


def _lead_score(figures: Mapping[str, Any]) -> None:
    table = Table("Lead score", "AUC", "Lift in the top tenth", title=figures.get("goal"), title_justify="left")
    table.add_row(
        f"[bold]Leadlight[/] ({figures['model'].replace('_', ' ')})",
        interval(figures["auc"]),
        interval(figures["lift_top_decile"], 1),
    )
    for name, baseline in figures["baselines"].items():
        table.add_row(name.replace("_", " "), f"{baseline['auc']:.3f}", f"{baseline['lift_top_decile']:.1f}")
    console.print(table)
    say(
        f"  {figures['rows']:,} rows, {figures['positives']:,} positive, {_SPLITS[figures['split']]}. "
        f"Calibration error {figures['calibration_error']:.4f} (a perfect model of this size: up to "
        f"{figures['calibration_limit']:.4f})."
    )
    plain = figures["intervals"]
    say(f"  Average precision {interval(plain['average_precision'])}, Brier score {interval(plain['brier'], 4)}.")
    for leak in figures["leaks"]:
        say(f"  Left out, {leak['action']}: {leak['property']}: {leak['why']}")
    _by_month(figures.get("by_month", ()))


def _by_month(months: Sequence[Mapping[str, Any]]) -> None:
    """How often the goal was reached by month, and how the model did in the months that tested it."""
    if len(months) < 2:
        return
    table = Table("Contacts as of", "Rows", "Reached the goal", "Foretold", "AUC", "Calibration error")
    for month in months:
        row = [month["month"], f"{month['rows']:,}", f"{month['base_rate']:.1%}"]
        if month["tested"] and month["auc"]["value"] is not None:
            row += [
                f"{month['mean_probability']:.1%}",
                interval(month["auc"]),
                f"{month['calibration_error']:.4f}",
            ]
        else:
            row += ["taught", "", ""]
        table.add_row(*row)
    console.print(table)


def _send_time(figures: Mapping[str, Any]) -> None:
    table = Table("Send time", "Hit, best hour", "Hit, best three", "Bits per event")
    rows = {"Leadlight": figures, **figures["baselines"]}
    for name, row in rows.items():
        table.add_row(
            name.replace("_", " "), _share(row["hit_top1"]), _share(row["hit_top3"]), f"{row['log_loss_bits']:.3f}"
        )
    console.print(table)
    say(
        f"  {figures['contacts']:,} contacts with enough events, {figures['events']:,} events; "
        f"{figures['personal_share']:.0%} have an hour of their own."
    )


def _share(figure: Any) -> str:
    if isinstance(figure, Mapping):
        return f"{figure['value']:.1%} ({figure['low']:.1%} to {figure['high']:.1%})"
    return f"{figure:.1%}"


def _segments(figures: Mapping[str, Any]) -> None:
    valued = any(one["value"] is not None for one in figures["segments"])
    table = Table(
        "Segment", "Contacts", "Reached the goal", *(["Worth each"] if valued else []), "Best reached by"
    )
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


def heading(text: str) -> None:
    console.print(f"\n[bold]{escape(text)}[/]")


def leads(rows: list[dict[str, Any]]) -> None:
    """The best leads with their reasons, as a marketer reads them."""
    for row in rows:
        chance = f"{float(row['leadlight_probability']):.0%}"
        who = escape(str(row["name"]))
        console.print(f"[bold]{row['leadlight_score']:>3} {row['leadlight_grade']}[/]  {who}, {chance} likely")
        for reason in (row["leadlight_reasons"] or "").split("; "):
            say(f"       {reason}")


def hours(counts: Mapping[int, int]) -> None:
    """Contacts by their best hour, as bars."""
    most = max(counts.values(), default=1)
    for hour in range(24):
        count = counts.get(hour, 0)
        if count:
            console.print(f"{hour:02d}:00 {'█' * max(1, round(40 * count / most))} {count:,}")
