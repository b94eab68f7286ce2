"""The holdout's statistics: against scipy, published figures, and simulations with known truth."""

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest, norm

from scoring.engine import DuckEngine
from scoring.holdout import (
    HOLDOUT,
    Arm,
    always_valid_quantile,
    arm_sql,
    contacts_needed,
    detectable_lift,
    difference,
    fixed_quantile,
    lift,
    sample_ratio,
    weeks_needed,
    wilson,
)

Z = fixed_quantile()


def arms(ids: list[str], *, share: float = 0.1, salt: str = "1", predictor: str = "lead_score") -> dict[str, str]:
    engine = DuckEngine.in_memory({"ids": pa.table({"contact_id": ids})})
    arm = arm_sql("contact_id", share=share, salt=salt, goal="default", predictor=predictor)
    rows = engine.fetch(f"select contact_id, {arm} as arm from ids")
    return dict(zip(rows["contact_id"].to_pylist(), rows["arm"].to_pylist(), strict=True))


def held(drawn: dict[str, str]) -> set[str]:
    return {contact_id for contact_id, arm in drawn.items() if arm == HOLDOUT}


def test_an_arm_depends_on_nothing_but_the_contact_and_the_draw() -> None:
    ids = [str(number) for number in range(20_000)]
    everyone = arms(ids)
    assert arms(ids) == everyone
    few = arms(["17", "4", "19999"])
    assert few == {contact_id: everyone[contact_id] for contact_id in few}
    assert abs(len(held(everyone)) - 2000) < 4 * math.sqrt(1800)


def test_another_salt_or_predictor_is_another_draw() -> None:
    ids = [str(number) for number in range(20_000)]
    first = held(arms(ids))
    for other in (held(arms(ids, salt="2")), held(arms(ids, predictor="send_time"))):
        # independent draws share a hundredth of everyone
        assert abs(len(first & other) - 200) < 60


def test_a_larger_share_keeps_those_who_were_held_out() -> None:
    ids = [str(number) for number in range(2000)]
    assert held(arms(ids, share=0.1)) < held(arms(ids, share=0.25))
    assert held(arms(ids, share=0.0)) == set()


def test_a_salt_with_a_quote_is_text() -> None:
    assert set(arms(["1"], salt="it's; drop table").values()) <= {"holdout", "rest"}


def test_wilson_is_scipys() -> None:
    for outcomes, contacts in ((0, 20), (3, 50), (45, 45), (120, 1000)):
        theirs = binomtest(outcomes, contacts).proportion_ci(method="wilson")
        assert wilson(Arm(contacts, outcomes), Z) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_difference_is_newcombes() -> None:
    # Newcombe 1998, table II, column (a) 56/70 - 48/80 and (g) 10/10 - 0/20, method 10
    first = difference(Arm(70, 56), Arm(80, 48), Z)
    assert (first.value, first.low, first.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    edge = difference(Arm(10, 10), Arm(20, 0), Z)
    assert (edge.low, edge.high) == pytest.approx((0.6791, 1.0), abs=5e-5)


def test_the_lift_agrees_with_the_log_method_on_large_counts() -> None:
    rest, holdout = Arm(90_000, 5_400), Arm(10_000, 500)
    found = lift(rest, holdout, Z)
    assert found.value == pytest.approx(0.2)
    error = math.sqrt(1 / 5400 - 1 / 90_000 + 1 / 500 - 1 / 10_000)
    assert (found.low, found.high) == pytest.approx(
        (1.2 * math.exp(-Z * error) - 1, 1.2 * math.exp(Z * error) - 1), abs=0.004
    )


def test_no_outcome_leaves_the_lift_open_above() -> None:
    found = lift(Arm(100, 4), Arm(10, 0), Z)
    assert found.high == math.inf
    assert found.to_json() == {"value": None, "low": pytest.approx(found.low), "high": None}
    assert found.low < 0
    assert lift(Arm(0, 0), Arm(10, 1), Z).to_json() == {"value": None, "low": -1.0, "high": None}


def simulated(seed: int, planted: float, contacts: int = 20_000, runs: int = 100) -> list[tuple[Arm, Arm]]:
    """(rest, holdout) of many experiments with a tenth held out at a base rate of 5%."""
    rng = np.random.default_rng(seed)
    in_holdout = rng.binomial(contacts, 0.1, runs)
    acted, left = rng.binomial(contacts - in_holdout, 0.05 * (1 + planted)), rng.binomial(in_holdout, 0.05)
    return [
        (Arm(contacts - int(n), int(a)), Arm(int(n), int(b)))
        for n, a, b in zip(in_holdout, acted, left, strict=True)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("planted", [0.3, -0.2])
def test_the_interval_covers_a_planted_lift(seed: int, planted: float) -> None:
    experiments = simulated(seed, planted)
    ratio = [lift(rest, holdout, Z) for rest, holdout in experiments]
    assert sum(found.low <= planted <= found.high for found in ratio) >= 90
    gap = [difference(rest, holdout, Z) for rest, holdout in experiments]
    assert sum(found.low <= 0.05 * planted <= found.high for found in gap) >= 90


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_a_lift_zero_is_seldom_excluded(seed: int) -> None:
    experiments = simulated(seed, 0.0)
    assert sum(lift(rest, holdout, Z).excludes_zero for rest, holdout in experiments) <= 10
    assert sum(difference(rest, holdout, Z).excludes_zero for rest, holdout in experiments) <= 10


@pytest.mark.parametrize(("planted", "missed"), [(0.3, 10), (0.0, 10)])
def test_a_tenth_drawn_by_the_hash_with_known_truth(planted: float, missed: int) -> None:
    """From contacts to the interval, a hundred draws of 10,000 contacts by as many salts."""
    count = 10_000
    engine = DuckEngine.in_memory({"ids": pa.table({"contact_id": [str(number) for number in range(count)]})})
    rng = np.random.default_rng(8)
    outside = 0
    for salt in range(100):
        arm = arm_sql("contact_id", share=0.1, salt=str(salt), goal="default", predictor="lead_score")
        drawn = engine.fetch(f"select {arm} = '{HOLDOUT}' as held from ids order by contact_id")["held"].to_numpy()
        # who is keen is no matter of chance: it stays with the contact from draw to draw
        keen = 0.02 + 0.16 * (np.arange(count) % 7 == 0)
        outcome = rng.random(count) < keen * np.where(drawn, 1.0, 1 + planted)
        rest = Arm(int((~drawn).sum()), int(outcome[~drawn].sum()))
        holdout = Arm(int(drawn.sum()), int(outcome[drawn].sum()))
        found = lift(rest, holdout, Z)
        outside += not found.low <= planted <= found.high
    assert outside <= missed


def test_small_experiments_are_covered_too() -> None:
    experiments = simulated(4, 0.5, contacts=1500, runs=400)
    covered = [lift(rest, holdout, Z) for rest, holdout in experiments]
    assert sum(found.low <= 0.5 <= found.high for found in covered) >= 370


def looked_at(seed: int, planted: float, quantile_of: object, runs: int = 300) -> int:
    """Experiments of 20,000 contacts whose interval missed the planted lift at one of 40 looks."""
    rng = np.random.default_rng(seed)
    looks, step = 40, 500
    in_holdout = rng.binomial(step, 0.1, (runs, looks)).cumsum(axis=1)
    each = np.diff(in_holdout, axis=1, prepend=0)
    left = rng.binomial(each, 0.05).cumsum(axis=1)
    acted = rng.binomial(step - each, 0.05 * (1 + planted)).cumsum(axis=1)
    missed = 0
    for run in range(runs):
        for look in range(looks):
            contacts = step * (look + 1)
            n = int(in_holdout[run, look])
            rest, holdout = Arm(contacts - n, int(acted[run, look])), Arm(n, int(left[run, look]))
            found = difference(rest, holdout, quantile_of(contacts))  # type: ignore[operator]
            if rest.outcomes + holdout.outcomes >= 10 and not found.low <= 0.05 * planted <= found.high:
                missed += 1
                break
    return missed


def test_the_always_valid_interval_holds_at_all_looks_together_and_the_usual_one_does_not() -> None:
    for planted in (0.0, 0.4):
        assert looked_at(5, planted, lambda contacts: always_valid_quantile(contacts, 20_000)) <= 15
    assert looked_at(5, 0.0, lambda contacts: Z) > 45


def test_the_always_valid_quantile_is_the_published_boundary() -> None:
    # narrowest, in width, at the planned number; the formula worked by hand at alpha 0.05
    assert always_valid_quantile(10_000, 10_000) == pytest.approx(3.0350, abs=5e-4)
    widths = {n: always_valid_quantile(n, 10_000) / math.sqrt(n) for n in (1000, 5000, 10_000, 50_000)}
    assert list(widths.values()) == sorted(widths.values(), reverse=True)
    for other in (2_000, 5_000, 20_000, 50_000):
        assert always_valid_quantile(10_000, 10_000) < always_valid_quantile(10_000, other)


def test_arms_of_the_wrong_size_are_noticed() -> None:
    fine = sample_ratio(1010, 10_000, 1000.0)
    assert fine is not None
    assert fine.ok
    # one degree of freedom: the square of the normal deviate
    assert fine.p_value == pytest.approx(2 * norm.sf(10 / math.sqrt(900)))
    off = sample_ratio(850, 10_000, 1000.0)
    assert off is not None
    assert not off.ok
    assert (off.observed_share, off.expected_share) == (0.085, 0.1)
    assert sample_ratio(0, 0, 0.0) is None


def test_the_power_calculation_keeps_its_promise() -> None:
    base, wanted, share = 0.06, 0.35, 0.1
    contacts = contacts_needed(base, wanted, share)
    rng = np.random.default_rng(6)
    runs = 1500
    in_holdout = round(contacts * share)
    left = rng.binomial(in_holdout, base, runs)
    acted = rng.binomial(contacts - in_holdout, base * (1 + wanted), runs)
    seen = sum(
        difference(Arm(contacts - in_holdout, int(a)), Arm(in_holdout, int(b)), Z).low > 0
        for a, b in zip(acted, left, strict=True)
    )
    assert 0.75 <= seen / runs <= 0.86


def test_equal_arms_are_the_textbooks() -> None:
    # Fleiss, Levin and Paik: 0.6 against 0.7 at 5% and 80% needs 356 an arm, without the correction
    assert contacts_needed(0.6, 0.7 / 0.6 - 1, 0.5) == pytest.approx(712, abs=1)


def test_a_smaller_lift_or_holdout_needs_more() -> None:
    assert contacts_needed(0.05, 0.1, 0.1) > contacts_needed(0.05, 0.2, 0.1) > contacts_needed(0.05, 0.2, 0.3)
    for wrong in ((0.0, 0.1, 0.1), (0.6, 0.8, 0.1), (0.1, 0.0, 0.1), (0.1, 0.1, 1.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            contacts_needed(*wrong)


def test_the_detectable_lift_is_the_power_calculation_turned_round() -> None:
    contacts = contacts_needed(0.05, 0.25, 0.2)
    assert detectable_lift(0.05, contacts, 0.2) == pytest.approx(0.25, abs=1e-3)
    assert detectable_lift(0.05, 5, 0.2) is None
    assert detectable_lift(0.0, 5000, 0.2) is None


def test_weeks_count_the_stock_the_inflow_and_the_window() -> None:
    assert weeks_needed(1000, 400, 100.0, 28) == 10.0
    assert weeks_needed(1000, 4000, 0.0, 28) == 4.0
    assert weeks_needed(1000, 400, 0.0, 28) is None
