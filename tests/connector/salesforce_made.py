"""A Salesforce of literal answers: each request must be expected, and is kept for a look."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connector.platforms.salesforce import Salesforce
from connector.platforms.salesforce.client.auth import Credentials
from connector.platforms.salesforce.client.soql import long_id
from tests.connector.made_time import MadeTime

PAYLOADS = Path(__file__).resolve().parents[1] / "payloads" / "salesforce"
CLIENT_ID = "3MVG9.made.up"
DATA = "/services/data/v68.0"

Answer = Callable[[Request], Any]


def payload(name: str) -> Any:
    """A literal Salesforce body."""
    return json.loads((PAYLOADS / f"client_{name}.json").read_text(encoding="utf-8"))


def lead(number: int) -> str:
    """A lead's id."""
    return long_id(f"00Q5A{number:010d}")


def contact(number: int) -> str:
    """A contact's id."""
    return long_id(f"0035A{number:010d}")


class MadeSalesforce:
    """Answers by method and path; a describe tells of all our fields."""

    def __init__(self, server: HTTPServer) -> None:
        self.time = MadeTime()
        self.asked: list[tuple[str, Request]] = []
        self._answers: dict[str, Answer] = {}
        self._server = server
        self.answer(
            "POST /services/oauth2/token",
            payload("token") | {"instance_url": server.url_for(""), "access_token": "token-1"},
        )
        for name in ("Lead", "Contact"):
            self.answer(f"GET {DATA}/sobjects/{name}/describe", payload("describe"))
        self.answer(f"GET {DATA}/query", {"totalSize": 0, "done": True, "records": []})
        server.expect_request(re.compile(".*")).respond_with_handler(self._handle)

    def platform(self, **more: Any) -> Salesforce:
        return Salesforce(
            Credentials(CLIENT_ID, SecretStr("s3cret-value")),
            self._server.url_for(""),
            clock=self.time.clock,
            ticks=self.time.ticks,
            sleep=self.time.sleep,
            **more,
        )

    def answer(self, call: str, *bodies: Any) -> None:
        """Bodies (or (status, body) pairs) in turn, the last one ever after; or one function of the request."""
        if len(bodies) == 1 and callable(bodies[0]):
            self._answers[call] = bodies[0]
            return
        left = list(bodies)
        self._answers[call] = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def requests(self, call: str) -> list[Request]:
        return [request for name, request in self.asked if name == call]

    def bodies(self, call: str) -> list[Any]:
        return [request.get_json() for request in self.requests(call)]

    def _handle(self, request: Request) -> Response:
        call = f"{request.method} {request.path}"
        request.get_data()
        self.asked.append((call, request))
        if call not in self._answers:
            return Response(json.dumps([{"errorCode": "NOT_FOUND", "message": f"unexpected {call}"}]), 404)
        found = self._answers[call](request)
        if isinstance(found, Response):
            return found
        status, body = found if isinstance(found, tuple) else (200, found)
        if isinstance(body, bytes):
            return Response(body, status, content_type="text/csv")
        text = "" if body is None else json.dumps(body)
        return Response(text, status, content_type="application/json")
