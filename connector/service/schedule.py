"""When the service does what: the sync by the clock, a light poll and a look at itself every few minutes.

Orders are given, never carried out, here: what is called must return at once. One that is late (the machine slept)
is given once, however often it was due; one whose last call has not returned is not given again.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from connector.cron import Cron
from connector.settings import Settings

#: Minutes between two looks at whether a run is overdue.
CHECK_MINUTES = 5
#: How much after its due time a run may begin that is not late: what another job may take before it.
LATE = timedelta(minutes=10)
#: How far ahead a schedule is looked through for its longest pause: both daylight-saving changes are within.
_YEAR = timedelta(days=370)
#: Due times looked through at most: two weeks of a schedule that comes every minute.
_LOOKED_THROUGH = 20_000


class Schedule:
    """Calls `order_sync` when `cron` says in `zone`, `poll` at the start and every `poll_minutes`, `check` every
    CHECK_MINUTES, each on a thread of its own.

    An empty `cron`: no sync; 0 minutes: no poll. Raises ValueError for what is no cron expression.
    """

    def __init__(
        self,
        order_sync: Callable[[], None],
        poll: Callable[[], None],
        check: Callable[[], None],
        *,
        cron: str,
        zone: ZoneInfo,
        poll_minutes: int,
    ) -> None:
        self._cron = Cron(cron, zone) if cron.strip() else None
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            daemon=True,
        )
        self._sync: Job | None = None
        if self._cron is not None:
            self._sync = self._scheduler.add_job(order_sync, _ByCron(self._cron), name="sync")
        if poll_minutes:
            self._scheduler.add_job(
                poll,
                IntervalTrigger(minutes=poll_minutes, timezone=UTC),
                name="poll",
                next_run_time=datetime.now(UTC),
            )
        self._scheduler.add_job(check, IntervalTrigger(minutes=CHECK_MINUTES, timezone=UTC), name="check")

    def start(self) -> None:
        """Begin. Once."""
        self._scheduler.start()

    def close(self) -> None:
        """Give no more orders; calls that are under way are not waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def next_at(self) -> datetime | None:
        """When the next scheduled sync is due (aware, UTC); None without a schedule."""
        return None if self._cron is None else self._cron.after(datetime.now(UTC))


class _ByCron(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    def __init__(self, cron: Cron) -> None:
        self._cron = cron

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The next after the last; APScheduler asks for all up to `now` to find what was missed."""
        return self._cron.after(previous_fire_time or now)


def zone_of(settings: Settings, account_zone: str | None) -> ZoneInfo:
    """The zone of the schedule: `[serve] timezone`, else the account's, else `timezone`, else UTC."""
    for name in (settings.serve.timezone, account_zone, settings.timezone):
        if name:
            try:
                return ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
    return ZoneInfo("UTC")


def missed(cron: str, zone: ZoneInfo, last_started: datetime | None, now: datetime) -> datetime | None:
    """The last due time (UTC) after the start of the last sync and up to now: a run that nobody began.

    However many were missed, the last one stands for all of them. Without a sync ever there is nothing to make up:
    the first one is a person's to start. Times without a zone are UTC.
    """
    if last_started is None or not cron.strip():
        return None
    schedule, now, last_started = Cron(cron, zone), _aware(now), _aware(last_started)
    for days in (1, 8, 40, 400, None):
        since = last_started if days is None else max(last_started, now - timedelta(days=days))
        if (latest := _latest(schedule, since, now)) is not None or since == last_started:
            return latest
    return None


def due_at(cron: str, zone: ZoneInfo, at: datetime) -> datetime | None:
    """The due time (UTC) that a run which the schedule asks for at `at` is for: the last one up to then."""
    return missed(cron, zone, _aware(at) - _YEAR, at)


def patience(cron: str, zone: ZoneInfo, hours: float, now: datetime) -> float:
    """Hours without a success after which a run is overdue: `hours`, or two more than the longest pause of a
    schedule that pauses longer than that (weekdays only, weekly)."""
    if not cron.strip():
        return hours
    # From midnight on, so that asking every few minutes looks a schedule through once a day.
    pause = _longest_pause(cron, zone, _aware(now).replace(hour=0, minute=0, second=0, microsecond=0))
    return pause + 2.0 if pause > hours else hours


@lru_cache(maxsize=4)
def _longest_pause(cron: str, zone: ZoneInfo, since: datetime) -> float:
    """Hours between two due times in the year from `since`, at most."""
    schedule, longest = Cron(cron, zone), timedelta(0)
    at = schedule.after(since)
    for _ in range(_LOOKED_THROUGH):
        following = None if at is None else schedule.after(at)
        if at is None or following is None:
            break
        longest = max(longest, following - at)
        if following > since + _YEAR:
            break
        at = following
    return longest / timedelta(hours=1)


def _latest(cron: Cron, since: datetime, until: datetime) -> datetime | None:
    found, at = None, cron.after(since)
    while at is not None and at <= until:
        found, at = at, cron.after(at)
    return found


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
