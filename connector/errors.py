"""Errors, grouped by what the catcher does about them.

    LeadlightError
    ├── TryLater            passing trouble: wait and run again              exit 1
    │   ├── BudgetSpent     the platform's call limit; `resume_at` says when
    │   ├── PlatformDown    unavailable after all retries
    │   ├── NotTaken        the platform did not take what was to be written on single records
    │   └── Stopped         the service was told to stop; the message says what then
    ├── FixSetup            the user changes something named in the message  exit 2
    │   ├── BadSetting      a key in leadlight.toml, the environment, a mapping
    │   ├── BadCredentials  the platform refused the token
    │   ├── MissingScope    `scope` is needed and not granted
    │   └── StateMismatch   the state folder belongs to something else, or is newer
    │       └── StateHeld   another process has it
    ├── Refused             a gate, a cap or a missing approval: nothing was written   exit 3
    ├── SkipRecord          one record is bad; the rest goes on              exit 4
    ├── BadWebhook          what arrived is not for us: answer 4xx, go on
    │   ├── Unverified      not from the platform, too old, or from the future
    │   └── BadPayload      verified, but not of the shape that the platform documents
    └── Bug                 ours: please report                              exit 1

Messages never hold secrets or personal data: a record is named by its id, a file by name and line.
"""

import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any


def places(error: BaseException) -> str:
    """File and line of each frame that an error came through: with its type, all that may be told of one that
    nobody foresaw, whose message may hold personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    return "; ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)


class LeadlightError(Exception):
    """Base. `exit_code` is what the command ends with."""

    exit_code = 1


class TryLater(LeadlightError):
    """Passing trouble: running again later is the remedy."""


class BudgetSpent(TryLater):
    """No calls left; `resume_at` (UTC, aware) is when there are some again, when known. `budget`: JSON-able, how
    far it came and how many days the rest takes."""

    def __init__(
        self, message: str, resume_at: datetime | None = None, budget: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.resume_at, self.budget = resume_at, budget


class PlatformDown(TryLater):
    """The platform did not answer properly after all retries; `request_id` is the platform's own."""

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class NotTaken(TryLater):
    """The platform answers, and did not take what was to be written on single records; `request_id` is the
    platform's own."""

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class Stopped(TryLater):
    """The service is stopping: the message says whether what was under way goes on when it starts again."""


class FixSetup(LeadlightError):
    """The user has to change something, which the message names."""

    exit_code = 2


class BadSetting(FixSetup):
    """A setting or mapping is wrong; the message names the key, the file and what is accepted."""


class BadCredentials(FixSetup):
    """The platform does not accept the credentials."""


class MissingScope(FixSetup):
    """The app lacks a scope. Optional streams catch this and turn themselves off."""

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class StateMismatch(FixSetup):
    """The state folder is another account's, newer than this program, or in use."""


class StateHeld(StateMismatch):
    """Another process has the state folder; `holder` is what its lock file says (pid, command, since)."""

    def __init__(self, message: str, folder: Path, holder: Mapping[str, object]) -> None:
        super().__init__(message)
        self.folder, self.holder = folder, holder


class Refused(LeadlightError):
    """Nothing was written, on purpose; `result` is the JSON of the command so far."""

    exit_code = 3

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result or {}


class SkipRecord(LeadlightError):
    """One record could not be handled; `record` names it (file and line, or object and id)."""

    exit_code = 4

    def __init__(self, record: str, field: str | None, message: str) -> None:
        super().__init__(f"{record}{f', {field}' if field else ''}: {message}")
        self.record, self.field = record, field


class PlatformRefused(LeadlightError):
    """The platform rejected a request for good (4xx that no retry heals).

    `status`, the platform's `category`/`code` and `request_id` ride along; the body does not, it may hold
    personal data.
    """

    def __init__(
        self, message: str, *, status: int, code: str | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.request_id = status, code, request_id


class BadWebhook(LeadlightError):
    """A webhook request that is not taken. Messages say what is wrong with it, never what it holds."""


class Unverified(BadWebhook):
    """It does not come from the platform, is too old, or is dated in the future."""


class BadPayload(BadWebhook):
    """It comes from the platform, but its body, or an event in it, is not of the documented shape. `hints`
    (`connector.platform.Hint`): what the other events say."""

    def __init__(self, message: str, hints: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.hints = hints


class Bug(LeadlightError):
    """Something that cannot happen did; please report it."""
