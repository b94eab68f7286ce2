"""Behavioural segments that keep their identity: what contacts do, in groups that resampling finds again.

Contacts of whom too little is known are a group of their own. Centres stay frozen between fits as long as they
fit; a refit is matched to the former segments, which keep ids and names.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from scoring.content import version_of
from scoring.errors import ModelMismatch
from scoring.groups import behaviour, clusters, membership
from scoring.groups.behaviour import Behaviour, Measures
from scoring.groups.clusters import Floats, Ints, Scale, Stability
from scoring.groups.membership import Freshness
from scoring.groups.names import UNKNOWN_ID, UNKNOWN_NAME, names
from scoring.predictors.base import Context, Evaluation, Model
from scoring.snapshots import population

#: Contacts with something known that training needs, and looks at, at most.
MIN_KNOWN, MAX_KNOWN = 80, 50_000
#: Month starts before the instant from which a contact's segment is followed, so that borders do not flicker.
MONTHS_BACK = 3
#: How long ago groups are taken to see what they say about what came after, where the goal has no horizon.
AGO_DAYS = 90
#: Pairs of contact and instant that scoring holds at a time.
CHUNK_PAIRS = 400_000
#: Former centres stay while the mean squared distance is within this factor of a refit's.
STILL_FITS = 1.1
#: Gate thresholds, by their names in the settings.
GATES = {"segments_stability": 0.75, "segments_stability_low": 0.55, "segments_largest": 0.9}
#: Weight of a block of columns, shared by its columns; frequency and value weigh 1 each. Recency moves by itself:
#: at full weight a silent month moved a quarter of 2,115 households to another segment, at half weight one in 20.
_RECENCY, _DEPTH, _CHANNELS, _TIMES, _INTERESTS = 0.5, 0.5, 2.0, 0.5, 0.4
#: Factors on the last three that are tried in turn.
EMPHASES = (1.0, 1.6, 0.5)
#: Share of variance between groups that something besides activity must reach.
_TELLING = 0.1


@dataclass(frozen=True)
class Segmentation:
    """Frozen groups: how behaviour is measured and scaled, centres, and each group's lasting id and name."""

    measures: Measures
    scale: Scale
    centres: Floats
    names: Mapping[str, str]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.names)

    def to_json(self) -> dict[str, Any]:
        return {
            "interests": list(self.measures.interests),
            "usual": [list(pair) for pair in self.measures.usual],
            "buys": self.measures.buys,
            "begins": self.measures.begins,
            "growth": self.measures.growth,
            "scale": self.scale.to_json(),
            "centres": self.centres.tolist(),
            "names": [list(pair) for pair in self.names.items()],
        }

    @classmethod
    def from_model(cls, model: Model) -> "Segmentation":
        try:
            given = json.loads(model.files["segments.json"])
            usual = tuple((str(name), float(share)) for name, share in given["usual"])
            begins = int(given.get("begins", 0))  # models of before this was kept
            growth = float(given.get("growth", 1.0))
            measures = Measures(tuple(given["interests"]), usual, bool(given["buys"]), begins, growth)
            scale = Scale.from_json(given["scale"])
            return cls(measures, scale, np.array(given["centres"]), dict(given["names"]))
        except (KeyError, TypeError, ValueError) as problem:
            raise ModelMismatch(f"{model.version!r} is no model of segments: train again.") from problem


@dataclass(frozen=True)
class _Fit:
    segmentation: Segmentation
    stability: Stability
    separation: float
    largest: float
    telling: float
    #: Stability by number of groups that was looked at.
    scan: Mapping[int, Stability]
    #: What groups as of a horizon ago say about what came after; None where nothing did, or all fared alike.
    information: float | None = None
    frozen: bool = False
    #: Ids that continue no former segment.
    born: tuple[str, ...] = ()
    #: Former ids that no group continues, with their names.
    gone: Mapping[str, str] = field(default_factory=dict)


class Segments:
    """A segment by contact."""

    name = "segments"
    properties: tuple[str, ...] = ("leadlight_segment",)

    def lacks(self, context: Context) -> list[str]:
        population(context, "segment_people", training=True)
        behaviour.gather(context, "segment_people")
        found = context.engine.fetch(
            "select count(*) as contacts, sum(case when n >= "
            f"{behaviour.MIN_ACTS} then 1 else 0 end) as known from "
            "(select contact_id, count(*) as n from acts group by contact_id) a"
        )
        contacts, known = found["contacts"][0].as_py(), found["known"][0].as_py() or 0
        if not contacts:
            return ["Segments need something that contacts did (events or purchases); there is none in the data."]
        if known < MIN_KNOWN:
            return [
                f"Segments need {MIN_KNOWN} contacts who did at least {behaviour.MIN_ACTS} things "
                f"(clicks, page views, forms, purchases); {known} did."
            ]
        return []

    def evaluate(self, context: Context) -> Evaluation:
        fit = _fit(context, None)
        return _judge(context, fit, _followed_up(context, fit.segmentation))

    def train(self, context: Context, previous: Model | None = None) -> Model:
        """Fit, or keep the former centres while they fit; ids and names of what continues come from `previous`."""
        fit = _fit(context, previous)
        names_by_id = fit.segmentation.names
        assigned = _followed_up(context, fit.segmentation)
        evaluation = _judge(context, fit, assigned)
        meta = {
            "evaluation": evaluation.to_json(),
            "options": [[UNKNOWN_ID, UNKNOWN_NAME], *(list(pair) for pair in names_by_id.items())],
            "kept_centres": fit.frozen,
            "born": list(fit.born),
            "gone": list(fit.gone),
            "retired": {**(previous.meta["retired"] if previous else {}), **fit.gone},
            "columns": list(fit.segmentation.measures.names),
            "descriptions": {one["id"]: one["description"] for one in evaluation.figures["segments"]},
            "until": context.as_of.isoformat(),
        }
        files = {"segments.json": json.dumps(fit.segmentation.to_json())}
        version = version_of(self.name, context.as_of, meta, files)
        return Model(self.name, context.goal.name, version, meta, files)

    def prepare(self, model: Model) -> Iterator[None]:
        _read(model)
        yield

    def score(self, context: Context, model: Model, only: str | None = None) -> pa.Table:
        if (model.predictor, model.goal) != (self.name, context.goal.name):
            raise ModelMismatch(f"{model.version!r} is no model of segments for goal {context.goal.name!r}.")
        return _followed_up(context, _read(model), only).select(["contact_id", *self.properties])


def _read(model: Model) -> Segmentation:
    if "segmentation" not in model.parsed:
        model.parsed["segmentation"] = Segmentation.from_model(model)
    found: Segmentation = model.parsed["segmentation"]
    return found


def _fit(context: Context, previous: Model | None) -> _Fit:
    population(context, "segment_people", training=True)
    seed = context.options.seed
    former = None if previous is None else Segmentation.from_model(previous)
    measures = behaviour.learn(context, "segment_people")
    before = None if former is None else _known(context, former.measures)
    if former is not None and before is not None and _still_fits(former, before, seed):
        return _described(former, before, seed, _ago(context, former.measures), frozen=True)
    seen = _known(context, measures)
    ago = _ago(context, measures)
    scale, number, scan = _choose(seen, measures, seed, ago)
    points = scale(seen.values)
    centres = clusters.centres(points, number, seed)
    groups = clusters.nearest(points, centres)
    told = _told(scale, seen, groups, number, measures)
    if previous is None or former is None or before is None:
        fresh = Segmentation(measures, scale, centres, {f"s{at + 1}": name for at, name in enumerate(told)})
        return _described(fresh, seen, seed, ago, scan=scan)
    old = clusters.nearest(former.scale(before.values), former.centres)
    follows = clusters.match(old, groups, len(former.centres), number)
    named, born = _continued(former, previous.meta["retired"], follows, told)
    gone = {key: name for key, name in former.names.items() if key not in named}
    refit = Segmentation(measures, scale, centres, named)
    return _described(refit, seen, seed, ago, scan=scan, born=born, gone=gone)


@dataclass(frozen=True)
class _Ago:
    """Contacts as they were a horizon ago, and which of them did what counts since (1) or not (0)."""

    values: Floats
    outcome: Floats

    def information(self, scale: Scale, centres: Floats) -> float:
        return membership.information(clusters.nearest(scale(self.values), centres), self.outcome)


def _ago(context: Context, measures: Measures) -> _Ago | None:
    """None where all fared alike since. Expects the gathered acts and the sample of `_known`."""
    days = context.goal.horizon_days if context.goal.in_time else AGO_DAYS
    context.engine.run(
        f"create or replace temp table pairs as select contact_id, {_at(context.as_of - timedelta(days=days))} "
        "as as_of from segment_sample"
    )
    then = behaviour.measure(context.engine, measures)
    enough = then.acts >= behaviour.MIN_ACTS
    outcome = membership.came_true(context, then.contact_id.filter(pa.array(enough)), days)
    return None if outcome is None else _Ago(then.values[enough], outcome)


def _choose(
    seen: Behaviour, measures: Measures, seed: int, ago: _Ago | None
) -> tuple[Scale, int, dict[int, Stability]]:
    """Scale and number of groups: the first emphasis on what contacts mix under which groups are found again."""
    tried = []
    for emphasis in EMPHASES:
        scale = Scale.learn(seen.values, _weights(measures, emphasis))
        points = scale(seen.values)
        told = None if ago is None else partial(_information, ago, scale, points, seed)
        number, scan = clusters.choose_number(points, seed, told)
        tried.append((scale, number, scan))
        if scan[number].good:
            return tried[-1]
    return max(tried, key=lambda one: one[2][one[1]].worth)


def _information(ago: _Ago, scale: Scale, points: Floats, seed: int, number: int) -> float:
    return round(ago.information(scale, clusters.centres(points, number, seed)), 3)


def _described(segmentation: Segmentation, seen: Behaviour, seed: int, ago: _Ago | None, **more: Any) -> _Fit:
    """The figures of a segmentation on what was seen."""
    points = segmentation.scale(seen.values)
    groups = clusters.nearest(points, segmentation.centres)
    number = len(segmentation.centres)
    return _Fit(
        segmentation=segmentation,
        stability=clusters.stability(points, number, seed),
        separation=clusters.separation(points, groups, seed),
        largest=float(np.bincount(groups).max() / len(groups)),
        telling=_telling(points, groups, segmentation.measures),
        information=None if ago is None else ago.information(segmentation.scale, segmentation.centres),
        **{"scan": {}, **more},
    )


def _known(context: Context, measures: Measures) -> Behaviour:
    """Contacts with enough acts at the instant, at most about MAX_KNOWN; expects the gathered acts."""
    engine = context.engine
    found = engine.fetch(
        "select count(*) as n from (select contact_id from acts group by contact_id "
        f"having count(*) >= {behaviour.MIN_ACTS}) a"
    )["n"][0].as_py()
    engine.run(
        "create or replace temp table segment_sample as select contact_id "
        f"from segment_people where stable_bucket(contact_id, {1 + found // MAX_KNOWN}) = 0"
    )
    engine.run(
        f"create or replace temp table pairs as select contact_id, {_at(context.as_of)} as as_of "
        "from segment_sample"
    )
    everyone = behaviour.measure(engine, measures)
    enough = everyone.acts >= behaviour.MIN_ACTS
    return Behaviour(
        everyone.contact_id.filter(pa.array(enough)),
        everyone.as_of[enough],
        everyone.acts[enough],
        everyone.values[enough],
    )


def _weights(measures: Measures, emphasis: float) -> list[float]:
    """A block's weight is shared by its columns, so that many interests don't drown one recency."""
    blocks = {name: _block(name) for name in measures.names}
    size = {block: sum(one == block for one, _ in blocks.values()) for block, _ in blocks.values()}
    mixed = {"channels", "times", "interests"}
    return [
        weight * (emphasis if block in mixed else 1.0) / float(np.sqrt(size[block]))
        for block, weight in blocks.values()
    ]


def _block(name: str) -> tuple[str, float]:
    if name.startswith("interest:"):
        return "interests", _INTERESTS
    if name in ("evening", "weekend"):
        return "times", _TIMES
    if name in behaviour.MIX:
        return "channels", _CHANNELS
    return name, {"recency": _RECENCY, "depth": _DEPTH}.get(name, 1.0)


def _still_fits(former: Segmentation, before: Behaviour, seed: int) -> bool:
    """Whether a refit with as many groups would hardly lie closer to the contacts."""
    points = former.scale(before.values)
    refit = clusters.centres(points, len(former.centres), seed)
    return clusters.spread(points, former.centres) <= STILL_FITS * clusters.spread(points, refit)


def _told(scale: Scale, seen: Behaviour, groups: Ints, number: int, measures: Measures) -> list[str]:
    """A name for each group: from its mean ranks, and for shares from how they compare with everyone's."""
    ranks = scale.ranked(seen.values)
    means = np.stack([ranks[groups == at].mean(axis=0) for at in range(number)])
    raw = np.stack([seen.values[groups == at].mean(axis=0) for at in range(number)])
    for name, usual in measures.usual:
        # Ranks of shares mislead here: a share that was only held towards everyone's outranks an honest zero.
        at = measures.names.index(name)
        means[:, at] = np.clip(0.5 + 0.25 * np.log2(raw[:, at] / max(usual, 1e-6)), 0, 1)
    only_buys = measures.buys and not any(name in behaviour.MIX for name, _ in measures.usual)
    return names(means.round(6), measures.names, "buyers" if only_buys else "contacts")


def _continued(
    former: Segmentation, retired: Mapping[str, str], follows: Mapping[int, int], told: list[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Id and name of each group in order, and the ids that are new. No id is used again for another group."""
    used = [int(key.removeprefix("s")) for key in (*former.ids, *retired)]
    names_by_id: dict[str, str] = {}
    born: list[str] = []
    kept_names = {former.names[former.ids[old]] for old in follows.values()}
    for at, name in enumerate(told):
        if at in follows:
            key = former.ids[follows[at]]
            names_by_id[key] = former.names[key]
            continue
        key = f"s{max(used) + 1 + len(born)}"
        born.append(key)
        names_by_id[key] = name if name not in kept_names else f"{name} ({key})"
    return names_by_id, tuple(born)


def _telling(points: Floats, groups: Ints, measures: Measures) -> float:
    """Largest share of variance that lies between groups among columns that are not mere activity."""
    shares = [0.0]
    sizes = np.bincount(groups)
    for at, name in enumerate(measures.names):
        column = points[:, at]
        if name in ("recency", "frequency", "depth") or column.var() == 0:
            continue
        means = np.bincount(groups, column) / np.maximum(sizes, 1)
        shares.append(float(sizes @ (means - column.mean()) ** 2 / len(column) / column.var()))
    return round(max(shares), 6)


def _followed_up(context: Context, segmentation: Segmentation, only: str | None = None) -> pa.Table:
    """Each live contact's segment: followed through the starts of the last months, then the instant.

    Beside it `group`, the group that is `nearest` now, and the one that it had `before`, at the start of the
    month; -1 is not known.
    """
    population(context, "segment_people", only)
    behaviour.gather(context, "segment_people")
    instants = [*_month_starts(context.as_of), context.as_of]
    people = context.engine.fetch("select count(*) as n from segment_people")["n"][0].as_py()
    chunks = 1 + people * len(instants) // CHUNK_PAIRS
    parts = [_followed(context, segmentation, instants, chunk, chunks) for chunk in range(chunks)]
    return pa.concat_tables(parts).sort_by("contact_id")


def _followed(
    context: Context, segmentation: Segmentation, instants: list[datetime], chunk: int, chunks: int
) -> pa.Table:
    every = " union all ".join(f"select {_at(instant)} as as_of" for instant in instants)
    context.engine.run(
        "create or replace temp table pairs as select contact_id, i.as_of "
        f"from (select contact_id from segment_people where stable_bucket(contact_id, {chunks}) = {chunk}) p "
        f"cross join ({every}) i"
    )
    seen = behaviour.measure(context.engine, segmentation.measures)
    shape = (-1, len(instants))
    apart = clusters.distances(segmentation.scale(seen.values), segmentation.centres)
    known = (seen.acts >= behaviour.MIN_ACTS).reshape(shape)
    apart = apart.reshape(*shape, len(segmentation.centres))
    group = clusters.settle(apart, known)
    before = clusters.settle(apart[:, :-1], known[:, :-1]) if len(instants) > 1 else np.full(len(group), -1)
    ids = np.array([*segmentation.ids, UNKNOWN_ID], dtype=object)
    contacts = seen.contact_id.take(pa.array(np.arange(0, len(seen.contact_id), len(instants))))
    return pa.table(
        {
            "contact_id": contacts.cast(pa.string()),
            "leadlight_segment": pa.array(ids[group], pa.string()),
            "group": group,
            "nearest": apart[:, -1].argmin(axis=1),
            "before": before,
        }
    )


def _month_starts(as_of: datetime) -> list[datetime]:
    """The last MONTHS_BACK starts of a month before the instant, ascending: fixed points, whatever the day."""
    months = as_of.year * 12 + as_of.month - 1
    back = [divmod(months - count, 12) for count in range(MONTHS_BACK + 1)]
    starts = [datetime.fromisoformat(f"{year:04}-{month + 1:02}-01") for year, month in back]
    return sorted(start for start in starts if start < as_of)[-MONTHS_BACK:]


def _judge(context: Context, fit: _Fit, assigned: pa.Table) -> Evaluation:
    counts = assigned["leadlight_segment"].value_counts().to_pylist()
    held = {one["values"]: one["counts"] for one in counts}
    named = {UNKNOWN_ID: UNKNOWN_NAME, **fit.segmentation.names}
    reasons = _refusals(fit, {**GATES, **context.options.gates})
    group, nearest, before = (assigned[name].to_numpy() for name in ("group", "nearest", "before"))
    figures = {
        "k": len(fit.segmentation.centres),
        "stability": {"value": fit.stability.value, "low": fit.stability.low},
        "separation": fit.separation,
        "sizes": {key: held.get(key, 0) for key in named},
        "names": named,
        "telling": fit.telling,
        "largest_share": round(fit.largest, 6),
        "membership": Freshness.of(group, nearest, before).to_json(),
        "outcome_information": fit.information,
        "segments": membership.described(context, assigned, named),
        "born": list(fit.born),
        "gone": dict(fit.gone),
        "stability_by_k": {str(number): [one.value, one.low] for number, one in fit.scan.items()},
    }
    return Evaluation(Segments.name, figures, not reasons, tuple(reasons))


def _refusals(fit: _Fit, gates: Mapping[str, float]) -> list[str]:
    reasons = []
    if fit.stability.value < gates["segments_stability"] or fit.stability.low < gates["segments_stability_low"]:
        reasons.append(
            "The groups are not found again when contacts are resampled: adjusted Rand index "
            f"{fit.stability.value:.2f}, lower bound {fit.stability.low:.2f} (needed "
            f"{gates['segments_stability']:.2f} and {gates['segments_stability_low']:.2f}). "
            "More contacts with a history would mend it."
        )
    if fit.largest > gates["segments_largest"]:
        reasons.append(f"One group holds {fit.largest:.0%} of the contacts: that splits nobody.")
    if fit.telling < _TELLING:
        reasons.append(
            "The groups tell only who is active and who is not (at most "
            f"{fit.telling:.0%} of the variance of value, channels, times and interests lies between them). "
            "Purchases, more channels or page addresses would mend it."
        )
    return reasons


def _at(instant: datetime) -> str:
    return f"timestamp '{instant:%Y-%m-%d %H:%M:%S}'"
