"""What happens to an answer on its way: edges, silence, cuts. The same for every pretend platform."""

import asyncio
import socket
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope, Send

from connector.sandbox import faults
from connector.sandbox.faults import Edge, Trouble

SLOW_SECONDS = 2.0
#: Lets what was written leave before the connection is cut.
_PAUSE_SECONDS = 0.02
_TRANSPORT = "sandbox.transport"


def with_transport(scope: Scope, send: Send, path: str) -> Scope:
    """The scope with another path and the connection in it.

    uvicorn's `send` is bound to what holds the connection, which is needed to cut it.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return {**scope, "path": path, _TRANSPORT: transport}


async def deliver(response: Response, trouble: Trouble | None, request: Request, send: Send) -> None:
    """An answer whose request was carried out, with the trouble that befalls it."""
    if trouble is Trouble.HANG:
        await _until_gone(request)
    elif trouble is Trouble.COMMIT_THEN_TIMEOUT:
        await send_edge(faults.html(504), send)
    elif trouble is Trouble.TRUNCATE:
        await _truncate(response, request, send)
    else:
        if trouble is Trouble.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        await response({"type": "http"}, request.receive, send)


async def send_edge(edge: Edge, send: Send) -> None:
    """An answer instead of the API's own."""
    response = Response(edge.body, edge.status, edge.headers, edge.content_type)
    await response({"type": "http"}, _nothing, send)


async def _nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def _until_gone(request: Request) -> None:
    """Say nothing until the caller gives up or is killed."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _truncate(response: Response, request: Request, send: Send) -> None:
    """Half of the announced bytes, then the connection ends."""
    headers = [(name, value) for name, value in response.raw_headers]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    half = bytes(response.body)[: len(response.body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})
    await drop(request)


async def drop(request: Request) -> None:
    """Cut the connection, which ASGI has no word for."""
    transport = request.scope.get(_TRANSPORT)
    if transport is not None:
        await asyncio.sleep(_PAUSE_SECONDS)
        raw = transport.get_extra_info("socket")
        # Without lingering the peer gets a reset, not a proper end.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await _until_gone(request)
