"""The time zone that a contact lives in: the one on its record, else its country's, else the account's.

A country tells it where all of it keeps the same clock, or nearly everybody does; from one with several (the
United States, Canada, Australia, Brazil, Mexico, Russia, …) nothing is concluded. Countries and zones are
those of the IANA time zone database.
"""

from datetime import UTC, datetime
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

import pyarrow as pa

from scoring.engine import Engine, literal

#: Countries with further zones in which hardly anybody lives: Canaries, Azores, Chatham, Galápagos, ….
_NEARLY_ALL = {
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "NZ": "Pacific/Auckland",
    "PT": "Europe/Lisbon",
    "UA": "Europe/Kyiv",
}
#: What people also write; the database has two letters and one English name.
_ALSO = {
    "GB": ("uk", "united kingdom", "great britain", "england", "scotland", "wales", "northern ireland"),
    "NL": ("the netherlands", "holland", "nederland"),
    "DE": ("deutschland",),
    "AT": ("österreich",),
    "CH": ("schweiz", "suisse", "svizzera"),
    "ES": ("españa",),
    "IT": ("italia",),
    "SE": ("sverige",),
    "NO": ("norge",),
    "DK": ("danmark",),
    "FI": ("suomi",),
    "PL": ("polska",),
    "BE": ("belgië", "belgique"),
    "CZ": ("czechia",),
    "TR": ("türkiye", "turkiye"),
    "KR": ("south korea", "korea, republic of", "republic of korea"),
    "VN": ("viet nam",),
    "TW": ("taiwan, province of china",),
}


#: Table of an engine with `by_country`: as literals, an engine would plan five hundred of them in each statement.
COUNTRIES = "country_zones"


def zones(engine: Engine, account_zone: str) -> str:
    """SQL of a table (contact_id, timezone): every contact's IANA zone, never null. To be joined, in brackets."""
    if not engine.columns(COUNTRIES):
        engine.put(COUNTRIES, countries())
    return (
        f"select c.contact_id, coalesce(c.timezone, k.zone, {literal(account_zone)}) as timezone "
        f"from contacts c left join {COUNTRIES} k on lower(trim(c.country)) = k.country"
    )


def countries() -> pa.Table:
    """`by_country` as a table (country, zone)."""
    known = by_country()
    return pa.table({"country": list(known), "zone": list(known.values())})


def zone_of(engine: Engine, account_zone: str, contact_id: str) -> tuple[str, str]:
    """A contact's zone and what tells it: "record", "country" or, where neither does, "account"."""
    found = engine.fetch(
        f"select z.timezone, c.timezone is not null as stated, lower(trim(c.country)) as country "
        f"from contacts c join ({zones(engine, account_zone)}) z on z.contact_id = c.contact_id "
        f"where c.contact_id = {literal(contact_id)}"
    ).to_pylist()
    if not found:
        return account_zone, "account"
    by = "record" if found[0]["stated"] else "country" if found[0]["country"] in by_country() else "account"
    return str(found[0]["timezone"]), by


@cache
def by_country() -> dict[str, str]:
    """A country's codes and names, lower case, to its zone."""
    names = {
        code: {code, name, name.replace("&", "and"), *_ALSO.get(code, ())} for code, name in _rows("iso3166.tab")
    }
    within: dict[str, list[str]] = {}
    for code, _, zone, *_ in _rows("zone.tab"):
        within.setdefault(code, []).append(zone)
    found = {code: every[0] for code, every in within.items() if len({_clock(zone) for zone in every}) == 1}
    return {name.lower(): zone for code, zone in {**found, **_NEARLY_ALL}.items() for name in sorted(names[code])}


def _rows(file: str) -> list[list[str]]:
    text = (resources.files("tzdata") / "zoneinfo" / file).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def _clock(zone: str) -> tuple[float, ...]:
    """Hours from UTC in the middle of each month of a year."""
    there = ZoneInfo(zone)
    moments = [datetime(2026, month, 15, tzinfo=UTC).astimezone(there) for month in range(1, 13)]
    return tuple(moment.utcoffset().total_seconds() / 3600 for moment in moments)  # type: ignore[union-attr]
