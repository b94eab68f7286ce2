from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from scoring.engine import DuckEngine
from scoring.tables import from_rows
from scoring.zones import by_country, zone_of, zones


@pytest.mark.parametrize(
    ("country", "zone"),
    [
        *(("de", "Europe/Berlin"), ("germany", "Europe/Berlin"), ("deutschland", "Europe/Berlin")),
        *(("gb", "Europe/London"), ("united kingdom", "Europe/London"), ("in", "Asia/Kolkata")),
        *(("es", "Europe/Madrid"), ("new zealand", "Pacific/Auckland"), ("south korea", "Asia/Seoul")),
        *(("us", None), ("united states", None), ("brazil", None), ("australia", None), ("atlantis", None)),
    ],
)
def test_a_country_tells_its_zone_where_it_has_one(country: str, zone: str | None) -> None:
    assert by_country().get(country) == zone


def test_every_zone_is_known_to_the_engine_and_every_name_is_lower_case() -> None:
    found = by_country()
    known = DuckEngine.in_memory().fetch("select name from pg_timezone_names()")["name"].to_pylist()
    assert set(found.values()) <= set(known)
    assert len(found) > 300
    assert all(name == name.lower().strip() for name in found)


def test_a_country_with_one_zone_keeps_one_clock() -> None:
    """Argentina has twelve zones of one clock, Germany two; summer and winter are compared."""
    berlin, buenos_aires = ZoneInfo(by_country()["de"]), ZoneInfo(by_country()["ar"])
    for month in (1, 7):
        moment = datetime(2026, month, 1, 12)
        assert berlin.utcoffset(moment) == ZoneInfo("Europe/Busingen").utcoffset(moment)
        assert buenos_aires.utcoffset(moment) == ZoneInfo("America/Argentina/Ushuaia").utcoffset(moment)


def test_the_record_comes_before_the_country_and_the_country_before_the_account() -> None:
    rows = [
        {"contact_id": "stated", "timezone": "Asia/Tokyo", "country": "DE"},
        {"contact_id": "country", "timezone": None, "country": " Germany "},
        {"contact_id": "wide", "timezone": None, "country": "US"},
        {"contact_id": "unknown", "timezone": None, "country": None},
    ]
    engine = DuckEngine.in_memory({"contacts": from_rows("contacts", rows)})
    found = {
        row["contact_id"]: row["timezone"] for row in engine.fetch(zones(engine, "America/Chicago")).to_pylist()
    }
    assert found == {
        "stated": "Asia/Tokyo",
        "country": "Europe/Berlin",
        "wide": "America/Chicago",
        "unknown": "America/Chicago",
    }
    assert {name: zone_of(engine, "America/Chicago", name) for name in [*found, "nobody"]} == {
        "stated": ("Asia/Tokyo", "record"),
        "country": ("Europe/Berlin", "country"),
        "wide": ("America/Chicago", "account"),
        "unknown": ("America/Chicago", "account"),
        "nobody": ("America/Chicago", "account"),
    }
