"""How well hours are foretold: on each contact's own later part, and on later weeks for everyone.

Responses of a contact count as one bootstrap unit: draws are of contacts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scoring.hours.profiles import HOURS, INNER, Profiles, evenly, hours, learn, normalised
from scoring.hours.responses import Floats, Ints, Reading, Responses

TRAIN = 0.7
DRAWS = 400
#: Added to each hour's count, so that the raw personal histogram never calls an hour impossible.
HISTOGRAM_PRIOR = 0.1

Flags = npt.NDArray[np.bool_]
Split = Callable[[Responses, float], Flags]
#: Profiles and what is known of a contact's past to the day that would be used, and where it is from.
Choose = Callable[[Profiles, Responses], tuple[Floats, Ints]]


def by_contact(seen: Responses, share: float) -> Flags:
    """The first `share` of each contact's responses, and the mails before the first of the rest."""
    acts = np.flatnonzero(seen.acts)
    # rows stand by role first: put each contact's responses in time order
    acts = acts[np.lexsort((seen.second[acts], seen.contact[acts]))]
    number = seen.acts_by_contact()
    place = np.arange(len(acts)) - (np.cumsum(number) - number)[seen.contact[acts]]
    early = np.zeros(len(seen.contact), dtype=bool)
    early[acts] = place < np.floor(number[seen.contact[acts]] * share)
    cut = np.full(seen.count, np.iinfo(np.int64).max)
    late = acts[~early[acts]]
    np.minimum.at(cut, seen.contact[late], seen.second[late])
    early |= ~seen.acts & (seen.second < cut[seen.contact])
    return early


def by_calendar(seen: Responses, share: float) -> Flags:
    """All before the instant at which `share` of the responses had happened."""
    moments = np.sort(seen.second[seen.acts])
    early: Flags = seen.second < moments[min(int(share * len(moments)), len(moments) - 1)]
    return early


def learn_split(seen: Responses, split: Split, reading: Reading, seed: int) -> Profiles:
    """Profiles whose mixture is weighed on the later part of `seen`."""
    early = split(seen, INNER)
    return learn(seen, seen.where(early), seen.where(~early), reading, seed)


@dataclass(frozen=True)
class Proof:
    """Log loss and hits of days on held-out responses, as sums by contact, so that draws of contacts are cheap."""

    weight: Floats
    top1: Floats
    top3: Floats
    bits: Floats

    @classmethod
    def of(cls, days: Floats, contact: Ints, hour: Ints, weight: Floats) -> Proof:
        """`days` (contacts, 24); ties between hours go to the earlier hour."""
        best = np.argsort(-np.round(days, 9), axis=1, kind="stable")
        hits = best[contact, :3] == hour[:, None]

        def summed(values: Floats) -> Floats:
            return np.bincount(contact, weight * values, len(days)).astype(np.float64)

        return cls(
            summed(np.ones(len(hour))),
            summed(hits[:, 0].astype(np.float64)),
            summed(hits.any(axis=1).astype(np.float64)),
            summed(-np.log2(days[contact, hour])),
        )

    def figures(self) -> dict[str, float]:
        total = self.weight.sum()
        return {
            "hit_top1": _digits(self.top1.sum() / total),
            "hit_top3": _digits(self.top3.sum() / total),
            "log_loss_bits": _digits(self.bits.sum() / total),
        }


@dataclass(frozen=True)
class Comparison:
    """The published days beside plain baselines, on the same responses."""

    contacts: int
    events: int
    personal_share: float
    published: Proof
    #: global: everyone's hours; personal_histogram: the contact's own raw hours; default: everyone's day as used.
    baselines: Mapping[str, Proof]

    def gain(self, seed: int, over: str = "global") -> dict[str, float]:
        """Bits per event gained over a baseline, paired, with its 95% interval."""
        return _interval(self.baselines[over].bits - self.published.bits, self.published.weight, seed)

    def figures(self, seed: int) -> dict[str, Any]:
        """The fixed keys of `leadlight evaluate`, and the gain."""
        proof = self.published
        return {
            "contacts": self.contacts,
            "events": self.events,
            "hit_top1": _interval(proof.top1, proof.weight, seed),
            "hit_top3": _interval(proof.top3, proof.weight, seed),
            "log_loss_bits": proof.figures()["log_loss_bits"],
            "gain_bits": self.gain(seed),
            "baselines": {name: baseline.figures() for name, baseline in self.baselines.items()},
            "personal_share": _digits(self.personal_share),
        }


def compare(
    seen: Responses, split: Split, reading: Reading, seed: int, choose: Choose, personal: int
) -> Comparison:
    """Learn from the first part, foretell the rest. `personal` is the source that counts as a contact's own."""
    early = split(seen, TRAIN)
    past, future = seen.where(early), seen.where(~early)
    profiles = learn_split(past, split, reading, seed)
    days, source = choose(profiles, past)
    acts = future.where(future.acts)
    weight = evenly(future, profiles.common)
    tested = np.bincount(acts.contact, minlength=seen.count) > 0

    def proof(of: Floats) -> Proof:
        return Proof.of(np.broadcast_to(of, days.shape), acts.contact, acts.hour, weight)

    return Comparison(
        contacts=int(tested.sum()),
        events=len(acts.contact),
        personal_share=float((source[tested] == personal).mean()),
        published=proof(days),
        baselines={
            "global": proof(everyone(past)),
            "personal_histogram": proof(histogram(past)),
            "default": proof(profiles.common),
        },
    )


def everyone(past: Responses) -> Floats:
    """The plain share of all responses by hour; one more in each hour, so that none is impossible."""
    return normalised(np.bincount(past.where(past.acts).hour, minlength=HOURS).astype(np.float64) + 1)


def histogram(past: Responses) -> Floats:
    """Each contact's raw share of responses by its own hour, unsmoothed but for HISTOGRAM_PRIOR."""
    acts = past.where(past.acts)
    counts = np.bincount(acts.contact * HOURS + acts.own_hour, minlength=past.count * HOURS)
    return normalised(counts.reshape(past.count, HOURS).astype(np.float64) + HISTOGRAM_PRIOR)


def gains_of_few(few: Responses, profiles: Profiles) -> tuple[float, float]:
    """Bits per response gained over everyone's day by own days and by archetypes, where responses are few."""
    early = by_contact(few, TRAIN)
    past, future = few.where(early), few.where(~early)
    acts = future.where(future.acts)
    if not len(acts.contact):
        return 0.0, 0.0
    tallies = hours(past, profiles.common)
    weight = evenly(future, profiles.common)
    common = np.log2(profiles.common[acts.hour])
    own, alike = (
        np.average(np.log2(days[acts.contact, acts.hour]) - common, weights=weight)
        for days in (profiles.of(tallies), profiles.alike(tallies))
    )
    return _digits(own), _digits(alike)


def _interval(sums: Floats, weight: Floats, seed: int) -> dict[str, float]:
    """A ratio of sums with its 95% interval over draws of contacts."""
    some = weight > 0
    sums, weight = sums[some], weight[some]
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), DRAWS)
    low, high = np.quantile((draws @ sums) / (draws @ weight), (0.025, 0.975))
    return {"value": _digits(sums.sum() / weight.sum()), "low": _digits(low), "high": _digits(high)}


def _digits(value: float) -> float:
    return round(float(value), 6)
