"""What people of the made-up market do, and what machines do in their name: mail, pages, forms, sales talks.

Human responses to a mail depend on the contact's attention at the hour when it arrives; page views and forms
happen at people's own hours. Mail leaves mostly at nine in the account's zone, so opens and clicks pile up
there whoever the reader is. Gateways click every link within seconds (some hours later), privacy proxies open
at delivery.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scoring.synthetic.clock import DAY, HOUR, Bools, Clock, Floats, Ints, hour_of, repeated
from scoring.synthetic.outcomes import Spells
from scoring.synthetic.people import SEGMENTS, People, soon, spread

KINDS = (
    "email_sent",
    "email_delivered",
    "email_open",
    "email_click",
    "email_reply",
    "email_bounce",
    "email_unsubscribe",
    "page_view",
    "form_submit",
    "meeting",
    "call",
)
KIND = {kind: code for code, kind in enumerate(KINDS)}
#: Who is really behind an event: a person, the mail platform, a link scanner, a privacy proxy, a salesperson.
ORIGINS = ("person", "platform", "scanner", "proxy", "sales")
PERSON, PLATFORM, SCANNER, PROXY, SALES = range(len(ORIGINS))

#: path, title; in the order of _IDLE_PAGES and _BUYING_PAGES.
PAGES = (
    ("/pricing", "Pricing"),
    ("/demo", "Book a demo"),
    ("/product/automation", "Automation"),
    ("/product/reporting", "Reporting"),
    ("/product/integrations", "Integrations"),
    ("/customers/stories", "Customer stories"),
    ("/docs/getting-started", "Getting started"),
    ("/docs/api", "API reference"),
    ("/blog/open-rates", "What open rates hide"),
    ("/blog/quiet-leads", "Waking up quiet leads"),
    ("/blog/data-hygiene", "Data hygiene"),
    ("/webinar/live", "Live webinar"),
    ("/guide/benchmarks", "Benchmark guide"),
    ("/newsletter", "Newsletter"),
    ("/preferences", "Mail preferences"),
)
PAGE = {path: index for index, (path, _) in enumerate(PAGES)}
#: Forms: page, form id, form name.
FORMS = (
    ("/demo", "f-demo", "Demo request"),
    ("/webinar/live", "f-webinar", "Webinar registration"),
    ("/guide/benchmarks", "f-guide", "Guide download"),
    ("/newsletter", "f-newsletter", "Newsletter sign-up"),
)
DEMO, WEBINAR, GUIDE, NEWSLETTER = range(len(FORMS))

#: By segment, in the order of SEGMENTS: chance to open a mail at full attention, to click an opened one,
#: page views a day, forms a day, talks (calls, meetings, replies) a day; then page views and talks a day that a
#: spell of intent adds: people buy in the way that they live.
_HABITS = {
    "reader": (0.85, 0.62, 0.004, 0.0008, 0.0006, 0.045, 0.012),
    "researcher": (0.22, 0.14, 0.055, 0.0012, 0.0006, 0.12, 0.012),
    "event_goer": (0.34, 0.25, 0.004, 0.0250, 0.0012, 0.05, 0.014),
    "talker": (0.34, 0.18, 0.006, 0.0008, 0.0300, 0.045, 0.080),
    "quiet": (0.07, 0.08, 0.0015, 0.0003, 0.0002, 0.06, 0.012),
}
#: How often which page is looked at: by habit, and in a spell of intent.
_IDLE_PAGES = np.array([1, 0.3, 4, 4, 4, 3, 8, 6, 9, 9, 9, 3, 3, 1, 0.2])
_BUYING_PAGES = np.array([16, 6, 8, 8, 8, 7, 4, 3, 2, 2, 2, 1.5, 1.5, 0.2, 0.1])
#: Links of every mail, as pages.
LINKS = (PAGE["/blog/open-rates"], PAGE["/guide/benchmarks"], PAGE["/webinar/live"], PAGE["/preferences"])


@dataclass(frozen=True)
class Happenings:
    """Events as columns of numbers. -1 is none. `about` is a page (an index of PAGES), or for talks an outcome."""

    contact: Ints
    at: Ints
    kind: Ints
    origin: Ints
    campaign: Ints
    about: Ints

    def __len__(self) -> int:
        return len(self.at)


def happening(
    contact: Ints, at: Ints, kind: str, origin: int = PERSON, campaign: Ints | None = None, about: Ints | int = -1
) -> Happenings:
    """Events of one kind."""
    same = np.full(len(at), -1, dtype=np.int64)
    return Happenings(
        contact, at, same * -KIND[kind], same * -origin, same if campaign is None else campaign, same * 0 + about
    )


def together(parts: Sequence[Happenings]) -> Happenings:
    """All of them, in the order given."""
    names = ("contact", "at", "kind", "origin", "campaign", "about")
    return Happenings(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def kept(events: Happenings, which: Bools) -> Happenings:
    """Those events that `which` says."""
    return Happenings(*(column[which] for column in vars(events).values()))


def habits(who: People) -> Floats:
    """The rows of _HABITS that belong to each contact, with personal energy on the rates per day."""
    table = np.array([_HABITS[name] for name in SEGMENTS])[who.segment]
    table[:, 2:] *= who.energy[:, None]
    return table


def visits(
    rng: np.random.Generator, who: People, past: Spells, until: int, clock: Clock, scale: float
) -> Happenings:
    """Page views at people's own hours: a steady habit, and many more, other pages, in a spell of intent."""
    rate = habits(who)[:, 2] * scale
    idle = _visits(rng, who, np.arange(len(who)), who.created, np.full(len(who), until), rate, _IDLE_PAGES, clock)
    eager = habits(who)[past.contact, 5] * scale
    end = np.minimum(past.end, until)
    busy = _visits(rng, who, past.contact, past.begin, end, eager, _BUYING_PAGES, clock)
    return together([idle, busy, _first_looks(rng, who, past, clock)])


def _first_looks(rng: np.random.Generator, who: People, past: Spells, clock: Clock) -> Happenings:
    """Nearly every spell of intent begins with a look at the prices, many with two."""
    row = np.repeat(np.arange(len(past.begin)), rng.choice(3, len(past.begin), p=[0.08, 0.42, 0.5]))
    contact = past.contact[row]
    at = soon(rng, who, contact, past.begin[row], 2, clock)
    return happening(contact, at, "page_view", about=PAGE["/pricing"])


def _visits(
    rng: np.random.Generator,
    who: People,
    contact: Ints,
    begin: Ints,
    end: Ints,
    per_day: Floats,
    pages: Floats,
    clock: Clock,
) -> Happenings:
    """Sessions of one to three pages."""
    span = np.maximum(end - begin, 0)
    row = repeated(rng, per_day * span / DAY / 1.6)
    at = spread(rng, who, contact[row], begin[row], end[row], clock)
    row, at = row[inside := (at > begin[row]) & (at < end[row])], at[inside]
    length = 1 + rng.binomial(2, 0.3, len(row))
    place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    row, at = np.repeat(row, length), np.repeat(at, length) + place * rng.integers(20, 200, length.sum())
    page = rng.choice(len(PAGES), len(at), p=pages / pages.sum())
    return happening(contact[row], at, "page_view", about=page)


def forms(rng: np.random.Generator, who: People, past: Spells, until: int, clock: Clock) -> Happenings:
    """Form submissions with the view of the form's page just before: at arrival, by habit, and demo requests."""
    everyone = np.arange(len(who))
    arrives = everyone[(who.source < 5) & (rng.random(len(who)) < 0.6)]  # lists and trade shows bring no form
    row = repeated(rng, habits(who)[:, 3] * (until - who.created) / DAY)
    by_habit = spread(rng, who, row, who.created[row], np.full(len(row), until), clock)
    asks = rng.random(len(past.begin)) < 0.85
    ready = past.begin[asks] + 0.15 * rng.random(asks.sum()) * (past.end - past.begin)[asks]
    asked = soon(rng, who, past.contact[asks], ready.astype(np.int64), 2, clock)
    form = np.concatenate(
        [
            rng.choice([WEBINAR, GUIDE, NEWSLETTER], len(arrives), p=[0.2, 0.4, 0.4]),
            rng.choice([WEBINAR, GUIDE, NEWSLETTER], len(row), p=[0.75, 0.2, 0.05]),
            np.full(asks.sum(), DEMO),
        ]
    )
    contact = np.concatenate([arrives, row, past.contact[asks]])
    at = np.concatenate([who.created[arrives], by_habit, asked])
    page = np.array([PAGE[path] for path, _, _ in FORMS])[form]
    seen = happening(contact, at - rng.integers(20, 180, len(at)), "page_view", about=page)
    return together([happening(contact, at, "form_submit", about=page), seen])


def talks(rng: np.random.Generator, who: People, past: Spells, until: int, clock: Clock) -> Happenings:
    """Calls and meetings in office hours, replies at people's own hours."""
    end = np.minimum(past.end, until)
    idle = repeated(rng, habits(who)[:, 4] * (until - who.created) / DAY)
    busy = repeated(rng, habits(who)[past.contact, 6] * np.maximum(end - past.begin, 0) / DAY)
    contact = np.concatenate([idle, past.contact[busy]])
    begin = np.concatenate([who.created[idle], past.begin[busy]])
    stop = np.concatenate([np.full(len(idle), until), end[busy]])
    at = spread(rng, who, contact, begin, stop, clock)
    code = rng.choice(3, len(at), p=[0.3, 0.25, 0.45])
    office = clock.local(at, who.place[contact]) // DAY * DAY + rng.integers(9 * HOUR, 17 * HOUR, len(at))
    at = np.where(code < 2, clock.utc(office, who.place[contact]), at)
    ok = (at > begin) & (at < stop)
    kinds = ("call", "meeting", "email_reply")
    origin = (SALES, SALES, PERSON)
    return together(
        [
            happening(contact[it], at[it], kinds[i], origin[i], about=rng.integers(0, 3, int(it.sum())))
            for i in range(3)
            for it in [ok & (code == i)]
        ]
    )


def attention(who: People, contact: Ints, at: Ints, clock: Clock) -> Floats:
    """0 to 1: how awake contacts are to their mail at instants, 1 in their best hour."""
    hour = hour_of(clock.local(at, who.place[contact]))
    found: Floats = who.hours[contact, hour] / who.hours.max(axis=1)[contact]
    return found
