"""A stand-in for the service: holds the state's lock, and answers over real HTTP what a test tells it to."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from connector.handing import PATH, announce, withdraw
from connector.owner_lock import OwnerLock

TOKEN = "loopback-only-token"

Lines = Sequence[Mapping[str, Any] | bytes]


@dataclass
class Stand:
    """`answers`: what is said to each command, a line each; `status`: instead of saying anything."""

    answers: dict[str, Lines] = field(default_factory=dict)
    status: int = 200
    #: The bodies that were taken, and their headers.
    taken: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    async def handed(self, request: Request) -> Response:
        self.urls.append(str(request.url))
        self.headers.append(dict(request.headers))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return PlainTextResponse("", 401)
        body = await request.json()
        self.taken.append(body)
        if self.status != 200:
            return PlainTextResponse("", self.status)
        lines = self.answers[body["command"]]
        words = (line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
        return StreamingResponse(words, media_type="application/x-ndjson")


def ended(result: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The last line of an answer."""
    said = {"result": result, "status": "done", "message": "", "kind": "", "exit_code": 0, "rejected": [], **more}
    return {"ended": said}


@contextmanager
def standing(folder: Path, *, token: str = TOKEN) -> Iterator[Stand]:
    """Until the block ends a service of this process has the state folder; `token` is what it announces."""
    folder.mkdir(parents=True, exist_ok=True)
    stand = Stand()
    app = Starlette(routes=[Route(PATH, stand.handed, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    lock = OwnerLock(folder, "serve")
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        announce(folder, f"http://127.0.0.1:{port}", token)
        yield stand
    finally:
        withdraw(folder)
        lock.release()
        server.should_exit = True
        thread.join()
