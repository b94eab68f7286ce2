"""Logs are one object a line and hold neither personal data nor secrets, whoever wrote into them."""

import asyncio
import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from connector.errors import PlatformDown
from connector.service.access import Logged, safe_path
from connector.service.logs import Lines, configure, given_id, of_run, redacted, request_id
from tests.connector.asgi import Answer, ask

SECRET = "s3cr3t-t0ken_of.salesforce"


class Written:
    """What was logged: the lines, and the objects on them."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written() -> Iterator[Written]:
    """Everything at debug as JSON; logging is put back afterwards."""
    root, hook = logging.getLogger(), threading.excepthook
    handlers, level = root.handlers[:], root.level
    given = Written()
    configure("DEBUG", stream=given.stream, as_json=True)
    yield given
    logging.captureWarnings(False)
    threading.excepthook = hook
    root.handlers[:] = handlers
    root.setLevel(level)


log = logging.getLogger("connector.test")


def test_a_line_is_one_object_with_time_level_event_and_ids(written: Written) -> None:
    token = request_id.set("r-1")
    with of_run("run-7"):
        log.info("pulled %d\nrows", 3, extra={"table": "contacts", "rows": 3, "gone": None})
    request_id.reset(token)
    log.warning("after")
    first, second = written.lines
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "event": "pulled 3 rows",
        "logger": "connector.test",
        "request_id": "r-1",
        "run_id": "run-7",
        "table": "contacts",
        "rows": 3,
        "gone": None,
    }
    assert {"request_id", "run_id"} & second.keys() == set()


def test_a_terminal_gets_lines_to_read(written: Written) -> None:
    stream = io.StringIO()
    configure("INFO", stream=stream, as_json=False)
    log.info("synced", extra={"contacts": 12})
    log.debug("nothing")
    [line] = stream.getvalue().splitlines()
    assert line.endswith("info    synced contacts=12")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("POST /webhooks/salesforce/abc-DEF_1.2 taken", "POST /webhooks/salesforce/*** taken"),
        ("POST /Webhook//Salesforce/abc/x", "POST /Webhook//Salesforce/***"),
        ("see https://x.example/a?email=anna&b=1 now", "see https://x.example/a?*** now"),
        ("see https://me:pass@x.example/a", "see https://***/x.example/a"),
        ("wrote to anna.o+x@mail.example.com.", "wrote to <e-mail>"),
        ("wrote to anna%40mail.example", "wrote to <e-mail>"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("token pat-na1-11111111-2222-3333-4444-555555555555.", "token ***."),
        ("really? yes", "really? yes"),
        ("contact 42 of run r-1: 3/4 done", "contact 42 of run r-1: 3/4 done"),
        ("a\r\nb\x1b[31mc\u202ed", "a  b [31mc d"),
    ],
)
def test_what_no_log_may_hold_is_taken_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_an_unexpected_exception_is_told_by_type_and_place(written: Written) -> None:
    try:
        raise ValueError("anna@x.example could not be parsed: Anna Onymous")
    except ValueError as error:
        log.exception("the worker stumbled")
        log.error("the worker stumbled: %s", error)
        log.error("the worker stumbled over %(what)s", {"what": error})
    first, second, third = written.lines
    assert (first["event"], first["error"]) == ("the worker stumbled", "ValueError")
    assert first["at"].startswith("test_logs.py:")
    assert (second["event"], third["event"]) == (
        "the worker stumbled: ValueError",
        "the worker stumbled over ValueError",
    )
    assert "Anna" not in written.text


def test_an_error_of_ours_says_what_to_do(written: Written) -> None:
    try:
        raise PlatformDown("HubSpot: GET /crm/objects answered 502 after 5 tries.")
    except PlatformDown:
        log.exception("poll failed")
    assert written.lines[0]["error"] == "PlatformDown: HubSpot: GET /crm/objects answered 502 after 5 tries."


def test_a_thread_that_ends_and_a_task_that_nobody_awaited_do_not_spill_words(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    def end() -> None:
        raise KeyError("Anna Onymous")

    thread = threading.Thread(target=end, name="worker-1")
    thread.start()
    thread.join()
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <… KeyError('Anna Onymous')>")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old\nfashioned", DeprecationWarning, stacklevel=1)
    ended, task, warned = written.lines
    assert (ended["event"], ended["error"]) == ("the thread worker-1 ended", "KeyError")
    assert task["event"] == "Task exception was never retrieved"
    assert "fashioned" in warned["event"]
    assert "Onymous" not in written.text + capsys.readouterr().err


def test_a_message_whose_arguments_do_not_fit_is_a_line_all_the_same() -> None:
    record = logging.LogRecord("connector.test", logging.INFO, "x.py", 1, "%d rows", ("three",), None)
    assert json.loads(Lines(as_json=True).format(record))["event"] == "%d rows"
    assert record.args == ("three",)


def test_libraries_that_talk_too_much_are_quiet(written: Written) -> None:
    logging.getLogger("urllib3.connectionpool").debug("POST /services/T0/B0/secret")
    logging.getLogger("apscheduler.scheduler").info("Added job")
    logging.getLogger("uvicorn.access").info('1.2.3.4 - "POST /webhooks/salesforce/x"')
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "Started"})
    assert [line["event"] for line in written.lines] == ["Started"]
    assert "color_message" not in written.lines[0]


async def _answer(request: Request) -> Response:
    log.info("within")
    if request.path_params.get("how") == "broken":
        raise ValueError("Anna Onymous")
    return PlainTextResponse("ok", status_code=503 if request.path_params.get("how") == "busy" else 200)


def asked(path: str, **headers: str) -> Answer:
    paths = ("/healthz", "/webhooks/salesforce/{secret}", "/pages/{how}")
    routes = [Route(path, _answer, methods=["GET", "POST"]) for path in paths]
    return ask(Logged(Starlette(routes=routes)), "POST", path, **headers)


def test_a_request_is_one_line_with_its_id(written: Written) -> None:
    answer = asked("/pages/one", x_request_id="trace-1.2_3")
    assert answer.headers["x-request-id"] == "trace-1.2_3"
    within, line = written.lines
    assert within["request_id"] == line["request_id"] == "trace-1.2_3"
    assert (line["event"], line["method"], line["path"], line["status"], line["level"]) == (
        "request",
        "POST",
        "/pages/one",
        200,
        "info",
    )
    assert 0 <= line["ms"] < 10_000
    assert request_id.get() is None


@pytest.mark.parametrize("sent", ["", "a b", "anna@x.example", "x" * 65, 'x"}{', "ü"])
def test_what_is_no_id_is_replaced(sent: str) -> None:
    name = given_id(sent)
    assert name != sent
    assert len(name) == 20
    assert given_id(None) != given_id(None)


def test_two_requests_without_an_id_get_two(written: Written) -> None:
    one, other = asked("/pages/one"), asked("/pages/one")
    assert one.headers["x-request-id"] != other.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "level"),
    [("/healthz", "debug"), ("/pages/busy", "warning"), ("/pages/one", "info"), ("/nowhere", "info")],
)
def test_machines_that_ask_often_are_told_of_at_debug(written: Written, path: str, level: str) -> None:
    asked(path)
    assert written.lines[-1]["level"] == level


def test_what_breaks_is_a_500_without_its_words(written: Written) -> None:
    with pytest.raises(ValueError, match="Anna"):
        asked("/pages/broken")
    assert (written.lines[-1]["status"], written.lines[-1]["level"]) == (500, "error")
    assert "Anna" not in written.text


def test_a_request_that_is_broken_off_at_the_end_is_no_error(written: Written) -> None:
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.error("Exception in ASGI application\n", exc_info=asyncio.CancelledError())
    assert written.lines == []
    uvicorn.error("Exception in ASGI application\n", exc_info=ValueError())
    log.error("no request", exc_info=asyncio.CancelledError())
    assert [line["error"] for line in written.lines] == ["ValueError", "CancelledError"]


@pytest.mark.parametrize(
    "path",
    [
        f"/webhooks/salesforce/{SECRET}",
        f"//webhooks//salesforce//{SECRET}",
        f"/webhook/SalesForce/{SECRET}/",
        f"/x/salesforce/{SECRET}\n{SECRET}",
        f"/webhooks/salesforce/{SECRET}?{SECRET}",
        f"/webhooks/{SECRET}",
        f"//Webhook//{SECRET}/",
        f"/webhooks/hubspot/{SECRET}",
        f"/webhooks/salesforce{SECRET}",
        f"/webhooks/salesforce-{SECRET}/x",
    ],
)
def test_the_secret_in_the_path_is_never_logged(written: Written, path: str) -> None:
    assert SECRET not in safe_path(path)
    asked(path)
    assert written.lines[-1]["event"] == "request"
    assert SECRET not in written.text


@pytest.mark.parametrize(
    "path", ["/webhooks", "/webhooks/", "/webhooks/hubspot", "/webhooks/hubspot/", "/webhooks/salesforce"]
)
def test_the_doors_of_webhooks_are_logged_by_name(path: str) -> None:
    assert safe_path(path) == path
    assert safe_path(f"{path}/x".replace("//", "/")).endswith("/***")


def test_a_path_may_hold_addresses_and_be_long() -> None:
    assert safe_path("/contacts/anna@x.example") == "/contacts/<e-mail>"
    assert len(safe_path("/" + "x" * 5_000)) == 200
