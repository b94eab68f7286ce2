"""How a command ended: what it prints, and what goes from one process to another about it. Quick to import."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from connector.errors import (
    BadCredentials,
    BadSetting,
    BudgetSpent,
    Bug,
    FixSetup,
    LeadlightError,
    NotTaken,
    PlatformDown,
    Refused,
    StateHeld,
    StateMismatch,
    TryLater,
    places,
)
from scoring.errors import ModelMismatch, UsageError

Params = Mapping[str, Any]
Result = dict[str, Any]
#: Shows a person what a job is about to do; False when the person does not want it (or Refused is raised).
Ask = Callable[[Result], bool]


def agreed(_found: Result) -> bool:
    """For who was asked before, or need not be."""
    return True


#: Of an error that nobody foresaw, and of a command that a person broke off.
UNEXPECTED, INTERRUPTED = "unexpected", "KeyboardInterrupt"
#: Errors that are nothing but their message.
_PLAIN = {
    one.__name__: one
    for one in (TryLater, PlatformDown, NotTaken, FixSetup, BadSetting, BadCredentials, StateMismatch, Bug)
}


@dataclass(frozen=True)
class Ended:
    """`result` is the command's JSON, also of a refusal and of a failure."""

    result: dict[str, Any]
    status: Literal["done", "refused", "failed"] = "done"
    #: What went wrong, without personal data; empty when done.
    message: str = ""
    #: The error's type; empty when done.
    kind: str = ""
    exit_code: int = 0
    #: Input that could not be used, one line each (`Run.rejected`).
    rejected: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What stands before the message in a terminal."""
        if self.status == "refused":
            return "Refused"
        return {INTERRUPTED: "Stopped", UNEXPECTED: "Bug"}.get(self.kind, "Error")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: Any) -> "Ended":
        """Raises KeyError, TypeError or ValueError for what `to_json` does not write."""
        if given["status"] not in ("done", "refused", "failed") or not isinstance(given["result"], dict):
            raise ValueError("neither done, refused nor failed")
        return cls(
            given["result"],
            given["status"],
            str(given["message"]),
            str(given["kind"]),
            int(given["exit_code"]),
            [str(line) for line in given["rejected"]],
        )

    def reraise(self) -> "Ended":
        """Itself when done; else raises what the other process raised: Refused, or a LeadlightError that ends a
        command with the same message, JSON and exit code."""
        if self.status == "done":
            return self
        if self.status == "refused":
            raise Refused(self.message, self.result)
        if self.kind == BudgetSpent.__name__:
            at = self.result.get("resume_at")
            raise BudgetSpent(
                self.message, None if at is None else datetime.fromisoformat(at), self.result.get("budget")
            )
        if self.kind in _PLAIN:
            raise _PLAIN[self.kind](self.message)
        raise Elsewhere(self)


class Elsewhere(LeadlightError):
    """What another process ended with."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.message)
        self.ended, self.exit_code = ended, ended.exit_code


def ended_by(error: BaseException) -> Ended:
    """How a command ends that raised this. Of an error that nobody foresaw only type and place are told: its
    message may hold personal data."""
    if isinstance(error, Elsewhere):
        return error.ended
    if isinstance(error, Refused):
        result = {**error.result, "refused": str(error)}
        return Ended(result, "refused", str(error), "Refused", error.exit_code)
    if isinstance(error, LeadlightError):
        return _failed(error, error.exit_code)
    if isinstance(error, UsageError | ModelMismatch):
        return _failed(error, 2)
    if isinstance(error, KeyboardInterrupt):
        return interrupted("Nothing is lost: the next run goes on from the last committed page.")
    name = type(error).__name__
    message = f"Unexpected {name} at {places(error)}. Please report this line."
    return Ended({"error": f"unexpected {name}"}, "failed", message, UNEXPECTED, 1)


def interrupted(message: str) -> Ended:
    """Broken off by a person; `message` says what becomes of it."""
    return Ended({"error": "interrupted"}, "failed", message, INTERRUPTED, 1)


def _failed(error: Exception, exit_code: int) -> Ended:
    # who runs the command again does so for either reason
    kind = StateMismatch.__name__ if isinstance(error, StateHeld) else type(error).__name__
    result: dict[str, Any] = {"error": str(error), "kind": kind}
    if isinstance(error, BudgetSpent):
        result |= {} if error.resume_at is None else {"resume_at": error.resume_at.isoformat()}
        result |= {} if error.budget is None else {"budget": error.budget}
    return Ended(result, "failed", str(error), kind, exit_code)
