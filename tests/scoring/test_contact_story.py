import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from scoring.contacts.story import CAN_ACT, Story, story
from scoring.engine import DuckEngine
from scoring.features.build import build
from scoring.goals import Goal
from scoring.learning.ensemble import Ensemble
from scoring.predictors.base import Context
from scoring.predictors.lead_score import LeadScore
from scoring.snapshots import eligible
from scoring.synthetic.market import market
from tests.scoring.test_lead_score import GOAL, context, leads

LEAD = LeadScore()


@pytest.fixture(scope="module")
def told() -> tuple[Any, Any, dict[str, Any], dict[str, Story]]:
    columns, _ = leads(1500, 5)
    columns["budget"][7] = None
    here = context(columns)
    model = LEAD.train(here)
    scores = {row["contact_id"]: row for row in LEAD.score(here, model).to_pylist()}
    chosen = [*sorted(scores, key=lambda one: scores[one]["leadlight_score"])[::170], "c00007"]
    return here, model, scores, {key: found for key in chosen if (found := story(here, model, key)) is not None}


def test_reasons_add_up_to_what_is_published(told: Any) -> None:
    here, model, scores, stories = told
    assert len(stories) >= 5
    ensemble = Ensemble.from_files(model.meta["kinds"], model.meta["kind"], model.files)
    eligible(here, "those")
    folds = {row["contact_id"]: row["fold"] for row in here.engine.fetch("select * from those").to_pylist()}
    for key, found in stories.items():
        assert found.base + sum(one.log_odds for one in found.reasons) == pytest.approx(found.margin, abs=1e-9)
        published = ensemble.calibrated(np.array([found.margin]), np.array([folds[key]]))[0]
        assert published == scores[key]["leadlight_probability"]
        for one in found.reasons:
            assert one.odds == pytest.approx(np.exp(one.log_odds))
            assert np.sign(one.points) == np.sign(one.log_odds)
            assert sum(value["log_odds"] for value in one.values) == pytest.approx(one.log_odds, abs=1e-12)


def test_every_reason_has_the_contacts_own_value(told: Any) -> None:
    here, _, _, stories = told
    for key, found in stories.items():
        [row] = here.engine.fetch(f"select * from contacts where contact_id = '{key}'").to_pylist()
        texts = {one.group: one.text for one in found.reasons}
        assert set(texts) == {"Budget", "Visits", "Source"}
        assert str(row["p_source"]) in texts["Source"]
        if row["p_budget"] is not None:
            assert texts["Budget"] == f"Budget is {row['p_budget']:.3g}"
    if "c00007" in stories:
        assert {one.group: one.text for one in stories["c00007"].reasons}["Budget"] == "Budget is not known"


def test_a_change_is_what_some_contact_has_and_gives_the_score_that_is_told(told: Any) -> None:
    """Told values, put on the contact and scored by the predictor itself, give the told score."""
    _, model, _, stories = told
    columns, _ = leads(1500, 5)
    columns["budget"][7] = None
    checked = 0
    for key, found in stories.items():
        for change in found.changes:
            assert change.score_then > change.score
            assert not change.can_act
            if change.group != "Source":
                continue
            value = change.then.removeprefix("Source is ")
            assert value in set(columns["source"])
            other = {name: list(values) for name, values in columns.items()}
            other["source"][int(key[1:])] = value
            then = LEAD.score(context(other), model).to_pylist()
            [row] = [row for row in then if row["contact_id"] == key]
            assert (row["leadlight_score"], row["leadlight_probability"]) == (
                change.score_then,
                pytest.approx(change.probability_then),
            )
            checked += 1
    assert checked >= 2


def test_no_other_value_of_a_group_would_do_better(told: Any) -> None:
    here, model, _, stories = told
    ensemble = Ensemble.from_files(model.meta["kinds"], model.meta["kind"], model.files)
    eligible(here, "those")
    build(here, "those", "those_features", ensemble.coding.features)
    table = here.engine.fetch(
        "select t.*, p.fold from those_features t join those p on p.contact_id = t.contact_id "
        "order by t.contact_id"
    )
    ids, known = table["contact_id"].to_pylist(), ensemble.coding.known(table)
    names = [feature.group for feature in ensemble.coding.features]
    for key, found in stories.items():
        at = ids.index(key)
        for change in found.changes:
            column = names.index(change.group)
            tried = np.repeat(known[[at]], len(known), axis=0)
            tried[:, column] = known[:, column]
            fold = np.full(len(tried), table["fold"][at].as_py())
            best = ensemble.probabilities(ensemble.coding.filled(tried), fold).max()
            assert change.probability_then == pytest.approx(best)


def test_who_gets_no_score_has_no_story(told: Any) -> None:
    here, model, scores, _ = told
    converted = next(f"c{i:05}" for i in range(1500) if f"c{i:05}" not in scores)
    assert story(here, model, converted) is None
    assert story(here, model, "nobody") is None
    everyone = replace(here, goal=replace(GOAL, repeats=True))
    assert story(everyone, model, converted) is not None


def test_no_advice_undoes_what_was_done() -> None:
    """On a market: what a contact could do more of leaves its counts no lower and its last time no longer ago."""
    until = datetime.fromisoformat("2026-11-01T00:00:00")
    here = Context(DuckEngine.in_memory(market(900, 3, until).tables), until, Goal(event="deal_won"))
    model = LEAD.train(here)
    scores = LEAD.score(here, model).sort_by([("leadlight_score", "descending")])["contact_id"].to_pylist()
    told = [change for key in scores[5:400:40] if (found := story(here, model, key)) for change in found.changes]
    acts = [change for change in told if change.can_act]
    assert acts
    for change in acts:
        assert change.group in CAN_ACT
        before, after = (re.search(r"(\d+) days? ago", text) for text in (change.now, change.then))
        if before and after:
            assert int(after[1]) <= int(before[1])
