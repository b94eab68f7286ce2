import numpy as np
import pytest
from sklearn import metrics

from scoring.learning import evaluation


@pytest.fixture(params=[0, 1, 2])
def sample(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with many ties, and outcomes."""
    random = np.random.default_rng(request.param)
    probabilities = np.round(random.beta(1, 6, 3000), 2)
    return probabilities, (random.random(3000) < probabilities).astype(float)


def test_figures_are_scikit_learns(sample: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, outcome = sample
    assert evaluation.auc(probabilities, outcome) == pytest.approx(
        metrics.roc_auc_score(outcome, probabilities), abs=1e-12
    )
    assert evaluation.average_precision(probabilities, outcome) == pytest.approx(
        metrics.average_precision_score(outcome, probabilities), abs=1e-12
    )
    assert evaluation.log_loss(np.clip(probabilities, 0.01, 0.99), outcome) == pytest.approx(
        metrics.log_loss(outcome, np.clip(probabilities, 0.01, 0.99)), abs=1e-12
    )
    report = evaluation.measure(probabilities, outcome, np.arange(3000), {}, 1)
    assert report.brier == pytest.approx(metrics.brier_score_loss(outcome, probabilities), abs=1e-12)


def test_lift_is_the_rate_among_the_best_tenth_over_the_rate_of_all() -> None:
    scores = np.arange(100.0)
    outcome = np.zeros(100)
    outcome[[99, 97, 95, 40, 10]] = 1
    assert evaluation.lift(scores, outcome) == pytest.approx((3 / 10) / (5 / 100))


def test_lift_of_ties_is_that_of_a_random_order() -> None:
    assert evaluation.lift(np.zeros(50), (np.arange(50) < 10).astype(float)) == pytest.approx(1.0)


def test_without_both_outcomes_there_is_no_auc() -> None:
    assert np.isnan(evaluation.auc(np.arange(5.0), np.ones(5)))
    assert evaluation.rounded(float("nan")) is None


def test_interval_covers_the_truth_about_19_times_in_20() -> None:
    """Two normal groups one standard deviation apart: the AUC is 0.7602."""
    covered = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        outcome = (random.random(400) < 0.3).astype(float)
        scores = random.normal(outcome, 1)
        figure = evaluation.measure(scores, outcome, np.arange(400), {}, seed).auc
        covered.append(figure.low <= 0.7602 <= figure.high)
    assert 0.86 <= np.mean(covered) <= 1.0


def test_interval_counts_people_not_rows() -> None:
    """Ten copies of each row are no more evidence than one."""
    random = np.random.default_rng(9)
    outcome = (random.random(300) < 0.3).astype(float)
    scores = random.normal(outcome, 1)
    once = evaluation.measure(scores, outcome, np.arange(300), {}, 1).auc
    copies = np.repeat(np.arange(300), 10)
    many = evaluation.measure(scores[copies], outcome[copies], copies, {}, 1).auc
    assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.05)
    assert many.value == pytest.approx(once.value)


def test_gain_over_a_baseline_is_paired() -> None:
    """A copy of the model has no gain at all, though both intervals are wide."""
    random = np.random.default_rng(10)
    outcome = (random.random(200) < 0.3).astype(float)
    scores = random.normal(outcome, 1)
    report = evaluation.measure(scores, outcome, np.arange(200), {"copy": 3 * scores, "coin": 0 * scores}, 2)
    assert (report.gains["copy"].low, report.gains["copy"].high) == (0.0, 0.0)
    assert report.gains["coin"].low > 0.1
    assert report.baselines["coin"] == (pytest.approx(0.5), pytest.approx(1.0))


def test_plain_figures_come_with_intervals_around_them(sample: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, outcome = sample
    report = evaluation.measure(probabilities, outcome, np.arange(3000), {}, 1)
    assert set(report.intervals) == {"average_precision", "brier", "calibration_error"}
    for name in ("average_precision", "brier"):
        figure = report.intervals[name]
        assert figure.value == getattr(report, name)
        assert figure.low < figure.value < figure.high
    # The standard error of a mean of squared errors, without a bootstrap.
    error = ((probabilities - outcome) ** 2).std() / np.sqrt(3000)
    brier = report.intervals["brier"]
    assert (brier.high - brier.low) / 2 == pytest.approx(1.96 * error, rel=0.2)


def test_figures_by_month_are_those_of_the_months_rows() -> None:
    random = np.random.default_rng(4)
    instants = np.repeat(np.array(["2026-03-01", "2026-05-31", "2026-08-29"], "datetime64[us]").astype(int), 400)
    chance = np.round(random.beta(1, 3, 1200), 3)
    outcome = (random.random(1200) < chance).astype(float)
    tested = instants > instants[0]
    found = evaluation.by_month(chance[tested], outcome, np.tile(np.arange(400), 3), instants, tested, 1)
    assert [one["month"] for one in found] == ["2026-03", "2026-05", "2026-08"]
    assert found[0] == {
        "month": "2026-03", "rows": 400, "positives": int(outcome[:400].sum()),
        "base_rate": round(outcome[:400].mean(), 5), "tested": 0,
    }  # fmt: skip
    for one, rows in zip(found[1:], (slice(400, 800), slice(800, 1200)), strict=True):
        assert one["auc"]["value"] == pytest.approx(metrics.roc_auc_score(outcome[rows], chance[rows]), abs=1e-5)
        assert one["auc"]["low"] < one["auc"]["value"] < one["auc"]["high"]
        assert one["base_rate"] == pytest.approx(outcome[rows].mean(), abs=1e-5)
        assert one["mean_probability"] == pytest.approx(chance[rows].mean(), abs=1e-5)
        assert one["calibration_error"] == pytest.approx(
            evaluation.calibration.error(chance[rows], outcome[rows]), abs=1e-5
        )
