"""How Salesforce words its errors and limits, and what to do about each."""

from collections.abc import Mapping
from typing import Any

from connector.budgets import Quota
from connector.transport import Problem, Rule

#: The first rule that fits decides; what no rule names is not tried again.
RULES = (
    # The session ended: the transport has told the token, so that the second try goes with a new one.
    Rule((401,), policy="INVALID_SESSION_ID", attempts=2, untouched=True),
    # The day's calls are used up (a rolling 24 hours): more calls only burn what others free.
    Rule((403,), policy="DAILY"),
    # Too many long requests at once.
    Rule((403,), policy="CONCURRENT", seconds=5, attempts=5, untouched=True, everyone=True),
    Rule((400,), policy="QUERY_TIMEOUT", seconds=5, attempts=2),
    Rule((400,), policy="UNABLE_TO_LOCK_ROW", seconds=3, attempts=4, untouched=True),
    # Seen as passing, often with an empty body.
    Rule((406, 420, 429), seconds=5, attempts=4, untouched=True),
    # Down for maintenance or restarting; bodies may be HTML.
    Rule((502, 503, 504), seconds=3, attempts=5),
    Rule((500,), seconds=3, attempts=3),
    # Never reached Salesforce.
    Rule(("unsent",), seconds=2, attempts=5, untouched=True),
    # Reset, timed out, or cut off in the middle: whether Salesforce acted on it is unknown.
    Rule(("connection", "garbled"), seconds=2, attempts=5),
)


class SalesforceDialect:
    """See `connector.transport.Dialect`."""

    name = "Salesforce"
    credentials = "LEADLIGHT_SALESFORCE_PRIVATE_KEY or LEADLIGHT_SALESFORCE_CLIENT_SECRET"
    rules = RULES

    def problem(self, body: Any) -> Problem:
        """The error code: an API error is a list of `{errorCode, message}`, a log-in's an object with `error`."""
        if isinstance(body, Mapping):
            code = body.get("error") or body.get("errorCode") or body.get("exceptionCode")
            return Problem(None if code is None else str(code))
        if not isinstance(body, list) or not body or not isinstance(body[0], Mapping):
            return Problem()
        code = str(body[0].get("errorCode") or "")
        if code == "REQUEST_LIMIT_EXCEEDED":
            daily = str(body[0].get("message") or "").startswith("TotalRequests")
            return Problem(code, "DAILY" if daily else "CONCURRENT", spent=True)
        return Problem(code or None, code or None, (code,) if code else ())

    def quota(self, headers: Mapping[str, str]) -> Quota:
        """`Sforce-Limit-Info: api-usage=10018/100000; api-bursts=1/750`, in whatever order, with whatever else."""
        pairs = dict(part.strip().partition("=")[::2] for part in headers.get("Sforce-Limit-Info", "").split(";"))
        used, _, limit = pairs.get("api-usage", "").partition("/")
        if not (used.isdigit() and limit.isdigit()):
            return Quota()
        return Quota(daily_limit=int(limit), daily_remaining=int(limit) - int(used))

    def request_id(self, headers: Mapping[str, str], body: Any) -> str | None:  # noqa: ARG002 - only the header has it
        """Salesforce's own id of the request, where it gives one."""
        return headers.get("X-Request-Id") or headers.get("X-Sfdc-Request-Id")
