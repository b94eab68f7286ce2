"""An office for one person at one desk: a job at a time on a thread of its own, looks in between."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from connector.errors import LeadlightError, Refused
from connector.jobs.approve import approve
from connector.jobs.push import PushOptions
from connector.jobs.rollback import find_target, rollback
from connector.jobs.run import Run, open_run
from connector.jobs.stored import open_stored
from connector.jobs.sync import spent, sync
from connector.pages.office import Busy, Order, Work
from connector.settings import Settings
from scoring.errors import ScoringError

T = TypeVar("T")

_COMMANDS = {"sync": "sync", "dry-run": "sync", "approve": "approve", "rollback": "rollback"}


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
        try:
            with open_run(
                self._settings, _COMMANDS[order.kind], progress=self._report, subject=order.subject, who=who
            ) as run:
                result = carry_out(run, order)
                run.done(result)
            self._end("done", result)
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


def carry_out(run: Run, order: Order) -> dict[str, Any]:
    """Do what an order asks; its command's JSON. Raises Refused and the job's errors."""
    if order.kind == "rollback":
        return {**rollback(run, find_target(run, order.subject or "")), **spent(run)}
    if order.kind == "approve":
        return {**approve(run, order.subject or ""), **spent(run)}
    return sync(run, PushOptions(dry_run=order.kind == "dry-run"))
