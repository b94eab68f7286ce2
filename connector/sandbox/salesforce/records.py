"""REST endpoints about objects and single records, collections and batches."""

from datetime import datetime, timedelta
from typing import Any

from connector.sandbox import times
from connector.sandbox.salesforce import writing
from connector.sandbox.salesforce.answers import json_value
from connector.sandbox.salesforce.calls import Call, Reply
from connector.sandbox.salesforce.ids import PREFIXES, long_form
from connector.sandbox.salesforce.problems import Problem, not_found
from connector.sandbox.salesforce.schema import Object, to_datetime
from connector.sandbox.salesforce.soql import column_sql
from connector.sandbox.salesforce.store import INTEGRATION_USER, RowError

MOST_RECORDS, MOST_CHUNKS, MOST_IDS = 200, 10, 600_000
_FLAGS = ("createable", "deletable", "layoutable", "mergeable", "queryable", "replicateable", "retrieveable")


def _described(one: Object) -> dict[str, Any]:
    flags = dict.fromkeys((*_FLAGS, "searchable", "triggerable", "undeletable", "updateable"), True)
    return {"name": one.name, "label": one.name, "keyPrefix": PREFIXES[one.name], "custom": False, **flags}


def versions(_: Call) -> Reply:
    """Versions served."""
    known = [{"label": f"v{n}", "url": f"/services/data/v{n}.0", "version": f"{n}.0"} for n in range(41, 69)]
    return Reply(200, known)


def resources(call: Call) -> Reply:
    """What a version has."""
    names = ("sobjects", "query", "queryAll", "limits", "jobs", "composite")
    return Reply(200, {name: f"/services/data/{call.version}/{name}" for name in names})


def limits(call: Call) -> Reply:
    """Allowances."""
    return Reply(200, call.limits.served())


def global_describe(call: Call) -> Reply:
    """All objects."""
    found = [_described(one) for one in call.org.objects.values()]
    return Reply(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": found})


def basic(call: Call) -> Reply:
    """An object, in short."""
    return Reply(200, {"objectDescribe": _described(call.entity), "recentItems": []})


def describe(call: Call) -> Reply:
    """An object and its fields."""
    fields = [one.served() for one in call.entity.fields.values()]
    return Reply(
        200, {**_described(call.entity), "fields": fields, "childRelationships": [], "recordTypeInfos": []}
    )


def read(call: Call) -> Reply:
    """One record. Raises Problem 404."""
    entity, id_ = call.entity, long_form(call.path["id"])
    wanted = [name for name in call.query.get("fields", "").split(",") if name]
    fields = [entity.get(name) for name in wanted] if wanted else list(entity.fields.values())
    missing = [name for name, one in zip(wanted, fields, strict=False) if one is None]
    if missing:
        raise Problem(400, "INVALID_FIELD", f"No such column '{missing[0]}' on sobject of type {entity.name}")
    columns = ", ".join(f'{column_sql(one, "t")} as "{one.name}"' for one in fields if one is not None)
    sql = f"select {columns} from {entity.name} t where t.Id = '{id_}' and not t.IsDeleted"
    rows = call.org.engine.sql(sql).to_arrow_table().to_pylist()
    if not rows:
        raise not_found()
    url = f"/services/data/{call.version}/sobjects/{entity.name}/{id_}"
    values = {name: json_value(value) for name, value in rows[0].items()}
    return Reply(200, {"attributes": {"type": entity.name, "url": url}, **values})


def create(call: Call) -> Reply:
    """A new record. Raises Problem 400."""
    outcome = writing.insert(call.org, call.entity, [_plain(call.body())])[0]
    return Reply(201, {"id": _good(outcome), "success": True, "errors": []})


def update(call: Call) -> Reply:
    """Change one record. Raises Problem 400 and 404."""
    id_ = long_form(call.path["id"]) or ""
    if id_ not in call.org.rows(call.entity.name, [id_]):
        raise not_found()
    _good(writing.update(call.org, call.entity, [(id_, _plain(call.body()))])[0])
    return Reply(204)


def delete(call: Call) -> Reply:
    """To the recycle bin. Raises Problem 404."""
    id_ = long_form(call.path["id"]) or ""
    standing = call.org.rows(call.entity.name, [id_]).get(id_)
    if standing is None or standing["IsDeleted"]:
        raise Problem(404, "ENTITY_IS_DELETED", "entity is deleted")
    call.org.delete(call.entity, [id_], INTEGRATION_USER)
    return Reply(204)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "attributes" and name.lower() != "id"}


def _good(outcome: object) -> object:
    if isinstance(outcome, RowError):
        raise Problem(400, outcome.code, outcome.message, *outcome.fields)
    return outcome


def collection(call: Call) -> Reply:
    """PATCH updates, POST creates up to 200 records; each row has its own result. Raises Problem 400."""
    body = call.body()
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise Problem(400, "JSON_PARSER_ERROR", "records is required and must be a list")
    if len(records) > MOST_RECORDS:
        message = f"The maximum number of records is {MOST_RECORDS}; {len(records)} were given"
        raise Problem(400, "EXCEEDED_MAX_SIZE_REQUEST", message)
    groups = writing.grouped(records)
    if len(groups) > MOST_CHUNKS:
        raise Problem(400, "EXCEEDED_MAX_TYPES_LIMIT", f"At most {MOST_CHUNKS} object types are possible")
    answers: list[Any] = [None] * len(records)
    for name, places in groups.items():
        entity = call.org.objects.get(name)
        if entity is None:
            raise Problem(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
        if call.method == "POST":
            outcome = writing.insert(call.org, entity, [_plain(records[place]) for place in places])
        else:
            given = [(_id(records[place]), _plain(records[place])) for place in places]
            outcome = writing.update(call.org, entity, given, all_or_none=bool(body.get("allOrNone")))
        for place, one in zip(places, outcome, strict=True):
            answers[place] = writing.answer(one)
    return Reply(200, answers)


def _id(record: dict[str, Any]) -> str:
    return next((str(value) for name, value in record.items() if name.lower() == "id"), "")


def updated(call: Call) -> Reply:
    """Ids changed in a window of at most 30 days, by the minute. Raises Problem 400."""
    start, end = _window(call, 30)
    sql = (
        f"select Id from {call.entity.name} where not IsDeleted and SystemModstamp >= timestamp '{start}' "
        f"and SystemModstamp < timestamp '{end}' order by SystemModstamp, Id limit {MOST_IDS + 1}"
    )
    found = call.org.engine.sql(sql).to_arrow_table().column(0).to_pylist()
    if len(found) > MOST_IDS:
        raise Problem(400, "EXCEEDED_ID_LIMIT", "Too many ids; narrow the window")
    return Reply(200, {"ids": found, "latestDateCovered": json_value(min(end, call.org.now()))})


def deleted(call: Call) -> Reply:
    """Records deleted in a window of at most 15 days. Raises Problem 400."""
    start, end = _window(call, 15)
    sql = (
        f"select Id, SystemModstamp from {call.entity.name} where IsDeleted and "
        f"SystemModstamp >= timestamp '{start}' and SystemModstamp < timestamp '{end}' order by SystemModstamp, Id"
    )
    rows = call.org.engine.sql(sql).to_arrow_table().to_pylist()
    if len(rows) > MOST_IDS:
        raise Problem(400, "EXCEEDED_ID_LIMIT", "Too many ids; narrow the window")
    found = [{"id": row["Id"], "deletedDate": json_value(row["SystemModstamp"])} for row in rows]
    earliest = json_value(call.org.now() - timedelta(days=15))
    covered = json_value(min(end, call.org.now()))
    return Reply(200, {"deletedRecords": found, "earliestDateAvailable": earliest, "latestDateCovered": covered})


def _window(call: Call, days: int) -> tuple[datetime, datetime]:
    moments = [times.parse(call.query.get(name, "").replace(" ", "+")) for name in ("start", "end")]
    if moments[0] is None or moments[1] is None or moments[1] <= moments[0]:
        raise Problem(400, "INVALID_REPLICATION_DATE", "start must be before end, both ISO 8601")
    start, end = (to_datetime(moment - moment % 60_000) for moment in moments if moment is not None)
    if start < call.org.now() - timedelta(days=days, minutes=1):
        raise Problem(
            400, "INVALID_REPLICATION_DATE", f"startDate before org replication enabled date: {days} days"
        )
    return start, end
