"""A request to the org and the answer to it, apart from any web framework."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector.sandbox.salesforce.problems import Problem, not_found
from connector.sandbox.salesforce.schema import Object
from connector.sandbox.salesforce.store import Org

if TYPE_CHECKING:
    from connector.sandbox.salesforce.jobs import Jobs
    from connector.sandbox.salesforce.limits import Limits
    from connector.sandbox.salesforce.queries import Locators


@dataclass(frozen=True)
class Call:
    """A request: `version` is that of its path ('v68.0'), `path` its parameters."""

    org: Org
    method: str
    version: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    raw: bytes
    headers: Mapping[str, str]
    locators: "Locators"
    jobs: "Jobs"
    limits: "Limits"

    @property
    def entity(self) -> Object:
        """The object that the path names. Raises Problem 404."""
        found = self.org.objects.get(self.path["object"].lower())
        if found is None:
            raise not_found()
        return found

    def body(self) -> dict[str, Any]:
        """The JSON object sent. Raises Problem 400."""
        try:
            found = json.loads(self.raw)
        except ValueError:
            raise Problem(
                400, "JSON_PARSER_ERROR", "Unexpected character in the body at [line:1, column:1]"
            ) from None
        if not isinstance(found, dict):
            raise Problem(400, "JSON_PARSER_ERROR", "The HTTP entity body is required to be a JSON object")
        return found


@dataclass(frozen=True)
class Reply:
    """What the API answers: JSON, or text of another kind."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: bytes | None = None
    media: str = "application/json;charset=UTF-8"
