"""What the org tells of created and changed leads and contacts: outbound messages, or an Apex callout's JSON.

Outbound messages (SOAP, at most 100 notifications, repeated until the acknowledgement) go to an http(s) address.
`json+http://…` sends `{"organizationId", "at", "records": [{"object", "id", "change"}]}` as the Apex callout does,
signed with the client secret: `X-Leadlight-Signature: sha256=<hex HMAC-SHA256 of timestamp + "." + body>`,
`X-Leadlight-Timestamp` in epoch seconds. Salesforce itself signs nothing.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape

import defusedxml.ElementTree as ElementTree
import requests

from connector.sandbox import times
from connector.sandbox.deliveries import DELAYS, TIMEOUT_SECONDS, Deliveries
from connector.sandbox.salesforce import ids
from connector.sandbox.salesforce.answers import json_value
from connector.sandbox.salesforce.auth import CLIENT_SECRET
from connector.sandbox.salesforce.store import ORGANIZATION, Change, Org

_PEOPLE = ("Lead", "Contact")
_ACK = "{http://soap.sforce.com/2005/09/outbound}Ack"


class OutboundMessages(Deliveries):
    """Hears of changes and posts them to `url`, with the record's values as they are when it is sent."""

    def __init__(self, url: str, org: Org, delays: Sequence[float] = DELAYS, seed: int = 0) -> None:
        super().__init__(delays, org.faults.webhooks, seed)
        self._json = url.startswith("json+")
        self._url, self._org = url.removeprefix("json+"), org
        self._clock: Callable[[], int] = org.clock
        self._made = 0

    def hear(self, change: Change) -> None:
        """Take note of a change; deletions send no message."""
        if change.object in _PEOPLE and change.kind != "deleted":
            self._made += 1
            event = {"id": ids.one_id("04l", self._made), "object": change.object, "record": change.id}
            self.put({**event, "at": self._clock()})

    def post(self, batch: list[dict[str, Any]], attempt: int) -> bool:  # noqa: ARG002 - attempts look alike
        """Whether every message of the batch was taken; a message is about one object."""
        groups = [(name, [event for event in batch if event["object"] == name]) for name in _PEOPLE]
        taken = [self._one(name, group) for name, group in groups if group]
        return all(taken)

    def _one(self, name: str, group: list[dict[str, Any]]) -> bool:
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        if not self._json:
            body = _envelope(name, group, self._stamps(name, group)).encode()
        else:
            body = _callout(name, group)
            timestamp = str(self._clock() // 1000)
            headers = {
                "Content-Type": "application/json",
                "X-Leadlight-Timestamp": timestamp,
                "X-Leadlight-Signature": signature(CLIENT_SECRET, timestamp, body),
            }
        try:
            answer = requests.post(self._url, data=body, headers=headers, timeout=TIMEOUT_SECONDS)
        except requests.RequestException:
            return False
        return (
            answer.status_code < 300 if self._json else answer.status_code == 200 and acknowledged(answer.content)
        )

    def _stamps(self, name: str, group: list[dict[str, Any]]) -> dict[str, Any]:
        wanted = ", ".join(f"'{e['record']}'" for e in group)
        with self._org.lock:
            found = self._org.engine.sql(
                f"select Id, SystemModstamp from {name} where Id in ({wanted})"
            ).fetchall()
        return {id_: json_value(stamp) for id_, stamp in found}


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The value of X-Leadlight-Signature."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def acknowledged(answer: bytes) -> bool:
    """Whether an answer is the acknowledgement; anything else makes Salesforce send again."""
    try:
        found = ElementTree.fromstring(answer).find(f".//{_ACK}")
    except (ElementTree.ParseError, ValueError):
        return False
    return found is not None and (found.text or "").strip() == "true"


def _callout(name: str, group: list[dict[str, Any]]) -> bytes:
    """Each record once, and the instant of the last change: the same in every attempt."""
    records = [
        {"object": name, "id": id_, "change": "updated"} for id_ in dict.fromkeys(e["record"] for e in group)
    ]
    at = times.iso(max(e["at"] for e in group))
    return json.dumps({"organizationId": ORGANIZATION, "at": at, "records": records}).encode()


def _envelope(name: str, group: list[dict[str, Any]], stamps: dict[str, Any]) -> str:
    notes = "".join(
        f"<Notification><Id>{e['id']}</Id>"
        f'<sObject xsi:type="sf:{name}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<sf:Id>{e['record']}</sf:Id>"
        f"<sf:SystemModstamp>{escape(str(stamps.get(e['record'], ''))).replace('+0000', 'Z')}</sf:SystemModstamp>"
        "</sObject></Notification>"
        for e in group
    )
    host = "https://leadlight-demo.my.salesforce.com/services/Soap"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{ORGANIZATION}</OrganizationId><ActionId>{ids.one_id('04k', 1)}</ActionId>"
        f'<SessionId xsi:nil="true"/><EnterpriseUrl>{host}/c/68.0/{ORGANIZATION[:15]}</EnterpriseUrl>'
        f"<PartnerUrl>{host}/u/68.0/{ORGANIZATION[:15]}</PartnerUrl>{notes}"
        "</notifications></soapenv:Body></soapenv:Envelope>"
    )
