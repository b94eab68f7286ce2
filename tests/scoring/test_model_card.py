import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scoring.predictors.base import Model
from scoring.predictors.lead_score import LeadScore
from scoring.versions import model_store
from scoring.versions.model_card import card
from tests.scoring.test_lead_score import context, leads

SEND = {
    "contacts": 210, "events": 9120, "personal_share": 0.4321, "log_loss_bits": 4.0123,
    "hit_top1": {"value": 0.1234, "low": 0.1111, "high": 0.1357},
    "hit_top3": {"value": 0.3234, "low": 0.31, "high": 0.34},
    "baselines": {"global": {"hit_top1": 0.0912, "hit_top3": 0.2512, "log_loss_bits": 4.3987}},
    "passed": False, "reasons": ["Own hours do not win."],
}  # fmt: skip
GROUPS = {
    "k": 5, "stability": {"value": 0.91234, "low": 0.81234}, "separation": 0.3317,
    "sizes": {"s1": 1204, "s2": 377}, "names": {"s1": "Loyal buyers", "s2": "Lapsed"},
    "passed": True, "reasons": [],
}  # fmt: skip


def made(predictor: str, evaluation: dict[str, Any]) -> Model:
    return Model(predictor, "default", f"{predictor}-x", {"until": "2026-11-01", "evaluation": evaluation}, {})


@pytest.fixture(scope="module")
def lead() -> Model:
    columns, _ = leads(1500, 4)
    columns["sold"] = [1.0 if won == "yes" else 0.0 for won in columns["y"]]
    model = LeadScore().train(context(columns))
    drivers = [
        {"label": "Visits", "weight": 0.81234, "direction": 0.93},
        {"label": "Age", "weight": 0.1, "direction": -0.5},
    ]
    choice = {
        "why": "In use: not clearly worse.", "champion": "lead_score-old", "rows": 777,
        "loss_difference": {"value": -0.00123, "low": -0.00456, "high": 0.00078},
    }  # fmt: skip
    return replace(model, meta={**model.meta, "drivers": drivers, "choice": choice})


def shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.10g}"


def numbers(value: Any) -> Iterator[float]:
    """Every number in a part of meta."""
    if isinstance(value, dict):
        for one in value.values():
            yield from numbers(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_every_figure_of_meta_is_in_the_card(lead: Model) -> None:
    text, evaluation = card(lead), lead.meta["evaluation"]
    told = {key: evaluation[key] for key in (
        "tested", "positives", "candidates", "glass_box_cost", "auc", "auc_with_leaks", "average_precision",
        "lift_top_decile", "brier", "log_loss", "calibration_error", "calibration_limit", "baselines",
    )}  # fmt: skip
    for value in numbers(
        [told, lead.meta["training"]["rows"], lead.meta["choice"], lead.meta["drivers"][0]["weight"]]
    ):
        assert re.search(rf"(?<![\d.,]){re.escape(shown(value))}(?![\d])", text), value


def test_every_figure_in_the_card_is_in_meta(lead: Model) -> None:
    """No number of the tables and lists comes from elsewhere."""
    known = {shown(value) for value in numbers({**lead.meta, "importance": []})} | {"95%", "10"}
    known |= {str(round(value)) for value in numbers(lead.meta)}
    body = card(lead).split("## Figures")[1].split("## What drives it")[0]
    for one in re.findall(r"(?<![\w.-])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?%?", body):
        assert one in known, one


def test_what_a_reader_must_know_is_there(lead: Model) -> None:
    text = card(lead)
    for leak in lead.meta["evaluation"]["leaks"]:
        assert f"- {leak['property']} ({leak['action']}): {leak['why']}" in text
    assert lead.meta["evaluation"]["leaks"]
    assert "Visits: 0.81234 log-odds on average; more of it raises the score" in text
    assert "Age: 0.1 log-odds on average; more of it lowers the score" in text
    assert "cross-validation" in text
    assert "y is “yes”" in text
    assert lead.meta["training"]["fingerprint"] in text
    for name, version in lead.meta["libraries"].items():
        assert f"- {name} {version}" in text
    assert "All passed." in text
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles == [
        "Data", "Figures", "Candidates", "What drives it", "Leaks left out", "Gates", "How it came into use",
        "Limits of use", "Made with",
    ]  # fmt: skip


def test_only_what_proved_itself_is_called_a_driver(lead: Model) -> None:
    names = [{"feature": name, "label": f"Label of {name}", "weight": 0.5} for name in lead.meta["features"]]
    named = [i == 0 for i in range(len(names))]
    text = card(replace(lead, meta={**lead.meta, "drivers": names, "named": named}))
    assert re.findall("Label of (.*?):", text) == [lead.meta["features"][0]]
    assert f"{len(names) - 1} more did not prove themselves" in text


def test_without_drivers_of_its_own_a_card_tells_the_effects_in_words(lead: Model) -> None:
    text = card(replace(lead, meta={**lead.meta, "drivers": []}))
    told = text.split("## What drives it")[1].split("##")[0]
    proven = [one["group"] for one in lead.meta["effects"] if one["proven"]]
    assert re.findall(r"^- (.*?): \d", told, re.MULTILINE) == proven
    assert proven
    assert "p_" not in told


@pytest.mark.parametrize(("predictor", "evaluation"), [("send_time", SEND), ("segments", GROUPS)])
def test_other_predictors_have_cards_with_their_figures(predictor: str, evaluation: dict[str, Any]) -> None:
    text = card(made(predictor, evaluation))
    for value in numbers(evaluation):
        assert shown(value) in text, value
    for word in [*evaluation.get("names", {}).values(), *evaluation["reasons"]]:
        assert word in text
    assert ("Refused" in text) is not evaluation["passed"]


def test_a_send_time_card_tells_both_splits_and_that_no_sends_are_known() -> None:
    later = {
        **SEND,
        "log_loss_bits": 4.2111,
        "baselines": {"default": {"hit_top1": 0.07, "hit_top3": 0.2, "log_loss_bits": 4.4}},
    }
    model = made("send_time", {**SEND, "later_weeks": later})
    text = card(replace(model, meta={**model.meta, "basis": "activity"}))
    assert "not corrected for when mail was sent" in text
    assert "| everyone's hours | 0.0912 | 0.2512 | 4.3987 |" in text
    assert "later weeks" in text
    assert "| everyone's hours as they are used | 0.07 | 0.2 | 4.4 |" in text
    assert "4.2111" in text
    assert "per mail delivered" in card(replace(model, meta={**model.meta, "basis": "exposure"}))


def test_a_segments_card_tells_what_each_is_worth_and_how_fresh_membership_is() -> None:
    told = {"id": "s1", "conversion_rate": 0.4321, "value": 265.5, "reached_by": "forms"}
    more = {"segments": [told], "membership": {"moved_share": 0.0421, "stale_share": 0.1198}}
    text = card(made("segments", {**GROUPS, **more, "outcome_information": 0.0935}))
    assert "| Loyal buyers | 1,204 | 0.4321 | 265.5 | forms |" in text
    assert "| Lapsed | 377 |  |  |  |" in text
    for figure in ("0.0421", "0.1198", "0.0935"):
        assert figure in text


def test_a_card_lies_beside_every_stored_version(tmp_path: Path, lead: Model) -> None:
    place = model_store.save(tmp_path, lead)
    assert (place / "card.md").read_text(encoding="utf-8") == card(lead)
    assert place == tmp_path / "default" / "lead_score" / lead.version
    assert model_store.load(tmp_path, "default", "lead_score") == lead


def test_little_is_known_of_some_models() -> None:
    assert card(Model("lead_score", "default", "v", {}, {})).startswith("# Lead score: v\n")
