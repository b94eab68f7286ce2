"""Properties that every HubSpot account has from the start; they are listed in standard.txt."""

import re
from functools import cache
from importlib.resources import files
from zoneinfo import available_timezones

from connector.sandbox.hubspot.schema import Definition, Schema

_TYPES = {
    "text": ("string", "text"),
    "textarea": ("string", "textarea"),
    "phone": ("string", "phonenumber"),
    "number": ("number", "number"),
    "datetime": ("datetime", "date"),
    "date": ("date", "date"),
    "bool": ("bool", "booleancheckbox"),
    "choice": ("enumeration", "select"),
    "zones": ("enumeration", "select"),
    "multi": ("enumeration", "checkbox"),
}

_GROUPS = {
    "contacts": ("contactinformation", "Contact information"),
    "companies": ("companyinformation", "Company information"),
    "deals": ("dealinformation", "Deal information"),
}


def zone_option(zone: str) -> str:
    """'America/New_York' -> 'america_slash_new_york', HubSpot's internal name of a time zone."""
    return re.sub(r"[^a-z0-9]+", "_", zone.lower().replace("/", "_slash_"))


def group_of(object_name: str) -> tuple[str, str]:
    """Name and label of the group that an object's standard properties are in."""
    return _GROUPS.get(object_name, ("engagement", "Activity information"))


@cache
def _standard(object_name: str) -> tuple[Definition, ...]:
    return tuple(_definition(line, group_of(object_name)[0]) for line in _lines(object_name))


@cache
def _lines(block: str) -> tuple[str, ...]:
    """Lines of a block of standard.txt, with those that it takes in."""
    whole = files("connector.sandbox.hubspot").joinpath("standard.txt").read_text(encoding="utf-8")
    own = whole.partition(f"\n[{block}]\n")[2].partition("\n[")[0].splitlines()
    found: list[str] = []
    for line in own:
        if line.startswith("+"):
            found += _lines(line[1:])
        elif line.strip():
            found.append(line)
    return tuple(found)


def schema(object_name: str) -> Schema:
    """The standard properties of an object, its own copy."""
    name, label = group_of(object_name)
    return Schema({found.name: found for found in _standard(object_name)}, {name: label})


def _definition(line: str, group: str) -> Definition:
    name, label, kind = (part.strip() for part in line.split("|"))
    read_only = kind.endswith("!")
    word, _, listed = kind.rstrip("! ").partition(" ")
    type_, field_type = _TYPES[word]
    return Definition(
        name=name,
        label=label,
        type=type_,
        field_type=field_type,
        group=group,
        options=_zones() if word == "zones" else _options(listed),
        read_only=read_only,
        # Email is the one standard property of contacts that identifies a record.
        unique=name == "email",
    )


def _options(listed: str) -> tuple[tuple[str, str], ...]:
    pairs = (part.partition("=") for part in listed.split(",") if part)
    return tuple((value, label or value) for value, _, label in pairs)


@cache
def _zones() -> tuple[tuple[str, str], ...]:
    zones = sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")
    return tuple((zone_option(zone), zone.replace("_", " ")) for zone in zones)
