"""A few contacts with all that their values depend on, as canonical tables: what a rescoring computes from.

What a predictor may look at when it scores a contact is bounded (`scoring.predictors.base.Predictor.score`): the
contact's own rows, its company, its deals, the contacts of the same company with what they did of late, and
whether contacts of the same person object. These rows are copied out of storage by ids, so that the cost grows
with the contacts asked for; of the events alone one column is scanned. What an event says beside (`properties`)
no predictor reads when it scores: it is left out, for it would cost as much as all else of the events.

DuckDB spends most of such a computation on planning its statements, one thread each. An excerpt is therefore a
database in memory that several connections read at once, so that predictors can compute side by side.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

import duckdb

from connector.mirror import views
from connector.mirror.sql import registered, texts
from scoring.engine import DuckEngine, prelude
from scoring.features.account import COMPANY_DAYS
from scoring.tables import TABLES
from scoring.zones import COUNTRIES, countries

#: The table of an excerpt with the `contact_id`s that it was asked for.
OWN = "_own"

#: Database in memory with what every excerpt's engines need and none changes.
_COMMON = "excerpts_common"

#: Tables of ids, and how each is found from those before it.
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

_Given = TypeVar("_Given")

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


class Excerpt:
    """These contacts as of `as_of` (UTC), as they were committed before. Close it when done with.

    What its engines make disturbs neither the mirror's temporary tables nor each other's.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        contact_ids: Collection[str],
        as_of: datetime,
        text_columns: Collection[str] = (),
    ) -> None:
        """`text_columns` as for `Mirror.engine`."""
        self._name = f"excerpt_{secrets.token_hex(4)}"
        self._root = connection.cursor()
        try:
            self._root.execute(f"attach ':memory:' as {self._name}")
            self._fill(contact_ids, as_of, text_columns)
        except BaseException:
            self.close()
            raise

    def engine(self) -> DuckEngine:
        """One more engine over it. Close `engine.connection` afterwards."""
        return DuckEngine(self._cursor(f"{_COMMON}.main"), prepared=True)

    def keep(self, table: str, select: str) -> None:
        """One more table that all its engines can read, of a query over it."""
        with closing(self._cursor(f"{_COMMON}.main")) as beside:
            _keep(beside, table, select)

    def close(self) -> None:
        self._root.execute(f"detach database if exists {self._name}")
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _cursor(self, *behind: str) -> duckdb.DuckDBPyConnection:
        """A connection to which plain names are the excerpt's first."""
        beside = self._root.cursor()
        path = ",".join([f"{self._name}.main", *behind])
        beside.execute(f"set search_path = '{path}'; set TimeZone = 'UTC'")
        return beside

    def _fill(self, contact_ids: Collection[str], as_of: datetime, text_columns: Collection[str]) -> None:
        [(stored,)] = self._root.execute("select current_database()").fetchall()
        beside = [self._cursor(f'"{stored}".store') for _ in range(2)]
        try:
            _keep(beside[0], OWN, f"select unnest([{texts(contact_ids)}]::varchar[]) as contact_id")
            for name, select in _AROUND.items():
                _keep(beside[0], name, f"select distinct id from ({select}) where id is not null")
            together([lambda: _records(beside[0], text_columns), lambda: _events(beside[1], as_of)])
        finally:
            for one in beside:
                one.close()


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """What excerpts over this database share; made once, it lasts as long as the database is open."""
    with closing(connection.cursor()) as beside:
        beside.execute(f"attach if not exists ':memory:' as {_COMMON}")
        prelude(beside, _COMMON)
        with registered(beside, "_countries", countries()):
            beside.execute(f"create or replace table {_COMMON}.{COUNTRIES} as from _countries")


def together(works: Sequence[Callable[[], _Given]]) -> list[_Given]:
    """What they give, in their order, computed two at a time. Raises what the first of them raised that did."""
    with ThreadPoolExecutor(2, thread_name_prefix="excerpt") as pool:
        return [one.result() for one in [pool.submit(work) for work in works]]


def _records(beside: duckdb.DuckDBPyConnection, text_columns: Collection[str]) -> None:
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


def _events(beside: duckdb.DuckDBPyConnection, as_of: datetime) -> None:
    """The events, and the small tables."""
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
    for table, condition in _WHERE.items():
        _keep(beside, table, f"select {_columns(table)} from store.{table} where {condition}")


def _columns(table: str) -> str:
    names = [column.name for column in TABLES[table]]
    return ", ".join("null::varchar as properties" if (table, one) == _UNREAD else one for one in names)


def _keep(connection: duckdb.DuckDBPyConnection, table: str, select: str) -> None:
    connection.execute(f"create table {table} as {select}")
