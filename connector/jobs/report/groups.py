"""Segments: size, what sets each apart, how many reached the goal, what they are worth, what moved."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from connector.jobs.report.people import Scores
from connector.jobs.run import Run, Task
from connector.mirror.sql import first
from scoring.engine import literal, quoted
from scoring.goals import goal_text, reached
from scoring.predictors.base import Model

#: Days of activity by which segments are compared, and how many differences are named.
DAYS, TOLD = 90, 3
_DOINGS = {
    "page_view": "page views",
    "email_click": "mail clicks",
    "email_open": "mail opens",
    "email_reply": "replies",
    "form_submit": "forms",
    "meeting": "meetings",
    "call": "calls",
    "product_view": "product views",
    "cart_add": "cart additions",
}
#: Times everyone's activity from which it sets a segment apart.
_MORE, _LESS = 1.5, 0.6


def groups(run: Run, scores: Scores, models: Mapping[str, tuple[Task, Model]]) -> dict[str, Any] | None:
    """`cards` by segment, the largest first; ids `born` and `gone` in the last fit; contacts that `moved` in the
    last run that wrote. None without a model of segments."""
    found = next((pair for pair in models.values() if pair[0].predictor.name == "segments"), None)
    if found is None:
        return None
    task, model = found
    segment = task.names(run.settings.prefix)["leadlight_segment"]
    now, stood = quoted(f"now_{segment}"), quoted(f"stood_{segment}")
    labels = {str(key): str(label) for key, label in model.meta.get("options", ())}
    told = {one["id"]: one for one in model.meta["evaluation"].get("segments", ())}
    apart = _apart(run, now)
    rows = run.mirror.connection.execute(_worth(run, task, now)).fetchall()
    moved = first(
        run.mirror.connection, f"select count(*) from reported where {stood} is not null and {stood} <> {now}"
    )
    everyone = sum(row[1] for row in rows)
    return {
        "cards": [
            {
                "id": ident,
                "name": labels.get(ident, ident),
                "reached_by": told.get(ident, {}).get("reached_by"),
                "contacts": int(contacts),
                "share": contacts / everyone,
                "converted": converted / contacts,
                "value": None if value is None else float(value),
                "apart": apart.get(ident, []),
            }
            for ident, contacts, converted, value in rows
        ],
        "goal": task.goal.words,
        "born": list(model.meta.get("born", ())),
        "gone": [model.meta.get("retired", {}).get(one, one) for one in model.meta.get("gone", ())],
        "kept": bool(model.meta.get("kept_centres")),
        "moved": int(moved[0]) if moved and scores.run_id else None,
        "days": DAYS,
    }


def _worth(run: Run, task: Task, now: str) -> str:
    """Size, contacts who ever reached the goal, money from won deals and purchases (null: there is none)."""
    engine = run.engine()
    goal = task.goal
    if goal.in_time:
        until = f"timestamp '{run.as_of:%Y-%m-%d %H:%M:%S}'"
        won = f"select distinct contact_id from ({reached(engine, goal)}) where happened_at < {until}"
    else:
        won = f"select contact_id from contacts c where {goal_text(engine, goal)} = {literal(str(goal.equals))}"
    return f"""
        with won as ({won}), money as (
            select contact_id, sum(amount) as amount from (
                select l.contact_id, d.amount from deals d join deal_contacts l using (deal_id)
                where d.is_won and d.deleted_at is null and d.amount is not null
                union all select contact_id, amount from purchases where amount is not null
            ) group by contact_id
        )
        select {now} as segment, count(*) as contacts, count(w.contact_id) as converted, sum(m.amount) as amount
        from reported r left join won w using (contact_id) left join money m using (contact_id)
        where {now} is not null group by 1 order by contacts desc, segment
    """


def _apart(run: Run, now: str) -> dict[str, list[dict[str, Any]]]:
    """What a segment did in the last DAYS beside everyone, per contact: the widest differences."""
    since, until = (f"timestamp '{at:%Y-%m-%d %H:%M:%S}'" for at in (run.as_of - timedelta(days=DAYS), run.as_of))
    kinds = ", ".join(map(literal, _DOINGS))
    rows = run.mirror.connection.execute(
        f"""
        with sizes as (select {now} as segment, count(*) as n from reported where {now} is not null group by 1),
        done as (
            select {now} as segment, e.kind, sum(e.human) as acts
            from events e join reported r using (contact_id)
            where e.kind in ({kinds}) and e.occurred_at >= {since} and e.occurred_at < {until}
                  and {now} is not null group by 1, 2
        ),
        usual as (select kind, sum(acts) / (select sum(n) from sizes) as usual from done group by kind)
        select s.segment, u.kind, coalesce(d.acts, 0) / s.n as own, u.usual
        from sizes s cross join usual u left join done d on d.segment = s.segment and d.kind = u.kind
        where u.usual >= 0.05
        order by s.segment, abs(ln((coalesce(d.acts, 0) / s.n + 0.05) / (u.usual + 0.05))) desc, u.kind
        """
    ).fetchall()
    found: dict[str, list[dict[str, Any]]] = {}
    for segment, kind, own, usual in rows:
        told = found.setdefault(segment, [])
        if len(told) < TOLD and not _LESS < own / usual < _MORE:
            told.append({"what": _DOINGS[kind], "own": round(own, 3), "everyone": round(usual, 3)})
    return found
