"""HubSpot's webhooks: who signed them, and what they say, as hints.

Signatures and payloads as HubSpot's developer documentation gives them ("Validating requests", "Webhooks").
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from connector.errors import BadPayload, Unverified
from connector.platform import Hint, Received
from connector.platforms.bodies import each

Version = Literal["v1", "v2", "v3"]
Kind = Literal["created", "changed", "deleted", "restored", "merged", "erased", "associated"]

#: A signature is refused when it is older than this, or dated later than our clock by more than the skew.
LONGEST_AGE_MS, SKEW_MS = 300_000, 60_000

#: What v3 decodes in the URI before it is signed; nothing else is decoded (%20 stays).
_DECODED = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}

_OBJECTS = {"contact": "contact", "company": "company", "deal": "deal"}
_TYPE_IDS = {"0-1": "contact", "0-2": "company", "0-3": "deal"}
_KINDS: Mapping[str, Kind] = {
    "creation": "created",
    "propertyChange": "changed",
    "deletion": "deleted",
    "restore": "restored",
    "merge": "merged",
    "privacyDeletion": "erased",
    "associationChange": "associated",
}


class HubSpotReceiver:
    """Verifies and reads what HubSpot posts.

    `secrets` are the app's client secrets: more than one while a new one is being rolled out. `public_url` is our
    address as HubSpot knows it, where a proxy stands before us: the base, or the whole target URL; without it the
    Host header tells. v1 and v2 signatures hold no time and can be replayed: they are accepted only where
    `versions` names them. A property whose name begins with `prefix` and an underscore is ours: its changes, and
    what the app itself wrote, are no hints. We make and delete no records: who does so by the app's token is
    somebody else.
    """

    name = "hubspot"

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        public_url: str | None = None,
        versions: Sequence[Version] = ("v3",),
        prefix: str = "leadlight",
    ) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._public = public_url
        self._versions = tuple(version for version in get_args(Version) if version in versions)
        self._ours = f"{prefix}_"

    def verify(self, received: Received) -> None:
        """See `connector.platform.Receiver`. A signature's age counts from `received.received_at`."""
        given = received.headers.get("x-hubspot-signature-v3")
        if given is not None or self._versions == ("v3",):
            self._verify_v3(received, given)
            return
        version = received.headers.get("x-hubspot-signature-version", "v1").lower()
        old = received.headers.get("x-hubspot-signature")
        if version not in self._versions or version == "v3" or old is None:
            raise Unverified("no signature of a version that is accepted (hubspot_signatures)")
        uris = self._uris(received) if version == "v2" else [""]
        method = received.method if version == "v2" else ""
        expected = [
            hashlib.sha256(secret + method.encode() + uri.encode() + received.body).hexdigest()
            for secret in self._secrets
            for uri in uris
        ]
        _compare(old, expected)

    def _verify_v3(self, received: Received, given: str | None) -> None:
        stamp = received.headers.get("x-hubspot-request-timestamp")
        if given is None or stamp is None:
            raise Unverified("the signature or its timestamp is missing")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 15):
            raise Unverified("the timestamp is no number of milliseconds")
        expected = [
            signature_v3(secret, received.method, uri, received.body, stamp)
            for secret in self._secrets
            for uri in self._uris(received)
        ]
        _compare(given, expected)
        age = received.received_at.replace(tzinfo=UTC).timestamp() * 1000 - int(stamp)
        if age > LONGEST_AGE_MS:
            raise Unverified("the signature is older than five minutes: compare this machine's clock")
        if age < -SKEW_MS:
            raise Unverified("the signature is from the future: compare this machine's clock")

    def _uris(self, received: Received) -> list[str]:
        """The URIs that HubSpot may have signed."""
        if self._public is not None:
            base = self._public.rstrip("/")
            path, mark, query = received.target.partition("?")
            whole = base if urlsplit(base).path.endswith(path.rstrip("/")) else base + path
            return [whole + mark + query]
        host = received.headers.get("host", "")
        return [f"{scheme}://{host}{received.target}" for scheme in ("https", "http")]

    def hints(self, body: bytes) -> list[Hint]:
        """See `connector.platform.Receiver`. Events of types that we have no use for are left out."""
        try:
            events = json.loads(body)
        except (ValueError, RecursionError):
            raise BadPayload("the body is no JSON") from None
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            raise BadPayload("the body is no list of events")
        return each(events, self._hint)

    def acknowledgement(self) -> tuple[str, bytes]:
        """HubSpot reads the status only."""
        return "application/json", b"{}"

    def _hint(self, event: Mapping[str, Any]) -> Hint | None:
        kind_of = event.get("subscriptionType", event.get("eventType"))
        if not isinstance(kind_of, str):
            raise BadPayload("an event has no subscriptionType")
        named, _, action = kind_of.partition(".")
        record = _TYPE_IDS.get(str(event.get("objectTypeId"))) if named == "object" else _OBJECTS.get(named)
        kind = _KINDS.get(action)
        if record is None or kind is None or self._is_ours(event, record, kind):
            return None
        changed = event.get("propertyName") if kind == "changed" else None
        property_name = None if changed is None else str(changed).encode(errors="replace").decode()
        object_id, others = _ends(event, record, kind)
        at = _number(event, "occurredAt")
        key = (
            str(event.get("portalId", "")),
            f"{record}.{action}",
            object_id,
            property_name or ",".join(others),
            str(event.get("eventId", "")),
            str(at),
        )
        try:
            occurred = datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None)
        except (ValueError, OverflowError, OSError):
            raise BadPayload("occurredAt is no instant") from None
        return Hint(record, object_id, kind, occurred, _hashed(key), property_name, others)

    def _is_ours(self, event: Mapping[str, Any], record: str, kind: str) -> bool:
        if (
            record in ("contact", "company")
            and kind == "changed"
            and str(event.get("propertyName")).startswith(self._ours)
        ):
            return True
        app = event.get("appId")
        return kind == "changed" and app is not None and str(event.get("sourceId")) == str(app)


def signature_v3(secret: bytes, method: str, uri: str, body: bytes, timestamp: str) -> str:
    """The value of X-HubSpot-Signature-v3; `timestamp` is that of X-HubSpot-Request-Timestamp, epoch ms."""
    if "%" in uri:
        for coded, plain in _DECODED.items():
            uri = uri.replace(coded, plain).replace(coded.lower(), plain)
    signed = method.encode() + uri.encode() + body + timestamp.encode()
    return base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _compare(given: str, expected: Sequence[str]) -> None:
    """Raises Unverified. Each is compared, and in constant time."""
    matches = [hmac.compare_digest(given.encode(), one.encode()) for one in expected]
    if not any(matches):
        raise Unverified("the signature is not that of this request: compare client secret and public_url")


def _ends(event: Mapping[str, Any], record: str, kind: Kind) -> tuple[str, tuple[str, ...]]:
    """The record that an event is about, and the others that it names."""
    if kind == "associated":
        far = str(event.get("associationType", "")).upper().endswith("_TO_CONTACT")
        other = _id(event, "toObjectId")
        return _id(event, "fromObjectId"), (other,) if far and record != "contact" else ()
    if kind != "merged":
        return _id(event, "objectId"), ()
    primary = _id(event, "primaryObjectId")
    merged = event.get("mergedObjectIds")
    if not isinstance(merged, list):
        raise BadPayload("a merge names no mergedObjectIds")
    winner = _id(event, "newObjectId") if event.get("newObjectId") is not None else primary
    gone = dict.fromkeys([primary, *(_id({"mergedObjectIds": one}, "mergedObjectIds") for one in merged)])
    return winner, tuple(one for one in gone if one != winner)


def _id(event: Mapping[str, Any], name: str) -> str:
    """A record's id, which comes as a number or as text."""
    value = event.get(name)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise BadPayload(f"an event's {name} is no record id")
    return text


def _number(event: Mapping[str, Any], name: str) -> int:
    value = event.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadPayload(f"an event has no {name}")
    return value


def _hashed(parts: Sequence[str]) -> str:
    """A key that tells nothing of the record to who reads it."""
    return hashlib.blake2b("\x1f".join(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()
