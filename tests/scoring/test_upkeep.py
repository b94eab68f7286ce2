import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn import metrics

from scoring.content import version_of
from scoring.engine import DuckEngine
from scoring.goals import Goal
from scoring.predictors.base import Context, Model
from scoring.predictors.lead_score import LeadScore
from scoring.synthetic.market import market
from scoring.versions import upkeep
from scoring.versions.model_card import card
from tests.scoring.test_lead_score import context, leads

UNTIL = datetime.fromisoformat("2026-11-01T00:00:00")
RANDOM = np.random.default_rng(3)


def outcomes(rows: int, base: float = -2.0) -> tuple[np.ndarray, np.ndarray]:
    chance = expit(base + RANDOM.normal(0, 1.2, rows))
    return chance, (RANDOM.random(rows) < chance).astype(float)


def test_compared_figures_are_scikit_learns() -> None:
    chance, outcome = outcomes(3000)
    other = np.clip(chance * 0.8 + 0.02, 1e-3, 1)
    found = upkeep.paired(chance, other, outcome, np.arange(3000), 1)
    assert found.champion_loss == pytest.approx(metrics.log_loss(outcome, chance))
    assert found.challenger_loss == pytest.approx(metrics.log_loss(outcome, other))
    assert found.champion_auc == pytest.approx(metrics.roc_auc_score(outcome, chance))
    difference = found.loss_difference
    assert difference.value == pytest.approx(found.challenger_loss - found.champion_loss)
    assert difference.low < difference.value < difference.high


def test_the_interval_is_as_wide_as_the_paired_differences_say() -> None:
    chance, outcome = outcomes(4000)
    other = expit(logit(chance) + RANDOM.normal(0, 0.5, 4000))
    found = upkeep.paired(chance, other, outcome, np.arange(4000), 1).loss_difference
    gaps = -(outcome * np.log(other / chance) + (1 - outcome) * np.log((1 - other) / (1 - chance)))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * gaps.std() / np.sqrt(4000), rel=0.15)
    people = np.arange(4000) // 8
    wide = upkeep.paired(
        np.repeat(chance[::8], 8), np.repeat(other[::8], 8), np.repeat(outcome[::8], 8), people, 1
    )
    assert wide.loss_difference.high - wide.loss_difference.low > 2 * (found.high - found.low)


def test_only_what_is_clearly_worse_is_kept_out() -> None:
    chance, outcome = outcomes(3000)
    noisy, alike = expit(logit(chance) + RANDOM.normal(0, 1.5, 3000)), expit(logit(chance) + 0.02)
    people = np.arange(3000)
    assert upkeep.paired(chance, noisy, outcome, people, 1).clearly_worse
    assert not upkeep.paired(noisy, chance, outcome, people, 1).clearly_worse
    assert not upkeep.paired(chance, alike, outcome, people, 1).clearly_worse
    assert not upkeep.paired(chance, chance, outcome, people, 1).clearly_worse


def test_the_level_is_the_maximum_likelihood_intercept() -> None:
    chance, outcome = outcomes(5000)
    promised = expit(logit(chance) - 0.8)
    found = upkeep.level(promised, outcome)
    best = minimize_scalar(lambda shift: metrics.log_loss(outcome, expit(logit(promised) + shift)), bounds=(-3, 3))
    assert found.shift == pytest.approx(best.x, abs=0.01)
    assert found.shift == pytest.approx(0.8, abs=3 * found.error)
    assert expit(logit(promised) + found.shift).mean() == pytest.approx(outcome.mean(), abs=1e-3)
    assert found.off
    assert not upkeep.level(chance, outcome).off


def test_a_level_exists_without_conversions_and_few_rows_prove_nothing() -> None:
    nothing = upkeep.level(np.full(2000, 0.1), np.zeros(2000))
    assert nothing.shift < -5
    assert nothing.off
    assert not upkeep.level(np.full(10, 0.1), np.zeros(10)).off


META = {"as_of": "2026-10-01T00:00:00"}


@pytest.mark.parametrize(
    ("days", "moved", "says"),
    [
        (29, (), None),
        (30, (), "30 days ago"),
        (6, ("Budget",), None),
        (7, ("Budget",), "Budget"),
        (-5, ("Budget",), None),
    ],
)
def test_when_it_is_time_to_train_again(days: int, moved: tuple[str, ...], says: str | None) -> None:
    at = datetime.fromisoformat(META["as_of"]) + timedelta(days=days)
    found = upkeep.due(META, at, 30, moved)
    assert found is None if says is None else says in str(found)


def test_old_data_are_refused_and_the_days_can_be_set() -> None:
    read = UNTIL - timedelta(days=31)
    assert "31 days old" in str(upkeep.stale(read, UNTIL, {}))
    assert upkeep.stale(read, UNTIL, {"max_stale_days": 40}) is None
    assert upkeep.stale(UNTIL - timedelta(days=30), UNTIL, {}) is None
    assert upkeep.stale(None, UNTIL, {}) is None


@pytest.fixture(scope="module")
def told() -> tuple[Context, Model, Context, Model]:
    """A market, a model of it made 120 days earlier, and one made at its end."""
    engine = DuckEngine.in_memory(market(900, 3, UNTIL).tables)
    early = Context(engine, UNTIL - timedelta(days=120), Goal(event="deal_won"))
    late = replace(early, as_of=UNTIL)
    champion = LeadScore().train(early)
    return early, champion, late, LeadScore().train(late, champion)


def test_a_good_challenger_replaces_and_the_figures_go_into_the_card(told: Any) -> None:
    _, champion, late, challenger = told
    choice = upkeep.choose(late, champion, challenger)
    assert choice["replaced"]
    assert choice["champion"] == champion.version
    evaluation = challenger.meta["evaluation"]
    assert choice["rows"] == evaluation["tested"]
    # what is compared is what its own figures come from
    assert choice["challenger_auc"] == pytest.approx(evaluation["auc"]["value"], abs=0.02)
    text = card(replace(challenger, meta={**challenger.meta, "choice": choice}))
    assert champion.version in text
    assert str(choice["loss_difference"]["value"]) in text


def test_a_spoilt_challenger_is_kept_out(told: Any) -> None:
    """Its coding reads other columns' values: what it learns from them is worth little."""
    _, champion, late, challenger = told
    coding = json.loads(challenger.files["coding.json"])
    kept = [i for i, feature in enumerate(coding["features"]) if "weekend" in feature["name"]]
    coding["features"] = [coding["features"][kept[0]]]
    spoilt = replace(
        challenger,
        files={**challenger.files, "coding.json": json.dumps(coding)},
        meta={**challenger.meta, "kind": "spline_logistic"},
    )
    choice = upkeep.choose(late, champion, spoilt)
    assert not choice["replaced"]
    assert choice["loss_difference"]["low"] > 0
    assert "clearly worse" in choice["why"]


def test_a_champion_that_goes_by_a_leak_or_knows_the_future_is_replaced(told: Any) -> None:
    early, champion, late, challenger = told
    named = next(f["property"] for f in json.loads(champion.files["coding.json"])["features"] if f["property"])
    evaluation = {**challenger.meta["evaluation"], "leaks": [{"property": named}]}
    leaky = replace(challenger, meta={**challenger.meta, "evaluation": evaluation})
    assert named in upkeep.choose(late, champion, leaky)["why"]
    barred = replace(late, options=replace(late.options, excluded=frozenset({named})))
    assert named in upkeep.choose(barred, champion, challenger)["why"]
    assert "after this instant" in upkeep.choose(early, challenger, champion)["why"]


def test_a_level_that_moved_is_set_right_in_a_version_of_its_own(told: Any) -> None:
    _, champion, late, challenger = told
    calibrators = json.loads(champion.files["calibration.json"])
    low = [{**one, "c": one["c"] - 0.9} for one in calibrators]
    moved = replace(champion, files={**champion.files, "calibration.json": json.dumps(low)})
    found = upkeep.matured(late, moved)
    assert found is not None
    assert found.off
    assert found.shift > 0.5
    assert found.promised < found.found
    right = upkeep.recalibrated(moved, found, late.as_of)
    assert right.version != moved.version
    assert right.version == version_of("lead_score", late.as_of, right.meta, right.files)
    assert right.meta["as_of"] == champion.meta["as_of"]
    # a level that was fitted to the outcomes of the compared rows is no merit
    compared, before = (upkeep.compare(late, one, challenger).champion_loss for one in (right, moved))
    assert compared == pytest.approx(before, abs=1e-4)
    assert compared > upkeep.compare(late, champion, challenger).champion_loss + 0.01
    again = upkeep.matured(late, right)
    assert again is not None
    assert abs(again.shift) < 0.01
    assert again.promised == pytest.approx(again.found, abs=2e-3)


def test_nothing_matures_before_time_has_passed_nor_for_a_goal_without_time(told: Any) -> None:
    early, champion, _, _ = told
    assert upkeep.matured(early, champion) is None
    columns, _ = leads(600, 5)
    here = context(columns)
    assert upkeep.matured(here, LeadScore().train(here)) is None
