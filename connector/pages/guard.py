"""Before every page: who asks, and from where; on every answer: what the browser may do with it."""

from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connector.pages.login import COOKIE, LASTS, Login, local
from connector.pages.rendering import style_hash, stylesheet, trusted_render

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware: 403 where nobody may come, 401 where a login is lacking, else the pages.

    The session is in `request.state.session`.
    """

    def __init__(self, app: ASGIApp, login: Login) -> None:
        self._app, self._login = app, login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)

        async def covered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if fresh is not None:
                    set_session(headers, fresh, request)
            await send(message)

        fresh: str | None = None
        session = self._login.session(request.cookies.get(COOKIE))
        at_home = local(request)
        if session is None and at_home and not self._login.needed:
            fresh = self._login.open_session()
            session = self._login.session(fresh)
        if not at_home and not self._login.needed:
            await _forbidden()(scope, receive, covered)
        elif session is None and (request.method, request.url.path) != ("POST", "/login"):
            await login_page()(scope, receive, covered)
        elif foreign(request):
            await Response("Sent from another site.", 403, media_type="text/plain")(scope, receive, covered)
        else:
            scope.setdefault("state", {})["session"] = session
            await self._app(scope, receive, covered)


def foreign(request: Request) -> bool:
    """Whether a request that changes something was sent by a page of another site."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return False
    origin = request.headers.get("origin")
    if origin is not None and _host_of(origin) != request.headers.get("host"):
        return True
    return request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # no address at all
        return None


def set_session(headers: MutableHeaders, cookie: str, request: Request) -> None:
    """The cookie: unread by scripts, sent to this site alone; beyond this machine over TLS only."""
    secure = "" if local(request) and request.url.scheme == "http" else "; Secure"
    headers.append("set-cookie", f"{COOKIE}={cookie}; Path=/; Max-Age={LASTS}; HttpOnly; SameSite=Strict{secure}")


def login_page(wrong: bool = False) -> HTMLResponse:
    """The form, with 401; its style is within, because nothing else is served to strangers."""
    policy = POLICY.replace("style-src 'self'", f"style-src '{style_hash()}'")
    page = trusted_render("login.html", style=stylesheet(), wrong=wrong)
    return HTMLResponse(page, 401, headers={"content-security-policy": policy})


def _forbidden() -> Response:
    return Response(
        "The dashboard is off beyond this machine until a login token is made: "
        "`leadlight serve --new-login-token` on the server.",
        403,
        media_type="text/plain",
    )
