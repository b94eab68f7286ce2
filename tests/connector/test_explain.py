"""`leadlight explain CONTACT`, from outside, on what a score left in the mirror."""

import csv
from pathlib import Path
from typing import Any

import pytest

from connector.jobs.explain import explain
from connector.jobs.run import open_run
from connector.jobs.score import score
from connector.jobs.stored import open_stored
from connector.settings import Settings
from tests.connector.portal import leadlight
from tests.made_up import write_leads


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("explain")
    write_leads(folder, 1200)
    out = folder / "scores.csv"
    code, _, err = leadlight([*_files("score"), "--out", str(out)], {}, folder)
    assert code == 0, err
    with out.open(encoding="utf-8", newline="") as file:
        return folder, {row["contact_id"]: row for row in csv.DictReader(file)}


def _files(command: str, *more: str) -> list[str]:
    return [command, *more, "--platform", "files", "--mapping", "mapping.toml", "--json"]


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
    code, told, err = leadlight(_files("explain", "nobody-4711"), {}, folder)
    assert code == 2
    assert "nobody-4711" in told["error"]
    assert "leadlight pull" in err


def test_before_anything_was_pulled_it_says_so(tmp_path: Path) -> None:
    write_leads(tmp_path, 20)
    code, _, err = leadlight(_files("explain", "1"), {}, tmp_path)
    assert code == 2
    assert "leadlight pull" in err


def test_an_account_is_read_without_its_token(tmp_path: Path) -> None:
    environment = {"LEADLIGHT_PLATFORM": "hubspot", "LEADLIGHT_STATE_DIR": str(tmp_path / "state")}
    code, _, err = leadlight(["explain", "1", "--json"], environment, tmp_path)
    assert code == 2
    assert "no state of hubspot" in err
    assert "TOKEN" not in err


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
