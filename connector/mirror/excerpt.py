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
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import duckdb

from connector.mirror import views
from connector.mirror.sql import FEW, count, registered, texts
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

_AHEAD_AROUND = """select contact_id as id from store.contacts where company_id in (
    select company_id from store.contacts where contact_id in (from _ahead_own))
    union select contact_id from _ahead_own"""

#: Contacts whose events were not read ahead, all or those of late.
_UNSEEN = """(select contact_id from _own except select contact_id from _ahead_own
    union all (select id from _around except select id from _ahead_around))"""

_COMPANIES = "(select * from store.companies where company_id in (from _companies))"

_UNREAD = ("events", "properties")

_THREADS = 2

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
    """A few contacts as they were committed before. Close it when done with.

    What its engines make disturbs neither the mirror's temporary tables nor each other's.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._name = f"excerpt_{secrets.token_hex(4)}"
        self._root = connection.cursor()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="excerpt")
        self._ahead: Future[None] | None = None
        self._ahead_of: datetime | None = None
        try:
            self._root.execute(f"attach ':memory:' as {self._name}")
            [(stored,)] = self._root.execute("select current_database()").fetchall()
            self._stored = f'"{stored}".store'
        except BaseException:
            self.close()
            raise

    def look_ahead(self, contact_ids: Collection[str], as_of: datetime) -> None:
        """Begin to read the events of contacts that it is to be filled with as of `as_of` (UTC) or later, on a
        thread beside: they take longest to find, and what is read of a contact on the platform meanwhile hardly
        ever changes them."""
        self._ahead_of = as_of
        self._ahead = self._pool.submit(self._read_ahead, contact_ids, _lately(as_of))

    def fill(
        self,
        contact_ids: Collection[str],
        as_of: datetime,
        text_columns: Collection[str] = (),
        *,
        anew: bool = False,
    ) -> None:
        """With these contacts as of `as_of` (UTC). `text_columns` as for `Mirror.engine`. `anew`: events may have
        moved from one contact to another since looking ahead."""
        anew = anew or (self._ahead_of is not None and as_of < self._ahead_of)
        with closing(self._cursor(self._stored)) as beside:
            _keep(beside, OWN, f"select unnest([{texts(contact_ids)}]::varchar[]) as contact_id")
            for name, select in _AROUND.items():
                _keep(beside, name, f"select distinct id from ({select}) where id is not null")
            everyone = [row[0] for row in beside.execute("select id from _everyone").fetchall()]
            these = texts(everyone) if len(everyone) <= FEW else "from _everyone"
            _keep(beside, "_people", f"select * from {self._stored}.contacts where contact_id in ({these})")
            events = partial(self._beside, partial(_events, since=_lately(as_of)))
            if anew and self._ahead is not None:
                # what it found may be wrong by now, and must not come after what is found anew
                self._ahead.exception()
            begun = [self._pool.submit(events)] if anew or self._ahead is None else [self._ahead]
            works = (_changes, partial(_records, text_columns=text_columns), _small)
            begun += [self._pool.submit(self._beside, work) for work in works]
            for one in begun:
                one.result()
            if not anew and self._ahead is not None and count(beside, _UNSEEN):
                events()

    def engine(self) -> DuckEngine:
        """One more engine over it. Close `engine.connection` afterwards."""
        beside = self._cursor(f"{_COMMON}.main")
        # on so few rows it takes longer than it saves
        beside.execute("pragma disable_optimizer")
        return DuckEngine(beside, prepared=True, few=True)

    def keep(self, table: str, select: str) -> None:
        """One more table that all its engines can read, of a query over it."""
        with closing(self._cursor(f"{_COMMON}.main")) as beside:
            _keep(beside, table, select)

    def together(self, works: Sequence[Callable[[], _Given]]) -> list[_Given]:
        """What they give, in their order, computed two at a time. Raises what the first that failed raised."""
        return [one.result() for one in [self._pool.submit(work) for work in works]]

    def close(self) -> None:
        self._pool.shutdown()
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

    def _beside(self, work: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
        with closing(self._cursor(self._stored)) as beside:
            work(beside)

    def _read_ahead(self, contact_ids: Collection[str], since: datetime) -> None:
        with closing(self._cursor(self._stored)) as beside:
            _keep(beside, "_ahead_own", f"select unnest([{texts(contact_ids)}]::varchar[]) as contact_id")
            _keep(beside, "_ahead_around", _AHEAD_AROUND)
            _events(beside, since, own="_ahead_own", around="_ahead_around")


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """What excerpts over this database share; made once, it lasts as long as the database is open."""
    with closing(connection.cursor()) as beside:
        beside.execute(f"attach if not exists ':memory:' as {_COMMON}")
        prelude(beside, _COMMON)
        with registered(beside, "_countries", countries()):
            beside.execute(f"create or replace table {_COMMON}.{COUNTRIES} as from _countries")


def _lately(as_of: datetime) -> datetime:
    """From when on what the other contacts of a company did counts."""
    return as_of - timedelta(days=COMPANY_DAYS)


def _records(beside: duckdb.DuckDBPyConnection, text_columns: Collection[str]) -> None:
    for table, rows in (("contacts", "_people"), ("companies", _COMPANIES)):
        _keep(beside, table, views.typed(beside, table, text_columns, rows))


def _changes(beside: duckdb.DuckDBPyConnection) -> None:
    own = {
        "contacts": "(select * from _people where contact_id in (from _own))",
        "companies": _COMPANIES,
        "deals": "(select * from store.deals where deal_id in (from _deals))",
    }
    _keep(beside, "_changes", "select * from store.property_history where object_id in (from _changed)")
    _keep(beside, "property_history", views.history("_changes", own))


def _events(beside: duckdb.DuckDBPyConnection, since: datetime, own: str = OWN, around: str = "_around") -> None:
    """All events of its own contacts, of those around them what happened lately."""
    _keep(
        beside,
        "events",
        views.events(
            f"""(select {_columns("events")} from store.events where contact_id in (from {around})
            and (occurred_at >= timestamp '{since}' or contact_id in (from {own})))""",
            f"(select event_id, machine from store.machine_made where contact_id in (from {around}))",
        ),
    )


def _small(beside: duckdb.DuckDBPyConnection) -> None:
    for table, condition in _WHERE.items():
        _keep(beside, table, f"select {_columns(table)} from store.{table} where {condition}")


def _columns(table: str) -> str:
    names = [column.name for column in TABLES[table]]
    return ", ".join("null::varchar as properties" if (table, one) == _UNREAD else one for one in names)


def _keep(connection: duckdb.DuckDBPyConnection, table: str, select: str) -> None:
    connection.execute(f"create or replace table {table} as {select}")
