"""Lists, single reads and batch reads."""

from collections.abc import Callable

import pytest

from tests.connector.sandbox.hubspot.conftest import Api, assert_shape, payload

CONTACTS = "/crm/objects/2026-09/contacts"


def test_the_list_is_ordered_by_id_and_after_is_the_next_id(api: Api) -> None:
    first = api.get(CONTACTS, limit=2).json()
    assert [one["id"] for one in first["results"]] == ["101", "102"]
    assert first["paging"]["next"]["after"] == "103"
    second = api.get(CONTACTS, limit=3, after="103").json()
    assert [one["id"] for one in second["results"]] == ["103", "104", "105"]
    assert "paging" not in second
    assert_shape(first, payload("list_page"))


@pytest.mark.parametrize(
    "path",
    [
        "/crm/objects/2026-03/contacts",
        "/crm/v3/objects/contacts",
        "/crm/v3/objects/0-1/",
        "/crm/objects/2026-09/0-1",
    ],
)
def test_dated_and_legacy_paths_and_type_ids_answer_alike(api: Api, path: str) -> None:
    assert api.get(path, limit=5).json() | {"paging": 0} == api.get(CONTACTS, limit=5).json() | {"paging": 0}


def test_unknown_versions_are_not_found(api: Api) -> None:
    assert api.get("/crm/objects/latest/contacts").status_code == 404


def test_unknown_properties_are_ignored_and_empty_ones_are_null(api: Api) -> None:
    found = api.get(CONTACTS, limit=5, properties="plan,nonsense,fax").json()["results"]
    assert [one["properties"].get("plan") for one in found] == ["gold", "iron", "gold", None, "iron"]
    assert set(found[2]["properties"]) == {"plan", "fax", "createdate", "lastmodifieddate", "hs_object_id"}
    assert found[0]["properties"]["fax"] is None


def test_values_are_texts(api: Api) -> None:
    found = api.get(CONTACTS, limit=5, properties="seats").json()["results"]
    assert [one["properties"]["seats"] for one in found] == ["3", "1.5", None, "4", "5"]


@pytest.mark.parametrize(("limit", "status"), [(100, 200), (101, 400), (0, 400)])
def test_a_page_holds_a_hundred(api: Api, limit: int, status: int) -> None:
    assert api.get(CONTACTS, limit=limit).status_code == status


@pytest.mark.parametrize(("limit", "status"), [(50, 200), (51, 400)])
def test_a_page_with_history_holds_fifty(api: Api, limit: int, status: int) -> None:
    assert api.get(CONTACTS, limit=limit, propertiesWithHistory="lifecyclestage").status_code == status


def test_archived_contacts_are_listed_apart(api: Api) -> None:
    archived = api.get(CONTACTS, limit=10, archived="true").json()["results"]
    assert [(one["id"], one["archived"]) for one in archived] == [("106", True)]
    assert archived[0]["archivedAt"] == "2026-10-01T00:00:00.000Z"
    assert "106" not in [one["id"] for one in api.get(CONTACTS, limit=10).json()["results"]]


def test_associations_come_inline(api: Api) -> None:
    body = api.get(CONTACTS, limit=10, associations="companies,deals").json()
    assert_shape(body, payload("list_with_associations"))
    by_id = {one["id"]: one.get("associations") for one in body["results"]}
    assert [one["id"] for one in by_id["101"]["deals"]["results"]] == ["901", "902"]
    assert {one["type"] for one in by_id["102"]["companies"]["results"]} == {
        "contact_to_company",
        "contact_to_company_primary",
    }
    assert by_id["104"] is None


def test_history_is_newest_first(api: Api) -> None:
    body = api.get(f"{CONTACTS}/101", propertiesWithHistory="lifecyclestage").json()
    assert [one["value"] for one in body["propertiesWithHistory"]["lifecyclestage"]] == ["lead", "subscriber"]
    api.post("/_sandbox/edit", {"contact_id": "101", "properties": {"lifecyclestage": "customer"}})
    wanted = {"properties": "lifecyclestage", "propertiesWithHistory": "lifecyclestage"}
    body = api.get(f"{CONTACTS}/101", **wanted).json()
    assert_shape(body, payload("history"))
    assert [one["value"] for one in body["propertiesWithHistory"]["lifecyclestage"]][:2] == ["customer", "lead"]
    assert body["propertiesWithHistory"]["lifecyclestage"][1]["sourceType"] == "FORM"


def test_a_merged_id_leads_to_the_winner(api: Api) -> None:
    body = api.get(f"{CONTACTS}/107", properties="hs_merged_object_ids").json()
    assert (body["id"], body["properties"]["hs_merged_object_ids"]) == ("101", "107")


def test_an_archived_contact_is_not_found_without_asking_for_it(api: Api) -> None:
    assert api.get(f"{CONTACTS}/106").status_code == 404
    assert api.get(f"{CONTACTS}/106", archived="true").json()["id"] == "106"


def test_a_contact_is_found_by_any_of_its_addresses(api: Api) -> None:
    assert api.get(f"{CONTACTS}/second@mill.example", idProperty="email").json()["id"] == "102"
    assert api.get(f"{CONTACTS}/gold", idProperty="plan").status_code == 400


def test_a_batch_read_with_missing_ids_is_a_207(api: Api) -> None:
    ids = [{"id": one} for one in ("104", "999", "107", "101", "106")]
    answer = api.post(f"{CONTACTS}/batch/read", {"properties": ["email"], "inputs": ids})
    body = answer.json()
    assert answer.status_code == 207
    assert_shape(body, payload("batch_read_207"))
    # The merged one is in neither list.
    assert [one["id"] for one in body["results"]] == ["101", "104"]
    assert body["errors"][0]["context"]["ids"] == ["999", "106"]


def test_a_batch_read_by_email_finds_contacts(api: Api) -> None:
    inputs = [{"id": f"person{number}@mill.example"} for number in (101, 102, 103)]
    answer = api.post(f"{CONTACTS}/batch/read", {"properties": [], "idProperty": "email", "inputs": inputs})
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["results"]] == ["101", "102", "103"]
    assert "errors" not in answer.json()


@pytest.mark.parametrize(
    ("count", "extra", "status"), [(100, {}, 207), (101, {}, 400), (50, 1, 207), (51, 1, 400)]
)
def test_batch_sizes(api: Api, count: int, extra: object, status: int) -> None:
    history = {"propertiesWithHistory": ["plan"]} if extra else {}
    inputs = [{"id": str(number)} for number in range(101, 101 + count)]
    assert (
        api.post(f"{CONTACTS}/batch/read", {"properties": [], "inputs": inputs, **history}).status_code == status
    )


@pytest.mark.parametrize(
    ("name", "modified"),
    [("companies", "hs_lastmodifieddate"), ("deals", "hs_lastmodifieddate"), ("meetings", "hs_lastmodifieddate")],
)
def test_other_objects_are_listed_alike(api: Api, name: str, modified: str) -> None:
    found = api.get(f"/crm/objects/2026-09/{name}", limit=100).json()["results"]
    assert found
    assert all(one["properties"][modified] == one["updatedAt"] for one in found)


@pytest.mark.parametrize("name", ["calls", "emails", "tasks", "communications", "notes"])
def test_every_activity_is_answered(api: Api, name: str) -> None:
    assert api.get(f"/crm/objects/2026-09/{name}", limit=1).status_code == 200


def test_deals_know_their_stage_and_both_amounts(api: Api) -> None:
    wanted = "dealstage,hs_is_closed_won,hs_is_closed,amount,amount_in_home_currency,closedate"
    found = api.get("/crm/objects/2026-09/deals", limit=10, properties=wanted).json()["results"]
    assert [one["properties"]["hs_is_closed_won"] for one in found] == ["false", "true", "false"]
    assert found[1]["properties"]["amount"] == "99220"
    assert found[1]["properties"]["amount_in_home_currency"] == "90200"
    stages = api.get("/crm/pipelines/2026-09/deals").json()["results"][0]["stages"]
    won = next(stage for stage in stages if stage["metadata"]["probability"] == "1.0")
    assert won["id"].isdigit()
    assert found[1]["properties"]["dealstage"] == won["id"]
    assert_shape(api.get("/crm/v3/pipelines/deals").json(), payload("pipelines"))


def test_a_deals_history_tells_when_it_was_won(api: Api) -> None:
    body = api.get("/crm/objects/2026-09/deals/902", propertiesWithHistory="dealstage,hs_is_closed_won").json()
    history = body["propertiesWithHistory"]
    assert [one["value"] for one in history["hs_is_closed_won"]] == ["true", "false"]
    assert [one["timestamp"][:10] for one in history["dealstage"]] == ["2026-09-01", "2026-08-01"]
    contact = api.get("/crm/objects/2026-09/contacts/103", propertiesWithHistory="hs_email_optout").json()
    assert contact["propertiesWithHistory"]["hs_email_optout"][0]["timestamp"] == "2026-06-01T09:30:00.000Z"


def test_a_target_that_is_too_long_is_refused_with_html(api: Api) -> None:
    answer = api.get(CONTACTS, properties=",".join(f"property_{number}" for number in range(1_500)))
    assert answer.status_code == 414
    assert answer.headers["content-type"].startswith("text/html")


def test_associations_are_read_in_batches(start: Callable[..., Api]) -> None:
    api = start()
    body = {"inputs": [{"id": one} for one in ("101", "104", "103")]}
    answer = api.post("/crm/v4/associations/contacts/companies/batch/read", body)
    assert answer.status_code == 207
    assert_shape(answer.json(), payload("associations_v4"))
    assert [one["from"]["id"] for one in answer.json()["results"]] == ["101", "103"]
    assert answer.json()["errors"][0]["context"]["fromObjectId"] == ["104"]
    dated = api.post("/crm/associations/2026-09/contacts/companies/batch/read", body).json()
    assert dated["results"][0]["to"][0]["toObjectId"] == "501"
    too_many = {"inputs": [{"id": str(number)} for number in range(1, 1_002)]}
    assert api.post("/crm/v4/associations/contacts/companies/batch/read", too_many).status_code == 400
