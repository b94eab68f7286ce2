"""A page's Arrow tables as temporary tables, in the types of storage, without the rows of people who were erased.

Of an erased person a keyed hash of each id and address is kept (`store.erased`; the key is a file beside the
mirror), so that no later page can bring the person back.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connector.errors import Bug, StateMismatch
from connector.mirror.sql import now, registered
from connector.platform import RECORD_TABLES, Page
from scoring.companies import AFTER, BEFORE, NAMED
from scoring.tables import TABLES

KEY_FILE = "erased.key"
#: What stands in the place of an erased contact's id or address in texts about others.
ERASED = "erased"

#: Kept with all their digits: echoes and stale reads are told by them.
_EXACT = ("modified_at",)


def stage(
    connection: duckdb.DuckDBPyConnection, page: Page, table: str, key: Sequence[str], latest: str | None = None
) -> list[str]:
    """Make `_page_in` of the page's rows of a table and return its columns. Where a key stands twice, the row
    with the latest `latest` stays, then the last one. A column that the page lacks is null."""
    columns = {column.name: column.type for column in TABLES[table]}
    if table in RECORD_TABLES:
        columns |= {"properties": "VARCHAR", "ours": "VARCHAR", "modified_at": "TIMESTAMP"}
    given = page.rows.get(table)
    given = pa.table({name: pa.nulls(0) for name in columns}) if given is None else given
    if unknown := sorted(set(given.column_names) - set(columns)):
        raise Bug(f"A page of stream {page.stream} has a column {table}.{unknown[0]} that there is not.")
    present = set(given.column_names)
    select = ", ".join(f"{_value(name, kind, present)} as {name}" for name, kind in columns.items())
    order = (f"g.{latest} desc nulls last, " if latest is not None and latest in present else "") + "_place desc"
    by = ", ".join(_value(name, columns[name], present) for name in key)
    once = f"qualify row_number() over (partition by {by} order by {order}) = 1" if key else ""
    placed = given.append_column("_place", pa.array(range(given.num_rows), pa.int64()))
    with registered(connection, "_page_given", placed):
        connection.execute(f"create or replace temp table _page_in as select {select} from _page_given g {once}")
    return list(columns)


def _value(name: str, kind: str, present: set[str]) -> str:
    if name not in present:
        return f"cast(null as {kind})"
    if kind == "TIMESTAMP" and name not in _EXACT:
        return f"date_trunc('second', cast(g.{name} as timestamp))"
    return f"cast(g.{name} as {kind})"


class Erased:
    """The people who were erased: asked at every page, told by `leadlight erase`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        """Raises StateMismatch when somebody was erased and the key is lost: the hashes say nothing without it."""
        self._connection, self._key_path = connection, folder / KEY_FILE
        self._hashes = {row[0] for row in connection.execute("select hash from store.erased").fetchall()}
        if self._hashes and not self._key_path.exists():
            raise StateMismatch(
                f"{self._key_path} is missing: without it people who were erased would come back. Restore it."
            )
        self._key = self._key_path.read_bytes() if self._hashes else b""

    def add(self, contact_ids: Collection[str], addresses: Collection[str]) -> None:
        """Remember people, by hash alone; in the caller's transaction where there is one."""
        if not self._key:
            self._key = _key(self._key_path)
        new = {self._hash("contact", one): "contact" for one in contact_ids}
        new |= {self._hash("address", one): "address" for one in addresses}
        rows = [(hash_, kind, now()) for hash_, kind in sorted(new.items()) if hash_ not in self._hashes]
        if rows:
            self._connection.executemany("insert into store.erased values (?, ?, ?)", rows)
        self._hashes |= set(new)

    def has_contact(self, contact_id: str) -> bool:
        return bool(self._hashes) and self._hash("contact", contact_id) in self._hashes

    def has_address(self, address: str) -> bool:
        return bool(self._hashes) and self._hash("address", address) in self._hashes

    def unnamed(self, reasons: str) -> str:
        """A company's reasons without the ids of people who were erased."""
        return re.sub(NAMED, self._told, reasons)

    def sift(self, page: Page) -> Page:
        """The page without the rows of people who were erased. A new contact with an erased address is the same
        person, who is remembered under the new id too."""
        if not self._hashes:
            return page
        rows = dict(page.rows)
        addressed = [rows[name] for name in ("contacts", "contact_addresses") if name in rows]
        gone = {one for table in addressed for one in self._addressed(table)}
        self.add([one for one in gone if not self.has_contact(one)], ())
        for name, table in rows.items():
            rows[name] = self._sifted(name, table)
        return replace(page, rows=rows)

    def _addressed(self, table: pa.Table) -> list[str]:
        emails = table["email"]
        listed = [one for one in pc.unique(emails).to_pylist() if one is not None and self.has_address(one)]
        held = pc.is_in(emails, value_set=pa.array(listed, pa.string()))
        return [str(one) for one in table.filter(held)["contact_id"].to_pylist()]

    def _sifted(self, name: str, table: pa.Table) -> pa.Table:
        if name == "companies":
            return self._unnamed(table)
        if name in ("property_history", "removals"):
            ours = pc.fill_null(pc.equal(table["object"], "contact"), False)
            if name == "removals":
                table = self._without_winner(table, ours)
            return table.filter(pc.invert(pc.and_(self._ids(table["object_id"]), ours)))
        if "contact_id" not in table.column_names:
            return table
        out = self._ids(table["contact_id"])
        if "merged_into" in table.column_names:
            out = pc.or_(out, self._ids(table["merged_into"]))
        return table.filter(pc.invert(out))

    def _unnamed(self, table: pa.Table) -> pa.Table:
        """Companies without the ids of erased people in their reasons: one that could not be cleared, or comes
        back from the platform's recycle bin, still names them there."""
        for place, name in enumerate(table.column_names):
            if name not in ("properties", "ours"):
                continue
            naming = pc.fill_null(pc.match_substring_regex(table[name], NAMED), False)
            if pc.any(naming).as_py():
                told = [None if text is None else self.unnamed(text) for text in table[name].to_pylist()]
                table = table.set_column(place, name, pa.array(told, table[name].type))
        return table

    def _told(self, named: re.Match[str]) -> str:
        return f"{BEFORE}{ERASED}{AFTER}" if self.has_contact(named[1]) else named[0]

    def _ids(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        listed = [one for one in pc.unique(column).to_pylist() if one is not None and self.has_contact(str(one))]
        return pc.is_in(column, value_set=pa.array(listed, column.type))

    def _without_winner(self, table: pa.Table, ours: pa.ChunkedArray) -> pa.Table:
        """Who was merged into an erased person is gone; into whom, nobody needs to know."""
        winners = pc.and_(self._ids(table["merged_into"]), ours)
        if not pc.any(winners).as_py():
            return table
        place = table.column_names.index("merged_into")
        nobody = pa.scalar(None, table["merged_into"].type)
        return table.set_column(place, "merged_into", pc.if_else(winners, nobody, table["merged_into"]))

    def _hash(self, kind: str, text: str) -> str:
        told = f"{kind}:{text.strip().lower() if kind == 'address' else text}"
        return hmac.new(self._key, told.encode(), hashlib.sha256).hexdigest()


def _key(path: Path) -> bytes:
    """The key, made where there is none; on disk before the first hash is."""
    if not path.exists():
        unfinished = path.with_suffix(".new")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(secrets.token_bytes(32))
            opened.flush()
            os.fsync(opened.fileno())
        unfinished.replace(path)
    return path.read_bytes()
