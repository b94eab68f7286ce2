"""The one worker: orders, hints and polls take turns on the mirror, and hints come first.

While an order or a poll is under way, hints are let in at its safe points (`Run.pause`): between two pages that it
reads and two batches that it writes; not all the time, so that it comes to its end. While an order only computes
(`Run.aside`), which takes longer than a hint may wait, they are followed up on a second thread.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from connector.errors import BudgetSpent, FixSetup, LeadlightError, Stopped, TryLater, places
from connector.inbox import Inbox, Rush
from connector.jobs.ended import UNEXPECTED, Ended, ended_by
from connector.jobs.orders import as_given, as_of, carry_out, goes_on, subject_of
from connector.jobs.rescore import prepare
from connector.jobs.run import Run, run_on
from connector.platform import Hint
from connector.service.orders import Journal, Order, Ticket, now, tried_again
from connector.service.rescoring import Beside, Rescoring
from connector.service.state import State
from connector.service.watch import Watch

log = logging.getLogger(__name__)

#: Orders that hints are let in to. Beside a rollback or an uninstallation nothing may be written.
LET_IN = frozenset({"sync", "pull", "push"})
#: Records that one batch of rescoring takes, and seconds that a changed record waits for more to change.
BATCH, WINDOW = 400, 0.03
#: Seconds that a poll lets hints go first; what an order or a poll gets of the time that they took, or one step.
PATIENCE, SHARE = 60.0, 0.1
#: Seconds that nobody is rescored after the platform could not be reached, doubled up to the last.
FIRST_REST, LONGEST_REST = 2.0, 300.0
#: Seconds that one turn spends on making hints of bodies, however many more come in meanwhile.
READING = 0.5
#: Turns in a row that failed, from which on the service says that it is not ready.
FAILING = 3
#: Minutes between two tries of an order that no person gave.
MINUTES_BETWEEN = 15


class Worker:
    """Has the mirror on a thread of its own. All else is safe to call from any thread."""

    def __init__(self, state: State, inbox: Inbox | None, watch: Watch) -> None:
        self._state, self._inbox, self._watch = state, inbox, watch
        self._journal = Journal(state.folder)
        self._orders: deque[Ticket] = deque()
        self._later: list[Order] = []
        self._wake = threading.Condition()
        self._news = False
        self._rush = Rush()
        self._stopping = False
        self._at_work: Ticket | None = None
        self._last: Ticket | None = None
        self._rescoring: Rescoring | None = None
        self._rest = 0.0
        self._rest_until = 0.0
        self._let_in_from = 0.0
        self._poll_since: float | None = None
        self._changes = 0
        #: Whether the models in use are being made ready, or are so.
        self._ready = False
        self._failed = 0
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin, with what a former service left undone."""
        self._later += self._journal.left(self._watch.given_up)
        self._thread.start()

    def order(self, order: Order) -> Ticket:
        """Ask for a job; it comes after those that were asked for before. Raises Stopped."""
        with self._wake:
            if self._stopping:
                raise Stopped("The service is stopping.")
            return self._queued(order)

    def order_once(self, order: Order) -> Ticket | None:
        """The same, unless one of that command is under way, waits, or is to be tried again: two never overlap."""
        with self._wake:
            there = [one.order for one in (self._at_work, *self._orders) if one is not None] + self._later
            if self._stopping or any(one.command == order.command for one in there):
                return None
            return self._queued(order)

    def order_alone(self, order: Order) -> Ticket | None:
        """The same, unless any order is under way or waits."""
        with self._wake:
            if self._stopping or self._at_work is not None or self._orders:
                return None
            return self._queued(order)

    def _queued(self, order: Order) -> Ticket:
        ticket = Ticket(order)
        self._orders.append(ticket)
        self._wake.notify()
        return ticket

    def arrived(self, size: int = 0) -> None:
        """Bodies of so many bytes are new in the inbox."""
        with self._wake:
            self._rush.counted(size)
            known, self._news = self._news, True
            if not (known and self._rush.patience()):
                self._wake.notify()

    def poll_soon(self) -> None:
        """Look for what no webhook tells, when there is time."""
        with self._wake:
            if self._poll_since is None:
                self._poll_since = time.monotonic()
            self._wake.notify()

    @property
    def alive(self) -> bool:
        """Whether it is at work or ready to be."""
        return self._thread.is_alive()

    @property
    def failing(self) -> bool:
        """Whether whatever it begins fails by our own fault."""
        return self._failed >= FAILING

    @property
    def at_work(self) -> Ticket | None:
        """The order under way."""
        return self._at_work

    @property
    def last(self) -> Ticket | None:
        """The order under way, else the next one that waits, else the last one."""
        with self._wake:
            waiting = self._orders[0] if self._orders else None
            return self._at_work or waiting or self._last

    @property
    def waiting(self) -> int:
        """Orders that wait, and those that are due to be tried again."""
        with self._wake:
            return len(self._orders) + sum(one.not_before <= time.time() for one in self._later)

    @property
    def changes(self) -> int:
        """Another number whenever what is in the mirror may have changed."""
        return self._changes

    def stop(self) -> None:
        """Come to an end at the next safe point; then orders that wait are told."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._journal.stopping()

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
                self._failed = 0
            except Exception as error:  # noqa: BLE001 - the worker outlives whatever befalls one turn
                log.error("%s at %s", type(error).__name__, places(error))
                self._failed += 1
                self._tire()
        try:
            self._end_rescoring()
        finally:
            for ticket in self._orders:
                ticket.ended.set_result(ended_by(Stopped("The service is stopping: give the order again.")))

    def _turn(self) -> None:
        self._prepare()
        order = self._next_order()
        if order is not None:
            self._carry_out(order)
        elif self._poll_if_due(late=PATIENCE) or self._hints() or self._poll_if_due():
            return
        else:
            if self._rescoring is not None and self._rescoring.over:
                self._end_rescoring()
            self._sleep()

    def _prepare(self) -> None:
        """Read the models in use where they may be others now, and make them ready on a thread beside."""
        if self._ready or self._inbox is None:
            return
        self._ready = True
        try:
            if not self._state.mirror.has_contacts():
                return
            with self._state.stored("rescore") as run:
                run.kept["models"] = self._state.models
                steps = prepare(run)
        except Exception as error:  # noqa: BLE001 - they are read when somebody is rescored, who then hears of it
            log.warning("models are not read: %s at %s", type(error).__name__, places(error))
            return
        threading.Thread(target=self._work_off, args=(steps,), name="worker-prepares", daemon=True).start()

    def _work_off(self, steps: Iterator[None]) -> None:
        try:
            while not self._stopping and next(steps, self) is not self:
                pass
        except Exception as error:  # noqa: BLE001 - without it rescoring is slower, no worse
            log.warning("models are not made ready: %s at %s", type(error).__name__, places(error))

    def _next_order(self) -> Ticket | None:
        """The next, which is under way from now on: who asks in between finds it there."""
        with self._wake:
            if self._orders:
                self._at_work = self._orders.popleft()
                return self._at_work
            due = next((one for one in self._later if one.not_before <= time.time()), None)
            if due is not None:
                self._later.remove(due)
                self._at_work = Ticket(due)
            return self._at_work

    def _sleep(self) -> None:
        """Until something arrives, or the next thing is due."""
        until = [60.0, *(one.not_before - time.time() for one in self._later)]
        if self._inbox is not None:
            until.append(self._inbox.next_due() if self._rest_until <= time.monotonic() else 1.0)
        with self._wake:
            poll = self._poll_since is not None and time.monotonic() >= self._rest_until
            # while the platform is left alone, what comes in can wait
            news = self._news and time.monotonic() >= self._rest_until
            if news and (patience := self._rush.patience()):
                news = False
                until.append(patience)
            if not (news or self._orders or self._stopping or poll):
                self._wake.wait(max(0.005, min(until)))

    # orders

    def _carry_out(self, ticket: Ticket) -> None:
        """To its end, of which whoever waits hears in any case, even where nothing can be written any more."""
        order, ticket.begun_at = ticket.order, now()
        outcome = ended_by(TryLater("It could not be begun: the service's log says why."))
        try:
            self._end_rescoring()
            self._journal.keep([replace(order, under_way=True), *self._later])
            self._watch.began(order)
            outcome = self._do(ticket)
        finally:
            self._changes += 1
            self._ready = False
            try:
                self._after(order, outcome)
            finally:
                with self._wake:
                    self._at_work, self._last = None, ticket
                ticket.ended.set_result(outcome)

    def _after(self, order: Order, outcome: Ended) -> None:
        """Each of these is done whatever befalls the others: a person is told above all when the disk is full."""
        with ExitStack() as duties:
            duties.callback(self._watch.ended, order, outcome)
            if self._inbox is not None:
                duties.callback(self._inbox.release)
            if outcome.kind != "Stopped":
                self._try_again(order, outcome)
                duties.callback(self._journal.keep, self._later)

    def _do(self, ticket: Ticket) -> Ended:
        order, state = ticket.order, self._state
        beside = Beside(state)

        def tell(stage: str, done: int, total: int | None) -> None:
            ticket.tell(stage, done, total)
            self._stop_here(order)

        def pause() -> None:
            self._stop_here(order)
            if order.command in LET_IN:
                self._let_in(beside)

        begun: Run | None = None
        try:
            with run_on(
                *(state.platform, state.mirror, state.settings, order.command),
                as_of=as_of(order.params),
                progress=tell,
                subject=subject_of(order.command, order.params),
                who=order.who,
                pause=pause,
                aside=partial(self._aside, order, beside),
            ) as run:
                begun = run
                return carry_out(run, order.command, order.params)
        except Exception as error:  # noqa: BLE001 - told as the command line tells it
            found = ended_by(error)
            if found.kind == UNEXPECTED:
                log.error("%s: %s", order.command, found.message)
            return found if begun is None else replace(found, result={"run_id": begun.id, **found.result})
        finally:
            try:
                beside.close()
            except Exception as error:  # noqa: BLE001 - how the order ended is not to be lost with it
                log.error("%s at %s", type(error).__name__, places(error))

    def _stop_here(self, order: Order | None = None) -> None:
        if not self._stopping:
            return
        if order is None or goes_on(order.command, order.params, self._state.folder):
            raise Stopped("The service is stopping: it goes on with this when it starts again.")
        again = as_given(order.command, order.params)
        raise Stopped(f"The service is stopping, and does not take this up again: give it again ({again}).")

    def _try_again(self, order: Order, outcome: Ended) -> None:
        if not tried_again(order, outcome):
            return
        at = now() + timedelta(minutes=MINUTES_BETWEEN)
        if outcome.result.get("resume_at"):
            at = max(at, datetime.fromisoformat(outcome.result["resume_at"]))
        self._later.append(order.again(at))

    # hints and polls

    def _let_in(self, beside: Beside) -> None:
        """Hints between two steps of an order or a poll, which gets its share before they are let in again."""
        if time.monotonic() < self._let_in_from:
            return
        began = time.monotonic()
        self._hints(beside)
        self._let_in_from = time.monotonic() + SHARE * (time.monotonic() - began)

    @contextmanager
    def _aside(self, order: Order, beside: Beside) -> Iterator[None]:
        """Hints on a thread of their own for as long as the block lasts, in which the order leaves the inbox and
        the platform alone."""
        if self._inbox is None or order.command not in LET_IN:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._hints_until, args=(ended, beside), name="worker-aside", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _hints_until(self, ended: threading.Event, beside: Beside) -> None:
        try:
            while not (ended.is_set() or self._stopping):
                if not self._hints(beside):
                    ended.wait(WINDOW)
        except Exception as error:  # noqa: BLE001 - the order goes on, and hints wait for its next safe point
            log.error("%s beside an order at %s", type(error).__name__, places(error))

    def _hints(self, beside: Beside | None = None) -> bool:
        """One batch; whether there was one."""
        if self._inbox is None or time.monotonic() < self._rest_until:
            return False
        self._read(self._inbox)
        hints = self._inbox.due(BATCH, window=WINDOW)
        if not hints:
            return False
        try:
            rescoring = beside.rescoring() if beside is not None else self._present_rescoring()
            result = rescoring.hints(hints)
        except (TryLater, FixSetup) as trouble:
            # not the records' fault: they stay as they are
            self._watch.ails(trouble)
            self._tire(trouble)
            return False
        except Exception as error:  # noqa: BLE001 - set aside after too many times, and the rest goes on
            log.error("%s in rescoring at %s", type(error).__name__, places(error))
            keys = [hint.key for hint in hints]
            self._watch.set_aside(self._inbox.settle(hints, left=keys, reason=type(error).__name__))
            if beside is not None:
                beside.close()
            self._end_rescoring()
            return True
        self._rest = 0.0
        self._settle(self._inbox, hints, result["left"], held=beside is not None)
        self._changes += 1
        self._watch.rescored(hints, result)
        return True

    def _read(self, inbox: Inbox) -> None:
        """Make hints of bodies, for a moment: more may come in than can be read, and others have their turn."""
        if self._in_a_rush():
            return
        with self._wake:
            self._news = False
        until = time.monotonic() + READING
        while inbox.read():
            if self._stopping or time.monotonic() > until or self._in_a_rush():
                with self._wake:
                    self._news = True
                    self._rush.had_its_turn()
                return

    def _in_a_rush(self) -> bool:
        with self._wake:
            return self._rush.patience() > 0

    def _present_rescoring(self) -> Rescoring:
        """The run of this hour, however much there is to do."""
        if self._rescoring is not None and self._rescoring.over:
            self._end_rescoring()
        if self._rescoring is None:
            self._rescoring = Rescoring(self._state, self._state.mirror)
        return self._rescoring

    def _settle(self, inbox: Inbox, hints: Sequence[Hint], left: Sequence[str], *, held: bool) -> None:
        """An erasure cannot be done beside a job: it is kept for after it, and costs no attempt."""
        waiting = [hint for hint in hints if held and hint.kind == "erased"]
        kept = {hint.key for hint in waiting}
        if waiting:
            inbox.settle(waiting, hold=True)
        rest = [hint for hint in hints if hint.key not in kept]
        dead = inbox.settle(
            rest,
            left=[key for key in left if key not in kept],
            reason="another job was at it, or it was not found or taken",
        )
        self._watch.set_aside(dead)

    def _poll_if_due(self, late: float = 0.0) -> bool:
        """Poll where that is due, or later than due by so many seconds: hints come first, but not for ever."""
        with self._wake:
            since = self._poll_since
            if since is None or time.monotonic() < max(since + late, self._rest_until):
                return False
            self._poll_since = None
        if self._state.account.platform == "files" or not self._state.mirror.has_contacts():
            return False
        beside = Beside(self._state)
        try:
            result = self._present_rescoring().poll(lambda: self._between_two_steps(beside))
        except Stopped:
            with self._wake:
                self._poll_since = since
            return True
        except (TryLater, FixSetup) as trouble:
            self._watch.ails(trouble)
            self._tire(trouble)
            return True
        finally:
            beside.close()
            if self._inbox is not None:
                # erasures that could not be done beside it
                self._inbox.release()
        self._changes += 1
        self._watch.polled(result)
        return True

    def _between_two_steps(self, beside: Beside) -> None:
        """Of a poll, which goes on another time where somebody waits: beside many hints it may take long."""
        self._stop_here()
        if self.waiting:
            raise Stopped("An order comes first.")
        self._let_in(beside)

    def _end_rescoring(self) -> None:
        rescoring, self._rescoring = self._rescoring, None
        if rescoring is not None:
            rescoring.end()

    def _tire(self, trouble: LeadlightError | None = None) -> None:
        """Leave the platform alone for a while."""
        self._rest = min(LONGEST_REST, max(FIRST_REST, 2 * self._rest))
        seconds = self._rest
        if isinstance(trouble, BudgetSpent) and trouble.resume_at is not None:
            seconds = max(seconds, (trouble.resume_at - now()).total_seconds())
        if trouble is not None:
            log.warning("rescoring rests for %.0f s: %s", seconds, trouble)
        self._rest_until = time.monotonic() + seconds
