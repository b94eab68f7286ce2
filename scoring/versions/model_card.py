"""The model card: what a person should know of a model before trusting it, as Markdown, from its meta alone.

Every figure is taken from `meta` as it stands there; what `meta` lacks is left out, never guessed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scoring.model import Model

_SPLITS = {
    "time": "later snapshots than those that taught, each contact by a model that never saw the person",
    "cv": "contacts left out in turn (cross-validation by person): no split by time was possible, so the figures "
    "say nothing of how the future differs from the past",
    "order": "the last fifth of the rows, which stand in time order",
}
_TITLES = {"lead_score": "Lead score", "send_time": "Send time", "segments": "Segments"}
_PLAIN = {
    "base_rate": "base rate (the same for everyone)",
    "recency": "recency rule (who did something last)",
    "logistic_regression": "logistic regression",
    "spline_logistic": "spline logistic regression",
    "glass_box": "glass box (additive tables and ten pairs)",
    "lightgbm": "boosted trees (LightGBM, depth 6)",
    "average": "average of all candidates",
}
#: What the rules beside a send time are.
_HOURS = {
    "global": "everyone's hours",
    "personal_histogram": "the contact's raw counts of hours",
    "default": "everyone's hours as they are used",
}
_BASES = {
    "activity": "- Too few sends known: these are people's active hours, not corrected for when mail was sent.",
    "exposure": "- Hours are judged by responses per mail delivered in them, not by mere counts.",
}
_DRIVERS = 12
_TURNS = {
    "up": "; more of it raises the score",
    "down": "; more of it lowers the score",
    "mixed": "; more of it helps some and hurts others",
}

Json = Mapping[str, Any]


def card(model: Model) -> str:
    """The card of a model of any predictor, in plain English."""
    lines = [f"# {_TITLES.get(model.predictor, model.predictor)}: {model.version}", ""]
    meta = model.meta
    evaluation: Json = meta.get("evaluation", {})
    lines += [*_purpose(model, evaluation), ""]
    parts = {"lead_score": _lead_score, "send_time": _send_time, "segments": _segments}
    for title, body in (
        ("Data", _data(meta, evaluation)),
        ("Figures", list(parts[model.predictor](evaluation)) if model.predictor in parts and evaluation else []),
        ("Candidates", _candidates(evaluation)),
        ("What drives it", _drivers(meta)),
        ("Leaks left out", _leaks(evaluation)),
        ("What moved", _moved(evaluation)),
        ("Gates", _gates(evaluation)),
        ("How it came into use", _choice(meta)),
        ("Limits of use", _limits(model, evaluation)),
        ("Made with", [f"- {name} {version}" for name, version in sorted(meta.get("libraries", {}).items())]),
    ):
        if body:
            lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines)


def _purpose(model: Model, evaluation: Json) -> list[str]:
    goal = _goal(model.meta, evaluation)
    what = {
        "lead_score": f"How likely a contact is to reach the goal: {goal}.",
        "send_time": "The hour and weekday at which a contact is most likely to respond, in its own time zone.",
        "segments": "Groups of contacts that behave alike, with ids and names that outlive a refit.",
    }.get(model.predictor, "")
    verdict = {True: "Passed its gates.", False: "**Refused by its gates: nothing of it is written.**"}
    return [" ".join(filter(None, [what, verdict.get(evaluation.get("passed"), "")]))]  # type: ignore[arg-type]


def _goal(meta: Json, evaluation: Json) -> str:
    return str(evaluation.get("goal") or (meta["goal"] if isinstance(meta.get("goal"), str) else "the goal"))


def _data(meta: Json, evaluation: Json) -> list[str]:
    lines = []
    at = meta.get("as_of") or meta.get("until")
    if at:
        lines.append(f"- Data up to {_instant(at)} UTC.")
    training: Json = meta.get("training", {})
    instants: Sequence[str] = training.get("instants", ())
    if len(instants) > 1:
        lines.append(
            f"- Contacts as they were at {len(instants)} past instants, {_instant(instants[0])} to "
            f"{_instant(instants[-1])} UTC."
        )
    elif instants:
        lines.append(f"- Contacts as they were at one instant, {_instant(instants[0])} UTC.")
    goal = meta.get("goal")
    if instants and isinstance(goal, Mapping) and goal.get("event"):
        lines.append(f"- Outcomes counted for {goal['horizon_days']} days after each instant.")
    if "rows" in training:
        lines.append(f"- {training['rows']:,} rows, {training['positives']:,} of them reached the goal.")
    if evaluation.get("tested") is not None:
        lines.append(f"- Measured on {evaluation['tested']:,} rows: {_SPLITS.get(evaluation['split'], '')}.")
    if training.get("fingerprint"):
        lines.append(f"- Fingerprint of the training data: `{training['fingerprint']}`.")
    trained_on: Json = meta.get("trained_on", {})
    lines += [f"- Learnt from {value:,} {_SEEN.get(name, name)}." for name, value in trained_on.items()]
    lines += filter(None, [_BASES.get(str(meta.get("basis")))])
    return lines


_SEEN = {"contacts": "contacts with enough responses", "events": "responses"}


def _instant(text: str) -> str:
    """2026-11-01T00:00:00 -> "2026-11-01 00:00"."""
    return text.replace("T", " ")[:16]


def number(value: Any) -> str:
    """A figure as it stands in meta; with its interval where it has one."""
    if isinstance(value, Mapping):
        low, high = value.get("low"), value.get("high")
        around = f" ({number(low)} to {number(high)})" if high is not None else f" (at least {number(low)})"
        return number(value.get("value")) + ("" if low is None else around)
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.10g}"


def _lead_score(evaluation: Json) -> Iterator[str]:
    yield "On rows that the model had not seen; in brackets the 95% interval."
    yield ""
    yield "| | AUC | lift in the top tenth | gain in AUC over it |"
    yield "| --- | --- | --- | --- |"
    yield (
        f"| **this model ({_PLAIN.get(evaluation.get('model', ''), evaluation.get('model', ''))})** | "
        f"{number(evaluation.get('auc'))} | {number(evaluation.get('lift_top_decile'))} | |"
    )
    for name, one in evaluation.get("baselines", {}).items():
        gain = number(one["gain"]) if "gain" in one else ""
        yield f"| {_PLAIN.get(name, name)} | {number(one['auc'])} | {number(one['lift_top_decile'])} | {gain} |"
    yield ""
    for key, words in (
        ("average_precision", "Average precision"),
        ("brier", "Brier score"),
        ("log_loss", "Log loss"),
        ("calibration_error", "Calibration error over ten equal groups"),
        ("calibration_limit", "What a perfect model of this size stays below in 95% of cases"),
    ):
        if evaluation.get(key) is not None:
            yield f"- {words}: {number(evaluation.get('intervals', {}).get(key, evaluation[key]))}"
    yield from _by_month(evaluation.get("by_month", ()))


def _by_month(months: Sequence[Json]) -> Iterator[str]:
    if len(months) < 2:
        return
    yield ""
    yield "By the month that contacts were looked at in; months without an AUC taught the model."
    yield ""
    yield "| month | rows | reached the goal | foretold | AUC | calibration error |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in months:
        tested = (
            [number(one[key]) for key in ("mean_probability", "auc", "calibration_error")]
            if one["tested"]
            else 3 * [""]
        )
        yield f"| {' | '.join([one['month'], number(one['rows']), number(one['base_rate']), *tested])} |"


def _send_time(evaluation: Json) -> Iterator[str]:
    yield "On each contact's own later responses; shares of responses that fell into the hours that were foretold."
    yield "Fewer bits are better: 4.585 are those of all hours alike. In brackets the 95% interval."
    yield ""
    yield from _hours(evaluation)
    yield ""
    for key, words in (
        ("contacts", "Contacts measured"),
        ("events", "Responses"),
        ("personal_share", "Share with an hour of their own"),
    ):
        if evaluation.get(key) is not None:
            yield f"- {words}: {number(evaluation[key])}"
    if evaluation.get("later_weeks"):
        yield ""
        yield "The same on later weeks, which nobody's hours were learnt from."
        yield ""
        yield from _hours(evaluation["later_weeks"])


def _hours(figures: Json) -> Iterator[str]:
    columns = {
        "hit_top1": "in the best hour",
        "hit_top3": "in the best three",
        "log_loss_bits": "bits per response",
    }
    yield f"| | {' | '.join(columns.values())} |"
    yield "| --- | --- | --- | --- |"
    for name, row in {"**this model**": figures, **figures.get("baselines", {})}.items():
        yield f"| {_HOURS.get(name, name)} | {' | '.join(number(row.get(key)) for key in columns)} |"


def _segments(evaluation: Json) -> Iterator[str]:
    told = {one["id"]: one for one in evaluation.get("segments", ())}
    yield "| segment | contacts | reached the goal | worth each | best reached by |"
    yield "| --- | --- | --- | --- | --- |"
    for key, size in evaluation.get("sizes", {}).items():
        one = told.get(key, {})
        known = [one.get(name) for name in ("conversion_rate", "value")]
        cells = [number(size), *("" if value is None else number(value) for value in known)]
        name = evaluation.get("names", {}).get(key, key)
        yield f"| {name} | {' | '.join([*cells, one.get('reached_by') or ''])} |"
    yield ""
    membership: Json = evaluation.get("membership", {})
    for value, words in (
        (evaluation.get("k"), "Groups"),
        (
            evaluation.get("stability"),
            "Found again when contacts are resampled (adjusted Rand index; 1 is always)",
        ),
        (evaluation.get("separation"), "Separation (silhouette; 0 is touching, 1 is far apart)"),
        (
            evaluation.get("outcome_information"),
            "What groups say about what came after (adjusted mutual information; 0 is nothing)",
        ),
        (membership.get("moved_share"), "Share that changed segment since the start of the month"),
        (membership.get("stale_share"), "Share that stays in its segment though another is nearer now"),
    ):
        if value is not None:
            yield f"- {words}: {number(value)}"


def _candidates(evaluation: Json) -> list[str]:
    lines = [
        f"- {_PLAIN.get(one['model'], one['model'])}: AUC {number(one['auc'])}, log loss {number(one['log_loss'])}"
        for one in evaluation.get("candidates", ())
    ]
    cost = evaluation.get("glass_box_cost")
    if cost is not None:
        lines += ["", f"Choosing the glass box costs {number(cost)} in AUC against the best candidate."]
    return lines


def _drivers(meta: Json) -> list[str]:
    """What moves scores most and has proved itself, with the direction where that was measured."""
    named = dict(zip(meta.get("features", ()), meta.get("named", ()), strict=False))
    told = meta.get("drivers")
    if told:
        kept = [one for one in told if named.get(one.get("feature"), True)]
        lines = [
            f"- {_begun(one['label'])}: {_weight(one)}{_way(one.get('direction'))}" for one in kept[:_DRIVERS]
        ]
    else:
        told = meta.get("effects", ())
        kept = [one for one in told if one["proven"]]
        lines = [
            f"- {_begun(one['group'])}: {_weight(one)}{_TURNS.get(one['direction'], '')}"
            for one in kept[:_DRIVERS]
        ]
    if lines:
        lines = [
            "How far each moves the score, for or against: 0.1 log-odds are a tenth of the odds, 0.7 twice them.",
            "",
            *lines,
        ]
    if len(kept) < len(told):
        lines += [
            "",
            f"{len(told) - len(kept)} more did not prove themselves on rows that the model had not seen: "
            "they are never given as reasons.",
        ]
    return lines


def _begun(words: str) -> str:
    return words[:1].upper() + words[1:]


def _weight(one: Json) -> str:
    return f"{number(one['weight'])} log-odds on average"


def _way(direction: float | None) -> str:
    if direction is None:
        return ""
    return _TURNS["mixed" if abs(direction) < 0.2 else "up" if direction > 0 else "down"]


def _leaks(evaluation: Json) -> list[str]:
    found = [f"- {one['property']} ({one['action']}): {one['why']}" for one in evaluation.get("leaks", ())]
    if found:
        found += ["", f"With them the AUC would be {number(evaluation.get('auc_with_leaks'))}."]
    elif "leaks" in evaluation:
        found = ["None were found."]
    return found


def _moved(evaluation: Json) -> list[str]:
    lines = []
    for one in evaluation.get("drift", ()):
        if one.get("name") == "base_rate":
            lines.append(
                f"- Share that reached the goal: {number(one['before'])} before, {number(one['after'])} after."
            )
        elif "psi" in one:
            lines.append(f"- {one['name']}: population stability index {number(one['psi'])} (above 0.25 is much).")
    return lines


def _gates(evaluation: Json) -> list[str]:
    if "passed" not in evaluation:
        return []
    if evaluation["passed"]:
        return ["All passed."]
    return [f"- {reason}" for reason in evaluation.get("reasons", ())]


def _choice(meta: Json) -> list[str]:
    choice: Json = meta.get("choice") or {}
    lines = [str(choice["why"])] if choice.get("why") else []
    if "loss_difference" in choice:
        lines.append(
            f"Log loss, this model minus {choice['champion']}: {number(choice['loss_difference'])} "
            f"on {number(choice['rows'])} rows."
        )
    return lines


def _limits(model: Model, evaluation: Json) -> list[str]:
    common = ["- Made from one account's data for that account: it says nothing of other businesses."]
    if model.predictor != "lead_score":
        return common
    lines = [
        *common,
        "- A contact's reasons say what the model goes by, not what causes an outcome.",
        "- Not for decisions about a person that have legal or similar effect (credit, employment, insurance).",
    ]
    if evaluation.get("split") == "cv":
        lines.append("- No split by time was possible: expect figures somewhat below these on new contacts.")
    if evaluation.get("positives") is not None and evaluation["positives"] < 1000:
        lines.append(f"- Learnt from {evaluation['positives']:,} conversions: the intervals above are wide.")
    return lines
