"""The sandbox on a port: as a process of its own, or in a thread beside its caller."""

import gc
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

import uvicorn

from connector.errors import BadSetting
from connector.sandbox import account, market
from connector.sandbox.app import Host, application
from connector.sandbox.faults import FaultPlan
from connector.sandbox.limits import DAILY, Limits
from connector.sandbox.options import Faults, SandboxOptions
from connector.sandbox.state import Portal
from connector.sandbox.webhooks import Webhooks

_START_SECONDS = 30.0


class Sandbox:
    """A running sandbox: `with Sandbox(SandboxOptions(contacts=500)) as box: … box.base_url, box.token`."""

    token = account.TOKEN
    client_id = account.CLIENT_ID
    client_secret = account.CLIENT_SECRET
    refresh_token = account.REFRESH_TOKEN

    def __init__(self, options: SandboxOptions | None = None, portal: Portal | None = None) -> None:
        self.options = options or SandboxOptions()
        self.state = portal or market.portal(self.options)
        self.host = _host(self.options, self.state)
        self._socket = _listening(self.options.port)
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(_config(self.host))
        self._thread: threading.Thread | None = None
        self.webhooks: Webhooks | None = None
        if self.options.webhooks:
            self.webhooks = Webhooks(
                self.options.webhooks,
                account.CLIENT_SECRET,
                self.state.facts.id,
                faults=Faults.of(self.options.faults).webhooks,
                seed=self.options.seed,
            )
            self.state.listeners.append(self.webhooks.hear)

    def __enter__(self) -> "Sandbox":
        self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("The sandbox did not start.")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = self._server.force_exit = True
        if self._thread is not None:
            self._thread.join(10)
        self._socket.close()

    @property
    def calls(self) -> dict[str, int]:
        """Calls so far by 'METHOD /path/template'."""
        return dict(self.host.calls)

    def change(self, options: SandboxOptions, portal: Portal) -> None:
        """Put another account behind the same address, with nothing called yet."""
        self.options, self.state = options, portal
        fresh = _host(options, portal)
        self.host.portal, self.host.limits, self.host.plan = fresh.portal, fresh.limits, fresh.plan
        self.host.latency_ms, self.host.calls = fresh.latency_ms, fresh.calls

    def serve(self, announce: Callable[[str], object]) -> None:
        """Serve in this thread until a signal; `announce` gets the ready line."""
        self._server = _Announcing(_config(self.host), lambda: announce(json.dumps(self.ready()) + "\n"))
        self._serve()

    def ready(self) -> dict[str, object]:
        """What a caller has to know to connect."""
        return {
            "ready": True,
            "base_url": self.base_url,
            "token": self.token,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "username": None,
            "private_key_file": None,
        }

    def _serve(self) -> None:
        if self.webhooks is not None:
            self.webhooks.start()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            if self.webhooks is not None:
                self.webhooks.stop()


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def run(options: SandboxOptions, announce: Callable[[str], object] | None = None) -> None:
    """Serve until stopped. The ready line, one JSON object, goes to `announce` (standard output)."""
    if options.platform != "hubspot":
        raise BadSetting(f"There is no sandbox for {options.platform} yet; hubspot is one.")
    box = Sandbox(options)
    # The account lives as long as the process: sweeping through it for garbage would only delay answers.
    gc.freeze()
    try:
        box.serve(announce or _to_stdout)
    except KeyboardInterrupt:
        return
    finally:
        gc.unfreeze()


def _to_stdout(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _host(options: SandboxOptions, portal: Portal) -> Host:
    chosen = Faults.of(options.faults)
    daily = DAILY[chosen.plan] if options.daily is None else options.daily
    limits = Limits(options.rate, daily, chosen.plan, portal.facts.timezone, portal.clock)
    return Host(portal, limits, FaultPlan(chosen, options.seed), options.latency_ms)


def _listening(port: int) -> socket.socket:
    # The protocol is named because asyncio switches Nagle off only where it is; answers would wait 40 ms.
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
    except OSError as error:
        server.close()
        raise BadSetting(f"--port {port} is taken or not allowed; choose another, or 0 for any.") from error
    return server


def _config(host: Host) -> uvicorn.Config:
    return uvicorn.Config(
        application(host),
        log_level="error",
        access_log=False,
        lifespan="off",
        # Longer than a client rests between two pages, so that a kept connection does not die under it.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        # Targets too long for the API must reach it, so that it can say 414.
        h11_max_incomplete_event_size=65_536,
    )
