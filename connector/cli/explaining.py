"""One contact's predictions, explained."""

from collections.abc import Mapping as Keyed
from math import exp
from typing import Annotated, Any

import typer

from connector import console
from connector.cli.answering import AsOf, Config, Json, Mapping, PlatformName, answering, chosen
from connector.cli.performing import perform
from connector.pages.words import local

#: Reasons and changes that are printed; the JSON has all.
_SHOWN = 8
#: Log-odds below which a reason is counted, not printed.
_SMALL = 0.02
#: Whose hours the best time to send follows.
_HABITS = {
    "personal": "by the contact's own habit",
    "segment": "by the habit of people alike",
    "default": "by everyone's habit",
}
_ZONES = {
    "record": "In the contact's own time ({zone}).",
    "country": "In the contact's own time ({zone}, by the country).",
    "account": "In the account's time ({zone}): the contact's own zone is not known.",
}


def explain(
    contact: Annotated[str, typer.Argument(help="A contact's id on the platform, or its e-mail address.")],
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    as_of: AsOf = None,
    days: Annotated[int, typer.Option("--days", min=1, help="Days of history to show.")] = 30,
    json: Json = False,
) -> None:
    """Why a contact has the score it has, and what would change it most. Reads the mirror only, calls nothing.

    Examples:

        leadlight explain 4711

        leadlight explain 4711 --platform files --mapping mapping.toml --json
    """
    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, mapping)
        params = {"contact": contact, "days": days}
        answer.result = perform(settings, "explain", params, progress=progress, as_of=as_of).result
        _printed(answer.result)


def _printed(told: Keyed[str, Any]) -> None:
    console.heading(f"Contact {told['contact_id']}, as of {local(told['as_of'], 'UTC')} UTC")
    _score(told)
    for goal, further in told.get("further", {}).items():
        console.heading(f"Goal {goal}")
        _score(further)
    _when_and_who(told)
    _history(told["history"])


def _score(told: Keyed[str, Any]) -> None:
    if told["score"] is None:
        console.say(f"No lead score. {told['why_no_score']}")
        return
    console.say(
        f"Score {told['score']:.0f}, grade {told['grade']}: {told['probability']:.1%} likely to reach "
        f"the goal ({told['goal']}), confidence {told['confidence']}."
    )
    if told["gates"]["passed"] is False:
        console.say("This model is refused, so nothing of it is written: " + " ".join(told["gates"]["reasons"]))
    large = [one for one in told["reasons"] if abs(one["log_odds"]) >= _SMALL]
    for title, sign in (("For", 1), ("Against", -1)):
        console.heading(title)
        _reasons([one for one in large if one["log_odds"] * sign > 0])
    small = len(told["reasons"]) - len(large)
    if small:
        console.say(f"  {small} more hardly {'matters' if small == 1 else 'matter'}.")
    if not all(one["proven"] for one in large):
        console.say(
            "  * In the score, but never named on the record: it did not prove itself on contacts that the model "
            "had not seen, or is only something that is not known."
        )
    console.heading("What would change it most")
    for change in told["would_change_most"][:_SHOWN]:
        whose = "" if change["can_act"] else " (a fact, not an action)"
        console.say(f"  {change['score']} → {change['score_then']}: {change['then']}; now: {change['now']}{whose}")
    if not told["would_change_most"]:
        console.say("  No single change within what other contacts have done.")


def _reasons(reasons: list[Keyed[str, Any]]) -> None:
    for one in reasons[:_SHOWN]:
        unproven = "" if one["proven"] else " *"
        console.say(f"  {one['points']:+5.1f} points, odds × {_factor(one['odds'])}: {one['text']}{unproven}")
    if len(reasons) > _SHOWN:
        rest = exp(sum(one["log_odds"] for one in reasons[_SHOWN:]))
        console.say(f"  and {len(reasons) - _SHOWN} more, together odds × {_factor(rest)}.")
    if not reasons:
        console.say("  Nothing.")


def _factor(odds: float) -> str:
    return f"{odds:.0f}" if odds >= 10 else f"{odds:.2f}"


def _when_and_who(told: Keyed[str, Any]) -> None:
    time, segment = told["send_time"], told["segment"]
    if time is not None:
        day = f", best on {time['weekday'].capitalize()}" if time["weekday"] else ""
        console.say(f"\nBest time to send: {time['hour']:02d}:00{day}, {_HABITS[time['source']]}.")
        console.say(f"  {_ZONES[time['zone_from']].format(zone=time['zone'])}")
    if segment is not None:
        description = f": {segment['description']}" if segment["description"] else ""
        size = f" ({segment['contacts']:,} contacts)" if segment["contacts"] and not description else ""
        console.say(f"Segment: {segment['name']}{size}{description}")


def _history(told: Keyed[str, Any]) -> None:
    console.heading("What the models saw, newest first")
    for day in told["days"]:
        console.say(f"  {day['day']}  " + "; ".join(entry["text"] for entry in day["entries"]))
    if told["earlier_days"]:
        console.say(f"  … and {told['earlier_days']} earlier day{'' if told['earlier_days'] == 1 else 's'}.")
    if not told["days"]:
        console.say("  No activity is known.")
