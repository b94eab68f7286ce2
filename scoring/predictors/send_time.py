"""When each contact is most likely to respond: hour and weekday in the contact's own zone.

An hour is the contact's own only where its own day foretells its later responses better than everyone's does;
else it is that of people alike, else everyone's. The whole predictor is refused when own days do not win on
held-out responses.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scoring.content import version_of
from scoring.engine import literal, quoted
from scoring.errors import ModelMismatch
from scoring.hours import evaluation as hour_evaluation
from scoring.hours import responses
from scoring.hours.evaluation import Comparison
from scoring.hours.profiles import Profiles, hours
from scoring.hours.responses import Floats, Ints, Reading, Responses
from scoring.hours.weekdays import Weekdays
from scoring.predictors.base import Context, Evaluation, Model
from scoring.snapshots import population

DEFAULT, SEGMENT, PERSONAL = 0, 1, 2
SOURCES = ("default", "segment", "personal")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

#: A contact with fewer responses is not evaluated, and has no hour of its own.
MIN_EVENTS = 30
MIN_CONTACTS = 20
#: A contact's training part of MIN_EVENTS; from here on own days are what the evaluation measured.
PROVEN = 21
#: With fewer responses no day is the contact's own, even where own days win for contacts below PROVEN.
MIN_OWN = 10
#: With fewer responses nobody is known to be alike.
MIN_ALIKE = 5
#: Bits by which a day must differ from everyone's to be worth publishing instead of it.
MIN_BITS = 0.02
#: Contacts that training and evaluation look at, at most.
MAX_CONTACTS = 20_000
#: Rows that scoring holds at a time.
CHUNK_ROWS = 4_000_000
_WORST_LATER = -0.01
BASELINES = {
    "global": "everyone's hours",
    "personal_histogram": "a plain count of the contact's hours",
    "default": "everyone's hours, corrected for bursts and for when mail was sent",
}


@dataclass(frozen=True)
class _Learnt:
    profiles: Profiles
    weekdays: Weekdays
    #: Responses from which a day is the contact's own, and from which it is that of people alike.
    own_from: int
    alike_from: int | None


class SendTime:
    """Best send hour and weekday by contact."""

    name = "send_time"
    properties: tuple[str, ...] = ("leadlight_send_hour", "leadlight_send_weekday", "leadlight_send_source")

    def lacks(self, context: Context) -> list[str]:
        population(context, "send_people", training=True)
        responses.build(context, "send_people", responses.choose_reading(context, "send_people"))
        known = _count(
            context,
            "select count(*) as n from (select contact_id from responses "
            f"where role <> {responses.MAIL} group by contact_id having count(*) >= {MIN_EVENTS}) c",
        )
        if known >= MIN_CONTACTS:
            return []
        return [_too_few(known)]

    def evaluate(self, context: Context) -> Evaluation:
        reading, seen, few = _sample(context)
        return _judge(context, reading, seen, few)

    def train(self, context: Context, previous: Model | None = None) -> Model:  # noqa: ARG002 -- see below
        """Fit on a sample of the contacts. Nothing needs to outlive retraining, so `previous` is not read."""
        reading, seen, few = _sample(context)
        evaluation = _judge(context, reading, seen, few)
        profiles = hour_evaluation.learn_split(seen, hour_evaluation.by_contact, reading, context.options.seed)
        own_from, alike_from = _thresholds(few, profiles)
        meta = {
            "evaluation": evaluation.to_json(),
            "basis": reading.basis,
            "trained_on": {"contacts": seen.count, "events": int(seen.acts.sum())},
            "until": context.as_of.isoformat(),
            "own_from": own_from,
            "alike_from": alike_from,
        }
        files = {
            "profiles.json": json.dumps(profiles.to_json()),
            "weekdays.json": json.dumps(Weekdays.learn(seen).to_json()),
        }
        return Model(self.name, context.goal.name, version_of(self.name, context.as_of, meta, files), meta, files)

    def prepare(self, model: Model) -> Iterator[None]:
        _read(model)
        yield

    def score(self, context: Context, model: Model, only: str | None = None) -> pa.Table:
        if (model.predictor, model.goal) != (self.name, context.goal.name):
            raise ModelMismatch(f"{model.version!r} is no model of send times for goal {context.goal.name!r}.")
        learnt = _read(model)
        population(context, "send_people", only)
        responses.build(context, "send_people", learnt.profiles.reading)
        rows = _count(context, "select count(*) as n from responses")
        chunks = 1 + rows // CHUNK_ROWS
        known = pa.concat_tables([_scored(context, learnt, chunk, chunks) for chunk in range(chunks)])
        return _for_everyone(context, learnt, known)


def choose(
    profiles: Profiles, past: Responses, own_from: int = PROVEN, alike_from: int | None = MIN_ALIKE
) -> tuple[Floats, Ints]:
    """The day that is used for each contact, and its source: own, else of people alike, else everyone's."""
    tallies = hours(past, profiles.common)
    number = past.acts_by_contact()
    own, like = profiles.of(tallies), profiles.alike(tallies)
    source = np.full(past.count, DEFAULT)
    if alike_from is not None:
        source[(number >= alike_from) & (_bits_apart(like, profiles.common) >= MIN_BITS)] = SEGMENT
    source[(number >= own_from) & (_bits_apart(own, profiles.common) >= MIN_BITS)] = PERSONAL
    shared = np.where((source == SEGMENT)[:, None], like, profiles.common)
    return np.where((source == PERSONAL)[:, None], own, shared), source


def _thresholds(few: Responses, profiles: Profiles) -> tuple[int, int | None]:
    """From how many responses on own days, and days of people alike, are worth using: proof on held-out ones."""
    own, alike = hour_evaluation.gains_of_few(few, profiles)
    return (MIN_OWN if own > max(alike, 0.0) else PROVEN), (MIN_ALIKE if alike > 0 else None)


def _bits_apart(days: Floats, common: Floats) -> Floats:
    """Bits per response that `days` would gain over `common` if they were right (Kullback-Leibler)."""
    apart: Floats = np.round((days * np.log2(days / common)).sum(axis=1), 9)
    return apart


def _sample(context: Context) -> tuple[Reading, Responses, Responses]:
    """How to read, contacts with MIN_EVENTS or more, and contacts with fewer; at most MAX_CONTACTS in all."""
    engine = context.engine
    population(context, "send_people", training=True)
    reading = responses.choose_reading(context, "send_people")
    responses.build(context, "send_people", reading)
    some = 2 * MIN_ALIKE
    contacts = _count(
        context,
        "select count(*) as n from (select contact_id from responses "
        f"where role <> {responses.MAIL} group by contact_id having count(*) >= {some}) c",
    )
    engine.run(
        "create or replace temp table send_sample as select contact_id from send_people "
        f"where stable_bucket(contact_id, {1 + contacts // MAX_CONTACTS}) = 0"
    )
    _, seen = responses.read(engine, "send_sample", at_least=some)
    many = seen.acts_by_contact() >= MIN_EVENTS
    return reading, seen.of_contacts(many), seen.of_contacts(~many)


def _judge(context: Context, reading: Reading, seen: Responses, few: Responses) -> Evaluation:
    seed = context.options.seed
    if seen.count < MIN_CONTACTS:
        return Evaluation(SendTime.name, {"contacts": seen.count}, False, (_too_few(seen.count),))

    def chosen(profiles: Profiles, past: Responses) -> tuple[Floats, Ints]:
        return choose(profiles, past, *_thresholds(few, profiles))

    within = hour_evaluation.compare(seen, hour_evaluation.by_contact, reading, seed, chosen, PERSONAL)
    later = hour_evaluation.compare(seen, hour_evaluation.by_calendar, reading, seed, chosen, PERSONAL)
    figures = {**within.figures(seed), "basis": reading.basis, "later_weeks": later.figures(seed)}
    reasons = _refusals(within, later, seed)
    return Evaluation(SendTime.name, figures, not reasons, tuple(reasons))


def _refusals(within: Comparison, later: Comparison, seed: int) -> list[str]:
    """One sentence for each plain baseline that own days do not beat."""
    reasons = []
    for name in within.baselines:
        gain = within.gain(seed, name)
        if gain["low"] <= 0:
            reasons.append(
                f"Own hours do not foretell later responses better than {BASELINES[name]}: {gain['value']:+.3f} "
                f"bits per event (95% interval {gain['low']:+.3f} to {gain['high']:+.3f}). "
                f"More contacts with {MIN_EVENTS} responses would mend it, if people differ at all."
            )
    weeks = later.gain(seed)
    if weeks["value"] < _WORST_LATER:
        reasons.append(
            f"In later weeks own hours lose to everyone's: {weeks['value']:+.3f} bits per event. Habits have "
            "moved; a longer or a more recent history would mend it."
        )
    return reasons


def _too_few(contacts: int) -> str:
    return (
        f"Send time needs {MIN_CONTACTS} contacts with at least {MIN_EVENTS} responses each (clicks, replies, "
        f"forms, page views, purchases); {contacts} {'has' if contacts == 1 else 'have'} so many."
    )


def _read(model: Model) -> _Learnt:
    if "learnt" not in model.parsed:
        model.parsed["learnt"] = _parsed(model)
    found: _Learnt = model.parsed["learnt"]
    return found


def _parsed(model: Model) -> _Learnt:
    try:
        profiles = Profiles.from_json(json.loads(model.files["profiles.json"]))
        weekdays = Weekdays.from_json(json.loads(model.files["weekdays.json"]))
        return _Learnt(profiles, weekdays, model.meta["own_from"], model.meta["alike_from"])
    except (KeyError, TypeError, ValueError) as problem:
        raise ModelMismatch(f"{model.version!r} is no model of send times: train again.") from problem


def _scored(context: Context, learnt: _Learnt, chunk: int, chunks: int) -> pa.Table:
    """Hour, weekday and source of the contacts of one chunk that ever responded."""
    context.engine.run(
        "create or replace temp table send_chunk as select contact_id from send_people "
        f"where stable_bucket(contact_id, {chunks}) = {chunk}"
    )
    ids, past = responses.read(context.engine, "send_chunk")
    days, source = choose(learnt.profiles, past, learnt.own_from, learnt.alike_from)
    return _table(ids, best(days), best(learnt.weekdays.of(past, source == PERSONAL)), source)


def best(shares: Floats) -> Ints:
    """The likeliest cell of each row; ties, up to the last digits of a sum, go to the first."""
    first: Ints = np.argmax(np.round(shares, 9), axis=1)
    return first


def _table(ids: pa.Array, hour: Ints, weekday: Ints, source: Ints) -> pa.Table:
    return pa.table(
        {
            "contact_id": ids.cast(pa.string()),
            "leadlight_send_hour": pa.array(hour.astype(np.float64)),
            "leadlight_send_weekday": pa.array(np.array(WEEKDAYS, dtype=object)[weekday], pa.string()),
            "leadlight_send_source": pa.array(np.array(SOURCES, dtype=object)[source], pa.string()),
        }
    )


def _for_everyone(context: Context, learnt: _Learnt, known: pa.Table) -> pa.Table:
    """The known ones, everyone's hour for the others, and nothing for those who take no marketing mail."""
    context.engine.put("send_known", known)
    before = responses.instant(context)
    hour = int(best(learnt.profiles.common[None])[0])
    weekday = WEEKDAYS[int(best(learnt.weekdays.common[None])[0])]
    standing = {
        "leadlight_send_hour": f"{hour}.0e0",
        "leadlight_send_weekday": literal(weekday),
        "leadlight_send_source": literal(SOURCES[DEFAULT]),
    }
    columns = ", ".join(
        f"case when s.contact_id is null then coalesce(k.{quoted(name)}, {value}) end as {quoted(name)}"
        for name, value in standing.items()
    )
    return context.engine.fetch(f"""
with stances as (
  select contact_id, status, row_number() over (
    partition by contact_id, channel order by since desc nulls last, status) as age
  from consents where purpose = 'marketing' and coalesce(channel, 'email') = 'email'
    and (since is null or since < {before})
), stopped as (
  select contact_id from stances where age = 1 and status = 'denied'
  union
  select contact_id from events where kind = 'email_unsubscribe' and occurred_at < {before}
)
select p.contact_id, {columns} from send_people p left join send_known k on p.contact_id = k.contact_id
  left join stopped s on p.contact_id = s.contact_id order by p.contact_id""")


def _count(context: Context, query: str) -> int:
    return int(context.engine.fetch(query)["n"][0].as_py())
