from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from scoring import gates
from scoring.engine import DuckEngine
from scoring.gates import BaseRates
from scoring.goals import Goal
from scoring.learning.evaluation import Figure, Report
from scoring.predictors.base import Context, Options
from scoring.snapshots import labelled
from tests.scoring.made_tables import engine_over
from tests.scoring.test_model_store import AS_OF

GOOD = Report(
    auc=Figure(0.80, 0.78, 0.82),
    average_precision=0.4,
    lift_top_decile=Figure(4.0, 3.5, 4.5),
    brier=0.08,
    log_loss=0.27,
    calibration_error=0.012,
    calibration_limit=0.009,
    baselines={"base_rate": (0.5, 1.0), "recency": (0.6, 1.4), "logistic_regression": (0.81, 4.1)},
    gains={
        "base_rate": Figure(0.3, 0.28, 0.32),
        "recency": Figure(0.2, 0.17, 0.23),
        "logistic_regression": Figure(-0.01, -0.02, 0.0),
    },
)
STEADY = BaseRates(0.11, 0.12, 5000, 1000)


def context(goal: Goal | None = None, **thresholds: float) -> Context:
    options = Options(gates=thresholds)
    return Context(DuckEngine.in_memory(), AS_OF, goal or Goal(column="y", equals="yes"), options)


def test_a_good_model_passes_even_where_logistic_regression_is_better() -> None:
    assert gates.lead_score_refusals(context(), GOOD, 500, STEADY) == ()
    assert gates.lead_score_refusals(context(), GOOD, 500, None) == ()


@pytest.mark.parametrize("name", ["base_rate", "recency", "hubspotscore"])
def test_an_interval_that_reaches_zero_refuses(name: str) -> None:
    report = replace(GOOD, gains={**GOOD.gains, name: Figure(0.05, 0.0, 0.1)})
    (reason,) = gates.lead_score_refusals(context(), report, 500, STEADY)
    assert "+0.050" in reason
    assert "500 more conversions" in reason


def test_calibration_is_judged_by_what_a_perfect_model_reaches() -> None:
    assert gates.lead_score_refusals(context(), replace(GOOD, calibration_error=0.0199), 500, None) == ()
    small = replace(GOOD, calibration_error=0.035, calibration_limit=0.018)
    assert gates.lead_score_refusals(context(), small, 500, None) == ()
    (reason,) = gates.lead_score_refusals(context(), replace(small, calibration_error=0.037), 500, None)
    assert "0.037" in reason
    assert "0.036" in reason


def won(days_ago: Sequence[int], horizon: int = 90) -> Context:
    """Eighty contacts of long standing, one of whom wins a deal so many days ago, each."""
    old = AS_OF - timedelta(days=900)
    happened = [AS_OF - timedelta(days=days) for days in days_ago]
    engine = engine_over(
        {
            "contacts": [{"contact_id": f"c{n}", "created_at": old} for n in range(80)],
            "deals": [
                {"deal_id": f"d{n}", "created_at": at, "closed_at": at, "is_closed": True, "is_won": True}
                for n, at in enumerate(happened)
            ],
            "deal_contacts": [{"deal_id": f"d{n}", "contact_id": f"c{n}"} for n in range(len(happened))],
        }
    )
    return Context(engine, AS_OF, Goal(event="deal_won", horizon_days=horizon))


@pytest.mark.parametrize(
    ("days_ago", "remedy"),
    [
        ([40] * 19 + [120] * 11, "11 more conversions, or a 180-day horizon."),
        ([40] * 29 + [120], "1 more conversion, or a 180-day horizon."),
        ([40] * 19 + [120] * 5 + [220] * 6, "6 more conversions, or a 270-day horizon."),
        ([40] * 19 + [120] * 10, "11 more conversions."),
        ([40] * 19 + [500] * 20, "11 more conversions."),
    ],
)
def test_too_few_positives_say_how_many_are_missing_and_what_horizon_would_do(
    days_ago: list[int], remedy: str
) -> None:
    here = won(days_ago)
    positives = labelled(here).positives
    (reason,) = gates.lead_score_refusals(here, GOOD, positives, None)
    assert reason == f"Only {positives} conversions to learn from, at least 30 are needed: {remedy}"


def test_a_longer_horizon_is_no_remedy_for_a_goal_without_time() -> None:
    (reason,) = gates.lead_score_refusals(context(), GOOD, 29, None)
    assert reason.endswith("1 more conversion.")


def test_looking_for_a_longer_horizon_leaves_the_training_rows_alone() -> None:
    here = won([40] * 19 + [120] * 11)
    before = labelled(here)
    gates.lead_score_refusals(here, GOOD, before.positives, None)
    assert here.engine.fetch("select count(*) as n from labelled")["n"][0].as_py() == before.rows


def test_a_moved_base_rate_refuses_only_beyond_chance() -> None:
    (reason,) = gates.lead_score_refusals(context(), GOOD, 500, BaseRates(0.064, 0.308, 32950, 8238))
    assert "6.4% to 30.8%" in reason
    assert gates.lead_score_refusals(context(), GOOD, 500, BaseRates(0.05, 0.10, 60, 20)) == ()


def test_thresholds_can_be_changed_by_name() -> None:
    assert gates.lead_score_refusals(context(min_positives=10.0), GOOD, 19, None) == ()
    assert len(gates.lead_score_refusals(context(min_gain=0.25), GOOD, 500, None)) == 1
    assert (
        gates.lead_score_refusals(context(max_base_rate_ratio=9.0), GOOD, 500, BaseRates(0.1, 0.5, 900, 900)) == ()
    )


def test_a_figure_that_is_not_a_number_never_passes() -> None:
    nan = float("nan")
    report = replace(GOOD, calibration_error=nan, gains={"base_rate": Figure(nan, nan, nan)})
    assert len(gates.lead_score_refusals(context(), report, 500, None)) == 2
