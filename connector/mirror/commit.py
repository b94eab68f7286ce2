"""One page into storage: rows, removals, echoes, rejects and the cursor, in one transaction.

Rows that equal what is there are neither written nor news. Times are cut to whole seconds on the way in, but
for `modified_at`, by which echoes and stale reads are known.
"""

import json
from collections.abc import Callable
from datetime import datetime

import duckdb
import pyarrow as pa

from connector.errors import Bug
from connector.mirror.definitions import store_definitions
from connector.mirror.pages import stage
from connector.mirror.records import OBJECTS, commit_records, remove_records, table_of
from connector.mirror.sql import bounds, count, naive, now, registered, same, transaction
from connector.platform import Page
from scoring.tables import TABLES

_KEYED = {"events": "event_id", "purchases": "purchase_id", "campaigns": "campaign_id"}

#: Tables without an id: the parent that `Page.replaces` names, and what tells two rows of one parent apart.
_CHILDREN = {
    "contact_addresses": ("contact_id", ("contact_id", "email")),
    "consents": ("contact_id", ("contact_id", "channel", "purpose")),
    "list_members": ("list_id", ("list_id", "contact_id")),
    "deal_contacts": ("deal_id", ("deal_id", "contact_id", "role")),
    "purchase_items": ("purchase_id", ("purchase_id", "product_id", "category", "quantity", "price")),
    "identities": ("contact_id", ("contact_id",)),
}

#: Whose predictions a changed row concerns: object and column. A campaign concerns nobody by itself.
_CONCERNS = {
    "contact_addresses": (("contact", "contact_id"),),
    "consents": (("contact", "contact_id"),),
    "list_members": (("contact", "contact_id"),),
    "deal_contacts": (("contact", "contact_id"),),
    "events": (("contact", "contact_id"), ("company", "company_id")),
    "purchases": (("contact", "contact_id"),),
    "purchase_items": (("purchase", "purchase_id"),),
    "identities": (("contact", "contact_id"),),
}

_TOUCHED = "(select object_id from _page_touched where object = '{}')"

#: How a changed object concerns contacts.
_NEWS = {
    "contact": "select object_id as contact_id from _page_touched where object = 'contact'",
    "company": f"select contact_id from store.contacts where company_id in {_TOUCHED.format('company')}",
    "deal": f"""select contact_id from store.deal_contacts where deal_id in {_TOUCHED.format("deal")}
                union select contact_id from store.contacts where company_id in (
                    select company_id from store.deals where deal_id in {_TOUCHED.format("deal")})""",
    "purchase": f"select contact_id from store.purchases where purchase_id in {_TOUCHED.format('purchase')}",
}

_HISTORY_KEY = ("object", "object_id", "property", "changed_at")

#: Events that people move to another time: their earlier row may lie outside a page's range of times.
_MOVABLE = "('meeting', 'call')"


class PageCommit:
    """The commit of one page. Temporary tables named `_page_*` are its workspace."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        page: Page,
        *,
        run_id: str,
        observed_at: datetime,
        news_since: int,
    ) -> None:
        self._connection = connection
        self._page = page
        self._run_id = run_id
        self._observed_at = naive(observed_at)
        self._news_since = news_since
        #: Whether `_page_have` holds all that was known of the history of the page's records.
        self._have = False

    def run(self) -> dict[str, int]:
        """Rows written, by table; tables where nothing changed are left out. Raises Bug for a malformed page."""
        self._check()
        written = {}
        try:
            with transaction(self._connection):
                self._run("create or replace temp table _page_touched (object varchar, object_id varchar)")
                for table, step in self._steps():
                    if rows := step(table):
                        written[table] = rows
                self._echoes()
                self._cursor()
                self._news()
        except duckdb.ConstraintException as error:
            raise Bug(f"A page of stream {self._page.stream} has a row without its id or time.") from error
        return written

    def _check(self) -> None:
        known = {*TABLES, "removals", "rejects"}
        for name in (*self._page.rows, *self._page.whole, *self._page.replaces):
            if name not in known:
                raise Bug(f"A page of stream {self._page.stream} names a table {name!r} that there is not.")
        for name in self._page.replaces:
            if name not in _CHILDREN:
                raise Bug(
                    f"A page of stream {self._page.stream} replaces {name}, whose rows have ids of their own."
                )

    def _steps(self) -> list[tuple[str, Callable[[str], int]]]:
        """Tables of the page and what to do with each: definitions and history stand before the records whose
        changes are compared with them, purchases before their items, removals last."""
        named = {*self._page.rows, *self._page.whole, *self._page.replaces}
        order: list[tuple[str, Callable[[str], int]]] = [
            ("property_definitions", self._definitions),
            ("property_history", self._history),
            *((table, self._records) for table in OBJECTS),
            *((table, self._keyed) for table in _KEYED),
            *((table, self._children) for table in _CHILDREN),
            ("removals", self._removals),
            ("rejects", self._rejects),
        ]
        return [(table, step) for table, step in order if table in named]

    def _run(self, sql: str, *parameters: object) -> None:
        self._connection.execute(sql, list(parameters) or None)

    def _count(self, what: str) -> int:
        return count(self._connection, what)

    def _counts(self, rows: str, *conditions: str) -> list[int]:
        """How many rows meet each condition."""
        counts = ", ".join(f"count(*) filter (where {one})" for one in conditions)
        [found] = self._connection.execute(f"select {counts} from {rows}").fetchall()
        return list(found)

    def _touch(self, table: str, rows: str) -> None:
        for word, column in _CONCERNS.get(table, ()):
            self._run(
                f"insert into _page_touched "
                f"select distinct '{word}', {column} from (from {rows}) where {column} is not null"
            )

    def _definitions(self, table: str) -> int:
        return store_definitions(self._connection, self._page.rows.get(table), self._observed_at)

    def _records(self, table: str) -> int:
        return commit_records(
            self._connection, self._page, table, self._observed_at, "_page_have" if self._have else None
        )

    def _history(self, table: str) -> int:
        """By key; of two changes within one second the last stands. Observed rows are ours: a page that is the
        whole of the platform's history leaves them."""
        stage(self._connection, self._page, table, _HISTORY_KEY, latest="changed_at")
        if table in self._page.whole:
            gone = (
                "from store.property_history kept where source is distinct from 'observed' "
                f"and not exists (select 1 from _page_in i where {same('i', 'kept', _HISTORY_KEY)})"
            )
            self._run(f"insert into _page_touched select distinct object, object_id {gone}")
            self._run(f"delete {gone}")
        given = [(key, self._page.rows.get(kept)) for kept, (_, key) in OBJECTS.items()]
        ids = [one for key, rows in given if rows is not None for one in rows[key].to_pylist()]
        with registered(self._connection, "_page_named", pa.table({"id": pa.array(ids, pa.string())})):
            self._run(
                "create or replace temp table _page_have as select * from store.property_history "
                "where object_id in (select object_id from _page_in union select id from _page_named)"
            )
        self._have = True
        self._run(
            f"""create or replace temp table _page_new as select i.* from _page_in i where not exists (
                select 1 from _page_have kept
                where {same("i", "kept", (*_HISTORY_KEY, "value", "source"))})"""
        )
        stands = f"exists (from _page_have kept where {same('i', 'kept', _HISTORY_KEY)})"
        new, replaced = self._counts("_page_new i", "true", stands)
        if not new:
            return 0
        if replaced:
            self._run(
                f"""delete from store.property_history kept using _page_new i
                    where {same("i", "kept", _HISTORY_KEY)} and {bounds("kept", "object_id", "_page_new")}"""
            )
            self._run(f"delete from _page_have kept using _page_new i where {same('i', 'kept', _HISTORY_KEY)}")
        self._run("insert into store.property_history by name select * from _page_new")
        self._run("insert into _page_have by name select * from _page_new")
        self._run("insert into _page_touched select distinct object, object_id from _page_new")
        return new

    def _keyed(self, table: str) -> int:
        """By id. An event that is read again keeps when it was first taken in."""
        key = _KEYED[table]
        columns = stage(self._connection, self._page, table, (key,))
        have = f"store.{table}" if table in self._page.whole else self._candidates(table, key)
        differs = " or ".join(
            f"i.{name} is distinct from o.{name}" for name in columns if name not in (key, "ingested_at")
        )
        kept = ", o.ingested_at" if table == "events" else ""
        first = " replace (coalesce(o.ingested_at, i.ingested_at) as ingested_at)" if kept else ""
        self._run(
            f"""create or replace temp table _page_new as select i.*{first}
                from _page_in i left join (select * from {have}) o using ({key})
                where o.{key} is null or {differs}"""
        )
        absent = f" or {key} not in (select {key} from _page_in)" if table in self._page.whole else ""
        self._run(
            f"create or replace temp table _page_old as select * from {have} "
            f"where {key} in (select {key} from _page_new){absent}"
        )
        self._exchange(table, key)
        self._run(f"delete from _page_old where {key} in (select {key} from _page_new)")
        return self._count("_page_new") + self._count("_page_old")

    def _candidates(self, table: str, key: str) -> str:
        """Stored rows with the ids of the page. Events have no index, which would cost more than it gives: they
        are looked for within the page's range of times, where the file's zone maps help."""
        within = f" and {bounds('kept', 'occurred_at', '_page_in')}" if table == "events" else ""
        self._run(
            f"create or replace temp table _page_have as select * from store.{table} kept "
            f"where {key} in (select {key} from _page_in){within}"
        )
        if table == "events" and self._count(f"_page_in where kind in {_MOVABLE}"):
            self._run(
                f"""insert into _page_have select * from store.events kept where kind in {_MOVABLE}
                    and event_id in (select event_id from _page_in where kind in {_MOVABLE})
                    and event_id not in (select event_id from _page_have)"""
            )
        return "_page_have"

    def _exchange(self, table: str, key: str) -> None:
        """Take the rows of `_page_old` out and put those of `_page_new` in."""
        if self._count("_page_old"):
            within = f" and {bounds('kept', 'occurred_at', '_page_old')}" if table == "events" else ""
            self._run(f"delete from store.{table} kept where {key} in (select {key} from _page_old){within}")
            self._touch(table, "_page_old")
        if self._count("_page_new"):
            self._run(f"insert into store.{table} by name select * from _page_new")
            self._touch(table, "_page_new")

    def _children(self, table: str) -> int:
        """All rows of the parents in `replaces` (of all parents for a whole table); rows of other parents stand
        beside those that are there, or in the place of one with the same key."""
        parent, key = _CHILDREN[table]
        columns = ", ".join(stage(self._connection, self._page, table, ()))
        replaced = list(self._page.replaces.get(table, ()))
        named = pa.table({"id": pa.array(replaced, pa.string())})
        scope = "true" if table in self._page.whole else f"{parent} in (select id from _page_named)"
        given = self._page.rows.get(table)
        if parent not in key or not set(() if given is None else given[parent].to_pylist()) <= set(replaced):
            scope += f" or exists (select 1 from _page_in i where {same('i', 'kept', key)})"
        old = f"select {columns} from store.{table} kept where {scope}"
        with registered(self._connection, "_page_named", named):
            self._run(
                f"""create or replace temp table _page_changed as
                    with old as ({old}), given as (select {columns} from _page_in)
                    select true as plus, * from (from given except all from old)
                    union all select false, * from (from old except all from given)"""
            )
            plus, minus = self._counts("_page_changed", "plus", "not plus")
            if minus:
                changed = f"{parent} in (select {parent} from _page_changed)"
                self._run(f"create or replace temp table _page_old as from ({old}) where {changed}")
        if plus or minus:
            self._exchange_children(table, parent, columns, plus_only=not minus)
        return max(plus, minus)

    def _exchange_children(self, table: str, parent: str, columns: str, *, plus_only: bool) -> None:
        """Parents with the same rows as before stay untouched; of the others the rows are exchanged."""
        changed = f"{parent} in (select {parent} from _page_changed)"
        if plus_only:
            self._run(f"insert into store.{table} by name select {columns} from _page_changed")
        else:
            twin = same("o", "kept", columns.split(", "))
            self._run(f"delete from store.{table} kept where exists (select 1 from _page_old o where {twin})")
            self._run(f"insert into store.{table} by name select {columns} from _page_in where {changed}")
            self._touch(table, "_page_old")
        self._touch(table, f"_page_in where {changed}")

    def _removals(self, table: str) -> int:
        return remove_records(self._connection, self._page.rows.get(table), self._observed_at)

    def _rejects(self, table: str) -> int:
        rejects = self._page.rows.get(table)
        if rejects is None or not rejects.num_rows:
            return 0
        with registered(self._connection, "_page_given", rejects):
            self._run(
                "insert into store.rejects select ?, ?, record, field, reason, ? from _page_given",
                self._run_id,
                self._page.stream,
                self._observed_at,
            )
        return int(rejects.num_rows)

    def _echoes(self) -> None:
        """Our own writes, read back: what we have is confirmed as of their modified date."""
        echoes = self._page.echoes
        if echoes is None or not echoes.num_rows:
            return
        table, key = table_of(echoes)
        with registered(self._connection, "_page_given", echoes.select([key, "modified_at"])):
            self._run(
                f"""update store.{table} kept set modified_at = e.modified_at, read_modified_at = e.modified_at
                   from _page_given e where kept.{key} = e.{key}
                     and kept.read_modified_at is distinct from e.modified_at"""
            )

    def _cursor(self) -> None:
        if self._page.cursor is None:
            return
        self._run("delete from store.cursors where stream = ?", self._page.stream)
        text = json.dumps(self._page.cursor, sort_keys=True)
        self._run("insert into store.cursors values (?, ?, ?, ?)", self._page.stream, text, self._run_id, now())

    def _news(self) -> None:
        """Contacts whose predictions may be others now, by whatever way the changed rows concern them."""
        kinds = self._connection.execute("select distinct object from _page_touched").fetchall()
        ways = [_NEWS[kind] for (kind,) in kinds]
        if not ways:
            return
        self._run(
            "insert into store.news select contact_id, (select greatest(coalesce(max(sequence), 0), $1) + 1 "
            f"from store.news) from ({' union '.join(ways)}) found where contact_id is not null "
            "and contact_id not in (select contact_id from store.news where sequence > $1)",
            self._news_since,
        )
