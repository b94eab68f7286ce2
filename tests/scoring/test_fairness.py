from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from scoring.engine import DuckEngine
from scoring.fairness import FEWEST, Unseen, audit
from scoring.goals import Goal
from scoring.predictors.base import Context, Options
from scoring.predictors.lead_score import LeadScore
from scoring.scale import Scale
from scoring.tables import schema

AS_OF, SIZE = datetime(2026, 6, 30), 600


def context(columns: dict[str, Any], **options: Any) -> Context:
    rows = len(next(iter(columns.values())))
    columns = {"y": ["yes", "no"] * (rows // 2), **columns}
    ids = pa.array([f"c{at:04}" for at in range(rows)])
    contacts = pa.table({"contact_id": ids, **{f"p_{name}": pa.array(values) for name, values in columns.items()}})
    for field in schema("contacts"):
        if field.name not in contacts.column_names:
            contacts = contacts.append_column(field, pa.nulls(len(ids), field.type))
    engine = DuckEngine.in_memory({"contacts": contacts})
    return Context(engine, AS_OF, Goal(column="y", equals="yes"), Options(**options))


def unseen(probabilities: np.ndarray, outcome: np.ndarray) -> Unseen:
    ids = pa.array([f"c{at:04}" for at in range(len(outcome))])
    return Unseen(ids, np.arange(len(outcome)), outcome, probabilities, Scale(0.2))


def test_figures_by_group_are_those_of_its_rows() -> None:
    rng = np.random.default_rng(5)
    gender = np.array(["f", "m"])[rng.choice(2, SIZE)]
    gender[:10] = "x"
    chance = np.round(rng.beta(1, 4, SIZE), 4)
    outcome = (rng.random(SIZE) < chance).astype(float)
    [found] = audit(context({"gender": gender}), unseen(chance, outcome))
    assert (found["property"], found["topic"]) == ("gender", "gender")
    by_name = {one["group"]: one for one in found["groups"]}
    for name in ("f", "m"):
        rows = gender == name
        line = chance[rows] >= Scale(0.2).threshold(2.0)
        won = outcome[rows] == 1
        one = by_name[name]
        assert one["people"] == rows.sum()
        assert one["base_rate"] == pytest.approx(outcome[rows].mean(), abs=1e-5)
        assert one["acted_on"] == pytest.approx(line.mean(), abs=1e-5)
        assert one["false_positive_rate"] == pytest.approx(line[~won].mean(), abs=1e-5)
        assert one["false_negative_rate"] == pytest.approx(1 - line[won].mean(), abs=1e-5)
        assert one["auc"]["value"] == pytest.approx(roc_auc_score(outcome[rows], chance[rows]), abs=1e-5)
        gap = one["calibration_gap"]
        error = (chance[rows] - outcome[rows]).std() / np.sqrt(rows.sum())
        assert gap["value"] == pytest.approx((chance - outcome)[rows].mean(), abs=1e-5)
        assert gap["high"] - gap["value"] == pytest.approx(1.96 * error, abs=1e-4)
    shares = [by_name[name]["acted_on"] for name in ("f", "m")]
    assert found["ratio"] == pytest.approx(min(shares) / max(shares), abs=1e-3)


def test_a_group_is_one_however_its_case() -> None:
    gender = np.array(["Female", "female ", "FEMALE", "male", "Male", "female"] * 100, object)
    [found] = audit(context({"gender": gender}), unseen(np.full(SIZE, 0.2), np.tile([0.0, 1.0], SIZE // 2)))
    assert [(one["group"], one["people"]) for one in found["groups"]] == [("female", 400), ("Male", 200)]


def test_whole_numbers_are_told_as_people_write_them() -> None:
    [found] = audit(
        context({"gender": np.array([0.0, 1.0, 1.5] * 200)}), unseen(np.full(SIZE, 0.2), np.tile([0.0, 1.0], 300))
    )
    assert {one["group"] for one in found["groups"]} == {"0", "1", "1.5"}


def test_groups_of_few_people_are_not_told_apart() -> None:
    religion = np.array(["a"] * 300 + ["b"] * 270 + ["c"] * (FEWEST - 1) + ["d"] * (30 - FEWEST + 1), object)
    chance, outcome = np.full(600, 0.2), np.tile([0.0, 1.0], 300)
    [found] = audit(context({"religion": religion}), unseen(chance, outcome))
    assert [one["group"] for one in found["groups"]] == ["a", "b", "all smaller groups"]
    lonely = np.array(["a"] * 300 + ["b"] * 290 + ["c"] * 10, object)
    [found] = audit(context({"religion": lonely}), unseen(chance, outcome))
    assert [one["group"] for one in found["groups"]] == ["a", "b"]


def test_a_number_is_cut_into_bands_and_what_is_not_known_is_a_group() -> None:
    rng = np.random.default_rng(2)
    age: list[float | None] = [float(value) for value in rng.integers(18, 80, SIZE)]
    age[:50] = [None] * 50
    here = context({"age": age}, protected=frozenset({"age"}))
    [found] = audit(here, unseen(np.full(SIZE, 0.2), rng.integers(0, 2, SIZE).astype(float)))
    names = [one["group"] for one in found["groups"]]
    assert len(names) == 5
    assert names[-1] == "not known"
    assert sum(one["people"] for one in found["groups"]) == SIZE


def test_a_model_that_leans_on_a_stand_in_shows() -> None:
    """A property that goes along with gender but is not sure enough to be left out as its proxy."""
    rng = np.random.default_rng(7)
    woman = rng.random(2000) < 0.5
    hobby = np.where(rng.random(2000) < np.where(woman, 0.8, 0.2), "tennis", "chess")
    outcome = np.where(rng.random(2000) < np.where(hobby == "tennis", 0.4, 0.1), "yes", "no")
    here = context({"gender": np.where(woman, "f", "m"), "hobby": hobby, "y": outcome})
    unseen_rows = LeadScore().unseen(here)
    assert len(unseen_rows.outcome) == 2000
    [found] = audit(here, unseen_rows)
    by_name = {one["group"]: one for one in found["groups"]}
    assert by_name["f"]["mean_probability"] > by_name["m"]["mean_probability"] + 0.08
    assert by_name["f"]["base_rate"] > by_name["m"]["base_rate"] + 0.08


def test_without_protected_properties_there_is_nothing_to_compare() -> None:
    assert (
        audit(context({"hobby": np.array(["a", "b"] * 300)}), unseen(np.full(600, 0.2), np.tile([0.0, 1.0], 300)))
        == []
    )
