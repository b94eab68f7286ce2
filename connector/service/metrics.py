"""What Prometheus reads: webhooks, inbox, rescoring, runs and calls. Labels have few values and name nobody."""

import logging
import platform as python
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

SOURCES = ("hubspot", "salesforce")
#: What becomes of a webhook request: taken, or why not. `error`: our own trouble.
OUTCOMES = ("accepted", "unverified", "bad_shape", "too_large", "too_slow", "unknown", "overloaded", "error")
COMMANDS = ("sync", "dry-run", "poll", "rescore", "approve", "rollback", "erase")
STATUSES = ("done", "partly", "failed", "refused", "stopped")
#: The inbox's running totals (`connector.inbox.figures`): our name, and what they count.
_TOTALS = {
    "requests": ("requests", "Webhook requests on disk"),
    "events": ("events", "Events read from them"),
    "duplicates": ("duplicates", "Events that had come before"),
    "unreadable": ("unreadable", "Requests whose body could not be read"),
    "handled": ("handled", "Changes worked off"),
    "dead": ("set_aside", "Changes set aside after too many attempts"),
    "lost": ("lost", "Changes given up"),
    "erased": ("erased", "Rows taken out with a person"),
}
#: What is in the inbox now.
_STANDING = {
    "waiting": ("depth", "Changes that wait to be worked off"),
    "bodies": ("unread_bodies", "Webhook requests on disk that wait to be read"),
    "dead": ("dead_letters", "Changes set aside: leadlight inbox list"),
    "unreadable": ("unreadable_bodies", "Webhook requests that could not be read: leadlight inbox list"),
    "oldest_seconds": ("oldest_seconds", "Age of the oldest that waits"),
}
_OTHER = "other"
_PREFIX = "leadlight"
_ACKNOWLEDGED = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_RESCORED = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_RUN = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400)

Figures = Callable[[], Mapping[str, Any] | None]


class Metrics:
    """A registry of its own; every method is safe to call from any thread.

    What changes by itself is asked for at each scrape: `inbox` gives `connector.inbox.figures` (of a connection of
    its own; None: no inbox),
    `calls` the platform's calls so far by 'METHOD /path/template', `next_sync` the next due time (aware).
    """

    def __init__(
        self,
        *,
        inbox: Figures = lambda: None,
        calls: Callable[[], Mapping[str, int]] = dict,
        next_sync: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice as many series, which nothing reads
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._webhooks = Counter(
            f"{_PREFIX}_webhooks",
            "Webhook requests by what became of them",
            ["source", "outcome"],
            registry=registry,
        )
        for source in SOURCES:  # a rate needs the zero before the first
            for outcome in OUTCOMES:
                self._webhooks.labels(source, outcome)
        self._acknowledged = Histogram(
            f"{_PREFIX}_webhook_acknowledgement_seconds",
            "From the first byte of a webhook request to the answer",
            ["source"],
            buckets=_ACKNOWLEDGED,
            registry=registry,
        )
        self._rescored = Counter(
            f"{_PREFIX}_rescored_contacts", "Contacts scored anew because something changed", registry=registry
        )
        self._rescore = Histogram(
            f"{_PREFIX}_rescore_seconds",
            "From the arrival of a webhook to its contact's properties being written",
            buckets=_RESCORED,
            registry=registry,
        )
        self._runs = Counter(f"{_PREFIX}_runs", "Runs that ended", ["command", "status"], registry=registry)
        self._run_seconds = Histogram(
            f"{_PREFIX}_run_seconds", "How long runs took", ["command"], buckets=_RUN, registry=registry
        )
        self._success = Gauge(
            f"{_PREFIX}_last_success_timestamp_seconds",
            "When a run of this command last succeeded",
            ["command"],
            registry=registry,
        )
        self._at_work = Gauge(
            f"{_PREFIX}_job_running", "1 while such a job is at work", ["command"], registry=registry
        )
        Info(f"{_PREFIX}_build", "What runs here", registry=registry).info(
            {"version": version("leadlight"), "python": python.python_version()}
        )
        registry.register(_Asked(inbox, calls, next_sync))

    def webhook(self, source: str, outcome: str, seconds: float | None = None) -> None:
        """A request was answered: `source` one of SOURCES, `outcome` one of OUTCOMES; `seconds` it took."""
        source = _known(source, SOURCES)
        self._webhooks.labels(source, _known(outcome, OUTCOMES)).inc()
        if seconds is not None:
            self._acknowledged.labels(source).observe(seconds)

    def rescored(self, contacts: int, seconds: Iterable[float] = ()) -> None:
        """So many contacts were scored anew; `seconds`: from arrival to written, for each told of by a webhook."""
        self._rescored.inc(contacts)
        for one in seconds:
            self._rescore.observe(one)

    def ended(self, command: str, status: str, seconds: float, at: datetime | None = None) -> None:
        """A run ended (`status` one of STATUSES); done and partly are successes."""
        command = _known(command, COMMANDS)
        self._runs.labels(command, _known(status, STATUSES)).inc()
        self._run_seconds.labels(command).observe(seconds)
        if status in ("done", "partly"):
            self.succeeded(command, at or datetime.now(UTC))

    def succeeded(self, command: str, at: datetime) -> None:
        """A run of this command succeeded then, in an earlier process too. Without a zone: UTC."""
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        self._success.labels(_known(command, COMMANDS)).set(at.timestamp())

    @contextmanager
    def at_work(self, command: str) -> Iterator[None]:
        """A job of this command is at work within."""
        gauge = self._at_work.labels(_known(command, COMMANDS))
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def render(self) -> tuple[str, bytes]:
        """Content type and body of /metrics."""
        return CONTENT_TYPE_LATEST, generate_latest(self.registry)


class _Asked(Collector):
    """What is looked up at each scrape. One that cannot be had is left out: the others are still told."""

    def __init__(
        self,
        inbox: Figures,
        calls: Callable[[], Mapping[str, int]],
        next_sync: Callable[[], datetime | None],
    ) -> None:
        self._inbox, self._calls, self._next_sync = inbox, calls, next_sync

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        for part in (self._of_inbox, self._of_calls, self._of_schedule):
            try:
                yield from list(part())
            except Exception as error:  # noqa: BLE001 - whatever ails one part, the others are to be seen
                log.warning("metrics are incomplete: %s", type(error).__name__)

    def _of_inbox(self) -> Iterator[Metric]:
        figures = self._inbox()
        if figures is None:
            return
        for key, (name, what) in _STANDING.items():
            yield GaugeMetricFamily(f"{_PREFIX}_inbox_{name}", what, value=figures[key])
        for key, (name, what) in _TOTALS.items():
            counted = figures["totals"].get(key, 0)
            yield CounterMetricFamily(f"{_PREFIX}_inbox_{name}", f"{what}, since there is an inbox", value=counted)

    def _of_calls(self) -> Iterator[Metric]:
        family = CounterMetricFamily(f"{_PREFIX}_api_calls", "Calls to the platform", labels=["endpoint"])
        for endpoint, count in sorted(self._calls().items()):
            family.add_metric([endpoint], count)
        yield family

    def _of_schedule(self) -> Iterator[Metric]:
        if (at := self._next_sync()) is not None:
            yield GaugeMetricFamily(
                f"{_PREFIX}_next_sync_timestamp_seconds",
                "When the next scheduled sync is due",
                value=at.timestamp(),
            )


def _known(value: str, known: tuple[str, ...]) -> str:
    """A label's value; one that nobody foresaw is `other`, so that labels stay few."""
    return value if value in known else _OTHER
