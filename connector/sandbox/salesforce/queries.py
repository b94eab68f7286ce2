"""REST queries: /query, /queryAll and the pages that follow."""

from collections import OrderedDict
from dataclasses import dataclass

import pyarrow as pa

from connector.sandbox.salesforce import answers, ids
from connector.sandbox.salesforce.calls import Call, Reply
from connector.sandbox.salesforce.problems import Problem
from connector.sandbox.salesforce.soql import Query, parse

#: Rows of a page: default and most, least.
PAGE, LEAST = 2_000, 200
_KEPT = 200


@dataclass
class Cursor:
    """A query whose rows are paged through."""

    query: Query
    rows: pa.Table
    size: int


class Locators:
    """Open cursors; the oldest are forgotten."""

    def __init__(self) -> None:
        self._cursors: OrderedDict[str, Cursor] = OrderedDict()
        self._made = 0

    def keep(self, cursor: Cursor) -> str:
        """A locator for the cursor."""
        self._made += 1
        name = ids.one_id("01g", self._made)
        self._cursors[name] = cursor
        while len(self._cursors) > _KEPT:
            self._cursors.popitem(last=False)
        return name

    def get(self, name: str) -> Cursor:
        """The cursor. Raises Problem 400."""
        if name not in self._cursors:
            raise Problem(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._cursors[name]


def query(call: Call) -> Reply:
    """First page."""
    return _first(call, deleted=False)


def query_all(call: Call) -> Reply:
    """First page, with the records in the recycle bin."""
    return _first(call, deleted=True)


def more(call: Call) -> Reply:
    """A further page. Raises Problem 400."""
    name, dash, start = call.path["locator"].rpartition("-")
    if not dash or not start.isdigit():
        raise Problem(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    return _page(call, call.locators.get(name), name, int(start))


def _first(call: Call, *, deleted: bool) -> Reply:
    statement = call.query.get("q", "")
    found = parse(statement, call.org.objects, deleted=deleted)
    rows = answers.run(call.org, found)
    most = call.org.faults.query_rows
    if most is not None and rows.num_rows > most:
        raise Problem(400, "QUERY_TIMEOUT", "Your query request was running for too long.")
    if found.counts:
        return Reply(200, {"totalSize": rows.column(0)[0].as_py(), "done": True, "records": []})
    return _page(call, Cursor(found, rows, _batch_size(call)), "", 0)


def _batch_size(call: Call) -> int:
    options = dict(
        part.strip().partition("=")[::2] for part in call.headers.get("sforce-query-options", "").split(",")
    )
    wanted = options.get("batchSize", "")
    return min(PAGE, max(LEAST, int(wanted))) if wanted.isdigit() else PAGE


def _page(call: Call, cursor: Cursor, name: str, start: int) -> Reply:
    # No size is guaranteed: every third page is shorter than asked for, and what follows starts earlier.
    size = cursor.size - 37 if (start // cursor.size) % 3 == 1 else cursor.size
    part = cursor.rows.slice(start, size)
    body = {
        "totalSize": cursor.rows.num_rows,
        "done": start + size >= cursor.rows.num_rows,
        "records": answers.records(cursor.query, part, call.version),
    }
    if not body["done"]:
        name = name or call.locators.keep(cursor)
        body["nextRecordsUrl"] = f"/services/data/{call.version}/query/{name}-{start + size}"
    return Reply(200, body)
