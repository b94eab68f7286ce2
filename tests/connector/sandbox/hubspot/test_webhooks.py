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

from connector.sandbox import Sandbox, SandboxOptions
from connector.sandbox.hubspot.market import fill
from connector.sandbox.hubspot.state import INTEGRATION, Change, Portal
from connector.sandbox.hubspot.webhooks import Webhooks, signature_v3
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
