"""Writing rows: what is checked of each, and what is answered to those refused."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from connector.sandbox.salesforce.ids import PREFIXES, long_form
from connector.sandbox.salesforce.schema import BadValue, Object
from connector.sandbox.salesforce.store import INTEGRATION_USER, Org, RowError

Row = Mapping[str, Any]


def update(org: Org, entity: Object, given: Sequence[tuple[str, Row]], *, all_or_none: bool = False) -> list[Any]:
    """Write (id, values) rows; per row its id, or why it was refused, in the same order."""
    known = org.rows(entity.name, [long_form(id_) or "" for id_, _ in given])
    outcome: list[Any] = []
    changes: dict[str, dict[str, Any]] = {}
    for id_, values in given:
        whole = long_form(id_) or ""
        try:
            checked = _checked(org, entity, whole, known.get(whole), values)
            if whole in changes:
                raise _Refused("DUPLICATE_VALUE", f"duplicate id in list: {whole}")
        except _Refused as refused:
            outcome.append(refused.error)
        else:
            changes[whole] = checked
            outcome.append(whole)
    if all_or_none and any(isinstance(one, RowError) for one in outcome):
        message = (
            "Record rolled back because not all records were valid and the request was using AllOrNone header"
        )
        rolled = RowError("ALL_OR_NONE_OPERATION_ROLLED_BACK", message)
        return [one if isinstance(one, RowError) else rolled for one in outcome]
    org.update(entity, changes, INTEGRATION_USER)
    return outcome


def insert(org: Org, entity: Object, given: Sequence[Row]) -> list[Any]:
    """New records; per row its id, or why it was refused."""
    outcome: list[Any] = []
    good: list[dict[str, Any]] = []
    for values in given:
        try:
            made = _values(entity, values)
            for needed in {"Lead": ("LastName", "Company"), "Contact": ("LastName",)}.get(entity.name, ()):
                if made.get(needed) is None:
                    message = f"Required fields are missing: [{needed}]"
                    raise _Refused("REQUIRED_FIELD_MISSING", message, needed)
        except _Refused as refused:
            outcome.append(refused.error)
        else:
            outcome.append(None)
            good.append(made)
    made_ids = iter(org.insert(entity, good, INTEGRATION_USER) if good else ())
    return [next(made_ids) if one is None else one for one in outcome]


def answer(outcome: object, *, created: bool = False) -> dict[str, Any]:
    """One row's result in a collection's answer."""
    if isinstance(outcome, RowError):
        error = {"statusCode": outcome.code, "message": outcome.message, "fields": outcome.fields}
        return {"success": False, "errors": [error]}
    return {"id": outcome, "success": True, "errors": [], **({"created": True} if created else {})}


def grouped(records: Sequence[Row]) -> dict[str, list[int]]:
    """Places of records by the object that they say they are."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        attributes = record.get("attributes")
        name = attributes.get("type") if isinstance(attributes, dict) else None
        found[str(name or "").lower()].append(place)
    return found


class _Refused(Exception):
    def __init__(self, code: str, message: str, *fields: str) -> None:
        super().__init__(code)
        self.error = RowError(code, message, list(fields))


def _checked(org: Org, entity: Object, id_: str, standing: Row | None, values: Row) -> dict[str, Any]:
    """Values as they are kept. Raises _Refused."""
    if not id_ or id_[:3] != PREFIXES[entity.name]:
        raise _Refused("MALFORMED_ID", f"Record ID: id value of incorrect type: {id_}", "Id")
    if standing is None:
        raise _Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    if standing["IsDeleted"]:
        raise _Refused("ENTITY_IS_DELETED", "entity is deleted")
    if standing.get("IsConverted"):
        raise _Refused("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
    checked = _values(entity, values)
    # The same records meet a validation rule each time they are written.
    share = org.faults.chances.get("validation", 0.0)
    if share and crc32(id_.encode()) % 10_000 < share * 10_000:
        raise _Refused(
            "FIELD_CUSTOM_VALIDATION_EXCEPTION", "This record may not be changed:\nask an administrator"
        )
    if org.random.random() < org.faults.chances.get("lock", 0.0):
        message = f"unable to obtain exclusive access to this record or 1 records: {id_}"
        raise _Refused("UNABLE_TO_LOCK_ROW", message)
    return checked


def _values(entity: Object, values: Row) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in values.items():
        one = entity.get(name)
        if one is None:
            raise _Refused("INVALID_FIELD", f"No such column '{name}' on sobject of type {entity.name}", name)
        if one.read_only:
            message = (
                f"Unable to create/update fields: {one.name}. Please check the security settings of this field "
                "and verify that it is read/write for your profile or permission set."
            )
            raise _Refused("INVALID_FIELD_FOR_INSERT_UPDATE", message, one.name)
        try:
            checked[one.name] = one.value(value)
        except BadValue as bad:
            raise _Refused(bad.code, str(bad), bad.name) from None
    return checked
