"""The search index: what CRM search sees, some seconds after the records have it."""

import json
import re
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connector.sandbox.hubspot import matching
from connector.sandbox.hubspot.problems import invalid

if TYPE_CHECKING:
    from connector.sandbox.hubspot.state import Collection, Record

MAX_GROUPS, MAX_FILTERS, MAX_ALL_FILTERS = 5, 6, 18
MAX_LIMIT, WALL = 200, 10_000
QUERY_LIMIT = 3_000
_ID = "hs_object_id"


@dataclass(frozen=True, slots=True)
class Document:
    """A record as the index knows it."""

    id: int
    properties: Mapping[str, str]
    created: int
    modified: int


@dataclass(frozen=True)
class Found:
    """One page of results. `total` counts all matches, beyond the wall too."""

    total: int
    documents: Sequence[Document]
    after: int | None


class Index:
    """Documents of one object. A write shows after `lag_ms`, as the record was at that write."""

    def __init__(self, collection: "Collection", lag_ms: int, clock: Callable[[], int]) -> None:
        self._collection = collection
        self._lag_ms = lag_ms
        self._clock = clock
        self._documents: dict[int, Document] = {}
        self._ids: list[int] = []
        self._pending: deque[tuple[int, int, Document | None]] = deque()
        self._answers: dict[str, list[int]] = {}

    def fill(self, records: Iterable["Record"]) -> None:
        """Take in records without delay."""
        for record in records:
            self._apply(record.id, _document(record))

    def note(self, record: "Record") -> None:
        """A record was written or archived."""
        gone = record.archived_at is not None
        self._pending.append((self._clock() + self._lag_ms, record.id, None if gone else _document(record)))

    def drop(self, id_: int) -> None:
        """A record is no more."""
        self._pending.append((self._clock() + self._lag_ms, id_, None))

    def search(self, body: Mapping[str, Any]) -> Found:
        """Answer a search request. Raises Problem 400."""
        self._catch_up()
        groups, sort, limit, after = _checked(body)
        bounds, rest = _split_id_bounds(groups)
        ids = self._matches(rest, sort, str(body.get("query") or ""))
        if sort == (_ID, False):
            ids = ids[bisect_left(ids, bounds[0]) : bisect_right(ids, bounds[1])]
        elif bounds != _EVERYTHING:
            ids = [id_ for id_ in ids if bounds[0] <= id_ <= bounds[1]]
        chosen = [self._documents[id_] for id_ in ids[after : after + limit]]
        following = after + limit if after + limit < len(ids) else None
        return Found(len(ids), chosen, following)

    def _matches(
        self, groups: Sequence[Sequence[Mapping[str, Any]]], sort: tuple[str, bool], query: str
    ) -> list[int]:
        """Ids that match, in order; remembered until the index changes."""
        key = json.dumps([groups, sort, query], sort_keys=True)
        if key not in self._answers or "associations." in key:
            self._answers[key] = self._evaluate(groups, sort, query)
        return self._answers[key]

    def _evaluate(
        self, groups: Sequence[Sequence[Mapping[str, Any]]], sort: tuple[str, bool], query: str
    ) -> list[int]:
        tests = [[matching.test(self._collection, one) for one in group] for group in groups]
        wanted = [token for token in re.split(r"\s+", query.lower()) if token]
        found = [
            document
            for document in map(self._documents.__getitem__, self._ids)
            if (not tests or any(all(one(document) for one in group) for group in tests))
            and all(_mentions(document, token) for token in wanted)
        ]
        name, descending = sort
        if name != _ID:
            found.sort(key=matching.order(self._collection, name))
        if descending:
            found.reverse()
        return [document.id for document in found]

    def _catch_up(self) -> None:
        now = self._clock()
        while self._pending and self._pending[0][0] <= now:
            _, id_, document = self._pending.popleft()
            self._apply(id_, document)

    def _apply(self, id_: int, document: Document | None) -> None:
        self._answers.clear()
        known = id_ in self._documents
        if document is None:
            if known:
                del self._documents[id_]
                del self._ids[bisect_left(self._ids, id_)]
            return
        self._documents[id_] = document
        if not known:
            insort(self._ids, id_)


_EVERYTHING = (0, 1 << 62)


def _document(record: "Record") -> Document:
    return Document(record.id, record.properties, record.created, record.modified)


def _mentions(document: Document, token: str) -> bool:
    names = ("firstname", "lastname", "email", "phone", "company", "name", "domain", "dealname")
    return any(token in document.properties.get(name, "").lower() for name in names)


def _checked(
    body: Mapping[str, Any],
) -> tuple[list[list[Mapping[str, Any]]], tuple[str, bool], int, int]:
    """Groups of filters, sort (property, descending), limit and offset. Raises Problem 400."""
    groups = [list(group.get("filters") or ()) for group in body.get("filterGroups") or ()]
    if body.get("filters"):
        groups.append(list(body["filters"]))
    if len(groups) > MAX_GROUPS:
        raise invalid(f"Too many filter groups: {len(groups)}, at most {MAX_GROUPS} are allowed.")
    if any(len(group) > MAX_FILTERS for group in groups) or sum(map(len, groups)) > MAX_ALL_FILTERS:
        raise invalid(f"Too many filters: at most {MAX_FILTERS} in a group and {MAX_ALL_FILTERS} in all.")
    if len(str(body.get("query") or "")) > QUERY_LIMIT:
        raise invalid(f"The query is longer than {QUERY_LIMIT} characters.")
    limit, after = _whole(body, "limit", 10), _whole(body, "after", 0)
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid(f"The limit is {limit}: it must be from 1 to {MAX_LIMIT}.")
    if after + limit > WALL:
        raise invalid(f"Paging beyond {WALL} results is not possible: narrow the search.")
    return groups, _sort(body.get("sorts") or ()), limit, after


def _whole(body: Mapping[str, Any], name: str, default: int) -> int:
    given = body.get(name)
    if given is None or given == "":
        return default
    if not str(given).isdigit():
        raise invalid(f"{name} must be an integer-formatted string, not {given!r}.")
    return int(given)


def _sort(sorts: Sequence[Any]) -> tuple[str, bool]:
    if len(sorts) > 1:
        raise invalid("Only one sort is possible.")
    if not sorts:
        return "createdate", False
    one = sorts[0]
    if isinstance(one, str):
        return one.removeprefix("-"), one.startswith("-")
    return str(one.get("propertyName")), one.get("direction", "ASCENDING") == "DESCENDING"


def _split_id_bounds(
    groups: list[list[Mapping[str, Any]]],
) -> tuple[tuple[int, int], list[list[Mapping[str, Any]]]]:
    """Take the bounds on the record id out of a single group, so that pages of one walk share an answer."""
    if len(groups) != 1:
        return _EVERYTHING, groups
    low, high = _EVERYTHING
    rest: list[Mapping[str, Any]] = []
    for one in groups[0]:
        bounds = _id_bounds(one) if one.get("propertyName") == _ID else None
        if bounds is None:
            rest.append(one)
        else:
            low, high = max(low, bounds[0]), min(high, bounds[1])
    return (low, high), [rest] if rest else []


def _id_bounds(one: Mapping[str, Any]) -> tuple[int, int] | None:
    value, high = str(one.get("value")), str(one.get("highValue"))
    if not value.isdigit():
        return None
    least, most = _EVERYTHING
    if one["operator"] == "BETWEEN" and high.isdigit():
        return int(value), int(high)
    bounds = {
        "GT": (int(value) + 1, most),
        "GTE": (int(value), most),
        "LT": (least, int(value) - 1),
        "LTE": (least, int(value)),
    }
    return bounds.get(str(one.get("operator")))
