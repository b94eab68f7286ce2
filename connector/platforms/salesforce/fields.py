"""An object's fields as this user sees them, and which of its hundreds are worth taking along."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from connector.platforms.rows import definitions_table
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client.api import Record

#: A field of Salesforce's own is taken when at least this share of a sample has it.
MIN_FILL = 0.02


@dataclass(frozen=True)
class Definition:
    """A field as Salesforce describes it; `kind` is our type, None where we can't use its values.

    Fields that field-level security hides are not described at all.
    """

    name: str
    label: str
    type: str
    kind: str | None
    options: tuple[tuple[str, str], ...] = ()
    custom: bool = False
    updateable: bool = False
    #: Worked out by Salesforce: it changes without a trace in the modified date.
    calculated: bool = False


def parse(described: Sequence[Record]) -> dict[str, Definition]:
    """Definitions by name."""
    return {str(entry["name"]): _definition(entry) for entry in described}


def _definition(entry: Record) -> Definition:
    kind = words.PROPERTY_TYPES.get(str(entry.get("type")))
    if kind == "text" and int(entry.get("length") or 0) > words.LONGEST_TEXT:
        kind = None
    name = str(entry["name"])
    return Definition(
        name=name,
        label=str(entry.get("label") or name),
        type=str(entry.get("type")),
        kind=kind,
        options=tuple(
            (str(option["value"]), str(option.get("label") or option["value"]))
            for option in entry.get("picklistValues") or ()
            if option.get("value") is not None
        ),
        custom=bool(entry.get("custom", name.endswith("__c"))),
        updateable=bool(entry.get("updateable")),
        calculated=bool(entry.get("calculated")),
    )


def candidates(definitions: Mapping[str, Definition], ours: Iterable[str]) -> list[str]:
    """Fields that could be taken, sorted: usable, not bookkeeping, not personal, not our own."""
    own = set(ours)
    return sorted(
        name
        for name, found in definitions.items()
        if found.kind and name not in own and (found.custom or not words.is_technical(name))
    )


def filled_enough(
    names: Sequence[str], definitions: Mapping[str, Definition], sample: Sequence[Record]
) -> list[str]:
    """Of the candidates those that the sample has at all (custom ones), or often enough. Orgs keep hundreds of
    fields that nobody fills in any more."""
    least = max(1, round(MIN_FILL * len(sample)))
    filled = {name: sum(1 for record in sample if record.get(name) not in (None, "")) for name in names}
    return [name for name in names if filled[name] >= (1 if definitions[name].custom else least)]


def merged(of_leads: Mapping[str, Definition], of_contacts: Mapping[str, Definition]) -> dict[str, Definition]:
    """One definition for a name that both objects have: of two types the text, of two lists all options."""
    both = {**of_contacts, **of_leads}
    for name in of_leads.keys() & of_contacts.keys():
        one, other = of_leads[name], of_contacts[name]
        options = dict(other.options) | dict(one.options)
        kind = one.kind if one.kind == other.kind else "text"
        both[name] = replace(one, kind=kind, options=tuple(options.items()))
    return both


def table(object_name: str, definitions: Mapping[str, Definition], chosen: Sequence[str]) -> pa.Table:
    """`property_definitions` of the chosen fields of one object ('contact', 'company')."""
    return definitions_table(object_name, definitions, chosen, words.IMMUTABLE)
