"""Trouble on purpose: what the network, the edge and the platform do on bad days."""

import random
from dataclasses import dataclass
from enum import Enum

from connector.sandbox.options import Faults

#: Answers that come from the edge, not the API: HTML, without a category to read.
_HTML = {
    414: "Request-URI Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    521: "Web server is down",
    523: "Origin is unreachable",
    524: "A timeout occurred",
}


#: Faults that befall rows and jobs, not requests.
OF_ROWS = frozenset({"lock", "validation", "job-failed"})


class Trouble(Enum):
    """What happens to a request besides a plain bad status."""

    HANG = "the request is carried out and never answered"
    RESET = "the connection is reset before anything is done"
    TRUNCATE = "the answer stops in the middle"
    COMMIT_THEN_TIMEOUT = "the request is carried out and the edge answers 504"
    SLOW = "the answer takes two seconds more"


@dataclass(frozen=True)
class Edge:
    """An answer instead of the API's own."""

    status: int
    body: str
    content_type: str
    headers: dict[str, str]


class FaultPlan:
    """Draws what happens to the next request; the draws follow from the seed."""

    def __init__(self, faults: Faults, seed: int = 0) -> None:
        self.faults = faults
        self._random = random.Random(seed)  # noqa: S311 - a dice, not a secret
        self._seen = 0

    def next(self) -> str | None:
        """The name of the fault that befalls the next request, or None."""
        self._seen += 1
        if self._seen == self.faults.hang_after:
            return "hang-after"
        for name, chance in self.faults.chances.items():
            if chance and name not in OF_ROWS and self._random.random() < chance:
                return name
        return None


TROUBLES = {
    "hang-after": Trouble.HANG,
    "reset": Trouble.RESET,
    "truncate": Trouble.TRUNCATE,
    "commit-then-timeout": Trouble.COMMIT_THEN_TIMEOUT,
    "slow": Trouble.SLOW,
}


def html(status: int) -> Edge:
    """A page of the edge."""
    title = f"{status} {_HTML[status]}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    return Edge(status, page + "<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n", "text/html", {})


def edge_answer(name: str) -> Edge:
    """The answer for a fault that is named by its status."""
    status = int(name)
    if status in _HTML:
        return html(status)
    if status == 423:
        return Edge(423, _json("The resource is locked."), "application/json", {})
    if status == 477:
        # The account moves between data centres; the only status that tells how long to wait.
        return Edge(477, _json("This account is being migrated."), "application/json", {"Retry-After": "2"})
    body = (
        '{"status":"error","message":"You have reached your ten_secondly_rolling limit.",'
        '"errorType":"RATE_LIMIT","correlationId":"c93e4a8a-0000-4000-8000-000000000000",'
        '"policyName":"TEN_SECONDLY_ROLLING","groupName":"publicapi:private-apps:sandbox"}'
    )
    return Edge(429, body, "application/json", {})


def _json(message: str) -> str:
    return f'{{"status":"error","message":"{message}","correlationId":"c93e4a8a-0000-4000-8000-000000000001"}}'
