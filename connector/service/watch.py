"""What is told of the service's work: log lines, metrics, and alerts to a person when something is wrong."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.types import ASGIApp

from connector.errors import FixSetup, LeadlightError
from connector.inbox import connect, figures
from connector.jobs import erase
from connector.jobs.ended import Ended
from connector.jobs.orders import as_given
from connector.platform import Hint
from connector.service.access import Logged
from connector.service.alerts import Alerts, Kind, about_run, overdue
from connector.service.metrics import Metrics
from connector.service.orders import BY_ITSELF, SCHEDULE, Order, tried_again
from connector.service.schedule import LATE, due_at, patience
from connector.service.state import State

log = logging.getLogger(__name__)


class Watch:
    """Called by the worker's thread and by the door's, and never waits."""

    def __init__(
        self, state: State, zone: ZoneInfo, *, receives: bool, next_sync: Callable[[], datetime | None]
    ) -> None:
        self._state, self._zone = state, zone
        self.metrics = Metrics(
            inbox=self._figures if receives else lambda: None,
            calls=lambda: state.platform.calls(),
            next_sync=next_sync,
        )
        self._began = 0.0
        self._at_work = ExitStack()
        self._alerts = Alerts(state.settings, state.folder)
        self._started = self.now()
        self._word = threading.Lock()
        self._late: datetime | None = None
        found = state.mirror.runs()
        syncs = [run for run in found if run["command"] == "sync" and not _is_dry(run)]
        #: When the last sync began, and when one last ended as it should (aware).
        self.last_sync = _aware(syncs[0]["started_at"]) if syncs else None
        done = [run["finished_at"] for run in syncs if run["status"] == "done" and run["finished_at"]]
        self._last_success = _aware(done[0]) if done else None
        if self._last_success is not None:
            self.metrics.succeeded("sync", self._last_success)

    def _figures(self) -> Mapping[str, Any]:
        connection = connect(self._state.folder)
        try:
            return figures(connection)
        finally:
            connection.close()

    def now(self) -> datetime:
        """This instant, aware."""
        return datetime.now(UTC)

    def logged(self, app: ASGIApp) -> ASGIApp:
        """The application with a log line for each request."""
        return Logged(app)

    def received(self, outcome: str, seconds: float) -> None:
        """A webhook came in, and what became of it."""
        self.metrics.webhook(self._state.account.platform, outcome, seconds)

    def rescored(self, hints: Sequence[Hint], result: Mapping[str, Any]) -> None:
        """A batch of hints was followed up."""
        left = set(result["left"])
        ages = [_age([hint]) for hint in hints if hint.key not in left]
        self.metrics.rescored(result["scored"], ages if result["changed"] else ())
        log.info(
            "rescored",
            extra={
                "hints": len(hints),
                "oldest_seconds": round(_age(hints), 2),
                **_counts(result),
                **({"left": len(result["left"])} if result["left"] else {}),
                **({"reasons": " ".join(result["reasons"])} if result["reasons"] else {}),
                **_spent(result),
            },
        )

    def ails(self, trouble: LeadlightError) -> None:
        """Rescoring cannot go on: what a person has to mend is told to one."""
        if isinstance(trouble, FixSetup):
            self._alerts.send("failed", "rescoring", [str(trouble)], trouble="rescoring")

    def set_aside(self, hints: Sequence[Hint]) -> None:
        """These were set aside: nobody may overlook a person who asked to be forgotten."""
        people = {hint.object_id for hint in hints if hint.kind == "erased"}
        if people:
            told = f"{len(people):,} people who asked for it could not be erased, and are suspended until then."
            self._alerts.send("failed", "erase", [told, "Look at `leadlight inbox list`, then `inbox retry`."])

    def polled(self, result: Mapping[str, Any]) -> None:
        """A light poll was done."""
        self.metrics.rescored(result["scored"])
        level = logging.INFO if result["contacts"] else logging.DEBUG
        log.log(level, "polled", extra={**_counts(result), **_spent(result)})

    def began(self, order: Order) -> None:
        """An order is carried out."""
        self._began = time.monotonic()
        self._at_work.enter_context(self.metrics.at_work(_named(order)))
        if order.command == "sync" and not order.params.get("dry_run"):
            self.last_sync = self.now()
            self._late_if_so(order)
        log.info("begun", extra={"command": order.command, "who": order.who, "attempt": order.attempt})

    def ended(self, order: Order, outcome: Ended) -> None:
        """An order has ended."""
        self._at_work.close()
        status: str = "stopped" if outcome.kind == "Stopped" else outcome.status
        status = "partly" if outcome.exit_code == 4 else status
        self.metrics.ended(_named(order), status, time.monotonic() - self._began)
        told: dict[str, Any] = {"command": order.command, "who": order.who, "run": _run_of(outcome)}
        told["status"] = outcome.status
        if outcome.status == "done":
            log.info("ended", extra=told | _pushed(outcome))
        else:
            # the words of an erasure that failed may name a record, and that is the person
            told["why"] = outcome.kind if order.command == "erase" else outcome.message
            log.warning("ended", extra=told)
        if outcome.kind == "Stopped" or _named(order) == "dry-run":
            return
        if order.command == "erase":
            self._erasure_ended(order, outcome)
        elif outcome.status != "done" and order.who in BY_ITSELF:
            kind: Kind = "refused" if outcome.status == "refused" else "failed"
            told_of = about_run(order.command, _run_of(outcome), kind, outcome.result)
            self._alerts.send(kind, *told_of, trouble=f"{order.command} {kind}")
        elif outcome.status == "done" and order.command == "sync":
            self._last_success = self.now()
            self._alerts.send("recovered", *about_run("sync", _run_of(outcome), "done", outcome.result))

    def _erasure_ended(self, order: Order, outcome: Ended) -> None:
        """Told where nobody saw it fail, or where somebody did and the person now stands half erased."""
        half = (self._state.folder / erase.JOURNAL).exists()
        if outcome.exit_code == 0 or not (half or order.who in BY_ITSELF):
            return
        again = tried_again(order, outcome)
        if outcome.status == "done":
            happened = "something of the person is left; its JSON tells where."
        else:
            happened = f"it failed ({outcome.kind})."
        if again:
            then = "It is tried again in some minutes."
        elif half:
            then = "It goes on when the service starts again, or when it is given again (leadlight erase)."
        else:
            then = "It is not tried again by itself: give it again (leadlight erase)."
        about = " ".join(filter(None, ("erase", _run_of(outcome))))
        trouble = "erase failed" if again else "erase given up"
        self._alerts.send("failed", "erase", [f"{about}: {happened}", then], trouble=trouble)

    def given_up(self, order: Order) -> None:
        """The process ended too often while this was under way: it is not begun again."""
        tries = order.attempt - 1
        log.error("given up", extra={"command": order.command, "attempts": tries})
        self._alerts.send(
            "failed",
            f"{order.command} (given up)",
            [
                f"{order.command} was under way when the service's process ended unexpectedly (out of memory, "
                f"killed, or a crash), after {tries} tries in all. It is not taken up again by itself.",
                f"When that is mended, give it again: {as_given(order.command, order.params)}",
            ],
            trouble=f"{order.command} given up",
        )

    def _late_if_so(self, order: Order) -> None:
        if order.who != SCHEDULE or order.attempt > 1:
            return
        given = datetime.fromtimestamp(order.given, UTC)
        due = due_at(self._state.settings.serve.sync, self._zone, given)
        if due is not None and self.now() - due > LATE:
            self.late(due)

    def late(self, due: datetime) -> None:
        """A scheduled run begins later than it was due. Told once of each due time."""
        with self._word:
            if due == self._late:
                return
            self._late = due
        at = due.astimezone(self._zone)
        log.warning("late", extra={"due": due.isoformat(timespec="minutes")})
        self._alerts.send(
            "late",
            "sync",
            [
                f"It was due at {at:%Y-%m-%d %H:%M} ({self._zone.key}) and is made up for now: nobody was there, "
                "the machine slept, or another job was at work."
            ],
        )

    def look_after(self, cron: str) -> None:
        """Alert when no sync has succeeded for too long."""
        now = self.now()
        hours = patience(cron, self._zone, self._state.settings.serve.late_hours, now)
        if cron.strip() and overdue(self._last_success, self._started, now, hours):
            passed = (now - (self._last_success or self._started)).total_seconds() / 3600
            words = f"No sync has succeeded for {passed:,.0f} hours; at most {hours:,.0f} were to pass."
            self._alerts.send("overdue", "sync", [words], trouble="sync overdue")

    def close(self) -> None:
        """Send what waits, for a moment."""
        self._alerts.close(1.0)


def _is_dry(run: Mapping[str, Any]) -> bool:
    return bool((run["result"] or {}).get("dry_run"))


def _named(order: Order) -> str:
    return "dry-run" if order.command == "sync" and order.params.get("dry_run") else order.command


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)


def _spent(result: Mapping[str, Any]) -> dict[str, int]:
    """Milliseconds, and how many of them each step took."""
    steps = {f"{name}_ms": round(spent) for name, spent in result["milliseconds"].items()}
    return {"ms": round(sum(result["milliseconds"].values())), **steps}


def _age(hints: Sequence[Hint]) -> float:
    """Seconds since the first of these happened."""
    first = min(hint.occurred_at for hint in hints).replace(tzinfo=UTC)
    return max(0.0, time.time() - first.timestamp())


def _counts(result: Mapping[str, Any]) -> dict[str, int]:
    names = ("contacts", "scored", "changed", "failed", "gone", "erased")
    return {name: result[name] for name in names if isinstance(result.get(name), int)}


def _run_of(outcome: Ended) -> str | None:
    return outcome.result.get("run_id")


def _pushed(outcome: Ended) -> dict[str, int]:
    pushed = outcome.result.get("pushed") or {}
    return {name: pushed[name] for name in ("changed", "unchanged", "failed") if name in pushed}
