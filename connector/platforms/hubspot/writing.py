"""Writing our properties: batches by record id, every row accounted for."""

from collections.abc import Mapping, Sequence
from typing import Any

from connector.errors import Bug, FixSetup
from connector.platform import Outcome, Write
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api, Record
from connector.platforms.hubspot.client.dialect import error_codes, named_properties
from connector.transport import Reply

_OBJECT = "contacts"


def write(api: Api, batch: Sequence[Write], kinds: Mapping[str, str]) -> list[Outcome]:
    """One batch update; an outcome for each row, in order. `kinds`: our properties' types by name.

    Raises FixSetup when a property does not exist at all, MissingScope without the right to write.
    """
    if len({row.contact_id for row in batch}) < len(batch):
        # HubSpot refuses the whole batch for it.
        raise Bug("A batch names a contact twice.")
    outcomes = _write(api, batch, kinds)
    return [outcomes[row.contact_id] for row in batch]


def _write(api: Api, rows: Sequence[Write], kinds: Mapping[str, str]) -> dict[str, Outcome]:
    if not rows:
        return {}
    inputs = [
        {
            "id": row.contact_id,
            "properties": {
                name: words.to_hubspot(kinds.get(name, "text"), value) for name, value in row.values.items()
            },
            # Errors of single rows name it where they do not name the record.
            "objectWriteTraceId": row.contact_id,
        }
        for row in rows
    ]
    reply = api.call(paths.BATCH_UPDATE, _OBJECT, json={"inputs": inputs}, accept=(400, 404, 409))
    if reply.status < 400:
        return _reconciled(rows, reply)
    _check_properties(reply, kinds)
    if len(rows) == 1:
        return {rows[0].contact_id: _refused(rows[0].contact_id, reply)}
    # One bad row fails the whole batch: halve it until the bad one stands alone.
    middle = len(rows) // 2
    return _write(api, rows[:middle], kinds) | _write(api, rows[middle:], kinds)


def _check_properties(reply: Reply, kinds: Mapping[str, str]) -> None:
    if "PROPERTY_DOESNT_EXIST" in error_codes(reply.body):
        named = sorted(set(named_properties(reply.body)) & set(kinds))
        raise FixSetup(
            f"HubSpot has no contact property {', '.join(named) or 'of this name'} "
            f"(request {reply.request_id}): run `leadlight install`."
        )


def _refused(contact_id: str, reply: Reply) -> Outcome:
    if reply.status == 404:
        return Outcome(contact_id, "gone", request_id=reply.request_id)
    codes = ", ".join(error_codes(reply.body)) or str(reply.body.get("category") or f"HTTP {reply.status}")
    named = ", ".join(named_properties(reply.body))
    return Outcome(contact_id, "failed", None, reply.request_id, f"{codes}: {named}" if named else codes)


def _reconciled(rows: Sequence[Write], reply: Reply) -> dict[str, Outcome]:
    """Results and errors by row. A row in neither was merged away: HubSpot leaves it out without a word."""
    outcomes = {row.contact_id: Outcome(row.contact_id, "gone", request_id=reply.request_id) for row in rows}
    for error in reply.body.get("errors") or ():
        for contact_id in _rows_of(error):
            if contact_id in outcomes:
                outcomes[contact_id] = _row_error(contact_id, error, reply.request_id)
    for result in reply.body.get("results") or ():
        contact_id = str(result.get("id"))
        if contact_id in outcomes:
            outcomes[contact_id] = Outcome(contact_id, "written", written_at(result), reply.request_id)
    return outcomes


def _rows_of(error: Mapping[str, Any]) -> set[str]:
    context = error.get("context") or {}
    return {str(found) for key in ("ids", "objectWriteTraceId") for found in context.get(key) or ()}


def _row_error(contact_id: str, error: Mapping[str, Any], request_id: str | None) -> Outcome:
    if error.get("category") == "OBJECT_NOT_FOUND":
        return Outcome(contact_id, "gone", request_id=request_id)
    body = {"errors": [error], "message": error.get("message")}
    codes = ", ".join(error_codes(body)) or str(error.get("category") or "refused")
    return Outcome(contact_id, "failed", None, request_id, codes)


def written_at(result: Record) -> Any:
    """The modified date after a write, naive UTC with all digits, as the next search will show it."""
    given = result.get("properties") or {}
    return words.instant(given.get("lastmodifieddate") or result.get("updatedAt"))


def read_ours(
    api: Api, contact_ids: Sequence[str], properties: Sequence[str], kinds: Mapping[str, str]
) -> dict[str, Write | None]:
    """The present values of our properties; None for a contact that is gone."""
    present: dict[str, Write | None] = dict.fromkeys(contact_ids)
    for record in api.read_batch(_OBJECT, contact_ids, properties):
        contact_id = str(record["id"])
        if contact_id in present:
            given = record.get("properties") or {}
            values = {name: words.from_hubspot(kinds.get(name, "text"), given.get(name)) for name in properties}
            present[contact_id] = Write(contact_id, values)
    return present
