"""Alerts reach a mail server and a chat's webhook, once for each trouble, and hold nothing secret or personal."""

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connector.errors import BadSetting
from connector.service.alerts import FILE, Alerts, about_run, overdue
from connector.settings import Mail, Settings
from tests.connector.service.smtp_server import certificate, mail_server

SECRET = "T0SECRET"
START = datetime(2026, 11, 28, 2, 31, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at


class Chat:
    """A chat's webhook: what was posted, and the statuses to answer with; then 200."""

    def __init__(self, server: HTTPServer) -> None:
        self.texts: list[str] = []
        self.answers: list[int] = []
        self.url = server.url_for(f"/services/{SECRET}")
        server.expect_request(f"/services/{SECRET}", method="POST").respond_with_handler(self._take)

    def _take(self, request: Request) -> Response:
        status = self.answers.pop(0) if self.answers else 200
        self.texts.append(json.loads(request.data)["text"])
        return Response("ok", status=status)


@pytest.fixture
def chat(httpserver: HTTPServer) -> Chat:
    return Chat(httpserver)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Alerts]


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    """Alerts of one state folder, one after the other."""
    made: list[Alerts] = []

    def start(settings: Settings, **given: Any) -> Alerts:
        for former in made:
            former.close()
        made.append(Alerts(settings, tmp_path, clock=clock, first_wait=0.01, **given))
        return made[-1]

    yield start
    for one in made:
        one.close()


def by_chat(url: str) -> Settings:
    return Settings(alerts_webhook_url=SecretStr(url))


def by_mail(port: int, **given: Any) -> Settings:
    password = given.pop("password", None)
    mail = Mail(
        **{
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_tls": "none",
            "mail_from": "leadlight@x.example",
            "mail_to": ("ops@x.example", "boss@x.example"),
            **given,
        }
    )
    return Settings(alerts=mail, alerts_smtp_password=password)


def wait_for(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.01)


def test_a_chat_gets_one_text(make: Make, chat: Chat) -> None:
    alerts = make(by_chat(chat.url))
    alerts.send("failed", "sync (BadCredentials)", ["sync r-1: failed.", "<!channel> see"])
    alerts.close()
    assert chat.texts == [
        "Leadlight: A run failed: sync (BadCredentials)\nsync r-1: failed.\n‹!channel› see\n"
        "Time: 2026-11-28T02:31:00+00:00"
    ]


def test_the_same_trouble_is_told_once_a_day_over_restarts_too(make: Make, chat: Chat, clock: Clock) -> None:
    alerts = make(by_chat(chat.url))
    alerts.send("failed", "sync", ["run 1"])
    alerts.send("failed", "sync", ["run 2"])
    alerts.send("refused", "sync", ["run 3"])
    alerts = make(by_chat(chat.url))
    clock.at = START + timedelta(hours=12)
    alerts.send("failed", "sync", ["run 4"])
    # The next night, a minute earlier than the first.
    clock.at = START + timedelta(hours=23, minutes=59)
    alerts.send("failed", "sync", ["run 5"])
    alerts.close()
    assert [text.splitlines()[1] for text in chat.texts] == ["run 1", "run 3", "run 5"]


def test_what_makes_a_trouble_the_same_may_be_named(make: Make, chat: Chat) -> None:
    alerts = make(by_chat(chat.url))
    alerts.send("late", "sync of 02:15", trouble="late")
    alerts.send("late", "sync of 02:16", trouble="late")
    alerts.close()
    assert len(chat.texts) == 1


def test_recovery_is_told_after_trouble_only_and_makes_the_next_one_news(make: Make, chat: Chat) -> None:
    alerts = make(by_chat(chat.url))
    for kind in ("recovered", "failed", "failed", "recovered", "recovered", "failed", "recovered"):
        alerts.send(kind, "sync")  # type: ignore[arg-type]
    alerts = make(by_chat(chat.url))
    alerts.send("recovered", "sync")
    alerts.send("failed", "sync")
    alerts.close()
    told = [text.partition("Leadlight: ")[2].partition(":")[0] for text in chat.texts]
    assert told == ["A run failed", "Back to normal", "A run failed", "Back to normal", "A run failed"]


def test_passing_trouble_of_the_chat_is_waited_out(make: Make, chat: Chat) -> None:
    chat.answers = [500, 429, 503]
    alerts = make(by_chat(chat.url))
    alerts.send("failed", "sync")
    alerts.close(10)
    assert len(chat.texts) == 4


def test_what_no_repeat_heals_is_not_repeated_and_the_secret_is_not_logged(
    make: Make, chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "connector")
    chat.answers = [404]
    alerts = make(by_chat(chat.url))
    alerts.send("failed", "sync")
    alerts.close(10)
    assert len(chat.texts) == 1
    assert "an alert could not be sent by webhook: it answered 404" in caplog.text
    ours = [record for record in caplog.records if record.name != "werkzeug"]  # the chat's own
    assert not any(SECRET in record.getMessage() for record in ours)
    # It was told to nobody, so that the next one is news.
    alerts = make(by_chat(chat.url))
    alerts.send("failed", "sync")
    alerts.close(10)
    assert len(chat.texts) == 2


def test_a_chat_that_is_not_there_is_tried_until_it_is(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/services/{SECRET}"
    alerts = make(by_chat(url), retry_seconds=0.05)
    alerts.send("failed", "sync", ["run 1"])
    wait_for(lambda: "an alert could not be sent by webhook: ConnectionError" in caplog.text)
    assert SECRET not in caplog.text  # the chat itself, which logs it, is not there yet
    assert "run 1" in (tmp_path / FILE).read_text(encoding="utf-8")
    with HTTPServer("127.0.0.1", port) as server:
        chat = Chat(server)
        wait_for(lambda: chat.texts)
        alerts.send("failed", "sync", ["run 2"])
        alerts.close(10)
        assert len(chat.texts) == 1


def test_what_was_not_out_when_the_process_ended_is_sent_by_the_next(
    make: Make, chat: Chat, tmp_path: Path
) -> None:
    chat.answers = [500] * 4
    alerts = make(by_chat(chat.url))
    alerts.send("failed", "sync", ["run 1"])
    alerts.close(10)
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["waiting"]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    make(by_chat(chat.url)).close(10)
    assert len(chat.texts) == 5
    make(by_chat(chat.url)).close(10)
    assert len(chat.texts) == 5


def test_closing_does_not_wait_for_a_chat_that_hangs(make: Make, tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        alerts = make(by_chat(f"http://127.0.0.1:{deaf.getsockname()[1]}/x"))
        began = time.monotonic()
        alerts.send("failed", "sync")
        alerts.close(0.2)
        assert time.monotonic() - began < 5
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["waiting"]


def test_a_mail_goes_to_all_and_has_what_mail_needs(make: Make) -> None:
    with mail_server() as server:
        alerts = make(by_mail(server.port))
        alerts.send(
            "refused", "sync\r\nBcc: x@y.example", ["lead score: 3 conversions, 40 are needed – more.", "."]
        )
        alerts.close(10)
    [(recipients, mail)] = server.mails
    assert recipients == ["ops@x.example", "boss@x.example"]
    assert mail["Subject"].startswith("[Leadlight] A run was refused: sync")
    assert mail["Bcc"] is None
    assert mail["From"] == "leadlight@x.example"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"]
    assert mail["Message-ID"].endswith("@x.example>")
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert "40 are needed – more." in body.decode()


@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_a_password_goes_out_encrypted(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with mail_server(pem, tls_at_once=way == "tls") as server:
        alerts = make(by_mail(server.port, smtp_tls=way, smtp_user="me", password=SecretStr("right")))
        alerts.send("failed", "sync")
        alerts.close(10)
    assert server.logins == [("me", "right")]
    assert server.encrypted == [True]


def test_a_mail_account_without_its_password_is_named(make: Make) -> None:
    with pytest.raises(BadSetting, match="LEADLIGHT_ALERTS_SMTP_PASSWORD_FILE"):
        make(by_mail(25, smtp_user="me"))


@pytest.mark.parametrize("trouble", ["untrusted", "not offered", "password"])
def test_mail_that_would_go_out_in_the_clear_or_is_refused_is_not_sent(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    pem = certificate(tmp_path)
    if trouble != "untrusted":
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with mail_server(pem) as server:
        server.offers_starttls = trouble != "not offered"
        alerts = make(by_mail(server.port, smtp_tls="starttls", smtp_user="me", password=SecretStr("wr0ng-one")))
        alerts.send("failed", "sync")
        alerts.close(10)
    said = {
        "untrusted": "its certificate cannot be trusted",
        "not offered": "it does not offer what the settings ask for",
        "password": "the server answered 535",
    }
    assert f"an alert could not be sent by mail: {said[trouble]}" in caplog.text
    assert (server.mails, server.connections) == ([], 1)
    assert len(server.logins) == (trouble == "password")
    assert "wr0ng" not in caplog.text
    assert "anna" not in caplog.text


def test_a_server_that_wants_to_be_asked_again_is(make: Make) -> None:
    with mail_server() as server:
        server.to_recipients = ["450 greylisted", "451 not yet"]
        alerts = make(by_mail(server.port))
        alerts.send("failed", "sync")
        alerts.close(10)
    assert (len(server.mails), server.connections) == (1, 3)


def test_a_server_that_knows_nobody_is_asked_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with mail_server() as server:
        server.to_recipients = ["550 no such user ops@x.example"]
        alerts = make(by_mail(server.port))
        alerts.send("failed", "sync")
        alerts.close(10)
    assert server.connections == 1
    assert "it refused every recipient [550]" in caplog.text
    assert "ops@" not in caplog.text


def test_an_ill_mannered_good_bye_sends_nothing_twice(make: Make) -> None:
    with mail_server() as server:
        server.says_good_bye = False
        alerts = make(by_mail(server.port))
        alerts.send("failed", "sync")
        alerts.close(10)
    assert len(server.mails) == 1


def test_one_way_out_is_enough(make: Make, chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    with mail_server() as server:
        server.to_recipients = ["550 no"]
        alerts = make(by_mail(server.port).model_copy(update={"alerts_webhook_url": SecretStr(chat.url)}))
        alerts.send("failed", "sync")
        alerts.close(10)
        alerts = make(by_chat(chat.url))
        alerts.send("failed", "sync")
        alerts.close(10)
    assert len(chat.texts) == 1


def test_who_sends_does_not_wait(make: Make) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        alerts = make(by_mail(deaf.getsockname()[1]))
        began = time.monotonic()
        alerts.send("failed", "sync")
        assert time.monotonic() - began < 2
        alerts.close(0)


def test_without_a_way_out_it_is_logged_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    alerts = make(Settings())
    alerts.send("overdue", "for 26 hours")
    alerts.send("overdue", "for 26 hours")
    assert caplog.text.count("alert: No run has succeeded: for 26 hours") == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"told": {"x": "y"}, "waiting": []}', '{"told": {}, "waiting": [1]}']
)
def test_a_spoiled_memory_costs_a_repeat_at_most(make: Make, chat: Chat, tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    alerts = make(by_chat(chat.url))
    alerts.send("failed", "sync")
    alerts.close(10)
    assert len(chat.texts) == 1


def test_addresses_never_go_out(make: Make, chat: Chat) -> None:
    alerts = make(by_chat(chat.url))
    alerts.send("failed", "sync of anna@x.example", ["asked https://api.example/contacts?email=anna@x.example"])
    alerts.close(10)
    assert "anna" not in chat.texts[0]


def test_a_refused_run_tells_its_reasons_once_and_its_counts() -> None:
    result = {
        "gates": {
            "lead_score": {"passed": False, "ran": True, "reasons": ["Only 3 conversions."]},
            "send_time": {"passed": None, "ran": False, "reasons": ["No events."]},
            "segments": {"passed": False, "ran": True, "reasons": ["One group holds 90%."]},
        },
        "pushed": {"changed": 0, "unchanged": 12345, "failed": 0, "values": 0, "skipped": 0},
        "refused": "Every prediction was refused, nothing was written. lead_score: Only 3 conversions.",
    }
    subject, lines = about_run("sync", "r-1", "refused", result)
    assert subject == "sync"
    assert lines == [
        "sync r-1: refused.",
        "Every prediction was refused, nothing was written. lead_score: Only 3 conversions.",
        "segments: One group holds 90%.",
        "Contacts: 0 changed, 12,345 unchanged, 0 failed.",
        "Look at it: leadlight runs r-1",
    ]


def test_a_failed_run_is_known_by_its_kind_of_trouble() -> None:
    subject, lines = about_run(
        "sync", None, "failed", {"error": "the token is revoked.", "kind": "BadCredentials"}
    )
    assert subject == "sync (BadCredentials)"
    assert lines == ["sync: failed.", "the token is revoked.", "Look at it: leadlight runs"]


@pytest.mark.parametrize(
    ("success", "started", "late"),
    [
        (START - timedelta(hours=27), START - timedelta(hours=90), True),
        (START - timedelta(hours=25), START - timedelta(hours=90), False),
        (START - timedelta(hours=27), START, True),  # the service itself was away
        (None, START - timedelta(hours=25), False),
        (None, START - timedelta(hours=27), True),
    ],
)
def test_overdue_counts_from_the_last_success_else_from_the_start(
    success: datetime | None, started: datetime, late: bool
) -> None:
    assert overdue(success, started, START, 26) is late
