"""CRM objects: create, update, upsert, archive, merge, erase."""

from collections.abc import Mapping, Sequence
from typing import Any

from connector.sandbox.hubspot import rendering
from connector.sandbox.hubspot.calls import Call, Reply, record_id
from connector.sandbox.hubspot.objects import find_by, one_record
from connector.sandbox.hubspot.pipelines import consequences
from connector.sandbox.hubspot.problems import Problem, bad_values, invalid, not_found
from connector.sandbox.hubspot.rendering import Picker
from connector.sandbox.hubspot.schema import BadValue
from connector.sandbox.hubspot.state import INTEGRATION, Collection, Record

MAX_MERGES = 250


def checked(call: Call, collection: Collection, given: object, record: Record | None) -> dict[str, str]:
    """Property values as they will be stored. Raises Problem 400 naming every bad one."""
    if not isinstance(given, dict):
        raise invalid("properties is required and must be an object.")
    values: dict[str, str] = {}
    faults: list[Mapping[str, str]] = []
    for name, raw in given.items():
        try:
            values[name] = _value(call, collection, name, raw, record)
        except BadValue as bad:
            faults.append({"name": name, "error": bad.code, "message": str(bad)})
    faults += _admin_faults(call, collection, values, record)
    if faults:
        raise bad_values(faults)
    if collection.name == "deals" and "dealstage" in values:
        values |= consequences(call.portal.pipelines["deals"], values["dealstage"])
    return values


def _value(call: Call, collection: Collection, name: str, raw: object, record: Record | None) -> str:
    definition = collection.schema.live(name)
    if definition is None:
        raise BadValue("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
    if definition.read_only or definition.calculated:
        raise BadValue("READ_ONLY_VALUE", f'"{name}" is a read only property; its value cannot be set.')
    text = str(raw).lower() if isinstance(raw, bool) else "" if raw is None else str(raw)
    current = record.properties.get(name) if record else None
    return definition.stored(text, current=current, dated=call.dated)


def _admin_faults(
    call: Call, collection: Collection, values: Mapping[str, str], record: Record | None
) -> list[Mapping[str, str]]:
    """Rules that an administrator set: they bind writes on the newest version only."""
    if call.version < "2026-09" or not call.dated or collection.name != "contacts":
        return []
    standing = record.properties if record else {}
    return [
        {
            "name": name,
            "error": "MISSING_REQUIRED_PROPERTY",
            "message": f'Property "{name}" is required',
        }
        for name in sorted(call.faults.required_properties)
        if not values.get(name, standing.get(name, ""))
    ]


def update(call: Call) -> Reply:
    """One record; an id that was merged away leads to the winner."""
    collection = call.collection
    record = one_record(call, collection)
    values = checked(call, collection, call.body().get("properties"), record)
    _refuse_taken_email(collection, values, record)
    collection.write(record, values, INTEGRATION)
    return Reply(200, rendering.full(collection, record, Picker(collection, list(values))))


def create(call: Call) -> Reply:
    """A new record, with associations where they are given."""
    collection, body = call.collection, call.body()
    values = checked(call, collection, body.get("properties"), None)
    _refuse_taken_email(collection, values, None)
    record = collection.create(values, INTEGRATION)
    return Reply(201, rendering.full(collection, record, Picker(collection, list(values))))


def batch_update(call: Call) -> Reply:
    """By record id. One bad value fails all; missing ids make it a 207; merged ids vanish in silence."""
    collection, inputs = call.collection, call.inputs()
    for one in inputs:
        _refuse_id_property(collection, one)
    _refuse_duplicates(inputs)
    plan: list[tuple[Record, dict[str, str]]] = []
    lost: list[Mapping[str, Any]] = []
    for one in inputs:
        record = _standing(collection, one)
        values = checked(call, collection, one.get("properties"), record)
        if record is not None:
            _refuse_taken_email(collection, values, record)
            plan.append((record, values))
        elif not _merged(collection, one):
            lost.append(one)
    started = call.portal.clock()
    for record, values in plan:
        collection.write(record, values, INTEGRATION)
    results = [
        rendering.full(collection, record, Picker(collection, list(values)))
        # HubSpot promises no order of results: here it is that of ids, whatever the inputs' was.
        for record, values in sorted(plan, key=lambda pair: pair[0].id)
    ]
    errors = rendering.missing(collection, lost)
    return Reply(207 if errors else 200, rendering.batch(results, errors, started, call.portal.clock()))


def batch_create(call: Call) -> Reply:
    """New records. Only when each input has a trace id of its own does one bad input not fail all."""
    collection, inputs = call.collection, call.inputs()
    traces = {str(one["objectWriteTraceId"]) for one in inputs if one.get("objectWriteTraceId")}
    lenient = len(traces) == len(inputs)
    started = call.portal.clock()
    plan: list[dict[str, str]] = []
    errors: list[dict[str, Any]] = []
    taken: set[str] = set()
    for one in inputs:
        try:
            values = checked(call, collection, one.get("properties"), None)
            _refuse_taken_email(collection, values, None, taken)
        except Problem as problem:
            if not lenient:
                raise
            errors.append(_traced(problem, one))
        else:
            plan.append(values)
    records = [collection.create(values, INTEGRATION) for values in plan]
    results = [
        rendering.full(collection, record, Picker(collection, list(values)))
        for record, values in zip(records, plan, strict=True)
    ]
    return Reply(207 if errors else 201, rendering.batch(results, errors, started, call.portal.clock()))


def batch_upsert(call: Call) -> Reply:
    """Update those that are there, create the others; one bad row fails all."""
    collection, inputs = call.collection, call.inputs()
    _refuse_duplicates(inputs)
    started = call.portal.clock()
    plan: list[tuple[Record | None, dict[str, str]]] = []
    for one in inputs:
        name, key = str(one.get("idProperty") or "hs_object_id"), str(one.get("id"))
        id_ = find_by(collection, name, key)
        record = None if id_ is None else collection.find(id_)
        given = one.get("properties")
        named = given if record or not isinstance(given, dict) else {name: key, **given}
        plan.append((record, checked(call, collection, named, record)))
    results = []
    for record, values in plan:
        standing = record or collection.create(values, INTEGRATION)
        if record is not None:
            collection.write(record, values, INTEGRATION)
        shown = rendering.full(collection, standing, Picker(collection, list(values)))
        results.append({**shown, "new": record is None})
    return Reply(200, rendering.batch(results, [], started, call.portal.clock()))


def batch_archive(call: Call) -> Reply:
    """To the recycling bin; ids that are not there are passed over."""
    collection = call.collection
    for one in call.inputs():
        record = _standing(collection, one)
        if record is not None:
            collection.archive(record, INTEGRATION)
    return Reply(204)


def archive(call: Call) -> Reply:
    """One record to the recycling bin."""
    collection = call.collection
    record = collection.find(collection.winner(record_id(call.path["id"])))
    if record is not None:
        collection.archive(record, INTEGRATION)
    return Reply(204)


def merge(call: Call) -> Reply:
    """Two records become the primary one."""
    collection, body = call.collection, call.body()
    pair = [collection.winner(record_id(body.get(name))) for name in ("primaryObjectId", "objectIdToMerge")]
    winner, loser = collection.find(pair[0]), collection.find(pair[1])
    if winner is None or loser is None:
        raise not_found()
    if winner is loser:
        raise invalid("A record can not be merged with itself.")
    if len(winner.properties.get("hs_merged_object_ids", "").split(";")) >= MAX_MERGES:
        raise Problem(414, f"Cannot have more than {MAX_MERGES} identities on a profile")
    collection.merge(winner, loser, INTEGRATION)
    return Reply(200, rendering.full(collection, winner, Picker(collection, None)))


def gdpr_delete(call: Call) -> Reply:
    """Erase a contact for good; an unknown address goes on the blocklist."""
    collection, body = call.collection, call.body()
    given = str(body.get("objectId"))
    if body.get("idProperty") == "email":
        id_ = collection.by_email.get(given.lower())
        call.portal.blocklist.add(given.lower())
    else:
        id_ = collection.winner(record_id(given))
    record = None if id_ is None else collection.records.get(id_)
    if record is not None:
        collection.forget(record, INTEGRATION)
        call.portal.links.remove(collection.name, record.id)
    return Reply(204)


def _standing(collection: Collection, one: Mapping[str, Any]) -> Record | None:
    text, name = str(one.get("id")), one.get("idProperty")
    if name is not None:
        id_ = find_by(collection, str(name), text)
        return None if id_ is None else collection.find(id_)
    return collection.find(int(text)) if text.isdigit() else None


def _merged(collection: Collection, one: Mapping[str, Any]) -> bool:
    text = str(one.get("id"))
    return text.isdigit() and int(text) in collection.merged_into


def _refuse_id_property(collection: Collection, one: Mapping[str, Any]) -> None:
    name = one.get("idProperty")
    if name is None:
        return
    definition = collection.schema.live(str(name))
    # Contacts are updated by record id: email is unique, and refused here nevertheless.
    if definition is None or not definition.unique or name == "email":
        raise invalid(f"Unable to perform update/upsert by non-unique {collection.type_id} property")


def _refuse_duplicates(inputs: Sequence[Mapping[str, Any]]) -> None:
    ids = [str(one.get("id")) for one in inputs]
    twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
    if twice:
        raise invalid("Duplicate IDs found in batch input: " + ", ".join(twice), context={"ids": twice})


def _refuse_taken_email(
    collection: Collection, values: Mapping[str, str], record: Record | None, taken: set[str] | None = None
) -> None:
    email = values.get("email", "") if collection.name == "contacts" else ""
    if not email:
        return
    holder = collection.by_email.get(email)
    if holder is not None and (record is None or holder != record.id):
        raise Problem(409, f"Contact already exists. Existing ID: {holder}", "CONFLICT")
    if taken is not None:
        if email in taken:
            raise invalid(f"Duplicate email in batch input: {email}")
        taken.add(email)


def _traced(problem: Problem, one: Mapping[str, Any]) -> dict[str, Any]:
    error = {key: value for key, value in problem.body().items() if key != "correlationId"}
    return {**error, "context": {"objectWriteTraceId": [str(one["objectWriteTraceId"])]}}
