"""Who looks at the mirror from other threads, so that its file can be put anew when nobody does."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from connector.errors import TryLater


class Doors:
    """Any number may be inside, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextmanager
    def entered(self, seconds: float) -> Iterator[None]:
        """Be inside. Raises TryLater when somebody is alone for longer than so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._alone, seconds):
                raise TryLater(
                    "The account's state is being written anew after an erasure: look again in a moment."
                )
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @property
    def occupied(self) -> bool:
        """Whether anybody is inside just now."""
        return self._inside > 0

    @contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        """Let nobody in, and wait until everybody is out. Raises TryLater when somebody stays too long."""
        until = time.monotonic() + seconds
        with self._changed:
            self._alone = True
            try:
                if not self._changed.wait_for(lambda: self._inside == 0, until - time.monotonic()):
                    raise TryLater("Somebody is still looking at the account's state: run it again.")
            except BaseException:
                self._open()
                raise
        try:
            yield
        finally:
            with self._changed:
                self._open()

    def _open(self) -> None:
        self._alone = False
        self._changed.notify_all()
