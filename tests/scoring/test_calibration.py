import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve

from scoring.learning import calibration
from scoring.learning.calibration import Beta


def overconfident(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True log-odds, what an overconfident model says, and outcomes."""
    random = np.random.default_rng(seed)
    true = random.normal(-1.5, 1.2, rows)
    return true, 2 * true + 0.7, (random.random(rows) < expit(true)).astype(float)


def test_beta_undoes_overconfidence() -> None:
    true, margins, outcome = overconfident(20_000, 1)
    found = calibration.fit(margins, outcome)
    assert np.abs(expit(found(margins)) - expit(true)).max() < 0.03
    raw = calibration.error(expit(margins), outcome)
    assert calibration.error(expit(found(margins)), outcome) < raw / 5


def test_beta_is_the_maximum_likelihood_where_data_are_many() -> None:
    _, margins, outcome = overconfident(20_000, 2)
    found = calibration.fit(margins, outcome)

    def likelihood(beta: Beta) -> float:
        logits = beta(margins)
        return float(np.sum(outcome * logits - np.logaddexp(0, logits)))

    best = likelihood(found)
    for nudge in ((0.02, 0, 0), (-0.02, 0, 0), (0, 0.02, 0), (0, -0.02, 0), (0, 0, 0.02), (0, 0, -0.02)):
        moved = Beta(found.a + nudge[0], found.b + nudge[1], found.c + nudge[2])
        assert likelihood(moved) < best + 0.05


def test_beta_never_changes_the_order() -> None:
    random = np.random.default_rng(3)
    margins = np.sort(random.normal(0, 3, 500))
    contrary = (random.random(500) < expit(-margins)).astype(float)
    assert (np.diff(calibration.fit(margins, contrary)(margins)) > 0).all()


def test_without_data_beta_changes_nothing() -> None:
    margins = np.array([-2.0, 0.0, 3.0])
    assert Beta()(margins) == pytest.approx(margins)
    assert calibration.cross_fitted(margins[:0], margins[:0], np.zeros(0, int), 2) == (Beta(), Beta())


def test_a_folds_calibrator_never_saw_that_fold() -> None:
    _, margins, outcome = overconfident(1000, 4)
    fold = np.arange(1000) % 5
    before = calibration.cross_fitted(margins, outcome, fold, 5)
    outcome[fold == 2] = 1 - outcome[fold == 2]
    after = calibration.cross_fitted(margins, outcome, fold, 5)
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, True, False, False]


def test_the_level_is_that_of_the_newest_rows() -> None:
    true, margins, outcome = overconfident(6000, 9)
    random = np.random.default_rng(10)
    recent = np.arange(6000) >= 4000
    outcome[recent] = random.random(2000) < expit(true[recent] + 1)
    fold = np.arange(6000) % 3
    plain = calibration.cross_fitted(margins, outcome, fold, 3)
    newest = calibration.cross_fitted(margins, outcome, fold, 3, recent)
    for old, new in zip(plain, newest, strict=True):
        assert (new.a, new.b) == (old.a, old.b)
        assert expit(new(margins[recent])).mean() == pytest.approx(outcome[recent].mean(), abs=0.02)
        assert expit(old(margins[recent])).mean() < outcome[recent].mean() - 0.05


def test_error_is_scikit_learns_curve_where_bins_are_equal() -> None:
    random = np.random.default_rng(5)
    probabilities = random.permutation(np.linspace(0.01, 0.9, 5000))
    outcome = (random.random(5000) < probabilities**1.3).astype(float)
    found, promised = calibration_curve(outcome, probabilities, n_bins=10, strategy="quantile")
    assert calibration.error(probabilities, outcome) == pytest.approx(np.abs(found - promised).mean(), abs=2e-4)


def test_error_of_ties_does_not_depend_on_the_order_of_rows() -> None:
    random = np.random.default_rng(6)
    probabilities = random.choice([0.1, 0.2, 0.6], 997)
    outcome = (random.random(997) < probabilities).astype(float)
    shuffled = random.permutation(997)
    straight = calibration.error(probabilities, outcome)
    assert calibration.error(probabilities[shuffled], outcome[shuffled]) == pytest.approx(straight, abs=1e-12)


@pytest.mark.parametrize(("rows", "typical"), [(2_500, 0.018), (10_000, 0.009), (40_000, 0.0045)])
def test_limit_is_what_perfect_models_stay_below(rows: int, typical: float) -> None:
    random = np.random.default_rng(7)
    probabilities = expit(random.normal(logit(0.11), 1.2, rows))
    limit = calibration.limit(probabilities, seed=8)
    errors = [
        calibration.error(probabilities, (random.random(rows) < probabilities).astype(float)) for _ in range(200)
    ]
    assert 0.90 <= np.mean(np.array(errors) <= limit) <= 0.99
    assert limit == pytest.approx(typical, rel=0.4)
