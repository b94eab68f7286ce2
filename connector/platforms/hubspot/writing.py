"""Writing our properties: batches by record id, every row accounted for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connector.errors import Bug, FixSetup
from connector.platform import Outcome, Write, WrittenObject
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api, Record
from connector.platforms.hubspot.client.dialect import error_codes, named_properties
from connector.transport import Reply


def write(api: Api, batch: Sequence[Write], kinds: Mapping[str, str]) -> list[Outcome]:
    """One batch update; an outcome for each row, in order. `kinds`: our properties' types by name.

    Raises FixSetup when a property does not exist at all, MissingScope without the right to write.
    """
    if len({row.record_id for row in batch}) < len(batch):
        # HubSpot refuses the whole batch for it.
        raise Bug("A batch names a record twice.")
    outcomes = _write(api, batch, kinds)
    return [outcomes[row.record_id] for row in batch]


def _write(api: Api, rows: Sequence[Write], kinds: Mapping[str, str]) -> dict[str, Outcome]:
    if not rows:
        return {}
    object_name = rows[0].object
    inputs = [
        {
            "id": row.record_id,
            "properties": {
                name: words.to_hubspot(kinds.get(name, "text"), value) for name, value in row.values.items()
            },
            # Errors of single rows name it where they do not name the record.
            "objectWriteTraceId": row.record_id,
        }
        for row in rows
    ]
    reply = api.call(paths.BATCH_UPDATE, words.PATHS[object_name], json={"inputs": inputs}, accept=(400, 404, 409))
    if reply.status < 400:
        return _reconciled(rows, reply)
    _check_properties(object_name, reply, kinds)
    if len(rows) == 1:
        return {rows[0].record_id: _refused(rows[0], reply)}
    # One bad row fails the whole batch: halve it until the bad one stands alone.
    middle = len(rows) // 2
    return _write(api, rows[:middle], kinds) | _write(api, rows[middle:], kinds)


def _check_properties(object_name: WrittenObject, reply: Reply, kinds: Mapping[str, str]) -> None:
    if "PROPERTY_DOESNT_EXIST" in error_codes(reply.body):
        named = sorted(set(named_properties(reply.body)) & set(kinds))
        raise FixSetup(
            f"HubSpot has no {object_name} property {', '.join(named) or 'of this name'} "
            f"(request {reply.request_id}): run `leadlight install`."
        )


def _refused(row: Write, reply: Reply) -> Outcome:
    if reply.status == 404:
        return Outcome(row.record_id, "gone", request_id=reply.request_id, object=row.object)
    codes = ", ".join(error_codes(reply.body)) or str(reply.body.get("category") or f"HTTP {reply.status}")
    named = ", ".join(named_properties(reply.body))
    error = f"{codes}: {named}" if named else codes
    return Outcome(row.record_id, "failed", None, reply.request_id, error, row.object)


def _reconciled(rows: Sequence[Write], reply: Reply) -> dict[str, Outcome]:
    """Results and errors by row. A row in neither was merged away: HubSpot leaves it out without a word."""
    outcomes = {
        row.record_id: Outcome(row.record_id, "gone", request_id=reply.request_id, object=row.object)
        for row in rows
    }
    for error in reply.body.get("errors") or ():
        for record_id in _rows_of(error) & outcomes.keys():
            outcomes[record_id] = _row_error(outcomes[record_id], error)
    for result in reply.body.get("results") or ():
        record_id = str(result.get("id"))
        if record_id in outcomes:
            outcomes[record_id] = replace(
                outcomes[record_id], state="written", modified_at=written_at(result, rows[0].object), error=None
            )
    return outcomes


def _rows_of(error: Mapping[str, Any]) -> set[str]:
    context = error.get("context") or {}
    return {str(found) for key in ("ids", "objectWriteTraceId") for found in context.get(key) or ()}


def _row_error(gone: Outcome, error: Mapping[str, Any]) -> Outcome:
    if error.get("category") == "OBJECT_NOT_FOUND":
        return gone
    body = {"errors": [error], "message": error.get("message")}
    codes = ", ".join(error_codes(body)) or str(error.get("category") or "refused")
    return replace(gone, state="failed", error=codes)


def written_at(result: Record, object_name: WrittenObject = "contact") -> Any:
    """The modified date after a write, naive UTC with all digits, as the next search will show it."""
    given = result.get("properties") or {}
    name = words.MODIFIED.get(words.PATHS[object_name], words.MODIFIED_ELSEWHERE)
    return words.instant(given.get(name) or result.get("updatedAt"))


def read_ours(
    api: Api,
    record_ids: Sequence[str],
    properties: Sequence[str],
    kinds: Mapping[str, str],
    object_name: WrittenObject = "contact",
) -> dict[str, Write | None]:
    """The present values of our properties; None for a record that is gone."""
    present: dict[str, Write | None] = dict.fromkeys(record_ids)
    for record in api.read_batch(words.PATHS[object_name], record_ids, properties):
        record_id = str(record["id"])
        if record_id in present:
            given = record.get("properties") or {}
            values = {name: words.from_hubspot(kinds.get(name, "text"), given.get(name)) for name in properties}
            present[record_id] = Write(record_id, values, object_name)
    return present
