"""One process at a time owns a state folder; the lock file names it.

The kernel drops the lock with the process, so that a crash leaves none behind: only the file, whose words are
then out of date and are not read.
"""

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from connector.errors import StateHeld

NAME = "owner.lock"


class OwnerLock:
    """Holds `<folder>/owner.lock` from its creation until `release`. Raises StateHeld when it is held."""

    def __init__(self, folder: Path, command: str) -> None:
        self._path = folder / NAME
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise _held(folder) from None
        since = datetime.now(UTC).replace(microsecond=0).isoformat()
        words = json.dumps({"pid": os.getpid(), "command": command, "since": since})
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, words.encode(), 0)

    def release(self) -> None:
        """Let the next process have the folder. The file stays: removing it would race with who opens it."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def holder(folder: Path) -> dict[str, object]:
    """Who wrote the lock file last: pid, command, since; empty when nobody did or it cannot be read."""
    try:
        words = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return words if isinstance(words, dict) else {}


def _held(folder: Path) -> StateHeld:
    who = holder(folder)
    by = (
        f"process {who.get('pid')} ({who.get('command') or 'leadlight'}, since {who.get('since')})"
        if who
        else "another process"
    )
    message = f"The state folder {folder} is in use by {by}: wait for it to end, or stop it."
    return StateHeld(message, folder, who)
