"""What the dashboard needs of whoever holds the account's state: orders for it, and looks at it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from connector.errors import LeadlightError
from connector.jobs.run import Run

T = TypeVar("T")
Kind = Literal["sync", "dry-run", "approve", "rollback"]


class Busy(LeadlightError):
    """A job has the state: look again when it is done."""


@dataclass(frozen=True)
class Order:
    """A job that somebody asked for; `subject` is a plan (approve) or a run (rollback). `kind` is what the pages
    offer (`Kind`), or the name of another command that the service was given."""

    kind: str
    subject: str | None = None


@dataclass(frozen=True)
class Work:
    """The job at work, or the last one: its stages so far as (stage, done, total), and how it ended."""

    order: Order
    who: str
    stages: Sequence[tuple[str, int, int | None]] = ()
    #: running, done, refused, failed
    state: str = "running"
    #: Its JSON once it ended, or what went wrong in one sentence without personal data.
    result: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""


class Office(Protocol):
    """Safe to call from any thread."""

    def read(self, look: Callable[[Run], T]) -> T:
        """Look at the mirror. Raises Busy while a job has it, and the errors of `look`."""

    def start(self, order: Order, who: str) -> None:
        """Begin a job, with an audit entry that names `who`. Raises Busy when one is at work."""

    def work(self) -> Work | None:
        """The job at work, else the last one; None before the first."""

    def version(self) -> object:
        """Another value whenever what `read` sees may have changed."""

    def inbox(self) -> Mapping[str, Any] | None:
        """Webhooks: `waiting`, `done`, and `dead` letters (id, received_at, why); None where none are received."""
