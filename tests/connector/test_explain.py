"""`leadlight explain CONTACT`, from outside, on what a score left in the mirror."""

import csv
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from connector.cli import app, explaining
from connector.jobs.explain import explain
from connector.jobs.run import Run, open_run, silent
from connector.jobs.score import score
from connector.jobs.stored import Offline, open_stored
from connector.mirror import Mirror
from connector.platform import Account, Page, Platform, PullRequest
from connector.platforms.files.platform import FilesPlatform
from connector.settings import Settings
from tests.connector.inside import command
from tests.connector.portal import leadlight
from tests.made_up import write_leads


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("explain")
    write_leads(folder, 1200)
    out = folder / "scores.csv"
    code, _, err = command([*_files("score"), "--out", str(out)], {}, folder)
    assert code == 0, err
    with out.open(encoding="utf-8", newline="") as file:
        return folder, {row["contact_id"]: row for row in csv.DictReader(file)}


_FILES = ("--platform", "files")


def _files(command: str, *more: str) -> list[str]:
    return [command, *more, *_FILES, "--mapping", "mapping.toml", "--json"]


def said(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON, in this process; the state is in `.leadlight` of the folder."""
    environment = {"LEADLIGHT_STATE_DIR": str(folder / ".leadlight")}
    done = CliRunner().invoke(app, [*arguments, "--json"], env=environment)
    return done.exit_code, json.loads(done.stdout)


def _open(rows: dict[str, dict[str, Any]]) -> list[str]:
    return sorted((key for key, row in rows.items() if row["leadlight_score"]), key=int)


def test_it_tells_the_score_that_was_computed_with_reasons_and_changes(scored: Any) -> None:
    folder, rows = scored
    contact = _open(rows)[0]
    code, told, err = leadlight(_files("explain", contact), {}, folder)
    assert code == 0, err
    row = rows[contact]
    assert told["contact_id"] == contact
    assert f"{told['score']:.0f}" == row["leadlight_score"]
    assert told["probability"] == pytest.approx(float(row["leadlight_probability"]))
    assert (told["grade"], told["short_reasons"]) == (row["leadlight_grade"], row["leadlight_reasons"])
    total = told["base_log_odds"] + sum(one["log_odds"] for one in told["reasons"])
    assert total == pytest.approx(told["log_odds"], abs=1e-9)
    assert all(one["text"] and one["values"] for one in told["reasons"])
    assert all(one["score_then"] > told["score"] for one in told["would_change_most"])
    assert told["send_time"] is None
    assert told["segment"] is None
    assert told["history"] == {"days": [], "earlier_days": 0}
    assert f"Score {told['score']:.0f}, grade {told['grade']}" in err
    assert "What would change it most" in err


def test_an_unknown_contact_is_wrong_use(scored: Any) -> None:
    folder, _ = scored
    code, told = said(folder, "explain", "nobody-4711", *_FILES, "--mapping", str(folder / "mapping.toml"))
    assert code == 2
    assert "nobody-4711" in told["error"]
    assert "leadlight pull" in told["error"]


def test_before_anything_was_pulled_it_says_so(tmp_path: Path) -> None:
    write_leads(tmp_path, 20)
    code, told = said(tmp_path, "explain", "1", *_FILES, "--mapping", str(tmp_path / "mapping.toml"))
    assert code == 2
    assert "leadlight pull" in told["error"]


def test_an_account_is_read_without_its_token(tmp_path: Path) -> None:
    code, told = said(tmp_path, "explain", "1", "--platform", "hubspot")
    assert code == 2
    assert "no state of hubspot" in told["error"]
    assert "TOKEN" not in told["error"]


def test_an_accounts_contact_is_explained_from_the_mirror_alone(tmp_path: Path) -> None:
    """No token, and an address where nobody answers."""
    mapping, state = write_leads(tmp_path, 600), tmp_path / "state"
    goal = {"column": "y", "equals": "yes"}
    settings = Settings(platform="hubspot", state_dir=state, goal=goal)
    account = Account("hubspot", "4711")
    at = datetime.fromisoformat("2026-10-01T00:00:00")
    with Mirror.open(state / "hubspot-4711", account) as mirror:
        for page in FilesPlatform(mapping, tmp_path / "results").pull(
            mirror.known, PullRequest(goal_columns=("y",))
        ):
            assert isinstance(page, Page)
            mirror.commit(page, run_id="r", observed_at=at)
        offline = cast(Platform, Offline("hubspot", at))
        run = Run("r", "score", settings, offline, mirror, None, time.monotonic(), silent)
        scored = score(run).computed.to_pylist()
    row = next(row for row in scored if row["leadlight_score"])
    (tmp_path / "leadlight.toml").write_text('[goal]\ncolumn = "y"\nequals = "yes"\n', encoding="utf-8")
    environment = {
        "LEADLIGHT_PLATFORM": "hubspot",
        "LEADLIGHT_STATE_DIR": str(state),
        "LEADLIGHT_HUBSPOT_BASE_URL": "http://127.0.0.1:9",
    }
    code, told, err = leadlight(["explain", row["contact_id"], "--json"], environment, tmp_path)
    assert code == 0, err
    assert f"{told['score']:.0f}" == row["leadlight_score"]
    assert told["as_of"] == at.isoformat()


@pytest.mark.parametrize(
    ("chosen", "zone"), [({}, "America/New_York"), ({"timezone": "Asia/Tokyo"}, "Asia/Tokyo")]
)
def test_contacts_without_a_zone_live_in_the_accounts(tmp_path: Path, chosen: dict[str, Any], zone: str) -> None:
    """Their best hour is one of the account's day, not of the day in Greenwich."""
    settings = Settings(platform="hubspot", state_dir=tmp_path, **chosen)
    account = Account("hubspot", "4711", timezone="America/New_York")
    with Mirror.open(tmp_path / "hubspot-4711", account) as mirror:
        offline = cast(Platform, Offline("hubspot", None))
        run = Run("r", "score", settings, offline, mirror, None, time.monotonic(), silent)
        assert run.options().timezone == zone


@pytest.mark.parametrize(
    ("zone_from", "said"),
    [
        ("record", "In the contact's own time (Europe/Berlin)."),
        ("country", "In the contact's own time (Europe/Berlin, by the country)."),
        ("account", "In the account's time (Europe/Berlin): the contact's own zone is not known."),
    ],
)
def test_it_says_whose_time_the_best_hour_is_in(
    capsys: pytest.CaptureFixture[str], zone_from: str, said: str
) -> None:
    best = {"hour": 9, "weekday": "monday", "source": "default", "zone": "Europe/Berlin", "zone_from": zone_from}
    explaining._when_and_who({"send_time": best, "segment": None})
    told = " ".join(capsys.readouterr().err.split())
    assert told == f"Best time to send: 09:00, best on Monday, by everyone's habit. {said}"


def test_what_is_not_proven_is_marked_and_the_mark_explained(capsys: pytest.CaptureFixture[str]) -> None:
    reason = {"points": 3.04, "odds": 1.237, "log_odds": 0.213, "text": "spent 110", "proven": False}
    sure = {"points": 36.5, "odds": 22.01, "log_odds": 3.09, "text": "bought 23 times", "proven": True}
    figures = {"score": 90.0, "grade": "A", "probability": 0.9, "confidence": "high", "goal": "a purchase"}
    gates = {"gates": {"passed": True, "reasons": []}, "would_change_most": []}
    explaining._score({**figures, **gates, "reasons": [sure, reason]})
    told = capsys.readouterr().err
    assert "+36.5 points, odds × 22: bought 23 times\n" in told
    assert "+3.0 points, odds × 1.24: spent 110 *\n" in told
    assert "never named on the record" in told
    explaining._score({**figures, **gates, "reasons": [sure]})
    assert "never named" not in capsys.readouterr().err


def test_who_has_converted_is_told_why_there_is_no_score(tmp_path: Path) -> None:
    settings = Settings(platform="files", mapping=write_leads(tmp_path, 400), state_dir=tmp_path / "state")
    with open_run(settings, "score") as run:
        from connector.jobs.pull import pull

        pull(run)
        score(run)
        [(converted,)] = run.mirror.connection.execute(
            "select contact_id from contacts where p_y = 'yes' order by contact_id limit 1"
        ).fetchall()
    with open_stored(settings, "explain") as run:
        told = explain(run, converted)
        runs = run.mirror.runs()
    assert told["score"] is None
    assert "reached the goal" in told["why_no_score"]
    assert told["reasons"] == []
    assert [one["command"] for one in runs] == ["score"]
