"""An object's fields as this user sees them, and which of its hundreds are worth taking along."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from connector.platforms import choosing
from connector.platforms.rows import definitions_table
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client.api import Record


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
        options=choosing.options(entry.get("picklistValues")),
        custom=bool(entry.get("custom", name.endswith("__c"))),
        updateable=bool(entry.get("updateable")),
        calculated=bool(entry.get("calculated")),
    )


def candidates(definitions: Mapping[str, Definition], ours: Iterable[str]) -> list[str]:
    """Fields that could be taken, sorted: usable, not bookkeeping, not personal, not our own."""
    return choosing.candidates(definitions, ours, words.is_technical)


def filled_enough(
    names: Sequence[str], definitions: Mapping[str, Definition], sample: Sequence[Record]
) -> list[str]:
    """Of the candidates those that the sample has at all (custom ones), or often enough. Orgs keep hundreds of
    fields that nobody fills in any more."""
    return choosing.filled_enough(names, definitions, sample, of_custom=1)


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
