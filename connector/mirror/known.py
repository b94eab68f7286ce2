"""What a pull may ask about the mirror."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from connector.errors import Bug
from connector.mirror.records import OBJECTS, table_of
from connector.mirror.sql import first, naive, registered, texts
from connector.platform import Span

_LIVE = "deleted_at is null and merged_into is null"

#: The object's word (`contact`) and its table's name (`contacts`) alike.
_TABLES = {word: table for table, (word, _) in OBJECTS.items()} | {table: table for table in OBJECTS}


class MirrorKnown:
    """`connector.platform.Known` over the mirror's storage; on the mirror's own connection and thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def cursor(self, stream: str) -> Mapping[str, Any] | None:
        """The cursor committed with the stream's last page."""
        row = first(self._connection, "select cursor from store.cursors where stream = ?", [stream])
        return json.loads(row[0]) if row else None

    def split_echoes(self, records: pa.Table) -> tuple[pa.Table, pa.Table]:
        """(news, echoes) of contacts or companies: an echo's modified_at is that of our own write, and every
        property read (ours too) equals the mirror's. What was not read (null) equals everything."""
        table, key = table_of(records)
        with registered(self._connection, "_page_given", records):
            rows = self._connection.execute(
                f"""select i.{key}, coalesce(i.properties, o.properties), o.properties,
                           coalesce(i.ours, o.ours), o.ours
                    from _page_given i join store.{table} o on i.{key} = o.{key}
                    where i.modified_at = o.written_at and o.deleted_at is null and o.merged_into is null"""
            ).fetchall()
        echoes = {row[0] for row in rows if _equal(row[1], row[2]) and _equal(row[3], row[4])}
        is_echo = [record_id in echoes for record_id in records[key].to_pylist()]
        is_news = [not echo for echo in is_echo]
        return records.filter(pa.array(is_news, pa.bool_())), records.filter(pa.array(is_echo, pa.bool_()))

    def count(self, span: Span) -> int:
        """How many records are in it."""
        where, parameters = _window(span)
        row = first(self._connection, f"select count(*) {where}", parameters)
        return int(row[0]) if row else 0

    def ids(self, span: Span) -> list[str]:
        """Their ids, ascending as numbers."""
        where, parameters = _window(span)
        key = OBJECTS[_table(span.object_name)][1]
        query = f"select {key} {where} order by try_cast({key} as hugeint)"
        return [row[0] for row in self._connection.execute(query, parameters).fetchall()]

    def read_at(self, object_name: str, record_ids: Sequence[str]) -> Mapping[str, datetime]:
        """Record -> the modified date (UTC) of the version that was read of it last, for live ones of these."""
        table = _table(object_name)
        key = OBJECTS[table][1]
        rows = self._connection.execute(
            f"select {key}, read_modified_at from store.{table} where {_LIVE} and {key} in ({texts(record_ids)}) "
            "and read_modified_at is not null"
        ).fetchall()
        return dict(rows)

    def addresses(self, emails: Sequence[str]) -> Mapping[str, str]:
        """Lower-cased address -> contact_id, for those known: the live contact whose primary address it is before
        others; a merged contact's is its winner's."""
        wanted = pa.table({"email": pa.array(sorted({email.strip().lower() for email in emails}), pa.string())})
        with registered(self._connection, "_page_given", wanted):
            rows = self._connection.execute(_ADDRESSES).fetchall()
        return dict(rows)

    def companies_of(self, contact_ids: Sequence[str]) -> Mapping[str, str]:
        """Contact -> company, for those that have one."""
        rows = self._connection.execute(
            f"select contact_id, company_id from store.contacts where contact_id in ({texts(contact_ids)}) "
            "and company_id is not null"
        ).fetchall()
        return dict(rows)

    def deals_of(self, contact_ids: Sequence[str]) -> list[str]:
        """Ids of the deals that these contacts are on, ascending."""
        rows = self._connection.execute(
            f"select distinct deal_id from store.deal_contacts where contact_id in ({texts(contact_ids)}) "
            "order by deal_id"
        ).fetchall()
        return [row[0] for row in rows]


def _table(object_name: str) -> str:
    if object_name not in _TABLES:
        raise Bug(f"The mirror keeps no records of object {object_name!r}.")
    return _TABLES[object_name]


def _window(span: Span) -> tuple[str, list[object]]:
    table = _table(span.object_name)
    number = f"try_cast({OBJECTS[table][1]} as hugeint)"
    stamp = "modified_at" if span.written else "read_modified_at"
    where = f"from store.{table} where {_LIVE} and {stamp} >= ? and {stamp} <= ?"
    parameters: list[object] = [naive(span.since), naive(span.until)]
    for bound, comparison in ((span.above, ">"), (span.upto, "<=")):
        if bound is not None:
            where += f" and {number} {comparison} ?::hugeint"
            parameters.append(bound)
    return where, parameters


_ADDRESSES = """
with found as (
    select lower(email) as email, contact_id, 0 as rank from store.contacts
    where lower(email) in (select email from _page_given)
    union all
    select lower(email), contact_id, case when is_primary then 1 else 2 end from store.contact_addresses
    where lower(email) in (select email from _page_given)
)
select found.email, coalesce(winner.contact_id, contacts.contact_id) as contact_id
from found join store.contacts contacts using (contact_id)
     left join store.contacts winner on winner.contact_id = contacts.merged_into
where coalesce(winner.deleted_at, case when winner.contact_id is null then contacts.deleted_at end) is null
  and (contacts.merged_into is null or (winner.contact_id is not null and winner.merged_into is null))
qualify row_number() over (
    partition by found.email
    order by contacts.merged_into is not null, found.rank, coalesce(winner.contact_id, contacts.contact_id)) = 1
"""


def _equal(one: str | None, other: str | None) -> bool:
    """Equal records have equal texts; texts of equal records that differ in spelling only are equal too."""
    return one == other or json.loads(one or "{}") == json.loads(other or "{}")
