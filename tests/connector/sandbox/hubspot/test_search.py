"""CRM search: operators, limits, lag and the wall."""

from collections.abc import Callable
from typing import Any

import pytest

from connector.sandbox.hubspot.search import Index
from connector.sandbox.hubspot.state import Portal, Record
from tests.connector.sandbox.hubspot.conftest import NOW, Api, Clock, assert_shape, payload

SEARCH = "/crm/objects/2026-09/contacts/search"
BY_ID = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]


def ids(api: Api, *filters: dict[str, Any], **more: Any) -> list[str]:
    body = {"filterGroups": [{"filters": list(filters)}] if filters else [], "sorts": BY_ID, "limit": 100, **more}
    answer = api.post(SEARCH, body)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["results"]]


def one(name: str, operator: str, value: Any = None, high: Any = None, values: Any = None) -> dict[str, Any]:
    given = {"propertyName": name, "operator": operator, "value": value, "highValue": high, "values": values}
    return {key: part for key, part in given.items() if part is not None}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (one("plan", "EQ", "gold"), "101 103"),
        (one("plan", "EQ", "Gold"), ""),
        (one("plan", "NEQ", "gold"), "102 104 105"),
        (one("plan", "IN", values=["gold", "iron"]), "101 102 103 105"),
        (one("plan", "NOT_IN", values=["gold"]), "102 104 105"),
        (one("plan", "HAS_PROPERTY"), "101 102 103 105"),
        (one("plan", "NOT_HAS_PROPERTY"), "104"),
        (one("seats", "GT", "3"), "104 105"),
        (one("seats", "GTE", "3"), "101 104 105"),
        (one("seats", "LT", "4"), "101 102"),
        (one("seats", "LTE", "4"), "101 102 104"),
        (one("seats", "BETWEEN", "1.5", "3"), "101 102"),
        (one("email", "EQ", "PERSON102@mill.example"), "102"),
        (one("email", "IN", values=["person102@mill.example"]), "102"),
        (one("email", "IN", values=["PERSON102@mill.example"]), ""),
        (one("email", "CONTAINS_TOKEN", "person103*"), "103"),
        (one("hs_object_id", "BETWEEN", "102", "104"), "102 103 104"),
        (one("hs_object_id", "IN", values=["102", "104"]), "102 104"),
        (one("lastmodifieddate", "GTE", "1788393600000"), "103 104 105"),
        (one("lastmodifieddate", "GTE", "2026-09-03T00:00:00.000Z"), "103 104 105"),
        (one("associations.company", "EQ", "501"), "101 102 103"),
    ],
)
def test_operators(api: Api, given: dict[str, Any], found: str) -> None:
    assert " ".join(ids(api, given)) == found


def test_filters_of_a_group_all_hold_and_of_groups_one(api: Api) -> None:
    assert ids(api, one("plan", "EQ", "gold"), one("seats", "HAS_PROPERTY")) == ["101"]
    groups = [{"filters": [one("plan", "EQ", "iron")]}, {"filters": [one("plan", "NOT_HAS_PROPERTY")]}]
    assert ids(api, filterGroups=groups) == ["102", "104", "105"]
    assert ids(api, query="person104") == ["104"]


def test_pages_and_their_shape(api: Api) -> None:
    body = {"sorts": BY_ID, "limit": 2, "properties": ["email"]}
    first = api.post(SEARCH, body).json()
    assert_shape(first, payload("search_page"))
    assert (first["total"], first["paging"]["next"]["after"]) == (5, "2")
    last = api.post(SEARCH, {**body, "after": "4"}).json()
    assert [found["id"] for found in last["results"]] == ["105"]
    assert "paging" not in last


def test_one_sort_in_either_direction(api: Api) -> None:
    down = [{"propertyName": "seats", "direction": "DESCENDING"}]
    assert ids(api, one("seats", "HAS_PROPERTY"), sorts=down) == ["105", "104", "101", "102"]
    assert ids(api, sorts=["-hs_object_id"])[0] == "105"
    assert api.post(SEARCH, {"sorts": [*BY_ID, *down]}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": 200, "after": "9801"},
        {"after": "abc"},
        {"filterGroups": [{"filters": [one("plan", "EQ", "gold")]}] * 6},
        {"filterGroups": [{"filters": [one("plan", "EQ", "gold")] * 7}]},
        {"filterGroups": [{"filters": [one("plan", "EQ", "gold")] * 4}] * 5},
        {"filterGroups": [{"filters": [one("nonsense", "EQ", "gold")]}]},
        {"filterGroups": [{"filters": [one("plan", "LIKE", "gold")]}]},
        {"filterGroups": [{"filters": [one("seats", "GT", "many")]}]},
        {"query": "x" * 3_001},
    ],
)
def test_what_search_refuses(api: Api, body: dict[str, Any]) -> None:
    answer = api.post(SEARCH, body)
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"


def test_the_last_page_before_the_wall_is_answered(api: Api) -> None:
    assert api.post(SEARCH, {"limit": 200, "after": "9800"}).status_code == 200


def test_search_tells_nothing_of_limits_and_allows_five_a_second(api: Api, clock: Clock) -> None:
    answers = [api.post(SEARCH, {}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert not any(name.lower().startswith("x-hubspot-ratelimit") for name in answers[0].headers)
    assert_shape(answers[5].json(), payload("error_429_search"))
    clock.advance(1.0)
    assert api.post(SEARCH, {}).status_code == 200


def test_a_write_shows_after_the_lag_as_it_was_then(start: Callable[..., Api], clock: Clock) -> None:
    api = start(search_lag=10.0)
    api.patch("/crm/objects/2026-09/contacts/101", {"properties": {"plan": "iron"}})
    clock.advance(5)
    api.patch("/crm/objects/2026-09/contacts/101", {"properties": {"seats": "99"}})
    assert ids(api, one("plan", "EQ", "gold")) == ["101", "103"]
    clock.advance(5)
    assert ids(api, one("plan", "EQ", "gold")) == ["103"]
    assert ids(api, one("seats", "EQ", "99")) == []
    clock.advance(5)
    assert ids(api, one("seats", "EQ", "99")) == ["101"]


def test_archiving_shows_after_the_lag_too(start: Callable[..., Api], clock: Clock) -> None:
    api = start(search_lag=10.0)
    api.delete("/crm/objects/2026-09/contacts/103")
    assert "103" in ids(api)
    clock.advance(10)
    assert "103" not in ids(api)


def test_results_have_neither_history_nor_associations(api: Api) -> None:
    found = api.post(SEARCH, {"propertiesWithHistory": ["plan"], "associations": ["companies"]}).json()["results"]
    assert not {"propertiesWithHistory", "associations"} & found[0].keys()


def test_walking_many_records_by_id_evaluates_their_filter_once(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = Portal(clock=Clock())
    portal.contacts.load(
        Record(id_, {"email": f"p{id_}@x.example"}, NOW, NOW + id_ % 7) for id_ in range(1, 5_001)
    )
    evaluated: list[int] = []
    plain = Index._evaluate

    def counted(self: Index, *given: Any) -> list[int]:
        evaluated.append(1)
        return plain(self, *given)

    monkeypatch.setattr(Index, "_evaluate", counted)
    window = one("lastmodifieddate", "BETWEEN", str(NOW), str(NOW + 5))
    seen, last = 0, 0
    while True:
        filters = [window, one("hs_object_id", "GT", str(last))]
        found = portal.contacts.index.search(
            {"filterGroups": [{"filters": filters}], "sorts": BY_ID, "limit": 200}
        )
        if not found.documents:
            break
        seen, last = seen + len(found.documents), found.documents[-1].id
    assert seen == sum(id_ % 7 <= 5 for id_ in range(1, 5_001))
    assert len(evaluated) == 1
