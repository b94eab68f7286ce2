"""Privacy: what is known of consent, what is kept how long, who was erased, what is never used."""

from collections.abc import Mapping, Sequence
from typing import Any

from connector.jobs.run import Run
from connector.mirror.sql import first


def privacy(run: Run, readiness: Mapping[str, Any], judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """JSON of the section; days are null where there is no limit."""
    connection = run.mirror.connection
    oldest = first(connection, "select min(occurred_at) from store.events")
    erased = first(connection, "select count(*) from store.erased where kind = 'contact'")
    evaluation: Mapping[str, Any] = next(
        (one["evaluation"] for one in judged if one["predictor"] == "lead_score" and one["evaluation"]), {}
    )
    return {
        "consent": readiness.get("consent"),
        "mode": "opt_in" if run.options().consent.opt_in else "opt_out",
        "keep_events_days": run.settings.keep_events_days,
        "keep_ledger_days": run.settings.keep_ledger_days,
        "oldest_event": None if not oldest or oldest[0] is None else f"{oldest[0]:%Y-%m-%dT%H:%M:%SZ}",
        "erased": int(erased[0]) if erased else 0,
        "protected": list(evaluation.get("protected", ())),
        "proxies": list(evaluation.get("proxies", ())),
    }
