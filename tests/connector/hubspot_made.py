"""A HubSpot of literal answers: each request must be expected, and is kept for a look."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connector.platforms.hubspot import HubSpot
from tests.connector.made_time import MadeTime

PAYLOADS = Path(__file__).resolve().parents[1] / "payloads" / "hubspot"
TOKEN = "pat-na1-00000000-0000-0000-0000-000000000000"
V = "2026-09"

Answer = Callable[[Request], Any]


def payload(name: str) -> Any:
    """A literal HubSpot body."""
    return json.loads((PAYLOADS / f"client_{name}.json").read_text(encoding="utf-8"))


class MadeHubSpot:
    """Answers by method and path. Every list is empty unless something else is given."""

    def __init__(self, server: HTTPServer) -> None:
        self.time = MadeTime()
        self.asked: list[tuple[str, Request]] = []
        self._answers: dict[str, Answer] = {}
        #: Contacts that a search without filters counts.
        self.total = 0
        self._server = server
        self._defaults()
        server.expect_request(re.compile(".*")).respond_with_handler(self._handle)

    def platform(self, **more: Any) -> HubSpot:
        return HubSpot(
            SecretStr(TOKEN),
            base_url=self._server.url_for(""),
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

    def found(self, records: Sequence[Any]) -> None:
        """What a search of contacts finds; without a filter it only counts."""
        self.answer(
            f"POST /crm/objects/{V}/contacts/search",
            lambda request: (
                {"total": len(records), "results": list(records)}
                if request.get_json()["filterGroups"]
                else {"total": self.total, "results": []}
            ),
        )

    def requests(self, call: str) -> list[Request]:
        return [request for name, request in self.asked if name == call]

    def bodies(self, call: str) -> list[Any]:
        return [request.get_json() for request in self.requests(call)]

    def calls(self) -> list[str]:
        return [name for name, _ in self.asked]

    def _handle(self, request: Request) -> Response:
        call = f"{request.method} {request.path}"
        self.asked.append((call, request))
        if call not in self._answers:
            return Response(json.dumps({"status": "error", "message": f"unexpected {call}"}), 418)
        found = self._answers[call](request)
        status, body = found if isinstance(found, tuple) else (200, found)
        return Response(json.dumps(body), status, content_type="application/json")

    def _defaults(self) -> None:
        nothing: dict[str, Any] = {"results": []}
        self.answer(f"GET /account-info/{V}/details", payload("account"))
        self.answer(f"GET /crm/properties/{V}/contacts", payload("contact_properties"))
        self.answer(f"GET /crm/properties/{V}/companies", payload("company_properties"))
        self.answer(f"GET /crm/pipelines/{V}/deals", payload("pipelines"))
        for name in ("contacts", "companies", "deals", "calls", "meetings", "emails", "tasks", "communications"):
            self.answer(f"GET /crm/objects/{V}/{name}", nothing)
            self.answer(f"POST /crm/objects/{V}/{name}/search", {"total": 0, "results": []})
            self.answer(f"POST /crm/objects/{V}/{name}/batch/read", nothing)
            self.answer(f"POST /crm/associations/{V}/{name}/contacts/batch/read", nothing)
            self.answer(f"POST /crm/associations/{V}/{name}/companies/batch/read", nothing)
        self.found([])
        self.answer("GET /email/public/v1/events", {"hasMore": False, "events": []})
        self.answer(f"GET /crm/owners/{V}", nothing)
        self.answer("GET /marketing/v3/forms", nothing)
        self.answer(f"GET /events/event-occurrences/{V}", nothing)


def utc(text: str) -> datetime:
    """An instant as our tables hold it: naive UTC."""
    return datetime.fromisoformat(text)


def contact(number: int, modified: str = "2026-11-01T10:00:00.500Z", **properties: str | None) -> dict[str, Any]:
    """A contact as list and search give it."""
    values = {
        "createdate": "2025-03-01T08:00:00.123Z",
        "email": f"person{number}@firm.example",
        "hs_object_id": str(number),
        "lastmodifieddate": modified,
        **properties,
    }
    return {
        "id": str(number),
        "properties": values,
        "createdAt": "2025-03-01T08:00:00.123Z",
        "updatedAt": modified,
        "archived": False,
    }


def page(records: Sequence[Any], after: str | None = None, **more: Any) -> dict[str, Any]:
    """A list's page; `paging` is absent on the last."""
    body: dict[str, Any] = {"results": list(records), **more}
    if after is not None:
        body["paging"] = {"next": {"after": after, "link": f"https://api.hubapi.com/x?after={after}"}}
    return body
