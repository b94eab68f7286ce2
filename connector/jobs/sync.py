"""Sync: pull, score, push. The one command that a schedule runs."""

import time
from typing import Any

from connector.errors import Refused
from connector.jobs.install import ensure_installed
from connector.jobs.pull import pull
from connector.jobs.push import push, recover
from connector.jobs.run import Run
from connector.jobs.score import score


def sync(
    run: Run, *, dry_run: bool = False, limit: int | None = None, max_changes: int | None = None
) -> dict[str, Any]:
    """The fixed JSON of `leadlight sync`. Raises Refused (with that JSON) when nothing may be written."""
    if not dry_run:
        recover(run)
        ensure_installed(run, run.properties())
    pulled = pull(run)
    scored = score(run)
    result: dict[str, Any] = {
        "run_id": run.id,
        "pulled": dict(pulled.rows),
        "scored": scored.contacts,
        "gates": scored.trained.gates,
        "streams_off": pulled.streams_off_json(),
        **({} if pulled.retention is None else {"retention": pulled.retention}),
    }
    try:
        result["pushed"] = push(run, scored, dry_run=dry_run, limit=limit, max_changes=max_changes).to_json()
    except Refused as refusal:
        refusal.result = {**result, **refusal.result, **spent(run)}
        raise
    return {**result, **spent(run)}


def spent(run: Run) -> dict[str, Any]:
    """What the run cost."""
    by_endpoint = dict(sorted(run.platform.calls().items()))
    return {
        "api_calls": {"total": sum(by_endpoint.values()), "by_endpoint": by_endpoint},
        "seconds": round(time.monotonic() - run.started, 1),
    }
