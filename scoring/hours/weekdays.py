"""Each contact's week as 7 shares: own weekdays held towards everyone's.

Cells of hour and weekday together are too thin to help, so the weekday is learnt apart from the hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scoring.hours.evaluation import TRAIN, by_contact
from scoring.hours.profiles import Tallies, common_shares, distinct, normalised, tally
from scoring.hours.responses import Floats, Responses

DAYS = 7
HALF_LIFE_DAYS = 180.0
#: Responses' worth of everyone's week in a contact's own; the last leaves hardly anything of the own.
PRIOR_WEIGHTS = (5.0, 20.0, 80.0, 320.0, 100_000.0)


@dataclass(frozen=True)
class Weekdays:
    """Everyone's week, and how many responses it counts for in a contact's own."""

    common: Floats
    prior: float

    @classmethod
    def learn(cls, seen: Responses) -> Weekdays:
        """The prior weight is the one that best foretells the last part of each contact's responses."""
        early = by_contact(seen, TRAIN)
        past, future = distinct(seen.where(early)), seen.where(~early & seen.acts)
        common = common_shares(past, past.weekday, DAYS)
        tallies = _tally(past, common)
        bits = [
            -np.log2(_week(tallies, common, prior)[future.contact, future.weekday]).mean()
            for prior in PRIOR_WEIGHTS
        ]
        once = distinct(seen)
        return cls(common_shares(once, once.weekday, DAYS), PRIOR_WEIGHTS[int(np.argmin(np.round(bits, 9)))])

    def of(self, past: Responses, own: npt.NDArray[np.bool_]) -> Floats:
        """(contacts, 7): the contact's own week where `own`, else everyone's."""
        week = _week(_tally(distinct(past), self.common), self.common, self.prior)
        return np.where(own[:, None], week, self.common)

    def to_json(self) -> dict[str, Any]:
        return {"common": self.common.tolist(), "prior": self.prior}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Weekdays:
        return cls(np.array(given["common"]), float(given["prior"]))


def _tally(once: Responses, common: Floats) -> Tallies:
    return tally(once, once.weekday, DAYS, (HALF_LIFE_DAYS,), common)


def _week(tallies: Tallies, common: Floats, prior: float) -> Floats:
    return normalised((tallies.responses[0] + prior * common) / (tallies.exposure[0] + prior))
