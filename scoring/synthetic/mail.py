"""Campaigns of the made-up market: who is sent what and when, and which responses are people's."""

from dataclasses import dataclass

import numpy as np

from scoring.synthetic.clock import DAY, HOUR, Bools, Clock, Floats, Ints
from scoring.synthetic.engagement import (
    LINKS,
    PAGE,
    PLATFORM,
    PROXY,
    SCANNER,
    Happenings,
    attention,
    habits,
    happening,
    together,
)
from scoring.synthetic.outcomes import Spells
from scoring.synthetic.parameters import Parameters
from scoring.synthetic.people import Companies, People, soon

SUBJECTS = (
    "Five numbers to watch this month",
    "What open rates hide",
    "Live webinar: waking up quiet leads",
    "New: automation recipes",
    "Benchmark guide for your industry",
    "How a team of three runs its pipeline",
)
_OTHER_HOURS = np.array([6, 7, 11, 13, 15, 17, 19, 21])


@dataclass(frozen=True)
class Campaigns:
    """One entry a campaign."""

    sent: Ints
    subject: Ints
    cost: Floats


def campaigns(
    rng: np.random.Generator, start: int, until: int, per_month: float, nine: float, clock: Clock, zone: int
) -> Campaigns:
    """Campaigns on working days, `nine` of them at nine o'clock in the account's zone, others over the day."""
    count = max(6, round((until - start) / DAY / 30 * per_month))
    day = np.sort(rng.choice(np.arange(start // DAY + 2, until // DAY - 1), count, replace=False))
    day = day - np.where((day + 3) % 7 > 4, 2, 0)  # 1970-01-01 was a Thursday: weekends move to Thursday, Friday
    hour = np.where(rng.random(count) < nine, 9, rng.choice(_OTHER_HOURS, count))
    sent = clock.utc(np.sort(day * DAY + hour * HOUR), np.full(count, zone))
    return Campaigns(sent, rng.integers(0, len(SUBJECTS), count), rng.integers(20, 200, count).astype(np.float64))


def mail(
    rng: np.random.Generator,
    who: People,
    past: Spells,
    runs: Campaigns,
    stopped: Ints,
    firms: Companies,
    chosen: Parameters,
    clock: Clock,
) -> Happenings:
    """Every mail with what follows from it. Each campaign goes to `mail_share` of those who take mail."""
    contact, campaign = _recipients(rng, who, runs, chosen.mail_share, stopped)
    sent = runs.sent[campaign] + rng.integers(0, 240, len(contact))
    bounced = rng.random(len(contact)) < 0.012
    delivered = sent + rng.integers(1, 20, len(contact))
    parts = [
        happening(contact, sent, "email_sent", PLATFORM, campaign),
        happening(contact[bounced], delivered[bounced], "email_bounce", PLATFORM, campaign[bounced]),
    ]
    contact, campaign, delivered = contact[~bounced], campaign[~bounced], delivered[~bounced]
    parts.append(happening(contact, delivered, "email_delivered", PLATFORM, campaign))
    parts += _people(rng, who, past, contact, campaign, delivered, chosen, clock)
    parts += _proxies(rng, who, contact, campaign, delivered)
    parts += _scanners(rng, who, firms, contact, campaign, delivered)
    return together(parts)


def _recipients(
    rng: np.random.Generator, who: People, runs: Campaigns, share: float, stopped: Ints
) -> tuple[Ints, Ints]:
    """Pairs of contact and campaign: a share of those who are there and still take mail."""
    drawn = rng.binomial(len(who), share, len(runs.sent))
    campaign = np.repeat(np.arange(len(runs.sent)), drawn)
    contact = rng.integers(0, len(who), len(campaign))
    pair = np.unique(campaign * len(who) + contact)  # nobody gets a campaign twice
    campaign, contact = pair // len(who), pair % len(who)
    takes = (who.created[contact] < runs.sent[campaign]) & (runs.sent[campaign] < stopped[contact])
    return contact[takes], campaign[takes]


def _people(
    rng: np.random.Generator,
    who: People,
    past: Spells,
    contact: Ints,
    campaign: Ints,
    at: Ints,
    chosen: Parameters,
    clock: Clock,
) -> list[Happenings]:
    """Opens soon after delivery where the hour suits, else some later; clicks with the page they lead to."""
    habit = habits(who)
    quick, more = rng.spawn(2)
    eager = in_spell(past, contact, at)
    awake = attention(who, contact, at, clock)
    opens = rng.random(len(at)) < np.minimum(habit[contact, 0] + 0.15 * eager, 0.9) * (0.15 + 0.85 * awake)
    later = ~opens & (rng.random(len(at)) < 0.22 * habit[contact, 0])
    when = at + _until_read(rng, quick, len(at), chosen.in_inbox)
    when[later] = soon(rng, who, contact[later], at[later] + HOUR, 3, clock)
    opened = opens | later
    contact, campaign, when, eager = contact[opened], campaign[opened], when[opened], eager[opened]
    parts = [happening(contact, when, "email_open", campaign=campaign)]
    clicks = rng.random(len(when)) < np.minimum(habit[contact, 1] + 0.2 * eager, 0.85)
    contact, campaign, eager = contact[clicks], campaign[clicks], eager[clicks]
    when = when[clicks] + 3 + rng.exponential(60.0, len(contact)).astype(np.int64)
    page = rng.choice(np.array(LINKS[:3]), len(contact))
    page[eager & (rng.random(len(page)) < 0.4)] = PAGE["/pricing"]
    parts.append(happening(contact, when, "email_click", campaign=campaign, about=page))
    lands = rng.random(len(page)) < 0.5
    parts.append(happening(contact[lands], when[lands] + 2, "page_view", about=page[lands]))
    return [*parts, _more_clicks(more, contact, campaign, when, chosen.several_links)]


def _until_read(rng: np.random.Generator, quick: np.random.Generator, count: int, in_inbox: float) -> Ints:
    """Seconds from delivery to a prompt open: seldom under half a minute, unless one is in one's inbox."""
    usual = 30 + rng.exponential(900.0, count)
    at_once = 1 + quick.exponential(14.0, count)
    found: Ints = np.where(quick.random(count) < in_inbox, at_once, usual).astype(np.int64)
    return found


def _more_clicks(
    rng: np.random.Generator, contact: Ints, campaign: Ints, when: Ints, several: float
) -> Happenings:
    """Some readers open one to three more links after the first, seconds apart, now and then one of them twice."""
    row = np.flatnonzero(rng.random(len(when)) < several)
    row = np.repeat(row, 1 + rng.binomial(2, 0.35, len(row)))
    place = np.arange(len(row)) - np.searchsorted(row, row)
    gap = 1 + rng.exponential(7.0, len(row)).astype(np.int64)
    at = when[row] + gap * (place + 1)
    return happening(contact[row], at, "email_click", campaign=campaign[row], about=rng.choice(LINKS, len(row)))


def _proxies(rng: np.random.Generator, who: People, contact: Ints, campaign: Ints, at: Ints) -> list[Happenings]:
    """A privacy proxy fetches the pictures near delivery, one in seven only hours later."""
    via = who.privacy[contact] & (rng.random(len(at)) < 0.9)
    slow = rng.random(via.sum()) < 0.15
    delay = np.where(slow, rng.exponential(3.0 * HOUR, via.sum()), rng.exponential(90.0, via.sum()))
    return [happening(contact[via], at[via] + 1 + delay.astype(np.int64), "email_open", PROXY, campaign[via])]


def _scanners(
    rng: np.random.Generator, who: People, firms: Companies, contact: Ints, campaign: Ints, at: Ints
) -> list[Happenings]:
    """A mail gateway opens the mail and clicks every link within seconds, or, a `lone` one, the first link only;
    one scan in five comes hours later."""
    hit = firms.scanned[who.company[contact]] & (rng.random(len(at)) < 0.75)
    contact, campaign, at = contact[hit], campaign[hit], at[hit]
    late = rng.random(len(at)) < 0.2
    delay = np.where(late, rng.integers(720, 5 * HOUR, len(at)), rng.integers(2, 60, len(at)))
    at = at + delay
    parts = [happening(contact, at, "email_open", SCANNER, campaign)]
    row = np.repeat(np.arange(len(at)), len(LINKS))
    burst = at[row] + 1 + np.cumsum(rng.integers(0, 4, (len(at), len(LINKS))), axis=1).ravel()
    link = np.tile(np.arange(len(LINKS)), len(at))
    clicked = (link == 0) | ~firms.lone[who.company[contact[row]]]
    row, burst, page = row[clicked], burst[clicked], np.array(LINKS)[link[clicked]]
    return [*parts, happening(contact[row], burst, "email_click", SCANNER, campaign[row], page)]


def in_spell(past: Spells, contact: Ints, at: Ints) -> Bools:
    """Whether each contact was in a spell of intent at each instant."""
    order = np.lexsort((past.begin, past.contact))
    owner, begin, end = past.contact[order], past.begin[order], past.end[order]
    # contact and time in one sortable number
    key = owner * (1 << 34) + begin
    place = np.searchsorted(key, contact * (1 << 34) + at, side="right") - 1
    hit = (place >= 0) & (owner[place] == contact) & (at < end[place]) if len(owner) else np.zeros(len(at), bool)
    return np.asarray(hit, dtype=bool)
