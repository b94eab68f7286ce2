"""A request to the sandbox and the answer to it, apart from any web framework."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.sandbox.hubspot.problems import Problem, invalid, not_found
from connector.sandbox.hubspot.state import SPELLINGS, Collection, Portal
from connector.sandbox.options import Faults


@dataclass(frozen=True)
class Call:
    """A request: `version` is that of its path ('2026-09', 'v3'), `path` its parameters."""

    portal: Portal
    version: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    raw: bytes
    faults: Faults = field(default_factory=Faults)
    base_url: str = ""
    #: Path with the query, for paging links.
    target: str = ""

    @property
    def dated(self) -> bool:
        """Whether it came by a date-based path, where newer rules hold."""
        return self.version[:1].isdigit()

    @property
    def collection(self) -> Collection:
        """The object that the path names. Raises Problem."""
        name = SPELLINGS.get(self.path["type"])
        if name is None:
            raise invalid(f"Unable to infer object type from: {self.path['type']}")
        return self.portal.objects[name]

    def body(self) -> dict[str, Any]:
        """The JSON object sent. Raises Problem 400."""
        try:
            found = json.loads(self.raw)
        except ValueError as error:
            raise invalid("Invalid input JSON") from error
        if not isinstance(found, dict):
            raise invalid("Invalid input JSON: an object is expected")
        return found

    def whole(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most` out of the query. Raises Problem 400."""
        text = self.query.get(name, str(default))
        if not text.isdigit() or not 1 <= int(text) <= most:
            raise invalid(f"{name} must be a number from 1 to {most}, not {text!r}.")
        return int(text)

    def flag(self, name: str) -> bool:
        """A true/false out of the query."""
        return self.query.get(name, "false").lower() == "true"

    def names(self, name: str) -> list[str] | None:
        """A comma list out of the query (also given several times), None where it is absent."""
        text = self.query.get(name)
        return None if text is None else [part for part in text.split(",") if part]

    def inputs(self, most: int = 100) -> list[dict[str, Any]]:
        """`inputs` of a batch body. Raises Problem 400 when there are too many or none."""
        found = self.body().get("inputs")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise invalid("inputs is required and must be a list of objects.")
        if not found or len(found) > most:
            raise invalid(f"{len(found)} inputs were given; from 1 to {most} are possible.")
        return found


@dataclass(frozen=True)
class Reply:
    """What the API answers."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def record_id(text: object) -> int:
    """A record id. Raises Problem 404 for what can be none."""
    if not str(text).isdigit():
        raise not_found()
    return int(str(text))


def problem_reply(problem: Problem) -> Reply:
    """The error envelope."""
    return Reply(problem.status, problem.body(), problem.headers)
