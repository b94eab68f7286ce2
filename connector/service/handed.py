"""Commands that other processes of this machine hand to the service, which has the state: `POST /handed`.

Who may do that has read the token in the state folder (`serve.json`), which only its owner can.
"""

import asyncio
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from connector.errors import BadSetting, LeadlightError, TryLater
from connector.handing import announce, settings_fingerprint, withdraw
from connector.jobs.ended import Ended, ended_by
from connector.jobs.orders import LOOKS, as_of, check, look
from connector.progress import Progress
from connector.service.orders import Order, Ticket
from connector.service.state import State
from connector.service.worker import Worker

#: Bytes of an order.
LARGEST = 100_000
#: Seconds after which an empty line says that we are still there.
BEAT = 5.0


class Handed:
    """The route, and the file that names it."""

    def __init__(self, state: State, worker: Worker) -> None:
        self._state, self._worker = state, worker
        self._token = secrets.token_urlsafe(32)
        self._settings = settings_fingerprint(state.settings)

    def announce(self, url: str) -> None:
        """From now on commands find us."""
        announce(self._state.folder, url, self._token)

    def withdraw(self) -> None:
        """They do not any more."""
        withdraw(self._state.folder)

    async def route(self, request: Request) -> Response:
        """Take a command and stream how it goes, a JSON object a line."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._token.encode()):
            return PlainTextResponse("for commands on this machine only", 401, {"www-authenticate": "Bearer"})
        try:
            given = json.loads(await _body(request))
            command, params = str(given["command"]), dict(given.get("params") or {})
            who = str(given.get("who") or "")
        except (ValueError, KeyError, TypeError, RecursionError):
            return PlainTextResponse("no order", 400)
        try:
            check(command, params)
            as_of(params)
        except BadSetting as wrong:
            return PlainTextResponse(str(wrong), 400)
        notes = []
        if given.get("settings") not in (None, self._settings):
            notes.append("The service runs with the settings of its start, which differ from these: restart it.")
        if command in LOOKS:
            return _streamed(self._look(command, params, notes, who))
        try:
            ticket = self._worker.order(Order(command, params, who or "command"))
        except LeadlightError as stopping:
            return PlainTextResponse(str(stopping), 503)
        return _streamed(self._followed(ticket, notes))

    async def _followed(self, ticket: Ticket, notes: list[str]) -> AsyncIterator[dict[str, Any] | None]:
        """Progress until the end. Nobody listening does not end the job."""
        lines = _Lines()
        ticket.listen(lines.progress)
        ticket.ended.add_done_callback(lines.end)
        for note in notes:
            yield {"note": note}
        other = self._worker.at_work
        if other is not None and other is not ticket:
            since = "" if other.begun_at is None else f" since {other.begun_at:%H:%M} UTC"
            yield {"waiting": f"{other.order.command}{since}"}
        async for line in lines:
            yield line

    async def _look(
        self, command: str, params: dict[str, Any], notes: list[str], who: str
    ) -> AsyncIterator[dict[str, Any] | None]:
        lines = _Lines()
        for note in notes:
            yield {"note": note}
        task = asyncio.create_task(run_in_threadpool(self._looked, command, params, who, lines.progress))
        task.add_done_callback(lines.end)
        async for line in lines:
            yield line

    def _looked(self, command: str, params: dict[str, Any], who: str, progress: Progress) -> Ended:
        entry = LOOKS[command]
        opened: Callable[..., Any] = self._state.recorded if entry.recorded else self._state.stored
        try:
            if entry.alone and self._worker.at_work is not None:
                raise TryLater("A job is under way that uses the model of now: run this again when it has ended.")
            given = {"who": who or None} if entry.recorded else {}
            with opened(entry.command, as_of=as_of(params), progress=progress, **given) as run:
                return look(run, command, params)
        except Exception as error:  # noqa: BLE001 - told as the command line tells it
            return ended_by(error)


class _Lines:
    """Lines from other threads to one stream; the last is the end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._told = 0.0

    def progress(self, stage: str, done: int, total: int | None) -> None:
        """At most some ten a second."""
        now = self._loop.time()
        if now - self._told >= 0.1 or done == total:
            self._told = now
            self.put({"progress": [stage, done, total]})

    def end(self, done: "asyncio.Future[Ended] | Future[Ended]") -> None:
        """Nobody hears of what was broken off because we stop."""
        if not done.cancelled():
            self.put({"ended": done.result().to_json()})

    def put(self, line: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, line)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any] | None]:
        while True:
            try:
                line = await asyncio.wait_for(self._queue.get(), BEAT)
            except TimeoutError:
                yield None
                continue
            yield line
            if "ended" in line:
                return


def _streamed(lines: AsyncIterator[dict[str, Any] | None]) -> StreamingResponse:
    async def text() -> AsyncIterator[bytes]:
        async for line in lines:
            yield b"\n" if line is None else json.dumps(line, default=str).encode() + b"\n"

    return StreamingResponse(text(), media_type="application/x-ndjson")


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise ValueError
    return body
