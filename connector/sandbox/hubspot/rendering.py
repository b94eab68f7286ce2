"""Records as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from connector.sandbox import times
from connector.sandbox.hubspot.state import Collection, Entry, Record, value_of

#: What comes when no properties are asked for.
DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "contacts": ("email", "firstname", "lastname"),
    "companies": ("domain", "name"),
    "deals": ("amount", "closedate", "dealname", "dealstage", "pipeline"),
}


class Valued(Protocol):
    """A record, or the search index's memory of one."""

    @property
    def id(self) -> int: ...
    @property
    def properties(self) -> Mapping[str, str]: ...
    @property
    def created(self) -> int: ...
    @property
    def modified(self) -> int: ...


class Picker:
    """The properties that a request wants, found out once for all its records."""

    def __init__(self, collection: Collection, wanted: Sequence[str] | None) -> None:
        facts = (collection.created_name, collection.modified_name, "hs_object_id")
        chosen = wanted or DEFAULTS.get(collection.name, ())
        # Unknown names are ignored; known ones without a value are null.
        known = [name for name in chosen if collection.schema.live(name) is not None]
        self._collection = collection
        self._names = sorted({*known, *facts})
        special = {*facts, "hs_lastmodifieddate"}
        self._plain = [name for name in self._names if name not in special]
        self._special = [name for name in self._names if name in special]

    def values(self, record: Valued) -> dict[str, str | None]:
        """Property -> value."""
        properties = record.properties
        values: dict[str, str | None] = {name: properties.get(name) for name in self._plain}
        for name in self._special:
            values[name] = value_of(self._collection, record.id, properties, record.created, record.modified, name)
        return values

    def body(self, record: Valued) -> dict[str, Any]:
        """The record as lists, reads and searches give it."""
        return {
            "id": str(record.id),
            "properties": self.values(record),
            "createdAt": times.iso(record.created),
            "updatedAt": times.iso(record.modified),
            "archived": False,
        }


def full(
    collection: Collection, record: Record, picker: Picker, with_history: Sequence[str] = ()
) -> dict[str, Any]:
    """A record with the history of some properties, and when it was archived."""
    body = picker.body(record)
    if with_history:
        names = [name for name in with_history if collection.schema.live(name) is not None]
        body["propertiesWithHistory"] = {name: [_entry(one) for one in record.entries(name)] for name in names}
    if record.archived_at is not None:
        body["archived"] = True
        body["archivedAt"] = times.iso(record.archived_at)
    return body


def _entry(entry: Entry) -> dict[str, Any]:
    body: dict[str, Any] = {
        "value": entry.value,
        "timestamp": times.iso(entry.at),
        "sourceType": entry.source.type,
    }
    if entry.source.id is not None:
        body["sourceId"] = entry.source.id
    if entry.source.user is not None:
        body["updatedByUserId"] = entry.source.user
    return body


def batch(results: Sequence[Any], errors: Sequence[Any], started: int, now: int) -> dict[str, Any]:
    """The body of a batch answer; errors only where there are some."""
    body: dict[str, Any] = {"status": "COMPLETE", "results": list(results)}
    if errors:
        body |= {"numErrors": len(errors), "errors": list(errors)}
    return {**body, "startedAt": times.iso(started), "completedAt": times.iso(now)}


def missing(collection: Collection, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The error of a 207 for inputs whose records are not there; their trace ids are given back."""
    if not inputs:
        return []
    context = {"ids": [str(one.get("id")) for one in inputs]}
    traces = [str(one["objectWriteTraceId"]) for one in inputs if one.get("objectWriteTraceId")]
    if traces:
        context["objectWriteTraceId"] = traces
    message = (
        f"Could not get some {collection.single.upper()} objects, they may be deleted or not exist. "
        "Check that ids are valid."
    )
    return [{"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": context}]
