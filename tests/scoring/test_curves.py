"""Curves that are kept to be drawn."""

import numpy as np
import pyarrow as pa

from scoring import curves
from scoring.features.build import Feature
from scoring.learning.coding import Coding
from scoring.learning.effects import effects


def test_gain_counts_what_the_best_rows_hold() -> None:
    probabilities = np.linspace(0.99, 0.0, 100)
    outcome = np.zeros(100)
    outcome[[0, 1, 2, 50]] = 1
    found = {one["contacts"]: one["outcomes"] for one in curves.gain(probabilities, outcome)}
    assert (found[0.0], found[0.05], found[0.5], found[0.55], found[1.0]) == (0.0, 0.75, 0.75, 1.0, 1.0)


def test_gain_of_equal_probabilities_is_a_straight_line_whatever_the_order() -> None:
    found = curves.gain(np.full(40, 0.3), np.r_[np.ones(10), np.zeros(30)])
    assert [one["outcomes"] for one in found] == [one["contacts"] for one in found]


def test_gain_without_outcomes_is_nothing() -> None:
    assert curves.gain(np.linspace(0, 1, 10), np.zeros(10)) == []


def test_calibration_intervals_hold_the_truth_and_are_exact() -> None:
    rng = np.random.default_rng(5)
    probabilities = rng.uniform(0.05, 0.6, 20_000)
    points = curves.calibrated(probabilities, (rng.random(20_000) < probabilities).astype(float))
    assert sum(one["rows"] for one in points) == 20_000
    assert sum(one["low"] <= one["promised"] <= one["high"] for one in points) >= 9
    # Clopper and Pearson for 0 of 10: 1 - 0.025 ** (1 / 10)
    one = curves.calibrated(np.full(100, 0.2), np.zeros(100))[0]
    assert (one["rows"], one["low"], one["high"]) == (10, 0.0, round(1 - 0.025**0.1, 5))


def _feature(name: str, kind: str, group: str) -> Feature:
    return Feature(name, kind, group, None, name.capitalize(), "count", "{value}", None)  # type: ignore[arg-type]


def test_effects_tell_weight_direction_and_shape() -> None:
    rng = np.random.default_rng(3)
    visits, noise = rng.poisson(3, 2_000).astype(float), rng.normal(size=2_000)
    source = rng.choice(["web", "fair"], 2_000)
    features = (_feature("visits", "number", "visits"), _feature("noise", "number", "noise"))
    features += (_feature("source", "category", "source"),)
    table = pa.table({"visits": visits, "noise": noise, "source": source})
    coding = Coding.learn(table, features)
    known = coding.known(table)
    known[:100, 0] = np.nan
    parts = np.column_stack([0.5 * (visits - 3), 0.01 * np.abs(noise), np.where(source == "web", 0.4, -0.4)])
    parts[:100, 0] = -0.7
    found = {one["group"]: one for one in effects(coding, known, parts, np.array([True, False, True]))}
    assert list(found) == ["visits", "source", "noise"]
    assert (found["visits"]["direction"], found["visits"]["proven"]) == ("up", True)
    assert (found["visits"]["missing"], found["visits"]["missing_share"]) == (-0.7, 0.05)
    assert {one["value"]: one["log_odds"] for one in found["visits"]["points"]}[4.0] == 0.5
    assert {one["value"]: one["log_odds"] for one in found["source"]["points"]} == {"web": 0.4, "fair": -0.4}
    assert (found["noise"]["direction"], found["noise"]["proven"]) == ("mixed", False)
