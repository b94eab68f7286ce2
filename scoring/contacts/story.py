"""One contact's score taken apart: what each thing adds, in words, and what would change the score most.

Contributions are the model's own: with the base they add up to the margin, which calibration turns into the
probability that is published. Others' values, never made-up ones, say what could be different.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scoring.context import Context
from scoring.engine import literal, quoted
from scoring.explanation import phrased
from scoring.features.behaviour import ACTIVITIES
from scoring.features.build import Feature, build, spoken
from scoring.learning.coding import Coding, Flags, Floats, Ints
from scoring.learning.ensemble import Ensemble
from scoring.model import Model
from scoring.scale import Scale
from scoring.snapshots import eligible

#: Contacts whose values are tried on, at most about.
OTHERS = 2000
#: Points that a change must be worth to be told.
LEAST_POINTS = 1.0
#: Groups that a marketer brings about or leaves alone. Everything else is a fact about the contact.
DONE = frozenset(
    {activity.group for activity in ACTIVITIES if activity.key not in ("bounces", "optouts", "others")}
    | {"active days", "channels"}
)
CAN_ACT = DONE | {"e-mails received", "e-mails without response"}
#: What time does by itself, or nobody can make different.
NEVER_DIFFERENT = frozenset({"tenure", "time of activity", "purchase rhythm", "e-mail bounces", "opt-outs"})


@dataclass(frozen=True)
class Reason:
    """What one group of features adds to a contact's score."""

    group: str
    text: str
    #: In the model's own unit; with the base all of them add up to the margin.
    log_odds: float
    #: Factor on the odds.
    odds: float
    #: Score with it minus score without it.
    points: float
    #: Whether it helped on rows that the model had not seen, and is no missing value that speaks in favour:
    #: only then it may be named on the record.
    proven: bool
    values: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Change:
    """One group of features as another contact has it, and the score that would give."""

    group: str
    now: str
    then: str
    score: int
    score_then: int
    probability_then: float
    #: Whether a marketer can bring it about.
    can_act: bool


@dataclass(frozen=True)
class Story:
    """A contact's margin, what it is made of, and what would change it."""

    base: float
    margin: float
    reasons: tuple[Reason, ...]
    changes: tuple[Change, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "base_log_odds": self.base,
            "log_odds": self.margin,
            "reasons": [asdict(one) for one in self.reasons],
            "would_change_most": [asdict(one) for one in self.changes],
        }


def story(context: Context, model: Model, contact_id: str) -> Story | None:
    """Why the contact's lead score is what it is; None for who gets none (converted, gone, objecting).

    `model` is a lead-score model of the context's goal.
    """
    ensemble = Ensemble.from_files(model.meta["kinds"], model.meta["kind"], model.files)
    table = _with_others(context, ensemble.coding, contact_id)
    ids = table["contact_id"].to_pylist()
    if contact_id not in ids:
        return None
    at = ids.index(contact_id)
    subject = _Subject(
        ensemble,
        Scale(float(model.meta["average"])),
        ensemble.coding.known(table),
        at,
        int(table["fold"][at].as_py()),
        np.array(model.meta["named"], dtype=bool),
    )
    return Story(subject.base, subject.margin, tuple(subject.reasons()), tuple(subject.changes()))


def _with_others(context: Context, coding: Coding, contact_id: str) -> pa.Table:
    """Features of the contact and of a fixed draw of the others who are scored."""
    count = eligible(context, "story_people")
    columns = "".join(f", f.{quoted(name)}" for name in coding.names)
    context.engine.run(
        "create or replace temp table story_pairs as select contact_id, as_of, fold from story_people "
        f"where contact_id = {literal(contact_id)} "
        f"or stable_bucket(contact_id, {1 + count // OTHERS}) = 0"
    )
    build(context, "story_pairs", "story_features", coding.features)
    return context.engine.fetch(
        f"select p.contact_id, p.fold{columns} from story_pairs p "
        "join story_features f on f.contact_id = p.contact_id and f.as_of = p.as_of order by p.contact_id"
    )


@dataclass(frozen=True)
class _Subject:
    """A contact among others, all seen by the fold model that left the contact out."""

    ensemble: Ensemble
    scale: Scale
    known: Floats
    at: int
    fold: int
    proven: Flags

    @property
    def own(self) -> Floats:
        return self.ensemble.coding.filled(self.known[[self.at]])

    @property
    def base(self) -> float:
        return float(self.ensemble.models[self.fold].base)

    @property
    def margin(self) -> float:
        return float(self.ensemble.margins(self.own, np.array([self.fold]))[0])

    def reasons(self) -> list[Reason]:
        """Every group, what adds most first."""
        parts = self._parts(self.own)[0]
        found = [self._reason(group, members, parts) for group, members in groups(self.ensemble.coding.features)]
        return sorted(found, key=lambda one: (-abs(one.log_odds), one.group))

    def _reason(self, group: str, members: Ints, parts: Floats) -> Reason:
        total = float(parts[members].sum())
        with_it, without = self._exact(np.array([self.margin, self.margin - total]))
        own = self.known[self.at]
        ranked = members[np.argsort(-parts[members] * (1 if total >= 0 else -1), kind="stable")]
        spoken_for = [i for i in ranked[:3] if self._sentence(int(i), own[i]) is not None]
        told = int((spoken_for or ranked)[0])
        return Reason(
            group,
            self._words(told, own[told]),
            total,
            float(np.exp(total)),
            float(with_it - without),
            bool(self.proven[members].any()) and not (total > 0 and np.isnan(own[told])),
            tuple(self._value(int(i), float(parts[i])) for i in members),
        )

    def _value(self, i: int, part: float) -> dict[str, Any]:
        coding, value = self.ensemble.coding, float(self.known[self.at, i])
        feature = coding.features[i]
        said = None
        if not np.isnan(value):
            said = category(coding, feature, value) if feature.kind == "category" else spoken(value, feature.unit)
        return {"label": feature.label, "value": said, "log_odds": part}

    def changes(self) -> list[Change]:
        """The best that each group could be, as some contact has it; what can be acted on first."""
        found = []
        for group, members in groups(self.ensemble.coding.features):
            if group not in NEVER_DIFFERENT and self.proven[members].any():
                change = self._best(group, members)
                if change is not None:
                    found.append(change)
        return sorted(found, key=lambda one: (not one.can_act, -one.score_then, one.group))

    def _best(self, group: str, members: Ints) -> Change | None:
        tried = np.unique(self.known[:, members], axis=0)
        if group in DONE:
            tried = tried[self._could_come(tried, members)]
        values = np.repeat(self.known[[self.at]], len(tried), axis=0)
        values[:, members] = tried
        filled = self.ensemble.coding.filled(values)
        fold = np.full(len(values), self.fold)
        margins = self.ensemble.margins(filled, fold)
        best = self._nearest_best(margins, tried, members)
        now, then = self._exact(np.array([self.margin, margins[best]]))
        if then - now < LEAST_POINTS:
            return None
        gained = self._parts(filled[[best]])[0] - self._parts(self.own)[0]
        told = int(members[np.argmax(gained[members])])
        published = self.ensemble.calibrated(np.array([self.margin, margins[best]]), fold[:2])
        before, after = self.scale.scores(published)
        return Change(
            group,
            self._words(told, self.known[self.at, told]),
            self._words(told, values[best, told]),
            int(before),
            int(after),
            float(published[1]),
            group in CAN_ACT and self.ensemble.coding.features[told].property is None,
        )

    def _could_come(self, tried: Floats, members: Ints) -> Flags:
        """Rows that more activity leads to: what was done stays done, and the last time is never longer ago."""
        own = self.known[self.at, members]
        out = np.ones(len(tried), dtype=bool)
        for column, i in enumerate(members):
            unit = self.ensemble.coding.features[i].unit
            if unit == "days":
                out &= np.isnan(own[column]) | (tried[:, column] <= own[column])
            elif unit in ("count", "number"):
                out &= np.nan_to_num(tried[:, column]) >= np.nan_to_num(own[column])
        return out

    def _nearest_best(self, margins: Floats, tried: Floats, members: Ints) -> int:
        """Of the values that are as good as the best, the ones nearest to the contact's own."""
        width = np.nan_to_num(np.nanstd(tried, axis=0)) + 1e-9 if len(tried) > 1 else np.ones(len(members))
        apart = np.abs(np.nan_to_num(tried) - np.nan_to_num(self.known[self.at, members])) / width
        good = margins >= margins.max() - 1e-9
        return int(np.argmin(np.where(good, apart.sum(axis=1), np.inf)))

    def _parts(self, values: Floats) -> Floats:
        return self.ensemble.contributions(values, np.full(len(values), self.fold))

    def _exact(self, margins: Floats) -> Floats:
        """Scores before rounding."""
        from scipy.special import expit

        odds = expit(self.ensemble.calibrators[self.fold](margins))
        average = min(max(self.scale.average, 5e-5), 1 - 5e-5)
        relative = odds / (1 - odds) * (1 - average) / average
        return np.asarray(100 * relative / (1 + relative), np.float64)

    def _sentence(self, i: int, value: float) -> str | None:
        said: str | None = phrased(self.ensemble.coding, i, np.array([value]))[0].as_py()
        return said

    def _words(self, i: int, value: float) -> str:
        said = self._sentence(i, value)
        if said is not None:
            return said
        feature = self.ensemble.coding.features[i]
        if not np.isnan(value):
            return f"{feature.label}: {spoken(value, feature.unit)}"
        # What was computed from what happened is missing where nothing of the kind did.
        return f"no {feature.group} so far" if feature.property is None else f"{feature.label} is not known"


def category(coding: Coding, feature: Feature, value: float) -> str:
    """A category's label."""
    level = coding.levels[feature.name][int(value)]
    return dict(feature.options).get(level, level)


def groups(features: tuple[Feature, ...]) -> list[tuple[str, Ints]]:
    """Each group's name and the positions of its features, in order of first appearance."""
    members: dict[str, list[int]] = {}
    for i, feature in enumerate(features):
        members.setdefault(feature.group, []).append(i)
    return [(group, np.array(positions)) for group, positions in members.items()]
