"""What `leadlight report --fairness` prints."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from connector import console

#: Below this share of the best-treated group's rate of A and B grades, a reader should ask why (the four-fifths
#: rule of the US Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D; a rule of thumb).
FOUR_FIFTHS = 0.8


def print_fairness(found: Mapping[str, Any]) -> None:
    """One table for each protected property, with what stands out below it."""
    for one in found.values():
        console.heading(f"By group: {one['goal']}")
        for lack in one["lacks"]:
            console.say(f"  {lack}")
        if not one["lacks"] and not one["properties"]:
            console.say(
                "  No protected property with groups of enough people: nothing to compare. "
                "Name further topics with protected = [...]."
            )
        for audited in one["properties"]:
            _property(audited)


def _property(audited: Mapping[str, Any]) -> None:
    figures = ("People", "Reached", "Foretold", "A or B", "AUC", "Missed", "False")
    table = Table(escape(audited["label"]), *figures)
    for group in audited["groups"]:
        table.add_row(
            escape(group["group"]),
            f"{group['people']:,}",
            f"{group['base_rate']:.1%}",
            f"{group['mean_probability']:.1%}",
            f"{group['acted_on']:.1%}",
            _auc(group["auc"]),
            _share(group["false_negative_rate"]),
            _share(group["false_positive_rate"]),
        )
    console.console.print(table)
    console.say("  Missed: of those who reached it, graded C or D. False: of the others, graded A or B.")
    for group in audited["groups"]:
        gap = group["calibration_gap"]
        if gap["low"] > 0 or gap["high"] < 0:
            high = "too high" if gap["low"] > 0 else "too low"
            console.say(f"  Probabilities are {high} for {group['group']}, by {abs(gap['value']):.1%} on average.")
    ratio = audited["ratio"]
    if ratio is not None and ratio < FOUR_FIFTHS:
        console.say(f"  The least favoured group gets A or B {ratio:.0%} as often as the most favoured: ask why.")


def _auc(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return ""
    return f"{figure['value']:.2f} ± {(figure['high'] - figure['low']) / 2:.2f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
