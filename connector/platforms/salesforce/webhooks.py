"""Salesforce's webhooks: SOAP outbound messages, and JSON from an Apex callout signed by HMAC.

Salesforce signs nothing by itself. An outbound message is let in by the secret in its path (over TLS) and the
organisation's id; a callout by `X-Leadlight-Signature: sha256=<hex HMAC-SHA256 of timestamp + "." + body>` and
`X-Leadlight-Timestamp` (epoch seconds, at most five minutes old). Both say no more than which records to read.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from connector.errors import BadPayload, Unverified
from connector.platform import Hint, Received
from connector.platforms.bodies import each
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client import soql
from connector.platforms.values import EPOCH, instant
from connector.transport import Secret

#: A hundred notifications with a few fields each take some 60 kB.
LARGEST_BODY = 1_000_000

OLDEST = timedelta(minutes=5)
#: By how much a sender's clock may be ahead of ours.
AHEAD = timedelta(minutes=1)

SIGNATURE, TIMESTAMP = "x-leadlight-signature", "x-leadlight-timestamp"

_SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
_OUTBOUND = "{http://soap.sforce.com/2005/09/outbound}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_MOST_NOTIFICATIONS = 100
_MOST_RECORDS = 10_000

_ACK = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>\n'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack>'
    b"</notificationsResponse></soapenv:Body></soapenv:Envelope>"
)

Kind = Literal["created", "changed", "deleted", "restored", "merged"]
_KINDS: Mapping[str, Kind] = {
    "created": "created",
    "updated": "changed",
    "deleted": "deleted",
    "undeleted": "restored",
    "converted": "merged",
}


class SalesforceReceiver:
    """See `connector.platform.Receiver`. `path_secret` is the last part of the path that outbound messages are
    sent to, `hmac_secret` what the Apex callout signs with; one that is not set lets nobody in that way.
    `organization` is the id that a message must name; None takes any that knows the secret."""

    name = "salesforce"

    def __init__(
        self, path_secret: Secret | None, hmac_secret: Secret | None, organization: str | None = None
    ) -> None:
        self._path_secret, self._hmac_secret = path_secret, hmac_secret
        self._organization = None if organization is None else soql.long_id(organization)

    def __repr__(self) -> str:
        return "SalesforceReceiver()"

    def verify(self, received: Received) -> None:
        """Raises Unverified. A signed callout needs its signature whatever path it came by."""
        if received.method != "POST":
            raise Unverified("It is no POST.")
        if len(received.body) > LARGEST_BODY:
            raise Unverified(f"Its body is longer than {LARGEST_BODY:,} bytes.")
        if SIGNATURE in received.headers or _is_json(received.body):
            self._verify_signature(received)
        else:
            self._verify_path(received)

    def _verify_signature(self, received: Received) -> None:
        if self._hmac_secret is None:
            raise Unverified("Signed callouts are not set up: LEADLIGHT_SALESFORCE_HMAC_SECRET is missing.")
        stamp = received.headers.get(TIMESTAMP, "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 11):
            raise Unverified("It has no timestamp.")
        secret = self._hmac_secret.get_secret_value().encode()
        expected = hmac.new(secret, stamp.encode() + b"." + received.body, hashlib.sha256).hexdigest()
        given = received.headers.get(SIGNATURE, "").strip().encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"sha256={expected}".encode()):
            raise Unverified("Its signature is wrong.")
        sent = EPOCH + timedelta(seconds=int(stamp))
        if received.received_at - sent > OLDEST:
            raise Unverified("It is too old.")
        if sent - received.received_at > AHEAD:
            raise Unverified("It is dated in the future.")
        try:
            self._check_organization(str(_json(received.body).get("organizationId") or self._organization))
        except BadPayload:
            # Whoever signed it is known: what it lacks, `hints` says.
            return

    def _verify_path(self, received: Received) -> None:
        """The organisation's id is no secret: it keeps a second org apart that has been given the same path."""
        if self._path_secret is None:
            raise Unverified("Outbound messages are not set up: LEADLIGHT_SALESFORCE_WEBHOOK_SECRET is missing.")
        given = unquote(urlsplit(received.target).path.rstrip("/").rpartition("/")[2])
        if not hmac.compare_digest(given.encode(), self._path_secret.get_secret_value().encode()):
            raise Unverified("The secret in its path is wrong.")
        if self._organization is None:
            return
        try:
            organization = _text(_notifications(received.body), "OrganizationId")
        except BadPayload:
            raise Unverified("It names no organisation.") from None
        self._check_organization(organization)

    def _check_organization(self, given: str) -> None:
        if self._organization is None:
            return
        if not soql.is_id(given) or soql.long_id(given) != self._organization:
            raise Unverified("It comes from another organisation.")

    def hints(self, body: bytes) -> list[Hint]:
        """See `connector.platform.Receiver`. Raises BadPayload."""
        return _of_json(body) if _is_json(body) else _of_message(body)

    def acknowledgement(self) -> tuple[str, bytes]:
        """Salesforce sends a message again until it gets exactly this; a callout does not mind."""
        return "text/xml; charset=utf-8", _ACK


def _is_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")


def _notifications(body: bytes) -> Element:
    try:
        root = fromstring(body, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise BadPayload("It is no XML that a SOAP message may be.") from None
    found = root.find(f"{_SOAP}Body/{_OUTBOUND}notifications")
    if root.tag != f"{_SOAP}Envelope" or found is None:
        raise BadPayload("It is no outbound message.")
    return found


def _text(element: Element, name: str) -> str:
    return (element.findtext(f"{_OUTBOUND}{name}") or "").strip()


def _of_message(body: bytes) -> list[Hint]:
    notifications = _notifications(body).findall(f"{_OUTBOUND}Notification")
    if not 1 <= len(notifications) <= _MOST_NOTIFICATIONS:
        raise BadPayload("It has no notification, or more than a hundred.")
    return each(notifications, _notified)


def _notified(entry: Element) -> Hint | None:
    """A message says that a record fulfils a condition, not what changed; None for an object not read."""
    record = entry.find(f"{_OUTBOUND}sObject")
    key = _text(entry, "Id")
    if record is None or not soql.is_id(key):
        raise BadPayload("A notification lacks its Id or its record.")
    fields = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in record}
    object_name = record.get(_TYPE, "").rpartition(":")[2]
    stamp = instant(fields.get("SystemModstamp") or fields.get("LastModifiedDate"))
    return _hint(object_name, fields.get("Id", ""), "changed", stamp, f"salesforce:{soql.long_id(key)}")


def _of_json(body: bytes) -> list[Hint]:
    """`{"organizationId": …, "at": …, "records": [{"object": "Lead", "id": …, "change": "updated"}]}`; a record
    that was converted may name the `contact` that it became. `at`, the instant of the change (ISO 8601), is what
    tells an event from its replay."""
    given = _json(body)
    records = given.get("records")
    if not isinstance(records, list) or len(records) > _MOST_RECORDS:
        raise BadPayload("It lacks its list of records, or has too many.")
    at = instant(given.get("at"))
    if at is None:
        raise BadPayload("It lacks the instant of the change, at.")
    return each(records, lambda record: _changed(record, at))


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise BadPayload("It is no JSON.") from None
    if not isinstance(given, Mapping):
        raise BadPayload("It is no JSON object.")
    return given


def _changed(record: Any, at: datetime) -> Hint | None:
    if not isinstance(record, Mapping):
        raise BadPayload("A record is no object.")
    kind = _KINDS.get(str(record.get("change")))
    if kind is None:
        raise BadPayload("A record lacks its change.")
    object_name, found = str(record.get("object")), str(record.get("id"))
    event = f"{object_name}|{found}|{kind}|{at.isoformat()}"
    key = "salesforce:" + hashlib.sha256(event.encode()).hexdigest()[:32]
    winner = str(record.get("contact") or "")
    if kind == "merged" and soql.is_id(winner) and soql.is_id(found):
        return _hint("Contact", winner, kind, at, key, (soql.long_id(found),))
    return _hint(object_name, found, "changed" if kind == "merged" else kind, at, key)


def _hint(
    object_name: str, record: str, kind: Kind, at: datetime | None, key: str, others: tuple[str, ...] = ()
) -> Hint | None:
    if not soql.is_id(record):
        raise BadPayload("A record's Id is none.")
    ours = words.OBJECTS.get(object_name)
    if ours is None:
        return None
    moment = at or datetime.now(UTC).replace(tzinfo=None)
    return Hint(ours, soql.long_id(record), kind, moment.replace(microsecond=0), key, others=others)
