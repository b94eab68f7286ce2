"""Connections that say nothing, or too much, over real sockets."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from connector.service import connections
from connector.service.serving import _config

#: Instead of twenty seconds.
SOON = 0.6
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the size of the body; /early before it has come."""
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    told = b"%d" % size
    headers = [(b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with the service's own configuration."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", SOON)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(_config(app))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def line(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as made:
        yield made


def answer(line: socket.socket) -> bytes:
    """The body of one answer."""
    came = b""
    while b"\r\n\r\n" not in came or came.endswith(b"\r\n\r\n"):
        part = line.recv(4096)
        assert part
        came += part
    assert came.startswith(b"HTTP/1.1 200 ")
    return came.partition(b"\r\n\r\n")[2]


def closed_after(line: socket.socket) -> float:
    began = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        assert line.recv(4096) == b""
    return time.monotonic() - began


def drip(line: socket.socket, piece: bytes, seconds: float) -> bool:
    """Send a piece again and again; whether the line stood for so long."""
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            line.sendall(piece)
            time.sleep(0.1)
    except OSError:
        return False
    return True


def test_who_says_nothing_is_not_waited_for(line: socket.socket) -> None:
    assert SOON / 2 < closed_after(line) < 5


@pytest.mark.parametrize("began", [POST + b"x-a: ", b"\r\n"])
@pytest.mark.parametrize("again", [False, True])
def test_a_head_that_does_not_end_is_not_waited_for(line: socket.socket, began: bytes, again: bool) -> None:
    """Nor on a connection that was of use before."""
    if again:
        line.sendall(GET)
        assert answer(line) == b"0"
    line.sendall(began)
    assert not drip(line, b"\r\n" if began == b"\r\n" else b"a", 5 * SOON)


@pytest.mark.parametrize("piece", [b"a" * 16_384, b"x-a: b\r\n" * 2_048])
@pytest.mark.parametrize("again", [False, True])
def test_a_head_without_end_is_not_read(
    line: socket.socket, monkeypatch: pytest.MonkeyPatch, piece: bytes, again: bool
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60.0)
    if again:
        line.sendall(GET)
        assert answer(line) == b"0"
    line.sendall(POST + (b"" if piece.endswith(b"\n") else b"x-a: "))
    assert not drip(line, piece, 5.0)


def test_trailers_without_end_are_not_read(line: socket.socket) -> None:
    line.sendall(POST + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
    assert not drip(line, b"x-a: b\r\n" * 2_048, 5.0)


def test_what_goes_on_after_its_answer_is_not_waited_for(line: socket.socket) -> None:
    line.sendall(POST.replace(b"/", b"/early", 1) + b"content-length: 1000000\r\n\r\n")
    assert answer(line) == b"0"
    assert not drip(line, b"a", 5 * SOON)


def test_whole_requests_are_answered_however_long_the_connection_lasts(line: socket.socket) -> None:
    for _ in range(3):
        line.sendall(GET)
        assert answer(line) == b"0"
        time.sleep(SOON)  # between requests uvicorn's own patience counts, of 30 seconds
    line.sendall(GET + GET)
    assert answer(line).startswith(b"0")


@pytest.mark.parametrize("pause", [0.0, 1.5 * SOON])
def test_a_body_is_no_head(line: socket.socket, pause: float) -> None:
    """Neither its size counts nor, where somebody reads it, its pace."""
    body = b"a" * 500_000
    line.sendall(POST + b"x-filler: %s\r\ncontent-length: %d\r\n\r\n" % (b"b" * 60_000, len(body)))
    time.sleep(pause)
    line.sendall(body)
    assert answer(line) == b"500000"
    line.sendall(POST + b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(10):
        line.sendall(b"%x\r\n%s\r\n" % (50_000, b"a" * 50_000))
    line.sendall(b"0\r\n\r\n")
    assert answer(line) == b"500000"
