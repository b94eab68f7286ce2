"""What every predictor keeps to, run against each of `scoring.predictors.PREDICTORS`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import manifests
from scoring.engine import DuckEngine
from scoring.errors import ModelMismatch
from scoring.goals import Goal
from scoring.predictors import PREDICTORS
from scoring.predictors.base import Context, Model, Predictor
from scoring.synthetic import market as synthetic
from scoring.versions import model_store

AS_OF = datetime.fromisoformat("2026-11-01T00:00:00")
Tables = dict[str, pa.Table]


@cache
def market() -> Mapping[str, pa.Table]:
    return synthetic.market(700, 5, AS_OF).tables


def context(change: Callable[[Tables], None] | None = None) -> Context:
    tables = dict(market())
    if change is not None:
        change(tables)
    return Context(DuckEngine.in_memory(tables), AS_OF, Goal(event="deal_won"))


@dataclass
class Case:
    """A predictor, trained once, and what it says."""

    predictor: Predictor
    model: Model
    scores: pa.Table


@pytest.fixture(scope="module", params=PREDICTORS, ids=lambda predictor: predictor.name)
def case(request: pytest.FixtureRequest) -> Case:
    here = context()
    model = request.param.train(here)
    return Case(request.param, model, request.param.score(here, model))


def test_can_run_on_this_market(case: Case) -> None:
    assert case.predictor.lacks(context()) == []
    assert case.scores.num_rows > 300


def test_says_in_words_what_is_lacking_when_there_is_nothing(case: Case) -> None:
    nothing = Context(DuckEngine.in_memory(), AS_OF, Goal(event="deal_won"))
    lacking = case.predictor.lacks(nothing)
    assert lacking
    assert all(len(text.split()) >= 3 for text in lacking)


def test_same_input_same_model_and_same_scores(case: Case) -> None:
    here = context()
    again = case.predictor.train(here)
    assert again.version == case.model.version
    assert case.predictor.score(here, again).equals(case.scores)


def test_order_of_rows_is_irrelevant(case: Case) -> None:
    def shuffle(tables: Tables) -> None:
        random = np.random.default_rng(3)
        for name, table in tables.items():
            tables[name] = table.take(pa.array(random.permutation(table.num_rows)))

    here = context(shuffle)
    model = case.predictor.train(here)
    assert model.files == case.model.files
    assert case.predictor.score(here, model).equals(case.scores)


def test_what_contacts_did_matters(case: Case) -> None:
    """Scored by the same model, contacts that did nothing get other values."""

    def silence(tables: Tables) -> None:
        tables["events"] = tables["events"].slice(0, 0)

    silent = case.predictor.score(context(silence), case.model)
    assert not silent.equals(case.scores)


def test_saved_and_loaded_it_scores_the_same(case: Case, tmp_path: Path) -> None:
    model_store.save(tmp_path, case.model)
    loaded = model_store.load(tmp_path, "default", case.predictor.name)
    assert loaded == case.model
    assert case.predictor.score(context(), loaded).equals(case.scores)


def test_only_limits_who_is_scored_and_changes_no_value(case: Case) -> None:
    here = context()
    some = case.scores["contact_id"].take(pa.array(range(0, case.scores.num_rows, 7))).combine_chunks()
    here.engine.put("chosen", pa.table({"contact_id": some}))
    expected = case.scores.filter(pc.is_in(case.scores["contact_id"], value_set=some))
    assert case.predictor.score(here, case.model, only="chosen").equals(expected)


def test_nothing_at_or_after_the_instant_matters(case: Case) -> None:
    def add_future(tables: Tables) -> None:
        shift = pa.scalar(timedelta(days=400), pa.duration("us"))
        events = tables["events"].slice(0, 2000)
        at = events.schema.get_field_index("occurred_at")
        later = pc.add(pc.max_element_wise(events["occurred_at"], pa.scalar(AS_OF, pa.timestamp("us"))), shift)
        ids = pc.binary_join_element_wise("future-", events["event_id"], "")
        events = events.set_column(at, "occurred_at", later)
        events = events.set_column(events.schema.get_field_index("event_id"), "event_id", ids)
        tables["events"] = pa.concat_tables([tables["events"], events])
        history = tables["property_history"].slice(0, 2000)
        for name in ("changed_at", "observed_at"):
            column = pa.array([AS_OF + timedelta(days=3)] * history.num_rows, pa.timestamp("us"))
            history = history.set_column(history.schema.get_field_index(name), name, column)
        tables["property_history"] = pa.concat_tables([tables["property_history"], history])

    here = context(add_future)
    assert case.predictor.score(here, case.model).equals(case.scores)
    assert case.predictor.train(here).files == case.model.files


def test_values_never_seen_in_training_are_scored(case: Case) -> None:
    def rename(tables: Tables) -> None:
        for name in ("contacts", "companies"):
            for position, field in enumerate(tables[name].schema):
                if field.name.startswith("p_") and pa.types.is_string(field.type):
                    odd = pa.array(["never seen ✓ before"] * tables[name].num_rows)
                    tables[name] = tables[name].set_column(position, field.name, odd)

    scores = case.predictor.score(context(rename), case.model)
    assert scores["contact_id"].equals(case.scores["contact_id"])
    assert_sound(case, scores)


def test_properties_that_are_gone_are_missing_not_an_error(case: Case) -> None:
    def drop(tables: Tables) -> None:
        for name in ("contacts", "companies"):
            gone = [column for column in tables[name].column_names if column.startswith("p_")]
            tables[name] = tables[name].drop_columns(gone)

    scores = case.predictor.score(context(drop), case.model)
    assert scores["contact_id"].equals(case.scores["contact_id"])
    assert_sound(case, scores)


def test_a_contact_of_whom_nothing_is_known_changes_nobody_else(case: Case) -> None:
    def add_stranger(tables: Tables) -> None:
        contacts = tables["contacts"]
        row = {name: ["zzz-stranger"] if name == "contact_id" else [None] for name in contacts.column_names}
        tables["contacts"] = pa.concat_tables([contacts, pa.table(row, schema=contacts.schema)])

    scores = case.predictor.score(context(add_stranger), case.model)
    assert scores.filter(pc.not_equal(scores["contact_id"], "zzz-stranger")).equals(case.scores)
    assert_sound(case, scores)


def test_a_model_of_another_goal_or_predictor_is_refused(case: Case) -> None:
    for odd in ({"goal": "renewal"}, {"predictor": "horoscope"}):
        strange = replace(case.model, **odd)
        with pytest.raises(ModelMismatch):
            case.predictor.score(context(), strange)


def test_what_is_given_is_what_the_manifest_declares(case: Case) -> None:
    declared = {p.name: p for p in manifests.properties() if p.predictor == case.predictor.name}
    assert case.scores.column_names == ["contact_id", *case.predictor.properties]
    assert set(case.predictor.properties) == set(declared)
    assert_sound(case, case.scores)


def test_a_model_is_text_and_carries_its_evaluation(case: Case) -> None:
    assert all(isinstance(text, str) for text in case.model.files.values())
    assert json.loads(json.dumps(case.model.meta)) == case.model.meta
    evaluation = case.model.meta["evaluation"]
    assert evaluation["passed"] is (evaluation["reasons"] == [])
    assert case.model.version.startswith(f"{case.predictor.name}-2026-11-01-")


def assert_sound(case: Case, scores: pa.Table) -> None:
    """Sorted, one row per contact, values of the declared kinds and options."""
    ids = scores["contact_id"].to_pylist()
    assert ids == sorted(set(ids))
    for declared in manifests.properties():
        if declared.name not in scores.column_names:
            continue
        values = [value for value in scores[declared.name].to_pylist() if value is not None]
        if declared.type == "number":
            assert all(np.isfinite(value) for value in values)
        else:
            assert all(isinstance(value, str) and value for value in values)
        if declared.options:
            assert set(values) <= {value for value, _ in declared.options}
