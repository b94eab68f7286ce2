"""Report: what a person should see before publishing predictions, and after, as figures from the mirror.

Calls nothing and writes nothing but temporary tables. Everything that grows with the account is added up in SQL.
"""

from datetime import UTC, datetime
from typing import Any

from connector.jobs.measure import measure
from connector.jobs.readiness import examine
from connector.jobs.report.companies import companies
from connector.jobs.report.groups import groups
from connector.jobs.report.hours import hours
from connector.jobs.report.people import Scores, people
from connector.jobs.report.privacy import privacy
from connector.jobs.report.trust import trust, verdict
from connector.jobs.report.written import written
from connector.jobs.run import Run
from connector.jobs.train import standing_model
from connector.mirror.sql import first


def report(run: Run) -> dict[str, Any]:
    """JSON of `leadlight report`, which the page shows. Times are UTC; shares and probabilities 0 to 1.

    Sections: `verdict, trust, drivers, who, when, segments, written, holdout, readiness, privacy`. A section
    without data is an empty list or null. Holds names and addresses of contacts (in `who`).
    """
    models = {task.key: (task, model) for task in run.tasks() if (model := standing_model(run, task)) is not None}
    ready = examine(run)
    run.progress("Reading figures", 0, None)
    judged = trust(run, models, ready.lacks)
    run.progress("Looking at contacts", 0, None)
    scores = Scores.read(run)
    who = [
        {**people(run, scores, task), "companies": companies(run, task)}
        for task, _ in models.values()
        if task.predictor.name == "lead_score"
    ]
    run.progress("Looking at hours and segments", 0, None)
    when = hours(run, models)
    segments = groups(run, scores, models)
    run.progress("Looking at what was written", 0, None)
    return {
        "made_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "as_of": f"{run.as_of:%Y-%m-%dT%H:%M:%SZ}",
        "account": _account(run),
        "verdict": verdict(judged),
        "trust": judged,
        "drivers": [
            {"key": key, "kind": model.meta.get("kind"), "effects": model.meta["effects"]}
            for key, (_, model) in models.items()
            if model.meta.get("effects")
        ],
        "who": who,
        "when": when,
        "segments": segments,
        "written": written(run),
        "holdout": measure(run),
        "readiness": {
            "checks": [
                {"name": one.name, "state": one.state, "detail": one.detail, "remedy": one.remedy}
                for one in ready.checks
            ],
            "figures": ready.figures,
            "lacks": ready.lacks,
        },
        "privacy": privacy(run, ready.figures, judged),
    }


def _account(run: Run) -> dict[str, Any]:
    """Whose account it is, and the zone in which its people read dates."""
    row = first(run.mirror.connection, "select platform, account_id, timezone, currency from store.account")
    platform, ident, zone, currency = row or (run.platform.name, None, None, None)
    contacts = first(run.mirror.connection, f"select count(*) from ({run.mirror.live_contacts_sql})")
    return {
        "platform": platform,
        "id": ident,
        "timezone": zone or run.options().timezone,
        "currency": currency,
        "contacts": int(contacts[0]) if contacts else 0,
    }
