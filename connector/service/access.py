"""One line a request: method, path, status, milliseconds. Never a query string, a header or a body."""

import asyncio
import logging
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connector.service.logs import given_id, redacted, request_id
from connector.service.metrics import SOURCES

log = logging.getLogger(__name__)

HEADER = b"x-request-id"
#: Asked every few seconds by machines: logged at debug unless it breaks ("not ready" is an answer). So are
#: webhooks that are taken, of which there may be thousands a second (they are counted).
_OFTEN = frozenset({"/healthz", "/readyz", "/metrics"})
#: Also where the address was typed wrong: what stands behind Salesforce's name, or behind /webhooks/ and is none,
#: is most likely the secret.
_SECRET = re.compile(
    rf"(webhooks?/+(?:(?:{'|'.join(SOURCES)})(?:/+|\Z))?+|salesforce/+)[^/].*", re.IGNORECASE | re.DOTALL
)
_LONGEST_PATH = 200
#: Who asked did not wait for the answer, or we are stopping; a proxy's word, no answer is sent.
_GONE = 499


class Logged:
    """ASGI middleware, the outermost: gives the request an id (in `logs.request_id` and the answer's x-request-id)
    and logs its end. A request that fails without an answer is logged as 500 and its error goes on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        given = next((value for name, value in scope["headers"] if name == HEADER), None)
        name = given_id(None if given is None else given.decode("latin-1"))
        token = request_id.set(name)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() != HEADER]
                message["headers"] = [*others, (HEADER, name.encode("ascii"))]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except asyncio.CancelledError:
            status = _GONE
            raise
        finally:
            _tell(scope, status, 1000 * (time.perf_counter() - began))
            request_id.reset(token)


def _tell(scope: Scope, status: int, milliseconds: float) -> None:
    path = scope["path"]
    level = _level(path, status)
    if not log.isEnabledFor(level):
        return
    method = scope["method"] if re.fullmatch(r"[A-Z]{1,16}", scope["method"]) else "?"
    fields = {"method": method, "path": safe_path(path), "status": status, "ms": round(milliseconds, 1)}
    log.log(level, "request", extra=fields)


def _level(path: str, status: int) -> int:
    if status == 500:
        return logging.ERROR
    if path in _OFTEN or (path.startswith("/webhooks/") and status < 300):
        return logging.DEBUG
    return logging.WARNING if status > 500 else logging.INFO


def safe_path(path: str) -> str:
    """The path for a log: without what may be a secret, and e-mail addresses; at most 200 characters."""
    return redacted(_SECRET.sub(r"\1***", path[:_LONGEST_PATH]))
