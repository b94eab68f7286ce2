"""Lists: made by hand, read by pages."""

from typing import Any

from tests.connector.sandbox.hubspot.conftest import Api

MEMBERSHIPS = "/crm/lists/2026-09/42/memberships"


def ids(body: dict[str, Any]) -> list[str]:
    return [one["recordId"] for one in body["results"]]


def test_a_list_is_paged_in_the_order_of_ids_on_both_paths(api: Api) -> None:
    assert api.get(MEMBERSHIPS).status_code == 404
    contacts = sorted(api.get("/_sandbox/state").json()["contacts"], key=int)[:3]
    assert api.post("/_sandbox/list", {"list_id": "42", "contact_ids": contacts[::-1]}).status_code == 200
    first = api.get(MEMBERSHIPS, limit=2).json()
    assert (ids(first), first["total"]) == (contacts[:2], 3)
    last = api.get("/crm/v3/lists/42/memberships", limit=2, after=first["paging"]["next"]["after"]).json()
    assert ids(last) == contacts[2:]
    assert "paging" not in last

    stamps = {one["recordId"]: one["membershipTimestamp"] for one in first["results"]}
    api.post("/_sandbox/list", {"list_id": "42", "contact_ids": contacts[:1]})
    after = api.get(MEMBERSHIPS).json()["results"]
    assert after == [{"recordId": contacts[0], "membershipTimestamp": stamps[contacts[0]]}]


def test_what_is_wrong_with_a_list_is_said(api: Api) -> None:
    assert api.post("/_sandbox/list", {"list_id": "42"}).status_code == 400
    assert api.post("/_sandbox/list", {"list_id": "42", "contact_ids": ["999999999"]}).status_code == 404
    assert api.get(MEMBERSHIPS).status_code == 404
