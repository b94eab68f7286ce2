"""Retention: events older than the settings say are deleted after a pull, but none that predictions still need."""

import logging
from datetime import timedelta
from typing import Any

from connector.jobs.run import Run
from connector.mirror.sql import transaction

log = logging.getLogger(__name__)

#: The longest window that features and segments look back from a snapshot.
WINDOW_DAYS = 365


def needed_days(run: Run) -> int:
    """Days of events without which a model could not be trained: two label windows, and the view before them."""
    horizons = [goal.horizon_days for goal in run.goals() if goal.in_time]
    return WINDOW_DAYS + 2 * max(horizons, default=0)


def trim(run: Run) -> dict[str, Any] | None:
    """Delete what is older than `keep_events_days` before now (as_of for files), in JSON what was done; None
    where nothing is asked. Fewer days than predictions need are not kept to, which the answer says."""
    asked = run.settings.keep_events_days
    if asked is None:
        return None
    needed = needed_days(run)
    kept = max(asked, needed)
    if kept > asked:
        log.warning("keep_events_days = %d is less than the goals need: %d days are kept", asked, kept)
    before = run.as_of - timedelta(days=kept)
    connection = run.mirror.connection
    with transaction(connection):
        connection.execute(
            "delete from store.machine_made where event_id in "
            "(select event_id from store.events where occurred_at < ?)",
            [before],
        )
        [(deleted,)] = connection.execute("delete from store.events where occurred_at < ?", [before]).fetchall()
    return {"asked_days": asked, "kept_days": kept, "needed_days": needed, "deleted_events": int(deleted)}
