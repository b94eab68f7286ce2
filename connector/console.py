"""What a person reads in the terminal: progress, tables, one clear line for trouble. All of it on stderr."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from connector.pages.words import percent, plain
from connector.progress import Progress as Report

console = Console(stderr=True, highlight=False)
#: Stages that stay in sight when they are done.
_DONE_SHOWN = 4
#: Displays on the terminal now; the innermost is last.
_showing: list[Progress] = []


class _Count(ProgressColumn):
    """How much is done: "1,000 of 2,000", or "58,000" where the whole is not known."""

    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text("")
        of = f" of {task.total:,.0f}" if task.total and not task.finished else ""
        return Text(f"{task.completed:,.0f}{of}", style="progress.download", justify="right")


class _Pace(ProgressColumn):
    """How much a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not task.completed or not speed:
            return Text("")
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s", style="progress.data.speed")


class _Time(ProgressColumn):
    """What remains, where that can be told; else how long it has taken."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        left = None if task.finished else task.time_remaining
        if left is not None:
            return Text(f"{duration(left)} left", style="progress.remaining")
        return Text(duration(task.finished_time or task.elapsed or 0), style="progress.elapsed")


class _Bar(BarColumn):
    """A bar for what has a known end; a spinner is enough for the rest."""

    def render(self, task: Task) -> Any:
        return Text("") if task.total is None else super().render(task)


@contextmanager
def watching() -> Iterator[Report]:
    """Stages with counts, rates and remaining time on a terminal; nothing elsewhere."""
    bars = Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        _Bar(bar_width=24),
        _Count(),
        _Pace(),
        _Time(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    stages: dict[str, TaskID] = {}
    at: list[str] = []

    def report(stage: str, done: int, total: int | None) -> None:
        if at != [stage]:
            if at:
                _end(bars, stages[at[0]])
            at[:] = [stage]
            if stage in stages:
                bars.remove_task(stages[stage])
            stages[stage] = bars.add_task(escape(stage.replace("_", " ")), total=total)
        bars.update(stages[stage], completed=done, total=total)

    with bars:
        _showing.append(bars)
        try:
            yield report
        finally:
            _showing.remove(bars)


def _end(bars: Progress, stage: TaskID) -> None:
    """Let a stage stand as done, or leave out of sight what had nothing to count or is long past."""
    done = next(task.completed for task in bars.tasks if task.id == stage)
    bars.update(stage, total=done or 1, completed=done or 1, visible=bool(done))
    past = [task.id for task in bars.tasks if task.visible and task.finished]
    for long_past in past[:-_DONE_SHOWN]:
        bars.update(long_past, visible=False)


@contextmanager
def still() -> Iterator[None]:
    """Nothing moves on the terminal: somebody is asked."""
    bars = _showing[-1] if _showing else None
    if bars is not None:
        bars.stop()
    try:
        yield
    finally:
        if bars is not None:
            bars.start()


def duration(seconds: float) -> str:
    """12.3 -> "12 s", 125 -> "2 min 5 s", 4800 -> "1 h 20 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60} min"


def problem(kind: str, message: str) -> None:
    """One clear message: what is wrong and what to change."""
    colour = {"Refused": "yellow", "Stopped": "yellow", "Note": "yellow"}.get(kind, "red")
    console.print(f"[bold {colour}]{kind}:[/] {escape(message)}", soft_wrap=True)


def erased(result: Mapping[str, Any]) -> None:
    """What was taken out, and what was found of it afterwards."""
    rows = sum(result["removed"].values())
    proof = result["proof"]
    say(f"Erased: {result['cleared']:,} values cleared on the platform, {rows:,} rows removed here.")
    if result["companies_off"]:
        problem("Left on the platform", result["companies_off"])
    for path, count in result["files"]["rows_removed"].items():
        say(f"  {count:,} rows taken out of {path}.")
    for path in result["files"]["deleted"]:
        say(f"  {path} showed this person and was deleted: leadlight report makes it anew.")
    for trace in proof["traces"]:
        problem("Trace left", f"{trace['where']}. Take it out there, then run this again.")
    if not proof["traces"]:
        say(f"No trace in {proof['columns']} text columns and {proof['files']} files.")


def say(text: str) -> None:
    """A line of prose; a terminal breaks it between words, under its own beginning."""
    if not console.is_terminal:
        console.print(escape(text), soft_wrap=True)
        return
    for line in text.split("\n"):
        words = line.lstrip(" ")
        console.print(Padding(Text(words), (0, 0, 0, len(line) - len(words))))


#: Tables by what a reader looks for first, and their names for people.
_TABLES = {
    "contacts": "contacts",
    "companies": "companies",
    "deals": "deals",
    "events": "events",
    "purchases": "purchases",
    "property_history": "property changes",
}


def pulled(result: Mapping[str, Any]) -> None:
    rows = {name: count for name, count in result["pulled"].items() if count}
    ordered = [*(name for name in _TABLES if name in rows), *sorted(rows.keys() - _TABLES.keys())]
    words = ", ".join(f"{rows[name]:,} {_TABLES.get(name, name.replace('_', ' '))}" for name in ordered)
    say(f"Read {words}." if words else "Nothing new to read.")
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
        name = plain(key).capitalize()
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
    say(f"{outcome}; {result['api_calls']['total']:,} API calls in {duration(result['seconds'])}.")
    if done.get("held"):
        say(f"{done['held']:,} contacts are held back by a rollback: --resume writes them again.")
    if done.get("left"):
        say(f"{done['left']:,} contacts are left for the next run, the most worthy first.")
    _spread(result.get("budget"))
    companies(result)


def companies(result: Mapping[str, Any]) -> None:
    """What became of the scores of companies, or why they have none."""
    done = result.get("companies") or {}
    if any(done.get(key) for key in ("changed", "failed", "left")):
        what = "would change" if result.get("dry_run") else "changed"
        rest = f"{done['unchanged']:,} unchanged, {done['failed']:,} failed"
        left = f", {done['left']:,} left for the next run" if done["left"] else ""
        say(f"{done['changed']:,} companies {what} ({done['values']:,} values), {rest}{left}.")
    unread = any(one["stream"] == "companies" for one in result.get("streams_off", ()))
    if done.get("off") and (done.get("known") or unread):  # an account without companies misses nothing
        say(done["off"])


def way_back(result: Mapping[str, Any]) -> None:
    """How to undo what a run wrote."""
    if any(result[of]["changed"] for of in ("pushed", "companies")) and not result["dry_run"]:
        say(f"To take it back: leadlight rollback {result['run_id']}")


def approved(result: Mapping[str, Any]) -> None:
    """What became of a plan."""
    pushed = result["pushed"]
    done = "was carried out" if result["status"] == "done" else "was carried out in part"
    say(
        f"Plan {result['plan']} {done} in run {result['run_id']}: {pushed['changed']:,} contacts changed "
        f"({pushed['values']:,} values), {pushed['failed']:,} failed."
    )
    _spread(result["budget"])
    companies(result)
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
        name = check["name"].replace("_", " ")
        table.add_row(_SIGNS[check["state"]], escape(name), escape(check["detail"]) + remedy)
    console.print(table)
    for key, name in (("first_sync", "The first sync"), ("daily_sync", "A daily sync")):
        plan = result["plan"][key]
        if plan is not None and plan["calls"]:
            more = f", and more for {_and(plan['not_counted'])}" if plan["not_counted"] else ""
            said = "less than a minute" if plan["minutes"] < 1 else duration(60 * round(plan["minutes"]))
            say(f"{name} takes about {plan['calls']:,} calls, {said} of calling{more}.")
    failed = [check["name"] for check in result["checks"] if check["state"] == "fail"]
    say(f"Not ready: {', '.join(failed)}." if failed else "Ready.")


def _and(names: Sequence[str]) -> str:
    words = [name.replace("_", " ") for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


_ACTIONS = {
    "add_options": "add options",
    "none": "stays as it is",
    "in_use": "in use",
    "by_hand": "yours to delete",
    "absent": "not there",
}
_DONE = _ACTIONS | {
    "create": "created",
    "restore": "restored",
    "repair": "repaired",
    "add_options": "options added",
    "archive": "archived",
}


def installed(result: Mapping[str, Any]) -> None:
    detailed = any(entry["detail"] for entry in result["properties"])
    table = Table("Property", "Action", *(["Detail"] if detailed else []))
    words = _ACTIONS if result["dry_run"] else _DONE
    for entry in result["properties"]:
        row = [entry["name"], words.get(entry["action"], entry["action"])]
        table.add_row(*row, *([escape(entry["detail"])] if detailed else []))
    console.print(table)
    if result.get("companies_off"):
        say(result["companies_off"])


def removing(result: Mapping[str, Any]) -> None:
    """What an uninstall is about to do."""
    installed(result)
    records = f"{result['contacts']:,} contacts and {result['companies']:,} companies"
    say(f"{result['values']:,} values on {records} are to be cleared; the ledger keeps them.")
    say(
        "Segments, workflows, forms and reports that use these properties will stop working as they do: look at "
        "“Used in” of each property in the platform's settings."
    )


def removed(result: Mapping[str, Any]) -> None:
    """What an uninstall did."""
    done, more = result["cleared"], result["companies_cleared"]
    values, failed = (done[key] + more[key] for key in ("values", "failed"))
    cleared = f"{done['changed']:,} contacts, {more['changed']:,} companies cleared"
    say(f"{cleared} ({values:,} values), {failed:,} failed.")
    if failed:
        say("The properties were left standing: run it again when what failed can be written.")
        return
    installed(result)
    for name in result["in_use"]:
        say(
            f"{name} is still used by a segment, workflow, form or report: take it out there, then run this again."
        )
    if result["by_hand"]:
        say("The fields are empty now; an administrator deletes them (docs/salesforce-app.md, at its end).")


def heading(text: str) -> None:
    console.print(f"\n[bold]{escape(text)}[/]")


def leads(rows: list[dict[str, Any]]) -> None:
    """The best leads with their reasons, as a marketer reads them."""
    for row in rows:
        chance = percent(float(row["leadlight_probability"]))
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
