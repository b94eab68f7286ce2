"""Property definitions of an object, and what values they take."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from connector.sandbox import times

#: Which field types a type goes with; anything else is a 400.
FIELD_TYPES: Mapping[str, tuple[str, ...]] = {
    "bool": ("booleancheckbox", "calculation_equation"),
    "enumeration": ("booleancheckbox", "checkbox", "radio", "select", "calculation_equation"),
    "date": ("date",),
    "datetime": ("date",),
    "string": ("text", "textarea", "html", "file", "phonenumber", "calculation_equation"),
    "number": ("number", "calculation_equation"),
    "phone_number": ("phonenumber",),
}
TEXT_LIMIT = 65_536
_SECONDS_CEILING = 100_000_000_000


class BadValue(Exception):
    """A value that a property does not take; `code` is HubSpot's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Definition:
    """A property as the Properties API serves it."""

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    group: str = "contactinformation"
    options: tuple[tuple[str, str], ...] = ()
    description: str = ""
    read_only: bool = False
    hubspot_defined: bool = True
    unique: bool = False
    calculated: bool = False
    archived_at: int | None = None
    created_at: int = 0
    updated_at: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Not archived."""
        return self.archived_at is None

    def served(self) -> dict[str, Any]:
        """JSON of the Properties API."""
        body = {
            "updatedAt": times.iso(self.updated_at),
            "createdAt": times.iso(self.created_at),
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "description": self.description,
            "groupName": self.group,
            "options": [_option(i, value, label) for i, (value, label) in enumerate(self.options)],
            "displayOrder": -1,
            "calculated": self.calculated,
            "externalOptions": False,
            "archived": not self.live,
            "hasUniqueValue": self.unique,
            "hidden": False,
            "hubspotDefined": self.hubspot_defined,
            "modificationMetadata": {
                "archivable": not self.hubspot_defined,
                "readOnlyDefinition": self.hubspot_defined,
                "readOnlyValue": self.read_only,
            },
            "formField": False,
            "dataSensitivity": "non_sensitive",
            **self.extra,
        }
        if self.archived_at is not None:
            body["archivedAt"] = times.iso(self.archived_at)
        return body

    def stored(self, value: str, *, current: str | None, dated: bool) -> str:
        """The value as HubSpot keeps it. Raises BadValue.

        `dated` says that it came by a dated path, where epoch seconds are refused for date-times.
        """
        if value == "":
            return ""
        if self.type == "enumeration":
            return self._choice(value, current)
        if self.type == "bool":
            if value not in ("true", "false"):
                raise BadValue("INVALID_OPTION", f"{value} was not one of the allowed options: [true, false]")
            return value
        if self.type == "number":
            return self._number(value)
        if self.type in ("date", "datetime"):
            return self._moment(value, dated=dated)
        if len(value) > TEXT_LIMIT:
            raise BadValue("VALUE_TOO_LONG", f"Property {self.name} takes at most {TEXT_LIMIT} characters")
        if self.name == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
            raise BadValue("INVALID_EMAIL", f"Email address {value} is invalid")
        return value.lower() if self.name == "email" else value

    def _choice(self, value: str, current: str | None) -> str:
        known = {option for option, _ in self.options}
        wanted = value.split(";") if self.field_type == "checkbox" else [value]
        if self.field_type == "checkbox" and value.startswith(";"):
            # A leading semicolon adds to the values that stand.
            wanted = [*(current or "").split(";"), *wanted]
        chosen = list(dict.fromkeys(part for part in wanted if part))
        for part in chosen:
            if part not in known:
                raise BadValue("INVALID_OPTION", f"{part} was not one of the allowed options: {sorted(known)}")
        return ";".join(chosen)

    def _number(self, value: str) -> str:
        try:
            finite = abs(float(value)) < float("inf")
        except ValueError:
            finite = False
        if not finite:
            raise BadValue("INVALID_LONG", f"{value} was not a valid number.")
        return value.strip()

    def _moment(self, value: str, *, dated: bool) -> str:
        moment = times.parse(value)
        is_number = value.strip().lstrip("-").isdigit()
        if moment is None or (dated and is_number and 0 < abs(moment) < _SECONDS_CEILING):
            raise BadValue("INVALID_DATE", f"{value} was not a valid date.")
        if self.type == "datetime":
            return times.iso(moment)
        if moment % times.DAY_MS:
            raise BadValue("INVALID_DATE", f"{value} is at a time of day, a date is midnight UTC.")
        return times.day(moment)


def _option(order: int, value: str, label: str) -> dict[str, Any]:
    return {"label": label, "value": value, "description": "", "displayOrder": order, "hidden": False}


class Schema:
    """The definitions and groups of one object."""

    def __init__(self, definitions: Mapping[str, Definition], groups: Mapping[str, str]) -> None:
        self.definitions = dict(definitions)
        self.groups = dict(groups)

    def live(self, name: str) -> Definition | None:
        """The definition, unless it is unknown or archived."""
        found = self.definitions.get(name)
        return found if found is not None and found.live else None

    def put(self, definition: Definition) -> None:
        """Add or replace."""
        self.definitions[definition.name] = definition

    def widen(self, name: str, values: set[str]) -> None:
        """Add options to an enumeration, for values that the account is filled with."""
        found = self.definitions[name]
        known = {value for value, _ in found.options}
        new = tuple((value, value) for value in sorted(values - known))
        self.definitions[name] = replace(found, options=found.options + new)
