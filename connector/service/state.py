"""The account's state, held by one process as long as the service runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from connector.jobs.run import Run, run_on
from connector.jobs.stored import offline, stored_run
from connector.mirror import Mirror
from connector.platform import Account, Platform
from connector.progress import Progress, silent
from connector.registry import connect
from connector.settings import Settings


class State:
    """Mirror and platform. The mirror itself is the worker's; whoever else looks does so beside it."""

    def __init__(self, settings: Settings) -> None:
        """Raises what a connection raises, and StateHeld where another process has the state."""
        self.settings = settings
        #: Models that rescoring has read, for the next of its runs.
        self.models: dict[str, Any] = {}
        self._looks: set[object] = set()
        self.platform: Platform = connect(settings)
        try:
            self.account: Account = self.platform.account()
            self.folder: Path = settings.state_dir / f"{self.account.platform}-{self.account.id}"
            self.mirror = Mirror.open(self.folder, self.account, command="serve")
        except BaseException:
            self.platform.close()
            raise

    def close(self) -> None:
        """Give it up."""
        self.mirror.close()
        self.platform.close()

    @contextmanager
    def stored(self, command: str, *, as_of: datetime | None = None, progress: Progress = silent) -> Iterator[Run]:
        """A look, from any thread, on what is committed: nothing is recorded and nothing called."""
        with self._look() as mirror:
            yield stored_run(self.settings, self.account.platform, mirror, command, as_of=as_of, progress=progress)

    @contextmanager
    def recorded(
        self, command: str, *, as_of: datetime | None = None, progress: Progress = silent, who: str | None = None
    ) -> Iterator[Run]:
        """The same with a line in `runs` of its own."""
        with self._look() as mirror:
            platform = offline(self.settings, self.account.platform, mirror)
            with run_on(platform, mirror, self.settings, command, as_of=as_of, progress=progress, who=who) as run:
                yield run

    @property
    def looking(self) -> bool:
        """Whether a look is under way."""
        return bool(self._looks)

    @contextmanager
    def _look(self) -> Iterator[Mirror]:
        look = object()
        self._looks.add(look)
        try:
            with self.mirror.reading() as mirror:
                yield mirror
        finally:
            self._looks.discard(look)
