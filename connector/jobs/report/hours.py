"""When: the hours that are advised, those at which mail was sent, and what came of it."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from connector.jobs.run import Run, Task
from scoring.engine import quoted
from scoring.predictors.base import Model
from scoring.zones import zones

#: Days of mail that are looked at, and days within which an answer counts.
DAYS, ANSWER_DAYS = 180, 7


def hours(run: Run, models: Mapping[str, tuple[Task, Model]]) -> dict[str, Any] | None:
    """By local hour, 24 each: `advised` contacts, `sent` mails, `answered` of them; shares of where an hour comes
    from; the expected gain. None without a model of send times. Expects `reported`."""
    found = next((pair for pair in models.values() if pair[0].predictor.name == "send_time"), None)
    if found is None:
        return None
    task, model = found
    names = task.names(run.settings.prefix)
    evaluation = model.meta["evaluation"]
    advised = _by_hour(
        run,
        f"""select cast(try_cast({quoted("now_" + names["leadlight_send_hour"])} as double) as integer) as hour,
                   count(*) as n, 0 as m from reported group by hour""",
    )
    sent = _by_hour(run, _sends(run))
    source = quoted("now_" + names["leadlight_send_source"])
    sources = run.mirror.connection.execute(
        f"select {source}, count(*) from reported where {source} is not null group by 1 order by 1"
    ).fetchall()
    return {
        "advised": [advised.get(hour, (0, 0))[0] for hour in range(24)],
        "sent": [sent.get(hour, (0, 0))[0] for hour in range(24)],
        "answered": [sent.get(hour, (0, 0))[1] for hour in range(24)],
        "answer_days": ANSWER_DAYS,
        "everyone": json.loads(model.files["profiles.json"]).get("common"),
        "sources": dict(sources),
        "hit_top3": evaluation.get("hit_top3"),
        "everyone_hit_top3": evaluation.get("baselines", {}).get("global", {}).get("hit_top3"),
        "gain_bits": evaluation.get("gain_bits"),
    }


def _sends(run: Run) -> str:
    """Mails by the contact's local hour, and how many a person answered: clicked or replied within ANSWER_DAYS.
    An answer belongs to a mail by campaign."""
    since, until = (f"timestamp '{at:%Y-%m-%d %H:%M:%S}'" for at in (run.as_of - timedelta(days=DAYS), run.as_of))
    zone = zones(run.engine(), run.options().timezone)
    return f"""
        with sends as (
            select contact_id, campaign_id, min(occurred_at) as sent_at from events
            where kind = 'email_sent' and occurred_at >= {since} and occurred_at < {until}
            group by contact_id, campaign_id
        ), answers as (
            select contact_id, campaign_id, min(occurred_at) as answered_at from events
            where kind in ('email_click', 'email_reply') and human >= 0.5e0 and occurred_at >= {since}
            group by contact_id, campaign_id
        )
        select hour(local_ts(s.sent_at, z.timezone)) as hour, count(*) as n,
               count(case when a.answered_at >= s.sent_at
                     and secs_between(s.sent_at, a.answered_at) <= {ANSWER_DAYS * 86400} then 1 end) as m
        from sends s join ({zone}) z using (contact_id)
             left join answers a on a.contact_id = s.contact_id and a.campaign_id = s.campaign_id
        group by hour
    """


def _by_hour(run: Run, query: str) -> dict[int, tuple[int, int]]:
    rows = run.mirror.connection.execute(f"select hour, n, m from ({query}) where hour is not null").fetchall()
    return {int(hour): (int(n), int(m)) for hour, n, m in rows}
