"""Objects and fields of the org, and what values they take."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib.resources import files
from typing import Any

from connector.sandbox import times
from connector.sandbox.salesforce.ids import long_form

#: Field type -> its type in the store.
STORED = {
    **{"boolean": "BOOLEAN", "int": "BIGINT", "double": "DOUBLE", "currency": "DOUBLE", "percent": "DOUBLE"},
    **{"date": "DATE", "datetime": "TIMESTAMP"},
}
_COMMON = """Id id 18 ro
IsDeleted boolean ro
CreatedDate datetime ro
CreatedById reference ->User ro
LastModifiedDate datetime ro
LastModifiedById reference ->User ro
SystemModstamp datetime ro"""
_SOAP = {
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "id": "tns:ID",
}


class BadValue(Exception):
    """A value that a field does not take; `code` is Salesforce's."""

    def __init__(self, code: str, message: str, name: str) -> None:
        super().__init__(message)
        self.code, self.name = code, name


@dataclass(frozen=True)
class Field:
    """A field as describe serves it."""

    name: str
    type: str = "string"
    length: int = 0
    label: str = ""
    refers: tuple[str, ...] = ()
    read_only: bool = False
    filterable: bool = True
    #: SQL over the record `t`: computed when read, so that no stamp moves when it changes.
    formula: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    restricted: bool = False

    @property
    def stored(self) -> str:
        """Type in the store."""
        return STORED.get(self.type, "VARCHAR")

    @property
    def custom(self) -> bool:
        """Made by the customer, or by us."""
        return self.name.endswith("__c")

    @property
    def relationship(self) -> str | None:
        """Name by which queries reach the parent."""
        if self.type != "reference":
            return None
        return self.name.removesuffix("Id") if self.name.endswith("Id") else None

    def served(self) -> dict[str, Any]:
        """JSON of describe."""
        numeric = self.stored == "DOUBLE"
        return {
            "name": self.name,
            "label": self.label or self.name,
            "type": self.type,
            "soapType": _SOAP.get(self.type, "xsd:double" if numeric else "xsd:string"),
            "length": self.length,
            "precision": 18 if numeric else 0,
            "scale": 4 if numeric else 0,
            "digits": 9 if self.type == "int" else 0,
            "nillable": self.type != "boolean" and self.name not in ("Id", "LastName", "Company"),
            "calculated": self.formula is not None,
            "createable": not self.read_only,
            "updateable": not self.read_only,
            "filterable": self.filterable,
            "sortable": self.filterable,
            "groupable": self.filterable and not numeric,
            "custom": self.custom,
            "externalId": False,
            "unique": False,
            "compoundFieldName": "Name" if self.name in ("FirstName", "LastName") else None,
            "referenceTo": list(self.refers),
            "relationshipName": self.relationship,
            "restrictedPicklist": self.restricted,
            "picklistValues": [
                {"active": True, "defaultValue": False, "label": label, "validFor": None, "value": value}
                for value, label in self.options
            ],
        }

    def value(self, given: object) -> object:
        """A value sent (JSON or CSV text) as it is kept; None clears. Raises BadValue."""
        if given is None or given == "":
            return False if self.type == "boolean" else None
        if self.type == "boolean":
            word = str(given).lower()
            if word not in ("true", "false", "1", "0"):
                raise self._bad("INVALID_TYPE_ON_FIELD_IN_RECORD", given)
            return word in ("true", "1")
        if self.stored in ("DOUBLE", "BIGINT"):
            return self._number(given)
        if self.type in ("date", "datetime"):
            moment = times.parse(str(given)) if re.match(r"\d{4}-\d\d-\d\d", str(given)) else None
            if moment is None:
                raise self._bad("INVALID_TYPE_ON_FIELD_IN_RECORD", given)
            # Salesforce keeps whole seconds.
            return date.fromisoformat(times.day(moment)) if self.type == "date" else to_datetime(moment)
        text = str(given)
        if self.type == "reference" and (whole := long_form(text)) is None:
            raise BadValue(
                "MALFORMED_ID", f"{self.label or self.name}: id value of incorrect type: {text}", self.name
            )
        if self.restricted and text not in dict(self.options):
            message = f"{self.label or self.name}: bad value for restricted picklist field: {text}"
            raise BadValue("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, self.name)
        if self.length and len(text) > self.length:
            message = f"{self.label or self.name}: data value too large: {text[:80]} (max length={self.length})"
            raise BadValue("STRING_TOO_LONG", message, self.name)
        if self.type == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text):
            raise BadValue("INVALID_EMAIL_ADDRESS", f"Email: invalid email address: {text}", self.name)
        return whole if self.type == "reference" else text

    def _number(self, given: object) -> float | int:
        try:
            number = float(str(given))
        except ValueError:
            raise self._bad("INVALID_TYPE_ON_FIELD_IN_RECORD", given) from None
        if not math.isfinite(number) or isinstance(given, bool):
            raise self._bad("INVALID_TYPE_ON_FIELD_IN_RECORD", given)
        if abs(number) >= 1e14:
            message = f"{self.label or self.name}: value outside of valid range on numeric field: {given}"
            raise BadValue("NUMBER_OUTSIDE_VALID_RANGE", message, self.name)
        return round(number) if self.type == "int" else number

    def _bad(self, code: str, given: object) -> BadValue:
        return BadValue(code, f"{self.label or self.name}: value not of required type: {given}", self.name)


def to_datetime(ms: int) -> datetime:
    """Epoch milliseconds as the store keeps instants: UTC, whole seconds, without a zone."""
    return datetime.fromisoformat(times.iso(ms - ms % 1000)[:19])


@dataclass
class Object:
    """An object: its fields by lower-cased name, since Salesforce tells no case apart."""

    name: str
    fields: dict[str, Field] = field(default_factory=dict)

    def add(self, one: Field) -> None:
        """Add or replace a field."""
        self.fields[one.name.lower()] = one

    def get(self, name: str) -> Field | None:
        """The field of that name."""
        return self.fields.get(name.lower())

    def kept(self) -> Iterator[Field]:
        """Fields that have a column."""
        return (one for one in self.fields.values() if one.formula is None)


def objects() -> Mapping[str, Object]:
    """The standard objects, by lower-cased name."""
    found: dict[str, Object] = {}
    text = files("connector.sandbox.salesforce").joinpath("schema.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            standing = found.setdefault(line[1:-1].lower(), Object(line[1:-1]))
            for common in _COMMON.splitlines():
                standing.add(_field(common))
        elif line and not line.startswith("#"):
            standing.add(_field(line))
    return found


def _field(line: str) -> Field:
    front, _, formula = line.partition(" =")
    name, kind, *rest = front.split()
    return Field(
        name=name,
        type=kind,
        length=next((int(word) for word in rest if word.isdigit()), 18 if kind in ("id", "reference") else 0),
        label=name.removesuffix("__c").replace("_", " "),
        refers=next((tuple(word[2:].split("|")) for word in rest if word.startswith("->")), ()),
        read_only="ro" in rest,
        filterable="long" not in rest,
        formula=formula or None,
    )
