"""Property definitions, and which of an account's thousands of properties are worth taking along."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from connector.platforms.hubspot import words
from connector.platforms.hubspot.client.api import Record
from connector.platforms.rows import definitions_table

#: A HubSpot-defined property is taken when at least this share of a sample has it.
MIN_FILL = 0.02


@dataclass(frozen=True)
class Definition:
    """A property as HubSpot defines it; `kind` is our type, None where we can't use its values."""

    name: str
    label: str
    type: str
    field_type: str
    kind: str | None
    options: tuple[tuple[str, str], ...] = ()
    custom: bool = True
    group: str = ""
    description: str = ""


def parse(body: Mapping[str, Any]) -> dict[str, Definition]:
    """Definitions by name, from the (unpaged) answer of the Properties API."""
    return {entry["name"]: definition(entry) for entry in body.get("results") or () if not entry.get("archived")}


def definition(entry: Mapping[str, Any]) -> Definition:
    """One definition."""
    options = tuple(
        (str(option["value"]), str(option.get("label") or option["value"]))
        for option in entry.get("options") or ()
        if option.get("value") is not None
    )
    kind, field_type = str(entry.get("type") or ""), str(entry.get("fieldType") or "")
    return Definition(
        name=entry["name"],
        label=str(entry.get("label") or entry["name"]),
        type=kind,
        field_type=field_type,
        kind=words.property_type(kind, field_type, (value for value, _ in options)),
        options=options,
        custom=not entry.get("hubspotDefined", False),
        group=str(entry.get("groupName") or ""),
        description=str(entry.get("description") or ""),
    )


def candidates(definitions: Mapping[str, Definition], ours: Iterable[str]) -> list[str]:
    """Properties that could be taken, sorted: usable, not bookkeeping, not personal, not our own."""
    own = set(ours)
    return sorted(
        name
        for name, found in definitions.items()
        if found.kind and name not in own and (found.custom or not words.is_technical(name))
    )


def filled_enough(
    names: Sequence[str], definitions: Mapping[str, Definition], sample: Sequence[Record]
) -> list[str]:
    """Of the candidates those that are custom, or filled in enough of the sampled records."""
    least = max(1, round(MIN_FILL * len(sample)))
    return [
        name
        for name in names
        if definitions[name].custom
        or sum(1 for record in sample if (record.get("properties") or {}).get(name) not in (None, "")) >= least
    ]


def table(object_name: str, definitions: Mapping[str, Definition], chosen: Sequence[str]) -> pa.Table:
    """`property_definitions` of the chosen properties of one object ('contact', 'company')."""
    return definitions_table(object_name, definitions, chosen, words.IMMUTABLE)
