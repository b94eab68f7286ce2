"""The sandbox as an ASGI application: what is done to every request before and after its endpoint."""

import asyncio
import json
import re
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.sandbox import faults, wire
from connector.sandbox.faults import FaultPlan, Trouble
from connector.sandbox.hubspot import account, lists
from connector.sandbox.hubspot.calls import Call, Reply, problem_reply
from connector.sandbox.hubspot.limits import Limits
from connector.sandbox.hubspot.problems import Problem, missing_scope, not_found, unauthenticated
from connector.sandbox.hubspot.replay import Replays
from connector.sandbox.hubspot.routes import Endpoint, endpoints, scopes_needed
from connector.sandbox.hubspot.state import Portal

#: Longer targets meet the edge's own limit.
TARGET_LIMIT = 16_000
_VERSION = re.compile(r"\d{4}-\d{2}(-beta)?|v[1-4]")


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
            await wire.send_edge(faults.html(414), send)
            return
        trouble = faults.TROUBLES.get(fault or "")
        if trouble is Trouble.RESET:
            await wire.drop(request)
            return
        if fault is not None and trouble is None:
            await wire.send_edge(faults.edge_answer(fault), send)
            return
        reply = self._carry_out(endpoint, request, parameters, raw)
        await wire.deliver(_response(reply), trouble, request, send)

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
        Route("/_sandbox/list", control(lists.define), methods=["POST"]),
        Route("/_sandbox/restore", control(account.restore), methods=["POST"]),
        Route("/_sandbox/associate", control(account.associate), methods=["POST"]),
        Route("/_sandbox/replay", control(replays.start), methods=["POST"]),
        Route("/_sandbox/replay", control(replays.look), methods=["GET"]),
    ]
    app = Starlette(routes=[*routes, *own], exception_handlers={404: unknown, 405: unknown})

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        # Some of HubSpot's own clients end their paths with a slash.
        path = scope.get("path", "/").rstrip("/") or "/"
        await app(wire.with_transport(scope, send, path), receive, send)

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
