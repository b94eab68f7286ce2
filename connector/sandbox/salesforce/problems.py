"""Salesforce's error answers: arrays of message and code; the token endpoint answers objects."""

from typing import Any


class Problem(Exception):
    """A refusal of a whole request."""

    def __init__(self, status: int, code: str, message: str, *fields: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.fields = status, code, message, fields

    def body(self) -> Any:
        """The envelope."""
        told: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields:
            told["fields"] = list(self.fields)
        return [told]


class TokenProblem(Problem):
    """400 of the token endpoint."""

    def body(self) -> Any:
        """An object here."""
        return {"error": self.code, "error_description": self.message}


def not_found() -> Problem:
    """404."""
    return Problem(404, "NOT_FOUND", "The requested resource does not exist")


def no_column(name: str, entity: str, statement: str, at: int) -> Problem:
    """400 for a field that is not there, or hidden by field-level security; points into the query."""
    told = (
        f"No such column '{name}' on entity '{entity}'. If you are attempting to use a custom field, be sure to "
        "append the '__c' after the custom field name. Please reference your WSDL or the describe call for the "
        "appropriate names."
    )
    row = statement.count("\n", 0, at) + 1
    column = at - statement.rfind("\n", 0, at)
    return Problem(
        400, "INVALID_FIELD", f"\n{statement}\n{' ' * (column - 1)}^\nERROR at Row:{row}:Column:{column}\n{told}"
    )


def malformed(token: str) -> Problem:
    """400 for a query that does not parse."""
    return Problem(400, "MALFORMED_QUERY", f"unexpected token: {token or '<EOF>'}")
