"""Versions of models over time: retrained when due, compared, promoted and rolled back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.errors import BadSetting
from connector.jobs import models, upkeep
from connector.jobs.pull import pull
from connector.jobs.run import Run, open_run
from connector.jobs.score import score
from connector.jobs.stored import open_stored
from connector.jobs.train import train
from connector.settings import Settings
from scoring.versions import model_store
from tests.made_up import write_leads

START = datetime.fromisoformat("2026-10-01T00:00:00")
HERE = ("default", "lead_score")


class Account:
    """Leads in a file, and runs on them at days after START."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(platform="files", mapping=write_leads(folder, 450), state_dir=folder / "state")

    @contextmanager
    def run(self, days: float) -> Iterator[Run]:
        with open_run(self.settings, "score", as_of=START + timedelta(days=days)) as run:
            pull(run)
            yield run
            run.done({})

    def scored(self, days: float) -> str:
        with self.run(days) as run:
            return score(run).trained.models["lead_score"].version

    def seen(self, days: float) -> dict[str, Any]:
        with self.run(days) as run:
            return score(run).trained.upkeep


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def figures(account: Account) -> list[dict[str, Any]]:
    with open_stored(account.settings, "models") as run:
        rows: list[dict[str, Any]] = models.listed(run)["models"]
    return rows


def test_a_model_is_retrained_when_it_is_due_and_the_way_back_is_open(account: Account) -> None:
    first = account.scored(0)
    assert account.scored(29) == first
    second = account.scored(30)
    assert second != first
    newest, former = figures(account)
    assert [newest["version"], former["version"]] == [second, first]
    assert (newest["in_use"], former["in_use"]) == (True, False)
    assert newest["since"] is not None
    assert former["choice"]["why"] == "The first model for this goal."
    assert newest["choice"]["replaced"]
    assert newest["choice"]["champion"] == first
    assert newest["choice"]["rows"] == newest["figures"]["rows"] == 450
    assert newest["figures"]["auc"]["low"] < newest["figures"]["auc"]["value"]
    assert newest["passed"] is True
    assert Path(newest["card"]).read_text(encoding="utf-8").startswith(f"# Lead score: {second}")

    with open_stored(account.settings, "models") as run:
        back = models.rollback(run)
    assert (back["version"], back["before"]) == (first, second)
    # going back is not undone by the schedule: the training of day 30 is recent
    assert account.scored(31) == first
    with open_stored(account.settings, "models") as run:
        with pytest.raises(BadSetting, match="No earlier"):
            models.rollback(run)
        assert models.promote(run, second)["before"] == first
        with pytest.raises(BadSetting, match="no model version"):
            models.promote(run, "lead_score-2026-10-01-deadbeef")
    assert account.scored(31) == second


def test_what_is_clearly_worse_is_kept_aside_and_not_tried_again_each_day(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = account.scored(0)
    compared = upkeep.upkeep.paired

    def spoilt(champion: Any, challenger: Any, outcome: Any, people: Any, seed: int) -> Any:
        noise = np.random.default_rng(seed).uniform(0.01, 0.99, len(challenger))
        return compared(champion, noise, outcome, people, seed)

    monkeypatch.setattr(upkeep.upkeep, "paired", spoilt)
    assert account.scored(30) == first
    aside = next(row for row in figures(account) if not row["in_use"])
    assert not aside["choice"]["replaced"]
    assert aside["choice"]["loss_difference"]["low"] > 0
    assert account.scored(31) == first
    assert len(figures(account)) == 2


def test_contacts_that_changed_ask_for_a_training_after_some_patience(account: Account) -> None:
    first = account.scored(0)
    assert account.seen(1)["lead_score"]["moved"]["features"] == []
    path = account.folder / "leads.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    moved = [f"{int(line.split(';')[0]) + 40};" + line.split(";", 1)[1] for line in lines]
    path.write_text("\n".join([header, *moved]) + "\n", encoding="utf-8")
    assert account.scored(6) == first
    seen = account.seen(8)["lead_score"]
    assert [one["name"] for one in seen["moved"]["features"]] == ["Age"]
    assert "Age" in seen["trained_because"]
    assert account.scored(8) != first
    assert account.seen(8) == {}


def test_training_twice_on_the_same_keeps_the_version(account: Account) -> None:
    with account.run(0) as run:
        first = train(run).models["lead_score"].version
        assert train(run).models["lead_score"].version == first
        assert model_store.versions(run.models, *HERE) == (first,)


def test_a_spoilt_model_is_trained_anew(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    first = account.scored(0)
    [coding] = (account.folder / "state").glob(f"*/models/default/lead_score/{first}/coding.json")
    coding.write_text("{}", encoding="utf-8")
    assert account.scored(1) != first
    assert "train again" in caplog.text


def test_a_model_for_another_goal_cannot_be_promoted(account: Account) -> None:
    first = account.scored(0)
    other = account.settings.model_copy(update={"goal": {"column": "industry", "equals": "Software"}})
    with open_stored(other, "models") as run, pytest.raises(BadSetting, match="another goal"):
        models.promote(run, first)


def test_old_data_of_an_api_are_refused_and_files_are_not(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = account.scored(0)
    verdict = {"passed": True, "ran": True, "reasons": []}
    with account.run(0) as run:
        run.mirror.connection.execute("update store.cursors set committed_at = timestamp '2026-08-01 00:00:00'")
        assert upkeep.with_staleness(run, verdict) == verdict
        run.platform.name = "hubspot"
        monkeypatch.setattr("connector.jobs.run.platform_scores", lambda _: frozenset())
        refused = upkeep.with_staleness(run, verdict)
        assert refused["passed"] is False
        assert "61 days old" in refused["reasons"][0]
        # nor is anything concluded from them, however old the model is
        run._as_of = START + timedelta(days=40)
        trained = score(run).trained
        assert trained.models["lead_score"].version == first
        assert list(trained.upkeep["lead_score"]) == ["stale"]
        run._as_of = START
        run.mirror.connection.execute("update store.cursors set committed_at = timestamp '2026-09-30 00:00:00'")
        assert upkeep.with_staleness(run, verdict) == verdict


def test_the_command_lists_promotes_and_says_what_is_wrong(account: Account) -> None:
    first = account.scored(0)
    options = ["--platform", "files", "--mapping", str(account.settings.mapping), "--json"]

    def said(*arguments: str) -> tuple[int, dict[str, Any]]:
        environment = {"LEADLIGHT_STATE_DIR": str(account.settings.state_dir)}
        done = CliRunner().invoke(app, ["models", *arguments, *options], env=environment)
        return done.exit_code, json.loads(done.stdout)

    code, result = said()
    assert code == 0
    assert [row["version"] for row in result["models"]] == [first]
    code, result = said("promote", first)
    assert (code, result["version"]) == (0, first)
    code, result = said("rollback")
    assert (code, result["kind"]) == (2, "BadSetting")
    code, result = said("promote")
    assert code == 2
    assert "VERSION" in result["error"]
    code, result = said("forget")
    assert code == 2
    assert "forget" in result["error"]
