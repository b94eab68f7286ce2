"""A few contacts with all that their values depend on, as canonical tables: what a rescoring computes from.

What a predictor may look at when it scores a contact is bounded (`scoring.predictors.base.Predictor.score`): the
contact's own rows, its company, its deals, the contacts of the same company with what they did of late, and
whether contacts of the same person object. These rows are copied out of storage by ids, so that the cost grows
with the contacts asked for; of the events alone one column is scanned. What an event says beside (`properties`)
no predictor reads when it scores: it is left out, for it would cost as much as all else of the events.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

import duckdb

from connector.mirror import views
from connector.mirror.sql import texts
from scoring.engine import DuckEngine
from scoring.features.account import COMPANY_DAYS
from scoring.tables import TABLES

#: The table of an excerpt with the `contact_id`s that it was asked for.
OWN = "_own"

#: Temporary tables of ids, and how each is found from those before it.
_AROUND = {
    "_companies": "select company_id as id from store.contacts where contact_id in (from _own)",
    "_around": "select contact_id as id from store.contacts where company_id in (from _companies) union from _own",
    "_persons": "select person_id as id from store.identities where contact_id in (from _around)",
    "_everyone": "select contact_id as id from store.identities where person_id in (from _persons) "
    "union from _around",
    "_deals": "select deal_id as id from store.deal_contacts where contact_id in (from _own)",
    "_purchases": "select purchase_id as id from store.purchases where contact_id in (from _own)",
    "_changed": "select contact_id as id from _own union from _companies union from _deals",
}

_UNREAD = ("events", "properties")

_WHERE = {
    "contact_addresses": "contact_id in (from _own)",
    "consents": "contact_id in (from _everyone)",
    "list_members": "contact_id in (from _own)",
    "deals": "deal_id in (from _deals)",
    "deal_contacts": "contact_id in (from _own)",
    "purchases": "contact_id in (from _own)",
    "purchase_items": "purchase_id in (from _purchases)",
    "campaigns": "true",
    "identities": "contact_id in (from _everyone)",
    "property_definitions": "true",
}


def excerpt(
    connection: duckdb.DuckDBPyConnection,
    contact_ids: Collection[str],
    as_of: datetime,
    text_columns: Collection[str] = (),
) -> DuckEngine:
    """An engine over these contacts as of `as_of` (UTC), on a connection of its own to the same storage: what it
    makes disturbs no temporary table of the mirror's. It sees what was committed before. `text_columns` as for
    `Mirror.engine`. Close `engine.connection` afterwards."""
    beside = connection.cursor()
    try:
        _fill(beside, contact_ids, as_of, text_columns)
        return DuckEngine(beside)
    except BaseException:
        beside.close()
        raise


def _fill(
    beside: duckdb.DuckDBPyConnection, contact_ids: Collection[str], as_of: datetime, text_columns: Collection[str]
) -> None:
    _keep(beside, OWN, f"select unnest([{texts(contact_ids)}]::varchar[]) as contact_id")
    for name, select in _AROUND.items():
        _keep(beside, name, f"select distinct id from ({select}) where id is not null")
    chosen = {
        "contacts": "(select * from store.contacts where contact_id in (from _everyone))",
        "companies": "(select * from store.companies where company_id in (from _companies))",
    }
    for table, rows in chosen.items():
        _keep(beside, table, views.typed(beside, table, text_columns, rows))
    _keep(beside, "_changes", "select * from store.property_history where object_id in (from _changed)")
    _keep(
        beside,
        "property_history",
        views.history(
            "_changes",
            {
                "contacts": "(select * from store.contacts where contact_id in (from _own))",
                "companies": chosen["companies"],
                "deals": "(select * from store.deals where deal_id in (from _deals))",
            },
        ),
    )
    for table, condition in _WHERE.items():
        _keep(beside, table, f"select {_columns(table)} from store.{table} where {condition}")
    since = as_of - timedelta(days=COMPANY_DAYS)
    _keep(
        beside,
        "events",
        views.events(
            f"""(select {_columns("events")} from store.events where contact_id in (from _own)
            union all select {_columns("events")} from store.events where occurred_at >= timestamp '{since}'
            and contact_id in (from _around) and contact_id not in (from _own))""",
            "(select event_id, machine from store.machine_made where contact_id in (from _around))",
        ),
    )


def _columns(table: str) -> str:
    names = [column.name for column in TABLES[table]]
    return ", ".join("null::varchar as properties" if (table, one) == _UNREAD else one for one in names)


def _keep(connection: duckdb.DuckDBPyConnection, table: str, select: str) -> None:
    connection.execute(f"create or replace temp table {table} as {select}")
