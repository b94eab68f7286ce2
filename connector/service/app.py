"""The service's routes: webhooks, health, metrics, handed commands, and the dashboard under all else."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.handing import PATH
from connector.pages.dashboard import dashboard
from connector.pages.login import Login, local
from connector.pages.office import Office
from connector.service.handed import Handed

#: What stands between the platforms and us in a path.
WEBHOOKS = "/webhooks/"


def application(
    webhooks: Mapping[str, ASGIApp],
    handed: Handed,
    office: Office,
    login: Login,
    *,
    troubles: Callable[[], list[str]],
    metrics: Callable[[], tuple[str, bytes]],
) -> ASGIApp:
    """The ASGI application. `troubles` says what keeps the service from doing its work, in words."""

    def health(request: Request) -> Response:  # noqa: ARG001 - as routes are called
        return JSONResponse({"status": "ok"})

    def readiness(request: Request) -> Response:
        found = troubles()
        told = {"ready": not found, **({"troubles": found} if local(request) else {})}
        return JSONResponse(told, 503 if found else 200)

    def measured(request: Request) -> Response:
        token = request.headers.get("authorization", "").partition(" ")[2]
        if not local(request) and not login.is_token(token):
            return Response("with the login token as bearer, or from this machine", 401)
        media, body = metrics()
        return Response(body, media_type=media)

    pages = Starlette(
        routes=[
            Route("/healthz", health),
            Route("/readyz", readiness),
            Route("/metrics", measured),
            Route(PATH, handed.route, methods=["POST"]),
            *dashboard(office, login),
        ]
    )
    return Doors(webhooks, pages)


class Doors:
    """Webhooks by their platform's name, all else to the pages."""

    def __init__(self, webhooks: Mapping[str, ASGIApp], pages: ASGIApp) -> None:
        self._webhooks, self._pages = webhooks, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: Any = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(WEBHOOKS):
            name = path[len(WEBHOOKS) :].partition("/")[0]
            await self._webhooks.get(name, _nowhere)(scope, receive, send)
        else:
            await self._pages(scope, receive, send)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("no webhooks of this name are received here", 404)(scope, receive, send)
