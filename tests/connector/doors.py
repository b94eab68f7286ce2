"""The service's application in this process, with everything behind its doors but a platform and jobs."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import SecretStr
from starlette.types import ASGIApp

from connector.errors import BadSetting
from connector.handing import FILE
from connector.inbox import Intake, connect
from connector.jobs.ended import Ended
from connector.pages.login import Login
from connector.pages.office import Order as Asked
from connector.platforms.hubspot.webhooks import HubSpotReceiver, signature_v3
from connector.platforms.salesforce.webhooks import SalesforceReceiver
from connector.service.access import Logged
from connector.service.app import application
from connector.service.handed import Handed
from connector.service.orders import Order, Ticket
from connector.service.webhooks import Webhooks
from connector.settings import Settings

SECRET, PATH_SECRET, HMAC_SECRET = "client-secret-1", "path-secret-2", "callout-secret-3"
ORGANIZATION = "00D5A0000000001UAA"
HOST = "leadlight.example"
HUBSPOT, SALESFORCE = "/webhooks/hubspot", f"/webhooks/salesforce/{PATH_SECRET}"
LARGEST = 20_000


class Idle:
    """A worker that ends each order at once."""

    at_work: Ticket | None = None

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def order(self, order: Order) -> Ticket:
        self.orders.append(order)
        ticket = Ticket(order)
        ticket.ended.set_result(Ended({"run_id": "r1"}))
        return ticket


class Empty:
    """An office with nothing in it."""

    def __init__(self) -> None:
        self.orders: list[Asked] = []

    def read(self, look: Any) -> Any:
        raise BadSetting("CONTACT is not in the mirror.")

    def start(self, order: Asked, who: str) -> None:
        self.orders.append(order)

    def work(self) -> None:
        return None

    def version(self) -> object:
        return 0

    def inbox(self) -> Mapping[str, Any] | None:
        return None


@dataclass
class House:
    """`app` is what stands behind the socket; `seen`: what became of each webhook."""

    app: ASGIApp
    folder: Path
    handed: Handed
    intake: Intake
    worker: Idle
    office: Empty
    troubles: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    @property
    def token(self) -> str:
        self.handed.announce("http://127.0.0.1:1")
        return str(json.loads((self.folder / FILE).read_text(encoding="utf-8"))["token"])

    def bodies(self) -> list[bytes]:
        connection = connect(self.folder)
        try:
            return [row["body"] for row in connection.execute("select body from bodies order by id")]
        finally:
            connection.close()


@contextmanager
def house(folder: Path) -> Iterator[House]:
    settings = Settings(platform="hubspot", hubspot_token=SecretStr("t"), state_dir=folder)
    state = SimpleNamespace(folder=folder, settings=settings)
    worker, office, intake = Idle(), Empty(), Intake(folder)
    troubles: list[str] = []
    seen: list[str] = []
    receivers = (
        HubSpotReceiver([SECRET]),
        SalesforceReceiver(SecretStr(PATH_SECRET), SecretStr(HMAC_SECRET), ORGANIZATION),
    )
    doors = {one.name: Webhooks(one, intake, LARGEST, lambda what, _: seen.append(what)) for one in receivers}
    handed = Handed(state, worker)  # type: ignore[arg-type]
    app = application(
        doors,
        handed,
        office,
        Login(folder),
        troubles=lambda: troubles,
        metrics=lambda: ("text/plain", b"leadlight_inbox_depth 0\n"),
    )
    try:
        yield House(Logged(app), folder, handed, intake, worker, office, troubles, seen)
    finally:
        intake.close()


@dataclass(frozen=True)
class Told:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def knock(
    app: ASGIApp,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    parts: Sequence[bytes] = (b"",),
    *,
    client: str = "203.0.113.9",
    query: bytes = b"",
    pause: float = 0.0,
    leaves: bool = False,
) -> Told:
    """A request from anywhere, its body in parts, a `pause` before each; the sender may leave before the end."""
    named = {"host": HOST, **(headers or {})}
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path.partition("?")[0],
        "raw_path": path.partition("?")[0].encode("utf-8", "replace"),
        "root_path": "",
        "query_string": query,
        "scheme": "http",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()],
        "client": (client, 50_000),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []
    left = list(parts)

    async def receive() -> dict[str, Any]:
        if not left:
            if not leaves:
                await asyncio.sleep(30)
            return {"type": "http.disconnect"}
        await asyncio.sleep(pause)
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left) or leaves}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    head = next(one for one in sent if one["type"] == "http.response.start")
    text = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
    return Told(head["status"], {k.decode().lower(): v.decode() for k, v in head["headers"]}, text)


def hubspot_headers(
    body: bytes,
    *,
    at: float | None = None,
    secret: str = SECRET,
    url: str = f"https://{HOST}{HUBSPOT}",
    method: str = "POST",
) -> dict[str, str]:
    stamp = str(int((time.time() if at is None else at) * 1000))
    signature = signature_v3(secret.encode(), method, url, body, stamp)
    return {
        "content-type": "application/json",
        "x-hubspot-signature-v3": signature,
        "x-hubspot-request-timestamp": stamp,
    }


def salesforce_headers(body: bytes, *, at: float | None = None, secret: str = HMAC_SECRET) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    code = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "x-leadlight-signature": f"sha256={code}",
        "x-leadlight-timestamp": stamp,
    }
