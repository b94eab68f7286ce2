"""Signed webhooks about what changes in the account: in batches, at least once, in no promised order."""

import base64
import hashlib
import hmac
import itertools
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from typing import Any

import requests

from connector.sandbox import times
from connector.sandbox.state import APP_ID, OBJECTS, Change

logger = logging.getLogger(__name__)

BATCH, CONCURRENT, TIMEOUT_SECONDS = 100, 10, 5.0
#: Seconds before each retry. HubSpot spreads ten of them over a day; nobody waits so long for a sandbox.
DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0)
#: Changes come one by one; those of a moment travel together.
_GATHER_SECONDS = 0.05
#: How late a late event is, at most.
_LATE_SECONDS = 3.0
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


class Webhooks:
    """Hears of changes and posts them to `url`. Retries have threads of their own and never delay fresh events."""

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
        self._faults, self._random = dict(faults or {}), random.Random(seed)  # noqa: S311 - a dice, not a secret
        self._late: list[tuple[float, int, dict[str, Any]]] = []
        self._url, self._secret, self._portal_id = url, secret, portal_id
        self._delays, self._clock = tuple(delays), clock
        self._fresh: deque[dict[str, Any]] = deque()
        self._retries: list[tuple[float, int, int, list[dict[str, Any]]]] = []
        self._wake = threading.Condition()
        self._numbers = itertools.count(1)
        self._stopped = False
        self._first = ThreadPoolExecutor(CONCURRENT, "webhooks")
        self._again = ThreadPoolExecutor(CONCURRENT, "webhook-retries")
        self._thread = threading.Thread(target=self._run, name="webhook-dispatch", daemon=True)
        self.delivered = 0

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, whatever is left to send."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join(TIMEOUT_SECONDS)
        for pool in (self._first, self._again):
            pool.shutdown(wait=False, cancel_futures=True)

    def hear(self, change: Change) -> None:
        """Take note of a change; it is sent soon."""
        event = self._event(change)
        with self._wake:
            for _ in range(2 if self._befalls("webhook-repeat") else 1):
                if self._befalls("webhook-late"):
                    due = time.monotonic() + _LATE_SECONDS * self._random.random()
                    heappush(self._late, (due, next(self._numbers), event))
                else:
                    self._fresh.append(event)
            self._wake.notify()

    def _befalls(self, fault: str) -> bool:
        chance = self._faults.get(fault, 0.0)
        return bool(chance) and self._random.random() < chance

    def _event(self, change: Change) -> dict[str, Any]:
        number = next(self._numbers)
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

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._stopped or self._fresh or self._until_due() == 0.0):
                    self._wake.wait(self._until_due())
                if self._stopped:
                    return
            time.sleep(_GATHER_SECONDS)
            with self._wake:
                while self._late and self._late[0][0] <= time.monotonic():
                    self._fresh.append(heappop(self._late)[2])
                batches = [self._next_batch() for _ in range(-(-len(self._fresh) // BATCH))]
                due = []
                while self._retries and self._retries[0][0] <= time.monotonic():
                    due.append(heappop(self._retries))
            for batch in batches:
                self._first.submit(self._send, batch, 0)
            for _, _, attempt, batch in due:
                self._again.submit(self._send, batch, attempt)

    def _until_due(self) -> float | None:
        """Seconds until a retry or a late event is due; None when nothing waits."""
        due = [waiting[0][0] for waiting in (self._retries, self._late) if waiting]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _next_batch(self) -> list[dict[str, Any]]:
        batch = [self._fresh.popleft() for _ in range(min(BATCH, len(self._fresh)))]
        if self._befalls("webhook-shuffle"):
            self._random.shuffle(batch)
        return batch

    def _send(self, batch: list[dict[str, Any]], attempt: int) -> None:
        body = json.dumps([{**event, "attemptNumber": attempt} for event in batch]).encode()
        # A fresh timestamp and signature for each attempt: receivers refuse old ones.
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
            taken = answer.status_code < 400
        except requests.RequestException:
            taken = False
        with self._wake:
            self.delivered += len(batch) if taken else 0
            if not taken and attempt < len(self._delays) and not self._stopped:
                due = time.monotonic() + self._delays[attempt]
                heappush(self._retries, (due, next(self._numbers), attempt + 1, batch))
                self._wake.notify()
            elif not taken:
                logger.warning("gave up on a webhook of %d events after %d attempts", len(batch), attempt + 1)
