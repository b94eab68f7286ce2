"""Contacts, companies and deals of a page into storage, and what changed on them into property_history.

A platform's search index shows a record as it was for a while. For the first hour after we know better (LAG)
a row with an older modified date than the one we have, or one of a record that we know to be gone, is left
out, and a row read before our own write arrived there gives its properties but not its values of ours.
"""

from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from connector.mirror.pages import stage
from connector.mirror.sql import FEW, count, registered, same, texts
from connector.mirror.views import entries
from connector.platform import Page

LAG = timedelta(hours=1)

#: Record table -> the object's word in property_history and removals, and its id.
OBJECTS = {
    "contacts": ("contact", "contact_id"),
    "companies": ("company", "company_id"),
    "deals": ("deal", "deal_id"),
}


def table_of(records: pa.Table) -> tuple[str, str]:
    """Which table records of contacts or companies belong to, and its id: a contact names its company too."""
    table = "contacts" if "contact_id" in records.column_names else "companies"
    return table, OBJECTS[table][1]


#: Columns of a record that are no news: our own writes move them.
_SILENT = ("updated_at", "ours", "modified_at")

#: Both times may be of whole seconds: who was deleted and brought back within one is back.
_STALE = """(
    (i.modified_at < o.read_modified_at and o.seen_at > recent)
    or (o.removed_at > recent and case when o.deleted_at is null then i.modified_at <= o.read_modified_at
                                       else i.modified_at < o.deleted_at end))"""


def commit_records(
    connection: duckdb.DuckDBPyConnection, page: Page, table: str, observed_at: datetime, known: str | None = None
) -> int:
    """Upsert a record table's rows, observe their changes, note news in `_page_touched`; rows written. `known`: a
    table with all that stands in property_history of the page's records, where there is one."""
    word, key = OBJECTS[table]
    whole = table in page.whole
    columns = stage(connection, page, table, (key,))
    rows = page.rows.get(table)
    these = f"select {key} from _page_in"
    if rows is not None and rows.num_rows <= FEW:
        these = texts(one for one in rows[key].to_pylist() if one is not None)
    connection.execute(
        f"create or replace temp table _page_old as select * from store.{table} where {key} in ({these})"
    )
    _merge(connection, key, columns, observed_at, whole=whole)
    if count(connection, "_page_old"):
        _observe(connection, word, key, observed_at, known)
        connection.execute(f"delete from store.{table} where {key} in (select {key} from _page_new)")
    connection.execute(f"insert into store.{table} by name select * exclude (is_news, changed_at) from _page_new")
    connection.execute(f"insert into _page_touched select '{word}', {key} from _page_new where is_news")
    return count(connection, "_page_new") + (_remove_absent(connection, table, observed_at) if whole else 0)


def _merge(
    connection: duckdb.DuckDBPyConnection, key: str, columns: list[str], observed_at: datetime, *, whole: bool
) -> None:
    """`_page_new`: what is to stand in storage for the rows of `_page_in` that say something new.

    A row in which nothing differs that a predictor may see keeps its `updated_at`: our own writes do not make
    a contact look active. Properties or values of ours that are null were not read, and stay.
    """
    plain = [name for name in columns if name not in (key, "properties", *_SILENT)]
    fates = [name for name in ("deleted_at", "merged_into") if name not in plain]
    values = {name: f"i.{name}" for name in plain}
    values |= {"deleted_at": "null::timestamp", "merged_into": "null::varchar"} if "deleted_at" in fates else {}
    values |= {"merged_into": "null::varchar"} if fates == ["merged_into"] else {}
    values["properties"] = "coalesce(i.properties, o.properties, '{}')"
    news = " or ".join(
        [f"o.{key} is null", *(f"{value} is distinct from o.{name}" for name, value in values.items())]
    )
    early = "coalesce(i.modified_at < o.written_at and o.written_at > recent, false)"
    connection.execute(
        f"""
        create or replace temp table _page_new as
        with merged as (
            select i.{key}, {", ".join(f"{value} as {name}" for name, value in values.items())},
                   case when {early} then o.ours else coalesce(i.ours, o.ours, '{{}}') end as ours,
                   case when {early} then o.modified_at else coalesce(i.modified_at, o.modified_at) end
                       as modified_at,
                   o.written_at, coalesce(i.modified_at, o.read_modified_at) as read_modified_at,
                   coalesce(o.first_seen_at, observed) as first_seen_at, observed as seen_at,
                   null::timestamp as removed_at,
                   ({news}) as is_news,
                   case when {news} then i.updated_at else o.updated_at end as updated_at,
                   coalesce(i.modified_at, observed) as changed_at
            from _page_in i left join _page_old o using ({key})
                 cross join (select ?::timestamp as observed, ?::timestamp as recent)
            where not coalesce({"false" if whole else _STALE}, false)
        )
        select merged.* from merged left join _page_old o using ({key})
        where is_news or not ({same("merged", "o", ("ours", "modified_at", "read_modified_at"))})
        """,
        [observed_at, observed_at - LAG],
    )


def _observe(
    connection: duckdb.DuckDBPyConnection, word: str, key: str, observed_at: datetime, known: str | None
) -> None:
    """Append to property_history the values that changed since the last reading, unless the platform's own
    history has the change.

    A property without history also gets the value that stood before, from when the record was first seen: so
    every value is known since then. A value that was missing is known to have been so only where the property
    was in use by then.
    """
    connection.execute(
        f"""
        create or replace temp table _page_changes as
        with pairs as (
            select n.{key} as object_id, n.changed_at, o.first_seen_at, o.properties as before,
                   n.properties as after, coalesce(o.read_modified_at, o.first_seen_at) as read_at
            from _page_new n join _page_old o using ({key}) where n.properties <> o.properties
        ),
        former as (select object_id, {entries("before")} as entry from pairs),
        present as (select object_id, {entries("after")} as entry from pairs)
        select '{word}' as object, object_id, property, former.entry.value as former_value,
               present.entry.value as value, date_trunc('second', changed_at) as changed_at,
               date_trunc('second', first_seen_at) as first_seen_at, date_trunc('second', read_at) as read_at
        from (select object_id, entry, entry.key as property from present) present
             full join (select object_id, entry, entry.key as property from former) former
             using (object_id, property)
             join pairs using (object_id)
        where former.entry.value is distinct from present.entry.value
        """
    )
    if not count(connection, "_page_changes"):
        return
    _append_observed(connection, observed_at, known)


def _append_observed(connection: duckdb.DuckDBPyConnection, observed_at: datetime, known: str | None) -> None:
    if known is None:
        known = "_page_concerned"
        connection.execute(
            f"create or replace temp table {known} as select kept.* from store.property_history kept "
            "where object_id in (select object_id from _page_changes)"
        )
    one = same("c", "kept", ("object", "object_id", "property"))
    connection.execute(
        f"""
        create or replace temp table _page_observed as
        select object, object_id, property, value, changed_at, ?::timestamp as observed_at from _page_changes c
        where not exists (select 1 from {known} kept where {one}
                          and nullif(kept.value, '') is not distinct from c.value and kept.changed_at >= c.read_at)
        union all
        select object, object_id, property, former_value, first_seen_at, first_seen_at from _page_changes c
        where first_seen_at < changed_at
          and not exists (select 1 from {known} kept where {one})
          and (former_value is not null or exists (
                select 1 from store.property_definitions d where d.object = c.object and d.property = c.property
                  and date_trunc('second', d.known_since) <= c.first_seen_at))
        """,
        [observed_at.replace(microsecond=0)],
    )
    connection.execute(
        f"""delete from store.property_history kept using _page_observed i
            where {same("i", "kept", ("object", "object_id", "property", "changed_at"))}"""
    )
    connection.execute(
        "insert into store.property_history by name select *, 'observed' as source from _page_observed"
    )


def remove_records(connection: duckdb.DuckDBPyConnection, removals: pa.Table | None, observed_at: datetime) -> int:
    """Mark records as deleted or merged away; both they and the winner of a merge are news. Records that the
    mirror never had are passed over. Returns how many were not known to be gone in that way."""
    if removals is None or not removals.num_rows:
        return 0
    with registered(connection, "_page_given", removals):
        return sum(_remove(connection, table, observed_at) for table in OBJECTS)


def _remove(connection: duckdb.DuckDBPyConnection, table: str, observed_at: datetime) -> int:
    word, key = OBJECTS[table]
    connection.execute(
        f"""
        create or replace temp table _page_gone as
        select kept.{key} as object_id, any_value(g.merged_into) as merged_into,
               coalesce(date_trunc('second', any_value(g.deleted_at)),
                        case when any_value(g.merged_into) is null then ?::timestamp end) as deleted_at
        from store.{table} kept join _page_given g on g.object = '{word}' and g.object_id = kept.{key}
        where (g.merged_into is not null and kept.merged_into is distinct from g.merged_into)
           or (g.merged_into is null and kept.deleted_at is null and kept.merged_into is null)
        group by kept.{key}
        """,
        [observed_at.replace(microsecond=0)],
    )
    connection.execute(
        f"""update store.{table} kept set deleted_at = g.deleted_at, merged_into = g.merged_into, removed_at = ?
            from _page_gone g where kept.{key} = g.object_id""",
        [observed_at],
    )
    if table == "contacts" and count(connection, "_page_gone where merged_into is not null"):
        _follow(connection)
    connection.execute(
        f"""insert into _page_touched select '{word}', object_id from _page_gone
            union select '{word}', merged_into from _page_gone where merged_into is not null"""
    )
    return count(connection, "_page_gone")


def _follow(connection: duckdb.DuckDBPyConnection) -> None:
    """What merged contacts did, bought and are part of is their last winner's from now on; what the platform keeps
    on the winner itself (addresses, consents, history) comes with the winner."""
    connection.execute(
        """create or replace temp table _page_winners as
           with recursive chain(loser, winner, hops) as (
               select object_id, merged_into, 1 from _page_gone where merged_into is not null
               union all
               select loser, kept.merged_into, hops + 1 from chain join store.contacts kept on contact_id = winner
               where kept.merged_into is not null and kept.merged_into <> loser and hops < 20)
           select loser, max_by(winner, hops) as winner from chain group by loser"""
    )
    for table in ("events", "machine_made", "purchases"):
        connection.execute(
            f"update store.{table} kept set contact_id = w.winner from _page_winners w "
            "where kept.contact_id = w.loser"
        )
    connection.execute(
        """insert into store.deal_contacts
           select distinct on (d.deal_id, w.winner) d.deal_id, w.winner, d.role, d.is_primary
           from store.deal_contacts d join _page_winners w on d.contact_id = w.loser
           where not exists (select 1 from store.deal_contacts o
                             where o.deal_id = d.deal_id and o.contact_id = w.winner)"""
    )
    connection.execute("delete from store.deal_contacts where contact_id in (select loser from _page_winners)")


def _remove_absent(connection: duckdb.DuckDBPyConnection, table: str, observed_at: datetime) -> int:
    """Records that a whole table lacks are deleted; they stay readable as such."""
    word, key = OBJECTS[table]
    connection.execute(
        f"""create or replace temp table _page_gone as select {key} as object_id from store.{table}
            where deleted_at is null and merged_into is null and {key} not in (select {key} from _page_in)"""
    )
    connection.execute(
        f"update store.{table} set deleted_at = ?, removed_at = ? "
        f"where {key} in (select object_id from _page_gone)",
        [observed_at.replace(microsecond=0), observed_at],
    )
    connection.execute(f"insert into _page_touched select '{word}', object_id from _page_gone")
    return count(connection, "_page_gone")
