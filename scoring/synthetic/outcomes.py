"""Why people of the made-up market buy: spells of intent that end in a deal won or lost, and the odds of it.

A contact is at rest or in a spell of intent. Spells begin at a personal rate (more often where the contact
fits), some at the moment the contact arrives; they last a gamma-distributed time and are won with a personal
chance. Behaviour shows the spell; the true probability follows from it in closed form (`probability`).
"""

from dataclasses import dataclass

import numpy as np

from scoring.synthetic.clock import DAY, HOUR, Bools, Floats, Ints
from scoring.synthetic.people import People

#: Length of a spell of intent: gamma with this shape, mean in days.
SPELL_SHAPE, SPELL_DAYS = 9.0, 78.0
#: At most this many spells a contact.
_SPELLS = 6
_REST = 21 * DAY


@dataclass(frozen=True)
class Odds:
    """Per contact: spells begun per day of rest at the market's middle, chance that a spell is won."""

    rate: Floats
    win: Floats
    drift: float
    start: int
    until: int

    def tilt(self, at: Floats) -> Floats:
        """What drift multiplies the rate by at an instant (seconds)."""
        found: Floats = np.exp(self.drift * (2 * (at - self.start) / (self.until - self.start) - 1))
        return found


@dataclass(frozen=True)
class Spells:
    """One entry a spell of intent, also those that run on beyond the market's end. Times are UTC seconds."""

    contact: Ints
    begin: Ints
    end: Ints
    won: Bools

    def deal_at(self) -> Ints:
        """When sales opened a deal: after three tenths of the spell."""
        return self.begin + ((self.end - self.begin) * 3) // 10

    def deals(self, until: int) -> Ints:
        """Indices of the spells whose deal was opened before `until`, in order of opening."""
        order = np.argsort(self.deal_at(), kind="stable")
        return order[self.deal_at()[order] < until]


def odds(who: People, yearly: float, win: float, drift: float, start: int, until: int, blind: bool) -> Odds:
    """Personal odds from fit; everyone's are equal where outcomes are to be `blind`."""
    fit = np.zeros(len(who)) if blind else who.fit
    return Odds(
        rate=yearly / 365.0 * np.exp(0.6 * fit - 0.18),
        win=1 / (1 + np.exp(-(np.log(win / (1 - win)) + 1.5 * fit))),
        drift=drift,
        start=start,
        until=until,
    )


def spells(rng: np.random.Generator, who: People, chances: Odds, inbound: float) -> Spells:
    """Spells of everyone from arrival until the market's end or the first deal won."""
    count, found = len(who), []
    at = who.created + HOUR
    first = rng.random(count) < inbound * 2 * chances.win
    going = np.ones(count, dtype=bool)
    for round_ in range(_SPELLS):
        wait = rng.exponential(1.0, count) / (chances.rate * chances.tilt(at.astype(float))) * DAY
        begin = at + (np.where(first, 0.0, wait) if round_ == 0 else wait).astype(np.int64)
        length = rng.gamma(SPELL_SHAPE, SPELL_DAYS / SPELL_SHAPE, count) * DAY
        won = rng.random(count) < chances.win
        going &= begin < chances.until
        end = begin + length.astype(np.int64)
        found.append((np.flatnonzero(going), begin[going], end[going], won[going]))
        at = end + _REST
        going &= ~won
    contact, begin, end, won = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Spells(contact, begin, end, won)


def instant_wins(rng: np.random.Generator, who: People, chances: Odds) -> Spells:
    """Deals won out of the blue: no spell, no warning, equal odds. A market with nothing to learn."""
    wait = rng.exponential(1.0, len(who)) / (chances.rate * chances.win) * DAY
    end = who.created + 3 * HOUR + wait.astype(np.int64)
    there = np.flatnonzero(end < chances.until)
    return Spells(there, end[there] - HOUR, end[there], np.ones(len(there), dtype=bool))


def won_at(count: int, past: Spells, never: int) -> Ints:
    """When each contact's deal was won; `never` where none was."""
    at = np.full(count, never, dtype=np.int64)
    at[past.contact[past.won]] = past.end[past.won]
    return at


def probability(chances: Odds, past: Spells, at: int, days: int) -> Floats:
    """Per contact, the chance that a deal is won in `(at, at + days]`, given its spell and its age at `at`.

    In a spell of age a: win * (F(a + h) - F(a)) / (1 - F(a)); at rest: win * integral of the rate at which
    spells begin, times F(what is left of h). F is the distribution of a spell's length. A second spell within
    the horizon is left out (below 0.01 with the default parameters).
    """
    rate = chances.rate * float(chances.tilt(np.array(float(at))))
    steps: Floats = np.arange(0.5, days)[None, :].astype(np.float64)
    begun = rate[:, None] * np.exp(-rate[:, None] * steps)
    found: Floats = chances.win * (begun * _ended_by(days - steps)).sum(axis=1)
    now = (past.begin <= at) & (at < past.end)
    contact = past.contact[now]
    age = (at - past.begin[now]) / DAY
    left = 1 - _ended_by(age)
    ends = (_ended_by(age + days) - _ended_by(age)) / np.maximum(left, 1e-12)
    found[contact] = chances.win[contact] * ends
    return found


def blind_probability(chances: Odds, days: int) -> Floats:
    """The same in a market whose deals come out of the blue."""
    found: Floats = 1 - np.exp(-chances.rate * chances.win * days)
    return found


def _ended_by(days: Floats) -> Floats:
    from scipy.special import gammainc  # regularised: the gamma distribution function

    found: Floats = gammainc(SPELL_SHAPE, np.maximum(days, 0.0) * (SPELL_SHAPE / SPELL_DAYS))
    return found
