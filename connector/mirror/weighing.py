"""Machine-made events of some mailboxes: weighed again from the events of those behind the same gateways alone.

What tells on a machine is what one mailbox did, and what the gateway of its domain did (`scoring.machines`): the
contacts of the domains concerned are all that a new event can change.
"""

from collections.abc import Collection
from contextlib import closing

import duckdb
import pyarrow as pa

from connector.mirror import views
from connector.mirror.sql import texts, transaction
from scoring.engine import DuckEngine
from scoring.machines import suspicions
from scoring.tables import TABLES

_DOMAIN = "lower(split_part(email, '@', 2))"


def among(connection: duckdb.DuckDBPyConnection, contact_ids: Collection[str]) -> pa.Table:
    """contact_id of everyone who was weighed; event_id and machine where there is cause for doubt, else null. On a
    connection of its own, which sees what was committed before."""
    with closing(connection.cursor()) as beside:
        views.create(beside)
        named = f"contact_id in ({texts(contact_ids)})"
        beside.execute(
            f"""create or replace temp table _weighed as
                select contact_id from store.contacts where {named} or {_DOMAIN} in (
                    select {_DOMAIN} from store.contacts where {named} and {_DOMAIN} <> '')
                union select unnest([{texts(contact_ids)}]::varchar[])"""
        )
        for table in ("contacts", "events"):
            columns = ", ".join(column.name for column in TABLES[table])
            beside.execute(
                f"create or replace temp table _of_{table} as "
                f"select {columns} from store.{table} where contact_id in (from _weighed)"
            )
            beside.execute(f"create or replace temp view {table} as from _of_{table}")
        engine = DuckEngine(beside)
        found = suspicions(engine, "_found")
        return engine.fetch(
            f"select w.contact_id, f.event_id, f.machine from _weighed w left join {found} f using (contact_id)"
        )


def exchange(connection: duckdb.DuckDBPyConnection) -> None:
    """Put what `among` found, readable as `_weighed`, in the place of what was known of those contacts."""
    with transaction(connection):
        connection.execute(
            "delete from store.machine_made where contact_id in (select contact_id from _weighed) "
            "or event_id in (select event_id from _weighed where event_id is not null)"
        )
        connection.execute(
            "insert into store.machine_made select event_id, contact_id, machine from _weighed "
            "where event_id is not null order by event_id"
        )
