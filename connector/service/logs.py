"""Logs of the service: one JSON object a line on stderr, or lines to read at a terminal.

Code names records by id in what it logs. What slips through all the same is taken out here: e-mail addresses,
query strings, the secret in the path of Salesforce's webhooks, tokens. Of an exception that nobody foresaw its
type and its place are told, never its message.
"""

import asyncio
import json
import logging
import random
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from connector.errors import LeadlightError, places
from scoring.errors import ScoringError

#: Of the request and of the run that the line belongs to.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
run_id: ContextVar[str | None] = ContextVar("run_id", default=None)

#: Longer texts are cut: a line is to be read.
LONGEST = 2_000

#: Libraries that tell of every connection or job, with addresses in it.
_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")
_QUIET = ("apscheduler", "urllib3", "uvicorn.access", "asyncio")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: `color_message` is uvicorn's: the same once more.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

#: No redaction finds anything in a text without one of these.
_SUSPECT = re.compile(r"[@?%]|salesforce|pat-|bearer", re.IGNORECASE)
_REDACTIONS = (
    # the secret of /webhooks/salesforce/{secret}, however it is written
    (re.compile(r"(webhooks?(?:/|%2f)+salesforce(?:/|%2f)+)[^\s\"'<>]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b(https?://)[^\s/@\"'<>]+@", re.IGNORECASE), r"\1***/"),
    (re.compile(r"([^\s?\"'<>])\?[^\s\"'<>]+"), r"\1?***"),
    (re.compile(r"[^\s@\"'<>(),;:=/]+(?:@|%40)[^\s@\"'<>(),;:=/]+", re.IGNORECASE), "<e-mail>"),
    (re.compile(r"\b(Bearer\s+)\S+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\bpat-[a-z0-9]+-[A-Za-z0-9-]{8,}"), "***"),
)


def redacted(text: str) -> str:
    """The text without what no log may hold, on one line and at most LONGEST characters."""
    text = text[:LONGEST]
    if _SUSPECT.search(text):
        for pattern, instead in _REDACTIONS:
            text = pattern.sub(instead, text)
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def given_id(header: str | None) -> str:
    """The id of a request: its sender's, where that is one (A-Z a-z 0-9 . _ -, at most 64), else a new one."""
    return header if header is not None and _ID.fullmatch(header) else f"{random.getrandbits(80):020x}"


@contextmanager
def of_run(name: str | None) -> Iterator[None]:
    """What is logged within belongs to this run."""
    token = run_id.set(name)
    try:
        yield
    finally:
        run_id.reset(token)


def configure(level: str = "INFO", *, stream: TextIO | None = None, as_json: bool | None = None) -> None:
    """Send everything that is logged in this process to `stream` (stderr), as JSON unless that is a terminal.

    uvicorn is to be started with `log_config=None, access_log=False`: its lines then come here, and `Logged` tells
    of requests.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(as_json=not stream.isatty() if as_json is None else as_json))
    handler.addFilter(_not_broken_off)
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _UVICORN:  # whoever set it up before in this process let its lines go elsewhere
        library = logging.getLogger(name)
        library.handlers.clear()
        library.setLevel(logging.NOTSET)
        library.propagate, library.disabled = True, False
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    threading.excepthook = _thread_ended


def _not_broken_off(record: logging.LogRecord) -> bool:
    """uvicorn tells of a request that it broke off because we stop as of an error; its own line says enough."""
    error = record.exc_info[1] if record.exc_info else None
    return not (record.name == "uvicorn.error" and isinstance(error, asyncio.CancelledError))


def _thread_ended(given: threading.ExceptHookArgs) -> None:
    """Instead of a traceback with the exception's words."""
    name = given.thread.name if given.thread is not None else "?"
    trouble = given.exc_value
    info = None if trouble is None else (type(trouble), trouble, given.exc_traceback)
    logging.getLogger(__name__).error("the thread %s ended", name, exc_info=info)


class Lines(logging.Formatter):
    """A record as one line. What stands in `extra` becomes fields of its own."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        if self._as_json:
            return json.dumps(fields, default=str, ensure_ascii=False)
        head = f"{fields.pop('time')} {fields.pop('level'):<7} {fields.pop('event')}"
        fields.pop("logger")
        return " ".join([head, *(f"{key}={value}" for key, value in fields.items())])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {
        "time": at.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": redacted(_event(record)),
        "logger": record.name,
    }
    fields |= {one.name: known for one in (request_id, run_id) if (known := one.get()) is not None}
    for name, value in vars(record).items():
        if name not in _OWN and not name.startswith("_"):
            fields[name] = (
                value if isinstance(value, bool | int | float) or value is None else redacted(str(value))
            )
    if record.exc_info and record.exc_info[1] is not None:
        fields |= told(record.exc_info[1])
    return fields


def _event(record: logging.LogRecord) -> str:
    """The message; exceptions among its arguments are told by `told` too."""
    args = record.args
    if isinstance(args, tuple):
        record.args = tuple(_safe(one) for one in args)
    elif isinstance(args, Mapping):
        record.args = {key: _safe(one) for key, one in args.items()}
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):
        text = str(record.msg)
    finally:
        record.args = args
    if record.name == "asyncio":  # its further lines hold the exception's words
        return text.partition("\n")[0]
    return text


def _safe(argument: object) -> object:
    return told(argument)["error"] if isinstance(argument, BaseException) else argument


def told(error: BaseException) -> dict[str, str]:
    """`error`: an error's type, with its message where it is one of ours, which hold no personal data. `at`: the
    places it came through."""
    kind = type(error).__name__
    ours = isinstance(error, LeadlightError | ScoringError)
    return {"error": redacted(f"{kind}: {error}" if ours else kind), "at": places(error)}
