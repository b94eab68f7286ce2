"""E-mail events, occurrences, forms and consent."""

from collections.abc import Callable
from typing import Any

import pytest

from connector.sandbox.hubspot.engagement import EMAIL_EVENTS
from tests.connector.sandbox.hubspot.conftest import Api, assert_shape, payload

EMAIL = "/email/public/v1/events"


def types(api: Api, **query: Any) -> list[str]:
    return [one["type"] for one in api.get(EMAIL, limit=100, **query).json()["events"]]


def test_email_events_are_newest_first_in_pages(api: Api) -> None:
    first = api.get(EMAIL, limit=2).json()
    assert ([one["type"] for one in first["events"]], first["hasMore"]) == (["STATUSCHANGE", "CLICK"], True)
    second = api.get(EMAIL, limit=2, offset=first["offset"]).json()
    assert [one["type"] for one in second["events"]] == ["OPEN", "DELIVERED"]
    last = api.get(EMAIL, limit=2, offset=second["offset"]).json()
    assert ([one["type"] for one in last["events"]], last["hasMore"]) == (["SENT"], False)
    created = [one["created"] for page in (first, second, last) for one in page["events"]]
    assert created == sorted(created, reverse=True)


def test_an_open_names_the_send_that_it_follows(api: Api) -> None:
    body = api.get(EMAIL, eventType="OPEN").json() | {"hasMore": True}
    assert_shape(body, payload("email_events"))
    opened = body["events"][0]
    assert opened["sentBy"] == {"id": "7000", "created": 1_788_422_400_000}
    assert (opened["recipient"], opened["emailCampaignId"]) == ("person101@mill.example", 3774)
    found = api.get(f"{EMAIL}/{opened['created']}/{opened['id']}").json()
    assert found == opened
    assert api.get(f"{EMAIL}/{opened['created']}/none").status_code == 404


def test_email_events_by_time_both_ends_included(api: Api) -> None:
    at = 1_788_422_400_000
    assert types(api, startTimestamp=at + 60_000, endTimestamp=at + 180_000) == ["CLICK", "OPEN", "DELIVERED"]
    assert types(api, startTimestamp=at + 60_001, endTimestamp=at + 179_999) == ["OPEN"]


def test_email_events_filtered_by_recipient_and_machine(api: Api) -> None:
    assert types(api, recipient="nobody@mill.example") == []
    assert types(api, excludeFilteredEvents="true") == ["STATUSCHANGE", "CLICK", "DELIVERED", "SENT"]
    assert types(api, campaignId=3774, appId=113)[-1] == "SENT"
    assert api.get(EMAIL, campaignId=3774).status_code == 400


@pytest.mark.parametrize(("limit", "status"), [(1_000, 200), (1_001, 400), (0, 400)])
def test_email_event_pages_hold_a_thousand(api: Api, limit: int, status: int) -> None:
    assert api.get(EMAIL, limit=limit).status_code == status


def test_an_offset_of_someone_else_is_refused(api: Api) -> None:
    assert api.get(EMAIL, offset="nonsense").status_code == 400


def test_an_unsubscription_has_no_type_of_its_own(api: Api) -> None:
    event = api.get(EMAIL, eventType="STATUSCHANGE").json()["events"][0]
    assert event["portalSubscriptionStatus"] == "UNSUBSCRIBED"
    assert event["subscriptions"][0]["status"] == "UNSUBSCRIBED"


def test_events_that_arrive_late_take_their_place_in_time(api: Api) -> None:
    late = dict.fromkeys(EMAIL_EVENTS.names) | {"id": "late", "type": "CLICK", "filtered": False}
    api.portal.engagement.emails.add([late | {"created": 1_788_422_430_000, "recipient": "a@x.example"}])
    assert types(api) == ["STATUSCHANGE", "CLICK", "OPEN", "DELIVERED", "CLICK", "SENT"]


def test_occurrences_of_a_merged_contact_are_the_winners(api: Api) -> None:
    body = api.get("/events/event-occurrences/2026-09", eventType="e_visited_page").json()
    assert_shape(body, payload("occurrences"))
    assert [one["objectId"] for one in body["results"]] == ["101"]
    assert body["results"][0]["properties"]["hs_url"] == "https://mill.example/prices"
    assert api.get("/events/v3/events", objectType="contact", objectId="102").json()["results"] == []
    by_mail = api.get("/events/v3/events", **{"objectProperty.email": "person101@mill.example"}).json()
    assert [one["eventType"] for one in by_mail["results"]] == ["pe62515_custom", "e_visited_page"]


def test_occurrences_by_time_in_pages(api: Api) -> None:
    path = "/events/event-occurrences/2026-09"
    first = api.get(path, limit=1, sort="occurredAt").json()
    assert first["results"][0]["eventType"] == "e_visited_page"
    second = api.get(path, limit=1, sort="occurredAt", after=first["paging"]["next"]["after"]).json()
    assert (second["results"][0]["eventType"], "paging" in second) == ("pe62515_custom", False)
    assert api.get(path, occurredAfter="2026-09-03T08:06:00Z").json()["results"] == second["results"]
    assert api.get(f"{path}/event-types").json() == {"eventTypes": ["e_visited_page", "pe62515_custom"]}


def test_occurrences_need_an_enterprise_hub(start: Callable[..., Api]) -> None:
    api = start(faults=(("plan", "professional"),))
    answer = api.get("/events/event-occurrences/2026-09")
    assert (answer.status_code, answer.json()["category"]) == (403, "MISSING_SCOPES")
    batch = api.post("/communication-preferences/2026-09/statuses/batch/read", {"inputs": ["a@x.example"]})
    assert batch.status_code == 403
    assert api.get("/crm/owners/2026-09").headers["X-HubSpot-RateLimit-Daily"] == "625000"


def test_form_submissions_of_a_form(api: Api) -> None:
    forms = api.get("/marketing/v3/forms").json()["results"]
    assert [one["name"] for one in forms] == ["Ask us"]
    path = f"/form-integrations/v1/submissions/forms/{forms[0]['id']}"
    body = api.get(path, limit=50).json()
    assert_shape(body, payload("form_submissions"))
    assert body["results"][0]["values"][0]["value"] == "person101@mill.example"
    assert api.get(path, limit=51).status_code == 400
    assert api.get("/form-integrations/v1/submissions/forms/none").status_code == 404


def test_who_said_no_is_unsubscribed(api: Api) -> None:
    path = "/communication-preferences/2026-09/statuses/{}@mill.example"
    denied = api.get(path.format("person103"), channel="EMAIL").json()
    assert_shape(denied, payload("statuses"))
    assert denied["results"][0]["status"] == "UNSUBSCRIBED"
    assert api.get(path.format("person101"), channel="EMAIL").json()["results"][0]["status"] == "NOT_SPECIFIED"
    contacts = api.get("/crm/objects/2026-09/contacts", limit=5, properties="hs_email_optout").json()["results"]
    assert [one["properties"]["hs_email_optout"] for one in contacts] == [None, None, "true", None, None]


def test_activities_are_associated_with_their_contact(api: Api) -> None:
    wanted = {"properties": "hs_timestamp,hs_meeting_outcome,hs_email_direction", "associations": "contacts"}
    for name, kind in (("meetings", "meeting"), ("calls", "call"), ("emails", "email")):
        found = api.get(f"/crm/objects/2026-09/{name}", **wanted).json()["results"][0]
        assert found["associations"]["contacts"]["results"] == [{"id": "101", "type": f"{kind}_to_contact"}]
        assert found["properties"]["hs_timestamp"] == found["createdAt"]
