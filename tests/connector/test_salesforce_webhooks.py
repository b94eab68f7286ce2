"""Salesforce's webhooks: who is let in, and what a message says."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from connector.errors import BadPayload, Unverified
from connector.platform import Received, Receiver
from connector.platforms.salesforce.webhooks import LARGEST_BODY, SalesforceReceiver

ORGANIZATION = "00D5A0000000001UAA"
NOW = datetime(2026, 11, 22, 12, 0, 0)
PATH, HMAC = "a-long-secret-of-the-path", "another-secret"
RECEIVER = SalesforceReceiver(SecretStr(PATH), SecretStr(HMAC), ORGANIZATION)


def notification(key: str = "04l5A0000000001", record: str = "00Q5A0000000001", kind: str = "Lead") -> str:
    return (
        f"<Notification><Id>{key}</Id>"
        f'<sObject xsi:type="sf:{kind}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<sf:Id>{record}</sf:Id><sf:SystemModstamp>2026-11-22T11:59:30.000Z</sf:SystemModstamp>"
        "</sObject></Notification>"
    )


def message(*notifications: str, organization: str = ORGANIZATION, head: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{organization}</OrganizationId><ActionId>04k5A0000000001AAA</ActionId>"
        '<SessionId xsi:nil="true"/><EnterpriseUrl>https://acme.my.salesforce.com/x</EnterpriseUrl>'
        f"<PartnerUrl>https://acme.my.salesforce.com/y</PartnerUrl>{''.join(notifications)}"
        "</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


def soap(body: bytes, secret: str = PATH, **more: Any) -> Received:
    given: dict[str, Any] = {"method": "POST", "target": f"/webhooks/salesforce/{secret}", "headers": {}} | more
    return Received(body=body, received_at=NOW, **given)


def signed(body: bytes, at: datetime = NOW, secret: str = HMAC, received_at: datetime = NOW) -> Received:
    stamp = str(int(at.replace(tzinfo=UTC).timestamp()))
    code = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"x-leadlight-signature": f"sha256={code}", "x-leadlight-timestamp": stamp}
    return Received("POST", "/webhooks/salesforce/x", headers, body, received_at)


def callout(*records: dict[str, Any], **more: Any) -> bytes:
    given = {"organizationId": ORGANIZATION, "at": "2026-11-22T11:59:30.000Z", "records": list(records)}
    return json.dumps(given | more).encode()


EVENT = {"object": "Lead", "id": "00Q5A0000000001", "change": "updated"}


def test_an_outbound_message_is_let_in_and_read() -> None:
    body = message(notification(), notification("04l5A0000000002", "0035A0000000007", "Contact"))
    RECEIVER.verify(soap(body))
    first, second = RECEIVER.hints(body)
    assert (first.object, first.object_id, first.kind) == ("contact", "00Q5A0000000001UAA", "changed")
    assert first.occurred_at == datetime(2026, 11, 22, 11, 59, 30)
    assert second.object_id == "0035A0000000007QAA"
    assert first.key != second.key
    assert RECEIVER.hints(message(notification()))[0].key == first.key


def test_the_short_id_of_the_organisation_does_too() -> None:
    RECEIVER.verify(soap(message(notification(), organization=ORGANIZATION[:15])))


@pytest.mark.parametrize(
    "received",
    [
        soap(message(notification()), secret="wrong"),
        soap(message(notification()), secret=""),
        soap(message(notification()), target="/webhooks/salesforce/x?y=" + PATH),
        soap(message(notification(), organization="00D5A0000000002UAA")),
        soap(message(notification(), organization="00d5a0000000001uaa")),
        soap(message(notification(), organization="")),
        soap(b"no xml"),
        soap(message(notification()), method="GET"),
        soap(message(notification()) + b" " * LARGEST_BODY),
    ],
)
def test_a_forged_message_is_refused(received: Received) -> None:
    with pytest.raises(Unverified) as caught:
        RECEIVER.verify(received)
    assert PATH not in str(caught.value)


BOMB = (
    '<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
THIEF = '<!DOCTYPE thief [<!ENTITY file SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("head", [BOMB, THIEF, "<!DOCTYPE plain>"])
def test_entities_and_document_types_are_refused(head: str) -> None:
    body = message(notification(record="&c;" if head == BOMB else "00Q5A0000000001"), head=head)
    with pytest.raises(Unverified):
        RECEIVER.verify(soap(body))
    with pytest.raises(BadPayload):
        RECEIVER.hints(body)


@pytest.mark.parametrize(
    "body",
    [
        message(),
        message(*[notification()] * 101),
        message(notification(key="")),
        message(notification(record="<b/>")),
        message(notification(record="jane@firm.example")),
        b"<a/>",
        b"",
        b'<?xml version="1.0" encoding="nope"?><a/>',
    ],
)
def test_a_message_of_another_shape_is_a_bad_payload(body: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        RECEIVER.hints(body)
    assert "jane" not in str(caught.value)


def test_one_bad_record_keeps_no_other_from_being_read() -> None:
    other = {**EVENT, "id": "00Q5A0000000002"}
    with pytest.raises(BadPayload) as caught:
        RECEIVER.hints(callout(EVENT, {**EVENT, "id": "jane@firm.example"}, other))
    assert len(caught.value.hints) == 2


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"])
def test_an_instant_beyond_the_calendar_is_none(at: str) -> None:
    with pytest.raises(BadPayload, match="lacks the instant"):
        RECEIVER.hints(json.dumps({"at": at, "records": [EVENT]}).encode())


def test_objects_that_are_not_read_are_passed_over() -> None:
    assert RECEIVER.hints(message(notification(record="5005A0000000001", kind="Case"))) == []


def test_the_acknowledgement_is_exactly_what_salesforce_waits_for() -> None:
    kind, body = RECEIVER.acknowledgement()
    assert kind.startswith("text/xml")
    assert body == (
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>\n'
        b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack>'
        b"</notificationsResponse></soapenv:Body></soapenv:Envelope>"
    )


def test_a_signed_callout_is_let_in_and_read() -> None:
    conversion = {**EVENT, "change": "converted", "contact": "0035A0000000007"}
    body = callout(EVENT, {**EVENT, "change": "deleted"}, conversion, {**EVENT, "object": "Case"})
    RECEIVER.verify(signed(body))
    changed, deleted, merged = RECEIVER.hints(body)
    assert (changed.kind, changed.object_id) == ("changed", "00Q5A0000000001UAA")
    assert deleted.kind == "deleted"
    assert (merged.kind, merged.object_id[:15], merged.others) == (
        "merged",
        "0035A0000000007",
        ("00Q5A0000000001UAA",),
    )
    assert len({changed.key, deleted.key, merged.key}) == 3


def spoiled(received: Received, **headers: str) -> Received:
    return Received(
        received.method, received.target, {**received.headers, **headers}, received.body, received.received_at
    )


GOOD = signed(callout(EVENT))


@pytest.mark.parametrize(
    "received",
    [
        signed(callout(EVENT), secret="wrong"),
        signed(callout(EVENT, organizationId="00D5A0000000002")),
        signed(callout(EVENT), at=NOW - timedelta(minutes=5, seconds=1)),
        signed(callout(EVENT), at=NOW + timedelta(minutes=2)),
        Received("POST", f"/webhooks/salesforce/{PATH}", {}, callout(EVENT), NOW),
        spoiled(GOOD, **{"x-leadlight-timestamp": str(int(NOW.replace(tzinfo=UTC).timestamp()) + 1)}),
        spoiled(GOOD, **{"x-leadlight-timestamp": "soon"}),
        spoiled(GOOD, **{"x-leadlight-timestamp": "9" * 5000}),
        spoiled(GOOD, **{"x-leadlight-timestamp": "٣٣"}),
        spoiled(GOOD, **{"x-leadlight-signature": ""}),
        spoiled(GOOD, **{"x-leadlight-signature": "sha256=ü"}),
        spoiled(GOOD, **{"x-leadlight-signature": GOOD.headers["x-leadlight-signature"].removeprefix("sha256=")}),
        Received(GOOD.method, GOOD.target, GOOD.headers, GOOD.body + b" ", NOW),
        signed(callout(EVENT), received_at=NOW + timedelta(minutes=6)),
    ],
)
def test_a_forged_old_or_changed_callout_is_refused(received: Received) -> None:
    with pytest.raises(Unverified) as caught:
        RECEIVER.verify(received)
    assert HMAC not in str(caught.value)


def test_a_callout_within_five_minutes_is_taken() -> None:
    RECEIVER.verify(signed(callout(EVENT), at=NOW - timedelta(minutes=5)))
    RECEIVER.verify(signed(callout(EVENT), at=NOW + timedelta(minutes=1)))


def test_what_was_delivered_twice_has_one_key() -> None:
    body = callout(EVENT)
    assert RECEIVER.hints(body)[0].key == RECEIVER.hints(body)[0].key
    other = callout(EVENT, at="2026-11-22T11:59:31Z")
    assert RECEIVER.hints(other)[0].key != RECEIVER.hints(body)[0].key


@pytest.mark.parametrize("at", [None, "", "soon", True, {}, [], "9" * 400])
def test_a_callout_without_a_date_is_a_bad_payload(at: Any) -> None:
    """It could not be told from its replay."""
    body = callout(EVENT, at=at)
    RECEIVER.verify(signed(body))
    with pytest.raises(BadPayload, match=r"\bat\b"):
        RECEIVER.hints(body)


def test_a_callout_needs_neither_the_paths_secret_nor_soap() -> None:
    ours = SalesforceReceiver(None, SecretStr(HMAC), ORGANIZATION)
    ours.verify(signed(callout(EVENT)))
    assert len(ours.hints(callout(EVENT))) == 1
    only_path = SalesforceReceiver(SecretStr(PATH), None, ORGANIZATION)
    only_path.verify(soap(message(notification())))
    for request in (GOOD, Received("POST", f"/webhooks/salesforce/{PATH}", {}, callout(EVENT), NOW)):
        with pytest.raises(Unverified, match="HMAC"):
            only_path.verify(request)


def test_a_callout_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(Unverified, match="longer"):
        RECEIVER.verify(signed(callout(EVENT) + b" " * LARGEST_BODY))


def test_it_is_the_receiver_that_the_service_asks_for() -> None:
    receiver: Receiver = RECEIVER
    assert receiver.name == "salesforce"
    assert PATH not in repr(RECEIVER)
    assert HMAC not in repr(RECEIVER)


def test_without_its_secret_a_way_is_shut() -> None:
    shut = SalesforceReceiver(None, None)
    with pytest.raises(Unverified, match="LEADLIGHT_SALESFORCE_WEBHOOK_SECRET"):
        shut.verify(soap(message(notification())))
    with pytest.raises(Unverified, match="LEADLIGHT_SALESFORCE_HMAC_SECRET"):
        shut.verify(GOOD)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"records": {}}',
        b'{"records": "x"}',
        b'{"records": [1]}',
        callout({**EVENT, "change": "exploded"}),
        callout({"object": "Lead", "id": "00Q5A0000000001"}),
        callout({**EVENT, "id": "jane@firm.example"}),
        callout(*[EVENT] * 10_001),
        b"[" * 100_000,
    ],
)
def test_json_of_another_shape_is_a_bad_payload(body: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        RECEIVER.hints(body)
    assert "jane" not in str(caught.value)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"{", b"<", b'{"records": [']))
def test_no_body_makes_it_stumble(body: bytes, start: bytes) -> None:
    for step in (lambda: RECEIVER.verify(soap(start + body)), lambda: RECEIVER.hints(start + body)):
        with pytest.raises((Unverified, BadPayload)):
            step()
