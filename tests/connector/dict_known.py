"""A mirror of dicts: what a pull asks of the real one, and no more."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from connector.platform import Page, Span, StreamOff

KEYS = {"contacts": "contact_id", "companies": "company_id", "deals": "deal_id", "events": "event_id"}
PARENTS = {"contact_addresses": "contact_id", "consents": "contact_id", "deal_contacts": "deal_id"}
WORDS = {"contact": "contacts", "company": "companies", "deal": "deals"}


class DictKnown:
    """`connector.platform.Known` over dicts, with the commit of a page."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in KEYS}
        self.parts: dict[str, list[dict[str, Any]]] = {name: [] for name in PARENTS}
        self.history: list[dict[str, Any]] = []
        self.definitions: list[dict[str, Any]] = []
        self.removals: list[dict[str, Any]] = []
        self.cursors: dict[str, Mapping[str, Any]] = {}
        #: contact id -> modified date of our own last write
        self.written: dict[str, datetime | None] = {}
        self.echoes: list[str] = []
        self.news: list[str] = []
        self.off: list[StreamOff] = []

    def take(self, pages: Iterable[Page | StreamOff], stop_after: int | None = None) -> int:
        """Commit pages as a pull gives them; returns how many. `stop_after` leaves the pull there."""
        taken = 0
        for page in pages:
            if isinstance(page, StreamOff):
                self.off.append(page)
                continue
            self.commit(page)
            taken += 1
            if taken == stop_after:
                break
        return taken

    def commit(self, page: Page) -> None:
        """One page, as the mirror would."""
        for name, parents in page.replaces.items():
            gone = set(parents)
            self.parts[name] = [row for row in self.parts[name] if row[PARENTS[name]] not in gone]
        for name, table in page.rows.items():
            rows = table.to_pylist()
            if name in KEYS:
                self.tables[name].update({row[KEYS[name]]: row for row in rows})
                self.news += [row["contact_id"] for row in rows if name == "contacts"]
            elif name in PARENTS:
                self.parts[name] += rows
            elif name == "property_history":
                self.history += rows
            elif name == "property_definitions":
                held = {row["object"] for row in rows}
                self.definitions = [row for row in self.definitions if row["object"] not in held] + rows
            else:
                self._remove(rows)
        for row in page.echoes.to_pylist() if page.echoes is not None else []:
            self.tables["contacts"][row["contact_id"]]["modified_at"] = row["modified_at"]
            self.echoes.append(row["contact_id"])
        if page.cursor is not None:
            # what is kept is text
            self.cursors[page.stream] = json.loads(json.dumps(page.cursor))

    def wrote(self, contact_id: str, modified_at: datetime | None, **values: str) -> None:
        """Our own write, settled."""
        row = self.tables["contacts"][contact_id]
        row["ours"] = _text({**json.loads(row["ours"]), **values})
        self.written[contact_id] = modified_at

    def _remove(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.removals += [dict(row) for row in rows]
        for row in rows:
            self.tables[WORDS[row["object"]]].pop(row["object_id"], None)

    def cursor(self, stream: str) -> Mapping[str, Any] | None:
        return self.cursors.get(stream)

    def split_echoes(self, records: pa.Table) -> tuple[pa.Table, pa.Table]:
        mask = [self._is_echo(row) for row in records.to_pylist()]
        news = pa.array([not echo for echo in mask], pa.bool_())
        return records.filter(news), records.filter(pa.array(mask, pa.bool_()))

    def _is_echo(self, row: Mapping[str, Any]) -> bool:
        table = "contacts" if "contact_id" in row else "companies"
        held = self.tables[table].get(row[KEYS[table]])
        # only contacts are written here
        return (
            held is not None
            and self.written.get(row.get("contact_id", "")) == row["modified_at"]
            and (held["properties"], held["ours"]) == (row["properties"], row["ours"])
        )

    def count(self, span: Span) -> int:
        return len(self.ids(span))

    def ids(self, span: Span) -> list[str]:
        above, upto = span.above, span.upto
        rows = self.tables[WORDS[span.object_name]]
        low = -1 if above is None else int(above)
        high = float("inf") if upto is None else int(upto)
        found = [
            name
            for name in rows
            if low < int(name) <= high and span.since <= self._stamp(rows[name], span.written) <= span.until
        ]
        return sorted(found, key=int)

    def _stamp(self, row: Mapping[str, Any], written: bool) -> datetime:
        ours = self.written.get(row["contact_id"]) if written and "contact_id" in row else None
        stamp: datetime = row["modified_at"]
        return stamp if ours is None else max(stamp, ours)

    def read_at(self, object_name: str, record_ids: Sequence[str]) -> Mapping[str, datetime]:
        rows = self.tables[WORDS[object_name]]
        return {one: rows[one]["modified_at"] for one in record_ids if one in rows}

    def addresses(self, emails: Sequence[str]) -> Mapping[str, str]:
        by_address = {row["email"]: row["contact_id"] for row in self.parts["contact_addresses"]}
        return {email: by_address[email] for email in emails if email in by_address}

    def companies_of(self, contact_ids: Sequence[str]) -> Mapping[str, str]:
        found = {one: self.tables["contacts"].get(one, {}).get("company_id") for one in contact_ids}
        return {one: company for one, company in found.items() if company}

    def deals_of(self, contact_ids: Sequence[str]) -> list[str]:
        return sorted({row["deal_id"] for row in self.parts["deal_contacts"] if row["contact_id"] in contact_ids})


def _text(values: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(values.items())), separators=(",", ":"), ensure_ascii=False)
