"""Names of segments in a marketer's words, from what sets each apart from the others."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

UNKNOWN_ID, UNKNOWN_NAME = "s0", "Too little known"

#: Mean rank (0 to 1) from which a group is high, or below which it is low, in something.
HIGH, LOW = 0.62, 0.38
#: What a group is called after: channel -> noun, in order of weight when equal.
_NOUNS = {
    "buy": "buyers",
    "talk": "contacts in conversation",
    "form": "form senders",
    "web": "website visitors",
    "reply": "repliers",
    "click": "mail clickers",
    "open": "mail openers",
    "message": "message readers",
    "ad": "ad clickers",
}


def names(profiles: npt.NDArray[np.float64], columns: Sequence[str], actors: str) -> list[str]:
    """One unique name a row of `profiles`: mean ranks by group and column.

    `actors` is what contacts are called where no channel sets a group apart ("buyers", "contacts").
    """
    told = [dict(zip(columns, row, strict=True)) for row in profiles.tolist()]
    taken: list[str] = []
    for means in told:
        name = _name(means, actors)
        for more in _further(means):
            if name not in taken:
                break
            name = f"{_name(means, actors)}, {more}"
        taken.append(_unlike(name, taken))
    return taken


def _unlike(name: str, taken: Sequence[str]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name} ({number})", number + 1
    return candidate


def _name(means: Mapping[str, float], actors: str) -> str:
    if means.get("open", 0.5) >= HIGH and means.get("click", 0.5) <= LOW:
        return _sentence([_recency(means), "openers who never click"])
    return _sentence([_frequency(means), _recency(means), _noun(means, actors)])


def _sentence(words: Sequence[str]) -> str:
    text = " ".join(word for word in words if word)
    return text[:1].upper() + text[1:]


def _recency(means: Mapping[str, float]) -> str:
    return _degree(means.get("recency", 0.5), "recent", "lapsed")


def _frequency(means: Mapping[str, float]) -> str:
    return _degree(means.get("frequency", 0.5), "frequent", "occasional")


def _degree(mean: float, high: str, low: str) -> str:
    return high if mean >= HIGH else low if mean <= LOW else ""


def _noun(means: Mapping[str, float], actors: str) -> str:
    value = means.get("value", 0.5)
    if value >= 0.7:
        return "high spenders"
    if value <= 0.25 and means.get("buy", 0.5) > LOW:  # who hardly buys spends nothing, not little
        return "low spenders"
    known = {name: means[name] for name in _NOUNS if name in means}
    if known and max(known.values()) >= HIGH - 0.04:
        return _NOUNS[max(known, key=lambda name: known[name])]
    return actors


def _further(means: Mapping[str, float]) -> list[str]:
    """What else sets the group apart, the strongest first, in words that can follow a comma."""
    said = {
        "weekend": ("at weekends", "on weekdays"),
        "evening": ("in the evening", "by day"),
        "recency": ("lately active", "longer away"),
        "frequency": ("often there", "seldom there"),
        "value": ("spending more", "spending less"),
        "depth": ("on many days", "on few days"),
        **{name: (f"more than most {noun}", f"hardly {noun}") for name, noun in _NOUNS.items()},
    }
    apart = sorted(means.items(), key=lambda item: (-abs(item[1] - 0.5), item[0]))
    words = []
    for name, mean in apart:
        if name.startswith("interest:"):
            topic = name.removeprefix("interest:").strip("/").replace("-", " ").replace("_", " ").lower()
            words.append(f"{'keen on' if mean > 0.5 else 'little interest in'} {topic}")
        elif name in said:
            words.append(said[name][0 if mean > 0.5 else 1])
    return words
