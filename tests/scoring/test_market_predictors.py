"""Every predictor passes its own gates on the made-up market, and finds what was planted there."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sklearn.metrics import roc_auc_score

from scoring.engine import DuckEngine
from scoring.goals import Goal
from scoring.predictors import PREDICTORS
from scoring.predictors.base import Context, Evaluation
from scoring.synthetic.market import Market, market

UNTIL = datetime.fromisoformat("2026-11-20 06:00:00")
HORIZON = 90
CONTACTS = 2000


@dataclass(frozen=True)
class Judged:
    market: Market
    context: Context
    evaluations: dict[str, Evaluation]


def judge(seed: int) -> Judged:
    made = market(CONTACTS, seed, UNTIL)
    context = Context(DuckEngine.in_memory(made.tables), UNTIL, Goal(event="deal_won", horizon_days=HORIZON))
    for predictor in PREDICTORS:
        assert predictor.lacks(context) == [], predictor.name
    return Judged(made, context, {one.name: one.evaluate(context) for one in PREDICTORS})


def true_auc(judged: Judged) -> float:
    """AUC of the true probabilities, at the instant that lead scores are judged at."""
    at = UNTIL - timedelta(days=HORIZON)
    judged.context.engine.put("chance", judged.market.truth.probability(at, HORIZON))
    rows = judged.context.engine.fetch(
        "select c.probability, max(case when d.is_won then 1 else 0 end) as won from chance c "
        "left join deal_contacts using (contact_id) left join deals d using (deal_id) "
        "group by c.contact_id, c.probability"
    )
    return float(roc_auc_score(rows["won"].to_numpy(), rows["probability"].to_numpy()))


def check(judged: Judged) -> None:
    """All gates pass, and by a margin."""
    assert set(judged.evaluations) == {"lead_score", "send_time", "segments"}
    for name, evaluation in judged.evaluations.items():
        assert evaluation.passed, (name, evaluation.reasons)
        assert evaluation.reasons == ()
    lead = judged.evaluations["lead_score"].figures
    assert lead["split"] == "time"
    assert lead["positives"] >= 0.15 * lead["rows"]
    assert lead["auc"]["value"] >= 0.8
    assert true_auc(judged) >= 0.85
    assert lead["auc"]["value"] <= true_auc(judged) + 0.03
    assert {leak["property"] for leak in lead["leaks"]} == set(judged.market.truth.leaky)
    assert {leak["action"] for leak in lead["leaks"]} == {"quarantined"}
    hours = judged.evaluations["send_time"].figures
    assert hours["contacts"] >= 200
    assert hours["baselines"]["global"]["log_loss_bits"] - hours["log_loss_bits"] >= 0.25
    assert hours["hit_top3"]["low"] > hours["baselines"]["global"]["hit_top3"] + 0.1
    segments = judged.evaluations["segments"].figures
    assert segments["k"] >= 4
    assert segments["stability"]["value"] >= 0.85


def test_all_predictors_pass_on_a_market() -> None:
    check(judge(1))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 11))
def test_all_predictors_pass_on_ten_markets(seed: int) -> None:
    check(judge(seed))


def judged_blind(seed: int) -> Evaluation:
    """The lead score's verdict on a market whose outcomes have nothing to do with anything."""
    made = market(CONTACTS, seed, UNTIL, shuffled_outcomes=True)
    context = Context(DuckEngine.in_memory(made.tables), UNTIL, Goal(event="deal_won", horizon_days=HORIZON))
    lead_score = next(one for one in PREDICTORS if one.name == "lead_score")
    return lead_score.evaluate(context)


def test_a_market_with_nothing_to_learn_is_refused() -> None:
    evaluation = judged_blind(1)
    assert not evaluation.passed
    assert any("base rate" in reason for reason in evaluation.reasons)
    assert evaluation.figures["auc"]["high"] < 0.6


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_markets_with_nothing_to_learn_are_refused_in_18_of_20() -> None:
    passed = [seed for seed in range(1, 21) if judged_blind(seed).passed]
    assert len(passed) <= 2, f"published on seeds {passed}"
