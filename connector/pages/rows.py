"""Rows of the tables that stand beside charts, from the report's figures."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

from connector.pages.words import clock, decimal, month, percent, thousands
from scoring.features.sql import spoken

SCORE_LABELS = [str(5 * bar) for bar in range(20)]
HOUR_LABELS = [f"{hour:02d}" for hour in range(24)]

Json = Mapping[str, Any]


def gain_rows(points: Sequence[Json]) -> list[tuple[str, ...]]:
    return [
        (percent(one["contacts"]), percent(one["outcomes"]), f"{one['outcomes'] / one['contacts']:.1f}×")
        for one in points
        if one["contacts"]
    ]


def calibration_rows(points: Sequence[Json]) -> list[tuple[str, ...]]:
    return [
        (
            percent(one["promised"]),
            percent(one["found"]),
            f"{percent(one['low'])} to {percent(one['high'])}",
            thousands(one["rows"]),
        )
        for one in points
    ]


def month_rows(months: Sequence[Json]) -> list[list[str]]:
    """Figures by month of the as-of instant; months that only taught have none of the model's."""
    out = []
    for one in months:
        row = [month(one["month"]), thousands(one["rows"]), percent(one["base_rate"])]
        if one["tested"] and one["auc"]["value"] is not None:
            row.append(percent(one["mean_probability"]))
            row += [decimal(one["auc"]["value"]), decimal(one["calibration_error"], 3)]
        else:
            row += ["taught the model", "", ""]
        out.append(row)
    return out


def distribution_rows(distribution: Json) -> list[tuple[str, ...]]:
    stood = distribution["stood"] or [None] * len(distribution["now"])
    rows = zip(SCORE_LABELS, distribution["now"], stood, strict=True)
    return [(f"{label} to {int(label) + 5}", thousands(now), thousands(before)) for label, now, before in rows]


def hour_rows(when: Json) -> list[tuple[str, ...]]:
    rows = zip(range(24), when["advised"], when["sent"], when["answered"], strict=True)
    return [(clock(hour), *(thousands(value) for value in values)) for hour, *values in rows]


def answer_rates(when: Json) -> list[float]:
    """Answers per hundred mails by hour; 0 where hardly any mail was sent."""
    fewest = max(30, sum(when["sent"]) // 1000)
    pairs = zip(when["answered"], when["sent"], strict=True)
    return [100 * answered / sent if sent >= fewest else 0.0 for answered, sent in pairs]


def plan_size(plan: Json) -> str:
    """How much a plan would write: it is of contacts or of companies."""
    of = "companies" if plan.get("companies") else "contacts"
    return f"{thousands(plan[of])} {of}, {thousands(plan['value_count'])} values"


def moved_contacts(moves: Sequence[Json], before: str | None, now: str | None) -> str:
    found = next((one["contacts"] for one in moves if (one["from"], one["to"]) == (before, now)), None)
    return "" if found is None else thousands(found)


def lacking(lacks: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(name, " ".join(reasons)) for name, reasons in lacks.items() if reasons]


def odds(log_odds: float) -> str:
    """A mean contribution as people say it: "odds × 1.4"."""
    return f"moves the odds by a factor of {exp(log_odds):.2f}"


def times(log_odds: float) -> str:
    """What a value does to the odds: "× 1.4"."""
    return f"× {exp(log_odds):.2g}"


def month_rates(months: Sequence[Json]) -> list[float]:
    """Percent that reached the goal."""
    return [100 * one["base_rate"] for one in months]


def month_foretold(months: Sequence[Json]) -> list[float | None]:
    """Percent that was foretold; None for months that only taught."""
    return [
        100 * one["mean_probability"] if one["tested"] and "mean_probability" in one else None for one in months
    ]


def sentence(text: str) -> str:
    """With a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def driver_value(value: float, unit: str) -> str:
    return spoken(value, unit)  # type: ignore[arg-type]


def driver_rows(driver: Json) -> list[tuple[str, ...]]:
    number = driver["kind"] == "number"
    rows: list[tuple[str, ...]] = [
        (
            driver_value(one["value"], driver["unit"]) if number else str(one["value"]),
            f"{one['log_odds']:+.2f}",
            thousands(one["rows"]),
        )
        for one in driver["points"]
    ]
    if driver["missing"] is not None:
        rows.append(("not known", f"{driver['missing']:+.2f}", percent(driver["missing_share"])))
    return rows


FILTERS: dict[str, Any] = {
    one.__name__: one
    for one in (
        *(gain_rows, calibration_rows, month_rows, distribution_rows, hour_rows, answer_rates),
        *(moved_contacts, plan_size, lacking, odds, times, sentence),
        *(month_rates, month_foretold, driver_value, driver_rows),
    )
}
