from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from scoring import tables
from scoring.engine import DuckEngine
from scoring.features.build import Feature
from scoring.goals import Goal
from scoring.learning import leakage
from scoring.learning.coding import Coding
from scoring.learning.ensemble import Sample
from scoring.predictors.base import Context
from tests.scoring.test_model_store import AS_OF


def feature(name: str, kind: Any = "number", computed: bool = False) -> Feature:
    return Feature(name, kind, name, None if computed else name, name, "number", name + " is {value}", None)


def found(columns: dict[str, Any], outcome: np.ndarray, *, computed: str = "", trusted: str = "") -> list[str]:
    """The properties that are suspected among these columns."""
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    kinds = {name: "category" if pa.types.is_string(table[name].type) else "number" for name in columns}
    coding = Coding.learn(table, [feature(name, kinds[name], name == computed) for name in columns])
    known = coding.known(table)
    sample = Sample(coding.filled(known), outcome, np.arange(len(outcome)) % 5, np.zeros(len(outcome), int))
    leaks = leakage.suspected(sample, known, coding, frozenset({trusted}), 1)
    assert all(leak.action == "review" and leak.why for leak in leaks)
    return [leak.property for leak in leaks]


@pytest.fixture(scope="module")
def market() -> tuple[dict[str, Any], np.ndarray, np.random.Generator]:
    """Two thousand contacts with honest columns of every strength."""
    random = np.random.default_rng(4)
    strong, middling, weak = random.normal(size=(3, 2000))
    outcome = (random.random(2000) < expit(-2.2 + 1.4 * strong + 0.8 * middling + 0.3 * weak)).astype(float)
    source = np.where(random.random(2000) < expit(strong), "referral", "list")
    gaps = np.where(random.random(2000) < 0.4, np.nan, weak)
    return {"strong": strong, "middling": middling, "source": source, "gaps": gaps}, outcome, random


def test_honest_properties_are_not_accused(market: Any) -> None:
    columns, outcome, _ = market
    assert found(columns, outcome) == []


def test_a_property_that_nearly_is_the_outcome_is_asked_about(market: Any) -> None:
    columns, outcome, random = market
    leak = outcome + random.normal(0, 0.3, 2000)
    assert found({**columns, "leak": leak}, outcome) == ["leak"]
    assert found({**columns, "leak": leak}, outcome, trusted="leak") == []
    assert found({**columns, "leak": leak}, outcome, computed="leak") == []


def test_a_property_that_is_filled_when_people_convert_is_asked_about(market: Any) -> None:
    columns, outcome, random = market
    filled = np.where((outcome == 1) & (random.random(2000) < 0.6), random.normal(size=2000), np.nan)
    assert found({**columns, "onboarding": filled}, outcome) == ["onboarding"]


def test_near_certain_values_are_asked_about(market: Any) -> None:
    columns, outcome, random = market
    status = np.where((outcome == 1) & (random.random(2000) < 0.35), "invoiced", random.choice(["a", "b"], 2000))
    assert found({**columns, "status": status}, outcome) == ["status"]


def test_a_property_without_which_the_model_knows_much_less_is_asked_about(market: Any) -> None:
    """No sign gives it away by itself: it shares its work with others, yet carries most of it."""
    columns, outcome, random = market
    leak = outcome * 1.6 + random.normal(0, 1, 2000)
    assert found({**columns, "duration": leak}, outcome) == ["duration"]


def history(goal_first: bool) -> Context:
    """Thirty who converted, thirty who did not; `contract` is filled after or before that, `plan` for all."""
    won = AS_OF - timedelta(days=10)
    contract = won + timedelta(days=2) if goal_first else won - timedelta(days=2)
    rows, contacts = [], []
    for i in range(60):
        contacts.append({"contact_id": f"c{i}"})
        changes = [("plan", "basic", won + timedelta(days=1))]
        if i % 2 == 0:
            changes += [("y", "yes", won), ("contract", "signed", contract)]
        rows += [
            {
                "object": "contact", "object_id": f"c{i}", "property": name, "value": value, "changed_at": at,
                "observed_at": at, "source": "CRM_UI",
            }
            for name, value, at in changes
        ]  # fmt: skip
    given = {
        "contacts": tables.from_rows("contacts", contacts),
        "property_history": tables.from_rows("property_history", rows),
    }
    return Context(DuckEngine.in_memory(given), AS_OF, Goal(column="y", equals="yes"))


def test_history_proves_a_property_that_is_filled_after_the_outcome() -> None:
    (leak,) = leakage.proven(history(goal_first=True), [feature("contract"), feature("plan")])
    assert (leak.property, leak.action) == ("contract", "quarantined")
    assert "30 of 30" in leak.why


def test_history_clears_what_came_before_and_never_accuses_what_we_computed() -> None:
    assert leakage.proven(history(goal_first=False), [feature("contract"), feature("plan")]) == []
    assert leakage.proven(history(goal_first=True), [feature("contract", computed=True)]) == []


def test_what_a_pull_merely_saw_proves_nothing() -> None:
    context = history(goal_first=True)
    context.engine.run("update property_history set source = 'observed' where property = 'contract'")
    assert leakage.proven(context, [feature("contract")]) == []
