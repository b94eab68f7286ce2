"""The Properties API."""

from typing import Any

import pytest

from tests.connector.sandbox.hubspot.conftest import Api, assert_shape, payload

PROPERTIES = "/crm/properties/2026-09/contacts"
SCORE = {"name": "lis_score", "label": "Lead score", "type": "number", "fieldType": "number"}
OPTIONS = [{"label": "Hot", "value": "hot", "displayOrder": 0, "hidden": False}]


def create(api: Api, **more: Any) -> Any:
    return api.post(PROPERTIES, {**SCORE, "groupName": "contactinformation", **more})


def test_a_group_then_a_property_in_it(api: Api) -> None:
    group = api.post(f"{PROPERTIES}/groups", {"name": "lead_intelligence", "label": "Lead intelligence"})
    assert (group.status_code, group.headers["location"].endswith("/groups/lead_intelligence")) == (201, True)
    again = api.post(f"{PROPERTIES}/groups", {"name": "lead_intelligence", "label": "Lead intelligence"})
    assert (again.status_code, again.json()["category"]) == (409, "OBJECT_ALREADY_EXISTS")
    names = [one["name"] for one in api.get(f"{PROPERTIES}/groups").json()["results"]]
    assert names == ["contactinformation", "lead_intelligence"]
    made = create(api, groupName="lead_intelligence", type="enumeration", fieldType="select", options=OPTIONS)
    assert made.status_code == 201
    assert_shape(made.json(), payload("property"))
    assert api.delete(f"{PROPERTIES}/groups/lead_intelligence").status_code == 400


def test_a_name_that_exists_is_a_conflict(api: Api) -> None:
    assert create(api).status_code == 201
    answer = create(api)
    assert answer.status_code == 409
    literal = payload("property_exists_409")
    assert answer.json() | {"correlationId": literal["correlationId"]} == literal


def test_an_archived_property_is_unknown_and_comes_back_when_created_again(api: Api) -> None:
    made = create(api).json()["createdAt"]
    api.patch("/crm/objects/2026-09/contacts/101", {"properties": {"lis_score": "5"}})
    assert api.delete(f"{PROPERTIES}/lis_score").status_code == 204
    assert api.get(f"{PROPERTIES}/lis_score").status_code == 404
    write = api.patch("/crm/objects/2026-09/contacts/101", {"properties": {"lis_score": "6"}})
    assert write.json()["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"
    assert "lis_score" in [one["name"] for one in api.get(PROPERTIES, archived="true").json()["results"]]
    api.clock.advance(60)
    again = create(api)
    assert (again.status_code, again.json()["createdAt"]) == (201, made)
    assert api.get(f"{PROPERTIES}/lis_score").json()["archived"] is False


def test_an_unknown_property_is_not_found(api: Api) -> None:
    answer = api.get(f"{PROPERTIES}/lis_nothing")
    assert (answer.status_code, answer.json()["category"]) == (404, "OBJECT_NOT_FOUND")


@pytest.mark.parametrize(
    "wrong",
    [
        {"fieldType": "text"},
        {"type": "datetime", "fieldType": "number"},
        {"type": "money"},
        {"name": "Lead Score"},
        {"name": ""},
        {"label": ""},
        {"groupName": "nowhere"},
        {"type": "enumeration", "fieldType": "select", "options": OPTIONS * 2},
    ],
)
def test_wrong_definitions_are_refused(api: Api, wrong: dict[str, Any]) -> None:
    answer = create(api, **wrong)
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


def test_options_are_replaced_as_a_whole_and_kept_when_left_out(api: Api) -> None:
    create(api, type="enumeration", fieldType="select", options=OPTIONS)
    kept = api.patch(f"{PROPERTIES}/lis_score", {"label": "New"}).json()
    assert (kept["label"], [one["value"] for one in kept["options"]]) == ("New", ["hot"])
    changed = api.patch(f"{PROPERTIES}/lis_score", {"options": [{"label": "Cold", "value": "cold"}]}).json()
    assert [one["value"] for one in changed["options"]] == ["cold"]


def test_several_at_once_with_one_that_exists(api: Api) -> None:
    create(api)
    inputs = [
        {**SCORE, "name": name, "groupName": "contactinformation"} for name in ("lis_a", "lis_score", "lis_b")
    ]
    answer = api.post(f"{PROPERTIES}/batch/create", {"inputs": inputs})
    assert answer.status_code == 207
    assert [one["name"] for one in answer.json()["results"]] == ["lis_a", "lis_b"]
    assert answer.json()["errors"][0]["context"]["name"] == ["lis_score"]


@pytest.mark.parametrize(
    "name", ["email", "lifecyclestage", "hs_timezone", "hs_email_optout", "hs_analytics_source"]
)
def test_standard_properties_always_exist(api: Api, name: str) -> None:
    found = api.get(f"/crm/v3/properties/contacts/{name}").json()
    assert found["hubspotDefined"] is True
    assert found["modificationMetadata"]["readOnlyValue"] is (name == "hs_email_optout")


def test_time_zones_are_options_with_names_of_their_own(api: Api) -> None:
    options = {one["value"]: one["label"] for one in api.get(f"{PROPERTIES}/hs_timezone").json()["options"]}
    assert options["america_slash_new_york"] == "America/New York"
    contact = api.get("/crm/objects/2026-09/contacts/101", properties="hs_timezone").json()
    assert contact["properties"]["hs_timezone"] == "america_slash_new_york"


def test_custom_properties_are_counted(api: Api) -> None:
    create(api)
    limits = api.get("/crm/limits/2026-09/custom-properties").json()
    assert limits["byObjectType"][0]["usage"] == 3


def test_owners_come_in_pages(api: Api) -> None:
    owners = api.get("/crm/owners/2026-09", limit=1).json()["results"]
    assert [(one["id"], one["type"]) for one in owners] == [("31", "PERSON")]
    assert api.get("/crm/v3/owners/", email="nobody@x.example").json()["results"] == []
