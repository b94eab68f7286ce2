"""Updates, creation, merges and erasure."""

from collections.abc import Callable
from typing import Any

import pytest

from connector.sandbox.hubspot.state import Change
from tests.connector.sandbox.hubspot.conftest import Api, assert_shape, payload

CONTACTS = "/crm/objects/2026-09/contacts"


def update(api: Api, *inputs: tuple[str, dict[str, Any]], path: str = CONTACTS) -> Any:
    body = [{"id": id_, "properties": values, "objectWriteTraceId": f"t{id_}"} for id_, values in inputs]
    return api.post(f"{path}/batch/update", {"inputs": body})


def value(api: Api, id_: str, name: str) -> str | None:
    found: str | None = api.get(f"{CONTACTS}/{id_}", properties=name).json()["properties"][name]
    return found


def codes(answer: Any) -> list[str]:
    return [one["code"] for one in answer.json()["errors"]]


def test_missing_ids_make_a_207_with_their_trace_ids(api: Api) -> None:
    answer = update(api, ("103", {"seats": "9"}), ("999", {"seats": "9"}), ("101", {"seats": "8"}))
    assert answer.status_code == 207
    assert_shape(answer.json(), payload("batch_update_207"))
    assert [one["id"] for one in answer.json()["results"]] == ["101", "103"]
    assert answer.json()["errors"][0]["context"] == {"ids": ["999"], "objectWriteTraceId": ["t999"]}
    assert value(api, "103", "seats") == "9"


def test_a_merged_id_is_silently_left_out(api: Api) -> None:
    answer = update(api, ("102", {"seats": "9"}), ("107", {"seats": "9"}), ("103", {"seats": "9"}))
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["results"]] == ["102", "103"]
    assert "errors" not in answer.json()
    assert value(api, "101", "seats") == "3"


def test_a_single_update_of_a_merged_id_reaches_the_winner(api: Api) -> None:
    answer = api.patch(f"{CONTACTS}/107", {"properties": {"seats": "44"}})
    assert (answer.status_code, answer.json()["id"]) == (200, "101")
    assert value(api, "101", "seats") == "44"


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"nonsense": "1"}, "PROPERTY_DOESNT_EXIST"),
        ({"hs_email_open": "1"}, "READ_ONLY_VALUE"),
        ({"lastmodifieddate": "1"}, "READ_ONLY_VALUE"),
        ({"plan": "tin"}, "INVALID_OPTION"),
        ({"plan": "Gold"}, "INVALID_OPTION"),
        ({"seats": "many"}, "INVALID_LONG"),
        ({"email": "nobody"}, "INVALID_EMAIL"),
        ({"closedate": "yesterday"}, "INVALID_DATE"),
    ],
)
def test_one_bad_value_fails_the_whole_batch(api: Api, bad: dict[str, str], code: str) -> None:
    answer = update(api, ("101", {"seats": "9"}), ("102", bad), ("103", {"seats": "9"}))
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"
    assert codes(answer) == [code]
    assert value(api, "101", "seats") == "3"


def test_duplicate_ids_are_refused(api: Api) -> None:
    answer = update(api, ("101", {"seats": "9"}), ("102", {"seats": "9"}), ("101", {"seats": "8"}))
    assert answer.status_code == 400
    assert value(api, "102", "seats") == "1.5"


def test_more_than_a_hundred_inputs_are_refused(api: Api) -> None:
    assert update(api, *((str(number), {"seats": "1"}) for number in range(1, 102))).status_code == 400


@pytest.mark.parametrize("name", ["email", "hs_object_id", "plan"])
def test_contacts_are_updated_by_record_id_only(api: Api, name: str) -> None:
    body = {"inputs": [{"id": "101", "idProperty": name, "properties": {"seats": "9"}}]}
    answer = api.post(f"{CONTACTS}/batch/update", body)
    assert answer.status_code == 400
    assert answer.json()["message"] == "Unable to perform update/upsert by non-unique 0-1 property"


def test_an_empty_text_clears_a_value(api: Api) -> None:
    update(api, ("101", {"seats": ""}))
    assert value(api, "101", "seats") is None


def test_every_write_moves_the_modified_date_even_the_same_value_again(api: Api) -> None:
    first = update(api, ("101", {"seats": "9"})).json()["results"][0]["updatedAt"]
    second = update(api, ("101", {"seats": "9"})).json()["results"][0]["updatedAt"]
    assert first < second
    history = api.get(f"{CONTACTS}/101", propertiesWithHistory="seats").json()["propertiesWithHistory"]["seats"]
    assert [(one["value"], one["sourceType"]) for one in history] == [("9", "INTEGRATION"), ("3", "IMPORT")]
    assert history[0]["sourceId"] == "1160452"
    assert api.get(f"{CONTACTS}/101", properties="lastmodifieddate").json()["updatedAt"] == second


def test_an_edit_by_a_person_keeps_history_as_such(api: Api) -> None:
    before = api.get(f"{CONTACTS}/101").json()["updatedAt"]
    assert api.post("/_sandbox/edit", {"contact_id": "101", "properties": {"plan": "iron"}}).status_code == 200
    after = api.get(f"{CONTACTS}/101", propertiesWithHistory="plan").json()
    newest = after["propertiesWithHistory"]["plan"][0]
    assert (newest["value"], newest["sourceType"], newest["updatedByUserId"]) == ("iron", "CRM_UI", 9_586_504)
    assert before < after["updatedAt"]


@pytest.mark.parametrize("body", [{"contact_id": "9"}, {"contact_id": "101", "properties": {"nonsense": "1"}}])
def test_an_edit_of_nothing_known_is_refused(api: Api, body: Any) -> None:
    assert api.post("/_sandbox/edit", body).status_code in (400, 404)


def test_lifecycle_stage_moves_forward_only(api: Api) -> None:
    update(api, ("102", {"lifecyclestage": "opportunity"}))
    assert update(api, ("102", {"lifecyclestage": "lead"})).status_code == 200
    assert value(api, "102", "lifecyclestage") == "opportunity"
    update(api, ("102", {"lifecyclestage": ""}))
    update(api, ("102", {"lifecyclestage": "lead"}))
    assert value(api, "102", "lifecyclestage") == "lead"


def test_a_leading_semicolon_adds_to_a_multiple_choice(api: Api) -> None:
    name = "hs_legal_basis"
    update(api, ("101", {name: "Not applicable"}))
    update(api, ("101", {name: ";Performance of a contract"}))
    assert value(api, "101", name) == "Not applicable;Performance of a contract"


@pytest.mark.parametrize(("path", "status"), [(CONTACTS, 400), ("/crm/v3/objects/contacts", 200)])
def test_epoch_seconds_are_no_dates_on_dated_paths(api: Api, path: str, status: int) -> None:
    assert update(api, ("101", {"closedate": "1790000000"}), path=path).status_code == status
    assert update(api, ("101", {"closedate": "1790000000000"}), path=path).status_code == 200
    assert value(api, "101", "closedate") == "2026-09-21T14:13:20.000Z"


@pytest.mark.parametrize(
    ("path", "status"),
    [(CONTACTS, 400), ("/crm/objects/2026-03/contacts", 200), ("/crm/v3/objects/contacts", 200)],
)
def test_rules_of_the_administrator_bind_the_newest_version_only(
    start: Callable[..., Api], path: str, status: int
) -> None:
    api = start(faults=(("required-property", "plan"),))
    answer = update(api, ("104", {"seats": "2"}), path=path)
    assert answer.status_code == status
    if status == 400:
        assert codes(answer) == ["MISSING_REQUIRED_PROPERTY"]
    assert update(api, ("103", {"seats": "2"}), path=path).status_code == 200


def test_creation_is_all_or_nothing_without_trace_ids(api: Api) -> None:
    bad = {"properties": {"email": "x@y.example", "missing": "1"}}
    good = {"properties": {"email": "new@y.example"}}
    assert api.post(f"{CONTACTS}/batch/create", {"inputs": [good, bad]}).status_code == 400
    traced = [{**good, "objectWriteTraceId": "a"}, {**bad, "objectWriteTraceId": "b"}]
    answer = api.post(f"{CONTACTS}/batch/create", {"inputs": traced})
    assert answer.status_code == 207
    assert_shape(answer.json(), payload("batch_create_207"))
    assert answer.json()["errors"][0]["context"]["objectWriteTraceId"] == ["b"]
    assert [one["id"] for one in answer.json()["results"]] == ["108"]


def test_an_address_that_is_taken_is_a_conflict(api: Api) -> None:
    answer = api.post(CONTACTS, {"properties": {"email": "SECOND@mill.example"}})
    assert answer.status_code == 409
    assert_shape(answer.json(), payload("error_409_contact"))
    assert answer.json()["message"] == "Contact already exists. Existing ID: 102"


def test_upsert_by_email_creates_and_is_all_or_nothing(api: Api) -> None:
    def row(email: str, **values: str) -> dict[str, Any]:
        return {"id": email, "idProperty": "email", "properties": values}

    bad = [row("person101@mill.example", seats="7"), row("new@mill.example", plan="tin")]
    assert api.post(f"{CONTACTS}/batch/upsert", {"inputs": bad}).status_code == 400
    assert value(api, "101", "seats") == "3"
    good = [row("person101@mill.example", seats="7"), row("new@mill.example", plan="iron")]
    answer = api.post(f"{CONTACTS}/batch/upsert", {"inputs": good})
    assert [(one["id"], one["new"]) for one in answer.json()["results"]] == [("101", False), ("108", True)]
    assert value(api, "108", "email") == "new@mill.example"


def test_archiving_hides_a_contact_everywhere_but_in_the_archived_list(api: Api) -> None:
    assert api.post(f"{CONTACTS}/batch/archive", {"inputs": [{"id": "102"}]}).status_code == 204
    assert api.delete(f"{CONTACTS}/104").status_code == 204
    assert api.get(f"{CONTACTS}/102").status_code == 404
    archived = api.get(CONTACTS, limit=10, archived="true").json()["results"]
    assert [one["id"] for one in archived] == ["102", "104", "106"]
    found = api.post(f"{CONTACTS}/search", {"filterGroups": [], "limit": 10}).json()
    assert [one["id"] for one in found["results"]] == ["101", "103", "105"]


def test_a_merge_moves_values_addresses_and_associations(api: Api) -> None:
    answer = api.post(f"{CONTACTS}/merge", {"primaryObjectId": "104", "objectIdToMerge": "103"})
    assert (answer.status_code, answer.json()["id"]) == (200, "104")
    body = api.get(
        f"{CONTACTS}/103", properties="plan,hs_merged_object_ids,hs_additional_emails", associations="deals"
    ).json()
    assert body["id"] == "104"
    assert body["properties"]["plan"] == "gold"
    assert body["properties"]["hs_merged_object_ids"] == "103"
    assert body["properties"]["hs_additional_emails"] == "person103@mill.example"
    assert body["associations"]["deals"]["results"][0]["id"] == "903"
    assert "103" not in [one["id"] for one in api.get(CONTACTS, limit=10).json()["results"]]


def test_erasure_leaves_nothing_and_blocks_unknown_addresses(api: Api) -> None:
    assert api.post(f"{CONTACTS}/gdpr-delete", {"objectId": "101"}).status_code == 204
    assert api.get(f"{CONTACTS}/101", archived="true").status_code == 404
    gone = {"objectId": "who@mill.example", "idProperty": "email"}
    assert api.post(f"{CONTACTS}/gdpr-delete", gone).status_code == 204
    assert "who@mill.example" in api.portal.blocklist


def test_listeners_hear_of_every_change(api: Api) -> None:
    heard: list[Change] = []
    api.portal.listeners.append(heard.append)
    update(api, ("101", {"seats": "9", "plan": "iron"}))
    api.post(f"{CONTACTS}/merge", {"primaryObjectId": "101", "objectIdToMerge": "102"})
    api.post(f"{CONTACTS}/gdpr-delete", {"objectId": "103"})
    kinds = [(one.kind, one.property) for one in heard]
    assert kinds[:2] == [("propertyChange", "seats"), ("propertyChange", "plan")]
    assert [kind for kind, _ in kinds if kind != "propertyChange"] == ["merge", "deletion", "privacyDeletion"]
    assert heard[0].source.id == "1160452"


def test_a_deal_that_enters_the_won_stage_is_won(api: Api) -> None:
    stages = api.get("/crm/pipelines/2026-09/deals").json()["results"][0]["stages"]
    won = next(stage["id"] for stage in stages if stage["metadata"]["probability"] == "1.0")
    answer = api.patch("/crm/objects/2026-09/deals/901", {"properties": {"dealstage": won}})
    assert answer.json()["properties"]["hs_is_closed_won"] == "true"
    refused = api.patch("/crm/objects/2026-09/deals/901", {"properties": {"dealstage": "closedwon"}})
    assert codes(refused) == ["INVALID_OPTION"]
