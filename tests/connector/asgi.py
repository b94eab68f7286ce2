"""Requests to an ASGI app within the process, from any address."""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


def ask(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    client: str = "127.0.0.1",
    host: str = "127.0.0.1",
    form: dict[str, str] | None = None,
    scheme: str = "http",
    **headers: str,
) -> Answer:
    """One request; `headers` by their names with underscores."""
    body = urlencode(form or {}).encode()
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if form is not None:
        named["content-type"] = "application/x-www-form-urlencoded"
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": scheme,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": (client, 50000),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    head = next(one for one in sent if one["type"] == "http.response.start")
    text = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
    return Answer(head["status"], {k.decode(): v.decode() for k, v in head["headers"]}, text.decode())
