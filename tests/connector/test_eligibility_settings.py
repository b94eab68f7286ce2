"""Consent and filters as the settings give them."""

from typing import Any

import pytest

from connector.errors import BadSetting
from connector.jobs.eligibility import (
    needed_properties,
    read_consent,
    read_filters,
    scoring_choices,
    training_choices,
)
from connector.settings import Settings
from scoring.eligibility import Consent, Filter
from scoring.predictors.base import Options


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("opt_out", Consent()),
        ("opt_in", Consent(opt_in=True)),
        ({"mode": "opt_in"}, Consent(opt_in=True)),
        (
            {"profiling_property": "ok", "denied_values": ["no", False], "granted_values": "yes"},
            Consent(False, "ok", ("no", "false"), ("yes",)),
        ),
    ],
)
def test_consent_is_a_word_or_a_table(given: Any, read: Consent) -> None:
    assert read_consent(Settings(consent=given)) == read


def test_filters_of_training_and_of_writing() -> None:
    settings = Settings(
        include={"lifecycle_stage": ["lead", "opportunity"], "property": {"budget": [5, "7"]}},
        exclude={"email_domain": "example.com"},
        write={"exclude": {"owner": [4711]}},
        consent={"profiling_property": "ok", "denied_values": ["no"]},
    )
    train, write = read_filters(settings)
    assert train == Filter(
        {"lifecycle_stage": ("lead", "opportunity"), "budget": ("5", "7")}, {"email_domain": ("example.com",)}
    )
    assert write == Filter({}, {"owner": ("4711",)})
    assert needed_properties(settings) == ("ok", "budget")
    assert needed_properties(Settings()) == ()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"consent": "optin"}, "consent = 'optin'"),
        ({"consent": {"propery": "x"}}, r"\[consent\] propery"),
        ({"consent": {"profiling_property": "x"}}, "goes with denied_values"),
        ({"consent": {"denied_values": ["no"]}}, "goes with denied_values"),
        ({"include": {"stage": ["lead"]}}, r"\[include\] stage"),
        ({"include": {"list": []}}, r"\[include\] list lists no value"),
        ({"exclude": {"owner": []}}, r"\[exclude\] owner lists no value"),
        ({"exclude": {"owner": {"a": 1}}}, r"\[exclude\] owner must be a list"),
        ({"exclude": {"property": ["country"]}}, r"\[exclude\.property\] must be a table"),
        ({"write": {"owner": ["1"]}}, r"\[write\] owner"),
        ({"write": {"include": {"owners": ["1"]}}}, r"\[write\.include\] owners"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], named: str) -> None:
    settings = Settings(**given)
    with pytest.raises(BadSetting, match=named):
        _ = read_consent(settings), read_filters(settings)


def test_a_model_fits_only_the_choices_it_was_trained_with() -> None:
    plain = Options()
    for options in (
        Options(consent=Consent(opt_in=True)),
        Options(train=Filter({"owner": ("1",)})),
        Options(protected=frozenset({"age"})),
        Options(excluded=frozenset({"x"})),
    ):
        assert training_choices(options) != training_choices(plain)
    writing = Options(write=Filter({"owner": ("1",)}))
    assert training_choices(writing) == training_choices(plain)
    assert scoring_choices(writing) != scoring_choices(plain)
    assert scoring_choices(Options(train=Filter({"owner": ("1",)}))) == scoring_choices(plain)
