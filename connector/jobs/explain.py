"""Explain: one contact's predictions, where they come from, and what would change them."""

from typing import Any

from connector.errors import BadSetting
from connector.jobs.run import Run, Task
from connector.jobs.train import gate_json, standing_model
from scoring.contacts.history import history
from scoring.contacts.story import story
from scoring.predictors.base import Model
from scoring.snapshots import why_left_out
from scoring.zones import zone_of

_CONTACT = "explained_contact"


def explain(run: Run, contact: str, *, days: int = 30) -> dict[str, Any]:
    """JSON of `leadlight explain`. `contact` is an id, or an e-mail address that one contact has.

    Raises BadSetting for a contact that the mirror does not have, and where no model stands yet.
    """
    contact_id = find(run, contact)
    tasks = [(task, model) for task in run.tasks() if (model := standing_model(run, task)) is not None]
    if not tasks:
        raise BadSetting("No model stands yet for this goal: run `leadlight score` first.")
    context = run.context(tasks[0][0].goal)
    context.engine.run(f"create or replace temp table {_CONTACT} as select contact_id from contacts where false")
    run.mirror.connection.execute(f"insert into {_CONTACT} values (?)", [contact_id])
    result: dict[str, Any] = {"contact_id": contact_id, "as_of": run.as_of.isoformat(), **_NOTHING}
    for task, model in tasks:
        run.progress(f"Explaining {task.predictor.name.replace('_', ' ')}", 0, None)
        said = _said(run, task, model, contact_id)
        if task.goal.name == "default" or task.predictor.name != "lead_score":
            result.update(said)
        else:
            result["further"] = {**result.get("further", {}), task.goal.name: said}
    return {**result, "history": history(context, contact_id, days)}


#: What stands where a predictor has no model, or nothing to say of the contact.
_NOTHING: dict[str, Any] = {
    "score": None,
    "grade": None,
    "probability": None,
    "confidence": None,
    "why_no_score": "There is no lead score model.",
    "reasons": [],
    "would_change_most": [],
    "send_time": None,
    "segment": None,
}


def find(run: Run, contact: str) -> str:
    """The id of a contact given by id or address. Raises BadSetting when there is none, or it is gone."""
    rows = run.mirror.connection.execute(
        "select contact_id, deleted_at, merged_into from store.contacts where contact_id = ? "
        "union all select contact_id, deleted_at, merged_into from store.contacts "
        "where lower(email) = lower(?) and deleted_at is null and merged_into is null",
        [contact, contact],
    ).fetchall()
    if not rows:
        raise BadSetting(f"CONTACT {contact!r} is not in the mirror: check the id, or run `leadlight pull`.")
    contact_id, deleted_at, merged_into = rows[0]
    if merged_into is not None:
        raise BadSetting(f"CONTACT {contact_id} was merged into {merged_into}: explain that one.")
    if deleted_at is not None:
        raise BadSetting(f"CONTACT {contact_id} was deleted on {deleted_at:%Y-%m-%d}.")
    return str(contact_id)


def _said(run: Run, task: Task, model: Model, contact_id: str) -> dict[str, Any]:
    """What one predictor says of the contact."""
    context = run.context(task.goal)
    rows = task.predictor.score(context, model, _CONTACT).to_pylist()
    values = {name.removeprefix("leadlight_"): value for name, value in rows[0].items()} if rows else {}
    beside = {"model": model.version, "gates": gate_json(model)}
    if task.predictor.name == "lead_score":
        found = story(context, model, contact_id) if rows else None
        return {
            **{name: values.get(name) for name in ("score", "grade", "probability", "confidence")},
            "why_no_score": None if rows else why_left_out(context, contact_id),
            "goal": task.goal.words,
            "horizon_days": task.goal.horizon_days if task.goal.in_time else None,
            "short_reasons": values.get("reasons"),
            **({"reasons": [], "would_change_most": []} if found is None else found.to_json()),
            **beside,
        }
    if task.predictor.name == "send_time":
        hour, weekday = values.get("send_hour"), values.get("send_weekday")
        if hour is None:
            return {}
        zone, zone_from = zone_of(context.engine, context.options.timezone, contact_id)
        return {
            "send_time": {
                "hour": int(hour),
                "weekday": weekday,
                "source": values.get("send_source"),
                "zone": zone,
                "zone_from": zone_from,
                **beside,
            }
        }
    segment = values.get("segment")
    if segment is None:
        return {}
    names = {str(key): str(label) for key, label in model.meta.get("options", ())}
    descriptions: Any = model.meta.get("descriptions", {})
    return {
        "segment": {
            "id": segment,
            "name": names.get(segment, segment),
            "description": descriptions.get(segment),
            "contacts": model.meta["evaluation"].get("sizes", {}).get(segment),
            **beside,
        }
    }
