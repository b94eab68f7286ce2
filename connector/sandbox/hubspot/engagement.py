"""What contacts did: e-mail events, occurrences, form submissions and consent, in the order that is asked for.

Events come by the hundred thousand, so they stay in Arrow columns until a page of them is asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EMAIL_EVENTS = pa.schema(
    [
        ("id", pa.string()),
        ("created", pa.int64()),  # epoch ms
        ("type", pa.string()),
        ("recipient", pa.string()),
        ("campaign", pa.int64()),
        ("sent_id", pa.string()),
        ("sent_created", pa.int64()),
        ("url", pa.string()),
        ("filtered", pa.bool_()),
    ]
)
OCCURRENCES = pa.schema(
    [
        ("id", pa.string()),
        ("created", pa.int64()),  # epoch ms
        ("type", pa.string()),
        ("contact", pa.int64()),
        ("url", pa.string()),
        ("details", pa.string()),  # JSON object or null
    ]
)


class Timeline:
    """Rows newest first; selections are remembered, since a client pages through them."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._sort()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Further rows, whatever their time: they arrive late."""
        new = pa.Table.from_pylist([dict(row) for row in rows], schema=self._rows.schema)
        self._rows = pa.concat_tables([self._rows, new])
        self._sort()

    def distinct(self, column: str) -> list[Any]:
        """Values that a column has, in order."""
        return sorted(pc.unique(self._rows[column]).to_pylist())

    def page(
        self, start: int, limit: int, *, first: int, last: int, ascending: bool = False, **equal: Any
    ) -> tuple[list[dict[str, Any]], bool]:
        """Rows with first <= created <= last and the given values, from `start` on, and whether more follow."""
        chosen = self._select(first, last, tuple(sorted(equal.items())))
        if ascending:
            chosen = chosen[::-1]
        rows = self._rows.take(pa.array(chosen[start : start + limit])).to_pylist()
        return rows, start + limit < len(chosen)

    def _sort(self) -> None:
        order = [("created", "descending"), ("id", "descending")]
        self._rows = self._rows.sort_by(order).combine_chunks()
        self._select = lru_cache(maxsize=32)(self._selected)

    def _selected(self, first: int, last: int, equal: tuple[tuple[str, Any], ...]) -> "np.ndarray[Any, Any]":
        mask = pc.and_(pc.greater_equal(self._rows["created"], first), pc.less_equal(self._rows["created"], last))
        for column, value in equal:
            mask = pc.and_(
                mask, pc.equal(self._rows[column], pa.scalar(value, self._rows.schema.field(column).type))
            )
        return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


@dataclass(frozen=True)
class Submission:
    """A filled-in form."""

    id: str
    at: int
    page: str
    values: tuple[tuple[str, str], ...]


@dataclass
class Form:
    """A form and its submissions, newest first."""

    guid: str
    name: str
    created: int
    submissions: list[Submission] = field(default_factory=list)


@dataclass(frozen=True)
class Consent:
    """Whether an address may be written to."""

    status: str  # SUBSCRIBED | UNSUBSCRIBED | NOT_SPECIFIED
    since: int | None = None


@dataclass
class Engagement:
    """All of it."""

    emails: Timeline = field(default_factory=lambda: Timeline(EMAIL_EVENTS.empty_table()))
    occurrences: Timeline = field(default_factory=lambda: Timeline(OCCURRENCES.empty_table()))
    forms: dict[str, Form] = field(default_factory=dict)
    consents: dict[str, Consent] = field(default_factory=dict)
