"""Webhooks of the sandbox: signature, payloads, retries."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connector.errors import BadSetting
from connector.sandbox import Sandbox, SandboxOptions
from connector.sandbox.hubspot.market import fill
from connector.sandbox.hubspot.state import INTEGRATION, Change, Portal
from connector.sandbox.hubspot.webhooks import Webhooks, signature_v3
from connector.sandbox.options import Faults, parse_fault
from tests.connector.sandbox.hubspot.conftest import account_tables

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"


@pytest.mark.parametrize(
    ("timestamp", "signature"),
    [
        ("1693657560000", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
        ("1700000300000", "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="),
    ],
)
def test_the_documented_signatures(timestamp: str, signature: str) -> None:
    body = b"{'example_field':'example_value'}"
    assert signature_v3(SECRET, "POST", "https://www.example.com/webhook_uri", body, timestamp) == signature


def test_some_characters_of_the_address_are_decoded_before_signing() -> None:
    plain = signature_v3(SECRET, "POST", "https://x.example/a:b@c d?e=%20", b"", "1")
    assert signature_v3(SECRET, "POST", "https://x.example/a%3Ab%40c d?e=%20", b"", "1") == plain
    assert signature_v3(SECRET, "POST", "https://x.example/a:b@c d?e= ", b"", "1") != plain


class Receiver:
    """Keeps what arrives; `answers` are the statuses to give, 200 when there are no more."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[int] = []

    def __call__(self, request: Request) -> Response:
        request.get_data()
        self.requests.append(request)
        return Response(status=self.answers.pop(0) if self.answers else 200)

    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.requests for event in json.loads(request.get_data())]

    def wait_for(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not enough():
            assert time.monotonic() < deadline, f"{len(self.requests)} requests arrived"
            time.sleep(0.01)


@pytest.fixture
def receiver(httpserver: HTTPServer) -> Receiver:
    made = Receiver()
    httpserver.expect_request("/hook", method="POST").respond_with_handler(made)
    return made


@pytest.fixture
def box(httpserver: HTTPServer, receiver: Receiver) -> Iterator[Sandbox]:
    portal = Portal()
    fill(portal, account_tables())
    with Sandbox(SandboxOptions(webhooks=httpserver.url_for("/hook")), portal) as running:
        yield running


def test_changes_are_told_with_who_made_them(box: Sandbox, receiver: Receiver, httpserver: HTTPServer) -> None:
    headers = {"Authorization": f"Bearer {box.token}"}
    contacts = f"{box.base_url}/crm/objects/2026-09/contacts"
    edit = {"contact_id": "101", "properties": {"plan": "iron"}}
    requests.post(f"{box.base_url}/_sandbox/edit", json=edit, timeout=10)
    requests.patch(f"{contacts}/102", json={"properties": {"seats": "9"}}, headers=headers, timeout=10)
    merge = {"primaryObjectId": "103", "objectIdToMerge": "104"}
    requests.post(f"{contacts}/merge", json=merge, headers=headers, timeout=10)
    requests.post(contacts, json={"properties": {"seats": "1"}}, headers=headers, timeout=10)
    requests.delete(f"{contacts}/105", headers=headers, timeout=10)
    receiver.wait_for(lambda: any(one["subscriptionType"] == "contact.deletion" for one in receiver.events()))
    events = receiver.events()
    person = next(one for one in events if one.get("propertyName") == "plan")
    assert (person["objectId"], person["propertyValue"], person["changeSource"]) == (101, "iron", "CRM_UI")
    assert person["sourceId"] == "userId:9586504"
    ours = next(one for one in events if one.get("propertyName") == "seats" and one["objectId"] == 102)
    assert (ours["changeSource"], ours["sourceId"], ours["appId"]) == ("INTEGRATION", "1160452", 1_160_452)
    merged = next(one for one in events if one["subscriptionType"] == "contact.merge")
    assert (merged["primaryObjectId"], merged["mergedObjectIds"]) == (103, [104])
    created = next(one for one in events if one["subscriptionType"] == "contact.creation")
    assert (created["objectId"], created["changeFlag"]) == (108, "CREATED")
    request = receiver.requests[0]
    stamp = request.headers["X-HubSpot-Request-Timestamp"]
    signed = signature_v3(box.client_secret, "POST", httpserver.url_for("/hook"), request.get_data(), stamp)
    assert request.headers["X-HubSpot-Signature-v3"] == signed
    plain = hashlib.sha256(box.client_secret.encode() + request.get_data()).hexdigest()
    assert request.headers["X-HubSpot-Signature"] == plain


def test_what_is_refused_comes_again_and_delays_nothing(httpserver: HTTPServer, receiver: Receiver) -> None:
    receiver.answers = [500, 400]
    sender = Webhooks(httpserver.url_for("/hook"), SECRET, 33, delays=(0.2, 0.4, 0.4))
    sender.start()
    sender.hear(Change("deletion", "contacts", 1, 5, INTEGRATION))
    receiver.wait_for(lambda: len(receiver.requests) == 1)
    receiver.answers = [200, 400]
    sender.hear(Change("deletion", "contacts", 2, 6, INTEGRATION))
    receiver.wait_for(lambda: sender.delivered == 2)
    sender.stop()
    told = [(one["objectId"], one["attemptNumber"]) for one in receiver.events()]
    assert told == [(1, 0), (2, 0), (1, 1), (1, 2)]


def test_batches_hold_a_hundred(httpserver: HTTPServer, receiver: Receiver) -> None:
    sender = Webhooks(httpserver.url_for("/hook"), SECRET, 33)
    for id_ in range(250):
        sender.hear(Change("creation", "contacts", id_, 5, INTEGRATION))
    sender.start()
    receiver.wait_for(lambda: sender.delivered == 250)
    sender.stop()
    assert sorted(len(json.loads(request.get_data())) for request in receiver.requests) == [50, 100, 100]
    assert len({one["eventId"] for one in receiver.events()}) == 248


def sent_with(httpserver: HTTPServer, receiver: Receiver, count: int, **faults: float) -> list[int]:
    """Ids in the order of arrival, of so many creations told one after another."""
    named = {name.replace("_", "-"): chance for name, chance in faults.items()}
    sender = Webhooks(httpserver.url_for("/hook"), SECRET, 33, faults=named, seed=3)
    for id_ in range(count):
        sender.hear(Change("creation", "contacts", id_, 5, INTEGRATION))
    sender.start()
    expected = 2 * count if faults.get("webhook_repeat") == 1.0 else count
    receiver.wait_for(lambda: sender.delivered >= expected)
    sender.stop()
    return [one["objectId"] for one in receiver.events()]


def test_events_come_twice_late_and_out_of_order_where_that_is_asked(
    httpserver: HTTPServer, receiver: Receiver
) -> None:
    plain = sent_with(httpserver, receiver, 50)
    assert plain == list(range(50))
    receiver.requests.clear()
    assert sorted(sent_with(httpserver, receiver, 50, webhook_repeat=1.0)) == sorted([*range(50), *range(50)])
    receiver.requests.clear()
    shuffled = sent_with(httpserver, receiver, 50, webhook_shuffle=1.0)
    assert shuffled != plain
    assert sorted(shuffled) == plain
    receiver.requests.clear()
    late = sent_with(httpserver, receiver, 50, webhook_late=0.5)
    assert late != plain
    assert sorted(late) == plain
    assert len(receiver.requests) > 1


def test_the_faults_of_webhooks_are_options_and_leave_other_requests_alone() -> None:
    given = parse_fault("webhook-repeat=0.5")
    faults = Faults.of((given,))
    assert (faults.webhooks, faults.chances) == ({"webhook-repeat": 0.5}, {})
    with pytest.raises(BadSetting, match="webhook-late"):
        parse_fault("webhook-lost=0.1")
    with pytest.raises(BadSetting, match="probability"):
        parse_fault("webhook-late=2")


def test_an_association_is_told_from_both_ends_and_a_primary_one_twice(box: Sandbox, receiver: Receiver) -> None:
    made = {"properties": {"name": "Acme"}}
    headers = {"Authorization": f"Bearer {box.token}"}
    company = requests.post(
        f"{box.base_url}/crm/objects/2026-09/companies", json=made, headers=headers, timeout=10
    ).json()["id"]
    lonely = next(str(one) for one in box.state.contacts.live if not box.state.contacts.linked(one, "companies"))
    link = {"contact_id": lonely, "company_id": company}
    requests.post(f"{box.base_url}/_sandbox/associate", json=link, timeout=10).raise_for_status()
    requests.post(
        f"{box.base_url}/_sandbox/associate", json={**link, "removed": True}, timeout=10
    ).raise_for_status()
    assert box.state.contacts.linked(int(lonely), "companies") == []

    def told() -> list[dict[str, Any]]:
        return [one for one in receiver.events() if one["subscriptionType"].endswith("associationChange")]

    receiver.wait_for(lambda: len(told()) == 8)
    first = told()[0]
    assert (first["subscriptionType"], first["associationType"]) == (
        "contact.associationChange",
        "CONTACT_TO_COMPANY",
    )
    assert (first["fromObjectId"], first["toObjectId"]) == (int(lonely), int(company))
    assert "objectId" not in first
    assert [one["isPrimaryAssociation"] for one in told()] == [False, False, True, True] * 2
    assert [one["associationRemoved"] for one in told()] == [False] * 4 + [True] * 4
    nobody = requests.post(f"{box.base_url}/_sandbox/associate", json={"contact_id": "1"}, timeout=10)
    assert nobody.status_code == 400


def test_a_privacy_deletion_and_a_restore_are_told(box: Sandbox, receiver: Receiver) -> None:
    headers = {"Authorization": f"Bearer {box.token}"}
    contacts = f"{box.base_url}/crm/objects/2026-09/contacts"
    requests.delete(f"{contacts}/102", headers=headers, timeout=10).raise_for_status()
    requests.post(f"{box.base_url}/_sandbox/restore", json={"contact_id": "102"}, timeout=10).raise_for_status()
    requests.post(
        f"{contacts}/gdpr-delete", json={"objectId": "103"}, headers=headers, timeout=10
    ).raise_for_status()
    receiver.wait_for(lambda: any("privacy" in one["subscriptionType"] for one in receiver.events()))
    told = [(one["subscriptionType"].partition(".")[2], one["objectId"]) for one in receiver.events()]
    assert told == [("deletion", 102), ("restore", 102), ("deletion", 103), ("privacyDeletion", 103)]


def test_a_day_of_changes_is_replayed_and_answers_are_timed(box: Sandbox, receiver: Receiver) -> None:
    url = f"{box.base_url}/_sandbox/replay"
    assert requests.get(url, timeout=10).status_code == 400
    begun = requests.post(url, json={"changes": 60, "seconds": 0.5, "seed": 2}, timeout=10)
    assert begun.json()["changes"] == 60
    assert requests.post(url, json={"changes": 1}, timeout=10).status_code == 400
    receiver.wait_for(lambda: requests.get(url, timeout=10).json()["finished"])
    state = requests.get(url, timeout=10).json()
    assert sum(state["done"].values()) > 40
    assert state["waiting"] > 0
    assert state["answered"] == 0
    receiver.wait_for(lambda: len(receiver.events()) > 0)
    edited = next(one for one in receiver.events() if one["subscriptionType"] == "contact.propertyChange")
    seats = {"properties": {"seats": "77"}}
    headers = {"Authorization": f"Bearer {box.token}"}
    requests.patch(
        f"{box.base_url}/crm/objects/2026-09/contacts/{edited['objectId']}",
        json=seats,
        headers=headers,
        timeout=10,
    ).raise_for_status()
    after = requests.get(url, timeout=10).json()
    assert (after["answered"], after["waiting"]) == (1, state["waiting"] - 1)
    assert after["p50_ms"] > 0
