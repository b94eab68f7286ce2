"""What contacts looked like when a model was made, so that it can be seen what has moved since.

A distribution is kept as the shares at and below a few of its values, small enough to stand in a model's meta.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scoring.context import Context
from scoring.engine import quoted
from scoring.features.build import build
from scoring.learning.coding import Coding, Floats, Ints
from scoring.learning.ensemble import Ensemble
from scoring.model import Model
from scoring.snapshots import eligible
from scoring.versions.drift import MOVED

#: Contacts looked at, at most about.
SAMPLE = 5000
#: Values of a distribution that are kept: exact where it has no more.
KNOTS = 40
_CELLS = 10
#: Half a contact in each cell, so that an empty one has a share.
_LEAST = 0.5
#: Share of all contributions from which a feature that moved is reason to train again.
WEIGHTY = 0.05


@dataclass(frozen=True)
class Distribution:
    """Shares of the known values at or below each knot; `missing` is the share that is unknown."""

    rows: int
    missing: float
    knots: tuple[float, ...]
    below: tuple[float, ...]

    @classmethod
    def of(cls, values: Floats) -> "Distribution":
        """Of some values; NaN is unknown."""
        known = np.sort(values[~np.isnan(values)])
        missing = 1 - len(known) / len(values) if len(values) else 0.0
        if not len(known):
            return cls(len(values), missing, (), ())
        distinct = np.unique(known)
        if len(distinct) > KNOTS:
            distinct = np.unique(np.quantile(known, np.linspace(0, 1, KNOTS), method="higher"))
        below = np.searchsorted(known, distinct, side="right") / len(known)
        return cls(len(values), float(missing), tuple(map(float, distinct)), tuple(map(float, below)))

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "missing": round(self.missing, 6),
            "knots": list(self.knots),
            "below": [round(share, 6) for share in self.below],
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Distribution":
        return cls(given["rows"], given["missing"], tuple(given["knots"]), tuple(given["below"]))

    def ks(self, values: Floats) -> float:
        """Largest difference between the shares below any knot (Kolmogorov-Smirnov; at the knots only)."""
        known = np.sort(values[~np.isnan(values)])
        if not len(known) or not self.knots:
            return 0.0
        now = np.searchsorted(known, np.array(self.knots), side="right") / len(known)
        return float(np.abs(now - np.array(self.below)).max())

    def psi(self, values: Floats, *, is_category: bool = False) -> float:
        """Population stability index: about ten cells of equal share (or each category), and one for unknown."""
        edges = np.array(self.knots[:-1]) if is_category else self._edges()
        old = self._shares_of_cells(edges)
        places = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left"))
        now = (np.bincount(places, minlength=len(edges) + 2) + _LEAST) / (len(values) + _LEAST * (len(edges) + 2))
        return float(np.sum((now - old) * np.log(now / old)))

    def _edges(self) -> Floats:
        """Knots at the tenths; the last cell is what lies above the last edge."""
        if not self.knots:
            return np.empty(0)
        tenths = np.searchsorted(np.array(self.below), np.linspace(0, 1, _CELLS + 1)[1:-1], side="left")
        return np.unique(np.array(self.knots)[np.minimum(tenths, len(self.knots) - 1)])

    def _shares_of_cells(self, edges: Floats) -> Floats:
        ends = np.concatenate([[0.0], np.interp(edges, self.knots, self.below) if len(edges) else [], [1.0]])
        counts = np.append(np.diff(ends) * (1 - self.missing), self.missing) * self.rows + _LEAST
        shares: Floats = counts / counts.sum()
        return shares


@dataclass(frozen=True)
class Population:
    """Who would be scored now, as a model sees them."""

    coding: Coding
    known: Floats
    probabilities: Floats
    contributions: Floats

    @classmethod
    def now(cls, context: Context, model: Model) -> "Population":
        """A fixed draw of the contacts that get a lead score."""
        ensemble = Ensemble.from_files(model.meta["kinds"], model.meta["kind"], model.files)
        table = _drawn(context, ensemble.coding)
        known = ensemble.coding.known(table)
        values, fold = ensemble.coding.filled(known), _fold(table)
        return cls(
            ensemble.coding, known, ensemble.probabilities(values, fold), ensemble.contributions(values, fold)
        )

    def reference(self) -> dict[str, Any]:
        """For a new model's meta: the distributions of features and of probabilities."""
        columns = zip(self.coding.names, self.known.T, strict=True)
        return {
            "features": {name: Distribution.of(column).to_json() for name, column in columns},
            "probability": Distribution.of(self.probabilities).to_json(),
        }

    def drivers(self) -> list[dict[str, Any]]:
        """Features by mean absolute contribution; `direction` is the rank correlation of value and contribution,
        null for categories and where it cannot be said."""
        weights = np.abs(self.contributions).mean(axis=0) if len(self.contributions) else np.empty(0)
        found = [
            {
                "feature": feature.name,
                "label": feature.label,
                "group": feature.group,
                "weight": round(float(weights[i]), 5),
                "direction": None
                if feature.kind == "category"
                else _direction(self.known[:, i], self.contributions[:, i]),
            }
            for i, feature in enumerate(self.coding.features)
            if len(weights) and weights[i] > 0
        ]
        return sorted(found, key=lambda one: (-one["weight"], one["feature"]))

    def moved(self, reference: Mapping[str, Any]) -> dict[str, Any]:
        """What moved since: `features` over MOVED, most first, with their share of all contributions; and the
        probabilities' own `psi` and `ks`."""
        weights = np.abs(self.contributions).mean(axis=0)
        total = max(float(weights.sum()), 1e-12)
        found = []
        for i, feature in enumerate(self.coding.features):
            if feature.name not in reference["features"]:
                continue
            before = Distribution.from_json(reference["features"][feature.name])
            psi = before.psi(self.known[:, i], is_category=feature.kind == "category")
            if psi > MOVED:
                found.append(
                    {
                        "name": feature.label,
                        "property": feature.property,
                        "psi": round(psi, 3),
                        "ks": round(before.ks(self.known[:, i]), 3),
                        "weight": round(float(weights[i]) / total, 3),
                    }
                )
        scores = Distribution.from_json(reference["probability"])
        return {
            "features": sorted(found, key=lambda one: (-one["psi"], one["name"])),
            "probability": {
                "psi": round(scores.psi(self.probabilities), 3),
                "ks": round(scores.ks(self.probabilities), 3),
            },
        }


def weighty(moved: Mapping[str, Any]) -> list[str]:
    """Names of moved features that matter; with "the scores themselves" where those moved."""
    names = [str(one["name"]) for one in moved["features"] if one["weight"] >= WEIGHTY]
    return names + (["the scores themselves"] if moved["probability"]["psi"] > MOVED else [])


def _drawn(context: Context, coding: Coding) -> pa.Table:
    count = eligible(context, "reference_people")
    context.engine.run(
        "create or replace temp table reference_pairs as select contact_id, as_of, fold from reference_people "
        f"where stable_bucket(contact_id, {1 + count // SAMPLE}) = 0"
    )
    build(context, "reference_pairs", "reference_features", coding.features)
    columns = "".join(f", f.{quoted(name)}" for name in coding.names)
    return context.engine.fetch(
        f"select p.contact_id, p.fold{columns} from reference_pairs p "
        "join reference_features f on f.contact_id = p.contact_id and f.as_of = p.as_of order by p.contact_id"
    )


def _fold(table: pa.Table) -> Ints:
    fold: Ints = table["fold"].cast(pa.int64()).to_numpy()
    return fold


def _direction(values: Floats, contributions: Floats) -> float | None:
    """Spearman's correlation over the known values."""
    known = ~np.isnan(values)
    if known.sum() < 10:
        return None
    first, second = (_ranks(column[known]) for column in (values, contributions))
    spread = float(first.std() * second.std())
    if spread < 1e-12:
        return None
    return round(float(((first - first.mean()) * (second - second.mean())).mean() / spread), 3)


def _ranks(values: Floats) -> Floats:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = np.cumsum(counts) - (counts - 1) / 2
    return middle[which.ravel()]
