"""The dashboard's routes: the report live, runs and plans, one contact, the inbox, and jobs to start.

What writes is asked for by POST with the session's form key, after a page that says what it will do. A URL names
contacts, runs and plans by id, never by address.
"""

import json
import threading
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from connector.errors import BadSetting, LeadlightError
from connector.jobs import history
from connector.jobs.explain import explain
from connector.jobs.report import report
from connector.jobs.run import Run
from connector.pages.forms import sent
from connector.pages.guard import Guard, login_page, set_session
from connector.pages.login import COOKIE, Login
from connector.pages.office import Busy, Kind, Office, Order
from connector.pages.rendering import render
from scoring.errors import ScoringError

#: Ledger entries of a run or plan that a page shows.
ENTRIES = 200
_STATIC = {"leadlight.css": "text/css", "htmx.min.js": "text/javascript"}
_KINDS: dict[str, Kind] = {"sync": "sync", "dry-run": "dry-run", "approve": "approve", "rollback": "rollback"}


def dashboard(office: Office, login: Login) -> list[BaseRoute]:
    """What a service mounts last: everything under `/` that is nothing else, behind its own guard."""
    pages = Dashboard(office, login)
    return [Mount("/", app=Guard(Starlette(routes=pages.routes), login), name="dashboard")]


class Dashboard:
    """Holds the last report until the office says that something may have changed."""

    def __init__(self, office: Office, login: Login) -> None:
        self._office, self._login = office, login
        self._kept: tuple[object, dict[str, Any]] | None = None
        self._making = threading.Lock()
        self.routes = [
            Route("/", self.home),
            Route("/runs", self.runs),
            Route("/runs/{name}", self.one_run),
            Route("/progress", self.work),
            Route("/progress/now", self.progress),
            Route("/inbox", self.inbox),
            Route("/contacts", self.search, methods=["GET", "POST"]),
            Route("/contacts/{contact}", self.contact),
            Route("/confirm/{kind}", self.confirm),
            Route("/confirm/{kind}/{subject}", self.confirm),
            Route("/orders", self.order, methods=["POST"]),
            Route("/login", self.log_in, methods=["GET", "POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
            Route("/static/{name}", self.static),
        ]

    def home(self, request: Request) -> Response:
        """The report, live."""
        return self._shown(request, "home.html", self._report)

    def runs(self, request: Request) -> Response:
        """Runs, plans that await approval, and the audit log."""
        return self._shown(
            request, "runs.html", lambda: {"listed": self._look(lambda run: history.runs(run.mirror, 50))}
        )

    def one_run(self, request: Request) -> Response:
        """A run or a plan: every value before and after."""
        name = request.path_params["name"]
        return self._shown(
            request,
            "run.html",
            lambda: {"name": name, "one": self._look(lambda run: history.show(run.mirror, name, ENTRIES))},
        )

    def work(self, request: Request) -> Response:
        """The job at work, or how the last one ended."""
        return self._page(request, "work.html", work=self._office.work())

    def progress(self, request: Request) -> Response:  # noqa: ARG002 - as routes are called
        """The same as a fragment, which htmx asks for each second while the job runs."""
        return HTMLResponse(render("_progress.html", work=self._office.work()))

    def inbox(self, request: Request) -> Response:
        """Webhooks that wait, and those that could not be dealt with."""
        return self._page(request, "inbox.html", inbox=self._office.inbox())

    async def search(self, request: Request) -> Response:
        """A contact by id or address; the address comes by POST, so that no URL and no log holds it."""
        if request.method == "GET":
            return self._page(request, "contact.html", told=None)
        form = await sent(request)
        if (refused := self._refused(request, form)) is not None:
            return refused
        asked = form.get("contact", "").strip()
        return await run_in_threadpool(self._explained, request, asked)

    def contact(self, request: Request) -> Response:
        """A contact's predictions, their reasons, and its history."""
        return self._explained(request, request.path_params["contact"])

    def confirm(self, request: Request) -> Response:
        """What an order will do, and the button that gives it."""
        kind, subject = request.path_params["kind"], request.path_params.get("subject")
        if kind not in _KINDS or (subject is None) != (kind in ("sync", "dry-run")):
            return self._trouble(request, "There is no such page.", 404)
        return self._page(request, "confirm.html", kind=kind, subject=subject)

    async def order(self, request: Request) -> Response:
        """Start a job; then look at its progress."""
        form = await sent(request)
        if (refused := self._refused(request, form)) is not None:
            return refused
        kind, subject = form.get("kind", ""), form.get("subject") or None
        if kind not in _KINDS or (subject is None) != (kind in ("sync", "dry-run")):
            return self._trouble(request, "There is no such order.", 400)
        try:
            await run_in_threadpool(self._office.start, Order(_KINDS[kind], subject), "dashboard")
        except Busy as busy:
            return self._trouble(request, str(busy), 409)
        return RedirectResponse("/progress", 303)

    async def log_in(self, request: Request) -> Response:
        """The login token for a session."""
        if request.method == "GET":
            return RedirectResponse("/", 303)
        form = await sent(request)
        if not await run_in_threadpool(self._login.is_token, form.get("token", "")):
            return login_page(wrong=True)
        answer = RedirectResponse("/", 303)
        set_session(answer.headers, self._login.open_session(), request)
        return answer

    async def log_out(self, request: Request) -> Response:
        """Forget the session."""
        if (refused := self._refused(request, await sent(request))) is not None:
            return refused
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE)
        return answer

    def static(self, request: Request) -> Response:
        """Stylesheet and htmx."""
        name = request.path_params["name"]
        if name not in _STATIC:
            return self._trouble(request, "There is no such page.", 404)
        text = files("connector.pages").joinpath("static", name).read_text(encoding="utf-8")
        return Response(text, media_type=_STATIC[name])

    def _report(self) -> dict[str, Any]:
        with self._making:
            version = self._office.version()
            if self._kept is None or self._kept[0] != version:
                made = json.loads(json.dumps(self._look(report), default=str))
                self._kept = (version, made)
            return {"report": self._kept[1], "zone": self._kept[1]["account"]["timezone"]}

    def _look(self, look: Callable[[Run], dict[str, Any]]) -> dict[str, Any]:
        return self._office.read(look)

    def _explained(self, request: Request, asked: str) -> Response:
        return self._shown(
            request, "contact.html", lambda: {"told": self._look(lambda run: explain(run, asked, days=90))}
        )

    def _shown(self, request: Request, template: str, look: Callable[[], dict[str, Any]]) -> Response:
        """A page of what was looked at, or one sentence of why it could not be."""
        try:
            return self._page(request, template, **look())
        except Busy as busy:
            return self._trouble(request, str(busy), 503)
        except BadSetting as problem:
            return self._trouble(request, str(problem), 404)
        except (LeadlightError, ScoringError) as problem:
            return self._trouble(request, str(problem), 500)

    def _trouble(self, request: Request, message: str, status: int) -> Response:
        return self._page(request, "trouble.html", status=status, message=message)

    def _page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        session = request.scope["state"]["session"]
        given = {
            "form_key": self._login.form_key(session),
            "here": request.url.path,
            "may_log_out": self._login.needed,
            "zone": "UTC",
            **values,
        }
        return HTMLResponse(render(template, **given), status)

    def _refused(self, request: Request, form: Mapping[str, str]) -> Response | None:
        session = request.scope["state"]["session"]
        if self._login.is_form_key(session, form.get("form_key", "")):
            return None
        return self._trouble(request, "This form is out of date: go back, load the page again, and repeat.", 403)
