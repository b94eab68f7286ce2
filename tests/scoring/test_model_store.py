import json
from datetime import datetime
from pathlib import Path

import pytest

from scoring.errors import ModelMismatch
from scoring.predictors.base import Model
from scoring.versions import model_store

AS_OF = datetime.fromisoformat("2026-11-01T00:00:00")


def model(text: str = "1 2 3", goal: str = "default") -> Model:
    files = {"fold_0.txt": text, "coding.json": "{}"}
    meta = {"average": 0.1, "label": "año\r\n"}
    version = model_store.version_of("lead_score", AS_OF, meta, files)
    return Model("lead_score", goal, version, meta, files)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    written = model("año\r\nnext")
    model_store.save(tmp_path, written)
    assert model_store.load(tmp_path, "default", "lead_score") == written


def test_nothing_stored_is_no_model(tmp_path: Path) -> None:
    assert model_store.load(tmp_path, "default", "lead_score") is None
    assert model_store.load(tmp_path, "default", "lead_score", "lead_score-2026-11-01-00000000") is None
    assert model_store.versions(tmp_path, "default", "lead_score") == ()


def test_version_follows_the_content() -> None:
    assert model("a").version == model("a").version
    assert model("a").version != model("b").version
    assert model("a").version.startswith("lead_score-2026-11-01-")


def test_the_newest_is_champion_and_every_version_is_kept(tmp_path: Path) -> None:
    first, second = model("a"), model("b")
    for one in (first, second):
        model_store.save(tmp_path, one)
    assert model_store.champion(tmp_path, "default", "lead_score") == second.version
    assert set(model_store.versions(tmp_path, "default", "lead_score")) == {first.version, second.version}
    assert model_store.load(tmp_path, "default", "lead_score", first.version) == first
    model_store.promote(tmp_path, "default", "lead_score", first.version)
    assert model_store.load(tmp_path, "default", "lead_score") == first


def test_goals_do_not_mix(tmp_path: Path) -> None:
    model_store.save(tmp_path, model("a", "renewal"))
    assert model_store.load(tmp_path, "default", "lead_score") is None


def test_saving_twice_changes_nothing(tmp_path: Path) -> None:
    place = model_store.save(tmp_path, model())
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    assert model_store.save(tmp_path, model()) == place
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before
    assert sorted(path.name for path in place.parent.iterdir()) == sorted([place.name, "champion"])


def test_changed_content_is_refused(tmp_path: Path) -> None:
    place = model_store.save(tmp_path, model())
    (place / "fold_0.txt").write_text("1 2 4")
    with pytest.raises(ModelMismatch, match="not what was written"):
        model_store.load(tmp_path, "default", "lead_score")


def test_another_format_is_refused(tmp_path: Path) -> None:
    place = model_store.save(tmp_path, model())
    envelope = json.loads((place / "meta.json").read_text())
    (place / "meta.json").write_text(json.dumps({**envelope, "format": 99}))
    with pytest.raises(ModelMismatch, match="format 99"):
        model_store.load(tmp_path, "default", "lead_score")


@pytest.mark.parametrize("spoil", ["fold_0.txt", "meta.json"])
def test_a_missing_file_is_refused(tmp_path: Path, spoil: str) -> None:
    (model_store.save(tmp_path, model()) / spoil).unlink()
    with pytest.raises(ModelMismatch, match="train again"):
        model_store.load(tmp_path, "default", "lead_score")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden"])
def test_names_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelMismatch, match="cannot name"):
        model_store.load(tmp_path, name, "lead_score")


def test_a_version_that_is_not_there_cannot_be_promoted(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match="No stored"):
        model_store.promote(tmp_path, "default", "lead_score", "lead_score-2026-11-01-deadbeef")
