"""Cron expressions as crontab(5) reads them, and the instants that they mean in a time zone.

Two things differ from APScheduler, which does the arithmetic:

- Weekdays count from Sunday (0 or 7), where APScheduler counts from Monday; and where day of month and weekday are
  both restricted, either is enough.
- A time of the clock that a daylight-saving change repeats comes once, the first time; one that it skips comes as
  much later as the clock was put forward (02:15 at 03:15). Where the hour begins with `*`, the schedule goes by
  the time that passes: nothing is skipped or doubled.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_EXAMPLE = 'five fields, such as "15 2 * * *" (02:15 every day) or "0 3 * * 1-5" (03:00 from Monday to Friday)'
#: A daylight-saving change puts a time off by less than this.
_RECENT = timedelta(hours=3)
#: Longer than any pause of a schedule that ever comes: 29 February comes every eighth year at the least.
_NEVER = timedelta(days=8 * 366)


class Cron:
    """A schedule: minute, hour, day of month, month, weekday. Raises ValueError saying what is wrong with it."""

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        fields = expression.lower().split()
        if len(fields) != 5 or not expression.isascii():
            raise ValueError(f"is no cron expression: {_EXAMPLE}")
        minute, hour, day, month, weekday = fields
        self._zone = zone
        # By the time that passes, the zone is the trigger's; by the clock on the wall, we lay it over afterwards.
        self._elapsed = hour.startswith("*")
        either = [(day, _weekdays(weekday))]
        if not day.startswith("*") and not weekday.startswith("*"):
            either = [(day, "*"), ("*", _weekdays(weekday))]
        try:
            self._triggers = [
                CronTrigger(
                    minute=minute,
                    hour=hour,
                    day=one,
                    month=month,
                    day_of_week=other,
                    timezone=zone if self._elapsed else UTC,
                )
                for one, other in either
            ]
            first = self.after(datetime(2026, 1, 1, tzinfo=UTC))
        except (ValueError, OverflowError):
            first = None
        if first is None or first > datetime(2026, 1, 1, tzinfo=UTC) + _NEVER:
            raise ValueError(f"is no cron expression, or one that never comes: {_EXAMPLE}")

    def after(self, instant: datetime) -> datetime | None:
        """The first due time later than `instant` (aware); UTC. None: there is none."""
        if self._elapsed:
            return self._next(instant.astimezone(self._zone))
        # Where the clock has just been put forward, what it skipped may still be due.
        moved = _offset(instant, self._zone) - _offset(instant - _RECENT, self._zone)
        wall = instant.astimezone(self._zone).replace(tzinfo=UTC, fold=0) - max(timedelta(0), moved)
        shifted = None
        while (due := self._next(wall)) is not None:
            # fold=0 is the first of two, and in a gap the offset from before it (PEP 495)
            local = due.replace(tzinfo=self._zone, fold=0)
            at = local.astimezone(UTC)
            if at > instant:
                shifted = at if shifted is None else min(at, shifted)
                # One that was put off may be overtaken by one that was not.
                if at.astimezone(self._zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    return shifted
            wall = due
        return shifted

    def _next(self, instant: datetime) -> datetime | None:
        later = instant + timedelta(microseconds=1) if instant.tzinfo is UTC else _a_moment_after(instant)
        found = [one.get_next_fire_time(None, later) for one in self._triggers]
        return min((one.astimezone(UTC) for one in found if one is not None), default=None)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _a_moment_after(instant: datetime) -> datetime:
    """Over UTC: arithmetic on a zone's own times forgets that an hour comes twice."""
    return (instant.astimezone(UTC) + timedelta(microseconds=1)).astimezone(instant.tzinfo)


def _weekdays(field: str) -> str:
    """A weekday field of crontab(5) in APScheduler's words: names, which mean the same to both."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = ("0-6" if span == "*" else span).partition("-")
        first = _weekday(low)
        last = _weekday(high) if high else first
        every = int(step) if step.isascii() and step.isdigit() else 0 if step or "/" in part else 1
        if first > last or every < 1 or (step and not high):
            raise ValueError(f"has no weekday {part!r}: 0 to 7 (0 and 7 are Sunday) or sun to sat, {_EXAMPLE}")
        days |= {number % 7 for number in range(first, last + 1, every)}
    return ",".join(_NAMES[number] for number in sorted(days))


def _weekday(word: str) -> int:
    if word in _NAMES:
        return _NAMES.index(word)
    if word.isascii() and word.isdigit() and int(word) <= 7:
        return int(word)
    raise ValueError(f"has no weekday {word!r}: 0 to 7 (0 and 7 are Sunday) or sun to sat, {_EXAMPLE}")
