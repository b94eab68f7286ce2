"""Property definitions, and which of an account's thousands of properties are worth taking along."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from connector.platforms import choosing
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client.api import Record
from connector.platforms.rows import definitions_table


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
    options = choosing.options(entry.get("options"))
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
    return choosing.candidates(definitions, ours, words.is_technical)


def filled_enough(
    names: Sequence[str], definitions: Mapping[str, Definition], sample: Sequence[Record]
) -> list[str]:
    """Of the candidates those that are custom, or filled in enough of the sampled records."""
    return choosing.filled_enough(names, definitions, [record.get("properties") or {} for record in sample])


def table(object_name: str, definitions: Mapping[str, Definition], chosen: Sequence[str]) -> pa.Table:
    """`property_definitions` of the chosen properties of one object ('contact', 'company')."""
    return definitions_table(object_name, definitions, chosen, words.IMMUTABLE)
