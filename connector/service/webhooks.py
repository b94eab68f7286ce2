"""Taking a webhook: size, headers, signature and age, shape; then the raw body on disk; only then 2xx.

An ASGI application by itself, because it answers thousands of requests a second: no routing, no request objects.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic_core import from_json
from starlette.types import Message, Receive, Scope, Send

from connector.errors import BadPayload, Unverified
from connector.inbox import Intake, Overloaded
from connector.platform import Received, Receiver

#: Seconds that a body may take to come.
SLOWEST = 10.0

Outcome = str


class Webhooks:
    """One receiver's door. `observe(outcome, seconds)` hears of every request: accepted, or why not.

    What is wrong with a request is answered by 4xx in a word, never with anything it holds; our own trouble is
    503, so that the platform sends it again.
    """

    def __init__(
        self,
        receiver: Receiver,
        intake: Intake,
        largest: int,
        observe: Callable[[Outcome, float], None],
    ) -> None:
        self._receiver, self._intake, self._largest, self._observe = receiver, intake, largest, observe
        media, body = receiver.acknowledgement()
        self._accepted = _answer(200, body, media)
        self._soap = "xml" in media

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            outcome, answer = await self._handle(scope, receive)
        except Exception:
            # answered by 500 and logged further out
            self._observe("error", time.perf_counter() - began)
            raise
        for message in answer:
            await send(message)
        self._observe(outcome, time.perf_counter() - began)

    async def _handle(self, scope: Scope, receive: Receive) -> tuple[Outcome, list[Message]]:
        if scope["method"] != "POST":
            return "unknown", _answer(405, b"POST only", headers=[(b"allow", b"POST")])
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._largest:
            return "too_large", _answer(413, b"too large", close=True)
        try:
            async with asyncio.timeout(SLOWEST):
                body = await _read(receive, self._largest)
        except TimeoutError:
            return "too_slow", _answer(408, b"too slow", close=True)
        except _Gone:
            return "unknown", _answer(400, b"not whole", close=True)
        if body is None:
            return "too_large", _answer(413, b"too large", close=True)
        received_at = time.time()
        received = Received(
            scope["method"],
            _target(scope),
            headers,
            body,
            datetime.fromtimestamp(received_at, UTC).replace(tzinfo=None),
        )
        try:
            self._receiver.verify(received)
            _look_at(body, soap=self._soap)
        except Unverified:
            return "unverified", _answer(401, b"not verified")
        except BadPayload:
            return "bad_shape", _answer(400, b"not of the documented shape")
        try:
            await self._intake.put(self._receiver.name, body, received_at)
        except (Overloaded, sqlite3.Error) as trouble:
            outcome = "overloaded" if isinstance(trouble, Overloaded) else "error"
            return outcome, _answer(503, b"try again", headers=[(b"retry-after", b"10")])
        return "accepted", self._accepted


class _Gone(Exception):
    """The sender went away."""


async def _read(receive: Receive, largest: int) -> bytes | None:
    """The whole body; None for one that is too large. Raises _Gone."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        part = message.get("body", b"")
        size += len(part)
        if size > largest:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _look_at(body: bytes, *, soap: bool) -> None:
    """Whether JSON is JSON, and a list or an object. What it says is read by the worker; SOAP was read to verify
    it. Raises BadPayload."""
    if soap and body.lstrip()[:1] == b"<":
        return
    found = None
    with contextlib.suppress(ValueError, RecursionError):
        found = from_json(body)
    if not isinstance(found, list | dict):
        raise BadPayload("the body is no JSON list or object")


def _target(scope: Scope) -> str:
    """Path and query as they were sent."""
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{path}?{query}" if query else path


def _answer(
    status: int,
    body: bytes,
    media: str = "text/plain",
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    close: bool = False,
) -> list[Message]:
    given = [(b"content-type", media.encode()), (b"content-length", str(len(body)).encode()), *(headers or [])]
    if close:
        given.append((b"connection", b"close"))
    return [
        {"type": "http.response.start", "status": status, "headers": given},
        {"type": "http.response.body", "body": body},
    ]
