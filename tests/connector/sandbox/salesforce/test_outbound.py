"""Outbound messages and signed callouts, as a receiver sees them."""

import hashlib
import hmac
import json
import queue
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import defusedxml.ElementTree as ElementTree
import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import manifests
from connector.platform import Received
from connector.platforms.salesforce.webhooks import SIGNATURE, TIMESTAMP, SalesforceReceiver
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
CALLOUT = Path(manifests.__file__).parent.joinpath(
    "salesforce", "force-app", "main", "default", "classes", "LeadlightNotifier.cls"
)


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    with HTTPServer() as server:
        yield server


def _heard(receiver: HTTPServer, *answers: str, status: tuple[int, ...] = (200,)) -> "queue.Queue[Request]":
    got: queue.Queue[Request] = queue.Queue()
    left, statuses = list(answers), list(status)

    def handle(request: Request) -> Response:
        request.get_data()
        got.put(request)
        code = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        return Response(left.pop(0) if len(left) > 1 else left[0], code, content_type="text/xml")

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
    assert json.loads(request.get_data())["records"] == [{"object": "Lead", "id": one, "change": "updated"}]


def test_callout_sandbox_and_receiver_speak_one_language(start: Callable[..., Api], receiver: HTTPServer) -> None:
    """What the org pretends to send has the keys of the deployed Apex class, and the service takes and reads it,
    whatever path it came by; a second attempt is the same event."""
    apex = CALLOUT.read_text(encoding="utf-8")
    got = _heard(receiver, "busy", "", status=(503, 200))
    api = start(webhooks="json+" + receiver.url_for("/hook"))
    one = api.leads(1)[0]
    first, second = got.get(timeout=10), got.get(timeout=10)
    body = json.loads(first.get_data())
    said = [*body["records"][0], *body]
    assert sorted(said) == sorted(re.findall(r"'(\w+)' =>", apex))
    assert {name.lower() for name in re.findall(r"setHeader\('(X-[^']+)'", apex)} == {SIGNATURE, TIMESTAMP}
    assert f"'change' => '{body['records'][0]['change']}'" in apex
    ours = SalesforceReceiver(SecretStr("path"), SecretStr(api.box.client_secret), ORGANIZATION)
    hints = []
    for request in (first, second):
        headers = {name.lower(): value for name, value in request.headers.items()}
        now = datetime.now(UTC).replace(tzinfo=None)
        ours.verify(Received("POST", request.full_path, headers, request.get_data(), now))
        hints += ours.hints(request.get_data())
    assert {(hint.object, hint.object_id, hint.kind) for hint in hints} == {("contact", one, "changed")}
    assert hints[0].key == hints[1].key
    assert abs(hints[0].occurred_at - now) < timedelta(minutes=1)


def test_messages_come_twice_and_late_where_asked(start: Callable[..., Api], receiver: HTTPServer) -> None:
    got = _heard(receiver, ACK)
    api = start(webhooks=receiver.url_for("/hook"), faults=(("webhook-repeat", "1"),))
    api.leads(1)
    found = ElementTree.fromstring(got.get(timeout=10).get_data())
    keys = [note.text for note in found.iterfind(f".//{SOAP}Notification/{SOAP}Id")]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_only_the_acknowledgement_is_one() -> None:
    assert acknowledged(ACK.encode())
    for answer in (b"", b"ok", ACK.replace("true", "false").encode(), b"<Ack>true</Ack>"):
        assert not acknowledged(answer)
