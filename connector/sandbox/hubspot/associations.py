"""Associations between records, read in batches."""

from typing import Any

from connector.sandbox.hubspot.calls import Call, Reply
from connector.sandbox.hubspot.problems import invalid
from connector.sandbox.hubspot.rendering import batch
from connector.sandbox.hubspot.state import SPELLINGS, Collection

MAX_INPUTS, PAGE = 1_000, 500


def batch_read(call: Call) -> Reply:
    """Up to 1,000 records at once; those without associations make it a 207."""
    left, right = _object(call, "from"), _object(call, "to")
    started = call.portal.clock()
    results, lonely = [], []
    for one in call.inputs(MAX_INPUTS):
        text, after = str(one.get("id")), str(one.get("after") or "0")
        found = call.portal.links.of(left.name, int(text), right.name) if text.isdigit() else []
        if not found:
            lonely.append(text)
        else:
            results.append(_result(call, left, right, int(text), int(after) if after.isdigit() else 0))
    errors = [_nothing(left, right, text) for text in lonely]
    return Reply(207 if errors else 200, batch(results, errors, started, call.portal.clock()))


def _result(call: Call, left: Collection, right: Collection, id_: int, start: int) -> dict[str, Any]:
    links = call.portal.links
    found = links.of(left.name, id_, right.name)
    to = [
        # A number by the documentation's example and on legacy paths, text by the newest description.
        {
            "toObjectId": str(other) if call.dated else other,
            "associationTypes": links.types(left.name, id_, right.name, other),
        }
        for other in found[start : start + PAGE]
    ]
    body: dict[str, Any] = {"from": {"id": str(id_)}, "to": to}
    if start + PAGE < len(found):
        body["paging"] = {"next": {"after": str(start + PAGE)}}
    return body


def _nothing(left: Collection, right: Collection, text: str) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {right.single} is associated with {left.single} {text}.",
        "context": {
            "fromObjectId": [text],
            "fromObjectType": [left.single],
            "toObjectType": [right.single],
        },
    }


def _object(call: Call, part: str) -> Collection:
    name = SPELLINGS.get(call.path[part])
    if name is None:
        raise invalid(f"Unable to infer object type from: {call.path[part]}")
    return call.portal.objects[name]
