"""Sync: pull, score, push. The one command that a schedule runs."""

import time
from typing import Any

from connector.errors import Refused
from connector.jobs import lists, objections
from connector.jobs.install import ensure_installed
from connector.jobs.pull import pull
from connector.jobs.push import PushOptions, push
from connector.jobs.run import Run
from connector.jobs.score import score
from connector.jobs.sending import recover
from connector.platform import Rationed


def sync(run: Run, options: PushOptions = PushOptions()) -> dict[str, Any]:
    """The fixed JSON of `leadlight sync`. Raises Refused (with that JSON) when nothing may be written,
    FixSetup when a list that a filter names could not be read."""
    if not options.dry_run:
        recover(run)
        if not run.settings.require_approval:
            ensure_installed(run, run.properties())
    pulled = pull(run)
    # before anything that may stop a sync
    taken = None if options.dry_run else objections.take_away(run)
    lists.require(run)
    scored = score(run)
    result: dict[str, Any] = {
        "run_id": run.id,
        "pulled": dict(pulled.rows),
        "scored": scored.contacts,
        "gates": scored.trained.gates,
        "upkeep": scored.trained.upkeep,
        "streams_off": pulled.streams_off_json(),
        **({} if pulled.retention is None else {"retention": pulled.retention}),
    }
    try:
        result |= push(run, scored, options, taken)
    except Refused as refusal:
        refusal.result = {**result, **refusal.result, **spent(run)}
        raise
    return {**result, **spent(run)}


def spent(run: Run) -> dict[str, Any]:
    """What the run cost, and what it left of our share of the day's calls (null where none are counted)."""
    by_endpoint = run.calls()
    return {
        "api_calls": {
            "total": sum(by_endpoint.values()),
            "by_endpoint": by_endpoint,
            "left_today": run.platform.calls_left(),
            "a_day": run.platform.allowance().a_day if isinstance(run.platform, Rationed) else None,
        },
        "seconds": round(time.monotonic() - run.started, 1),
    }
