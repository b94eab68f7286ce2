"""The service's doors: who is let in to what, and what becomes of every request that nobody should send."""

import json
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Mount, Route

from connector.pages.login import COOKIE, Login, new_token
from connector.service import webhooks as module
from connector.service.access import Logged
from connector.service.app import Doors
from tests.connector.doors import (
    HUBSPOT,
    LARGEST,
    SALESFORCE,
    House,
    Told,
    house,
    hubspot_headers,
    knock,
    salesforce_headers,
)
from tests.connector.served import hubspot_events
from tests.connector.test_salesforce_webhooks import BOMB, EVENT, callout, message, notification

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OPEN = {"/healthz", "/readyz"}
AWAY = [
    {"client": "203.0.113.9", "host": "leadlight.example"},
    {"client": "203.0.113.9", "host": "127.0.0.1"},
    {"client": "127.0.0.1", "host": "leadlight.example"},  # somebody else's name that points here
    {"client": "127.0.0.1", "host": "127.0.0.1", "x-forwarded-for": "203.0.113.9"},
]


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as made:
        yield made


def asked(house: House, method: str, path: str, whence: dict[str, str], **headers: str) -> Told:
    named = {key: value for key, value in whence.items() if key != "client"}
    return knock(house.app, method, path, {**named, **headers}, client=whence["client"])


def paths(inside: House) -> list[str]:
    """Every route of the application, whatever it is mounted on."""
    logged = inside.app
    assert isinstance(logged, Logged)
    doors = logged._app
    assert isinstance(doors, Doors)
    found: list[str] = []
    waiting: list[Any] = list(doors._pages.routes)  # type: ignore[attr-defined]
    while waiting:
        route = waiting.pop()
        if isinstance(route, Route):
            found.append(re.sub(r"\{\w+\}", "x", route.path))
        elif isinstance(route, Mount):
            waiting += getattr(route.app, "_app", route).routes
    assert {"/metrics", "/handed", "/orders", "/runs/x"} <= set(found)
    return sorted({*found, "/nowhere", "/webhooks", "/handed/", "/metrics/"})


@pytest.mark.parametrize("whence", AWAY)
@pytest.mark.parametrize("token", [False, True])
def test_beyond_this_machine_nothing_is_told_without_a_login(
    inside: House, whence: dict[str, str], token: bool
) -> None:
    if token:
        new_token(inside.folder)
    inside.troubles.append("webhooks cannot be kept")
    for path in paths(inside):
        for verb in VERBS:
            answer = asked(inside, verb, path, whence)
            if path in OPEN and verb in ("GET", "HEAD"):
                assert answer.status == (503 if path == "/readyz" else 200)
                assert b"webhooks" not in answer.body
            else:
                assert (path, verb, answer.status in (401, 403, 405)) == (path, verb, True)
    assert (inside.worker.orders, inside.office.orders) == ([], [])


def test_webhooks_have_a_door_of_their_own_and_nothing_comes_in_unsigned(inside: House) -> None:
    for name in ("hubspot", "salesforce", "salesforce/x", "hubspot/x", "elsewhere", "", "hubspot/../x"):
        for verb in VERBS:
            answer = knock(inside.app, verb, f"/webhooks/{name}", parts=[b"[]"])
            assert answer.status in ((401, 404) if verb == "POST" else (404, 405))
    assert inside.bodies() == []


def test_what_is_handed_over_needs_the_token_of_the_state_folder_even_here(inside: House) -> None:
    login = new_token(inside.folder)
    cookie = f"{COOKIE}={Login(inside.folder).open_session()}"
    order = json.dumps({"command": "sync", "params": {}}).encode()
    token = inside.token
    here = {"host": "127.0.0.1:8080"}
    for headers in (
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {token}x"},
        {"authorization": f"Bearer {token[:-1]}"},
        {"authorization": f"Basic {token}"},
        {"authorization": token},
        {"authorization": f"Bearer {login}"},
        {"authorization": "Bearer \xe4"},
        {"cookie": cookie},
    ):
        answer = knock(inside.app, "POST", "/handed", here | headers, [order], client="127.0.0.1")
        assert (headers, answer.status) == (headers, 401)
    assert inside.worker.orders == []
    right = {"authorization": f"Bearer {token}"}
    answer = knock(inside.app, "POST", "/handed", here | right, [order], client="127.0.0.1")
    assert answer.status == 200
    assert [one.command for one in inside.worker.orders] == ["sync"]
    assert token.encode() not in answer.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"command": []}',
        b'{"command": {}}',
        b'{"command": null}',
        b'{"command": 7}',
        b'{"command": "sync", "params": 7}',
        b'{"command": "sync", "params": [1]}',
        b'{"command": "sync", "params": [[[1], 2]]}',
        b'{"command": "sync", "params": {"limit": "all"}}',
        b'{"command": "sync", "params": {"nothing": 1}}',
        b'{"command": "sandbox"}',
        b'{"command": "sync", "params": {"as_of": "soon"}}',
        b"[" * 50_000,
        b'{"command": "sync", "who": "' + b"x" * 200_000 + b'"}',
        b"\xff\xfe",
    ],
)
def test_an_order_of_another_shape_is_refused(inside: House, body: bytes) -> None:
    answer = knock(inside.app, "POST", "/handed", {"authorization": f"Bearer {inside.token}"}, [body])
    assert answer.status == 400
    assert inside.worker.orders == []


def test_a_flood_of_wrong_tokens_takes_one_place_at_a_time(inside: House, monkeypatch: pytest.MonkeyPatch) -> None:
    new_token(inside.folder)
    at_once, most, guard = [0], [0], threading.Lock()

    def slow(token: str, salt: bytes) -> bytes:
        with guard:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.05)
        with guard:
            at_once[0] -= 1
        return b"no"

    monkeypatch.setattr("connector.pages.login._hash", slow)
    monkeypatch.setattr("connector.pages.login.TRYING", 0.2)
    with ThreadPoolExecutor(12) as pool:
        tries = [
            pool.submit(knock, inside.app, "GET", "/metrics", {"authorization": f"Bearer {one}"})
            for one in range(12)
        ]
        assert {one.result(30).status for one in tries} == {401}
    assert most[0] == 1
    assert knock(inside.app, "GET", "/metrics").status == 401


HOSTS = ("[", "[::1", "a b", "", "127.0.0.1:x", "127.0.0.1:99999", "\xe4", "@", "127.0.0.1@x")


@pytest.mark.parametrize("path", ["/", "/metrics", "/readyz", "/orders", "/login"])
def test_a_host_or_origin_that_is_none_is_no_trouble_of_ours(inside: House, path: str) -> None:
    for host in HOSTS:
        for verb in ("GET", "POST"):
            for more in ({}, {"origin": f"http://{host}"}, {"origin": "null"}):
                for named in ({"host": host}, {"host": "127.0.0.1"}):
                    answer = knock(inside.app, verb, path, named | more, client="127.0.0.1")
                    assert (named, more, answer.status < 500) == (named, more, True)
    assert inside.office.orders == []


# webhooks


def posted(inside: House, body: bytes, headers: dict[str, str], path: str = HUBSPOT, **more: Any) -> int:
    return knock(inside.app, "POST", path, headers, [body], **more).status


def test_what_is_signed_is_on_disk_when_it_is_acknowledged(inside: House) -> None:
    bodies = [hubspot_events(["12"]), callout(EVENT), message(notification())]
    assert posted(inside, bodies[0], hubspot_headers(bodies[0])) == 200
    assert posted(inside, bodies[1], salesforce_headers(bodies[1]), "/webhooks/salesforce") == 200
    assert posted(inside, bodies[2], {"content-type": "text/xml"}, SALESFORCE) == 200
    assert inside.bodies() == bodies
    assert inside.seen == ["accepted"] * 3


def hubspot_spoilt() -> dict[str, tuple[bytes, dict[str, str]]]:
    body = hubspot_events(["12", "13"])
    plain, now = hubspot_headers(body), time.time()
    again = json.dumps(json.loads(body), indent=1).encode()
    return {
        "no signature": (body, {**plain, "x-hubspot-signature-v3": ""}),
        "another signature": (
            body,
            {**plain, "x-hubspot-signature-v3": hubspot_headers(b"[]")["x-hubspot-signature-v3"]},
        ),
        "a cut signature": (body, {**plain, "x-hubspot-signature-v3": plain["x-hubspot-signature-v3"][:-1]}),
        "a signature in letters that are none": (body, {**plain, "x-hubspot-signature-v3": "\xe4\xf6"}),
        "no time": (body, {**plain, "x-hubspot-request-timestamp": ""}),
        "another time": (body, {**plain, "x-hubspot-request-timestamp": str(int(now * 1000) - 1000)}),
        "a time that is none": (body, {**plain, "x-hubspot-request-timestamp": "\xb2\xb3"}),
        "old": (body, hubspot_headers(body, at=now - 301)),
        "future": (body, hubspot_headers(body, at=now + 120)),
        "another secret": (body, hubspot_headers(body, secret="client-secret-2")),
        "another host": (body, hubspot_headers(body, url=f"https://elsewhere.example{HUBSPOT}")),
        "another path": (body, hubspot_headers(body, url="https://leadlight.example/webhooks/hubspot2")),
        "a query that was not signed": (
            body,
            hubspot_headers(body, url=f"https://leadlight.example{HUBSPOT}?a=b"),
        ),
        "another method": (body, hubspot_headers(body, method="GET")),
        "written anew": (again, plain),
        "one byte more": (body + b" ", plain),
        "the old signature alone": (body, {"x-hubspot-signature": "a" * 64, "x-hubspot-signature-version": "v1"}),
    }


@pytest.mark.parametrize("how", hubspot_spoilt())
def test_a_request_that_was_spoilt_is_not_verified(inside: House, how: str) -> None:
    body, headers = hubspot_spoilt()[how]
    assert posted(inside, body, headers) == 401
    assert inside.bodies() == []
    assert inside.seen == ["unverified"]


def salesforce_spoilt() -> dict[str, tuple[bytes, dict[str, str], str]]:
    body, xml = callout(EVENT), message(notification())
    plain, now = salesforce_headers(body), time.time()
    door = "/webhooks/salesforce"
    return {
        "no signature": (body, {}, SALESFORCE),
        "another signature": (body, {**plain, "x-leadlight-signature": f"sha256={'0' * 64}"}, SALESFORCE),
        "no time": (body, {**plain, "x-leadlight-timestamp": ""}, SALESFORCE),
        "old": (body, salesforce_headers(body, at=now - 301), door),
        "future": (body, salesforce_headers(body, at=now + 120), door),
        "another secret": (body, salesforce_headers(body, secret="x"), door),
        "written anew": (json.dumps(json.loads(body), indent=1).encode(), plain, door),
        "another path": (xml, {}, "/webhooks/salesforce/path-secret-3"),
        "no path": (xml, {}, door),
        "another organisation": (message(notification(), organization="00D5A0000000002UAA"), {}, SALESFORCE),
        "entities": (message(notification(record="&c;"), head=BOMB), {}, SALESFORCE),
        "no message": (b"<a/>", {}, SALESFORCE),
        "nothing": (b"", {}, SALESFORCE),
        "text": (b"jane@example.org", {}, SALESFORCE),
    }


@pytest.mark.parametrize("how", salesforce_spoilt())
def test_a_message_that_was_spoilt_is_not_verified(inside: House, how: str) -> None:
    body, headers, path = salesforce_spoilt()[how]
    assert posted(inside, body, headers, path) == 401
    assert inside.bodies() == []


@pytest.mark.parametrize(
    ("path", "signed"),
    [
        ("/webhooks/hubspot/a%20b", "/webhooks/hubspot/a%20b"),
        ("/webhooks/hubspot/a%3Ab", "/webhooks/hubspot/a:b"),
        ("/webhooks/hubspot/a%2Cb%2F", "/webhooks/hubspot/a,b/"),
    ],
)
def test_an_encoded_address_is_signed_as_the_platform_decodes_it(inside: House, path: str, signed: str) -> None:
    import base64
    import hmac

    body, stamp = hubspot_events(["12"]), str(int(time.time() * 1000))
    told = b"POST" + f"https://leadlight.example{signed}".encode() + body + stamp.encode()
    digest = base64.b64encode(hmac.digest(b"client-secret-1", told, "sha256")).decode()
    headers = {"x-hubspot-signature-v3": digest, "x-hubspot-request-timestamp": stamp}
    assert posted(inside, body, headers, path) == 200


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "POST"])
def test_only_post_is_taken(inside: House, verb: str) -> None:
    body = hubspot_events(["12"])
    answer = knock(inside.app, verb, HUBSPOT, hubspot_headers(body, method=verb), [body])
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"


def test_what_is_too_large_is_refused_before_it_is_read(inside: House) -> None:
    body = hubspot_events(["12"])
    announced = {**hubspot_headers(body), "content-length": str(LARGEST + 1)}
    assert posted(inside, body, announced) == 413
    parts = [b"[" + b" " * 4_000] * 10
    answer = knock(inside.app, "POST", HUBSPOT, hubspot_headers(b"".join(parts)), parts)
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    whole = b"[" + b" " * (LARGEST - 2) + b"]"
    assert posted(inside, whole, {**hubspot_headers(whole), "content-length": str(len(whole))}) == 200
    assert inside.seen == ["too_large", "too_large", "accepted"]


def test_a_body_that_comes_too_slowly_is_not_waited_for(inside: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOWEST", 0.2)
    body = hubspot_events(["12"])
    began = time.monotonic()
    answer = knock(inside.app, "POST", HUBSPOT, hubspot_headers(body), [body[:5], body[5:9], body[9:]], pause=0.15)
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert time.monotonic() - began < 5
    assert inside.seen == ["too_slow"]


def test_a_sender_that_goes_away_is_not_counted_as_one_that_sent_too_much(inside: House) -> None:
    body = hubspot_events(["12"])
    knock(inside.app, "POST", HUBSPOT, hubspot_headers(body), [body[:20]], leaves=True)
    assert inside.bodies() == []
    assert inside.seen == ["unknown"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"7",
        b"null",
        b'"text"',
        b"{",
        b"[" * 10_000,
        b"[" * 9_000 + b"]" * 9_000,
        b"\xff\xfe[]",
        b"<a/>",
        b" <!DOCTYPE a>",
        b"jane",
    ],
)
def test_what_is_signed_and_no_json_of_ours_is_refused(inside: House, body: bytes) -> None:
    assert posted(inside, body, hubspot_headers(body)) == 400


def test_while_nothing_can_be_kept_the_platform_is_asked_to_come_back(
    inside: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = hubspot_events(["12"])
    inside.intake._connection.execute(
        f"pragma max_page_count = {inside.intake._connection.execute('pragma page_count').fetchone()[0]}"
    )
    large = json.dumps([{"subscriptionType": "x", "filler": "y" * 15_000}]).encode()
    answers = [knock(inside.app, "POST", HUBSPOT, hubspot_headers(large), [large]) for _ in range(3)]
    assert {answer.status for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"10"}
    inside.intake._connection.execute("pragma max_page_count = 1000000")
    assert posted(inside, body, hubspot_headers(body)) == 200
    assert inside.bodies() == [body]
    inside.intake.close()
    assert posted(inside, body, hubspot_headers(body)) == 503
    monkeypatch.setattr(inside.intake, "put", None)
    with pytest.raises(TypeError):
        posted(inside, body, hubspot_headers(body))
    assert inside.seen == ["error", "error", "error", "accepted", "overloaded", "error"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_fails_or_has_died_keeps_nobody_waiting(
    inside: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(error: type[BaseException]) -> Any:
        def fails(*_: Any, **__: Any) -> None:
            raise error

        return fails

    body = hubspot_events(["12"])
    began = time.monotonic()
    with monkeypatch.context() as broken:
        broken.setattr("connector.inbox.intake.add_to_totals", failing(MemoryError))
        assert posted(inside, body, hubspot_headers(body)) == 503
    assert posted(inside, body, hubspot_headers(body)) == 200
    monkeypatch.setattr(inside.intake, "_write", failing(SystemExit))
    assert posted(inside, body, hubspot_headers(body)) == 503
    assert posted(inside, body, hubspot_headers(body)) == 503
    assert not inside.intake.alive
    assert time.monotonic() - began < 5
    assert inside.bodies() == [body]


texts = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
names = st.sampled_from(
    [
        "x-hubspot-signature-v3",
        "x-hubspot-request-timestamp",
        "x-hubspot-signature",
        "x-hubspot-signature-version",
        "x-leadlight-signature",
        "x-leadlight-timestamp",
        "content-type",
        "content-length",
        "host",
        "origin",
        "cookie",
        "authorization",
        "x-request-id",
    ]
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=12,
    ).map(lambda found: json.dumps(found).encode("utf-8", "surrogatepass")),
    st.sampled_from([b"<", b"<?xml ", b"<!DOCTYPE", b"[", b"{"]).flatmap(
        lambda head: st.binary(max_size=60).map(lambda rest: head + rest)
    ),
)
MARK = b"jane.doe@example.org"
doors = st.sampled_from(
    [HUBSPOT, SALESFORCE, "/webhooks/salesforce", "/webhooks/", "/webhooks/hubspot/", "/webhooks/x"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["POST"] * 4 + list(VERBS)),
    path=st.one_of(doors, texts.map(lambda text: f"/webhooks/hubspot/{text}")),
    headers=st.dictionaries(names, texts, max_size=6),
    body=bodies,
    signed=st.sampled_from(["", "hubspot", "salesforce"]),
)
def test_whatever_is_sent_nothing_breaks_and_nothing_is_given_away(
    inside: House,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    signed: str,
) -> None:
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    body = body.replace(b'"a"', b'"%s"' % MARK) + (MARK if len(body) % 3 == 0 else b"")
    if signed == "hubspot":
        headers = {**headers, "host": "leadlight.example"} | hubspot_headers(body, method=method)
        path = HUBSPOT
    elif signed == "salesforce":
        headers = headers | salesforce_headers(body)
    answer = knock(inside.app, method, path, headers, [body])
    assert answer.status < 500
    assert MARK not in answer.body
    told = " ".join([record.getMessage() + str(record.__dict__) for record in caplog.records])
    assert MARK.decode() not in told
    assert "path-secret" not in told


def test_the_disk_that_is_full_when_a_commit_ends_does_not_shut_the_door_for_ever(inside: House) -> None:
    """A commit that fails leaves its transaction open (SQLite, "COMMIT")."""
    real = inside.intake._connection

    class Failing:
        """Fails one commit."""

        failed = False

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def execute(self, sql: str, *given: Any) -> Any:
            if sql == "commit" and not self.failed:
                Failing.failed = True
                raise sqlite3.OperationalError("database or disk is full")
            return real.execute(sql, *given)

    inside.intake._connection = Failing()  # type: ignore[assignment]
    body = hubspot_events(["12"])
    assert posted(inside, body, hubspot_headers(body)) == 503
    assert posted(inside, body, hubspot_headers(body)) == 200
    assert inside.bodies() == [body]
