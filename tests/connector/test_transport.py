"""Retries, budgets, typed errors and secrecy of the one HTTP client."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import sleep

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connector.errors import (
    BadCredentials,
    BadSetting,
    BudgetSpent,
    LeadlightError,
    MissingScope,
    PlatformDown,
    PlatformRefused,
)
from connector.platforms.hubspot.client.dialect import RULES, HubSpotDialect
from connector.transport import Call, Decision, Failure, Transport, check_base_url, jittered, should_retry
from tests.connector.made_time import MadeTime

TOKEN = "pat-na1-11111111-2222-3333-4444-555555555555"
LIMITS = {"burst": {"calls": 190, "seconds": 10}, "daily": {"calls": 1000, "seconds": 86400}}
READ = Call("GET", "/things/{id}", "/things/7", ("burst", "daily"), params={"email": "a@x.example"})
CREATE = Call("POST", "/things", "/things", ("burst", "daily"), repeatable=False, json={"email": "a@x.example"})

DAILY = {
    "status": "error",
    "message": "You have reached your daily limit.",
    "errorType": "RATE_LIMIT",
    "correlationId": "c033cdaa-2c40-4a64-ae48-b4cec88dad24",
    "policyName": "DAILY",
    "requestId": "3d3e35b7-0dae-4b9f-a6e3-9c230cbcf8dd",
}
TEN_SECONDLY = {
    "status": "error",
    "message": "You have reached your ten_secondly_rolling limit.",
    "errorType": "RATE_LIMIT",
    "correlationId": "c93e0000-0000-0000-0000-000000000001",
    "policyName": "TEN_SECONDLY_ROLLING",
    "groupName": "publicapi:private-apps-api-calls-ten-secondly:1",
}
SECONDLY = {
    "status": "error",
    "message": "You have reached your secondly limit.",
    "correlationId": "de610000-0000-0000-0000-000000000001",
    "category": "RATE_LIMITS",
}
MISSING_SCOPES = {
    "status": "error",
    "message": "This app hasn't been granted all required scopes to make this call.",
    "correlationId": "aaaa0000-0000-0000-0000-000000000001",
    "errors": [
        {
            "message": "One or more of the following scopes are required.",
            "context": {"requiredGranularScopes": ["crm.objects.deals.read"]},
        }
    ],
    "category": "MISSING_SCOPES",
}
HTML = "<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"


@pytest.fixture
def time() -> MadeTime:
    return MadeTime()


@pytest.fixture
def transport(httpserver: HTTPServer, time: MadeTime) -> Iterator[Transport]:
    made = at(httpserver.url_for(""), time)
    yield made
    made.close()


def at(url: str, time: MadeTime) -> Transport:
    return Transport(
        url,
        SecretStr(TOKEN),
        HubSpotDialect(),
        LIMITS,
        clock=time.clock,
        ticks=time.ticks,
        sleep=time.sleep,
        timeout=(1.0, 0.3),
    )


def answers(httpserver: HTTPServer, *responses: Response) -> list[Request]:
    """Serve these in turn, the last one ever after; returns what was asked."""
    asked: list[Request] = []

    def handler(request: Request) -> Response:
        asked.append(request)
        return responses[min(len(asked), len(responses)) - 1]

    httpserver.expect_request("/things/7").respond_with_handler(handler)
    httpserver.expect_request("/things").respond_with_handler(handler)
    return asked


def js(body: object, status: int = 200, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(json.dumps(body), status, names, content_type="application/json")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure("status", 429, "DAILY"), Decision(False)),
        (Failure("status", 429, "TEN_SECONDLY_ROLLING"), Decision(True, 10, True)),
        (Failure("status", 429, "TEN_SECONDLY_ROLLING", attempt=3), Decision(True, 30, True)),
        (Failure("status", 429, "TEN_SECONDLY_ROLLING", retry_after=4), Decision(True, 4, True)),
        (Failure("status", 429, "SECONDLY", attempt=2), Decision(True, 2)),
        (Failure("status", 429, None, repeatable=False), Decision(True, 1)),
        (Failure("status", 429, None, attempt=10), Decision(False)),
        (Failure("status", 423, repeatable=False), Decision(True, 2.5)),
        (Failure("status", 477, retry_after=20), Decision(True, 20, True)),
        (Failure("status", 477, retry_after=7200), Decision(False, 7200, True)),
        (Failure("status", 502), Decision(True, 3)),
        (Failure("status", 524, attempt=4), Decision(True, 12)),
        (Failure("status", 504, attempt=5), Decision(False)),
        (Failure("status", 503, repeatable=False), Decision(False)),
        (Failure("status", 401), Decision(True, 1)),
        (Failure("status", 401, attempt=2), Decision(False)),
        (Failure("status", 400), Decision(False)),
        (Failure("status", 403), Decision(False)),
        (Failure("status", 530), Decision(False)),
        (Failure("connection"), Decision(True, 2)),
        (Failure("connection", repeatable=False), Decision(False)),
        (Failure("unsent", repeatable=False), Decision(True, 2)),
        (Failure("garbled", attempt=5), Decision(False)),
    ],
)
def test_should_retry_follows_the_table(failure: Failure, expected: Decision) -> None:
    assert should_retry(failure, RULES) == expected


def test_a_short_rate_limit_is_waited_out(httpserver: HTTPServer, time: MadeTime, transport: Transport) -> None:
    asked = answers(httpserver, js(SECONDLY, 429), js(TEN_SECONDLY, 429), js({"id": "7"}))
    assert transport.send(READ).body == {"id": "7"}
    assert len(asked) == 3
    assert 1 <= time.slept[0] < 1.5
    # ten seconds times the second attempt, for everybody
    assert sum(time.slept[1:]) >= 20
    assert transport.calls() == {"GET /things/{id}": 3}


def test_the_daily_limit_ends_the_run_until_midnight_there(
    httpserver: HTTPServer, time: MadeTime, transport: Transport
) -> None:
    asked = answers(httpserver, js(DAILY, 429))
    transport.budgets.settle_in("US/Eastern")
    with pytest.raises(BudgetSpent) as spent:
        transport.send(READ)
    assert len(asked) == 1
    assert spent.value.resume_at == datetime(2026, 11, 23, 5, 0, tzinfo=UTC)


def test_a_move_between_data_centres_is_waited_for_as_long_as_it_says(
    httpserver: HTTPServer, time: MadeTime, transport: Transport
) -> None:
    answers(httpserver, js({}, 477, Retry_After="40"), js({"id": "7"}), js({}, 477, Retry_After="7200"))
    assert transport.send(READ).status == 200
    assert 40 <= sum(time.slept) <= 100
    before = time.clock()
    with pytest.raises(BudgetSpent) as spent:
        transport.send(READ)
    assert spent.value.resume_at is not None
    assert (spent.value.resume_at - before).total_seconds() == 7200


@pytest.mark.parametrize("status", [502, 503, 504, 521, 523, 524])
def test_html_from_a_gateway_is_tried_again(
    status: int, httpserver: HTTPServer, time: MadeTime, transport: Transport
) -> None:
    asked = answers(httpserver, Response(HTML, status, content_type="text/html"), js({"id": "7"}))
    assert transport.send(READ).body["id"] == "7"
    assert len(asked) == 2
    assert len(time.slept) == 1


def test_after_all_retries_the_platform_is_down(httpserver: HTTPServer, transport: Transport) -> None:
    asked = answers(httpserver, Response(HTML, 502, {"X-HubSpot-Correlation-Id": "corr-1"}))
    with pytest.raises(PlatformDown, match=r"502.*corr-1") as down:
        transport.send(READ)
    assert len(asked) == 5
    assert down.value.request_id == "corr-1"


def test_what_cannot_be_repeated_is_not(httpserver: HTTPServer, transport: Transport) -> None:
    asked = answers(httpserver, Response(HTML, 503), js({}))
    with pytest.raises(PlatformDown):
        transport.send(CREATE)
    assert len(asked) == 1


def test_truncated_and_non_json_answers_are_tried_again(httpserver: HTTPServer, transport: Transport) -> None:
    cut = Response('{"results": [{"id": "7"}', 200, content_type="application/json")
    asked = answers(httpserver, cut, Response(HTML, 200), js({"results": []}))
    assert transport.send(READ).body == {"results": []}
    assert len(asked) == 3


def test_an_answer_that_does_not_come_is_tried_again(httpserver: HTTPServer, transport: Transport) -> None:
    asked: list[int] = []

    def slow_once(request: Request) -> Response:
        asked.append(1)
        if len(asked) == 1:
            sleep(0.45)
        return js({"id": "7"})

    httpserver.expect_request("/things/7").respond_with_handler(slow_once)
    assert transport.send(READ).body["id"] == "7"
    assert len(asked) > 1


@contextmanager
def raw_server(*pieces: bytes) -> Iterator[str]:
    """The URL of a server that answers its n-th connection with the n-th bytes and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for piece in pieces:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(piece)
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join()
    listener.close()


def test_a_reset_connection_is_tried_again(time: MadeTime) -> None:
    body = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"id": "7"}'
    with raw_server(b"", body[:-4], body) as url:
        transport = at(url, time)
        assert transport.send(READ).body == {"id": "7"}
    assert transport.calls() == {"GET /things/{id}": 3}


def test_nobody_there_is_a_platform_that_is_down(time: MadeTime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    transport = at(f"http://127.0.0.1:{port}", time)
    with pytest.raises(PlatformDown, match="HubSpot"):
        transport.send(READ)
    assert len(time.slept) == 4


@pytest.mark.parametrize(
    ("response", "error", "tries"),
    [
        (js({"status": "error", "category": "INVALID_AUTHENTICATION"}, 401), BadCredentials, 2),
        (Response("error code: 1016", 530), BadCredentials, 1),
        (js(MISSING_SCOPES, 403), MissingScope, 1),
        (js({"status": "error", "message": "resource not found"}, 404), PlatformRefused, 1),
        (Response("<html>414 Request-URI Too Large</html>", 414), PlatformRefused, 1),
    ],
)
def test_errors_say_what_to_do(
    response: Response, error: type[LeadlightError], tries: int, httpserver: HTTPServer, transport: Transport
) -> None:
    asked = answers(httpserver, response)
    with pytest.raises(error) as raised:
        transport.send(READ)
    assert len(asked) == tries
    if isinstance(raised.value, MissingScope):
        assert raised.value.scope == "crm.objects.deals.read"
    if isinstance(raised.value, PlatformRefused):
        assert raised.value.status == response.status_code


def test_nothing_secret_leaves_in_errors_logs_or_reprs(
    httpserver: HTTPServer, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="connector")
    body = {"status": "error", "message": f"a@x.example is bad, {TOKEN} too", "category": "VALIDATION_ERROR"}
    asked = answers(httpserver, Response(HTML, 503), js(body, 400))
    with pytest.raises(PlatformRefused) as raised:
        transport.send(READ)
    assert asked[0].headers["Authorization"] == f"Bearer {TOKEN}"
    seen = f"{raised.value} {raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r}"
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("connector")]
    seen += f"{transport!r} {vars(transport)} {logged}"
    assert "503" in logged[0]
    assert TOKEN not in seen
    assert "a@x.example" not in seen


def test_a_redirect_is_not_followed(httpserver: HTTPServer, transport: Transport) -> None:
    answers(httpserver, Response("", 302, {"Location": httpserver.url_for("/elsewhere")}))
    elsewhere: list[Request] = []
    httpserver.expect_request("/elsewhere").respond_with_handler(lambda r: elsewhere.append(r) or js({}))
    with pytest.raises(PlatformRefused):
        transport.send(READ)
    assert not elsewhere


@pytest.mark.parametrize(
    "url", ["http://api.hubapi.com", "http://10.0.0.7:80", "ftp://x", "https://", "https://user:secret@x", "x"]
)
def test_plain_http_is_for_loopback_only(url: str) -> None:
    with pytest.raises(BadSetting) as bad:
        check_base_url(url)
    assert "secret" not in str(bad.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "http://localhost:9", "http://[::1]:9", "https://x.example"]
)
def test_base_urls_that_are_fine(url: str) -> None:
    assert check_base_url(url) == url.rstrip("/")


def test_jitter_only_ever_adds_a_little() -> None:
    waits = {jittered(8) for _ in range(50)}
    assert len(waits) > 1
    assert all(8 <= wait <= 10 for wait in waits)


def test_platform_time_comes_from_its_date_header(time: MadeTime) -> None:
    head = b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 12:05:00 GMT\r\nContent-Length: 2\r\n\r\n{}"
    with raw_server(head) as url:
        transport = at(url, time)
        transport.send(READ)
    assert transport.platform_now() == datetime(2026, 11, 22, 12, 5, tzinfo=UTC)
    time.sleep(3)
    assert transport.platform_now() == datetime(2026, 11, 22, 12, 5, 3, tzinfo=UTC)
