"""The sandbox as an ASGI application: what is done to every request before and after its endpoint."""

import asyncio
import json
import re
import socket
import struct
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.sandbox import account, faults
from connector.sandbox.calls import Call, Reply, problem_reply
from connector.sandbox.faults import Edge, FaultPlan, Trouble
from connector.sandbox.limits import Limits
from connector.sandbox.problems import Problem, missing_scope, not_found, unauthenticated
from connector.sandbox.replay import Replays
from connector.sandbox.routes import Endpoint, endpoints, scopes_needed
from connector.sandbox.state import Portal

#: Longer targets meet the edge's own limit.
TARGET_LIMIT = 16_000
_VERSION = re.compile(r"\d{4}-\d{2}(-beta)?|v[1-4]")
_SLOW_SECONDS = 2.0
#: Lets what was written leave before the connection is cut.
_PAUSE_SECONDS = 0.02
_TRANSPORT = "sandbox.transport"


class Host:
    """Answers requests for one account: token, scopes, limits, faults, counts."""

    def __init__(self, portal: Portal, limits: Limits, plan: FaultPlan, latency_ms: float = 0.0) -> None:
        self.portal, self.limits, self.plan = portal, limits, plan
        self.latency_ms = latency_ms
        self.calls: Counter[str] = Counter()

    async def answer(self, endpoint: Endpoint, request: Request, send: Send) -> None:
        """One request of the API, with whatever befalls it."""
        raw = await request.body()
        parameters = dict(request.path_params)
        self.calls[endpoint.template(parameters)] += 1
        fault = self.plan.next()
        if self.latency_ms:
            await asyncio.sleep(self.latency_ms / 1000)
        if len(str(request.url.path)) + len(request.url.query) > TARGET_LIMIT:
            await _send_edge(faults.html(414), send)
            return
        trouble = faults.TROUBLES.get(fault or "")
        if trouble is Trouble.RESET:
            await _drop(request)
            return
        if fault is not None and trouble is None:
            await _send_edge(faults.edge_answer(fault), send)
            return
        reply = self._carry_out(endpoint, request, parameters, raw)
        await self._deliver(reply, trouble, request, send)

    def _carry_out(self, endpoint: Endpoint, request: Request, parameters: dict[str, str], raw: bytes) -> Reply:
        headers: Mapping[str, str] = {}
        try:
            with self.portal.lock:
                self._admit(endpoint, request, parameters)
                headers = self.limits.headers(endpoint.bucket)
                reply = endpoint.handler(self._call(request, parameters, raw))
        except Problem as problem:
            if problem.status == 429:
                headers = self.limits.headers(endpoint.bucket)
            reply = problem_reply(problem)
        return Reply(reply.status, reply.body, {**headers, **reply.headers})

    def _admit(self, endpoint: Endpoint, request: Request, parameters: dict[str, str]) -> None:
        """Raises Problem 401, 403, 404 or 429."""
        if not endpoint.open and request.headers.get("authorization") != f"Bearer {account.TOKEN}":
            raise unauthenticated()
        if "version" in parameters and not _VERSION.fullmatch(parameters["version"]):
            raise not_found(named=False)
        for alternatives in scopes_needed(endpoint, parameters):
            if set(alternatives) <= self.plan.faults.missing_scopes:
                raise missing_scope(alternatives)
        self.limits.take(endpoint.bucket)

    def _call(self, request: Request, parameters: Mapping[str, str], raw: bytes) -> Call:
        query: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            # Lists come with commas, or as the same name again.
            query[name] = f"{query[name]},{value}" if name in query else value
        return Call(
            portal=self.portal,
            version=parameters.get("version", "v1"),
            path=parameters,
            query=query,
            raw=raw,
            faults=self.plan.faults,
            base_url=f"{request.url.scheme}://{request.url.netloc}",
            target=request.url.path,
        )

    async def _deliver(self, reply: Reply, trouble: Trouble | None, request: Request, send: Send) -> None:
        if trouble is Trouble.HANG:
            await _until_gone(request)
        elif trouble is Trouble.COMMIT_THEN_TIMEOUT:
            await _send_edge(faults.html(504), send)
        elif trouble is Trouble.TRUNCATE:
            await _truncate(_response(reply), request, send)
        else:
            if trouble is Trouble.SLOW:
                await asyncio.sleep(_SLOW_SECONDS)
            await _response(reply)({"type": "http"}, request.receive, send)


class _Served:
    """An endpoint as an ASGI application."""

    def __init__(self, host: Host, endpoint: Endpoint) -> None:
        self._host, self._endpoint = host, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._host.answer(self._endpoint, Request(scope, receive), send)


def application(host: Host) -> ASGIApp:
    """All paths of the API, and the sandbox's own under /_sandbox."""

    async def state(_: Request) -> Response:
        with host.portal.lock:
            return _response(Reply(200, account.state(host.portal, host.calls)))

    def control(work: Callable[[Call], Reply]) -> Callable[[Request], Awaitable[Response]]:
        """One of the sandbox's own controls, under the portal's lock."""

        async def carry_out(request: Request) -> Response:
            raw = await request.body()
            with host.portal.lock:
                try:
                    return _response(work(host._call(request, {}, raw)))
                except Problem as problem:
                    return _response(problem_reply(problem))

        return carry_out

    async def unknown(request: Request, _: Exception) -> Response:
        status = getattr(_, "status_code", 404)
        body = not_found(named=False).body()
        if status == 405:
            body["message"] = f"HTTP {request.method} is not supported here"
        return _response(Reply(status, body))

    routes = [Route(one.path, _Served(host, one), methods=[one.method]) for one in endpoints()]
    replays = Replays()
    own = [
        Route("/_sandbox/state", state),
        Route("/_sandbox/edit", control(account.edit), methods=["POST"]),
        Route("/_sandbox/restore", control(account.restore), methods=["POST"]),
        Route("/_sandbox/associate", control(account.associate), methods=["POST"]),
        Route("/_sandbox/replay", control(replays.start), methods=["POST"]),
        Route("/_sandbox/replay", control(replays.look), methods=["GET"]),
    ]
    app = Starlette(routes=[*routes, *own], exception_handlers={404: unknown, 405: unknown})

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        # Some of HubSpot's own clients end their paths with a slash. uvicorn's `send` is bound to what holds the
        # connection, which is needed to cut it.
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        path = scope.get("path", "/").rstrip("/") or "/"
        await app({**scope, "path": path, _TRANSPORT: transport}, receive, send)

    return outermost


def _response(reply: Reply) -> Response:
    body = b"" if reply.body is None else _dump(reply.body)
    headers = {**reply.headers, "X-HubSpot-Correlation-Id": _correlation(reply.body)}
    media = None if reply.body is None else "application/json;charset=utf-8"
    return Response(body, reply.status, headers, media)


def _correlation(body: Any) -> str:
    named = body.get("correlationId") if isinstance(body, dict) else None
    return str(named or uuid.uuid4())


def _dump(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


async def _send_edge(edge: Edge, send: Send) -> None:
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
    await _drop(request)


async def _drop(request: Request) -> None:
    """Cut the connection, which ASGI has no word for."""
    transport = request.scope.get(_TRANSPORT)
    if transport is not None:
        await asyncio.sleep(_PAUSE_SECONDS)
        raw = transport.get_extra_info("socket")
        # Without lingering the peer gets a reset, not a proper end.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await _until_gone(request)
