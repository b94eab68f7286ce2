"""The rescoring run of the service: many batches of hints, and polls, in one run of about an hour."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from connector.jobs.rescore import poll, rescore
from connector.jobs.run import run_on
from connector.mirror import Mirror
from connector.platform import Hint
from connector.service.state import State

#: Seconds after which a run ends and the next begins: it is what can be rolled back as one.
LASTS = 3600.0

_COUNTED = ("contacts", "scored", "changed", "values", "unchanged", "held", "failed", "gone", "erased")


class Rescoring:
    """A run on the mirror, or beside a job's. Opened with the first hint, ended by `end`."""

    def __init__(self, state: State, mirror: Mirror) -> None:
        self._stack = ExitStack()
        self._began = time.monotonic()
        self._totals: Counter[str] = Counter()
        self._run = self._stack.enter_context(
            run_on(state.platform, mirror, state.settings, "rescore", who="webhooks")
        )
        self._run.kept["models"] = state.models

    @property
    def over(self) -> bool:
        """Whether it has lasted long enough."""
        return time.monotonic() - self._began > LASTS

    def hints(self, hints: Sequence[Hint]) -> dict[str, Any]:
        """As `connector.jobs.rescore.rescore`."""
        return self._counted("batches", rescore(self._run, hints))

    def poll(self, pause: Callable[[], None]) -> dict[str, Any]:
        """As `connector.jobs.rescore.poll`; never beside a job that pulls too. `pause` as in `Run`."""
        return self._counted("polls", poll(replace(self._run, pause=pause)))

    def end(self) -> None:
        """Record what it came to."""
        self._run.done({**{name: self._totals[name] for name in _COUNTED}, **self._totals, "calls": self._calls()})
        self._stack.close()

    def _calls(self) -> int:
        return sum(self._run.calls().values())

    def _counted(self, what: str, result: dict[str, Any]) -> dict[str, Any]:
        self._totals.update({name: result[name] for name in _COUNTED if isinstance(result.get(name), int)})
        self._totals[what] += 1
        return result


class Beside:
    """Rescoring beside an order, opened with its first hint."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._opened: tuple[Mirror, Rescoring] | None = None

    def rescoring(self) -> Rescoring:
        if self._opened is None:
            mirror = self._state.mirror.beside()
            self._opened = (mirror, Rescoring(self._state, mirror))
        return self._opened[1]

    def close(self) -> None:
        if self._opened is not None:
            mirror, rescoring = self._opened
            self._opened = None
            rescoring.end()
            mirror.close()
