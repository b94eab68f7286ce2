"""Each contact's day as 24 shares, from few and uneven observations.

A profile is a mixture of guesses that differ in how far back they look and how much they trust the contact alone:
everyone's day, the day of people alike (archetypes), and the contact's own smoothed hours at several half-lives
and prior weights. The weights of the mixture are those that best foretold a later part of the training time, in
bits, with a prior that holds contacts with few responses near the rest (Dirichlet-multinomial shrinkage and
linear stacking; Smyth & Wolpert 1999).

Where deliveries are known a contact's count in an hour is divided by what it was exposed to: with `f` responses
of its own accord and `a` answers to `n(h)` mails, hour `h` had exposure `f + a * n(h) / sum(n * common)`. Without
mails this is constant and the profile is the plain Dirichlet one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scoring.hours.responses import ANSWER, FREE, MAIL, Floats, Ints, Reading, Responses

HOURS = 24
HALF_LIVES_DAYS = (10.0, 60.0, 365.0, float("inf"))
PRIOR_WEIGHTS = (3.0, 15.0)
#: Standard deviation of the circular kernel, hours.
BANDWIDTH = 1.0
ARCHETYPES = 8
#: Contacts with so many distinct hours of response have mixture weights of their own.
STEPS = (50, 150)
#: Share of the training time that fits the guesses; the rest weighs them.
INNER = 0.7
#: A few outcomes' worth of pull of each step's weights towards the common ones.
_PULL = 200.0
_ROUNDS = 100
#: Archetypes see counts at this power: hours of one person are not independent.
_TEMPER = 0.5
#: A response at an hour with few mails stands for so many at most.
_MOST = 5.0


@dataclass(frozen=True)
class Tallies:
    """Weighted counts by layer (half-life), contact and cell; `slots`: distinct hours of response, undecayed."""

    responses: Floats
    exposure: Floats
    slots: Floats


@dataclass(frozen=True)
class Profiles:
    """What is learnt about days in general; a contact's own day follows from its tallies."""

    reading: Reading
    common: Floats
    archetypes: Floats
    shares: Floats
    #: One row a step of `STEPS`, one column a guess.
    weights: Floats

    def guesses(self, tallies: Tallies) -> Floats:
        """(guesses, contacts, 24): everyone's, the archetypes', then own days by half-life and prior weight."""
        alike = self.alike(tallies)
        everyone = np.broadcast_to(self.common, alike.shape)
        own = [
            normalised((smooth(counts) + weight * alike) / (smooth(exposure) + weight))
            for counts, exposure in zip(tallies.responses, tallies.exposure, strict=True)
            for weight in PRIOR_WEIGHTS
        ]
        return np.stack([everyone, alike, *own])

    def alike(self, tallies: Tallies) -> Floats:
        """The archetypes' day, weighted by how well each explains the contact's hours."""
        shares: Floats = responsibilities(evened(tallies), self.archetypes, self.shares) @ self.archetypes
        return shares

    def of(self, tallies: Tallies) -> Floats:
        """(contacts, 24): the mixture."""
        weights = self.weights[np.digitize(tallies.slots, STEPS)]
        mixed: Floats = np.einsum("cg,gch->ch", weights, self.guesses(tallies))
        return mixed

    def to_json(self) -> dict[str, Any]:
        arrays = ("common", "archetypes", "shares", "weights")
        return {"reading": asdict(self.reading), **{name: getattr(self, name).tolist() for name in arrays}}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Profiles":
        arrays = {name: np.array(given[name]) for name in ("common", "archetypes", "shares", "weights")}
        return cls(Reading(**given["reading"]), **arrays)


def normalised(rows: Floats) -> Floats:
    """Rows that sum to one."""
    out: Floats = rows / rows.sum(axis=-1, keepdims=True)
    return out


def smooth(rows: Floats, bandwidth: float = BANDWIDTH) -> Floats:
    """Convolve with a Gaussian on the circle of the day; sums stay."""
    apart = np.arange(HOURS)
    kernel = np.exp(-0.5 * (np.minimum(apart, HOURS - apart) / bandwidth) ** 2)
    out: Floats = rows @ normalised(np.stack([np.roll(kernel, hour) for hour in range(HOURS)]))
    return out


def distinct(seen: Responses) -> Responses:
    """One response a contact, role and clock hour, with the largest weight: a burst of clicks is one visit."""
    if not len(seen.contact):
        return seen
    key = np.stack([seen.role, seen.contact, seen.local // 3600])
    starts = np.flatnonzero(np.r_[True, (key[:, 1:] != key[:, :-1]).any(axis=0)])
    return Responses(
        seen.count,
        seen.role[starts],
        seen.contact[starts],
        seen.second[starts],
        seen.local[starts],
        np.maximum.reduceat(seen.weight, starts),
        seen.own_hour[starts],
    )


def tally(
    seen: Responses, cells: Ints, width: int, half_lives: tuple[float, ...], common: Floats | None = None
) -> Tallies:
    """Counts of `seen` (distinct hours) by cell, decayed from each contact's latest response backwards.

    `common` (shares by cell) turns deliveries into exposure; without it every hour weighs the same.
    """
    age = np.maximum(seen.last_by_contact()[seen.contact] - seen.second, 0) / 86400
    shares = np.full(width, 1 / width) if common is None else common
    layers = [_layer(seen, cells, width, seen.weight * np.exp2(-age / days)) for days in half_lives]
    slots = np.bincount(seen.contact[seen.acts], minlength=seen.count).astype(np.float64)
    return Tallies(
        np.stack([layer[FREE] + layer[ANSWER] for layer in layers]),
        np.stack([exposures(layer, shares) for layer in layers]),
        slots,
    )


def _layer(seen: Responses, cells: Ints, width: int, weight: Floats) -> Floats:
    """(roles, contacts, cells)"""
    flat = (seen.role * seen.count + seen.contact) * width + cells
    counts = np.bincount(flat, weight, 3 * seen.count * width).astype(np.float64)
    return counts.reshape(3, seen.count, width)


def exposures(layer: Floats, common: Floats) -> Floats:
    """(contacts, cells) in units of responses: weighted by `common` it sums to the contact's responses."""
    free, answered = layer[FREE].sum(axis=1, keepdims=True), layer[ANSWER].sum(axis=1, keepdims=True)
    expected = (layer[MAIL] @ common)[:, None]
    out: Floats = free + np.divide(
        answered * layer[MAIL], expected, out=np.zeros_like(layer[MAIL]), where=expected > 0
    )
    return out


def common_shares(seen: Responses, cells: Ints, width: int) -> Floats:
    """Everyone's rate by cell, as shares: the fixed point of rate = responses / exposure."""
    layer = _layer(seen, cells, width, seen.weight)
    counts = (layer[FREE] + layer[ANSWER]).sum(axis=0)
    shares = np.full(width, 1 / width)
    for _ in range(20 if layer[MAIL].any() else 1):
        exposure = exposures(layer, shares).sum(axis=0)
        # One response's worth of prior in every cell, so that no cell is impossible.
        shares = normalised((counts + 1) / (exposure + width))
    return shares


def evened(tallies: Tallies) -> Floats:
    """Undecayed counts as they would be had every hour been equally exposed."""
    counts, exposure = tallies.responses[-1], tallies.exposure[-1]
    rates = counts / (exposure + 2.0)
    total = rates.sum(axis=1, keepdims=True)
    even: Floats = counts.sum(axis=1, keepdims=True) * np.divide(
        rates, total, out=np.zeros_like(rates), where=total > 0
    )
    return even


def responsibilities(counts: Floats, archetypes: Floats, shares: Floats) -> Floats:
    """(contacts, archetypes): how likely each archetype is behind the counts."""
    fit = np.log(shares) + _TEMPER * counts @ np.log(archetypes).T
    out: Floats = np.exp(fit - fit.max(axis=1, keepdims=True))
    return normalised(out)


def learn_archetypes(counts: Floats, common: Floats, seed: int) -> tuple[Floats, Floats]:
    """Typical days and their shares: an EM mixture of multinomials, held towards everyone's day."""
    number = max(1, min(ARCHETYPES, len(counts) // 4))
    start = np.random.default_rng(seed).choice(len(counts), number, replace=False)
    days = normalised(smooth(counts[start] + 5 * common, 2.0))
    shares = np.full(number, 1 / number)
    for _ in range(60):
        belongs = responsibilities(counts, days, shares)
        shares = (belongs.sum(axis=0) + 1) / (len(counts) + number)
        days = normalised(smooth(belongs.T @ counts + 10 * common, 0.8))
    return days, shares


def stack(guesses: Floats, seen: Responses, cells: Ints, slots: Floats, weigh: Floats) -> Floats:
    """Mixture weights, one row a step of `STEPS`, under which what was seen is likeliest (EM; concave)."""
    likelihood = guesses[:, seen.contact, cells].T
    everywhere = _mixture(likelihood, weigh, np.full(guesses.shape[0], 1 / guesses.shape[0]), 0.0)
    step = np.digitize(slots, STEPS)[seen.contact]
    rows = [
        _mixture(likelihood[step == which], weigh[step == which], everywhere, _PULL)
        for which in range(len(STEPS) + 1)
    ]
    return np.stack(rows)


def _mixture(likelihood: Floats, weigh: Floats, start: Floats, pull: float) -> Floats:
    weights = start
    for _ in range(_ROUNDS if len(likelihood) else 0):
        parts = normalised(likelihood * weights)
        weights = normalised(weigh @ parts + pull * start)
    return weights


def learn(seen: Responses, earlier: Responses, later: Responses, reading: Reading, seed: int) -> Profiles:
    """Guesses are weighed on `later` after `earlier`, then fitted to all of `seen` (their union)."""
    weights = np.full((len(STEPS) + 1, 2 + len(HALF_LIVES_DAYS) * len(PRIOR_WEIGHTS)), np.nan)
    inner = _guessers(earlier, reading, weights, seed)
    tallies = hours(earlier, inner.common)
    acts = later.where(later.acts)
    weights = stack(inner.guesses(tallies), acts, acts.hour, tallies.slots, evenly(later, inner.common))
    return _guessers(seen, reading, weights, seed)


def hours(seen: Responses, common: Floats) -> Tallies:
    """Tallies by local hour."""
    once = distinct(seen)
    return tally(once, once.hour, HOURS, HALF_LIVES_DAYS, common)


def evenly(seen: Responses, common: Floats) -> Floats:
    """Weight of each response by a person, so that hours count as if equally exposed; 1 where no mail is known."""
    layer = _layer(seen, seen.hour, HOURS, np.ones(len(seen.contact)))
    exposure = exposures(layer, common)
    level = (layer[FREE] + layer[ANSWER]).sum(axis=1, keepdims=True)
    acts = seen.where(seen.acts)
    out: Floats = np.minimum((level + 5) / (exposure + 5), _MOST)[acts.contact, acts.hour]
    return out


def _guessers(seen: Responses, reading: Reading, weights: Floats, seed: int) -> Profiles:
    once = distinct(seen)
    common = common_shares(once, once.hour, HOURS)
    counts = evened(tally(once, once.hour, HOURS, HALF_LIVES_DAYS[-1:], common))
    return Profiles(reading, common, *learn_archetypes(counts, common, seed), weights)
