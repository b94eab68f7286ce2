"""Every feature against a second, dumber computation, and as a sentence that a marketer would read."""

import json
import math
import re
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from scoring.engine import DuckEngine
from scoring.features.build import OTHER, build, left_out
from scoring.features.property_sources import usable
from scoring.features.sql import Feature, spoken
from scoring.goals import Goal
from scoring.predictors.base import Context, Options
from tests.scoring.feature_oracle import Oracle
from tests.scoring.made_tables import BEFORE, NOW, PROPERTIES, TITLES, engine_over, made, moment

IN_TIME = Goal(event="purchase", horizon_days=30)
STATIC = Goal(column="field__c", equals="x")
TITLE_PARTS = ("seniority", "department")


def context_over(rows: dict[str, Any], goal: Goal, **options: Any) -> Context:
    return Context(engine_over(rows), NOW, goal, Options(**options))


def pair_up(engine: DuckEngine, *instants: datetime) -> None:
    """The table `pairs`: every contact at every instant."""
    union = " union all ".join(f"select timestamp '{at}' as as_of" for at in instants)
    engine.run(
        f"create or replace temp table pairs as select contact_id, as_of from contacts cross join ({union}) i"
    )


def same(value: Any, wanted: Any) -> bool:
    if value is None or wanted is None or isinstance(value, str):
        return bool(value == wanted)
    return math.isclose(value, wanted, rel_tol=1e-12, abs_tol=1e-9)


def assert_equal(table: pa.Table, wanted: dict[tuple[str, datetime], dict[str, Any]], names: set[str]) -> None:
    assert table.num_rows == len(wanted)
    wrong = []
    for row in table.to_pylist():
        expected = wanted[row["contact_id"], row["as_of"]]
        wrong += [
            (row["contact_id"], row["as_of"], name, row[name], expected[name])
            for name in sorted(names)
            if not same(row[name], expected[name])
        ]
    assert wrong == []


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("goal", [IN_TIME, STATIC], ids=["in_time", "static"])
def test_computed_features_equal_the_oracle(seed: int, goal: Goal) -> None:
    rows = made(seed)
    context = context_over(rows, goal, timezone="Asia/Tokyo")
    pair_up(context.engine, NOW, BEFORE)
    features = build(context, "pairs", "made_features")
    oracle = Oracle(rows, "Asia/Tokyo", in_time=goal.in_time)
    wanted = {}
    for contact in rows["contacts"]:
        for as_of in (NOW, BEFORE):
            key = contact["contact_id"], as_of
            wanted[key] = {
                **oracle.behaviour(*key),
                **oracle.purchases(*key),
                **oracle.deals(*key),
                **oracle.company(*key),
            }
    computed = {feature.name for feature in features if feature.property is None}
    everything = set(wanted["c00", NOW])
    never_varies = {name for name in everything if len({row[name] for row in wanted.values()}) == 1}
    assert computed == everything - never_varies
    assert len(never_varies) <= 3
    assert_equal(context.engine.fetch("select * from made_features"), wanted, computed)


def properties_at(oracle: Oracle, contact: dict[str, Any], as_of: datetime, *, in_time: bool) -> dict[str, Any]:
    """Each property's features, from its history in time and from the record else."""

    def known(name: str) -> Any:
        if in_time and not PROPERTIES[name][2]:
            return oracle.then("contact", contact["contact_id"], (name,), as_of)
        return contact[f"p_{name}"]

    def text(name: str) -> str | None:
        value = known(name)
        return None if value is None or not str(value).strip() else str(value).strip()

    first_seen = contact["p_first_seen"]
    if in_time and first_seen is not None and first_seen > as_of:
        first_seen = None
    chosen = text("topics")
    company = oracle.companies.get(contact["company_id"], {})
    out = {
        "p_budget": oracle.number(text("budget")),
        "p_plan": text("plan"),
        "p_renewal": oracle.age(known("renewal") if not in_time else text("renewal"), as_of),
        "p_vip": oracle.truth(text("vip")),
        "p_topics@number": None if chosen is None else chosen.count(";") + 1,
        "p_source": contact["p_source"],
        "p_first_seen": oracle.age(first_seen, as_of),
        "email@kind": oracle.mail_kind(contact["email"]),
    }
    seniority, department = TITLES[known("jobtitle")]
    out |= {"p_jobtitle@seniority": seniority, "p_jobtitle@department": department}
    out |= {"p_jobtitle@filled": float(text("jobtitle") is not None)}
    for member in "ab":
        holds = chosen is not None and f";{member};" in f";{chosen};"
        out[f"has {member}"] = None if chosen is None else float(holds)
    if in_time:
        out["lifecycle_stage"] = oracle.then("contact", contact["contact_id"], ("lifecyclestage",), as_of)
        employees = oracle.then("company", contact["company_id"], ("numberofemployees",), as_of)
        out["company_employees"] = oracle.number(employees)
    else:
        out |= {"country": contact["country"], "lifecycle_stage": contact["lifecycle_stage"]}
        out |= {"p_notes@filled": float(text("notes") is not None), "company_industry": company.get("industry")}
        out |= {"company_employees": company.get("employees"), "company_country": company.get("country")}
        out |= {"company_annual_revenue": company.get("annual_revenue")}
    return out


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("goal", [IN_TIME, STATIC], ids=["in_time", "static"])
def test_property_features_equal_the_oracle(seed: int, goal: Goal) -> None:
    rows = made(seed)
    context = context_over(rows, goal)
    pair_up(context.engine, NOW, BEFORE)
    features = build(context, "pairs", "made_features")
    oracle = Oracle(rows, in_time=goal.in_time)
    wanted = {
        (contact["contact_id"], as_of): properties_at(oracle, contact, as_of, in_time=goal.in_time)
        for contact in rows["contacts"]
        for as_of in (NOW, BEFORE)
    }
    members = {
        feature.name: f"has {feature.levels[0]}"
        for feature in features
        if feature.name.startswith("p_topics@has") and feature.levels[0] in ("a", "b")
    }
    assert set(members.values()) == {"has a", "has b"}
    table = context.engine.fetch("select * from made_features")
    table = table.rename_columns([members.get(name, name) for name in table.column_names])
    capped = {"p_town", "p_field__c"}
    found = {members.get(f.name, f.name) for f in features if f.property is not None} - capped
    other_members = {name for name in found if "@has_" in name}
    assert found - other_members == set(next(iter(wanted.values())))
    assert_equal(table, wanted, found - other_members)


def test_rare_categories_become_one() -> None:
    rows = made(4, contacts=400)
    context = context_over(rows, STATIC)
    pair_up(context.engine, NOW)
    (town,) = (f for f in build(context, "pairs", "made_features") if f.name == "p_town")
    towns = [contact["p_town"] for contact in rows["contacts"]]
    frequent = sorted(set(towns), key=lambda name: (-towns.count(name), name))[:50]
    assert town.levels == tuple(frequent)
    assert len(set(towns)) > 50
    got = context.engine.fetch("select contact_id, p_town from made_features").to_pylist()
    wanted = {c["contact_id"]: c["p_town"] if c["p_town"] in frequent else OTHER for c in rows["contacts"]}
    assert {row["contact_id"]: row["p_town"] for row in got} == wanted


def test_nearly_unique_texts_are_only_filled_or_not() -> None:
    rows = made(5, contacts=30)
    rows["contacts"] = [
        {**rows["contacts"][n % 30], "contact_id": f"c{n}", "p_town": f"place {n}" if n % 2 else None}
        for n in range(400)
    ]
    context = context_over(rows, STATIC)
    pair_up(context.engine, NOW)
    names = {feature.name for feature in build(context, "pairs", "made_features")}
    assert "p_town@filled" in names
    assert "p_town" not in names


def test_what_must_never_be_a_feature() -> None:
    rows = made(1)
    context = context_over(rows, STATIC, excluded=frozenset({"budget", "industry", "company.country"}))
    pair_up(context.engine, NOW)
    used = {feature.property for feature in build(context, "pairs", "made_features")}
    assert used.isdisjoint({"field__c", "leadlight_score", "hs_object_id", "budget", "company.country"})
    assert {"plan", "vip", "country", "company.employees"} <= used


def test_a_blank_label_counts_as_none() -> None:
    """Of a property its name is said, of an option its value: never "Plan is " and nothing."""
    context = context_over(made(1), IN_TIME)
    options = json.dumps([{"value": "basic", "label": " "}, {"value": "pro", "label": "Professional"}])
    context.engine.run(
        f"update property_definitions set label = ' ', options = '{options}' where property = 'plan'"
    )
    (plan,) = [source for source in usable(context) if source.property == "plan"]
    assert plan.label == "Plan"
    assert plan.options == (("pro", "Professional"),)


def test_values_unknown_at_a_past_instant_are_left_out_and_named() -> None:
    context = context_over(made(1), IN_TIME)
    pair_up(context.engine, NOW, BEFORE)
    used = {feature.property for feature in build(context, "pairs", "made_features")}
    assert used.isdisjoint({"town", "notes", "field__c", "country", "company.industry"})
    assert {"Town label", "Notes label", "Country", "Company industry"} <= set(left_out(context, "pairs"))


def test_history_that_starts_after_the_first_instant_is_no_history() -> None:
    rows = made(1)
    early = moment(2024, 2, 1)
    rows["property_history"] = [h for h in rows["property_history"] if h["changed_at"] > early]
    context = context_over(rows, IN_TIME)
    pair_up(context.engine, NOW, early)
    assert "p_budget" not in {feature.name for feature in build(context, "pairs", "made_features")}


def test_an_amount_of_today_does_not_enter_a_past_snapshot() -> None:
    rows = made(1)
    rows["property_history"] = []
    context = context_over(rows, IN_TIME)
    pair_up(context.engine, NOW, BEFORE)
    names = {feature.name for feature in build(context, "pairs", "made_features")}
    assert "open_deals" in names
    assert "open_deal_amount" not in names


@pytest.mark.parametrize("goal", [IN_TIME, STATIC], ids=["in_time", "static"])
def test_stored_features_give_the_same_columns_on_other_pairs(goal: Goal) -> None:
    rows = made(2)
    context = context_over(rows, goal)
    pair_up(context.engine, NOW, BEFORE)
    features = build(context, "pairs", "training")
    stored = tuple(Feature.from_json(json.loads(json.dumps(feature.to_json()))) for feature in features)
    assert stored == features
    context.engine.run("create temp table few as select contact_id, as_of from pairs where contact_id < 'c03'")
    assert build(context, "few", "scoring", stored) == features
    query = "select * from {} where contact_id < 'c03' order by contact_id, as_of"
    assert context.engine.fetch(query.format("scoring")).equals(context.engine.fetch(query.format("training")))


def test_stored_features_whose_data_are_gone_are_null() -> None:
    rows = made(2)
    context = context_over(rows, STATIC)
    pair_up(context.engine, NOW)
    retired = Feature("retired_90d", "number", "retired", None, "Retired", "count", "retired {value}", None)
    features = (*build(context, "pairs", "training"), retired)
    bare = {"contacts": [{k: v for k, v in c.items() if not k.startswith("p_")} for c in rows["contacts"]]}
    poorer = Context(engine_over(bare), NOW, Goal(column="country", equals="DE"))
    pair_up(poorer.engine, NOW)
    build(poorer, "pairs", "scoring", features)
    table = poorer.engine.fetch("select * from scoring")
    assert table.column_names == ["contact_id", "as_of", *(feature.name for feature in features)]
    for feature in features:
        kind = pa.float64() if feature.kind == "number" else pa.string()
        assert table.schema.field(feature.name).type == kind
        if feature.name.startswith(("p_", "retired")):
            assert table[feature.name].null_count == table.num_rows
    assert set(table["views_30d"].to_pylist()) == {0.0}


def test_nothing_at_or_after_the_instant_changes_a_feature() -> None:
    rows = made(3)
    context = context_over(rows, IN_TIME)
    pair_up(context.engine, BEFORE)
    features = build(context, "pairs", "features_now")
    past = {
        **rows,
        "events": [e for e in rows["events"] if e["occurred_at"] < BEFORE],
        "purchases": [p for p in rows["purchases"] if p["purchased_at"] < BEFORE],
        "property_history": [h for h in rows["property_history"] if h["changed_at"] <= BEFORE],
        "deals": [
            {**d, "is_closed": False, "is_won": False, "closed_at": None}
            if d["closed_at"] is not None and d["closed_at"] >= BEFORE
            else d
            for d in rows["deals"]
            if d["created_at"] < BEFORE
        ],
    }
    then = context_over(past, IN_TIME)
    pair_up(then.engine, BEFORE)
    build(then, "pairs", "features_then", features)
    query = "select * from {} order by contact_id"
    assert then.engine.fetch(query.format("features_then")).equals(
        context.engine.fetch(query.format("features_now"))
    )


def test_order_of_rows_does_not_matter() -> None:
    rows = made(2)
    turned = {name: list(reversed(table)) for name, table in rows.items()}
    tables = []
    for given in (rows, turned):
        context = context_over(given, IN_TIME)
        pair_up(context.engine, NOW, BEFORE)
        features = build(context, "pairs", "made_features")
        tables.append((features, context.engine.fetch("select * from made_features")))
    assert tables[0][0] == tables[1][0]
    assert tables[0][1].equals(tables[1][1])


def test_no_constant_column_is_kept() -> None:
    context = context_over(made(1), STATIC)
    pair_up(context.engine, NOW)
    features = build(context, "pairs", "made_features")
    table = context.engine.fetch("select * from made_features")
    for feature in features:
        assert len(table[feature.name].unique()) > 1, feature.name
    context.engine.run("create or replace temp table nobody as select * from pairs where false")
    assert build(context, "nobody", "none") == ()
    assert context.engine.fetch("select * from none").column_names == ["contact_id", "as_of"]


def all_features() -> list[Feature]:
    found: dict[str, Feature] = {}
    for goal in (IN_TIME, STATIC):
        context = context_over(made(1, contacts=80), goal)
        pair_up(context.engine, NOW, BEFORE)
        found |= {feature.name: feature for feature in build(context, "pairs", "made_features")}
    return list(found.values())


def test_every_feature_is_a_human_sentence_with_its_value() -> None:
    features = all_features()
    assert len(features) > 100
    assert len({feature.name for feature in features}) == len(features)
    for feature in features:
        value = "Some Words" if feature.kind == "category" else 4.0 if feature.unit != "share" else 0.4
        sentence = feature.sentence(value)
        assert sentence is not None, feature
        said = "Some Words" if isinstance(value, str) else spoken(value, feature.unit)
        assert said in sentence
        for text in (sentence, feature.phrase_none or "", feature.label, feature.group):
            assert "_" not in text, feature
            assert "{" not in text, feature
            assert "@" not in text, feature
        assert len(sentence.split()) >= 2
        assert feature.sentence(None) is None
        assert feature.sentence(math.nan) is None
        if feature.property is not None and feature.name.startswith("p_"):
            told = (
                feature.property.split("_")[0],
                "seniority, from the job title",
                "department, from the job title",
            )
            assert feature.label.lower().startswith(told) or "plan" in feature.label


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (1, "count", "once"),
        (4, "count", "4 times"),
        (12, "days", "12 days ago"),
        (1, "days", "1 day ago"),
        (0, "days", "today"),
        (-3, "days", "in 3 days"),
        (0.354, "share", "35%"),
        (0.004, "share", "0.4%"),
        (1234.4, "money", "1,234"),
        (12345.0, "number", "12,345"),
        (2.5, "number", "2.5"),
        (0.32291, "number", "0.323"),
        (1998.0, "number", "1998"),
        (1, "flag", "yes"),
        (0, "flag", "no"),
    ],
)
def test_values_are_spoken_with_their_unit(value: float, unit: Any, words: str) -> None:
    assert spoken(value, unit) == words


def test_zero_is_said_in_words_of_its_own() -> None:
    visits = Feature(
        "pricing_7d", "number", "pricing page visits", None, "Visits", "count", "visited {value}", "no visit"
    )
    assert visits.sentence(0.0) == "no visit"
    assert visits.sentence(0.3) == "no visit"
    assert visits.sentence(0.7) == "visited once"
    budget = Feature(
        "p_budget", "number", "Budget", "budget", "Budget", "number", "Budget is {value}", "not known"
    )
    assert budget.sentence(0.0) == "Budget is 0"
    options = (("pro", "Professional"),)
    plan = Feature("p_plan", "category", "Plan", "plan", "Plan", "text", "Plan is {value}", None, (), options)
    assert plan.sentence("pro") == "Plan is Professional"
    assert re.fullmatch("Plan is free trial", plan.sentence("free_trial") or "")


def test_local_hours_follow_daylight_saving() -> None:
    """The same hour of UTC is a working hour in Berlin in winter only, in New York in summer only."""
    rows = made(1, contacts=3)
    base = {"kind": "page_view", "human": 1.0, "url": None, "utc_offset_min": None}
    rows["contacts"][0] |= {"timezone": "Europe/Berlin", "deleted_at": None}
    rows["contacts"][1] |= {"timezone": "America/New_York", "deleted_at": None}
    rows["contacts"][2] |= {"timezone": None, "deleted_at": None}
    winter, summer = moment(2025, 1, 15), moment(2025, 7, 16)
    rows["events"] = [
        {**base, "event_id": f"{who}{day}{at}", "contact_id": who, "occurred_at": day + timedelta(hours=at)}
        for who, at in (("c00", 16.5), ("c01", 13.5), ("c02", 13.5))
        for day in (winter, summer)
    ]
    context = context_over(rows, STATIC)
    pair_up(context.engine, NOW)
    build(context, "pairs", "made_features")
    shares = context.engine.fetch("select working_hours_share as s from made_features order by contact_id")["s"]
    # Berlin: 17:30 and 18:30. New York: 8:30 and 9:30. UTC: 13:30 twice.
    assert shares.to_pylist() == [0.5, 0.5, 1.0]
