"""Commands while a service has the state: handed to it over loopback, and its words handed back.

The service says in `serve.json` of the state folder, which only its user can read, where it listens and with which
token. That file counts only while the process in it is the one that holds the folder's lock, so that what a killed
service left behind is never believed.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from connector.errors import BadSetting, LeadlightError, StateHeld, StateMismatch, TryLater
from connector.jobs import orders
from connector.jobs.ended import Ask, Elsewhere, Ended, Params, agreed, interrupted
from connector.jobs.orders import JOBS, LOOKS, as_given, goes_on
from connector.jobs.run import Run, open_run, operator
from connector.jobs.stored import Deputy, account_of, open_stored
from connector.owner_lock import OwnerLock
from connector.progress import Progress, silent
from connector.registry import connect
from connector.settings import Settings
from connector.transport import is_loopback

FILE = "serve.json"
PATH = "/handed"
#: Seconds to connect, and until a service that says nothing counts as gone; it says something every ten.
TIMEOUT = (5.0, 60.0)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Service:
    """Who has the state and answers for it. `url` is on this machine."""

    pid: int
    url: str
    token: SecretStr


def announce(folder: Path, url: str, token: str) -> None:
    """Say where this process, which holds the folder's lock, takes commands."""
    words = json.dumps({"pid": os.getpid(), "url": url, "token": token})
    unfinished = folder / f".{FILE}.{secrets.token_hex(4)}"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(words)
    unfinished.replace(folder / FILE)


def withdraw(folder: Path) -> None:
    """Take it back, before the lock is released."""
    (folder / FILE).unlink(missing_ok=True)


def service_of(held: StateHeld) -> Service | None:
    """The service that holds a state folder, None where another process does."""
    try:
        words = json.loads((held.folder / FILE).read_text(encoding="utf-8"))
        found = Service(int(words["pid"]), str(words["url"]).rstrip("/"), SecretStr(str(words["token"])))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    parts = urlsplit(found.url)
    if found.pid != held.holder.get("pid") or parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        return None
    return found


_OF_SERVICES = frozenset(
    {
        *("serve", "alerts", "alerts_webhook_url", "alerts_smtp_password", "public_url"),
        *("hubspot_client_secret", "hubspot_signatures"),
        *("salesforce_webhook_secret", "salesforce_hmac_secret"),
    }
)


def settings_fingerprint(settings: Settings) -> str:
    """Equal for equal settings, wherever they were read. Secrets, and what only a service looks at, are left out:
    who hands a command over need not have them."""
    given = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in settings
        if name not in _OF_SERVICES and value is not None and not isinstance(value, SecretStr)
    }
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()


def perform(
    settings: Settings,
    command: str,
    params: Params,
    *,
    progress: Progress = silent,
    as_of: str | None = None,
    ask: Ask = agreed,
    say: Say = lambda _: None,
) -> Ended:
    """Carry a command out here, or by the service that has the state; how it ended when it was done.

    `ask` shows a person what is about to happen. Raises what the job raises; BadSetting for an `as_of` that is no
    instant; StateHeld where the state is in use by another process than a service; TryLater when the service is
    gone before the end.
    """
    params = {**params, **({} if as_of is None else {"as_of": as_of})}
    orders.check(command, params)
    with ExitStack() as stack:
        try:
            run = stack.enter_context(_opened(settings, command, params, orders.as_of(params), progress))
        except StateHeld as held:
            return _handed(settings, held, command, params, progress, ask, say)
        except BadSetting:
            if (held_by := _held_meanwhile(settings, command)) is None or service_of(held_by) is None:
                raise
            return _handed(settings, held_by, command, params, progress, ask, say)
        return (
            orders.carry_out(run, command, params, ask) if command in JOBS else orders.look(run, command, params)
        )


def _opened(
    settings: Settings, command: str, params: Params, as_of: datetime | None, progress: Progress
) -> AbstractContextManager[Run]:
    if command in LOOKS and not LOOKS[command].recorded:
        return open_stored(settings, LOOKS[command].command, as_of=as_of, progress=progress)
    subject = orders.subject_of(command, params)
    return open_run(settings, command, as_of=as_of, progress=progress, subject=subject)


def _held_meanwhile(settings: Settings, command: str) -> StateHeld | None:
    """Who has the account's state, where what it takes to connect is not here: a service has that, and a person
    who hands a command to it need not. Where the folder holds several accounts nobody can say whose it is."""
    try:
        connect(settings).close()
    except BadSetting:
        with suppress(LeadlightError, OSError):
            return _holder(settings, command)
    return None


def _holder(settings: Settings, command: str) -> StateHeld | None:
    account = account_of(settings)
    try:
        OwnerLock(settings.state_dir / f"{account.platform}-{account.id}", command).release()
    except StateHeld as held:
        return held
    return None


def deputy(settings: Settings, say: Say = lambda _: None) -> Deputy:
    """For jobs that look at a state within something else (doctor, manifest)."""

    def asked(held: StateHeld, look: str) -> dict[str, Any]:
        return _handed(settings, held, look, {}, silent, agreed, say).result

    return asked


def _handed(
    settings: Settings, held: StateHeld, command: str, params: Params, progress: Progress, ask: Ask, say: Say
) -> Ended:
    service = service_of(held)
    if service is None:
        raise held
    line = _Line(service, held, settings_fingerprint(settings), progress, say)
    first = JOBS[command].first if command in JOBS else None
    if first is not None and ask is not agreed:
        name, more = first
        if not ask(line.order(name, {**params, **more}).result):
            return Ended({"run_id": None, "erased": False}, "refused")
    return line.order(command, params)


@dataclass(frozen=True)
class _Line:
    """One command's conversation with a service."""

    service: Service
    held: StateHeld
    fingerprint: str
    progress: Progress
    say: Say

    def order(self, command: str, params: Params) -> Ended:
        """Hand over, pass on what is said meanwhile, and end as the service's run did."""
        if command in JOBS:
            self.say(f"Handed to the running service (process {self.service.pid}).")
        body = {
            "command": command,
            "params": {name: value for name, value in params.items() if name in orders.takes(command)},
            "who": operator(),
            "settings": self.fingerprint,
        }
        with self._posted(body) as answer:
            _accepted(answer.status_code, command)
            try:
                return self._heard(answer, command, params).reraise()
            except KeyboardInterrupt:
                if command not in JOBS:
                    raise
                raise Elsewhere(interrupted(_GOES_ON)) from None

    @contextmanager
    def _posted(self, body: dict[str, Any]) -> Iterator[requests.Response]:
        with requests.Session() as session:
            # no proxy, and no .netrc in place of the token
            session.trust_env = False
            headers = {"Authorization": f"Bearer {self.service.token.get_secret_value()}"}
            try:
                answer = session.post(
                    f"{self.service.url}{PATH}",
                    json=body,
                    headers=headers,
                    stream=True,
                    timeout=TIMEOUT,
                    allow_redirects=False,
                )
            except requests.ConnectionError as error:
                if _unreached(error):
                    raise self.held from None
                raise TryLater(self._cut(body["command"], body["params"])) from None
            except requests.RequestException:
                raise TryLater(_silent(body["command"])) from None
            with answer:
                yield answer

    def _heard(self, answer: requests.Response, command: str, params: Params) -> Ended:
        waiting, begun = None, False
        for told in _lines(answer, command):
            if told is None:
                break
            if "ended" in told:
                return _read(told["ended"])
            if "progress" in told:
                begun = True
                stage, done, total = told["progress"]
                self.progress(str(stage), int(done), None if total is None else int(total))
            if told.get("waiting") not in (None, waiting):
                waiting = told["waiting"]
                self.say(f"The service is at work on something else ({waiting}): waiting for it to end.")
            if "note" in told:
                self.say(str(told["note"]))
        raise TryLater(self._cut(command, params, begun=begun or waiting is None))

    def _cut(self, command: str, params: Params, *, begun: bool = True) -> str:
        if command not in JOBS:
            return f"The service stopped before it answered `{command}`: run it again."
        if begun and goes_on(command, params, self.held.folder):
            return (
                f"The service stopped before `{command}` ended: it goes on with it at its next start. "
                "`leadlight runs` tells how far it came."
            )
        return (
            f"The service stopped before `{command}` ended, and does not take it up again: give it again "
            f"({as_given(command, params)}). `leadlight runs` tells how far it came."
        )


def _unreached(error: requests.ConnectionError) -> bool:
    """Whether nobody was there, so that nothing was asked."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


_GOES_ON = "The service goes on with it; `leadlight runs` shows how it ends."


def _accepted(status: int, command: str) -> None:
    """Raises for an answer that is no conversation."""
    if status == 200:
        return
    if status in (401, 403):
        raise TryLater(
            "The service does not accept this command's token: it has just been restarted; run it again."
        )
    if status in (409, 503):
        raise TryLater(f"The service takes no `{command}` at the moment (status {status}): run it again shortly.")
    if status in (400, 404, 405, 415, 422):
        raise StateMismatch(
            f"The service does not take `leadlight {command}` as this version hands it over (status {status}): "
            "restart the service after an update."
        )
    raise TryLater(f"The service could not take `{command}` (status {status}): its log says why.")


def _lines(answer: requests.Response, command: str) -> Iterator[dict[str, Any] | None]:
    """JSON objects, one a line; empty lines only say that the service is still there. None: it was cut off."""
    parts: list[bytes] = []
    try:
        for chunk in answer.iter_content(chunk_size=None):
            *whole, rest = chunk.split(b"\n")
            for piece in whole:
                line = b"".join([*parts, piece]).strip()
                parts = []
                if line:
                    yield _object(line)
            parts.append(rest)
    except requests.exceptions.ChunkedEncodingError:
        yield None
    except requests.RequestException:
        raise TryLater(_silent(command)) from None


def _object(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise TryLater(_OTHER_WORDS)
    return told


def _read(given: Any) -> Ended:
    try:
        return Ended.from_json(given)
    except (KeyError, TypeError, ValueError):
        raise TryLater(_OTHER_WORDS) from None


_OTHER_WORDS = (
    "The service answers in words that this version does not know: restart it after an update. `leadlight runs` "
    "shows how the command ended."
)


def _silent(command: str) -> str:
    return (
        f"The service has said nothing of `{command}` for {TIMEOUT[1]:.0f} s. `leadlight runs` shows how it ends; "
        "the service's log tells more."
    )
