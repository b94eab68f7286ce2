"""Who may be looked at: objections, opt-in, and the user's filters for training and for writing."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from scoring import eligibility, tables
from scoring.eligibility import Consent, Filter
from scoring.engine import DuckEngine
from scoring.errors import UsageError
from scoring.features.build import build
from scoring.goals import Goal
from scoring.predictors import PREDICTORS
from scoring.predictors.base import Context, Model, Options, Predictor
from scoring.snapshots import eligible, labelled, population
from scoring.synthetic import market as synthetic
from tests.scoring.made_tables import Rows, engine_over, moment

NOW = moment(2025, 11, 1)
MARKET_NOW = moment(2026, 11, 1)
GOAL = Goal(column="plan", equals="pro")
PROPERTY = Consent(property="consent_to_profiling", denied=("No", "revoked"), granted=("yes",))


def contact(contact_id: str, **more: Any) -> dict[str, Any]:
    return {"contact_id": contact_id, "created_at": moment(2024, 1, 1), "p_plan": "free", **more}


def consent(contact_id: str, status: str, purpose: str = "profiling") -> dict[str, Any]:
    return {"contact_id": contact_id, "channel": "email", "purpose": purpose, "status": status}


def context(rows: dict[str, Rows], goal: Goal = GOAL, **options: Any) -> Context:
    return Context(engine_over(rows), NOW, goal, Options(**options))


def ids(here: Context, make: Callable[..., Any], **named: Any) -> set[str]:
    make(here, "found", **named)
    return set(here.engine.fetch("select contact_id from found")["contact_id"].to_pylist())


def everywhere(here: Context) -> set[str]:
    """Contacts of the training rows, of the scored, and of both populations, which must agree."""
    found = [ids(here, labelled), ids(here, eligible), ids(here, population), ids(here, population, training=True)]
    assert all(one == found[0] for one in found), found
    return found[0]


def with_property(values: dict[str, str | None]) -> Context:
    """A canonical engine whose contacts have p_consent_to_profiling besides."""
    schema = tables.schema("contacts").append(pa.field("p_plan", pa.string()))
    schema = schema.append(pa.field("p_consent_to_profiling", pa.string()))
    rows = [contact(key, p_consent_to_profiling=value) for key, value in values.items()]
    engine = DuckEngine.in_memory({"contacts": pa.Table.from_pylist(rows, schema=schema)})
    return Context(engine, NOW, GOAL, Options(consent=PROPERTY))


def test_a_property_says_who_objected_whatever_its_case() -> None:
    here = with_property({"a": "no", "b": "NO", "c": "yes", "d": None, "e": " Revoked ", "f": "nobody"})
    assert everywhere(here) == {"c", "d", "f"}


def test_opt_in_takes_only_who_granted() -> None:
    here = with_property({"a": "no", "b": "yes", "c": None, "d": "perhaps"})
    opt_in = Context(here.engine, NOW, GOAL, Options(consent=Consent(True, *_fields(PROPERTY))))
    assert everywhere(opt_in) == {"b"}
    assert eligibility.coverage(here.engine, opt_in.options.consent) == {"contacts": 4, "not_profiled": 3}
    assert eligibility.coverage(here.engine, PROPERTY) == {"contacts": 4, "not_profiled": 1}


def _fields(one: Consent) -> tuple[Any, ...]:
    return one.property, one.denied, one.granted


def test_opt_in_by_the_platforms_own_consents() -> None:
    rows = {"contacts": [contact(key) for key in "abcd"]}
    rows["consents"] = [
        consent("a", "granted"),
        consent("b", "denied"),
        consent("c", "granted", purpose="marketing"),
        consent("d", "unknown"),
    ]
    assert everywhere(context(rows, consent=Consent(opt_in=True))) == {"a"}
    assert everywhere(context(rows)) == {"a", "c", "d"}


def test_an_objection_is_the_persons_and_holds_for_all_contacts_of_that_person() -> None:
    rows = {"contacts": [contact(key) for key in "abc"], "consents": [consent("a", "denied")]}
    rows["identities"] = [{"person_id": "p1", "contact_id": "a"}, {"person_id": "p1", "contact_id": "b"}]
    assert everywhere(context(rows)) == {"c"}


def test_a_property_that_is_not_there_is_named() -> None:
    rows = {"contacts": [contact("a")]}
    with pytest.raises(UsageError, match=r"\[consent\] profiling_property names 'nowhere'"):
        population(context(rows, consent=Consent(property="nowhere", denied=("no",))))
    with pytest.raises(UsageError, match="names 'nowhere'"):
        population(context(rows, write=Filter({"nowhere": ("x",)})))


@pytest.mark.parametrize(
    ("values", "heard", "held"), [((0.0, 1.0), "0", "numbers"), ((False, True), "False", "true or false")]
)
def test_a_no_that_could_never_be_heard_is_named(values: tuple[Any, Any], heard: str, held: str) -> None:
    schema = tables.schema("contacts").append(pa.field("p_plan", pa.string()))
    schema = schema.append(pa.field("p_may", pa.array(values).type))
    rows = [contact(key, p_may=value) for key, value in zip("ab", values, strict=True)]
    engine = DuckEngine.in_memory({"contacts": pa.Table.from_pylist(rows, schema=schema)})
    with pytest.raises(UsageError, match=rf"denied_values has 'no'.*'may': it holds {held}"):
        population(Context(engine, NOW, GOAL, Options(consent=Consent(property="may", denied=("no",)))))
    with pytest.raises(UsageError, match=rf"A filter .*exclude.* has 'no'.*'may': it holds {held}"):
        population(Context(engine, NOW, GOAL, Options(write=Filter({}, {"may": (heard, "no")}))))
    spelt = Consent(property="may", denied=(heard,))
    assert everywhere(Context(engine, NOW, GOAL, Options(consent=spelt))) == {"b"}


PEOPLE = [
    contact("a", lifecycle_stage="lead", owner_id="7", email="ann@Example.com", country="DE", p_budget=5.0),
    contact(
        "b", lifecycle_stage="Customer", owner_id="8", email="bob@sub.example.com", country="FR", p_budget=7.5
    ),
    contact("c", lifecycle_stage="lead", owner_id=None, email=None, country=None, p_budget=None, p_topics="x;y"),
    contact("d", lifecycle_stage=None, owner_id="7", email="dora@other.com", country="de", p_topics="xy"),
]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Filter({"lifecycle_stage": ("LEAD",)}), "ac"),
        (Filter({}, {"lifecycle_stage": ("lead",)}), "bd"),
        (Filter({"owner": ("7", "9")}), "ad"),
        (Filter({}, {"owner": ("7",)}), "bc"),
        (Filter({"email_domain": ("example.com",)}), "a"),
        (Filter({}, {"email_domain": ("@example.com", "other.com")}), "bc"),
        (Filter({"country": ("de",)}, {"lifecycle_stage": ("lead",)}), "d"),
        (Filter({"budget": ("5", "7.50")}), "ab"),
        (Filter({"topics": ("x",)}), "c"),
        (Filter({"budget": ("lots",)}), ""),
        (Filter(), "abcd"),
    ],
)
def test_filters_choose_by_every_kind_of_field(chosen: Filter, found: str) -> None:
    people = [{"p_budget": None, "p_topics": None, **row} for row in PEOPLE]
    rows: dict[str, Rows] = {"contacts": people}
    assert ids(context(rows, write=chosen), population) == set(found)
    assert ids(context(rows, write=chosen), eligible) == set(found)
    assert ids(context(rows, train=chosen), population, training=True) == set(found)
    assert ids(context(rows, train=chosen), labelled) == set(found)


def test_training_and_writing_are_chosen_apart() -> None:
    rows: dict[str, Rows] = {"contacts": [{"p_budget": None, "p_topics": None, **row} for row in PEOPLE]}
    here = context(rows, train=Filter({"owner": ("7",)}), write=Filter({"owner": ("8",)}))
    assert ids(here, labelled) == ids(here, population, training=True) == {"a", "d"}
    assert ids(here, eligible) == ids(here, population) == {"b"}


def test_a_training_filter_is_judged_by_what_stood_at_the_instant() -> None:
    """By the present stage, `include lead` would leave out everyone who was won: exactly the positives."""
    days = timedelta(days=1)
    contacts = [contact(f"c{n:03}", lifecycle_stage="customer" if n < 20 else "lead") for n in range(120)]
    rows: dict[str, Rows] = {"contacts": contacts}
    rows["purchases"] = [_bought(f"c{n:03}", NOW - 10 * days) for n in range(20)]
    rows["purchases"].append(_bought("stranger", moment(2024, 1, 2)))
    rows["property_history"] = [
        _stage(f"c{n:03}", stage, at)
        for n in range(20)
        for stage, at in (("lead", moment(2024, 1, 1)), ("customer", NOW - 9 * days))
    ]
    rows["property_history"].append(_stage("c100", "subscriber", moment(2024, 1, 1)))
    goal = Goal(event="purchase", horizon_days=30)
    here = context(rows, goal, train=Filter({"lifecycle_stage": ("lead",)}))
    snapshot = labelled(here)
    assert snapshot.positives == 20
    last = here.engine.fetch("select contact_id from labelled where as_of = (select max(as_of) from labelled)")
    # c100 was something else then; whoever has no history is judged by the present.
    assert set(last["contact_id"].to_pylist()) == {row["contact_id"] for row in contacts} - {"c100"}


def _bought(contact_id: str, at: datetime) -> dict[str, Any]:
    return {"purchase_id": f"{contact_id}{at}", "contact_id": contact_id, "purchased_at": at, "amount": 1.0}


def _stage(contact_id: str, stage: str, at: datetime) -> dict[str, Any]:
    names = {"object": "contact", "object_id": contact_id, "property": "lifecyclestage"}
    return {**names, "value": stage, "changed_at": at}


def test_what_an_objector_does_is_no_feature_of_colleagues() -> None:
    rows: dict[str, Rows] = {"contacts": [contact(key, company_id="m") for key in "abc"]}
    click = {"occurred_at": NOW - timedelta(days=2), "kind": "email_click", "human": 1.0}
    rows["events"] = [{"event_id": key, "contact_id": key, **click} for key in "bc"]
    rows["consents"] = [consent("c", "denied")]
    here = context(rows)
    population(here, "pairs")
    features = build(here, "pairs", "found")
    names = [one.name for one in features]
    seen = here.engine.fetch("select * from found order by contact_id").to_pylist()
    rows["consents"] = []
    rows["contacts"], rows["events"] = rows["contacts"][:2], rows["events"][:1]
    alone = context(rows)
    population(alone, "pairs")
    assert [one.name for one in build(alone, "pairs", "found")] == names
    assert alone.engine.fetch("select * from found order by contact_id").to_pylist() == seen


@pytest.fixture(scope="module")
def markets() -> tuple[DuckEngine, DuckEngine, set[str]]:
    """A market in which every sixth contact objects, and the same without these contacts."""
    whole = dict(synthetic.market(240, 5, MARKET_NOW).tables)
    stances = whole["consents"]
    whole["consents"] = stances.filter(pc.not_equal(stances["purpose"], "profiling"))
    out = whole["contacts"]["contact_id"].to_pylist()[::6]
    denied = tables.from_rows("consents", [consent(key, "denied") for key in out])
    objecting = {**whole, "consents": pa.concat_tables([whole["consents"], denied])}
    gone = pa.array(out)
    absent = {
        name: table.filter(pc.invert(pc.is_in(table["contact_id"], value_set=gone)))
        if "contact_id" in table.column_names
        else table
        for name, table in whole.items()
    }
    return DuckEngine.in_memory(objecting), DuckEngine.in_memory(absent), set(out)


@pytest.mark.parametrize("predictor", PREDICTORS, ids=lambda predictor: predictor.name)
def test_objectors_teach_nothing_and_get_no_value(
    markets: tuple[DuckEngine, DuckEngine, set[str]], predictor: Predictor
) -> None:
    objecting, absent, out = markets
    here, without = (Context(engine, MARKET_NOW, Goal(event="deal_won")) for engine in (objecting, absent))
    model: Model = predictor.train(here)
    assert model.files == predictor.train(without).files
    scored = set(predictor.score(here, model)["contact_id"].to_pylist())
    assert len(out) == 40
    assert not scored & out
    labelled(here, "rows_to_train_on")
    [(rows, objectors)] = objecting.connection.execute(
        "select count(*), count(c.contact_id) from rows_to_train_on r left join ("
        "select contact_id from consents where purpose = 'profiling' and status = 'denied') c using (contact_id)"
    ).fetchall()
    assert rows > 200
    assert objectors == 0


def member(list_id: str, contact_id: str, added_at: datetime | None) -> dict[str, Any]:
    return {"list_id": list_id, "contact_id": contact_id, "added_at": added_at}


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Filter({"list": ("42",)}), "ab"),
        (Filter({}, {"list": ("42",)}), "cd"),
        (Filter({"list": ("42", "7")}, {"owner": ("7",)}), "bc"),
        (Filter({"list": ("4",)}), ""),
    ],
)
def test_filters_choose_by_list(chosen: Filter, found: str) -> None:
    rows: dict[str, Rows] = {"contacts": [{"p_budget": None, "p_topics": None, **row} for row in PEOPLE]}
    rows["list_members"] = [member("42", "a", NOW - timedelta(days=1)), member("42", "b", None)]
    rows["list_members"] += [member("7", "c", None), member("7", "b", None)]
    assert ids(context(rows, write=chosen), eligible) == set(found)
    assert ids(context(rows, train=chosen), population, training=True) == set(found)


def test_who_came_to_a_list_later_was_not_on_it_at_the_instant() -> None:
    rows: dict[str, Rows] = {"contacts": [contact("a"), contact("b"), contact("c")]}
    rows["list_members"] = [member("42", "a", NOW), member("42", "b", NOW - timedelta(days=20))]
    engine = context(rows).engine
    engine.run(
        "create temp table pairs as select contact_id, cast(t as timestamp) as as_of from contacts, "
        f"(values ('{NOW - timedelta(days=10)}'), ('{NOW}')) v(t)"
    )
    eligibility.at_instants(engine, Filter({"list": ("42",)}), "pairs", "those")
    found = engine.fetch("select contact_id, as_of from those order by 1, 2").to_pylist()
    assert [(row["contact_id"], row["as_of"]) for row in found] == [
        ("a", NOW),
        ("b", NOW - timedelta(days=10)),
        ("b", NOW),
    ]
