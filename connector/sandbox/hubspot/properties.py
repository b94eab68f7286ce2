"""The Properties API, pipelines and owners: what the account is made of."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector.sandbox.hubspot.calls import Call, Reply
from connector.sandbox.hubspot.problems import Problem, invalid, not_found
from connector.sandbox.hubspot.rendering import batch
from connector.sandbox.hubspot.schema import FIELD_TYPES, Definition
from connector.sandbox.hubspot.state import Collection

#: Custom properties of one object, and of the account.
PER_OBJECT, PER_ACCOUNT, UNIQUE_PER_OBJECT = 1_000, 10_000, 10
_IN_USE = "PropertyValidationError.CANNOT_DELETE_PROPERTY_IN_USE"
_REQUIRED = ("name", "label", "type", "fieldType", "groupName")
_CHANGEABLE = {"label": "label", "description": "description", "groupName": "group"}


def listing(call: Call) -> Reply:
    """All definitions at once: the list has no pages."""
    archived = call.flag("archived")
    found = [one.served() for one in call.collection.schema.definitions.values() if one.live != archived]
    return Reply(200, {"results": found})


def read(call: Call) -> Reply:
    """One definition."""
    return Reply(200, _definition(call).served())


def _definition(call: Call) -> Definition:
    found = call.collection.schema.definitions.get(call.path["name"])
    if found is None or found.live == call.flag("archived"):
        raise not_found(f"Property {call.path['name']} does not exist.")
    return found


def create(call: Call) -> Reply:
    """A new property; one that is archived comes back with the date it was created on."""
    return Reply(201, _create(call, call.body()).served())


def batch_create(call: Call) -> Reply:
    """Several; those that fail make it a 207."""
    started = call.portal.clock()
    results, errors = [], []
    for one in call.inputs():
        try:
            results.append(_create(call, one).served())
        except Problem as problem:
            context = {"name": [str(one.get("name"))]}
            error = {key: value for key, value in problem.body().items() if key != "correlationId"}
            errors.append({**error, "context": context})
    return Reply(207 if errors else 201, batch(results, errors, started, call.portal.clock()))


def _create(call: Call, body: Mapping[str, Any]) -> Definition:
    collection, now = call.collection, call.portal.clock()
    schema = collection.schema
    _check_new(collection, body)
    name = str(body["name"])
    standing = schema.definitions.get(name)
    if standing is not None and standing.live:
        raise Problem(
            409,
            f"A property named '{name}' already exists.",
            "OBJECT_ALREADY_EXISTS",
            subCategory="Properties.PROPERTY_WITH_NAME_EXISTS",
        )
    custom = [one for one in schema.definitions.values() if one.live and not one.hubspot_defined]
    if len(custom) >= PER_OBJECT:
        raise invalid(f"The limit of {PER_OBJECT} custom properties is reached.")
    if body.get("hasUniqueValue") and sum(one.unique for one in custom) >= UNIQUE_PER_OBJECT:
        raise invalid(f"The limit of {UNIQUE_PER_OBJECT} unique properties is reached.")
    made = Definition(
        name=name,
        label=str(body["label"]),
        type=str(body["type"]),
        field_type=str(body["fieldType"]),
        group=str(body["groupName"]),
        options=_options(body.get("options") or ()),
        description=str(body.get("description") or ""),
        hubspot_defined=False,
        unique=bool(body.get("hasUniqueValue")),
        created_at=now if standing is None else standing.created_at,
        updated_at=now,
    )
    schema.put(made)
    return made


def _check_new(collection: Collection, body: Mapping[str, Any]) -> None:
    absent = [name for name in _REQUIRED if not body.get(name)]
    if absent:
        raise invalid("Invalid input JSON: some required fields were not set: [" + ", ".join(absent) + "]")
    name = str(body["name"])
    if not name.replace("_", "a").isalnum() or name != name.lower() or not name[0].isalpha():
        raise invalid(f"Property name {name} is invalid: lower-case letters, digits and underscores only.")
    field_types = FIELD_TYPES.get(str(body["type"]))
    if field_types is None or body["fieldType"] not in field_types:
        raise invalid(f"Type {body['type']} does not go with field type {body['fieldType']}.")
    if body["groupName"] not in collection.schema.groups:
        raise invalid(f"Property group {body['groupName']} does not exist.")


def _options(given: Any) -> tuple[tuple[str, str], ...]:
    pairs = tuple((str(one.get("value")), str(one.get("label"))) for one in given)
    if len({value for value, _ in pairs}) < len(pairs):
        raise invalid("Property options must have different values.")
    return pairs


def update(call: Call) -> Reply:
    """Label, description, group; `options` replaces the whole list, left out it stays."""
    found, body = _definition(call), call.body()
    changes: dict[str, Any] = {ours: str(body[theirs]) for theirs, ours in _CHANGEABLE.items() if theirs in body}
    if "options" in body:
        changes["options"] = _options(body["options"])
    if "groupName" in body and body["groupName"] not in call.collection.schema.groups:
        raise invalid(f"Property group {body['groupName']} does not exist.")
    changed = replace(found, **changes, updated_at=call.portal.clock())
    call.collection.schema.put(changed)
    return Reply(200, changed.served())


def archive(call: Call) -> Reply:
    """Archived properties are unknown to reads and writes, until they are created again."""
    found = call.collection.schema.live(call.path["name"])
    if found is None:
        return Reply(204)
    if found.hubspot_defined:
        raise invalid(f"Property {found.name} is defined by HubSpot and cannot be archived.")
    if found.name in call.faults.used_properties:
        # The inner error comes as JSON text in the outer one's message.
        inner = {"message": f"{found.name} is in use.", "subCategory": _IN_USE}
        raise invalid(json.dumps(inner))
    call.collection.schema.put(replace(found, archived_at=call.portal.clock()))
    return Reply(204)


def groups(call: Call) -> Reply:
    """All property groups."""
    found = [_group(name, label) for name, label in call.collection.schema.groups.items()]
    return Reply(200, {"results": found})


def read_group(call: Call) -> Reply:
    """One property group."""
    label = call.collection.schema.groups.get(call.path["name"])
    if label is None:
        raise not_found(f"Property group {call.path['name']} does not exist.")
    return Reply(200, _group(call.path["name"], label))


def create_group(call: Call) -> Reply:
    """A new property group."""
    body, known = call.body(), call.collection.schema.groups
    name, label = str(body.get("name") or ""), str(body.get("label") or "")
    if not name or not label:
        raise invalid("Invalid input JSON: some required fields were not set: [name, label]")
    if name in known:
        raise Problem(
            409,
            f"A property group named '{name}' already exists.",
            "OBJECT_ALREADY_EXISTS",
            subCategory="Properties.GROUP_WITH_NAME_EXISTS",
        )
    known[name] = label
    return Reply(201, _group(name, label), {"Location": f"{call.base_url}{call.target}/{name}"})


def archive_group(call: Call) -> Reply:
    """Only a group without properties can be archived."""
    schema, name = call.collection.schema, call.path["name"]
    if any(one.group == name and one.live for one in schema.definitions.values()):
        raise invalid(
            f"Group {name} has active properties.", subCategory="PropertyGroupError.GROUP_WITH_ACTIVE_PROPERTIES"
        )
    schema.groups.pop(name, None)
    return Reply(204)


def _group(name: str, label: str) -> dict[str, Any]:
    return {"name": name, "label": label, "displayOrder": -1, "archived": False}


def custom_limits(call: Call) -> Reply:
    """How many custom properties there are, and may be."""
    by_object, total = [], 0
    for collection in call.portal.objects.values():
        used = sum(one.live and not one.hubspot_defined for one in collection.schema.definitions.values())
        total += used
        share = {"limit": PER_OBJECT, "usage": used, "percentage": 100 * used / PER_OBJECT}
        by_object.append({"objectTypeId": collection.type_id, "singularLabel": collection.single, **share})
    overall = {"limit": PER_ACCOUNT, "usage": total, "percentage": 100 * total / PER_ACCOUNT}
    return Reply(200, {"overallLimit": PER_ACCOUNT, "overallUsage": total, **overall, "byObjectType": by_object})


def pipelines(call: Call) -> Reply:
    """Pipelines of an object, with their stages."""
    return Reply(200, {"results": call.portal.pipelines[call.collection.name]})


def owners(call: Call) -> Reply:
    """Owners, in pages."""
    limit, archived = call.whole("limit", 100, 500), call.flag("archived")
    after, email = call.query.get("after") or "0", call.query.get("email")
    if not after.isdigit():
        raise invalid("after must be an offset that an earlier page gave.")
    found = [one for one in call.portal.owners if one["archived"] == archived and email in (None, one["email"])]
    body: dict[str, Any] = {"results": found[int(after) : int(after) + limit]}
    if int(after) + limit < len(found):
        body["paging"] = {"next": {"after": str(int(after) + limit)}}
    return Reply(200, body)
