"""Records changed since a cursor, by search: complete, in few calls, never past the 10,000 results of a query.

Paging is by id: sorted ascending, each call asks for ids above the last one, so that records which change
while they are read are neither skipped nor doubled.

HubSpot's search index lags behind its records, by seconds as a rule. A cursor is therefore not trusted for
`lookback` seconds before it:

- When little changed in that time, all of it is read again: one call.
- Else the last `MARGIN` seconds are read again if they hold little, and otherwise compared in slices that get
  narrower towards the cursor: a record that was seen and then changed again unseen moves from one slice to
  another. Older changes are compared as a whole. What is compared are counts, the search's `total` with the
  mirror's; only id ranges that differ are read.

A record whose version the mirror has already is never handed out again.

After a push every record that was written has changed, and all of them would be read again to find that it was our
own doing. A light reading compares counts with what the mirror knows to have written, in slices that get narrower
towards the present, and reads only where they differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.platform import Span
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client.api import Record
from connector.platforms.hubspot.reading import Reading, modified

#: Seconds before the cursor that deserve a second look even when counts agree.
MARGIN = 120

#: Re-reading this many records (five calls) is cheaper than comparing slices.
LITTLE = 1000

#: Where the slices of the margin begin, in seconds before the cursor.
SLICES = (2, 5, 10, 20, 40, MARGIN)

#: The same for the slices of a light reading, before the present.
LIGHT_SLICES = (2, 5, 10, 20, 40, 120, 300, 900, 3600, 4 * 3600, 24 * 3600)

#: An id range with more ids than a search page is halved, but not beyond this many calls a pull.
MOST_COMPARISONS = 200

#: Milliseconds by which the clocks of HubSpot's machines may differ.
_AHEAD = 600_000


@dataclass(frozen=True)
class Found:
    """Some changed records, and ids that the mirror has and HubSpot no longer does. Nothing at all, where counts
    were compared: many searches may go by so, and others are to be let in between.

    `above` is the highest id of a run through the changes since the cursor, None for what the look-back found.
    """

    records: Sequence[Record]
    above: str | None = None
    vanished: Sequence[str] = ()


class Changes:
    """Changes of one object ('contacts') since `since`, in epoch milliseconds."""

    def __init__(
        self,
        reading: Reading,
        object_name: str,
        properties: Sequence[str],
        since: int,
        *,
        light: bool = False,
    ) -> None:
        self._light = light
        self._reading, self._object, self._properties = reading, object_name, properties
        self._word = words.OBJECTS[object_name]
        self._modified = words.MODIFIED.get(object_name, words.MODIFIED_ELSEWHERE)
        self._since = since
        self._comparisons = 0

    def found(self, above: str | None = None) -> Iterator[Found]:
        """Everything, look-back last, in pieces of at most a search page.

        `above` resumes a run that was stopped. The look-back compares with what the mirror holds by then, so
        what is handed out must be committed before the next piece is asked for.
        """
        if above is None:
            total, records = self._search(self._floor())
            if total <= self._page:
                yield Found(self._unseen(records))
                return
        if self._light and self._mostly_ours():
            for low, high in self._slices_since():
                yield from self._compare(low, high)
        else:
            yield from self._run(self._since, above)
        yield from self._second_look()

    def differing(self) -> Iterator[Found]:
        """What mirror and HubSpot disagree about, whenever it changed: read by id ranges whose counts differ."""
        yield from self._compare(0, self._since)

    @property
    def _page(self) -> int:
        return self._reading.api.sizes["search"]

    def _floor(self) -> int:
        return self._since - 1000 * self._reading.lookback

    def _mostly_ours(self) -> bool:
        """Whether so much of what changed was written by us that counting is cheaper than reading."""
        total, _ = self._search(self._since)
        ours = self._reading.known.count(Span(self._word, _naive(self._since), written=True))
        return total > LITTLE and 2 * ours > total

    def _slices_since(self) -> Iterator[tuple[int, int]]:
        """From the present back to the cursor."""
        now = words.milliseconds(self._reading.api.now())
        high = now + _AHEAD
        for seconds in LIGHT_SLICES:
            low = max(self._since, now - 1000 * seconds)
            if low <= high:
                yield low, high
            high = low - 1
        if self._since <= high:
            yield self._since, high

    def _run(self, since: int, above: str | None = None, until: int | None = None) -> Iterator[Found]:
        while True:
            total, records = self._search(since, until, above)
            if records:
                above = str(records[-1]["id"])
                yield Found(records, above)
            if total <= len(records) or not records:
                return

    def _second_look(self) -> Iterator[Found]:
        margin = self._since - 1000 * min(MARGIN, self._reading.lookback)
        if margin < self._since:
            total, records = self._search(margin, self._since - 1)
            if total <= self._page:
                yield Found(self._unseen(records))
            elif total <= LITTLE:
                for found in self._run(margin, until=self._since - 1):
                    yield Found(self._unseen(found.records))
            else:
                for low, high in self._slices():
                    yield from self._compare(low, high)
        if self._floor() < margin:
            yield from self._compare(self._floor(), margin - 1)

    def _slices(self) -> Iterator[tuple[int, int]]:
        high = self._since - 1
        for seconds in SLICES:
            low = self._since - 1000 * min(seconds, self._reading.lookback)
            if low <= high:
                yield low, high
            high = low - 1

    def _compare(self, low: int, high: int, above: str | None = None, upto: str | None = None) -> Iterator[Found]:
        """Read the id ranges of a time window whose counts differ."""
        until = _naive(high) + timedelta(microseconds=999)
        span = Span(self._word, _naive(low), until, above, upto, written=self._light)
        total, records = self._search(low, high, above, upto)
        self._comparisons += 1
        known = self._reading.known
        if total == known.count(span):
            yield Found(())
            return
        mirrored = known.ids(span)
        if total <= self._page:
            present = {str(record["id"]) for record in records}
            # what we just wrote may not be in the index yet
            read = set(known.ids(replace(span, written=False))) if self._light else set(mirrored)
            vanished = [record for record in mirrored if record not in present and record in read]
            yield Found(self._unseen(records), vanished=vanished)
        elif len(mirrored) < 2 or self._comparisons >= MOST_COMPARISONS:
            for found in self._run_between(low, high, above, upto):
                yield Found(self._unseen(found.records))
        else:
            middle = mirrored[(len(mirrored) - 1) // 2]
            # what was compared is done with: whoever is let in may change the mirror
            yield Found(())
            yield from self._compare(low, high, above, middle)
            yield from self._compare(low, high, middle, upto)

    def _run_between(self, low: int, high: int, above: str | None, upto: str | None) -> Iterator[Found]:
        while True:
            total, records = self._search(low, high, above, upto)
            if records:
                above = str(records[-1]["id"])
                yield Found(records)
            if total <= len(records) or not records:
                return

    def _unseen(self, records: Sequence[Record]) -> list[Record]:
        """Those of which the mirror has neither this version nor a newer one."""
        known = self._reading.known.read_at(self._word, [str(record["id"]) for record in records])
        return [record for record in records if not self._is_among(record, known)]

    def _is_among(self, record: Record, known: Mapping[str, datetime]) -> bool:
        changed, read = modified(record, self._object), known.get(str(record["id"]))
        return changed is not None and read is not None and changed <= read

    def _search(
        self, since: int, until: int | None = None, above: str | None = None, upto: str | None = None
    ) -> tuple[int, list[Record]]:
        filters = [*_between(self._modified, since, until), *_ids(above, upto)]
        return self._reading.api.search(self._object, filters, self._properties)


def _between(name: str, since: int, until: int | None) -> list[Mapping[str, Any]]:
    if until is None:
        return [{"propertyName": name, "operator": "GTE", "value": str(since)}]
    return [{"propertyName": name, "operator": "BETWEEN", "value": str(since), "highValue": str(until)}]


def _ids(above: str | None, upto: str | None) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    if above is not None:
        found.append({"propertyName": "hs_object_id", "operator": "GT", "value": above})
    if upto is not None:
        found.append({"propertyName": "hs_object_id", "operator": "LTE", "value": upto})
    return found


def _naive(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)
