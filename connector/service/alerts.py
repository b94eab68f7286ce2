"""One message to a person when something is wrong with the runs: by mail, by a chat's incoming webhook, or both.

The same trouble is told once a day, over restarts too; that it has passed is told only where trouble was. Who
reports trouble never waits: messages go out on a thread of their own, tried for a day where the way out is closed,
and by the next process where this one ended. Texts are made of run ids, commands, verdicts and counts, never of
contacts.
"""

import contextlib
import json
import logging
import os
import queue
import smtplib
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import requests
import tenacity

from connector.errors import BadSetting
from connector.service.logs import redacted
from connector.settings import Settings
from connector.transport import is_loopback

log = logging.getLogger(__name__)

#: late: a scheduled run began later than it was due. overdue: no run has succeeded for too long.
Kind = Literal["failed", "refused", "late", "overdue", "recovered"]

FILE = "alerts.json"
#: The same trouble is told again after so long: less than a day, for what fails every night is told every night.
AGAIN = timedelta(hours=22)
TIMEOUT_SECONDS = 10.0
#: Tries in a row; what then is not out is tried again every RETRY_SECONDS until it is older than a day.
TRIES, RETRY_SECONDS = 4, 600.0
_TOO_OLD = timedelta(days=1)
#: Waiting messages beyond which the oldest is not told any more.
_MOST = 50
_MOST_LINES = 30

_HEADS = {
    "failed": "A run failed",
    "refused": "A run was refused",
    "late": "A run was late",
    "overdue": "No run has succeeded",
    "recovered": "Back to normal",
}


class _NotSent(Exception):
    """`again`: whether another try may heal it."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


@dataclass(frozen=True)
class Message:
    """What is told; `trouble` is equal for two messages about the same thing."""

    kind: Kind
    subject: str
    lines: tuple[str, ...]
    trouble: str
    #: ISO 8601, UTC.
    at: str

    @property
    def text(self) -> str:
        """What stands below the subject."""
        return "\n".join([*self.lines, f"Time: {self.at}"])


class Alerts:
    """Sends as the settings say, and logs in any case. `folder` is the account's state folder.

    Raises BadSetting for a mail account without its password.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        first_wait: float = 2.0,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._channels = _channels(settings)
        self._memory = _Memory(folder / FILE)
        self._clock, self._first_wait, self._retry_seconds = clock, first_wait, retry_seconds
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        if not self._channels:
            self._memory.waiting = []
        for message in self._memory.waiting:
            self._queue.put(message)
        self._thread: threading.Thread | None = None
        if self._channels:
            self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
            self._thread.start()

    def send(self, kind: Kind, subject: str, lines: Sequence[str] = (), *, trouble: str | None = None) -> None:
        """Tell it, unless the same was told within AGAIN or waits to be told. Returns at once.

        `trouble` says what makes it the same; by default kind and subject do, which then must not hold a run's id.
        `recovered` is told only where trouble was, and makes the next trouble news.
        """
        now = self._clock()
        said = tuple(redacted(line) for line in lines[:_MOST_LINES])
        message = Message(
            kind, redacted(subject), said, trouble or f"{kind}: {subject}", now.isoformat(timespec="seconds")
        )
        with self._lock:
            if not self._memory.news(message, now):
                return
            level = logging.INFO if kind == "recovered" else logging.WARNING
            log.log(level, "alert: %s: %s", _HEADS[kind], message.subject, extra={"kind": kind})
            if self._channels:
                self._memory.add(message)
                self._queue.put(message)
            else:
                self._memory.told(message, now)

    def close(self, timeout: float = 3.0) -> None:
        """Send what waits, for so many seconds; the rest is sent after the next start."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join(timeout)
        self._closing.set()

    def _run(self) -> None:
        while True:
            try:
                message = self._queue.get(timeout=self._retry_seconds)
            except queue.Empty:
                with self._lock:
                    for waiting in self._memory.waiting:
                        self._queue.put(waiting)
                continue
            if message is None:
                return
            ends = {self._try(name, channel, message) for name, channel in self._channels.items()}
            now = self._clock()
            with self._lock:
                if "sent" in ends:
                    self._memory.told(message, now)
                elif "later" not in ends or now - datetime.fromisoformat(message.at) > _TOO_OLD:
                    self._memory.give_up(message)

    def _try(
        self, name: str, channel: Callable[[Message], None], message: Message
    ) -> Literal["sent", "later", "never"]:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _NotSent) and error.again),
            wait=tenacity.wait_exponential(multiplier=self._first_wait, exp_base=4, max=60),
            stop=tenacity.stop_after_attempt(TRIES) | tenacity.stop_when_event_set(self._closing),
            sleep=tenacity.sleep_using_event(self._closing),
            reraise=True,
        )
        try:
            retrying(channel, message)
        except _NotSent as error:
            log.error("an alert could not be sent by %s: %s", name, str(error))
            return "later" if error.again else "never"
        except Exception as error:  # noqa: BLE001 - trouble with one message must not end all later ones
            log.error("an alert could not be sent by %s: unexpected %s", name, type(error).__name__)
            return "never"
        return "sent"


class _Memory:
    """What was told and when, and what waits, in a file of the state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: dict[str, datetime] = {}
        self.waiting: list[Message] = []
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            self._told = {key: datetime.fromisoformat(at) for key, at in kept["told"].items()}
            self.waiting = [Message(**{**one, "lines": tuple(one["lines"])}) for one in kept["waiting"]]
            self.waiting = [one for one in self.waiting if one.kind in get_args(Kind)]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read (%s): alerts may come twice", FILE, type(error).__name__)

    def news(self, message: Message, now: datetime) -> bool:
        """Whether it is neither known nor about to be."""
        ends = [place for place, one in enumerate(self.waiting) if one.kind == "recovered"]
        open_now = self.waiting[ends[-1] + 1 :] if ends else self.waiting
        if message.kind == "recovered":
            return bool(open_now) or (bool(self._told) and not ends)
        if any(one.trouble == message.trouble for one in open_now):
            return False
        last = None if ends else self._told.get(message.trouble)
        return last is None or now - last >= AGAIN

    def add(self, message: Message) -> None:
        self.waiting = [*self.waiting, message][-_MOST:]
        self._keep()

    def told(self, message: Message, now: datetime) -> None:
        if message.kind == "recovered":
            self._told = {}
        else:
            self._told[message.trouble] = now
        self.give_up(message)

    def give_up(self, message: Message) -> None:
        """It waits no more."""
        if message in self.waiting:
            self.waiting.remove(message)
        self._keep()

    def _keep(self) -> None:
        told = {key: at.isoformat(timespec="seconds") for key, at in self._told.items()}
        text = json.dumps({"told": told, "waiting": [asdict(one) for one in self.waiting]})
        beside = self._path.with_suffix(".new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            beside.replace(self._path)
        except OSError as error:
            log.error("%s cannot be written (%s): alerts may come twice", FILE, error.strerror)


def _channels(settings: Settings) -> dict[str, Callable[[Message], None]]:
    found: dict[str, Callable[[Message], None]] = {}
    # asked for here: a command beside the service sends nothing, and need not have it
    if settings.alerts.smtp_user is not None and settings.alerts_smtp_password is None:
        raise BadSetting("alerts.smtp_user needs a password: set LEADLIGHT_ALERTS_SMTP_PASSWORD_FILE.")
    if settings.alerts.smtp_host is not None:
        found["mail"] = lambda message: _mail(settings, message)
    if settings.alerts_webhook_url is not None:
        url = settings.alerts_webhook_url.get_secret_value()
        found["webhook"] = lambda message: _post(url, message)
    return found


def _mail(settings: Settings, message: Message) -> None:
    chosen, password = settings.alerts, settings.alerts_smtp_password
    sender = str(chosen.mail_from)
    mail = EmailMessage()
    mail["Subject"] = f"[Leadlight] {_HEADS[message.kind]}: {message.subject}"[:200]
    mail["From"], mail["To"] = sender, ", ".join(chosen.mail_to)
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    context = ssl.create_default_context()
    smtp = None
    try:
        smtp = _connection(settings, context)
        if chosen.smtp_tls == "starttls":
            smtp.starttls(context=context)
        if chosen.smtp_user is not None and password is not None:
            smtp.login(chosen.smtp_user, password.get_secret_value())
        refused = smtp.send_message(mail)
    except (OSError, smtplib.SMTPException) as error:
        raise _smtp_trouble(error) from None
    finally:
        if smtp is not None:
            # It is out by now, or has failed: how the good-bye goes changes neither.
            with contextlib.suppress(OSError, smtplib.SMTPException):
                smtp.quit()
    if refused:
        log.warning("the mail server refused %d of %d recipients of an alert", len(refused), len(chosen.mail_to))


def _smtp_trouble(error: OSError | smtplib.SMTPException) -> _NotSent:
    """Servers' words may hold addresses: the code and the type are enough."""
    if isinstance(error, smtplib.SMTPResponseException):
        return _NotSent(f"the server answered {error.smtp_code}", again=400 <= error.smtp_code < 500)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _ in error.recipients.values()})
        return _NotSent(f"it refused every recipient {codes}", again=any(400 <= code < 500 for code in codes))
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return _NotSent("it does not offer what the settings ask for (smtp_tls, smtp_user)", again=False)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _NotSent("its certificate cannot be trusted", again=False)
    return _NotSent(type(error).__name__, again=True)


def _connection(settings: Settings, context: ssl.SSLContext) -> smtplib.SMTP:
    host, port = str(settings.alerts.smtp_host), settings.alerts.smtp_port
    if settings.alerts.smtp_tls == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)


def _post(url: str, message: Message) -> None:
    # Angle brackets are how chats write links and mentions.
    text = f"Leadlight: {_HEADS[message.kind]}: {message.subject}\n{message.text}"
    body = {"text": text.replace("<", "‹").replace(">", "›")}
    try:
        with requests.Session() as session:
            # Proxies of the environment are for the way out, not for this machine.
            session.trust_env = not is_loopback(urlsplit(url).hostname or "")
            answer = session.post(url, json=body, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.exceptions.RequestException as error:
        # Its words hold the URL, which is the secret.
        raise _NotSent(type(error).__name__, again=True) from None
    if not 200 <= answer.status_code < 300:
        passing = answer.status_code >= 500 or answer.status_code in (408, 429)
        raise _NotSent(f"it answered {answer.status_code}", again=passing)


def about_run(command: str, run: str | None, state: str, result: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Subject and lines about a run that ended as `state` (failed, refused) with the JSON of its command."""
    lines = [f"{command} {run or ''}".strip() + f": {state}."]
    lines += [str(result[key]) for key in ("refused", "error") if result.get(key)]
    said = " ".join(lines)
    for name, gate in (result.get("gates") or {}).items():
        for reason in gate["reasons"] if gate.get("passed") is False else ():
            if reason not in said:
                lines.append(f"{name.replace('_', ' ')}: {reason}")
    if pushed := result.get("pushed"):
        counts = ", ".join(f"{pushed.get(key, 0):,} {key}" for key in ("changed", "unchanged", "failed"))
        lines.append(f"Contacts: {counts}.")
    lines.append(f"Look at it: leadlight runs {run}" if run else "Look at it: leadlight runs")
    return f"{command} ({result['kind']})" if result.get("kind") else command, lines


def overdue(last_success: datetime | None, started: datetime, now: datetime, hours: float) -> bool:
    """Whether no run has succeeded for more than `hours`, counted from the last that did, else from the `started`
    of the service. All three times with a zone, or all three without."""
    return now - (last_success or started) > timedelta(hours=hours)
