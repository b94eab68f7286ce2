"""Can it be trusted: the verdict on each prediction, in a sentence, with the figures it rests on."""

from collections.abc import Mapping, Sequence
from typing import Any

from connector.jobs.run import Run, Task
from connector.jobs.train import gate_json
from connector.jobs.upkeep import with_staleness
from scoring.predictors.base import Model

TITLES = {"lead_score": "Lead score", "send_time": "Send time", "segments": "Segments"}
_SPLITS = {
    "time": "later than anything it learnt from",
    "order": "the last fifth, which it had not seen",
    "cv": "each contact by a model that had not seen the person",
}


def trust(
    run: Run, models: Mapping[str, tuple[Task, Model]], lacks: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """By prediction: `key, title, goal, version, passed, ran, reasons, sentence, evaluation, curves, choice`."""
    found = []
    for task in run.tasks():
        task_model = models.get(task.key)
        common = {"key": task.key, "predictor": task.predictor.name, "title": title(task), "goal": task.goal.words}
        if task_model is None:
            why = list(lacks.get(task.key, ()))
            nothing: dict[str, Any] = {"passed": None, "ran": False, "reasons": why, "version": None}
            said = " ".join(why) or "No model stands yet: run `leadlight train`."
            found.append({**common, **nothing, "evaluation": {}, "curves": {}, "sentence": said})
            continue
        model = task_model[1]
        gate = with_staleness(run, gate_json(model))
        evaluation = dict(model.meta["evaluation"])
        found.append(
            {
                **common,
                **gate,
                "version": model.version,
                "trained_as_of": model.meta.get("as_of") or model.meta.get("until"),
                "training": model.meta.get("training"),
                "sentence": sentence(task.predictor.name, gate, evaluation),
                "evaluation": evaluation,
                "curves": model.meta.get("curves", {}),
                "choice": model.meta.get("choice"),
            }
        )
    return found


def title(task: Task) -> str:
    """The prediction's name for people, with the goal's where that is a further one."""
    name = TITLES.get(task.predictor.name, task.predictor.name.replace("_", " ").capitalize())
    return name if task.goal.name == "default" else f"{name} ({task.goal.name})"


def sentence(predictor: str, gate: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """Why to publish it or not, to someone who has never seen the project."""
    if not gate["passed"]:
        return " ".join(gate["reasons"]) or "A gate refuses it."
    if predictor == "lead_score":
        lift = evaluation["lift_top_decile"]
        return (
            f"Among the tenth of contacts it ranks highest, {lift['value']:.1f} times as many reach the goal "
            f"({evaluation['goal']}) as on average (95% sure: {lift['low']:.1f} to {lift['high']:.1f} times)"
            f"{_beside(evaluation['baselines'])}. Its percentages are off by "
            f"{100 * evaluation['calibration_error']:.1f} points on average. Measured on {evaluation['tested']:,} "
            f"cases, {_SPLITS.get(evaluation['split'], 'left out')}."
        )
    if predictor == "send_time":
        hit, plain = evaluation["hit_top3"], evaluation["baselines"]["global"]["hit_top3"]
        return (
            f"A contact's three best hours catch {hit['value']:.0%} of its later responses (95% sure: "
            f"{hit['low']:.0%} to {hit['high']:.0%}); everyone's three best hours catch {plain:.0%}. Measured on "
            f"{evaluation['events']:,} later responses of {evaluation['contacts']:,} contacts."
        )
    if predictor == "segments":
        return (
            f"{evaluation['k']} groups that are found again when contacts are drawn anew: agreement "
            f"{evaluation['stability']['value']:.2f} of 1 (at least {evaluation['stability']['low']:.2f})."
        )
    return "All gates passed."


#: What the plain rules are, for somebody who has to imagine them.
_RULES = {"recency": "calling whoever was active last", "present_score": "the score in use so far"}


def _beside(baselines: Mapping[str, Mapping[str, Any]]) -> str:
    """How far the best plain rule comes; nothing where there is none but chance."""
    rules = {name: one["lift_top_decile"] for name, one in baselines.items() if name in _RULES}
    known = {name: lift for name, lift in rules.items() if lift is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name])
    return f"; {_RULES[best]} comes to {known[best]:.1f} times"


def verdict(judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether to publish: `publish` is yes, partly, no or nothing, `headline` says it in words."""
    first = [one for one in judged if ":" not in one["key"]]
    good = [one["title"] for one in judged if one["passed"]]
    bad = [one["title"] for one in judged if one["passed"] is False]
    off = [one["title"] for one in first if one["passed"] is None]
    if not good and not bad:
        return {"publish": "nothing", "headline": "Nothing to publish yet: no prediction has been trained."}
    if not good:
        return {"publish": "no", "headline": f"Do not publish yet: {_and(bad)} did not pass."}
    if not bad and not off:
        return {"publish": "yes", "headline": "Yes, publish: every prediction passed its tests."}
    rest = [f"{_and(bad)} did not pass"] if bad else []
    rest += [f"{_and(off)} had no input"] if off else []
    return {"publish": "partly", "headline": f"Publish {_and(good)} only: {'; '.join(rest)}."}


def _and(titles: Sequence[str]) -> str:
    """Titles as one writes them within a sentence."""
    names = [titles[0], *(name[0].lower() + name[1:] for name in titles[1:])]
    names[0] = names[0][0].lower() + names[0][1:]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
