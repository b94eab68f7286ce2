"""What people did and what was sent to them, in their own hours, as arrays.

A response is something a person did by own choice: a click, a reply, a form, a page view, a purchase; an open
counts little. Where deliveries are known, a response to a mail stands at the hour of that mail's delivery, beside
all deliveries by hour, so that rates can be compared and not mere counts (basis `exposure`). Else every response
stands at its own hour (basis `activity`).

What is known by its day alone (`scoring.tables.BY_DAY`) says nothing of an hour and is left out.

The local hour comes from the event's own UTC offset, else from the contact's zone (`scoring.zones`); daylight
saving is the engine's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoring.context import Context
from scoring.engine import Engine, literal
from scoring.tables import BY_DAY
from scoring.zones import zones

# JSON as it is written, without spaces: engines spell the reading of JSON differently.
_HAS_AN_HOUR = "coalesce(properties, '') not like " + literal(
    f"%{json.dumps(dict(BY_DAY), separators=(',', ':'))[1:-1]}%"
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FREE, ANSWER, MAIL = 0, 1, 2

#: How much an event says about when its person is there. Kinds not listed are done to people, or arranged.
KIND_WEIGHTS = {
    "email_open": 0.25,
    "email_click": 1.0,
    "email_reply": 1.0,
    "form_submit": 1.0,
    "page_view": 1.0,
    "product_view": 1.0,
    "cart_add": 1.0,
    "sms_click": 1.0,
    "push_open": 0.5,
    "ad_click": 1.0,
    "custom": 1.0,
}
_ANSWERS = ("email_open", "email_click", "email_reply")
#: Below this probability that a person did it, an event says nothing about that person's hours.
MIN_HUMAN = 0.3
#: A response belongs to the last mail of its campaign in this time; later ones stand for themselves.
_ANSWER_DAYS = 7
#: What follows an answered mail within this time was brought about by the mail.
_INDUCED_SECONDS = 2 * 3600
#: So many responses must belong to a known delivery before rates by delivery hour are worth computing.
MIN_ANSWERS = 200


@dataclass(frozen=True)
class Reading:
    """How events become responses; stored with the model, so that scoring reads as training did."""

    basis: Literal["activity", "exposure"] = "activity"
    #: The kind that stands for a delivery, in basis `exposure`.
    mail_kind: str | None = None
    #: Opens count in full where nothing else is known.
    opens_only: bool = False

    def weight_sql(self) -> str:
        weights = {**KIND_WEIGHTS, "email_open": 1.0} if self.opens_only else KIND_WEIGHTS
        cases = " ".join(f"when kind = {literal(kind)} then {weight!r}e0" for kind, weight in weights.items())
        return f"case {cases} else 0.0e0 end"


@dataclass(frozen=True)
class Responses:
    """Rows by role, contact and time. `contact` is an index into the ids; seconds since 1970, UTC and local."""

    count: int
    role: Ints
    contact: Ints
    second: Ints
    local: Ints
    weight: Floats
    #: Local hour in which the person acted; differs from that of `local` for answers to a mail.
    own_hour: Ints

    @property
    def hour(self) -> Ints:
        return self.local % 86400 // 3600

    @property
    def weekday(self) -> Ints:
        """0 is Monday (1970-01-01 was a Thursday)."""
        return (self.local // 86400 + 3) % 7

    @property
    def acts(self) -> npt.NDArray[np.bool_]:
        """What a person did, against what was sent."""
        flags: npt.NDArray[np.bool_] = self.role != MAIL
        return flags

    def where(self, keep: npt.NDArray[np.bool_]) -> Responses:
        return Responses(
            self.count,
            self.role[keep],
            self.contact[keep],
            self.second[keep],
            self.local[keep],
            self.weight[keep],
            self.own_hour[keep],
        )

    def of_contacts(self, chosen: npt.NDArray[np.bool_]) -> Responses:
        """Only those contacts, numbered anew."""
        kept = self.where(chosen[self.contact])
        number = np.cumsum(chosen) - 1
        return Responses(
            int(chosen.sum()),
            kept.role,
            number[kept.contact],
            kept.second,
            kept.local,
            kept.weight,
            kept.own_hour,
        )

    def acts_by_contact(self) -> Ints:
        """Number of responses by contact, each event once."""
        return np.bincount(self.contact[self.acts], minlength=self.count)

    def last_by_contact(self) -> Ints:
        """Second of the latest response by contact; of the latest of all for a contact without one."""
        last = np.full(self.count, np.iinfo(np.int64).min)
        np.maximum.at(last, self.contact[self.acts], self.second[self.acts])
        everyone = last.max(initial=0)
        return np.where(last == np.iinfo(np.int64).min, everyone, last)


def instant(context: Context) -> str:
    """The as-of instant as a SQL literal."""
    return f"timestamp '{context.as_of:%Y-%m-%d %H:%M:%S}'"


def choose_reading(context: Context, people: str) -> Reading:
    """Whether deliveries are known well enough to compute rates by delivery hour."""
    found = context.engine.fetch(
        f"select kind, count(*) as n from events join {people} using (contact_id) "
        f"where occurred_at < {instant(context)} and coalesce(human, 1) >= {MIN_HUMAN}e0 and {_HAS_AN_HOUR} "
        "group by kind"
    )
    counts = dict(zip(found["kind"].to_pylist(), found["n"].to_pylist(), strict=True))
    opens_only = not any(counts.get(kind) for kind in KIND_WEIGHTS if kind != "email_open")
    mail_kind = "email_delivered" if counts.get("email_delivered") else "email_sent"
    exposure = Reading("exposure", mail_kind, opens_only)
    if not counts.get(mail_kind) or sum(counts.get(kind, 0) for kind in _ANSWERS) < MIN_ANSWERS:
        return Reading(opens_only=opens_only)
    build(context, people, exposure)
    answers = context.engine.fetch(f"select count(*) as n from responses where role = {ANSWER}")["n"][0].as_py()
    return exposure if answers >= MIN_ANSWERS else Reading(opens_only=opens_only)


def build(context: Context, people: str, reading: Reading) -> None:
    """Make the temporary table `responses` of what the contacts in `people` did before the instant.

    `responses(contact_id, role, second, offset_seconds, own_hour, weight, row_id)`
    """
    context.engine.run(f"create or replace temp table happened as {_happened(context, people, reading)}")
    context.engine.run(
        "create or replace temp table responses as " + (_EXPOSURE if reading.basis == "exposure" else _ACTIVITY)
    )


def read(engine: Engine, ids: str, *, at_least: int = 1) -> tuple[pa.Array, Responses]:
    """The rows of `responses` for the contacts in table `ids` that have so many, as arrays; ids in order."""
    engine.run(
        "create or replace temp table numbered as select contact_id, "
        "row_number() over (order by contact_id) - 1 as number from ("
        f"select r.contact_id from responses r join {ids} i on r.contact_id = i.contact_id "
        f"where role <> {MAIL} group by r.contact_id having count(*) >= {at_least}) few"
    )
    order = engine.fetch("select contact_id from numbered order by number")["contact_id"]
    rows = engine.fetch(
        "select role, number, second, offset_seconds, weight, own_hour from responses join numbered "
        "using (contact_id) order by role, number, second, row_id, weight, own_hour, offset_seconds"
    )
    whole = {name: rows[name].to_numpy().astype(np.int64) for name in rows.column_names if name != "weight"}
    return order.combine_chunks(), Responses(
        len(order),
        whole["role"],
        whole["number"],
        whole["second"],
        whole["second"] + whole["offset_seconds"],
        rows["weight"].to_numpy().astype(np.float64),
        whole["own_hour"],
    )


def _happened(context: Context, people: str, reading: Reading) -> str:
    """Responses and deliveries with UTC second, offset and weight, each once."""
    epoch = "timestamp '1970-01-01 00:00:00'"
    mail = literal(reading.mail_kind or "")
    return f"""
with acts as (
  select contact_id, event_id as row_id, kind, coalesce(campaign_id, '') as campaign, occurred_at as at_,
    utc_offset_min, case when kind = {mail} then 1.0e0
      else least(coalesce(human, 1.0e0), 1.0e0) * {reading.weight_sql()} end as weight
  from events where occurred_at < {instant(context)} and {_HAS_AN_HOUR}
    and (kind = {mail} or coalesce(human, 1.0e0) >= {MIN_HUMAN}e0)
  union all
  select contact_id, purchase_id, 'purchase', '', purchased_at, null, 1.0e0
  from purchases where purchased_at < {instant(context)}
), placed as (
  select a.contact_id, row_id, kind, campaign, weight, secs_between({epoch}, at_) as second,
    coalesce(utc_offset_min * 60, secs_between(at_, local_ts(at_, z.timezone))) as offset_seconds
  from acts a join {people} p on a.contact_id = p.contact_id
    left join ({zones(context.engine, context.options.timezone)}) z on a.contact_id = z.contact_id
  where weight > 0
)
select contact_id, row_id, campaign, weight, second, offset_seconds,
  case when kind = {mail} then {MAIL} when kind in ({", ".join(map(literal, _ANSWERS))}) then {ANSWER}
    else {FREE} end as role,
  cast(floor(safe_div(second + offset_seconds, 3600)) - 24 * floor(safe_div(second + offset_seconds, 86400))
    as bigint) as own_hour
from placed"""


_ACTIVITY = f"""
select contact_id, {FREE} as role, second, offset_seconds, own_hour, weight, row_id
from happened where role <> {MAIL}"""

# The latest mail before a response is found by one window over mails and responses together: an as-of join is
# spelt differently by every engine. Second and offset travel as one number, so that max() keeps them together
# (offsets are within a day of zero, hence the shift).
_EXPOSURE = f"""
with threads as (
  select *, max(case when role = {MAIL} then second * 262144 + offset_seconds + 131072 end) over (
      partition by contact_id, campaign order by second, role desc, row_id
      rows between unbounded preceding and current row) as mail,
    max(case when role = {ANSWER} then second end) over (
      partition by contact_id order by second, role desc, row_id
      rows between unbounded preceding and current row) as answered
  from happened
), traced as (
  select *, cast(floor(safe_div(mail, 262144)) as bigint) as mail_second from threads
), answers as (
  select contact_id, mail, mail_second, max(weight) as weight, min(own_hour) as own_hour, min(row_id) as row_id
  from traced where role = {ANSWER} and second - mail_second <= {_ANSWER_DAYS * 86400}
  group by contact_id, mail, mail_second
)
select contact_id, {ANSWER} as role, mail_second as second, mail - mail_second * 262144 - 131072 as offset_seconds,
  own_hour, weight, row_id from answers
union all
select contact_id, role, second, offset_seconds, own_hour, weight, row_id from traced where role = {MAIL}
union all
select contact_id, {FREE}, second, offset_seconds, own_hour, weight, row_id from traced
where role = {FREE} and (answered is null or second - answered > {_INDUCED_SECONDS})"""
