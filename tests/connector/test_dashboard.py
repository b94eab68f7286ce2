"""Who may see and do what on the dashboard."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from connector.errors import BadSetting
from connector.pages import forms
from connector.pages.dashboard import Dashboard, dashboard
from connector.pages.login import COOKIE, FILE, Login, new_token
from connector.pages.office import Busy, Order, Work
from tests.connector.asgi import Answer, ask
from tests.connector.doors import knock

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
AWAY = {"client": "203.0.113.9", "host": "leadlight.example"}


class Noted:
    """An office that notes what it is asked to do."""

    def __init__(self) -> None:
        self.orders: list[tuple[Order, str]] = []
        self.busy = False

    def read(self, look: Callable[[Any], Any]) -> Any:
        raise BadSetting("CONTACT is not in the mirror.")

    def start(self, order: Order, who: str) -> None:
        if self.busy:
            raise Busy("A run is at work already.")
        self.orders.append((order, who))

    def work(self) -> Work | None:
        return None

    def version(self) -> object:
        return 0

    def inbox(self) -> Mapping[str, Any] | None:
        return None


@pytest.fixture
def office() -> Noted:
    return Noted()


@pytest.fixture
def app(office: Noted, tmp_path: Path) -> Starlette:
    return Starlette(routes=dashboard(office, Login(tmp_path)))


def paths(office: Noted, folder: Path) -> list[str]:
    routes = [route for route in Dashboard(office, Login(folder)).routes if isinstance(route, Route)]
    found = [re.sub(r"\{\w+\}", "x", route.path) for route in routes]
    assert len(found) > 10
    return [*found, "/nothing/here"]


@pytest.mark.parametrize(
    "whence",
    [
        AWAY,
        {"client": "203.0.113.9"},
        {"host": "leadlight.example"},  # a name of somebody else's that points here
        {"x_forwarded_for": "203.0.113.9"},
    ],
)
def test_beyond_this_machine_nothing_is_answered_without_a_token(
    app: Starlette, office: Noted, tmp_path: Path, whence: dict[str, str]
) -> None:
    for path in paths(office, tmp_path):
        for verb in VERBS:
            assert (path, verb, ask(app, verb, path, **whence).status) == (path, verb, 403)
    new_token(tmp_path)
    for path in paths(office, tmp_path):
        for verb in VERBS:
            answer = ask(app, verb, path, **whence)
            assert answer.status in (401, 403), (path, verb)
            assert "set-cookie" not in answer.headers
    assert office.orders == []


def test_the_token_opens_and_is_kept_as_a_hash_alone(app: Starlette, office: Noted, tmp_path: Path) -> None:
    token = new_token(tmp_path)
    kept = tmp_path / FILE
    assert token not in kept.read_text(encoding="utf-8")
    assert kept.stat().st_mode & 0o077 == 0
    wrong = ask(app, "POST", "/login", form={"token": token + "x"}, **AWAY)
    assert (wrong.status, "set-cookie" in wrong.headers) == (401, False)
    right = ask(app, "POST", "/login", form={"token": token}, scheme="https", **AWAY)
    assert right.status == 303
    for part in ("HttpOnly", "SameSite=Strict", "Secure"):
        assert part in right.headers["set-cookie"]
    cookie = right.headers["set-cookie"].split(";")[0]
    assert ask(app, "GET", "/progress", cookie=cookie, **AWAY).status == 200
    assert ask(app, "GET", "/progress", cookie=cookie[:-1] + "0x", **AWAY).status == 401
    # another token ends no session, but the old token is void
    new_token(tmp_path)
    assert ask(app, "POST", "/login", form={"token": token}, **AWAY).status == 401


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("kind", "parts", "status"),
    [
        (FORM, [b"token=", b"a" * 9_000, *[b"a" * 9_000] * 1_000], 413),
        (f"{FORM}; charset=utf-8", [b"a=b&" * 3_000], 413),
        ("multipart/form-data; boundary=b", [b'--b\r\ncontent-disposition: form-data; name="token"\r\n\r\n'], 415),
        ("text/plain", [b"token=x"], 415),
        (FORM, [b"token=", b"x"], 408),
    ],
)
def test_what_no_form_sends_is_not_read_to_its_end(
    app: Starlette, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, parts: list[bytes], status: int
) -> None:
    new_token(tmp_path)
    monkeypatch.setattr(forms, "SLOWEST", 0.3)
    answer = knock(app, "POST", "/login", {"content-type": kind}, parts, pause=0.2 if status == 408 else 0.0)
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert "set-cookie" not in answer.headers


def test_an_order_needs_the_form_key_of_its_session(app: Starlette, office: Noted) -> None:
    page = ask(app, "GET", "/confirm/sync")
    cookie = page.headers["set-cookie"].split(";")[0]
    key = _form_key(page)
    order = {"kind": "sync", "subject": ""}
    assert ask(app, "POST", "/orders", form=order, cookie=cookie).status == 403
    assert ask(app, "POST", "/orders", form={**order, "form_key": "0" * 64}, cookie=cookie).status == 403
    other = ask(app, "GET", "/confirm/sync").headers["set-cookie"].split(";")[0]
    assert ask(app, "POST", "/orders", form={**order, "form_key": key}, cookie=other).status == 403
    given = {**order, "form_key": key}
    assert ask(app, "POST", "/orders", form=given, cookie=cookie, origin="https://evil.example").status == 403
    assert ask(app, "POST", "/orders", form=given, cookie=cookie, sec_fetch_site="cross-site").status == 403
    assert office.orders == []
    done = ask(app, "POST", "/orders", form=given, cookie=cookie, origin="http://127.0.0.1")
    assert (done.status, done.headers["location"]) == (303, "/progress")
    assert office.orders == [(Order("sync"), "dashboard")]


@pytest.mark.parametrize("form", [{"kind": "erase"}, {"kind": "rollback"}, {"kind": "sync", "subject": "x"}])
def test_there_are_no_other_orders(app: Starlette, office: Noted, form: dict[str, str]) -> None:
    page = ask(app, "GET", "/confirm/sync")
    cookie = page.headers["set-cookie"].split(";")[0]
    assert ask(app, "POST", "/orders", form={**form, "form_key": _form_key(page)}, cookie=cookie).status == 400
    assert office.orders == []


def test_a_second_order_waits(app: Starlette, office: Noted) -> None:
    office.busy = True
    page = ask(app, "GET", "/confirm/dry-run")
    given = {"kind": "dry-run", "form_key": _form_key(page)}
    answer = ask(app, "POST", "/orders", form=given, cookie=page.headers["set-cookie"].split(";")[0])
    assert answer.status == 409
    assert "at work already" in answer.text


def test_every_answer_says_what_the_browser_may_do(app: Starlette, office: Noted, tmp_path: Path) -> None:
    for path in paths(office, tmp_path):
        headers = ask(app, "GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_what_is_not_there_is_said_in_a_sentence(app: Starlette) -> None:
    answer = ask(app, "GET", "/contacts/17")
    assert answer.status == 404
    assert "CONTACT is not in the mirror." in answer.text
    assert COOKIE in answer.headers["set-cookie"]


def _form_key(page: Answer) -> str:
    found = re.search(r'name="form_key" value="([0-9a-f]{64})"', page.text)
    assert found is not None
    return found[1]
