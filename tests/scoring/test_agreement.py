import numpy as np
import pytest
from scipy.stats import spearmanr

from scoring.agreement import agreement


def test_it_is_spearmans_correlation_on_contacts_with_both_scores() -> None:
    rng = np.random.default_rng(1)
    present = rng.integers(0, 30, 500).astype(float)
    new = present + rng.normal(0, 8, 500)
    new[::7] = np.nan
    present[::11] = np.nan
    both = np.isfinite(new) & np.isfinite(present)
    found = agreement(new, present)
    assert found["contacts"] == both.sum()
    assert found["rank_correlation"] == pytest.approx(spearmanr(new[both], present[both])[0], abs=5e-5)


def test_the_best_tenths_are_compared_with_ties_shared_out() -> None:
    order = np.arange(100.0)
    assert agreement(order, order**3)["top_overlap"] == 1.0
    assert agreement(order, -order)["top_overlap"] == 0.0
    # twenty contacts share the best value: half of each is among ten
    tied = np.where(order >= 80, 1.0, 0.0)
    assert agreement(order, tied)["top_overlap"] == 0.5


def test_a_score_that_is_the_same_for_everyone_agrees_with_nothing() -> None:
    found = agreement(np.arange(5.0), np.ones(5))
    assert found == {"contacts": 5, "rank_correlation": None, "top_overlap": None}
    assert agreement(np.array([]), np.array([]))["contacts"] == 0
