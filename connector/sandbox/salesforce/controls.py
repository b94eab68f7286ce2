"""The sandbox's own controls: the state of the org, and an edit by a person."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from connector.sandbox.salesforce.answers import json_value
from connector.sandbox.salesforce.calls import Reply
from connector.sandbox.salesforce.ids import PREFIXES, long_form
from connector.sandbox.salesforce.problems import Problem
from connector.sandbox.salesforce.schema import BadValue
from connector.sandbox.salesforce.store import ADMIN_USER, Org

PEOPLE, COMPANIES = ("Lead", "Contact"), ("Account",)


def answer(org: Org, calls: Counter[str], method: str, path: str, raw: bytes) -> Reply:
    """`GET /_sandbox/state` and `POST /_sandbox/edit`."""
    try:
        if (method, path) == ("GET", "/_sandbox/state"):
            shown = {"contacts": _live(org, PEOPLE), "companies": _live(org, COMPANIES)}
            return Reply(200, {**shown, "calls": dict(calls)})
        if (method, path) == ("POST", "/_sandbox/edit"):
            return Reply(200, _edit(org, raw))
    except Problem as problem:
        return Reply(problem.status, problem.body())
    return Reply(404, [{"message": "There is no such control", "errorCode": "NOT_FOUND"}])


def _live(org: Org, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Live records of these objects (converted leads too), with the values that they have, as text."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        for batch in org.engine.sql(f"select * from {name} where not IsDeleted").to_arrow_table().to_batches():
            for row in batch.to_pylist():
                found[row["Id"]] = {key: text(value) for key, value in row.items() if value is not None}
    return found


def text(value: Any) -> str:
    """A value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(json_value(value))


def _edit(org: Org, raw: bytes) -> dict[str, Any]:
    """A person changes a lead or contact, or an account (`company_id`). Raises Problem 400 and 404."""
    try:
        body = json.loads(raw)
        key, names = ("company_id", COMPANIES) if "company_id" in body else ("contact_id", PEOPLE)
        id_, given = long_form(str(body[key])) or "", dict(body.get("properties") or {})
    except (ValueError, KeyError, TypeError):
        raise Problem(400, "JSON_PARSER_ERROR", "contact_id and properties are needed") from None
    entity = next((org.objects[name.lower()] for name in names if id_[:3] == PREFIXES[name]), None)
    if entity is None or not (standing := org.rows(entity.name, [id_])) or standing[id_]["IsDeleted"]:
        raise Problem(404, "NOT_FOUND", f"{id_ or body[key]} is no live record of {' or '.join(names)}")
    values = {}
    for name, value in given.items():
        one = entity.get(name)
        if one is None:
            raise Problem(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {entity.name}")
        try:
            values[one.name] = one.value(value)
        except BadValue as bad:
            raise Problem(400, bad.code, str(bad), bad.name) from None
    org.update(entity, {id_: values}, ADMIN_USER, late=org.faults.late_commit)
    return {key: id_, "updatedAt": json_value(org.now())}
