"""HubSpot's error answers."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any


class Problem(Exception):
    """A refusal: status, and what the error envelope says besides message and correlation id."""

    def __init__(
        self, status: int, message: str, category: str | None = None, *, word: str = "error", **more: Any
    ) -> None:
        super().__init__(message)
        self.word = word
        self.status, self.message = status, message
        self.more = {**({"category": category} if category else {}), **more}
        self.headers: dict[str, str] = {}

    def body(self) -> dict[str, Any]:
        """The envelope."""
        return {
            "status": self.word,
            "message": self.message,
            "correlationId": str(uuid.uuid4()),
            **self.more,
        }


def invalid(message: str, **more: Any) -> Problem:
    """400 VALIDATION_ERROR."""
    return Problem(400, message, "VALIDATION_ERROR", **more)


def bad_values(faults: Sequence[Mapping[str, str]]) -> Problem:
    """400 for property values; each fault has `name`, `error` (the code) and `message`.

    The message holds the faults once more as JSON text, as HubSpot's does.
    """
    listed = [
        {
            "isValid": False,
            "message": fault["message"],
            "error": fault["error"],
            "name": fault["name"],
            "localizedErrorMessage": fault["message"],
        }
        for fault in faults
    ]
    errors = [
        {
            "message": fault["message"],
            "code": fault["error"],
            "context": {"propertyName": [fault["name"]]},
        }
        for fault in faults
    ]
    return invalid(f"Property values were not valid: {json.dumps(listed)}", errors=errors)


def not_found(message: str = "resource not found", *, named: bool = True) -> Problem:
    """404; `named` with category OBJECT_NOT_FOUND."""
    return Problem(404, message, "OBJECT_NOT_FOUND" if named else None)


def missing_scope(scopes: Sequence[str]) -> Problem:
    """403 as HubSpot answers to an app without the scope."""
    message = (
        "This app hasn't been granted all required scopes to make this call. "
        "Read more about required scopes here: https://developers.hubspot.com/scopes."
    )
    error = {
        "message": "One or more of the following scopes are required.",
        "context": {"requiredGranularScopes": list(scopes)},
    }
    return Problem(403, message, "MISSING_SCOPES", errors=[error])


def unauthenticated() -> Problem:
    """401."""
    message = (
        "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find "
        "more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
    )
    return Problem(401, message, "INVALID_AUTHENTICATION")
