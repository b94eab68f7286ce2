"""Who lives in the made-up market: companies, contacts, their zones, hours, habits and fit."""

from dataclasses import dataclass

import numpy as np

from scoring.synthetic.clock import DAY, HOUR, Bools, Clock, Floats, Ints, pick, week_start

#: zone, country, share of companies. Two half-hour zones, north and south of the equator.
PLACES = (
    ("Europe/London", "GB", 0.20),
    ("Europe/Berlin", "DE", 0.18),
    ("Europe/Paris", "FR", 0.08),
    ("America/New_York", "US", 0.16),
    ("America/Chicago", "US", 0.07),
    ("America/Los_Angeles", "US", 0.09),
    ("America/Sao_Paulo", "BR", 0.05),
    ("Asia/Kolkata", "IN", 0.08),
    ("Asia/Singapore", "SG", 0.04),
    ("Australia/Sydney", "AU", 0.03),
    ("Australia/Adelaide", "AU", 0.02),
)
ZONES = tuple(place[0] for place in PLACES)

#: Honest fields: value -> share, effect on how well a contact fits (intent and win rate).
INDUSTRIES = {
    "software": (0.22, 0.5),
    "manufacturing": (0.20, 0.1),
    "retail": (0.16, -0.2),
    "healthcare": (0.12, 0.2),
    "finance": (0.14, 0.4),
    "education": (0.09, -0.5),
    "public_sector": (0.07, -0.7),
}
SIZE_BANDS = {
    "1-10": (0.18, -1.2),
    "11-50": (0.24, -0.4),
    "51-200": (0.24, 0.5),
    "201-1000": (0.19, 0.9),
    "1001-5000": (0.10, 0.4),
    "5001+": (0.05, -0.3),
}
SENIORITIES = {
    "c_level": (0.08, 0.9),
    "vp": (0.10, 0.8),
    "director": (0.17, 0.5),
    "manager": (0.28, 0.1),
    "specialist": (0.28, -0.5),
    "intern": (0.09, -1.5),
}
DEPARTMENTS = {
    "marketing": (0.34, 0.3),
    "sales": (0.22, 0.2),
    "operations": (0.17, 0.1),
    "it": (0.14, -0.1),
    "finance": (0.08, -0.3),
    "human_resources": (0.05, -0.6),
}
SOURCES = {
    "organic_search": (0.26, 0.3),
    "paid_search": (0.13, 0.1),
    "referral": (0.12, 0.9),
    "webinar": (0.15, 0.2),
    "social": (0.12, -0.4),
    "list_import": (0.14, -1.1),
    "trade_show": (0.08, -0.2),
}
#: Smallest and largest number of employees of a size band, in the order of SIZE_BANDS.
BAND_EMPLOYEES = ((2, 10), (11, 50), (51, 200), (201, 1000), (1001, 5000), (5001, 40000))

#: Behavioural groups: share of contacts.
SEGMENTS = {"reader": 0.24, "researcher": 0.22, "event_goer": 0.18, "talker": 0.16, "quiet": 0.20}
#: By segment, in that order, how likely a privacy proxy is, against everyone: phones are for reading.
_PROXIES = np.array([2.2, 0.6, 0.7, 0.7, 0.5])

#: Days of people: share, peak hour (local).
ARCHETYPES = {
    "early_bird": (0.27, 6.5),
    "lunch": (0.27, 12.5),
    "evening": (0.26, 18.5),
    "night": (0.20, 22.5),
}
#: Contacts who were there before the market's first day came within so many seconds before it.
STANDING_SPAN = 300 * DAY
_WORK_WEEK = np.array([1.0, 1.1, 1.1, 1.0, 0.85, 0.25, 0.25])


@dataclass(frozen=True)
class Companies:
    """One entry a company; the numbers are indices into the tables above."""

    industry: Ints
    band: Ints
    employees: Ints
    revenue: Floats
    place: Ints
    created: Ints
    scanned: Bools  # a mail gateway there opens every link
    lone: Bools  # the gateway there opens one link only


@dataclass(frozen=True)
class People:
    """One entry a contact; times are UTC seconds, categories are indices into the tables above."""

    company: Ints
    place: Ints
    created: Ints
    seniority: Ints
    department: Ints
    source: Ints
    segment: Ints
    archetype: Ints
    hours: Floats  # 24 columns: attention in each local hour, sums to 1
    weekdays: Floats  # 7 columns, Monday first, sums to 1
    energy: Floats  # how active within the segment, about 1
    fit: Floats  # mean 0, deviation about 1
    privacy: Bools  # a privacy proxy opens every mail at delivery

    def __len__(self) -> int:
        return len(self.company)


def companies(rng: np.random.Generator, count: int, start: int, scanned: float, lone: float) -> Companies:
    """Made-up companies, all older than the market."""
    band = _choose(rng, SIZE_BANDS, count)
    low, high = np.log(np.array(BAND_EMPLOYEES, dtype=float)).T
    employees = np.exp(low[band] + rng.random(count) * (high - low)[band]).round().astype(np.int64)
    per_head = np.exp(rng.normal(11.6, 0.5, count))
    return Companies(
        industry=_choose(rng, INDUSTRIES, count),
        band=band,
        employees=employees,
        revenue=(employees * per_head).round(-3),
        place=rng.choice(len(PLACES), count, p=np.array([place[2] for place in PLACES])),
        created=start - STANDING_SPAN - rng.integers(DAY, 900 * DAY, count),
        scanned=rng.random(count) < scanned,
        lone=rng.spawn(1)[0].random(count) < lone,
    )


def people(
    rng: np.random.Generator,
    count: int,
    firms: Companies,
    start: int,
    until: int,
    own_hours: float,
    privacy: float,
    standing: float,
) -> People:
    """Made-up contacts. `standing` of them were there before `start`, the others arrive evenly from then on."""
    weights = rng.lognormal(0.0, 0.8, len(firms.band))
    company = rng.choice(len(firms.band), count, p=weights / weights.sum())
    away = rng.random(count) < 0.1
    place = np.where(away, rng.choice(len(PLACES), count), firms.place[company])
    when = rng.random(count)
    arrival = np.where(
        rng.random(count) < standing, start - when * STANDING_SPAN, start + when * (until - 10 * DAY - start)
    )
    archetype = _choose(rng, ARCHETYPES, count)
    segment = rng.choice(len(SEGMENTS), count, p=list(SEGMENTS.values()))
    seniority, department = _choose(rng, SENIORITIES, count), _choose(rng, DEPARTMENTS, count)
    source = _choose(rng, SOURCES, count)
    effects = (
        _effects(INDUSTRIES)[firms.industry[company]]
        + _effects(SIZE_BANDS)[firms.band[company]]
        + _effects(SENIORITIES)[seniority]
        + _effects(DEPARTMENTS)[department]
        + _effects(SOURCES)[source]
    )
    return People(
        company=company,
        place=place,
        created=arrival.astype(np.int64),
        seniority=seniority,
        department=department,
        source=source,
        segment=segment,
        archetype=archetype,
        hours=_hours(rng, archetype, own_hours),
        weekdays=_weekdays(rng, count),
        energy=rng.gamma(9.0, 1 / 9.0, count),
        fit=(effects - effects.mean()) / 1.15 + rng.normal(0.0, 0.15, count),
        privacy=rng.random(count) < privacy * _PROXIES[segment],
    )


def spread(rng: np.random.Generator, who: People, rows: Ints, begin: Ints, end: Ints, clock: Clock) -> Ints:
    """For each row (an index of a contact) an instant between `begin` and `end`, in the contact's own hours.

    The week is drawn evenly, weekday and hour by the contact's habits, so a few fall outside the bounds and
    are to be left out by the caller (compare with `begin` and `end`).
    """
    zone = who.place[rows]
    drawn = begin + (rng.random(len(rows)) * np.maximum(end - begin, 1)).astype(np.int64)
    local = week_start(clock.local(drawn, zone))
    local = local + pick(rng, who.weekdays[rows]) * DAY + pick(rng, who.hours[rows]) * HOUR
    return clock.utc(local + rng.integers(0, HOUR, len(rows)), zone)


def soon(rng: np.random.Generator, who: People, rows: Ints, after: Ints, days: int, clock: Clock) -> Ints:
    """For each row (an index of a contact) an own hour that comes after an instant, within so many days."""
    zone = who.place[rows]
    midnight = clock.local(after, zone) // DAY * DAY + rng.integers(0, days, len(rows)) * DAY
    at = clock.utc(midnight + pick(rng, who.hours[rows]) * HOUR + rng.integers(0, HOUR, len(rows)), zone)
    return np.where(at <= after, at + DAY, at)


def _hours(rng: np.random.Generator, archetype: Ints, own: float) -> Floats:
    """Each person's day: a bump around the archetype's hour, a lower one elsewhere, some attention always."""
    peaks = np.array([peak for _, peak in ARCHETYPES.values()])[archetype] + rng.normal(0.0, 0.9, len(archetype))
    second = peaks + rng.uniform(5.0, 19.0, len(archetype))
    width = rng.uniform(1.1, 1.8, len(archetype))
    shape = 0.82 * _bump(peaks, width) + 0.18 * _bump(second, width)
    return own * shape + (1 - own) / 24


def _bump(centre: Floats, width: Floats) -> Floats:
    away = np.abs(np.arange(24)[None, :] + 0.5 - centre[:, None]) % 24
    away = np.minimum(away, 24 - away)
    height = np.exp(-0.5 * (away / width[:, None]) ** 2)
    found: Floats = height / height.sum(axis=1, keepdims=True)
    return found


def _weekdays(rng: np.random.Generator, count: int) -> Floats:
    weights = _WORK_WEEK[None, :] * rng.gamma(4.0, 0.25, (count, 7))
    found: Floats = weights / weights.sum(axis=1, keepdims=True)
    return found


def _choose(rng: np.random.Generator, table: dict[str, tuple[float, float]], count: int) -> Ints:
    return rng.choice(len(table), count, p=[share for share, _ in table.values()])


def _effects(table: dict[str, tuple[float, float]]) -> Floats:
    return np.array([effect for _, effect in table.values()])
