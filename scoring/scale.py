"""From probability to what people read: score, grade and confidence."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scoring.learning.coding import Floats

#: Multiples of the average probability.
GRADES = (("A", 4.0), ("B", 2.0), ("C", 0.5))
_LEAST = 5e-5  # half a published digit
#: Share of what the model goes by that must be known, and how far the fold models may be apart (log-odds).
_HIGH_KNOWN, _HIGH_SPREAD = 0.75, 0.25
_LOW_KNOWN, _LOW_SPREAD = 0.4, 0.6


@dataclass(frozen=True)
class Scale:
    """The fixed map of probabilities, anchored at the average probability of the first training.

    Retraining takes it over, because customers' workflows have thresholds on the score.
    """

    average: float

    def scores(self, probabilities: Floats) -> Floats:
        """0 to 100: `100 o / (1 + o)` of the odds `o` relative to average odds. 50 is average, 80 four times."""
        p = np.clip(probabilities, _LEAST, 1 - _LEAST)
        average = float(np.clip(self.average, _LEAST, 1 - _LEAST))
        odds = p / (1 - p) * (1 - average) / average
        return np.round(100 * odds / (1 + odds))

    def threshold(self, multiple: float) -> float:
        """The probability that counts as so many times the average.

        Where the average exceeds 1 in `multiple + 1`, few could reach the multiple: there a chance of failing
        that is so many times smaller than the average one counts.
        """
        if multiple <= 1:
            return multiple * self.average
        return min(multiple * self.average, 1 - (1 - self.average) / multiple)

    def grades(self, probabilities: Floats) -> pa.Array:
        """A to D."""
        out = np.full(len(probabilities), "D", dtype=object)
        for grade, multiple in reversed(GRADES):
            out[probabilities >= self.threshold(multiple)] = grade
        return pa.array(out, pa.string())


def confidence(known: Floats, spread: Floats) -> pa.Array:
    """high, medium or low, from the share of what matters that is known and how alike the fold models are."""
    out = np.full(len(known), "medium", dtype=object)
    out[(known >= _HIGH_KNOWN) & (spread <= _HIGH_SPREAD)] = "high"
    out[(known < _LOW_KNOWN) | (spread > _LOW_SPREAD)] = "low"
    return pa.array(out, pa.string())
