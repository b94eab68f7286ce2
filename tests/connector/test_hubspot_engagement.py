"""What people did: marketing email, forms, page views, and activities of sales."""

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request

from connector.platform import PullRequest
from connector.platforms.hubspot import words
from tests.connector.dict_known import DictKnown
from tests.connector.hubspot_made import MadeHubSpot, V, page, payload, utc

EMAILS = "GET /email/public/v1/events"
OCCURRENCES = f"GET /events/event-occurrences/{V}"
NEWEST = 1795300003000


@pytest.fixture
def made(httpserver: HTTPServer) -> MadeHubSpot:
    return MadeHubSpot(httpserver)


@pytest.fixture
def known() -> DictKnown:
    known = DictKnown()
    known.parts["contact_addresses"] = [
        {"contact_id": "11", "email": "person11@firm.example", "is_primary": True},
        {"contact_id": "11", "email": "second.address@firm.example", "is_primary": False},
        {"contact_id": "12", "email": "person12@firm.example", "is_primary": True},
    ]
    return known


def pulled(made: MadeHubSpot, known: DictKnown, stop_after: int | None = None) -> dict[str, dict[str, Any]]:
    known.take(made.platform().pull(known, PullRequest()), stop_after=stop_after)
    return known.tables["events"]


def test_email_events_join_by_every_address_in_our_words(made: MadeHubSpot, known: DictKnown) -> None:
    made.answer(EMAILS, payload("email_events"))
    events = pulled(made, known)
    assert {(e["contact_id"], e["kind"]) for e in events.values()} == {
        ("11", "email_click"),
        ("11", "email_open"),
        ("12", "email_unsubscribe"),
        ("12", "email_bounce"),
    }
    click = events["c3:1795300003000"]
    assert click["occurred_at"] == words.second(NEWEST)
    assert (click["campaign_id"], click["url"]) == ("3774", "https://firm.example/pricing")
    assert json.loads(click["properties"])["sent_by"] == "s1:1795300000000"
    assert "Graz" not in click["properties"]
    assert (click["human"], events["o9:1795300002000"]["human"]) == (1.0, 0.05)


def test_email_events_are_paged_by_offset_and_resumed_below_the_oldest(
    made: MadeHubSpot, known: DictKnown
) -> None:
    def event(number: int) -> dict[str, Any]:
        created = NEWEST - 1000 * number
        return {"id": f"e{number}", "created": created, "type": "OPEN", "recipient": "person11@firm.example"}

    pages = {
        None: {"hasMore": True, "offset": "aa", "events": [event(n) for n in (0, 1, 2)]},
        "aa": {"hasMore": True, "offset": "bb", "events": [event(n) for n in (3, 4, 5)]},
        "bb": {"hasMore": False, "offset": "cc", "events": [event(6)]},
    }
    made.answer(EMAILS, lambda request: pages[request.args.get("offset")])
    pages_taken = 0
    for one in made.platform().pull(known, PullRequest()):
        known.commit(one)  # type: ignore[arg-type]
        pages_taken += one.stream == "email_events"
        if pages_taken == 2:
            break
    assert sorted(known.tables["events"]) == [f"e{n}:{NEWEST - 1000 * n}" for n in range(6)]
    first = made.requests(EMAILS)[0].args
    made.asked.clear()
    made.answer(EMAILS, {"hasMore": False, "events": [event(5), event(6)]})
    pulled(made, known)
    again, later = (request.args for request in made.requests(EMAILS))
    assert (again["startTimestamp"], again["endTimestamp"]) == (first["startTimestamp"], str(NEWEST - 5000))
    assert len(known.tables["events"]) == 7
    # then what happened since, with a look-back
    assert int(later["startTimestamp"]) == int(first["endTimestamp"]) - 900_000


def test_the_last_minutes_of_email_events_are_held_back(made: MadeHubSpot, known: DictKnown) -> None:
    pulled(made, known)
    until = int(made.requests(EMAILS)[0].args["endTimestamp"])
    assert known.cursors["email_events"] == {"since": until}
    assert known.cursors["contacts"]["since"] - until == pytest.approx(300_000, abs=5_000)


def submission(number: int, submitted: int, email: str | None) -> dict[str, Any]:
    values = [{"name": "firstname", "value": "Ann", "objectTypeId": "0-1"}]
    if email is not None:
        values.append({"name": "email", "value": email, "objectTypeId": "0-1"})
    return {
        "conversionId": f"conv-{number}",
        "submittedAt": submitted,
        "values": values,
        "pageUrl": "https://firm.example/demo",
    }


def test_form_submissions_are_paged_until_older_than_the_cursor(made: MadeHubSpot, known: DictKnown) -> None:
    made.answer("GET /marketing/v3/forms", page([{"id": "f-1", "name": "Demo"}], "n"), page([{"id": "f-2"}]))
    pages = {
        None: page([submission(n, NEWEST - n, "Person11@firm.example") for n in (1, 2)], "p2"),
        "p2": page([submission(3, NEWEST - 3, None), submission(4, NEWEST - 4, "nobody@x.example")], "p3"),
        "p3": page([submission(5, NEWEST - 5, "person12@firm.example")]),
    }
    first, second = (f"GET /form-integrations/v1/submissions/forms/{form}" for form in ("f-1", "f-2"))
    made.answer(first, lambda request: pages[request.args.get("after")])
    made.answer(second, page([]))
    events = pulled(made, known)
    assert {(n, e["contact_id"]) for n, e in events.items()} == {
        ("conv-1", "11"),
        ("conv-2", "11"),
        ("conv-5", "12"),
    }
    assert events["conv-5"]["kind"] == "form_submit"
    assert json.loads(events["conv-5"]["properties"]) == {"form_id": "f-1"}
    since = known.cursors["form_submissions"]["since"]
    made.asked.clear()
    late, old = (submission(n, since + t, "person11@firm.example") for n, t in ((9, 1), (8, -900_001)))
    made.answer(first, page([late, old], "more"))
    pulled(made, known)
    assert len(made.requests(first)) == 1
    assert not made.requests("GET /marketing/v3/forms")
    assert "conv-9" in events
    assert "conv-8" not in events


def test_many_forms_are_looked_at_only_when_someone_converted(made: MadeHubSpot, known: DictKnown) -> None:
    forms = [{"id": f"f-{n}"} for n in range(20)]
    made.answer("GET /marketing/v3/forms", page(forms))
    for form in forms:
        made.answer(f"GET /form-integrations/v1/submissions/forms/{form['id']}", page([]))
    pulled(made, known)
    made.asked.clear()
    pulled(made, known)
    assert not [call for call in made.calls() if "form-integrations" in call]
    converted = made.bodies(f"POST /crm/objects/{V}/contacts/search")[-1]["filterGroups"][0]["filters"][0]
    assert converted["propertyName"] == "recent_conversion_date"


def occurrence(number: int) -> dict[str, Any]:
    return {
        "id": f"pv-{number}",
        "eventType": "e_visited_page",
        "objectType": "CONTACT",
        "objectId": "11",
        "occurredAt": f"2026-11-20T10:00:0{number}.120Z",
        "properties": {"hs_url": f"https://firm.example/{number}", "hs_title": "Pricing", "hs_utm_campaign": ""},
    }


def test_page_views_are_read_for_the_whole_account(made: MadeHubSpot, known: DictKnown) -> None:
    parts = {None: page([occurrence(1), occurrence(2)], "Mg=="), "Mg==": page([occurrence(3)])}
    made.answer(OCCURRENCES, lambda request: parts[request.args.get("after")])
    events = pulled(made, known)
    assert [events[f"pv-{n}"]["url"] for n in (1, 2, 3)] == [f"https://firm.example/{n}" for n in (1, 2, 3)]
    assert events["pv-2"]["occurred_at"] == utc("2026-11-20T10:00:02")
    assert events["pv-2"]["kind"] == "page_view"
    arguments = made.requests(OCCURRENCES)[0].args
    assert (arguments["eventType"], "objectId" in arguments) == ("e_visited_page", False)


def test_a_page_size_that_is_refused_is_made_smaller(made: MadeHubSpot, known: DictKnown) -> None:
    def picky(request: Request) -> Any:
        return (400, {"status": "error"}) if int(request.args["limit"]) > 100 else page([occurrence(1)])

    made.answer(OCCURRENCES, picky)
    assert "pv-1" in pulled(made, known)


def test_page_views_are_off_below_enterprise(made: MadeHubSpot, known: DictKnown) -> None:
    made.answer(OCCURRENCES, (403, {"status": "error", "message": "not on this plan"}))
    pulled(made, known)
    assert [(off.stream, off.scope) for off in known.off] == [("page_views", "Marketing Hub Enterprise")]


def activity(number: int, contacts: list[int], **properties: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "properties": {"hs_timestamp": "2026-10-05T14:30:00.250Z", **properties},
        "associations": {"contacts": {"results": [{"id": str(n), "type": "x_to_contact"} for n in contacts]}},
    }


def test_activities_become_one_event_for_each_contact(made: MadeHubSpot, known: DictKnown) -> None:
    connected = "f240bbac-87c9-4f6e-bf70-924b57d47db7"
    made.answer(
        f"GET /crm/objects/{V}/calls",
        page([activity(1, []), activity(2, [11, 12], hs_call_disposition=connected), activity(3, [12])]),
    )
    made.answer(
        f"GET /crm/objects/{V}/emails",
        page(
            [
                activity(4, [11], hs_email_direction="EMAIL", hs_email_status="SENT"),
                activity(5, [11], hs_email_direction="INCOMING_EMAIL"),
                activity(6, [11], hs_email_direction="EMAIL", hs_email_status="BOUNCED"),
            ]
        ),
    )
    made.answer(f"GET /crm/objects/{V}/meetings", page([activity(7, [12], hs_meeting_outcome="NO_SHOW")]))
    made.answer(
        f"GET /crm/objects/{V}/communications",
        page(
            [
                activity(8, [11], hs_communication_channel_type="SMS"),
                activity(9, [11], hs_communication_channel_type="LINKEDIN_MESSAGE"),
            ]
        ),
    )
    events = pulled(made, known)
    assert {name: event["kind"] for name, event in events.items()} == {
        "calls:2:11": "call",
        "calls:2:12": "call",
        "calls:3:12": "call",
        "emails:4:11": "email_sent",
        "emails:5:11": "email_reply",
        "emails:6:11": "email_bounce",
        "meetings:7:12": "meeting",
        "communications:8:11": "sms_sent",
        "communications:9:11": "custom",
    }
    assert json.loads(events["calls:2:11"]["properties"])["outcome"] == "connected"
    assert events["emails:4:11"]["channel"] == "one_to_one"
    assert events["meetings:7:12"]["occurred_at"] == utc("2026-10-05T14:30:00")


def test_later_activities_come_by_search_with_their_contacts(made: MadeHubSpot, known: DictKnown) -> None:
    pulled(made, known)
    new = [activity(n, []) for n in (21, 22, 23)]
    made.answer(f"POST /crm/objects/{V}/meetings/search", {"total": 3, "results": new})
    made.answer(
        f"POST /crm/associations/{V}/meetings/contacts/batch/read",
        {"results": [{"from": {"id": "22"}, "to": [{"toObjectId": 11}, {"toObjectId": "12"}]}]},
    )
    since = known.cursors["meetings"]["since"]
    assert sorted(pulled(made, known)) == ["meetings:22:11", "meetings:22:12"]
    floor = made.bodies(f"POST /crm/objects/{V}/meetings/search")[0]["filterGroups"][0]["filters"][0]
    assert (floor["propertyName"], floor["value"]) == ("hs_lastmodifieddate", str(since - 900_000))


def test_one_to_one_emails_have_a_scope_of_their_own(made: MadeHubSpot, known: DictKnown) -> None:
    made.answer(f"GET /crm/objects/{V}/emails", (403, {"status": "error"}))
    pulled(made, known)
    assert [(off.stream, off.scope) for off in known.off] == [("emails", "sales-email-read")]
    assert "tasks" in known.cursors
