"""What a person reads in the terminal: progress that moves on a terminal only, figures as people write them."""

import io
from datetime import datetime
from typing import Any

import pytest
from rich.console import Console

from connector import console, console_figures
from connector.cli import history, previewing
from connector.cli.models import _figures
from connector.console import duration


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 100 columns, without colours; what it showed."""
    shown = io.StringIO()
    made = Console(file=shown, force_terminal=True, width=100, highlight=False, color_system=None)
    for module in (console, previewing):
        monkeypatch.setattr(module, "console", made)
    return shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.6, "1 min"), (125, "2 min 5 s"), (435, "7 min 15 s"), (4800, "1 h 20 min")],
)
def test_durations_are_written_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_progress_tells_how_much_how_fast_and_how_long(terminal: io.StringIO) -> None:
    with console.watching() as report:
        report("Reading email_events", 58_000, None)
        report("Pushing", 0, 2_000)
        report("Pushing", 500, 2_000)
        [bars] = console._showing
        bars.refresh()
    shown = terminal.getvalue()
    assert "✓ Reading email events" in shown
    assert "58,000" in shown
    assert "500 of 2,000" in shown
    assert "/?" not in shown


def test_rates_and_remaining_time_come_from_the_pace() -> None:
    now = 0.0
    with_clock = console.Progress(console._Pace(), console._Time(), get_time=lambda: now, disable=True)
    stage = with_clock.add_task("", total=2_000)
    for done in (0, 200, 400):
        now += 1.0
        with_clock.update(stage, completed=done)
    [task] = with_clock.tasks
    assert console._Pace().render(task).plain == "200/s"
    assert console._Time().render(task).plain == "8 s left"


def test_a_stage_without_anything_to_count_leaves_the_screen_and_old_ones_too(terminal: io.StringIO) -> None:
    with console.watching() as report:
        report("Training lead score", 0, None)
        for stage in "abcdefg":
            report(stage, 10, None)
        [bars] = console._showing
        seen = [task.description for task in bars.tasks if task.visible]
    assert seen == ["c", "d", "e", "f", "g"]


def test_a_stage_that_comes_again_starts_again(terminal: io.StringIO) -> None:
    with console.watching() as report:
        for stage in ("a", "b", "a"):
            report(stage, 10, None)
        [bars] = console._showing
        assert [(task.description, task.completed, task.finished) for task in bars.tasks] == [
            ("b", 10, True),
            ("a", 10, False),
        ]


def test_nothing_moves_elsewhere_than_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=shown, force_terminal=False, width=100))
    with console.watching() as report:
        report("Pushing", 500, 2_000)
    assert shown.getvalue() == ""


def test_nothing_moves_while_somebody_is_asked(terminal: io.StringIO) -> None:
    with console.watching() as report:
        report("Pushing", 500, 2_000)
        [bars] = console._showing
        with console.still():
            assert not bars.live.is_started
        assert bars.live.is_started


def test_prose_is_broken_between_words_under_its_beginning(terminal: io.StringIO) -> None:
    console.say("  " + "gemischt " * 20)
    lines = terminal.getvalue().splitlines()
    assert len(lines) > 1
    assert all(line.startswith("  gemischt") for line in lines)
    assert {word for line in lines for word in line.split()} == {"gemischt"}


def _preview(**values: Any) -> dict[str, Any]:
    both = {f"x_{name}": {"before": before, "after": after} for name, (before, after) in values.items()}
    return {
        "by_property": {"x_score": {"total": 1234, "first": 0, "changed": 1234, "cleared": 0}},
        "grade_moves": {},
        "biggest_moves": [],
        "sample": [{"contact_id": "7", "values": both}],
        "prefix": "x",
        "labels": {"x_segment": {"s4": "Mail clickers"}},
        "properties": {},
        "calls": {"write": 13},
    }


def test_a_dry_run_shows_a_contact_a_row_as_people_say_it(terminal: io.StringIO) -> None:
    values = {
        "score": ("41", "68"),
        "grade": ("C", "B"),
        "probability": (None, "0.0058"),
        "reasons": (None, "+ visited pricing 4 times; − no open deal"),
        "send_hour": ("9", "18"),
        "send_weekday": (None, "monday"),
        "segment": (None, "s4"),
        "model": (None, "lead_score-2026-11-28-0503ff85"),
        "score_renewal": ("1", None),
    }
    previewing.print_preview({"preview": _preview(**values)})
    shown = terminal.getvalue()
    row = next(line for line in shown.splitlines() if "│ 7 " in line)
    for cell in ("41 → 68 C → B", "0.6%", "Mon 09:00 → 18:00", "Mail clickers", "+ visited pricing 4 times"):
        assert cell in row
    assert "score renewal: 1 → none" in shown
    assert "0503ff85" not in shown
    assert "1,234" in shown


def test_a_dry_run_without_changes_says_so(terminal: io.StringIO) -> None:
    previewing.print_preview({"preview": {**_preview(), "by_property": {}}})
    assert "nothing would be: every record has what it should" in " ".join(terminal.getvalue().split())


def _synced(**more: Any) -> dict[str, Any]:
    pushed = {"changed": 2000, "values": 16552, "unchanged": 0, "failed": 0, "skipped": 0}
    calls = {"total": 358, "by_endpoint": {}}
    return {"run_id": "R", "gates": {}, "pushed": pushed, "api_calls": calls, "seconds": 435.2, **more}


def test_a_dry_run_does_not_claim_to_have_written(terminal: io.StringIO) -> None:
    console.synced(_synced(dry_run=True))
    console.way_back(_synced(dry_run=True))
    shown = terminal.getvalue()
    assert "2,000 contacts would change (16,552 values)" in shown
    assert "358 API calls in 7 min 15 s" in " ".join(shown.split())
    assert "rollback" not in shown


def test_what_was_written_names_the_way_back(terminal: io.StringIO) -> None:
    console.synced(_synced(pulled={"property_history": 7, "deals": 5, "contacts": 3}))
    console.way_back(_synced(dry_run=False))
    shown = terminal.getvalue()
    assert "Read 3 contacts, 5 deals, 7 property changes." in shown
    assert "To take it back: leadlight rollback R" in shown


def test_a_models_figures_are_in_words() -> None:
    told = _figures({"auc": {"value": 0.9117}, "lift_top_decile": {"value": 4.37}, "calibration_error": 0.0247})
    assert told == "AUC 0.91, lift 4.4× in the top tenth, percentages off by 2.5 points"


@pytest.mark.parametrize(
    ("basis", "rule"), [("activity", "each visit once"), ("exposure", "corrected for mails sent")]
)
def test_send_times_without_known_sends_say_so(terminal: io.StringIO, basis: str, rule: str) -> None:
    one = {"hit_top1": 0.1, "hit_top3": 0.3, "log_loss_bits": 4.2}
    figures = {**one, "basis": basis, "contacts": 40, "events": 900, "personal_share": 1.0}
    console_figures._send_time({**figures, "baselines": {"default": one}})
    said = " ".join(terminal.getvalue().split())
    assert ("Too few sends known" in said) is (basis == "activity")
    assert console_figures.rule("default", basis) == f"everyone's hours, {rule}"


def test_instants_in_the_audit_log_are_dates() -> None:
    assert history._time(datetime(2026, 11, 28, 6, 58, 37)) == "28 Nov 2026, 06:58:37"
