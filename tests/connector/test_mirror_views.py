import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connector.mirror import Mirror
from scoring.tables import TABLES
from tests.connector.mirrored import DAY, T0, commit, contact, definition, fetch, opened

SECOND = timedelta(seconds=1)
NOON = T0.replace(microsecond=0)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with opened(tmp_path) as opened_mirror:
        yield opened_mirror


def test_every_canonical_table_is_readable_under_its_name(mirror: Mirror) -> None:
    engine = mirror.engine()
    for table, columns in TABLES.items():
        assert engine.columns(table) == {column.name: column.type for column in columns}
        assert engine.fetch(f"select * from {table}").num_rows == 0


def test_times_are_whole_seconds(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1")], events=[{"event_id": "e", "contact_id": "1", "occurred_at": T0}])
    engine = mirror.engine()
    assert engine.fetch("select updated_at from contacts").to_pylist() == [{"updated_at": NOON}]
    assert engine.fetch("select occurred_at from events").to_pylist() == [{"occurred_at": NOON}]


def test_properties_are_typed_by_their_definitions(mirror: Mirror) -> None:
    kinds = {"n": "number", "d": "date", "b": "boolean", "m": "multi", "t": "text", "c": "category"}
    good = {"n": "1.50", "d": "2024-05-06T07:08:09.9Z", "b": "true", "m": "a;b", "t": "x", "c": "y", "other": "z"}
    odd = {"n": "a lot", "d": "soon", "b": "maybe", "t": 'O\'Neil "q"'}
    commit(
        mirror,
        property_definitions=[definition(name, kind) for name, kind in kinds.items()],
        contacts=[
            contact("1", good),
            contact("2", odd),
            contact("3", {"n": "nan", "d": "1714979289000"}),
            contact("4", {"n": "1e999", "d": "2024-05-06T09:08:09+02:00"}),
            contact("5", {"d": "2024-05-06"}),
        ],
    )
    engine = mirror.engine()
    types = {name: kind for name, kind in engine.columns("contacts").items() if name.startswith("p_")}
    assert types == {
        "p_b": "BOOLEAN",
        "p_c": "VARCHAR",
        "p_d": "TIMESTAMP",
        "p_m": "VARCHAR",
        "p_n": "DOUBLE",
        "p_t": "VARCHAR",
    }
    found = engine.fetch("select p_n, p_d, p_b, p_m, p_t, p_c from contacts order by contact_id").to_pylist()
    at = datetime.fromisoformat("2024-05-06T07:08:09")
    assert [tuple(row.values()) for row in found] == [
        (1.5, at, True, "a;b", "x", "y"),
        (None, None, None, None, 'O\'Neil "q"', None),
        (None, at, None, None, None, None),
        (None, at, None, None, None, None),
        (None, datetime.fromisoformat("2024-05-06"), None, None, None, None),
    ]


def test_the_goals_column_stays_the_text_that_it_is(mirror: Mirror) -> None:
    commit(mirror, property_definitions=[definition("y", "boolean")], contacts=[contact("1", {"y": "TRUE"})])
    assert mirror.engine().fetch("select p_y from contacts").to_pylist() == [{"p_y": True}]
    assert mirror.engine(text_columns=["y"]).fetch("select p_y from contacts").to_pylist() == [{"p_y": "TRUE"}]
    assert mirror.engine().fetch("select p_y from contacts").to_pylist() == [{"p_y": True}]


def test_names_that_differ_by_spelling_only_get_columns_of_their_own(mirror: Mirror) -> None:
    names = ["emp.var", "emp_var", "Emp_Var", "odd\"na'me\\"]
    properties = {name: f"value of {name}" for name in names}
    columns = ["p_emp_var", "p_emp_var", "p_Emp_Var", "p_odd_name"]
    commit(
        mirror,
        property_definitions=[definition(*it) for it in zip(names, ["text"] * 4, columns, strict=True)],
        contacts=[contact("1", properties)],
    )
    named = dict(fetch(mirror, "select property, column_name from property_definitions"))
    assert len({column.lower() for column in named.values()}) == 4
    row = mirror.engine().fetch("select * from contacts").to_pylist()[0]
    assert {name: row[column] for name, column in named.items()} == properties
    fewer = [definition(*it) for it in zip(names[1:], ["text"] * 3, columns[1:], strict=True)]
    commit(mirror, property_definitions=[*fewer, definition("new.name", "text", "p_emp_var")])
    after = dict(fetch(mirror, "select property, column_name from property_definitions"))
    assert {name: after[name] for name in names[1:]} == {name: named[name] for name in names[1:]}
    assert "emp.var" not in after
    assert len({column.lower() for column in after.values()}) == 4


def test_an_engine_is_as_of_its_call_and_the_next_one_sees_what_came_since(mirror: Mirror) -> None:
    commit(mirror, property_definitions=[definition("n", "number")], contacts=[contact("1", {"n": "1"})])
    engine = mirror.engine()
    engine.run("create or replace temp table features as select contact_id, p_n from contacts")
    commit(mirror, T0 + DAY, contacts=[contact("1", {"n": "2"}, T0 + DAY)])
    assert engine.fetch("select p_n from features").to_pylist() == [{"p_n": 1.0}]
    assert mirror.engine().fetch("select p_n from contacts").to_pylist() == [{"p_n": 2.0}]


def test_a_result_left_open_is_no_hindrance(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1"), contact("2")])
    mirror.connection.execute("select contact_id from contacts").fetchone()
    assert commit(mirror, contacts=[contact("3")]) == {"contacts": 1}


def _history(mirror: Mirror, name: str) -> list[tuple[object, ...]]:
    return fetch(
        mirror,
        "select object_id, value, changed_at, source from property_history "
        f"where object = 'contact' and property = '{name}' order by all",
    )


def test_first_sight_is_the_baseline_and_stores_nothing(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1", {"stage": "lead"}), contact("2", {"stage": "mql"}), contact("3")])
    assert fetch(mirror, "select count(*) from store.property_history") == [(0,)]
    assert _history(mirror, "stage") == [("1", "lead", NOON, "observed"), ("2", "mql", NOON, "observed")]


def test_a_change_is_observed_with_what_stood_before(mirror: Mirror) -> None:
    commit(
        mirror,
        property_definitions=[definition("stage", "category"), definition("size", "number")],
        contacts=[contact("1", {"stage": "lead"}), contact("2", {"stage": "lead", "size": "3"})],
    )
    seen = T0 + DAY + 90 * SECOND
    commit(mirror, seen, contacts=[contact("2", {"stage": "customer"}, T0 + DAY), contact("1", {"stage": "lead"})])
    assert _history(mirror, "stage") == [
        ("1", "lead", NOON, "observed"),
        ("2", "customer", NOON + DAY, "observed"),
        ("2", "lead", NOON, "observed"),
    ]
    assert _history(mirror, "size") == [("2", "3", NOON, "observed"), ("2", None, NOON + DAY, "observed")]
    observed = fetch(
        mirror, "select value, observed_at from store.property_history where property = 'stage' order by 1"
    )
    assert observed == [("customer", seen.replace(microsecond=0)), ("lead", NOON)]
    commit(mirror, T0 + 2 * DAY, contacts=[{**contact("2", {"stage": "lead"}), "modified_at": None}])
    assert _history(mirror, "stage")[2:] == [
        ("2", "lead", NOON, "observed"),
        ("2", "lead", NOON + 2 * DAY, "observed"),
    ]


def test_what_was_missing_is_known_to_be_so_only_where_it_was_read(mirror: Mirror) -> None:
    commit(mirror, property_definitions=[definition("old", "text")], contacts=[contact("1")])
    later = T0 + 10 * DAY
    both = [definition("old", "text"), definition("new", "text")]
    commit(mirror, later, property_definitions=both, contacts=[contact("1", {"old": "a", "new": "b"}, later)])
    at = later.replace(microsecond=0)
    assert _history(mirror, "old") == [("1", "a", at, "observed"), ("1", None, NOON, "observed")]
    assert _history(mirror, "new") == [("1", "b", at, "observed")]


@pytest.mark.parametrize("same_page", [True, False])
def test_the_platforms_own_history_is_not_repeated(mirror: Mirror, same_page: bool) -> None:
    def change(value: str, at: datetime) -> dict[str, object]:
        return {
            "object": "contact",
            "object_id": "1",
            "property": "stage",
            "value": value,
            "changed_at": at,
            "source": "CRM_UI",
        }

    former = change("lead", T0 - 50 * DAY)
    commit(mirror, contacts=[contact("1", {"stage": "lead"})], property_history=[former])
    assert _history(mirror, "stage") == [("1", "lead", NOON - 50 * DAY, "CRM_UI")]
    edited = contact("1", {"stage": "customer"}, T0 + DAY)
    told = [former, change("customer", T0 + DAY - 5 * SECOND)]
    if same_page:
        commit(mirror, T0 + DAY, contacts=[edited], property_history=told)
    else:
        commit(mirror, T0 + DAY, property_history=told)
        commit(mirror, T0 + DAY, contacts=[edited])
    commit(mirror, T0 + DAY, property_history=told)
    assert _history(mirror, "stage") == [
        ("1", "customer", NOON + DAY - 5 * SECOND, "CRM_UI"),
        ("1", "lead", NOON - 50 * DAY, "CRM_UI"),
    ]
    commit(mirror, T0 + 2 * DAY, contacts=[contact("1", {"stage": "lead"}, T0 + 2 * DAY)])
    assert ("1", "lead", NOON + 2 * DAY, "observed") in _history(mirror, "stage")
    assert len(_history(mirror, "stage")) == 3


def test_of_two_changes_within_a_second_the_last_stands(mirror: Mirror) -> None:
    told = [
        {"object": "deal", "object_id": "d", "property": "stage", "value": value, "changed_at": NOON + shift}
        for value, shift in (("b", 0.7 * SECOND), ("a", 0.2 * SECOND), ("c", 1.1 * SECOND))
    ]
    commit(mirror, property_history=told)
    assert fetch(mirror, "select value, changed_at from property_history order by changed_at") == [
        ("b", NOON),
        ("c", NOON + SECOND),
    ]


def test_companies_and_deals_are_observed_too(mirror: Mirror) -> None:
    for day, stage in ((0, "open"), (1, "won")):
        at = T0 + day * DAY
        commit(
            mirror,
            at,
            deals=[{"deal_id": "d", "properties": f'{{"stage":"{stage}"}}', "modified_at": at}],
            companies=[{"company_id": "c", "properties": f'{{"tier":"{stage}"}}', "modified_at": at}],
        )
    found = fetch(mirror, "select object, object_id, value, changed_at from property_history order by all")
    assert found == [
        ("company", "c", "open", NOON),
        ("company", "c", "won", NOON + DAY),
        ("deal", "d", "open", NOON),
        ("deal", "d", "won", NOON + DAY),
    ]
    commit(mirror, removals=[{"object": "company", "object_id": "c"}, {"object": "deal", "object_id": "d"}])
    engine = mirror.engine()
    assert engine.fetch("select * from companies").num_rows == 0
    assert engine.fetch("select deleted_at from deals").to_pylist() == [{"deleted_at": NOON}]


def test_nothing_warns(mirror: Mirror) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        commit(mirror, property_definitions=[definition("a", "text")], contacts=[contact("1", {"a": "x"})])
        mirror.engine()
        assert mirror.predictions().num_rows == 0
        assert mirror.rejects("run").num_rows == 0
        assert mirror.runs() == []
        assert mirror.ledger.entries("run").num_rows == 0
