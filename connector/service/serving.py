"""The service as a whole: everything is opened in order, and given up in order within ten seconds of a signal."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

import uvicorn

from connector.errors import BadSetting
from connector.inbox import Inbox, Intake
from connector.jobs import erase
from connector.pages.login import Login
from connector.registry import receiver
from connector.service.app import application
from connector.service.connections import Connection
from connector.service.handed import Handed
from connector.service.office import ServiceOffice
from connector.service.orders import RESUMING, Order
from connector.service.schedule import Schedule, missed, zone_of
from connector.service.state import State
from connector.service.watch import Watch
from connector.service.webhooks import Webhooks
from connector.service.worker import Worker
from connector.settings import Settings
from scoring import libraries

log = logging.getLogger(__name__)

#: Seconds from a signal until work under way is handed back: requests get the first part of them, the worker all.
#: Giving everything up, and the process its end, come on top: ten seconds are the promise.
STOP_SECONDS, REQUESTS_SECONDS = 6.0, 2
_START_SECONDS = 60.0
#: Seconds in which requests that were broken off are logged, and the last looks end.
_LAST_SECONDS = 0.5
#: Seconds for which one thread may keep the interpreter from the others. Python gives 5 ms, several times a
#: request: what a webhook would wait while a sync computes.
SWITCH_SECONDS = 0.001


class Service:
    """Raises StateHeld where another process has the state, BadSetting for a port that is taken."""

    def __init__(self, settings: Settings, host: str = "127.0.0.1", port: int = 0) -> None:
        # what is written for a command that was handed over is for the owner alone
        os.umask(0o077)
        self.settings = settings
        # who has the state is told before who has the port: most likely that is the same service
        self.state = State(settings)
        try:
            self._socket = _listening(host, port)
        except BaseException:
            self.state.close()
            raise
        here = f"[{host}]" if ":" in host else host
        self.url = f"http://{_reachable(here)}:{self._socket.getsockname()[1]}"
        found = receiver(settings, self.state.account)
        folder = self.state.folder
        self._inbox = None if found is None else Inbox(folder, {found.name: found})
        self.zone = zone_of(settings, self.state.account.timezone)
        self.watch = Watch(
            self.state, self.zone, receives=found is not None, next_sync=lambda: self._schedule.next_at()
        )
        self.worker = Worker(self.state, self._inbox, self.watch)
        self._intake = None if found is None else Intake(folder, self.worker.arrived)
        self._schedule = Schedule(
            self._scheduled,
            self.worker.poll_soon,
            self._look_after,
            cron=settings.serve.sync,
            zone=self.zone,
            poll_minutes=settings.serve.poll_minutes,
        )
        self._handed = Handed(self.state, self.worker)
        doors = {}
        if found is not None and self._intake is not None:
            largest = 1024 * settings.serve.max_body_kb
            doors[found.name] = Webhooks(found, self._intake, largest, self.watch.received)
        app = application(
            doors,
            self._handed,
            ServiceOffice(self.state, self.worker, inbox=found is not None),
            Login(settings.state_dir),
            troubles=self.troubles,
            metrics=self.watch.metrics.render,
        )
        self._server = _Server(_config(self.watch.logged(app)), self._ready, self.worker.stop, self._end)
        self._thread: threading.Thread | None = None
        self._announce: Callable[[], object] = lambda: None

    def troubles(self) -> list[str]:
        """What keeps us from our work, in words."""
        found = []
        if not self.worker.alive:
            found.append("the worker has ended")
        elif self.worker.failing:
            found.append("the worker fails at whatever it begins: its log lines name the place")
        if self._intake is not None and not self._intake.alive:
            found.append("webhooks cannot be kept")
        return found

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Serve in this thread until SIGTERM or SIGINT."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self._announce = ready
        self._begin()
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        """Serve in a thread beside the caller."""
        self._begin()
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("The service did not start.")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_SECONDS + 5)

    def _begin(self) -> None:
        libraries.load()
        self.worker.start()
        if (self.state.folder / erase.JOURNAL).exists():
            log.warning("an erasure was stopped half-way and is finished now")
            self._finish_erasure()
        due = missed(self.settings.serve.sync, self.zone, self.watch.last_sync, self.watch.now())
        if due is not None and self.worker.order_once(Order("sync")) is not None:
            self.watch.late(due)

    def _finish_erasure(self) -> None:
        begun = erase.begun(self.state.folder)
        if begun is None or not (begun.contact_ids or begun.addresses):
            return
        # the rest of the person is in the erasure's own journal
        whom = {"contact": begun.contact_ids[0]} if begun.contact_ids else {"email": begun.addresses[0]}
        self.worker.order_once(Order("erase", whom, RESUMING))

    def _scheduled(self) -> None:
        """The schedule says that a sync is due; one that is under way or waits is enough."""
        if self.worker.order_once(Order("sync")) is None:
            log.warning("a scheduled sync was left out: one is under way or waits already")

    def _look_after(self) -> None:
        self.watch.look_after(self.settings.serve.sync)

    def _ready(self) -> None:
        self._handed.announce(self.url)
        due = self._schedule.next_at()
        next_sync = None if due is None else due.isoformat(timespec="minutes")
        log.info("serving", extra={"url": self.url, "webhooks": self._intake is not None, "next_sync": next_sync})
        self._schedule.start()
        self._announce()

    async def _end(self, until: float) -> None:
        """After the last request: come to an end, or hand back what does not."""
        done = await asyncio.to_thread(self.worker.join, max(0.5, until - time.monotonic()))
        self._handed.withdraw()
        self._schedule.close()
        if self._intake is not None:
            self._intake.close()
        self.watch.close()
        if self.state.looking:
            await asyncio.sleep(_LAST_SECONDS)
        # nothing ends a thread, and Python would wait for it
        looking = self.state.looking
        if not done:
            log.warning("what is under way is handed back before its end")
        if looking:
            log.warning("a look that takes long is broken off: ask again when the service is back")
        if self._thread is None and (looking or not done):
            # everything acknowledged and everything written is on disk; only waiting would be left
            os._exit(0)
        if not done:
            return
        if self._inbox is not None:
            self._inbox.close()
        self.state.close()


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], object],
        stop: Callable[[], object],
        ended: Callable[[float], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._ready, self._stop, self._ended = ready, stop, ended

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        until = time.monotonic() + STOP_SECONDS
        self._stop()
        await super().shutdown(sockets)
        await self._ended(until)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but a signal that was heeded does not end the process a second time."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in former.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as handlers are called
        """Stop; a second Ctrl-C does not wait for requests."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def _listening(host: str, port: int) -> socket.socket:
    # The protocol is named because asyncio switches Nagle off only where it is; answers would wait 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        raise BadSetting(
            f"--host {host} --port {port} cannot be listened on ({error.strerror}): choose others, or --port 0."
        ) from error
    return server


def _reachable(host: str) -> str:
    """The host by which a process of this machine reaches a server that listens there."""
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - nothing is bound here


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=REQUESTS_SECONDS,
        limit_concurrency=1_000,
        http=Connection,
        # who a request comes from is told by its connection: a header can say anything
        proxy_headers=False,
    )
