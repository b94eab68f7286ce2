"""Figures and instants as people write them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape


def thousands(value: float | None) -> str:
    """12345.6 -> "12,346"; unknown is a dash."""
    return "–" if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """0.1234 -> "12%", 0.0123 -> "1.2%"."""
    if value is None:
        return "–"
    return f"{value:.0%}" if abs(value) >= 0.1 or value == 0 else f"{value:.1%}"


def decimal(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def interval(figure: Mapping[str, float] | None, digits: int = 2, *, share: bool = False) -> str:
    """A figure and its 95% interval: "0.89 (0.87 to 0.90)"."""
    if not figure or figure.get("value") is None:
        return "–"
    say = percent if share else lambda value: decimal(value, digits)
    low, high = figure.get("low"), figure.get("high")
    if low is None:
        return say(figure["value"])
    return f"{say(figure['value'])} ({say(low)} to {say(high)})" if high is not None else say(figure["value"])


def local(instant: str | datetime | None, zone: str) -> str:
    """A UTC instant as the account's people write it: "25 Nov 2026, 16:05"."""
    if instant is None:
        return "–"
    given = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    given = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
    there = given.astimezone(ZoneInfo(zone))
    return f"{there.day} {there:%b %Y, %H:%M}"


def month(text: str) -> str:
    """2026-03 -> "Mar 2026"."""
    return f"{date.fromisoformat(f'{text}-01'):%b %Y}"


def clock(hour: float | None) -> str:
    """6 -> "06:00"."""
    return "–" if hour is None else f"{int(hour):02d}:00"


def reasons(text: str | None) -> list[tuple[str, str]]:
    """("for" or "against", phrase) of a record's reasons; a text without signs is one note."""
    kinds = {"+ ": "for", "− ": "against"}
    parts = [part for part in (text or "").split("; ") if part]
    return [(kinds[part[:2]], part[2:]) if part[:2] in kinds else ("note", part) for part in parts]


_PLATFORMS = {"hubspot": "HubSpot", "salesforce": "Salesforce", "files": "Your files"}


def platform(name: str) -> str:
    """A platform's name as it writes itself."""
    return _PLATFORMS.get(name, name)


def weeks(number: float) -> str:
    """26 -> "26 weeks", 2778 -> "2,778 weeks (53 years)"."""
    return f"{number:,.0f} weeks" if number < 104 else f"{number:,.0f} weeks ({number / 52.18:,.0f} years)"


def code(text: str) -> Markup:
    """Commands between backticks, set apart; the rest is escaped."""
    parts = [
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def plain(name: str) -> str:
    """A name of the program's as words: "logistic_regression" -> "logistic regression"."""
    return name.replace("_", " ")


#: What the rules beside a send time are, in words.
RULES = {
    "global": "everyone's hours",
    "personal_histogram": "the contact's raw counts",
    "default": "everyone's hours, corrected for mails sent",
}


def rule(name: str, basis: str | None = None) -> str:
    """A rule beside a send time; without known sends (`basis` "activity") nothing was corrected for them."""
    if name == "default" and basis == "activity":
        return "everyone's hours, each visit once"
    return RULES.get(name, plain(name))


FILTERS: dict[str, Any] = {
    one.__name__: one
    for one in (
        thousands,
        percent,
        decimal,
        interval,
        local,
        month,
        clock,
        reasons,
        plain,
        rule,
        platform,
        weeks,
        code,
    )
}
