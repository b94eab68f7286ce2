from datetime import datetime, timedelta
from pathlib import Path

import pytest

from scoring.errors import ModelMismatch
from scoring.versions import model_history, model_store
from tests.scoring.test_model_store import AS_OF, model

HERE = ("default", "lead_score")


def crowned(folder: Path, text: str, days: int, why: model_history.Why = "trained") -> str:
    one = model(text)
    model_store.save(folder, one, in_use=False)
    model_history.crown(folder, *HERE, one.version, AS_OF + timedelta(days=days), why)
    return one.version


def test_a_saved_version_is_in_use_only_when_it_is_crowned(tmp_path: Path) -> None:
    first = crowned(tmp_path, "a", 0)
    model_store.save(tmp_path, model("b"), in_use=False)
    assert model_store.champion(tmp_path, *HERE) == first
    assert len(model_store.versions(tmp_path, *HERE)) == 2


def test_since_when_stays_what_it_was(tmp_path: Path) -> None:
    crowned(tmp_path, "a", 0)
    crowned(tmp_path, "a", 5)
    assert model_history.since(tmp_path, *HERE) == AS_OF.isoformat()
    assert len(model_history.reigns(tmp_path, *HERE)) == 1


def test_going_back_undoes_one_at_a_time(tmp_path: Path) -> None:
    first, second, third = (crowned(tmp_path, text, days) for days, text in enumerate("abc"))
    assert model_history.previous(tmp_path, *HERE) == second
    model_history.crown(tmp_path, *HERE, second, AS_OF + timedelta(days=4), "rolled back")
    assert model_history.previous(tmp_path, *HERE) == first
    model_history.crown(tmp_path, *HERE, first, AS_OF + timedelta(days=5), "rolled back")
    assert model_history.previous(tmp_path, *HERE) is None
    model_history.crown(tmp_path, *HERE, third, AS_OF + timedelta(days=6), "promoted")
    assert model_history.previous(tmp_path, *HERE) == first
    assert model_history.since(tmp_path, *HERE) == datetime.fromisoformat("2026-11-07T00:00:00").isoformat()


def test_a_version_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    first, second, _ = (crowned(tmp_path, text, days) for days, text in enumerate("abc"))
    place = tmp_path / "default" / "lead_score" / second
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    assert model_history.previous(tmp_path, *HERE) == first


def test_what_is_not_stored_cannot_be_crowned_and_leaves_no_trace(tmp_path: Path) -> None:
    crowned(tmp_path, "a", 0)
    with pytest.raises(ModelMismatch, match="No stored"):
        model_history.crown(tmp_path, *HERE, "lead_score-2026-11-01-deadbeef", AS_OF, "promoted")
    assert len(model_history.reigns(tmp_path, *HERE)) == 1


def test_a_pointer_moved_by_other_hands_is_not_given_a_date(tmp_path: Path) -> None:
    crowned(tmp_path, "a", 0)
    model_store.save(tmp_path, model("b"))
    assert model_history.since(tmp_path, *HERE) is None
    assert model_history.previous(tmp_path, *HERE) == model("a").version
