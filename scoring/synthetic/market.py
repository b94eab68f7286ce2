"""A made-up B2B market with known truth, for the demo and for tests that must know the answer.

`market(contacts, seed, until, ...)` gives canonical tables (`scoring.tables`) and the truth behind them, and
`markets` the same in parts that fit the memory. Equal arguments give equal tables; times are relative to
`until`, the market's end (nothing happens at or after it).

The story. Contacts belong to companies, live in eleven zones (two of them half-hour zones) and keep their own
hours: early birds, lunch readers, evening and night people. Mail leaves mostly at nine in the account's zone.
Some contacts enter a spell of intent: they look at prices, ask for a demo, reply, talk to sales, a deal is
opened, and some weeks later it is won or lost; who fits well does so more often and wins more often. Machines
open and click too. After a win, fields are filled that no forecast may look at.

Parameters beside contacts, seed and until (defaults in `Parameters`):

- `months`: since so long before `until` activity is recorded
- `standing`: share of contacts, and their deals, that are older than that
- `contacts_per_company`: mean number of contacts of a company
- `account_timezone`, `currency`: the account's own
- `campaigns_per_month`, `mail_share`: mailings, and the share of all contacts that gets each
- `nine_o_clock`: share of mailings sent at nine in the account's zone; the others leave over the day
- `own_hours`: share of attention that follows a person's own hours; the rest is even over the day
- `page_views`: multiplies page views
- `zone_known`: share of contacts whose time zone stands in the CRM
- `privacy`: share of contacts whose mail is opened by a privacy proxy
- `scanners`: share of companies whose mail gateway clicks every link
- `lone_scans`: share of those gateways that click only one link of a mail
- `in_inbox`: share of people's prompt opens that come within seconds, because they were in their inbox
- `several_links`: share of people's clicks that are followed by more links of the same mail within seconds
- `filtered`: share of gateways and of proxies that the platform recognises itself: their events have `human` = 0,
  all others 1
- `opted_out`, `profiling_denied`: shares of contacts who left marketing mail, or object to profiling
- `missing`: share of contacts without a value in a CRM field that people fill in
- `spells_per_year`, `win_rate`, `inbound`: how often the average contact enters a spell of intent, how often it
  is won, and the share who arrive in one
- `drift`: spells come exp(2 x drift) times as often at the end as at the beginning; 0 is no drift
- `shuffled_outcomes`: deals fall on contacts by pure chance, with no sign before: nothing can be learned
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from scoring.synthetic import engagement, outcomes, properties
from scoring.synthetic import mail as mailing
from scoring.synthetic import people as people_of
from scoring.synthetic.clock import DAY, HOUR, Clock, Ints, seconds
from scoring.synthetic.draft import Draft
from scoring.synthetic.parameters import Parameters
from scoring.synthetic.tables import tables

__all__ = ["Market", "Parameters", "Truth", "market", "markets"]


@dataclass(frozen=True)
class Truth:
    """What no platform tells.

    `contacts`: contact_id, segment, archetype, zone (IANA), best_hour and best_hours (the three best local
    hours), best_weekday (1 is Monday), fit, machine_opens, scanned, opted_out, profiling_denied.
    `events`: event_id and origin (person, platform, scanner, proxy, sales).
    `leaky`, `null`, `honest`: internal names of planted contact properties.
    """

    contacts: pa.Table
    events: pa.Table
    leaky: tuple[str, ...]
    null: tuple[str, ...]
    honest: tuple[str, ...]
    draft: Draft

    def probability(self, as_of: datetime, days: int = 90) -> pa.Table:
        """contact_id and the true chance of a deal won in `(as_of, as_of + days]`.

        One row for each contact who is there at `as_of` (naive UTC) and has not won before; in table order.
        """
        at, draft = seconds(as_of), self.draft
        if draft.blind:
            chance = outcomes.blind_probability(draft.odds, days)
        else:
            chance = outcomes.probability(draft.odds, draft.deals, at, days)
        there = (draft.people.created < at) & (outcomes.won_at(len(draft.people), draft.deals, at + 1) > at)
        ids = self.contacts["contact_id"].combine_chunks()
        return pa.table({"contact_id": ids.filter(pa.array(there)), "probability": chance[there]})


@dataclass(frozen=True)
class Market:
    """Canonical tables and the truth behind them."""

    tables: Mapping[str, pa.Table]
    truth: Truth
    parameters: Parameters
    until: datetime


def market(contacts: int, seed: int, until: datetime, **parameters: Any) -> Market:
    """Make a market of so many contacts that ends at `until` (naive UTC, whole seconds).

    `parameters` are fields of `Parameters`. 20,000 contacts take some seconds, 200,000 a minute or two.
    """
    return _market(contacts, seed, until, Parameters(**parameters), 0)


def markets(
    contacts: int, seed: int, until: datetime, at_a_time: int = 50_000, **parameters: Any
) -> Iterator[Market]:
    """A market too large for the memory, in parts of at most `at_a_time` contacts with ids of their own.

    The parts have mailings in common (the same rows in each part's `campaigns`), and property definitions.
    """
    for part, done in enumerate(range(0, contacts, at_a_time)):
        yield _market(min(at_a_time, contacts - done), seed, until, Parameters(**parameters), part)


def _market(contacts: int, seed: int, until: datetime, chosen: Parameters, part: int) -> Market:
    draft = _draft(contacts, seed, seconds(until), chosen, part)
    made, truth_contacts, truth_events = tables(draft, _stream(seed, 8, part))
    truth = Truth(truth_contacts, truth_events, properties.LEAKY, properties.NULL, properties.HONEST, draft)
    return Market(made, truth, chosen, until)


def _stream(seed: int, use: int, part: int) -> np.random.Generator:
    """Random numbers for one use, so that a change in one does not move the others."""
    return np.random.default_rng([seed, use, part])


def _draft(count: int, seed: int, until: int, chosen: Parameters, part: int) -> Draft:
    """Everything that is drawn."""
    streams = iter([_stream(seed, use, part) for use in range(7)])
    start = until - round(chosen.months * 365.25 / 12) * DAY
    zones = (*people_of.ZONES, chosen.account_timezone)
    clock = Clock(zones, start - people_of.STANDING_SPAN - 10 * DAY, until)
    firms = people_of.companies(
        next(streams),
        max(1, round(count / chosen.contacts_per_company)),
        start,
        chosen.scanners,
        chosen.lone_scans,
    )
    who = people_of.people(
        next(streams), count, firms, start, until, chosen.own_hours, chosen.privacy, chosen.standing
    )
    odds = outcomes.odds(
        who, chosen.spells_per_year, chosen.win_rate, chosen.drift, start, until, chosen.shuffled_outcomes
    )
    shown = outcomes.spells(next(streams), who, odds, chosen.inbound)
    stream = next(streams)
    deals = outcomes.instant_wins(stream, who, odds) if chosen.shuffled_outcomes else shown
    stopped = _stopped(next(streams), who, until, chosen.opted_out)
    runs = mailing.campaigns(
        _stream(seed, 7, 0), start, until, chosen.campaigns_per_month, chosen.nine_o_clock, clock, len(zones) - 1
    )
    stream = next(streams)
    events = engagement.together(
        [
            engagement.visits(stream, who, shown, until, clock, chosen.page_views),
            engagement.forms(stream, who, shown, until, clock),
            engagement.talks(stream, who, shown, until, clock),
            mailing.mail(stream, who, shown, runs, stopped, firms, chosen, clock),
            engagement.happening(
                np.flatnonzero(stopped < until), stopped[stopped < until], "email_unsubscribe", engagement.PERSON
            ),
        ]
    )
    inside = (events.at < until) & (events.at >= np.maximum(start, who.created[events.contact] - HOUR))
    events = engagement.kept(events, inside)
    changed = properties.changes(next(streams), who, firms, deals, events, until, chosen.missing)
    return Draft(
        parameters=chosen,
        part=part,
        start=start,
        until=until,
        clock=clock,
        companies=firms,
        people=who,
        odds=odds,
        deals=deals,
        blind=chosen.shuffled_outcomes,
        campaigns=runs,
        events=events,
        changes=tuple(changed),
        stopped=stopped,
    )


def _stopped(rng: np.random.Generator, who: people_of.People, until: int, share: float) -> Ints:
    """When contacts left marketing mail; a day after the market's end for those who did not."""
    leaves = rng.random(len(who)) < share
    when = who.created + HOUR + (rng.random(len(who)) * (until - who.created - HOUR)).astype(np.int64)
    return np.where(leaves, when, until + DAY)
