"""Charts as SVG: geometry worked out here, colours by class from the page's stylesheet, no style attribute.

Every chart has a title and a description for those who do not see it; pages put the figures in a table besides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 460, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40
#: Ends of an axis of shares whose quarters are round.
_SHARES = (0.04, 0.08, 0.2, 0.4, 0.6, 0.8, 1.0)
_INNER_WIDTH, _INNER_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM


def bars(
    values: Sequence[float],
    labels: Sequence[str],
    *,
    title: str,
    axis: str,
    before: Sequence[float | None] | None = None,
    every: int = 1,
    unit: str = "",
) -> Markup:
    """Upright bars, with marks at what stood `before`; each `every`-th label is written."""
    top = _round_up(max([*values, *(one for one in before or () if one is not None), 0]))
    step = _INNER_WIDTH / max(1, len(values))
    parts = [_grid(top, unit)]
    for place, value in enumerate(values):
        x, height = _LEFT + place * step, _INNER_HEIGHT * value / top
        said = escape(f"{labels[place]}: {value:,.0f}{unit}")
        parts.append(
            Markup(
                '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
            ).format(x + step * 0.1, _TOP + _INNER_HEIGHT - height, step * 0.8, height, said)
        )
        mark = before[place] if before is not None else None
        if mark is not None:
            y = _TOP + _INNER_HEIGHT * (1 - mark / top)
            parts.append(
                Markup('<line class="mark" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                    x, x + step, y, y
                )
            )
        if place % every == 0:
            parts.append(_text(x + step / 2, _HEIGHT - 22, labels[place], "tick middle"))
    parts.append(_text(_LEFT + _INNER_WIDTH / 2, _HEIGHT - 4, axis, "axis middle"))
    most = max(range(len(values)), key=lambda place: values[place]) if values else 0
    told = f"Highest at {labels[most]}: {values[most]:,.0f}{unit}." if values else "No values."
    return _svg(title, told, parts)


def calibration(points: Sequence[Mapping[str, float]]) -> Markup:
    """Found rates over promised probabilities, with 95% intervals, beside the line of kept promises."""
    most = max([*(one["high"] for one in points), *(one["promised"] for one in points)], default=0.0)
    top = next((size for size in _SHARES if most <= size), 1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + _INNER_WIDTH * x / top, _TOP + _INNER_HEIGHT * (1 - y / top)

    parts = [_share_grid(top, top), _path([at(0, 0), at(top, top)], "ideal")]
    for one in points:
        x, low = at(one["promised"], one["low"])
        _, high = at(one["promised"], one["high"])
        parts.append(
            Markup('<line class="range" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(x, x, low, high)
        )
    parts.append(_path([at(one["promised"], one["found"]) for one in points], "line"))
    for one in points:
        x, y = at(one["promised"], one["found"])
        said = f"promised {one['promised']:.1%}, came {one['found']:.1%}"
        parts.append(
            Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>').format(
                x, y, said
            )
        )
    parts.append(_text(_LEFT + _INNER_WIDTH / 2, _HEIGHT - 4, "promised probability", "axis middle"))
    widest = max(points, key=lambda one: abs(one["promised"] - one["found"]), default=None)
    told = (
        "No points."
        if widest is None
        else f"On the dashed line a promise is kept. Widest apart: promised {widest['promised']:.1%}, "
        f"came {widest['found']:.1%}."
    )
    return _svg("What was promised and what came", told, parts)


def gain(points: Sequence[Mapping[str, float]]) -> Markup:
    """The share of all outcomes found in the best-ranked share of contacts, beside drawing them by lot."""

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + _INNER_WIDTH * x, _TOP + _INNER_HEIGHT * (1 - y)

    line = [at(one["contacts"], one["outcomes"]) for one in points]
    area = [at(0, 0), *line, at(1, 0)]
    parts = [_path(area, "area"), _share_grid(1, 1), _path([at(0, 0), at(1, 1)], "ideal"), _path(line, "line")]
    for one in points:
        if one["contacts"] in (0.1, 0.2, 0.5):
            x, y = at(one["contacts"], one["outcomes"])
            parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(x, y))
            parts.append(_text(x + 8, y + 14, f"{one['outcomes']:.0%}", "label"))
    parts.append(
        _text(_LEFT + _INNER_WIDTH / 2, _HEIGHT - 4, "share of contacts worked, best first", "axis middle")
    )
    fifth = next((one["outcomes"] for one in points if one["contacts"] == 0.2), None)
    told = (
        "" if fifth is None else f"The best fifth of the contacts holds {fifth:.0%} of those who reach the goal."
    )
    return _svg("How many one finds by working the best first", told, parts)


def ranges(rows: Sequence[Mapping[str, Any]], *, title: str, low: float, high: float) -> Markup:
    """A dot a row (label, value, said; low and high where there is an interval) on one axis; the first is ours."""
    height = 34 * len(rows) + 34
    left, width = 170, _WIDTH - 170 - 60

    def x_of(value: float) -> float:
        return left + width * (min(max(value, low), high) - low) / (high - low)

    parts = []
    for place, row in enumerate(rows):
        y = 20 + 34 * place
        ours = "ours" if place == 0 else "theirs"
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(left, left + width, y, y)
        )
        parts.append(_text(left - 10, y + 5, row["label"], "label end"))
        if row.get("low") is not None:
            parts.append(
                Markup('<line class="range" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(
                    x_of(row["low"]), x_of(row["high"]), y, y
                )
            )
        parts.append(
            Markup('<circle class="dot {}" cx="{:.1f}" cy="{}" r="6"/>').format(ours, x_of(row["value"]), y)
        )
        parts.append(_text(_WIDTH - 48, y + 5, row["said"], "label"))
    ticks = (low, (low + high) / 2, high)
    parts.extend(_text(x_of(value), height - 8, f"{value:.2g}", "tick middle") for value in ticks)
    told = "; ".join(f"{row['label']} {row['said']}" for row in rows)
    return _svg(title, told, parts, height=height)


def shape(points: Sequence[Mapping[str, Any]], *, title: str, number: bool) -> Markup:
    """A driver's curve: log-odds over values (`number`) or by category, zero marked."""
    width, height = 220, 70
    values = [one["log_odds"] for one in points]
    reach = max([abs(value) for value in values] + [0.1])
    middle = height / 2
    ends = [one["value"] for one in points] if number else list(range(len(points)))
    first, last = (ends[0], ends[-1]) if ends else (0, 1)
    parts = [Markup('<line class="zero" x1="0" x2="{}" y1="{}" y2="{}"/>').format(width, middle, middle)]
    step = width / max(1, len(points))
    places = []
    for place, one in enumerate(points):
        y = middle - one["log_odds"] / reach * (middle - 6)
        if number:
            # by rank, not by value: a few far-off values would squeeze all others together
            places.append((6 + (width - 12) * place / max(1, len(points) - 1), y))
            continue
        kind = "for" if one["log_odds"] >= 0 else "against"
        parts.append(
            Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                kind, place * step + 2, min(y, middle), max(2, step - 4), abs(y - middle)
            )
        )
    if number:
        parts.append(_path(places, "line"))
        parts += [Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(x, y) for x, y in places]
    told = f"From {first} to {last}." if number and points else "By category, the most frequent first."
    return _svg(title, told, parts, width=width, height=height)


def _svg(title: str, told: str, parts: Sequence[Markup], *, width: int = _WIDTH, height: int = _HEIGHT) -> Markup:
    body = Markup("").join(parts)
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {} {}" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title><desc>{}</desc>{}</svg>"
    ).format(width, height, f"{title}. {told}".strip(), title, told, body)


def _grid(top: float, unit: str = "") -> Markup:
    parts = []
    for share in (0, 0.5, 1):
        y = _TOP + _INNER_HEIGHT * (1 - share)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                _LEFT, _WIDTH - _RIGHT, y, y
            )
        )
        parts.append(_text(_LEFT - 6, y + 4, f"{top * share:,.0f}{unit}", "tick end"))
    return Markup("").join(parts)


def _share_grid(top: float, right: float) -> Markup:
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y, x = _TOP + _INNER_HEIGHT * (1 - share), _LEFT + _INNER_WIDTH * share
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                _LEFT, _WIDTH - _RIGHT, y, y
            )
        )
        parts.append(_text(_LEFT - 6, y + 4, f"{top * share:.0%}", "tick end"))
        parts.append(_text(x, _HEIGHT - 22, f"{right * share:.0%}", "tick end" if share == 1 else "tick middle"))
    return Markup("").join(parts)


def _path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    steps = " ".join(f"{'M' if place == 0 else 'L'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))
    return Markup('<path class="{}" d="{}"/>').format(kind, steps)


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _round_up(value: float) -> float:
    """The next round number whose half is as round; at least 1."""
    size = 1.0
    while True:
        for step in (1, 2, 4, 6, 8) if size == 1 else (1, 2, 3, 4, 5, 6, 8):
            if value <= step * size:
                return step * size
        size *= 10
