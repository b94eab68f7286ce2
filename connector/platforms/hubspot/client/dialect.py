"""How HubSpot words its errors and limits, and what to do about each."""

import json
from collections.abc import Mapping
from typing import Any

from connector.budgets import Quota
from connector.transport import Problem, Rule

#: The first rule that fits decides; what no rule names is not tried again.
RULES = (
    # The day's calls are used up: nothing helps before midnight in the account's time zone.
    Rule((429,), policy="DAILY"),
    # Waits are those of HubSpot's own Node client: ten seconds for the ten-second window, one for the second's.
    Rule((429,), policy="TEN_SECONDLY_ROLLING", seconds=10, attempts=6, untouched=True, everyone=True),
    # The search's 429 comes with policyName SECONDLY, or with `category: RATE_LIMITS` and no policy at all.
    Rule((429,), seconds=1, attempts=10, untouched=True),
    # Locked for about two seconds while many records are written.
    Rule((423,), seconds=2.5, attempts=6, untouched=True),
    # The account moves between data centres; Retry-After says for how long, up to a day.
    Rule((477,), seconds=60, attempts=4, untouched=True, everyone=True),
    # A 401 alone does not prove that the token is bad.
    Rule((401,), seconds=1, attempts=2, untouched=True),
    # Processing limit hit, unavailable, or Cloudflare in between; bodies may be HTML.
    Rule((502, 503, 504, 521, 523, 524), seconds=3, attempts=5),
    # "Contact support" says the documentation; it may still be passing.
    Rule((500, 522, 525, 526), seconds=3, attempts=3),
    # Never reached HubSpot.
    Rule(("unsent",), seconds=2, attempts=5, untouched=True),
    # Reset, timed out, or cut off in the middle: whether HubSpot acted on it is unknown.
    Rule(("connection", "garbled"), seconds=2, attempts=5),
)

_SCOPE_KEYS = ("requiredGranularScopes", "requiredScopes")


class HubSpotDialect:
    """See `connector.transport.Dialect`."""

    name = "HubSpot"
    credentials = "LEADLIGHT_HUBSPOT_TOKEN"
    rules = RULES

    def problem(self, body: Any) -> Problem:
        """Codes, the rate-limit policy and the missing scopes; every field of an error body is optional."""
        if not isinstance(body, Mapping):
            return Problem()
        policy = body.get("policyName")
        codes = error_codes(body)
        scopes = [
            str(scope)
            for entry in _entries(body)
            for key in _SCOPE_KEYS
            for scope in _mapping(entry.get("context")).get(key) or ()
        ]
        code = codes[0] if codes else body.get("category") or body.get("errorType")
        return Problem(None if code is None else str(code), None if policy is None else str(policy), tuple(scopes))

    def quota(self, headers: Mapping[str, str]) -> Quota:
        """Search responses carry none of these; the daily pair is absent for OAuth apps."""
        interval = _whole(headers.get("X-HubSpot-RateLimit-Interval-Milliseconds"))
        return Quota(
            limit=_whole(headers.get("X-HubSpot-RateLimit-Max")),
            remaining=_whole(headers.get("X-HubSpot-RateLimit-Remaining")),
            seconds=interval / 1000 if interval else None,
            daily_limit=_whole(headers.get("X-HubSpot-RateLimit-Daily")),
            daily_remaining=_whole(headers.get("X-HubSpot-RateLimit-Daily-Remaining")),
        )

    def request_id(self, headers: Mapping[str, str], body: Any) -> str | None:
        """HubSpot's correlation id."""
        found = headers.get("X-HubSpot-Correlation-Id") or _mapping(body).get("correlationId")
        return None if found is None else str(found)


def error_codes(body: Any) -> list[str]:
    """The codes of an error body, wherever they stand: errors[].code, or 'error' inside the message's JSON.

    Only known-harmless words are taken (upper-case codes), never text: messages repeat the values sent.
    """
    codes = [str(entry["code"]) for entry in _entries(body) if entry.get("code")]
    codes += [str(found["error"]) for found in nested_errors(body) if found.get("error")]
    return list(dict.fromkeys(codes))


def nested_errors(body: Any) -> list[Mapping[str, Any]]:
    """Property errors that HubSpot packs as JSON text behind 'Property values were not valid: '."""
    messages = [_mapping(body).get("message"), *(entry.get("message") for entry in _entries(body))]
    found: list[Mapping[str, Any]] = []
    for message in messages:
        text = str(message or "")
        start = text.find("[{")
        if start < 0:
            continue
        try:
            entries = json.loads(text[start:])
        except ValueError:
            continue
        found += [entry for entry in entries if isinstance(entry, Mapping)]
    return found


def named_properties(body: Any) -> list[str]:
    """The properties that an error body complains about."""
    names = [str(found["name"]) for found in nested_errors(body) if found.get("name")]
    for entry in _entries(body):
        given = _mapping(entry.get("context")).get("propertyName") or ()
        names += [str(name) for name in ([given] if isinstance(given, str) else given)]
    return list(dict.fromkeys(names))


def _entries(body: Any) -> list[Mapping[str, Any]]:
    entries = _mapping(body).get("errors")
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
