"""The org as an ASGI application: what is done to every request before and after its endpoint."""

import asyncio
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.sandbox import faults, wire
from connector.sandbox.faults import Edge, FaultPlan, Trouble
from connector.sandbox.salesforce import controls, jobs, queries, records
from connector.sandbox.salesforce.auth import Auth
from connector.sandbox.salesforce.calls import Call, Reply
from connector.sandbox.salesforce.limits import Limits
from connector.sandbox.salesforce.problems import Problem, not_found
from connector.sandbox.salesforce.store import Org

#: URI and headers together; a longer target is refused by the edge (seen as 414), longer headers with 431.
TARGET_LIMIT = 16_384
OLDEST, NEWEST = 31, 68
_TOKEN = "/services/oauth2/token"  # noqa: S105 - a path
_DATA = "/services/data/{version}"
_JOB = _DATA + "/jobs/{kind}/{id}"

Handler = Callable[[Call], Reply]
#: Method, path, endpoint; the first that fits answers.
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/services/data", records.versions),
    ("GET", _DATA, records.resources),
    ("GET", _DATA + "/limits", records.limits),
    ("GET", _DATA + "/query", queries.query),
    ("GET", _DATA + "/queryAll", queries.query_all),
    ("GET", _DATA + "/query/{locator}", queries.more),
    ("GET", _DATA + "/queryAll/{locator}", queries.more),
    ("GET", _DATA + "/sobjects", records.global_describe),
    ("GET", _DATA + "/sobjects/{object}", records.basic),
    ("POST", _DATA + "/sobjects/{object}", records.create),
    ("GET", _DATA + "/sobjects/{object}/describe", records.describe),
    ("GET", _DATA + "/sobjects/{object}/updated", records.updated),
    ("GET", _DATA + "/sobjects/{object}/deleted", records.deleted),
    ("GET", _DATA + "/sobjects/{object}/{id}", records.read),
    ("PATCH", _DATA + "/sobjects/{object}/{id}", records.update),
    ("DELETE", _DATA + "/sobjects/{object}/{id}", records.delete),
    ("PATCH", _DATA + "/composite/sobjects", records.collection),
    ("POST", _DATA + "/composite/sobjects", records.collection),
    ("POST", _DATA + "/jobs/query", jobs.create_query),
    ("GET", _DATA + "/jobs/query/{id}", jobs.read_query),
    ("PATCH", _DATA + "/jobs/query/{id}", jobs.change_query),
    ("DELETE", _DATA + "/jobs/query/{id}", jobs.delete),
    ("GET", _DATA + "/jobs/query/{id}/results", jobs.results),
    ("POST", _DATA + "/jobs/ingest", jobs.create_ingest),
    ("GET", _DATA + "/jobs/ingest/{id}", jobs.read_ingest),
    ("PATCH", _DATA + "/jobs/ingest/{id}", jobs.change_ingest),
    ("DELETE", _DATA + "/jobs/ingest/{id}", jobs.delete),
    ("PUT", _DATA + "/jobs/ingest/{id}/batches", jobs.upload),
    ("GET", _DATA + "/jobs/ingest/{id}/successfulResults", jobs.successful),
    ("GET", _DATA + "/jobs/ingest/{id}/failedResults", jobs.failed),
    ("GET", _DATA + "/jobs/ingest/{id}/unprocessedrecords", jobs.unprocessed),
)
_COMPILED = [
    (method, template, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template), re.IGNORECASE), handler)
    for method, template, handler in ROUTES
]


class Host:
    """Answers requests for one org: session, limits, faults, counts."""

    def __init__(self, org: Org, auth: Auth, limits: Limits, plan: FaultPlan, latency_ms: float = 0.0) -> None:
        self.org, self.auth, self.limits, self.plan = org, auth, limits, plan
        self.latency_ms = latency_ms
        self.jobs = jobs.Jobs(org, limits)
        self.locators = queries.Locators()
        self.calls: Counter[str] = Counter()

    async def answer(self, request: Request, path: str, send: Send) -> None:
        """One request of the API, with whatever befalls it."""
        raw = await request.body()
        method, template, parameters, handler = _route(request.method, path)
        self.calls[f"{method} {template}"] += 1
        fault = self.plan.next()
        if self.latency_ms:
            await asyncio.sleep(self.latency_ms / 1000)
        target = len(path) + len(request.url.query)
        if target > TARGET_LIMIT:
            await wire.send_edge(faults.html(414), send)
            return
        if target + sum(len(name) + len(value) for name, value in request.headers.raw) > TARGET_LIMIT:
            await wire.send_edge(Edge(431, "", "text/html", {}), send)
            return
        trouble = faults.TROUBLES.get(fault or "")
        if trouble is Trouble.RESET:
            await wire.drop(request)
            return
        if fault is not None and trouble is None:
            edge = self._befallen(fault)
            if edge is not None:
                await wire.send_edge(edge, send)
                return
        if request.headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        reply = self._carry_out(request, path, parameters, handler, raw)
        await wire.deliver(_response(reply, request), trouble, request, send)

    def _befallen(self, fault: str) -> Edge | None:
        """A bad answer by name; None where the request goes on, under worse conditions."""
        if fault == "expired-session":
            self.auth.expire_all()
            return None
        problem = {
            "query-timeout": Problem(400, "QUERY_TIMEOUT", "Your query request was running for too long."),
            "concurrent-limit": Problem(
                403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
            ),
            "500": Problem(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred. Please include this ErrorId"),
        }.get(fault)
        if problem is not None:
            return Edge(problem.status, json.dumps(problem.body()), "application/json", {})
        if fault in ("420", "429"):
            return Edge(int(fault), "", "application/json", {})
        return faults.html(int(fault)) if fault in ("502", "503", "504") else None

    def _carry_out(
        self, request: Request, path: str, parameters: dict[str, str], handler: Handler | None, raw: bytes
    ) -> Reply:
        headers: dict[str, str] = {}
        try:
            with self.org.lock:
                self.jobs.advance()
                if path == _TOKEN:
                    return Reply(200, self._token(request, raw))
                self.auth.admit(request.headers)
                self.limits.take()
                headers = self.limits.headers()
                version = parameters.get("version", f"v{NEWEST}.0")
                _check_version(version)
                if handler is None:
                    raise not_found()
                reply = handler(self.call(request, path, version, parameters, raw))
        except Problem as problem:
            return Reply(problem.status, problem.body(), headers)
        return Reply(reply.status, reply.body, {**headers, **reply.headers}, reply.text, reply.media)

    def call(self, request: Request, path: str, version: str, parameters: dict[str, str], raw: bytes) -> Call:
        """The request, apart from the web framework."""
        return Call(
            org=self.org,
            method=request.method,
            version=version,
            path={**parameters, "target": path},
            query=dict(request.query_params),
            raw=raw,
            headers=request.headers,
            locators=self.locators,
            jobs=self.jobs,
            limits=self.limits,
        )

    def _token(self, request: Request, raw: bytes) -> dict[str, str]:
        if request.method != "POST":
            raise Problem(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed")
        base_url = f"http://{request.url.netloc}"
        authorization = request.headers.get("authorization", "")
        return self.auth.token(raw, authorization, base_url, self.org.clock() / 1000)


def application(host: Host) -> ASGIApp:
    """All paths of the API, and the sandbox's own under /_sandbox."""

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope.get("path", "/").rstrip("/") or "/"
        request = Request(wire.with_transport(scope, send, path), receive)
        if path.startswith("/_sandbox/"):
            raw = await request.body()
            with host.org.lock:
                host.jobs.advance()
                reply = controls.answer(host.org, host.calls, request.method, path, raw)
            await _response(reply, request)(scope, receive, send)
        else:
            await host.answer(request, path, send)

    return outermost


def _route(method: str, path: str) -> tuple[str, str, dict[str, str], Handler | None]:
    if path == _TOKEN:
        return method, path, {}, None
    for known, template, pattern, handler in _COMPILED:
        found = pattern.fullmatch(path)
        if known == method and found:
            named = re.sub(r"\{version\}", found.groupdict().get("version", ""), template)
            named = named.replace("{object}", found.groupdict().get("object", ""))
            return method, named, dict(found.groupdict()), handler
    return method, "unknown", {}, None


def _check_version(version: str) -> None:
    found = re.fullmatch(r"v(\d+)\.0", version)
    if not found or int(found[1]) > NEWEST:
        raise not_found()
    if int(found[1]) < OLDEST:
        raise Problem(410, "UNSUPPORTED_API_VERSION", f"API version {version} was retired")


def _response(reply: Reply, request: Request) -> Response:
    body, media = reply.text, reply.media
    if body is None:
        body = b"" if reply.body is None else json.dumps(reply.body, ensure_ascii=False).encode()
    headers = dict(reply.headers)
    if len(body) > 2_000 and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
    return Response(body, reply.status, headers, media if body or reply.text is not None else None)
