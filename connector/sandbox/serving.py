"""An application on a port: in a thread beside its caller, or in this thread until a signal."""

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from connector.errors import BadSetting

_START_SECONDS = 30.0


class Serving:
    """A server on the loopback address; subclasses say what it serves and what a caller has to know."""

    def __init__(self, port: int, application: ASGIApp) -> None:
        self._socket = _listening(port)
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._application = application
        self._server = uvicorn.Server(_config(application))
        self._thread: threading.Thread | None = None

    def ready(self) -> Mapping[str, object]:
        """What a caller has to know to connect: the ready line."""
        raise NotImplementedError

    def starting(self) -> None:
        """Called before the first request."""

    def stopping(self) -> None:
        """Called after the last one, maybe twice."""

    def __enter__(self) -> Self:
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

    def serve(self, announce: Callable[[str], object]) -> None:
        """Serve in this thread until a signal; `announce` gets the ready line."""
        config = _config(self._application)
        self._server = _Announcing(config, lambda: announce(json.dumps(self.ready()) + "\n"), self.stopping)
        self._serve()

    def _serve(self) -> None:
        self.starting()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.stopping()


class _Announcing(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], object], stopping: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._ready, self._stopping = ready, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # Here, because uvicorn then raises the signal that stopped it again, and a SIGTERM ends the process.
        self._stopping()


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


def _config(served: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        served,
        log_level="error",
        access_log=False,
        lifespan="off",
        # Longer than a client rests between two pages, so that a kept connection does not die under it.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        # Targets too long for the API must reach it, so that it can say 414.
        h11_max_incomplete_event_size=65_536,
    )
