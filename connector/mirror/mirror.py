"""The mirror: everything that we know of one account, in one DuckDB file of its state folder.

Rows and cursor are committed together, so that a crash repeats at most one page. The file belongs to one
process (`owner.lock`), and within it to one connection on one thread: commits, ledger and the engine that
predictors use take turns on it. Temporary tables belong to that connection and end with it. Other threads look at
it beside (`reading`).
"""

import json
import os
import secrets
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from connector.errors import Bug, StateMismatch
from connector.mirror import excerpt as excerpts
from connector.mirror import views, weighing
from connector.mirror.commit import PageCommit
from connector.mirror.doors import Doors
from connector.mirror.excerpt import Excerpt
from connector.mirror.known import MirrorKnown
from connector.mirror.ledger import Ledger
from connector.mirror.pages import Erased
from connector.mirror.plans import Plans
from connector.mirror.rollbacks import Rollbacks
from connector.mirror.schema import connect, rewrite
from connector.mirror.sql import count, first, naive, now, registered, texts, transaction
from connector.owner_lock import OwnerLock
from connector.platform import Account, Known, Page
from scoring.engine import DuckEngine, quoted
from scoring.machines import suspicions
from scoring.parsing import forget

#: Seconds that a look waits for a rewriting, and a rewriting for those who look.
LOOK_WAITS, REWRITE_WAITS = 30.0, 120.0


class Mirror:
    """Open it with `Mirror.open`, best in a `with` block."""

    #: SQL for the ids of contacts that are neither deleted nor merged away.
    live_contacts_sql = "select contact_id from store.contacts where deleted_at is null and merged_into is null"

    def __init__(
        self,
        folder: Path,
        lock: OwnerLock | None,
        connection: duckdb.DuckDBPyConnection,
        main: "Mirror | None" = None,
    ) -> None:
        self.folder = folder
        self._lock = lock
        #: The mirror that this one is beside; itself for the one that has the folder.
        self._main = main or self
        #: Runs of this process that have not ended.
        self.running: set[str] = set() if main is None else main.running
        self._doors: Doors = Doors() if main is None else main._doors
        self._preparing = threading.Lock()
        self._take(connection)
        self._run_id: str | None = None

    def _take(self, connection: duckdb.DuckDBPyConnection) -> None:
        #: The one connection; canonical tables are readable on it by name, storage as `store.<table>`.
        self.connection = connection
        #: Nothing is ever run on it: other threads take theirs from it while the first is at work.
        self._root = connection.cursor() if self._main is self else None
        self.known: Known = MirrorKnown(connection)
        self.ledger = Ledger(connection)
        self.rollbacks = Rollbacks(connection)
        self.plans = Plans(connection)
        #: People who were erased.
        self.erased: Erased = Erased(connection, self.folder) if self._main is self else self._main.erased
        #: News up to this number were before the eyes of whoever took the last engine.
        self._engine_saw: int | None = None
        self._snapshot: tuple[int, tuple[str, ...]] | None = None
        self._news_given = False
        #: Whether what excerpts share is there.
        self._prepared = False
        views.create(connection)

    @classmethod
    def open(
        cls,
        folder: Path,
        account: Account,
        *,
        command: str = "",
        read_only: bool = False,
        memory_limit: str | None = None,
    ) -> "Mirror":
        """Open an account's mirror; make it where there is none. `memory_limit` is DuckDB's ("2GB"; default: four
        fifths of the machine's).

        Raises StateMismatch when another process has it, it is another account's, or a newer program's.
        """
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        elif not folder.is_dir():
            raise StateMismatch(f"There is no state in {folder} yet: run `leadlight pull` first.")
        lock = OwnerLock(folder, command)
        umask = os.umask(0o077)
        try:
            return cls(folder, lock, connect(folder, account, read_only=read_only, memory_limit=memory_limit))
        except BaseException:
            lock.release()
            raise
        finally:
            os.umask(umask)

    def close(self) -> None:
        """Give the folder up."""
        if self._root is not None:
            self._root.close()
        self.connection.close()
        if self._lock is not None:
            self._lock.release()

    def beside(self) -> "Mirror":
        """The same mirror for a second job while this one's is under way, on the same thread or while this one
        computes: temporary tables and engines are its own, what both commit is shared. Close it before this one;
        it cannot be rewritten."""
        root = self._main._root or self.connection
        return Mirror(self.folder, None, root.cursor(), self._main)

    @contextmanager
    def reading(self, seconds: float = LOOK_WAITS) -> Iterator["Mirror"]:
        """The same mirror for a look from another thread, while any job is under way on this one: it sees what is
        committed. Raises TryLater when the file is being rewritten for longer than so many seconds."""
        with self._main._doors.entered(seconds):
            root = self._main._root
            if root is None:
                raise Bug("A mirror without a file of its own was asked for a reader.")
            beside = Mirror(self.folder, None, root.cursor(), self._main)
            try:
                yield beside
            finally:
                beside.connection.close()

    @property
    def is_beside(self) -> bool:
        """Whether another job may be under way on the mirror that this one is beside."""
        return self._main is not self

    def __enter__(self) -> "Mirror":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def commit(self, page: Page, *, run_id: str, observed_at: datetime) -> dict[str, int]:
        """Put a page into storage, whole or not at all. Returns rows written by table; rows that equal what is
        there are not among them. `observed_at` is when the page was read (UTC)."""
        page = self.erased.sift(page)
        written = PageCommit(
            self.connection, page, run_id=run_id, observed_at=observed_at, news_since=self._main._engine_saw or 0
        ).run()
        if "property_definitions" in written or (written and self._snapshot is not None):
            self._snapshot = None
            views.create(self.connection)
        return written

    def engine(self, *, text_columns: Sequence[str] = ()) -> DuckEngine:
        """An engine over the canonical tables, on the mirror's one connection.

        `contacts` and `companies` are as they are now, their `p_` columns typed by the property definitions;
        `text_columns` names properties that stay texts. They are kept until something is committed or other
        text columns are asked for: then call again.
        """
        wanted = tuple(sorted(text_columns))
        if self._snapshot is None or self._snapshot[1] != wanted:
            self._engine_saw = self._last_news()
            views.materialise(self.connection, wanted)
            self._snapshot = (self._engine_saw, wanted)
        return DuckEngine(self.connection)

    def weigh_events(self, of: Collection[str] | None = None) -> int:
        """Tell anew which opens and clicks machines made (`scoring.machines`). Returns how many there are.

        A mailbox or gateway shows itself over many mails, so that new events change what old ones are worth. `of`:
        only these contacts have new events; all mailboxes behind the same gateways are weighed again.
        """
        if of is not None:
            with registered(self.connection, "_weighed", weighing.among(self.connection, of)):
                weighing.exchange(self.connection)
            return count(self.connection, "store.machine_made")
        with transaction(self.connection):
            found = suspicions(DuckEngine(self.connection))
            self.connection.execute("delete from store.machine_made")
            self.connection.execute(
                "insert into store.machine_made "
                f"select event_id, contact_id, machine from {found} order by event_id"
            )
        return count(self.connection, "store.machine_made")

    def excerpt(
        self, contact_ids: Collection[str], as_of: datetime, *, text_columns: Sequence[str] = ()
    ) -> Excerpt:
        """A few contacts and what their values depend on (`connector.mirror.excerpt`)."""
        found = self.empty_excerpt()
        try:
            found.fill(contact_ids, naive(as_of), text_columns)
        except BaseException:
            found.close()
            raise
        return found

    def empty_excerpt(self) -> Excerpt:
        """The same, to be filled."""
        with self._main._preparing:
            if not self._main._prepared:
                excerpts.prepare(self.connection)
                self._main._prepared = True
        return Excerpt(self.connection)

    @contextmanager
    def on_one_thread(self) -> Iterator[None]:
        """Statements run by whoever gives them alone: of small ones DuckDB shares out less than waking a thread
        costs. Where another job may be at work, or somebody looks, it keeps its threads: whoever takes them waits
        until the tasks under way are done, and a look's may take long."""
        if self.is_beside or self._doors.occupied:
            yield
            return
        self.connection.execute("set threads = 1")
        try:
            yield
        finally:
            self.connection.execute("reset threads")

    def rewrite(self, account: Account) -> None:
        """Make the file anew, without anything that was deleted. Temporary tables and engines end with it. Raises
        TryLater, and leaves it as it is, when somebody looks at it for too long."""
        forget()
        with self._doors.alone(REWRITE_WAITS):
            if self._root is not None:
                self._root.close()
            try:
                rewrite(self.connection, self.folder)
            finally:
                self.connection.close()
                self._take(connect(self.folder, account))

    def has_contacts(self) -> bool:
        """Whether any contact was ever pulled."""
        return count(self.connection, "(select 1 from store.contacts limit 1)") > 0

    def begin_run(
        self,
        command: str,
        as_of: datetime | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        who: str | None = None,
        subject: str | None = None,
    ) -> str:
        """Note that a command starts, in the audit log too; `settings` (no secrets) stand in its result until
        there is one. `subject` names what it is about (a run, a plan), never a person."""
        started = now()
        self._run_id = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.running.add(self._run_id)
        if self._snapshot is not None:
            # what was committed beside since then is not in it
            self._snapshot = None
            views.create(self.connection)
        with transaction(self.connection):
            self.connection.execute(
                "insert into store.runs values (?, ?, ?, ?, null, null, ?)",
                [
                    self._run_id,
                    command,
                    None if as_of is None else naive(as_of),
                    started,
                    None if settings is None else json.dumps({"settings": settings}, sort_keys=True, default=str),
                ],
            )
            self.connection.execute(
                "insert into store.audit values (?, ?, ?, ?, ?)", [started, who, command, subject, self._run_id]
            )
        return self._run_id

    def audit(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Who ran what, the newest first: at, who, command, subject, run_id."""
        query = 'select * from store.audit order by "at" desc, run_id desc'
        rows: list[dict[str, Any]] = (
            self.connection.sql(query if limit is None else f"{query} limit {int(limit)}")
            .to_arrow_table()
            .to_pylist()
        )
        return rows

    def end_run(self, run_id: str, status: str, result: Mapping[str, Any]) -> None:
        """Note how a run ended: `done`, `refused`, `failed`, and its JSON."""
        self.running.discard(run_id)
        self.connection.execute(
            "update store.runs set finished_at = ?, status = ?, result = ? where run_id = ?",
            [now(), status, json.dumps(result, sort_keys=True, default=str), run_id],
        )

    def runs(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Runs, the newest first: run_id, command, as_of, started_at, finished_at, status, result."""
        query = "select * from store.runs order by started_at desc, run_id desc"
        table = self.connection.sql(query if limit is None else f"{query} limit {int(limit)}").to_arrow_table()
        rows: list[dict[str, Any]] = table.to_pylist()
        return [{**row, "result": json.loads(row["result"]) if row["result"] else None} for row in rows]

    def last_run(self, command: str | None = None, status: str | None = None) -> dict[str, Any] | None:
        """The newest run but the present one, of a command and a status where given."""
        return next(
            (
                run
                for run in self.runs()
                if run["run_id"] != self._run_id
                and command in (None, run["command"])
                and status in (None, run["status"])
            ),
            None,
        )

    def unfinished(self) -> list[str]:
        """Runs that never ended, those of this process left out: they were killed."""
        rows = self.connection.execute(
            "select run_id from store.runs where status is null order by started_at"
        ).fetchall()
        return [row[0] for row in rows if row[0] not in self.running]

    def news(self) -> int:
        """Contacts with changed rows since they were last scored."""
        return count(self.connection, "(select distinct contact_id from store.news)")

    def news_table(self) -> str:
        """The name of a temporary table with their `contact_id`s, as of now."""
        self.connection.execute(
            "create or replace temp table _news_now as "
            "select distinct contact_id from store.news order by contact_id"
        )
        self._news_given = True
        return "_news_now"

    def save_predictions(
        self,
        run_id: str,
        as_of: datetime,
        models: Mapping[str, str],
        values: pa.Table,
        *,
        whole: bool = False,
        among: str | None = None,
        since: datetime | None = None,
    ) -> None:
        """Keep what was computed, in one transaction, and take its contacts off the news.

        `values` has contact_id and one text column a property; `models` the version of each predictor. `whole`:
        everyone was computed, contacts without a row have no values from now on. Otherwise that holds for the
        contacts of the table `among`, or of the last `news_table`. News that came after the engine was taken stay.
        Contacts that were read after `since` (UTC) are left as they are: `values` come from what was known before,
        and whoever read them computes them, or the next run does.
        """
        latest = among is not None or self._engine_saw is None
        seen = self._last_news() if latest else self._engine_saw
        columns = sorted(name for name in values.column_names if name != "contact_id")
        packed = ", ".join(f"{quoted(name)} := cast({quoted(name)} as varchar)" for name in columns)
        text = f"cast(to_json(struct_pack({packed})) as varchar)" if columns else "'{}'"
        versions = json.dumps(dict(models), sort_keys=True)
        scope = "true" if whole else self._computed_scope(among)
        read = "false" if since is None else _read_after(since)
        with registered(self.connection, "_computed", values), transaction(self.connection):
            self.connection.execute(f"delete from store.predictions where {scope} and not ({read})")
            self.connection.execute(
                f"insert into store.predictions select contact_id, {text}, ?, ?, ?, ? from _computed "
                f"where not ({read})",
                [versions, naive(as_of), run_id, now()],
            )
            self.connection.execute(f"delete from store.news where sequence <= ? and {scope}", [seen])
            if whole:
                self.connection.execute(
                    "insert into store.scorings values (?, ?, ?, ?)", [run_id, naive(as_of), versions, now()]
                )
        self._news_given = False

    def _computed_scope(self, among: str | None) -> str:
        if among is not None:
            return f"contact_id in (select contact_id from {quoted(among)})"
        news = " or contact_id in (select contact_id from _news_now)" if self._news_given else ""
        return f"(contact_id in (select contact_id from _computed){news})"

    def predictions(self, among: str | None = None) -> pa.Table:
        """The latest values: contact_id and one text column a property, sorted by contact_id; of the contacts of
        the table `among` where one is named."""
        where = "" if among is None else f" where contact_id in (select contact_id from {quoted(among)})"
        names = [
            row[0]
            for row in self.connection.execute(
                f'select distinct unnest(json_keys("values")) as name from store.predictions{where} order by name'
            ).fetchall()
        ]
        parsed = f'from_json("values", {views.texts(names)}) as parsed' if names else "null as parsed"
        columns = "".join(f", parsed.{quoted(name)} as {quoted(name)}" for name in names)
        return self.connection.sql(
            f"select contact_id{columns} from (select contact_id, {parsed} from store.predictions{where}) "
            "order by contact_id"
        ).to_arrow_table()

    def scored_day(self) -> tuple[date, dict[str, str]] | None:
        """The UTC day and the model versions of the last time that everyone was scored."""
        row = first(self.connection, "select as_of, models from store.scorings order by scored_at desc limit 1")
        return None if row is None else (row[0].date(), json.loads(row[1]))

    def rejects(self, run_id: str) -> pa.Table:
        """Input that a run could not use: stream, record, field, reason."""
        return self.connection.sql(
            "select stream, record, field, reason from store.rejects where run_id = ? order by stream, record",
            params=[run_id],
        ).to_arrow_table()

    def note_news(self, contact_ids: Collection[str]) -> None:
        """Take these contacts for changed: the next scoring computes them again."""
        self.connection.execute(
            f"insert into store.news select unnest([{texts(contact_ids)}]::varchar[]), ?", [self._last_news() + 1]
        )

    def _last_news(self) -> int:
        row = first(self.connection, "select coalesce(max(sequence), 0) from store.news")
        return int(row[0]) if row else 0


def _read_after(since: datetime) -> str:
    """SQL: a contact that was read later. What a clock that ran ahead has dated is not."""
    return (
        "contact_id in (select contact_id from store.contacts "
        f"where seen_at > timestamp '{naive(since)}' and seen_at <= timestamp '{now()}')"
    )
