from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from scoring.predictors.lead_score import LeadScore
from scoring.versions import drift
from scoring.versions.reference import KNOTS, Distribution, Population, weighty
from tests.scoring.test_lead_score import context, leads

RANDOM = np.random.default_rng(11)


@pytest.mark.parametrize("values", [range(2), range(12), range(KNOTS)])
def test_ks_of_few_values_is_scipys(values: range) -> None:
    before = RANDOM.choice(values, 3000).astype(float)
    after = RANDOM.choice(values, 800).astype(float) // 2
    kept = Distribution.from_json(Distribution.of(before).to_json())
    assert kept.ks(after) == pytest.approx(stats.ks_2samp(before, after).statistic, abs=2e-6)


def test_ks_of_many_values_is_near_scipys() -> None:
    before, after = RANDOM.normal(0, 1, 4000), RANDOM.normal(0.4, 1.2, 3000)
    kept = Distribution.of(before)
    assert len(kept.knots) == KNOTS
    exact = stats.ks_2samp(before, after).statistic
    assert exact - 1 / KNOTS <= kept.ks(after) <= exact + 1e-9


def test_psi_of_many_values_is_that_of_the_raw_values() -> None:
    before, after = RANDOM.normal(0, 1, 5000), RANDOM.normal(0.5, 1, 5000)
    before[:500], after[:1500] = np.nan, np.nan
    assert Distribution.of(before).psi(after) == pytest.approx(drift.stability(before, after, False), rel=0.1)


def test_psi_of_categories_is_its_formula() -> None:
    before, after = np.repeat([0.0, 1.0, 2.0], [500, 300, 200]), np.repeat([0.0, 1.0, 2.0], [200, 300, 500])
    expected = sum((b - a) * np.log(b / a) for a, b in ((0.5, 0.2), (0.3, 0.3), (0.2, 0.5)))
    assert Distribution.of(before).psi(after, is_category=True) == pytest.approx(expected, rel=0.01)


def test_what_did_not_move_did_not_move() -> None:
    for values in (RANDOM.normal(0, 1, 4000), RANDOM.poisson(1, 4000).astype(float), np.full(4000, np.nan)):
        kept = Distribution.of(values)
        assert kept.psi(values) == pytest.approx(0, abs=1e-3)
        assert kept.ks(values) == pytest.approx(0, abs=1e-9)


def test_nothing_known_before_and_a_value_now_is_a_move() -> None:
    kept = Distribution.of(np.full(100, np.nan))
    assert kept.psi(np.ones(100)) > 1
    assert kept.ks(np.ones(100)) == 0


@pytest.fixture(scope="module")
def before() -> tuple[Any, Any, Population]:
    columns, _ = leads(1500, 5)
    here = context(columns)
    model = LeadScore().train(here)
    return here, model, Population.now(here, model)


def test_drivers_are_sorted_and_point_the_right_way(before: Any) -> None:
    drivers = before[2].drivers()
    assert [one["weight"] for one in drivers] == sorted((one["weight"] for one in drivers), reverse=True)
    direction = {one["feature"]: one["direction"] for one in drivers}
    assert direction == {
        "p_budget": pytest.approx(1, abs=0.1),
        "p_visits": pytest.approx(1, abs=0.1),
        "p_source": None,
    }
    budget = next(i for i, name in enumerate(before[2].coding.names) if name == "p_budget")
    exact = stats.spearmanr(before[2].known[:, budget], before[2].contributions[:, budget]).statistic
    assert direction["p_budget"] == pytest.approx(exact, abs=1e-3)


def test_a_property_that_moved_is_named_and_so_are_the_scores(before: Any) -> None:
    here, model, population = before
    reference = population.reference()
    same = population.moved(reference)
    assert same["features"] == []
    assert weighty(same) == []
    columns, _ = leads(1500, 5)
    columns["budget"] = columns["budget"] + 8
    moved = Population.now(replace(here, engine=context(columns).engine), model).moved(reference)
    assert [one["name"] for one in moved["features"]] == ["Budget"]
    assert moved["features"][0]["ks"] > 0.7
    assert weighty(moved) == ["Budget", "the scores themselves"]
