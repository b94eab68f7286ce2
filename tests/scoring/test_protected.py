"""Properties that must not decide about people: by name, by label, and because they tell one."""

import json
from typing import Any

import pyarrow as pa
import pytest

from scoring import tables
from scoring.engine import DuckEngine
from scoring.features.build import build
from scoring.features.property_sources import protected, telling
from scoring.features.protected import DEFAULT_TOPICS, TOPICS, topic_of, words
from scoring.goals import Goal
from scoring.predictors.base import Context, Options
from scoring.snapshots import population
from tests.scoring.made_tables import moment

NOW = moment(2025, 11, 1)


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("gender", "gender"),
        ("Contact_Gender__c", "gender"),
        ("genderIdentity", "gender"),
        ("Geschlecht", "gender"),
        ("salutation", "gender"),
        ("What is your ethnic group?", "ethnicity"),
        ("Nationality", "ethnicity"),
        ("race", "ethnicity"),
        ("religion_2", "religion"),
        ("Health status", "health"),
        ("has_disability", "health"),
        ("political-party", "politics"),
        ("Trade union", "trade_union"),
        ("sexual_orientation", "sexual_orientation"),
        ("DNA", "genetics"),
    ],
)
def test_default_topics_are_found_in_whatever_spelling(name: str, topic: str) -> None:
    assert topic_of([name], Options()) == topic


@pytest.mark.parametrize(
    "name",
    [
        *(
            "age",
            "marital",
            "birth_date",
            "account health score",
            "race_result",
            "engagement",
            "usage",
            "page views",
        ),
        *(
            "essex_region",
            "customer_age_days",
            "european union vat",
            "image",
            "message",
            "generation",
            "education",
        ),
        *("Interest in medicine?", "industry", "Lead Source", "Country", "male_products_bought"),
    ],
)
def test_other_properties_are_let_be(name: str) -> None:
    assert topic_of([name], Options()) is None


def test_age_and_marital_status_are_opted_into_and_a_default_topic_can_be_opted_out_of() -> None:
    options = Options(
        protected=frozenset({"age", "Marital status", "shoe size"}), unprotected=frozenset({"gender"})
    )
    found = {
        name: topic_of([name], options) for name in ("Age", "birthdate", "Date of birth", "marital", "Shoe-Size")
    }
    assert found == {
        "Age": "age",
        "birthdate": "age",
        "Date of birth": "age",
        "marital": "marital_status",
        "Shoe-Size": "shoe_size",
    }
    assert topic_of(["gender"], options) is None
    assert topic_of(["engagement"], options) is None
    assert {"age", "marital_status"}.isdisjoint(DEFAULT_TOPICS)
    assert set(TOPICS) >= {*DEFAULT_TOPICS, "age", "marital_status"}


def test_names_are_read_as_words() -> None:
    assert words("BirthDate__c") == words("birth_date") == words("Birth date:") == ("birth", "date")


#: property, label, values for an even and for an odd contact
COLUMNS: dict[str, tuple[str, tuple[str, str]]] = {
    "attr_17": ("Gender of the contact", ("w", "m")),
    "title": ("Title", ("Ms", "Mr")),
    "plan": ("Plan", ("pro", "pro")),
    "age": ("Age", ("18-30", "31-60")),
}


def people(rows: int = 300, **options: Any) -> Context:
    contacts = [
        {"contact_id": f"c{n:03}", "p_outcome": "yes" if n % 3 else "no"}
        | {f"p_{name}": values[n % 2] for name, (_, values) in COLUMNS.items()}
        | {"p_plan": ("free", "pro", "team")[n % 3], "p_age": ("18-30", "31-60", "61+")[n * 7 // 5 % 3]}
        for n in range(rows)
    ]
    for n in (4, 40, 80):
        contacts[n]["p_title"] = "Dr"
    schema = tables.schema("contacts")
    for name in ("outcome", *COLUMNS):
        schema = schema.append(pa.field(f"p_{name}", pa.string()))
    definitions = [
        {"object": "contact", "property": name, "column_name": f"p_{name}", "label": label, "type": "category"}
        for name, (label, _) in COLUMNS.items()
    ]
    engine = DuckEngine.in_memory(
        {
            "contacts": pa.Table.from_pylist(contacts, schema=schema),
            "property_definitions": tables.from_rows("property_definitions", definitions),
        }
    )
    return Context(engine, NOW, Goal(column="outcome", equals="yes"), Options(**options))


def features(context: Context) -> set[str | None]:
    population(context, "pairs")
    return {one.property for one in build(context, "pairs", "found")}


def test_neither_a_protected_property_nor_what_tells_it_is_a_feature() -> None:
    context = people()
    assert features(context) == {"plan", "age"}
    assert {source.property: topic for source, topic in protected(context).items()} == {"attr_17": "gender"}
    [proxy] = [one.to_json() for one in telling(context).values()]
    assert proxy == {"property": "title", "tells": "attr_17", "certainty": 1.0}
    json.dumps(proxy)


def test_a_trusted_proxy_is_used_and_protected_words_are_not() -> None:
    assert features(people(trusted=frozenset({"title"}))) == {"plan", "age", "title"}
    assert features(people(protected=frozenset({"age"}))) == {"plan"}
    assert features(people(unprotected=frozenset({"gender"}))) == {"plan", "age", "title", "attr_17"}


def test_with_few_contacts_nothing_is_called_a_proxy() -> None:
    assert telling(people(rows=90)) == {}
    assert len(telling(people(rows=120))) == 1
