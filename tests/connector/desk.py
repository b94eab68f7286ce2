"""An office for one person at one desk: a job at a time on a thread of its own, looks in between."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from connector.errors import LeadlightError, Refused
from connector.jobs.orders import carry_out
from connector.jobs.run import Run, open_run
from connector.jobs.stored import open_stored
from connector.pages.office import Busy, Order, Work
from connector.settings import Settings
from scoring.errors import ScoringError

T = TypeVar("T")


def asked(order: Order) -> tuple[str, dict[str, Any]]:
    """The command and its parameters (`connector.jobs.orders`) that an order means."""
    if order.kind == "rollback":
        return "rollback", {"run": order.subject or ""}
    if order.kind == "approve":
        return "approve", {"plan": order.subject or ""}
    return "sync", {"dry_run": order.kind == "dry-run"}


class Desk:
    """`connector.pages.office.Office` on settings alone: opens the state for each job and each look."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state = threading.Lock()  # who has it has the mirror
        self._word = threading.Lock()
        self._work: Work | None = None
        self._ended = 0

    def read(self, look: Callable[[Run], T]) -> T:
        if not self._state.acquire(timeout=10):
            raise Busy("A run is at work: look again when it is done.")
        try:
            with open_stored(self._settings, "serve") as run:
                return look(run)
        finally:
            self._state.release()

    def start(self, order: Order, who: str) -> None:
        if not self._state.acquire(timeout=5):
            raise Busy("A run is at work already: wait for it to end.")
        with self._word:
            self._work = Work(order, who)
        threading.Thread(target=self._carry_out, args=(order, who), name="leadlight-job", daemon=True).start()

    def work(self) -> Work | None:
        with self._word:
            return self._work

    def version(self) -> object:
        return self._ended

    def inbox(self) -> Mapping[str, Any] | None:
        return None

    def _carry_out(self, order: Order, who: str) -> None:
        command, params = asked(order)
        try:
            with open_run(self._settings, command, progress=self._report, subject=order.subject, who=who) as run:
                ended = carry_out(run, command, params)
            self._end("done", ended.result)
        except Refused as refusal:
            self._end("refused", dict(refusal.result), str(refusal))
        except (LeadlightError, ScoringError) as problem:
            self._end("failed", {}, str(problem))
        except Exception as problem:  # noqa: BLE001 - its message may hold personal data
            self._end(
                "failed", {}, f"Unexpected {type(problem).__name__}: `leadlight runs` tells how far it came."
            )
        finally:
            self._state.release()

    def _report(self, stage: str, done: int, total: int | None) -> None:
        with self._word:
            if self._work is not None:
                before = [one for one in self._work.stages if one[0] != stage]
                self._work = replace(self._work, stages=(*before, (stage, done, total)))

    def _end(self, state: str, result: Mapping[str, Any], message: str = "") -> None:
        with self._word:
            self._ended += 1
            if self._work is not None:
                self._work = replace(self._work, state=state, result=result, message=message)
