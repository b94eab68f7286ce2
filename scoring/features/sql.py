"""What a feature is, and the small builder that puts features together as SQL.

Every feature belongs to a source: a query with one row per pair of contact and instant. Features of one source
are computed in one pass. Weights and money are summed as whole thousandths and cents, so that a sum does not
depend on the order in which an engine adds.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scoring.engine import quoted

Unit = Literal["count", "days", "span", "money", "share", "number", "text", "flag"]

DAY = 86400


@dataclass(frozen=True)
class Feature:
    """A column that predictors learn from, and how to speak of it."""

    name: str
    kind: Literal["number", "category"]
    #: What a marketer would call one thing ("pricing page visits").
    group: str
    #: The CRM property (internal name) it comes from; None for what was computed as of the instant.
    property: str | None
    label: str
    unit: Unit
    #: "visited the pricing page {value} in 7 days"; the value comes with its unit ("4 times", "12 days ago").
    phrase: str
    #: What to say when the value is missing, and, of what was computed, when it is zero (a property's zero is a
    #: value like any other); None: zero or missing is never a reason.
    phrase_none: str | None
    #: The categories kept, where there were too many (all else is OTHER); for a member flag, the member.
    levels: tuple[str, ...] = ()
    #: (value, label) of options whose label differs from the stored value.
    options: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON types; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Feature":
        options = tuple((str(value), str(label)) for value, label in given.get("options", ()))
        return cls(**{**given, "levels": tuple(given.get("levels", ())), "options": options})

    def sentence(self, value: float | str | None) -> str | None:
        """The feature with a contact's value as a marketer would say it; None when there is nothing to say."""
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, str):
            return self.phrase.replace("{value}", dict(self.options).get(value, value.replace("_", " ")))
        nothing = self.unit != "days" and round(value, 3 if self.unit in ("share", "number") else 0) == 0
        if nothing and (self.property is None or self.phrase_none is None):
            return self.phrase_none
        return self.phrase.replace("{value}", spoken(value, self.unit))


#: SQL type of a feature's column by its kind.
SQL_TYPES = {"number": "double", "category": "varchar"}
#: The name of all categories beyond the most frequent ones.
OTHER = "(other)"


def spoken(value: float, unit: Unit) -> str:
    """A number with its unit in words: "4 times", "12 days ago", "12 days", "35%", "yes"."""
    whole = round(value)
    if unit == "count":
        return "once" if whole == 1 else f"{whole:,} times"
    if unit == "days":
        return _days(whole)
    if unit == "span":
        return "day" if whole <= 1 else f"{whole:,} days"
    if unit == "share":
        return f"{value:.0%}" if abs(value) >= 0.01 else f"{value:.1%}"
    if unit == "flag":
        return "yes" if whole else "no"
    if unit == "money":
        return f"{whole:,}"
    if abs(value) >= 100:
        return f"{whole:,}" if abs(value) >= 1e4 else str(whole)
    return f"{value:.3g}"


def _days(whole: int) -> str:
    if whole == 0:
        return "today"
    count = f"{abs(whole):,} day{'' if abs(whole) == 1 else 's'}"
    return f"{count} ago" if whole > 0 else f"in {count}"


@dataclass(frozen=True)
class Computed:
    """A feature and the SQL expression that gives it, over the rows of its source."""

    feature: Feature
    sql: str
    #: Event kinds without any of which it cannot vary; empty when it may.
    kinds: tuple[str, ...] = ()


def whole_days(seconds: str) -> str:
    """SQL for whole days in some seconds."""
    return f"floor(({seconds}) / {DAY}.0e0)"


def select_list(computed: list[Computed]) -> str:
    """The columns of a source, typed as features are."""
    return ", ".join(
        f"cast({one.sql} as {SQL_TYPES[one.feature.kind]}) as {quoted(one.feature.name)}" for one in computed
    )
