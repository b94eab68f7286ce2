"""Writing our fields: by Collections a few, by a Bulk job many; every row accounted for by its record id."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from connector.errors import Bug, FixSetup, MissingScope, PlatformRefused
from connector.platform import Outcome, Write, WrittenObject
from connector.platforms.salesforce import words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import Api
from connector.platforms.salesforce.client.bulk import Bulk, JobFailed, error_code
from connector.platforms.salesforce.client.tabular import write_csv
from connector.platforms.salesforce.install import DEPLOY
from connector.platforms.salesforce.words import CONTACT
from connector.transport import jittered

_LOCKED = "UNABLE_TO_LOCK_ROW"

#: How often rows that somebody else held are tried again, after waits of one, two, four … seconds.
LOCK_ROUNDS = 5

#: The record is not there any more, or it is a lead that became a contact: Salesforce lets nobody change it.
_GONE = frozenset(
    {
        "ENTITY_IS_DELETED",
        "INVALID_CROSS_REFERENCE_KEY",
        "NOT_FOUND",
        "MALFORMED_ID",
        "CANNOT_UPDATE_CONVERTED_LEAD",
    }
)

#: Our fields are not there, or field-level security hides them: no row can be written.
_NO_FIELD = frozenset({"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE", "InvalidBatch"})


class Writer:
    """Writes to one org. `kinds` are our properties' types by name; `sleep` waits for locked rows."""

    def __init__(
        self, api: Api, bulk: Bulk, kinds: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._api, self._bulk, self._kinds, self._sleep = api, bulk, kinds, sleep

    def write(self, batch: Sequence[Write]) -> list[Outcome]:
        """One outcome for each row, in order. Raises FixSetup where a field can't be written at all."""
        if len({row.record_id for row in batch}) < len(batch):
            raise Bug("A batch names a record twice.")
        outcomes: dict[str, Outcome] = {}
        try:
            for object_name in [name for known in words.WRITTEN.values() for name in known.values()]:
                ours = [row for row in batch if words.object_of(row.record_id, row.object) == object_name]
                outcomes |= self._write_all(object_name, ours)
        except MissingScope as error:
            raise FixSetup(f"{error} Check that our fields are there: {DEPLOY}") from None
        return [outcomes.get(row.record_id) or Outcome(row.record_id, "gone", object=row.object) for row in batch]

    def _write_all(self, object_name: str, rows: Sequence[Write]) -> dict[str, Outcome]:
        outcomes = self._once(object_name, rows)
        by_id = {row.record_id: row for row in rows}
        for attempt in range(LOCK_ROUNDS):
            locked = [key for key, outcome in outcomes.items() if (outcome.error or "").startswith(_LOCKED)]
            if not locked:
                break
            self._sleep(jittered(2.0**attempt))
            # Rows of one parent lock each other: side by side they are written in one transaction.
            outcomes |= self._collections(
                object_name, [by_id[key] for key in self._by_parent(object_name, locked)]
            )
        return outcomes

    def _once(self, object_name: str, rows: Sequence[Write]) -> dict[str, Outcome]:
        if len(rows) <= self._api.sizes["rest"]:
            return self._collections(object_name, rows)
        outcomes: dict[str, Outcome] = {}
        for part, csv in self._parts(rows):
            outcomes |= self._job(object_name, part, csv)
        return outcomes

    def _parts(self, rows: Sequence[Write]) -> list[tuple[Sequence[Write], bytes]]:
        """Rows and their CSV, as few as stay below what one job takes."""
        names = sorted({name for row in rows for name in row.values})
        header = ["Id", *(words.field_name(name) for name in names)]
        csv = write_csv(header, [self._line(row) for row in rows])
        limits = self._api.limits["ingest"]
        if len(rows) == 1 or (len(csv) <= limits["bytes"] and len(rows) <= limits["rows"]):
            return [(rows, csv)]
        middle = len(rows) // 2
        return [*self._parts(rows[:middle]), *self._parts(rows[middle:])]

    def _line(self, row: Write) -> dict[str, str | None]:
        values = {
            words.field_name(name): words.to_csv(self._kinds.get(name, "text"), value)
            for name, value in row.values.items()
        }
        return {"Id": row.record_id, **values}

    def _job(self, object_name: str, rows: Sequence[Write], csv: bytes) -> dict[str, Outcome]:
        try:
            done = self._bulk.update(object_name, csv, [row.record_id for row in rows])
        except JobFailed as error:
            if error.code in _NO_FIELD:
                raise FixSetup(f"{error} Our fields can't be written: {DEPLOY}") from None
            raise
        outcomes = {}
        for row in rows:
            error_text = done.failed.get(row.record_id)
            if row.record_id in done.unprocessed:
                error_text = "not processed: the job ended before"
            outcomes[row.record_id] = _outcome(row, error_text, None)
        return outcomes

    def _collections(self, object_name: str, rows: Sequence[Write]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        size = self._api.sizes["collection"]
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            reply = self._api.update([self._record(object_name, row) for row in part])
            for row, result in zip(part, reply.body, strict=True):
                outcomes[row.record_id] = _outcome(row, _row_error(result), reply.request_id)
        return outcomes

    def _record(self, object_name: str, row: Write) -> dict[str, Any]:
        values = {
            words.field_name(name): words.to_salesforce(self._kinds.get(name, "text"), value)
            for name, value in row.values.items()
        }
        return {"attributes": {"type": object_name}, "id": row.record_id, **values}

    def _by_parent(self, object_name: str, ids: Sequence[str]) -> list[str]:
        if object_name != CONTACT:
            return sorted(ids)
        parents: dict[str, str] = {}
        size = self._api.sizes["ids"]
        for start in range(0, len(ids), size):
            query = soql.select(("Id", "AccountId"), CONTACT, [soql.one_of("Id", ids[start : start + size])])
            parents |= {str(row["Id"]): str(row["AccountId"] or "") for row in self._api.rows(query)}
        return sorted(ids, key=lambda key: (parents.get(key, ""), key))


def _row_error(result: Mapping[str, Any]) -> str | None:
    """`CODE: fields` of a Collections result, None for success. The message may repeat values and is left out."""
    if result.get("success"):
        return None
    errors = result.get("errors") or [{}]
    fields = ", ".join(str(name) for name in errors[0].get("fields") or ())
    return error_code(f"{errors[0].get('statusCode') or 'refused'}::{fields} --")


def _outcome(row: Write, error: str | None, request_id: str | None) -> Outcome:
    if error is None:
        return Outcome(row.record_id, "written", None, request_id, object=row.object)
    code = error.partition(":")[0]
    if code in _NO_FIELD:
        raise FixSetup(f"Salesforce: {error} (request {request_id}): our fields can't be written: {DEPLOY}")
    state: Literal["gone", "failed"] = "gone" if code in _GONE else "failed"
    return Outcome(row.record_id, state, None, request_id, error, row.object)


def read_ours(
    api: Api,
    bulk: Bulk,
    record_ids: Sequence[str],
    fields: Mapping[str, Mapping[str, str]],
    of: WrittenObject = "contact",
) -> dict[str, dict[str, Any] | None]:
    """Record -> our fields as they stand (property -> Salesforce's value); None for one that is gone or a
    converted lead. `fields`: object -> property -> the field, of those that are there."""
    present: dict[str, dict[str, Any] | None] = dict.fromkeys(record_ids)
    for object_name, ours in fields.items():
        ids = [record_id for record_id in record_ids if words.object_of(record_id, of) == object_name]
        more = ["IsConverted"] if object_name == words.LEAD else []
        for record in _records(api, bulk, object_name, ids, ["Id", *more, *ours.values()]):
            if str(record["Id"]) in present and str(record.get("IsConverted")).lower() != "true":
                present[str(record["Id"])] = {name: record.get(field) for name, field in ours.items()}
    return present


def _records(
    api: Api, bulk: Bulk, object_name: str, ids: Sequence[str], names: Sequence[str]
) -> Sequence[Mapping[str, Any]]:
    """Records by id; many at once by reading the whole object in one job."""
    if len(ids) > api.sizes["rest"]:
        try:
            return bulk.rows(soql.select(names, object_name), object_name)
        except PlatformRefused:
            # Bulk does not take the object, or gave the job up.
            pass
    records: list[Mapping[str, Any]] = []
    size = api.sizes["ids"]
    for start in range(0, len(ids), size):
        query = soql.select(names, object_name, [soql.one_of("Id", ids[start : start + size])])
        records += api.rows(query, object_name=object_name)
    return records
