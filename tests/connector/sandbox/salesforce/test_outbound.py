"""Outbound messages and signed callouts, as a receiver sees them."""

import hashlib
import hmac
import json
import queue
from collections.abc import Callable, Iterator

import defusedxml.ElementTree as ElementTree
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connector.sandbox.salesforce.outbound import acknowledged
from connector.sandbox.salesforce.store import ORGANIZATION
from tests.connector.sandbox.salesforce.conftest import Api

ACK = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><notificationsResponse '
    'xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse></soapenv:Body>'
    "</soapenv:Envelope>"
)
SOAP = "{http://soap.sforce.com/2005/09/outbound}"


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    with HTTPServer() as server:
        yield server


def _heard(receiver: HTTPServer, *answers: str) -> "queue.Queue[Request]":
    got: queue.Queue[Request] = queue.Queue()
    left = list(answers)

    def handle(request: Request) -> Response:
        request.get_data()
        got.put(request)
        return Response(left.pop(0) if len(left) > 1 else left[0], content_type="text/xml")

    receiver.expect_request("/hook").respond_with_handler(handle)
    return got


def test_a_change_is_told_until_it_is_acknowledged(start: Callable[..., Api], receiver: HTTPServer) -> None:
    got = _heard(receiver, '{"ok": true}', ACK)
    api = start(webhooks=receiver.url_for("/hook"))
    one = api.leads(1)[0]
    first, second = got.get(timeout=10), got.get(timeout=10)
    found = [ElementTree.fromstring(request.get_data()) for request in (first, second)]
    assert found[0].find(f".//{SOAP}OrganizationId").text == ORGANIZATION
    assert found[0].find(f".//{SOAP}SessionId").text is None
    notes = [tree.find(f".//{SOAP}Notification/{SOAP}Id").text for tree in found]
    assert notes[0] == notes[1]
    assert found[1].find(".//{urn:sobject.enterprise.soap.sforce.com}Id").text == one


def test_a_callout_is_signed_over_its_time_and_body(start: Callable[..., Api], receiver: HTTPServer) -> None:
    got = _heard(receiver, "")
    api = start(webhooks="json+" + receiver.url_for("/hook"))
    one = api.leads(1)[0]
    request = got.get(timeout=10)
    signed = request.headers["X-Leadlight-Timestamp"].encode() + b"." + request.get_data()
    wanted = hmac.new(api.box.client_secret.encode(), signed, hashlib.sha256).hexdigest()
    assert request.headers["X-Leadlight-Signature"] == f"sha256={wanted}"
    assert json.loads(request.get_data())["notifications"][0]["recordId"] == one


def test_only_the_acknowledgement_is_one() -> None:
    assert acknowledged(ACK.encode())
    for answer in (b"", b"ok", ACK.replace("true", "false").encode(), b"<Ack>true</Ack>"):
        assert not acknowledged(answer)
