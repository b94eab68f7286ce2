"""Signed webhooks about what changes in the account: in batches, at least once, in no promised order."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import requests

from connector.sandbox import times
from connector.sandbox.deliveries import DELAYS, TIMEOUT_SECONDS, Deliveries
from connector.sandbox.hubspot.state import APP_ID, OBJECTS, Change

_FLAGS = {"creation": "CREATED", "deletion": "DELETED"}
#: What the URI is decoded of before it is signed; anything else stays as it is.
_DECODED = {
    **{"%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$"},
    **{"%27": "'", "%28": "(", "%29": ")", "%2A": "*", "%2C": ",", "%3B": ";"},
}


def signature_v3(secret: str, method: str, uri: str, body: bytes, timestamp: str) -> str:
    """The value of X-HubSpot-Signature-v3; `timestamp` is that of X-HubSpot-Request-Timestamp, epoch ms."""
    for coded, plain in _DECODED.items():
        uri = uri.replace(coded, plain).replace(coded.lower(), plain)
    signed = method.encode() + uri.encode() + body + timestamp.encode()
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


class Webhooks(Deliveries):
    """Hears of changes and posts them, signed, to `url`."""

    def __init__(
        self,
        url: str,
        secret: str,
        portal_id: int,
        delays: Sequence[float] = DELAYS,
        clock: Callable[[], int] = times.now_ms,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(delays, faults, seed)
        self._url, self._secret, self._portal_id = url, secret, portal_id
        self._clock = clock

    def hear(self, change: Change) -> None:
        """Take note of a change; it is sent soon."""
        self.put(self._event(change))

    def _event(self, change: Change) -> dict[str, Any]:
        number = self.number()
        event: dict[str, Any] = {
            # Not unique by HubSpot's own words: every hundredth one repeats.
            "eventId": number - number // 100,
            "subscriptionId": 25 if change.kind == "propertyChange" else 22,
            "portalId": self._portal_id,
            "appId": APP_ID,
            "occurredAt": change.at,
            "attemptNumber": 0,
            "objectId": change.id,
            "changeSource": change.source.type,
            **change.more,
        }
        if change.kind == "associationChange":
            # names both ends instead
            del event["objectId"]
        named = change.object in ("contacts", "companies", "deals")
        type_id, single = OBJECTS[change.object]
        event["subscriptionType"] = f"{single if named else 'object'}.{change.kind}"
        if not named:
            event["objectTypeId"] = type_id
        if change.source.id is not None:
            event["sourceId"] = change.source.id
        if change.kind == "propertyChange":
            event |= {"propertyName": change.property, "propertyValue": change.value, "isSensitive": False}
        if change.kind in _FLAGS:
            event["changeFlag"] = _FLAGS[change.kind]
        return event

    def post(self, batch: list[dict[str, Any]], attempt: int) -> bool:
        """With a fresh timestamp and signature for each attempt: receivers refuse old ones."""
        body = json.dumps([{**event, "attemptNumber": attempt} for event in batch]).encode()
        timestamp = str(self._clock())
        headers = {
            "Content-Type": "application/json",
            "X-HubSpot-Signature": hashlib.sha256(self._secret.encode() + body).hexdigest(),
            "X-HubSpot-Signature-Version": "v1",
            "X-HubSpot-Signature-v3": signature_v3(self._secret, "POST", self._url, body, timestamp),
            "X-HubSpot-Request-Timestamp": timestamp,
        }
        try:
            answer = requests.post(self._url, data=body, headers=headers, timeout=TIMEOUT_SECONDS)
        except requests.RequestException:
            return False
        return answer.status_code < 400
