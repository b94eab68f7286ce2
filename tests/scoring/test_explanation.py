from itertools import combinations
from math import factorial
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from scoring import explanation
from scoring.features.build import OTHER, Feature
from scoring.learning import candidates, glass_box, spline_logistic, tree_paths, tree_shap, trees
from scoring.learning.candidates import Average, Fitted
from scoring.learning.coding import Coding


def feature(name: str, unit: Any = "count", **other: Any) -> Feature:
    kind = "category" if unit == "text" else "number"
    given = {"group": name, "property": None, "label": name, "phrase": f"{name} {{value}}", "phrase_none": None}
    return Feature(name=name, kind=kind, unit=unit, **{**given, **other})


FEATURES = (
    feature("visits"),
    feature("days since visit", "days", group="visits", phrase="last visit {value}", phrase_none="never came"),
    feature("industry", "text", property="industry", phrase="Industry is {value}"),
    feature("budget", "money", property="budget", phrase="Budget is {value}"),
)


def made(rows: int, seed: int) -> tuple[pa.Table, np.ndarray]:
    """Contacts with an interaction, gaps and a category; what came of them."""
    random = np.random.default_rng(seed)
    visits = random.poisson(2, rows).astype(float)
    days = np.where(visits > 0, random.integers(0, 60, rows).astype(float), np.nan)
    industry = random.choice(["software", "retail", "mining"], rows)
    budget = np.where(random.random(rows) < 0.2, np.nan, np.round(random.gamma(2, 5000, rows)))
    logits = -2 + 0.5 * visits - 0.02 * np.nan_to_num(days) + 1.5 * (industry == "software") * (visits > 2)
    outcome = (random.random(rows) < expit(logits)).astype(float)
    columns = {"visits": visits, "days since visit": days, "industry": industry, "budget": budget}
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()}), outcome


TABLE, OUTCOME = made(1500, 1)
CODING = Coding.learn(TABLE, FEATURES)
KNOWN = CODING.known(TABLE)
VALUES = CODING.filled(KNOWN)
ALL = np.ones(len(FEATURES), dtype=bool)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Fitted]:
    found: dict[str, Fitted] = {name: fit(VALUES, OUTCOME, CODING, 1) for name, fit in candidates.FITS.items()}
    found["average"] = Average(tuple(found.values()))
    return found


@pytest.mark.parametrize("kind", [*candidates.FITS, "average"])
def test_contributions_add_up_to_the_margin(fitted: dict[str, Fitted], kind: str) -> None:
    model = fitted[kind]
    fresh = CODING.known(made(500, 2)[0])
    total = model.base + model.contributions(fresh).sum(axis=1)
    assert np.abs(total - model.margins(fresh)).max() < 1e-9
    assert np.abs(model.contributions(fresh)).max() > 0.1


@pytest.mark.parametrize("kind", [trees.NAME, "average"])
@pytest.mark.parametrize("rows", [1, 20, 130])
def test_prepared_trees_say_the_same_of_a_few_contacts(kind: str, rows: int, fitted: dict[str, Fitted]) -> None:
    """Looked up instead of asked of LightGBM; a category that training never met and missing values among them."""
    model = candidates.read(kind, fitted[kind].to_text())
    values = CODING.known(made(rows, 5)[0])
    values[0] = np.nan
    values[-1, 2] = 17.0
    asked = model.contributions(values)
    candidates.prepare(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees.Trees, "_shap", None)
        looked_up = model.contributions(values)
    assert np.abs(looked_up - asked).max() < 1e-12
    assert np.abs(asked).max() > 0.01


@pytest.mark.parametrize("kind", [*candidates.FITS, "average"])
def test_a_candidate_read_back_from_text_is_the_same(fitted: dict[str, Fitted], kind: str) -> None:
    model = fitted[kind]
    again = candidates.read(kind, model.to_text())
    assert np.array_equal(again.margins(VALUES), model.margins(VALUES))
    assert np.array_equal(again.contributions(VALUES), model.contributions(VALUES))


def test_glass_box_tables_are_the_trees_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    boosters: list[lgb.Booster] = []

    def keep(*given: Any, **changed: Any) -> lgb.Booster:
        boosters.append(trees.boost(*given, **changed))
        return boosters[-1]

    monkeypatch.setattr(glass_box, "boost", keep)
    model = glass_box.fit(VALUES, OUTCOME, CODING, 1)
    singles, _, joint = boosters
    expected = singles.predict(VALUES, raw_score=True) + joint.predict(VALUES, raw_score=True)
    assert np.abs(model.margins(VALUES) - expected).max() < 1e-9
    assert {(p.first.feature, p.second.feature) for p in model.pairs} <= set(combinations(range(4), 2))


def test_glass_box_reasons_are_shapley_values_by_brute_force() -> None:
    """Under independent features: the value of a coalition is the mean over the others' own distributions."""
    small = np.column_stack([VALUES[:300, 0].clip(0, 3), VALUES[:300, 2], VALUES[:300, 3].round(-4)])
    coding = Coding((FEATURES[0], FEATURES[2], FEATURES[3]), {"industry": CODING.levels["industry"]}, {})
    outcome = (np.nan_to_num(small[:, 0]) * (small[:, 1] == 1) + np.nan_to_num(small[:, 2]) / 1e4 > 1.5) * 1.0
    model = glass_box.fit(small, outcome, coding, 1)
    assert model.pairs
    grids = [np.unique(column, return_counts=True) for column in small.T]

    def worth(row: np.ndarray, coalition: tuple[int, ...]) -> float:
        axes = [([row[i]], [1]) if i in coalition else grids[i] for i in range(3)]
        mesh = np.stack(np.meshgrid(*(values for values, _ in axes), indexing="ij"), -1).reshape(-1, 3)
        weights = np.stack(np.meshgrid(*(counts for _, counts in axes), indexing="ij"), -1).reshape(-1, 3)
        return float(np.average(model.margins(mesh), weights=weights.prod(axis=1)))

    for row in small[:8]:
        assert model.contributions(row[None])[0] == pytest.approx(shapley(row, worth), abs=1e-9)
        assert model.base == pytest.approx(worth(row, ()), abs=1e-9)


def test_tree_reasons_are_shapley_values_by_brute_force() -> None:
    """Of the tree game: an unknown feature's split is followed both ways, by how many rows went there."""
    small = VALUES[:, [0, 3, 1]]
    coding = Coding((FEATURES[0], FEATURES[3], FEATURES[1]), {}, {})
    booster = trees.boost(small, OUTCOME, coding, 1, 5)
    model = trees.Trees(booster.model_to_string())
    roots = [info["tree_structure"] for info in booster.dump_model()["tree_info"]]

    def worth(row: np.ndarray, coalition: tuple[int, ...]) -> float:
        return sum(walk(root, row, coalition) for root in roots)

    for row in small[:8]:
        assert model.contributions(row[None])[0] == pytest.approx(shapley(row, worth), abs=1e-9)


@pytest.mark.parametrize("rounds", [1, 40])
def test_many_rows_get_by_look_up_what_few_get_from_tree_shap(rounds: int) -> None:
    """Categories, missing values and features met twice on a path included."""
    booster = trees.boost(VALUES, OUTCOME, CODING, 1, rounds, min_data_in_leaf=5)
    model = trees.Trees(booster.model_to_string())
    many = CODING.known(made(trees.MANY + 4100, 3)[0])
    few = many[: trees.MANY - 1]
    assert np.isnan(many).any()
    assert np.abs(model.contributions(many)[: len(few)] - model.contributions(few)).max() < 1e-12
    assert np.abs(model.base + model.contributions(many).sum(axis=1) - model.margins(many)).max() < 1e-9


def test_look_up_is_shapley_by_brute_force() -> None:
    small = VALUES[:, [0, 3, 1]]
    booster = trees.boost(small, OUTCOME, Coding((FEATURES[0], FEATURES[3], FEATURES[1]), {}, {}), 1, 5)
    roots = tree_paths.roots(booster.dump_model())
    tables = tree_shap.Tables.of(roots)
    assert tables is not None

    def worth(row: np.ndarray, coalition: tuple[int, ...]) -> float:
        return sum(walk(root, row, coalition) for root in roots)

    for row in small[:8]:
        assert tables.contributions(row[None])[0] == pytest.approx(shapley(row, worth), abs=1e-9)


def test_paths_with_too_many_features_for_a_pattern_are_left_to_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    booster = trees.boost(VALUES, OUTCOME, CODING, 1, 5, min_data_in_leaf=5)
    monkeypatch.setattr(tree_shap, "DEEPEST", 1)
    assert tree_shap.Tables.of(tree_paths.roots(booster.dump_model())) is None
    assert np.abs(trees.Trees(booster.model_to_string()).contributions(np.tile(VALUES, (2, 1)))).max() > 0


def walk(node: dict[str, Any], row: np.ndarray, coalition: tuple[int, ...]) -> float:
    if "leaf_value" in node:
        return float(node["leaf_value"])
    left, right = (walk(node[side], row, coalition) for side in ("left_child", "right_child"))
    if node["split_feature"] in coalition:
        value = row[node["split_feature"]]
        goes_left = node["default_left"] if np.isnan(value) else value <= node["threshold"]
        return left if goes_left else right
    counts = [
        node[side].get("internal_count", node[side].get("leaf_count")) for side in ("left_child", "right_child")
    ]
    return (left * counts[0] + right * counts[1]) / sum(counts)


def shapley(row: np.ndarray, worth: Any) -> list[float]:
    out = []
    for i in range(3):
        others, total = [j for j in range(3) if j != i], 0.0
        for size in range(3):
            for coalition in combinations(others, size):
                weight = factorial(size) * factorial(2 - size) / factorial(3)
                total += weight * (worth(row, (*coalition, i)) - worth(row, coalition))
        out.append(total)
    return out


def said(rows: list[tuple[list[float], list[float]]], worthy: np.ndarray = ALL) -> list[str]:
    known, parts = (np.array([row[i] for row in rows], dtype=float) for i in (0, 1))
    texts: list[str] = explanation.reasons(CODING, known, parts, worthy).to_pylist()
    return texts


def test_reasons_are_said_with_the_contacts_own_values_strongest_first() -> None:
    retail = float(CODING.levels["industry"].index("retail"))
    (text,) = said([([4, 12, retail, 9500], [0.9, 0.2, 0.4, -0.8])])
    assert text == "+ visits 4 times; + Industry is retail; − Budget is 9,500"


def test_one_reason_per_group_by_its_strongest_feature() -> None:
    texts = said(
        [([4, 1, 0, 5], [0.3, 0.6, 0, 0]), ([1, 1, 0, 5], [0.6, 0.3, 0, 0]), ([3, 2, 0, 5], [1, -2, 0, 0])]
    )
    assert texts == ["+ last visit 1 day ago", "+ visits once", "− last visit 2 days ago"]


def test_missing_is_never_a_reason_in_favour_and_one_against_only_with_words_for_it() -> None:
    gone = float("nan")
    texts = said([([0, gone, 0, gone], [0, 2.0, 0, 2.0]), ([0, gone, 0, gone], [0, -2.0, 0, -2.0])])
    assert texts == [explanation.NOTHING, "− never came"]


def test_zero_without_words_for_it_and_weak_reasons_are_left_unsaid() -> None:
    texts = said(
        [([0, 0, 0, 0], [2.0, 0, 0, 2.0]), ([5, 5, 0, 5], [0.09, 0, 0, -0.09]), ([0, 0, 0, 1], [0, 1, 0, 0])]
    )
    assert texts == [explanation.NOTHING, explanation.NOTHING, "+ last visit today"]


def test_at_most_three_for_and_two_against() -> None:
    names = [f"f{i}" for i in range(9)]
    coding = Coding(tuple(feature(name) for name in names), {}, {})
    parts = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, -0.9, -0.8, -0.7, -0.6]])
    (text,) = explanation.reasons(coding, np.full((1, 9), 7.0), parts, np.ones(9, bool)).to_pylist()
    assert text == "+ f0 7 times; + f1 7 times; + f2 7 times; − f5 7 times; − f6 7 times"


def test_peoples_labels_and_values_cannot_break_the_list_of_reasons() -> None:
    level = "first; second\nthird " + "long " * 100
    plan = Feature("p_plan", "category", "Plan", "plan", "Plan", "text", "Plan; now is {value}", None)
    coding = Coding((plan,), {"p_plan": (level,)}, {})
    (text,) = explanation.reasons(coding, np.zeros((1, 1)), np.ones((1, 1)), np.ones(1, bool)).to_pylist()
    assert text.startswith("+ Plan, now is first, second third long long")
    assert ";" not in text
    assert text.endswith("…")
    assert len(text) <= explanation.LONGEST + len("+ ")


def test_the_pool_of_rare_categories_is_no_reason() -> None:
    coding = Coding((FEATURES[2],), {"industry": (OTHER, "retail")}, {})
    texts = explanation.reasons(coding, np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]]), np.ones(1, bool))
    assert texts.to_pylist() == [explanation.NOTHING, "+ Industry is retail"]


def test_noise_earns_no_mention() -> None:
    """Fitted on 400 rows, judged on 3,000 others: what helps there may be named, a fitted coin flip may not."""
    random = np.random.default_rng(3)
    coding = Coding((feature("real"), feature("coin")), {}, {})
    values = random.normal(size=(3400, 2))
    outcome = (random.random(3400) < expit(values[:, 0] - 1)).astype(float)
    model = spline_logistic.fit(values[:400], outcome[:400], coding, 1)
    fresh = values[400:]
    assert np.abs(model.contributions(fresh)[:, 1]).max() > explanation.LEAST
    found = explanation.worthy(coding, model.margins(fresh), model.contributions(fresh), outcome[400:])
    assert found.tolist() == [True, False]
    assert explanation.reasons(coding, fresh, model.contributions(fresh), found).to_pylist() != []
    assert not any("coin" in text for text in explanation.reasons(coding, fresh, fresh, found).to_pylist())
