"""Filters and sorting of CRM search."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from connector.sandbox import times
from connector.sandbox.hubspot.problems import invalid

if TYPE_CHECKING:
    from connector.sandbox.hubspot.search import Document
    from connector.sandbox.hubspot.state import Collection

Test = Callable[["Document"], bool]
Key = float | str
OPERATORS = (
    *("BETWEEN", "CONTAINS_TOKEN", "EQ", "GT", "GTE", "HAS_PROPERTY", "IN", "LT", "LTE", "NEQ"),
    *("NOT_CONTAINS_TOKEN", "NOT_HAS_PROPERTY", "NOT_IN"),
)


def test(collection: "Collection", one: Mapping[str, Any]) -> Test:
    """The filter as a function of a document. Raises Problem 400.

    A record without a value matches NOT_HAS_PROPERTY, NOT_IN, NEQ and NOT_CONTAINS_TOKEN only.
    """
    name, operator = str(one.get("propertyName")), str(one.get("operator"))
    if operator not in OPERATORS:
        raise invalid(f"Unknown operator {operator}; one of {', '.join(OPERATORS)}.")
    if name.startswith("associations."):
        return _association_test(collection, name.removeprefix("associations."), operator, one)
    read = _reader(collection, name)
    if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        return lambda document: (read(document) is not None) == (operator == "HAS_PROPERTY")
    if operator in ("IN", "NOT_IN"):
        return _among(collection, name, operator, one)
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        return _token_test(collection, name, operator, str(one.get("value")))
    return _comparison(collection, name, operator, one)


def order(collection: "Collection", name: str) -> Callable[["Document"], tuple[bool, Any, int]]:
    """Sorting key: empty values last, then by id."""
    read = _reader(collection, name)

    def key(document: "Document") -> tuple[bool, Any, int]:
        value = read(document)
        return value is None, 0 if value is None else value, document.id

    return key


def _kind(collection: "Collection", name: str) -> str:
    if name in ("createdate", collection.created_name):
        return "datetime"
    found = collection.schema.live(name)
    if found is None:
        raise invalid(f"There was a problem with the request: property {name} does not exist.")
    return found.type


def _reader(collection: "Collection", name: str) -> Callable[["Document"], Key | None]:
    """The value of a document as something that compares."""
    kind = _kind(collection, name)
    if name == "hs_object_id":
        return lambda document: document.id
    if name in (collection.created_name, "createdate"):
        return lambda document: document.created
    if name in (collection.modified_name, "hs_lastmodifieddate"):
        return lambda document: document.modified

    def read(document: "Document") -> Key | None:
        text = document.properties.get(name)
        return None if text is None else _comparable(kind, text)

    return read


def _comparable(kind: str, text: str) -> Key | None:
    if kind == "number":
        try:
            return float(text)
        except ValueError:
            return None
    if kind in ("date", "datetime"):
        return times.parse(text)
    # Enumerations are compared as they stand, other texts whatever their case.
    return text if kind in ("enumeration", "bool") else text.lower()


def _wanted(collection: "Collection", name: str, text: object) -> Key:
    kind = _kind(collection, name)
    value = _comparable(kind, str(text)) if text is not None else None
    if value is None:
        raise invalid(f"{text!r} is no value to compare {name} ({kind}) with.")
    return value


def _comparison(collection: "Collection", name: str, operator: str, one: Mapping[str, Any]) -> Test:
    read: Callable[[Document], Any] = _reader(collection, name)
    value: Any = _wanted(collection, name, one.get("value"))
    if operator == "BETWEEN":
        high: Any = _wanted(collection, name, one.get("highValue"))
        return lambda document: (got := read(document)) is not None and value <= got <= high
    if operator == "NEQ":
        return lambda document: read(document) != value
    compare: dict[str, Callable[[Any], bool]] = {
        "EQ": lambda got: bool(got == value),
        "GT": lambda got: bool(got > value),
        "GTE": lambda got: bool(got >= value),
        "LT": lambda got: bool(got < value),
        "LTE": lambda got: bool(got <= value),
    }
    holds = compare[operator]
    return lambda document: (got := read(document)) is not None and holds(got)


def _among(collection: "Collection", name: str, operator: str, one: Mapping[str, Any]) -> Test:
    given = one.get("values")
    if not isinstance(given, list) or not given:
        raise invalid(f"{operator} takes a list in values.")
    kind = _kind(collection, name)
    # Texts must be given in lower case; others never match, as in HubSpot.
    texts = kind not in ("number", "date", "datetime", "enumeration", "bool")
    wanted = {str(value) if texts else _wanted(collection, name, value) for value in given}
    read = _reader(collection, name)
    return lambda document: (read(document) in wanted) == (operator == "IN")


def _token_test(collection: "Collection", name: str, operator: str, value: str) -> Test:
    read = _reader(collection, name)
    parts = [re.escape(part) for part in value.lower().split("*")]
    pattern = re.compile(r"[^\s@.,;]*".join(parts) if len(parts) == 1 else ".*".join(parts))
    whole = "*" not in value

    def contains(document: "Document") -> bool:
        text = str(read(document) or "").lower()
        if whole:
            return bool(re.search(rf"(?<!\w){pattern.pattern}(?!\w)", text))
        return any(pattern.fullmatch(token) for token in re.split(r"[\s,;]+", text))

    return lambda document: contains(document) == (operator == "CONTAINS_TOKEN")


def _association_test(collection: "Collection", other: str, operator: str, one: Mapping[str, Any]) -> Test:
    right = collection.spelled(other)
    if right is None:
        raise invalid(f"Unknown association {other}.")
    wanted = {str(value) for value in one.get("values") or [one.get("value")]}

    def linked(document: "Document") -> bool:
        found = {str(id_) for id_ in collection.linked(document.id, right)}
        return bool(found) if operator.endswith("HAS_PROPERTY") else bool(found & wanted)

    return lambda document: linked(document) == (operator in ("EQ", "IN", "HAS_PROPERTY"))
