"""Connections of the service: a request's head comes soon and is small, or the connection is closed.

uvicorn bounds neither with httptools: a stranger who opens connections and says nothing would have all places, and
one who sends a header without end all memory.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Seconds in which a head has come: from the connection on, or from its own first byte.
HEAD_SECONDS = 20.0
#: Bytes of a request that are no body: its head, and what a body in chunks has between and after them.
LARGEST_HEAD = 65_536


class Connection(HttpToolsProtocol):
    """As uvicorn's; bytes are counted as they come, not by headers: webhooks are acknowledged as fast as ever."""

    _timer: asyncio.TimerHandle | None = None
    _beside_bodies = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there, and is to say something."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Where nothing is being answered, the clock runs: what came has ended uvicorn's keep-alive timeout."""
        super().data_received(data)
        self._beside_bodies += len(data)
        if self._beside_bodies > LARGEST_HEAD:
            self.transport.close()
        elif self._timer is None and (self._in_head or not self._answering()):
            self._wait()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._beside_bodies = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._in_head = False
        self._rest()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Who answers bounds bodies."""
        self._beside_bodies -= len(body)
        super().on_body(body)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self._answering():  # the head of the next request waits for the answer to this one
            self._wait()
        else:
            self.transport.close()
