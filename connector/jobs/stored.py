"""Work on what the mirror holds, without the platform: no token is needed and nothing is called."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from connector.errors import BadSetting, StateHeld, StateMismatch
from connector.jobs.run import Run
from connector.mirror import Mirror
from connector.mirror.sql import first
from connector.platform import Account, Platform
from connector.progress import Progress, silent
from connector.registry import connect
from connector.settings import Settings

#: Has whoever holds the state look at it instead: the JSON of a look (`connector.jobs.orders.LOOKS`) by its name.
#: Raises StateHeld where the holder answers nobody.
Deputy = Callable[[StateHeld, str], dict[str, Any]]


def nobody(held: StateHeld, _look: str) -> dict[str, Any]:
    """A deputy for where there is none."""
    raise held


@dataclass(frozen=True)
class Offline:
    """Stands for a platform that is not asked anything."""

    name: str
    #: Of files, the last time in the data as the last run saw it.
    at: datetime | None

    def last_time(self) -> datetime | None:
        return self.at

    def calls(self) -> dict[str, int]:
        return {}


@contextmanager
def open_stored(
    settings: Settings, command: str, *, as_of: datetime | None = None, progress: Progress = silent
) -> Iterator[Run]:
    """A run that reads the account's mirror as it stands and records nothing.

    `as_of` defaults to the instant that everyone was last scored at. Raises StateMismatch where nothing was
    pulled yet.
    """
    account = account_of(settings)
    with Mirror.open(
        settings.state_dir / f"{account.platform}-{account.id}", account, command=command, read_only=True
    ) as mirror:
        yield stored_run(settings, account.platform, mirror, command, as_of=as_of, progress=progress)


def stored_run(
    settings: Settings,
    platform: str,
    mirror: Mirror,
    command: str,
    *,
    as_of: datetime | None = None,
    progress: Progress = silent,
) -> Run:
    """The same on a mirror that is open already."""
    return Run(
        "", command, settings, offline(settings, platform, mirror), mirror, as_of, time.monotonic(), progress
    )


def offline(settings: Settings, platform: str, mirror: Mirror) -> Platform:
    """What stands for the platform of a mirror."""
    last = _last_instant(mirror)
    if last is None and platform == "files":
        last = getattr(connect(settings), "last_time", lambda: None)()
    return cast(Platform, Offline(platform, last))


def _last_instant(mirror: Mirror) -> datetime | None:
    row = first(mirror.connection, "select as_of from store.scorings order by scored_at desc limit 1")
    return None if row is None else row[0]


def account_of(settings: Settings) -> Account:
    """Whose state it is (`<state_dir>/<platform>-<id>`): of files by their mapping, of an API by its one folder,
    else by asking it."""
    name = settings.platform or ("files" if settings.mapping is not None else None)
    if name is None or name == "files":
        return connect(settings).account()
    found = sorted(path.name for path in Path(settings.state_dir).glob(f"{name}-*") if path.is_dir())
    if not found:
        raise StateMismatch(
            f"There is no state of {name} in {settings.state_dir} yet: run `leadlight pull` first."
        )
    if len(found) == 1:
        return Account(name, found[0].removeprefix(f"{name}-"))
    try:
        platform = connect(settings)
    except BadSetting as problem:
        raise StateMismatch(
            f"{settings.state_dir} holds several accounts ({', '.join(found)}): {problem}"
        ) from None
    try:
        return platform.account()
    finally:
        platform.close()
