"""The ledger: what we meant to write, what we sent, what became of it, and what stood there before.

Intent is on disk before the first call, an attempt before each call, the outcome after it. Whoever is killed
between any two of them leaves a run from which the next one can tell: what never left (no attempt), what may
have arrived (attempted, not settled: read it back), what is settled.

A run may write a record more than once, each time at a place (`position`) of its own. Attempts and outcomes are
of a place; where only records are named, their last one is meant. Contacts and companies share a run's places, and
may have equal ids: a ledger speaks of the records of one object.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from connector.errors import Bug
from connector.mirror.records import OBJECTS
from connector.mirror.sql import first, naive, now, registered, texts, transaction
from connector.mirror.views import entries
from connector.platform import Outcome, Write, WrittenObject
from scoring.engine import literal, quoted

_OPTIONAL = ("predictor", "model", "reason")

_OUTCOMES = pa.schema(
    [
        ("record_id", pa.string()),
        ("state", pa.string()),
        ("modified_at", pa.timestamp("us")),
        ("request_id", pa.string()),
        ("error", pa.string()),
    ]
)

#: SQL: an outcome `o` or an attempt `a` is that of the write `w`.
SETTLES = "o.run_id = w.run_id and o.object = w.object and o.object_id = w.object_id and o.position = w.position"
_TRIES = "a.run_id = w.run_id and a.object = w.object and a.object_id = w.object_id and a.position = w.position"

_OPEN = f"not exists (select 1 from store.outcomes o where {SETTLES})"
_TRIED = f"exists (select 1 from store.attempts a where {_TRIES})"


#: Object -> its table and its id.
_RECORDS = {word: (table, key) for table, (word, key) in OBJECTS.items()}


class Ledger:
    """On the mirror's connection and thread. A run's writes are named by record and property; tables name records
    by their id's canonical name (`contact_id`, `company_id`)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, object_name: WrittenObject = "contact") -> None:
        self._connection = connection
        self.object = object_name
        self._table, self.key = _RECORDS[object_name]
        self._mine = f"object = {literal(object_name)}"

    def of(self, object_name: WrittenObject) -> "Ledger":
        """The same ledger, of the records of another object."""
        return Ledger(self._connection, object_name)

    def differences(self, desired: str, into: str = "differences") -> int:
        """Make a temporary table `into` of the values that differ from what stands on live records.

        `desired` is a table of the id, property, value (null or empty: to be cleared); `into` has value_before
        besides. Returns how many.
        """
        key = self.key
        self._connection.execute(
            f"""
            create or replace temp table {quoted(into)} as
            with live as (
                select {key}, ours from store.{self._table}
                where deleted_at is null and merged_into is null
                  and {key} in (select {key} from {quoted(desired)})
            ),
            standing as (select {key}, entry.key as property, entry.value as value
                         from (select {key}, {entries("ours")} as entry from live))
            select d.{key}, d.property, nullif(d.value, '') as value, s.value as value_before
            from {quoted(desired)} d join live using ({key})
                 left join standing s on s.{key} = d.{key} and s.property = d.property
            where nullif(d.value, '') is distinct from s.value
            """
        )
        return self._number(f"select count(*) from {quoted(into)}")

    def plan_writes(self, run_id: str, writes: pa.Table) -> int:
        """Put intent on disk, before the first call; returns how many records.

        Columns: the id, property, value_after (or value), value_before and, where given, predictor, model,
        reason. Records are written in the order of the table.
        """
        names = set(writes.column_names)
        after = "value_after" if "value_after" in names else "value"
        optional = ", ".join(name if name in names else f"null as {name}" for name in _OPTIONAL)
        placed = writes.append_column("_place", pa.array(range(writes.num_rows), pa.int64()))
        with registered(self._connection, "_planned", placed), transaction(self._connection):
            self._connection.execute(
                f"""
                    insert into store.writes by name
                    with records as (
                        select {self.key}, row_number() over (order by min(_place)) - 1 as position
                        from _planned group by {self.key}
                    ),
                    base as (select coalesce(max(position) + 1, 0) as base from store.writes where run_id = $run)
                    select $run as run_id, base + position as position, {literal(self.object)} as object,
                           {self.key} as object_id, property,
                           nullif(value_before, '') as value_before, nullif({after}, '') as value_after,
                           {optional}, $at::timestamp as planned_at
                    from _planned join records using ({self.key}) cross join base
                    order by position, property
                    """,
                {"run": run_id, "at": now()},
            )
        return len(writes[self.key].unique())

    def planned_records(self, run_id: str, start: int = 0) -> int:
        """Records that a run means to write, from place `start` of its plan."""
        planned = f"from store.writes where run_id = ? and position >= ? and {self._mine}"
        return self._number(f"select count(distinct object_id) {planned}", run_id, start)

    def next_place(self, run_id: str) -> int:
        """The place in a run's plan that what is planned next begins at."""
        return self._number("select coalesce(max(position) + 1, 0) from store.writes where run_id = ?", run_id)

    def supersede(self, run_id: str, record_ids: Sequence[str], running: Sequence[str]) -> list[str]:
        """Take these records out of what the runs of `running` have planned and not attempted: `run_id` knows
        better. Returns those of whom a call of such a run is under way."""
        others = [one for one in running if one != run_id]
        if not others:
            return []
        theirs = f"run_id in ({texts(others)}) and {self._named(record_ids)} and {_OPEN}"
        self._connection.execute(f"delete from store.writes w where {theirs} and not {_TRIED}")
        rows = self._connection.execute(f"select distinct object_id from store.writes w where {theirs}").fetchall()
        return [row[0] for row in rows]

    def batches(self, run_id: str, size: int, start: int = 0) -> Iterator[list[Write]]:
        """What a run has not attempted yet from place `start`, in its order, `size` records at a time."""
        planned = f"from store.writes where run_id = ? and position >= ? and {self._mine}"
        last = self._number(f"select coalesce(max(position), -1) {planned}", run_id, start)
        left = f"{self._mine} and {_left(run_id, start)}"
        begin = start
        if start == 0:
            # a run that goes on where it was stopped
            begin = self._number(
                f"select coalesce(min(position), {last + 1}) from store.writes w where run_id = ? and {left}",
                run_id,
            )
        for place in range(begin, last + 1, size):
            rows = self._connection.execute(
                f"""select object_id, property, value_after from store.writes w
                    where run_id = ? and position >= ? and position < ? and {left}
                    order by position, property""",
                [run_id, place, place + size],
            ).fetchall()
            if rows:
                yield [Write(record_id, values, self.object) for record_id, values in _by_record(rows).items()]

    def attempt(self, run_id: str, record_ids: Sequence[str], start: int = 0) -> None:
        """Note, on disk, that a call with these records is about to leave. They stand at place `start` of the
        run's plan or after it."""
        self._connection.execute(
            f"""insert into store.attempts (run_id, object, object_id, attempted_at, position)
                select run_id, object, object_id, ?, max(position) from store.writes
                where run_id = ? and position >= ? and {self._named(record_ids)} group by all""",
            [now(), run_id, start],
        )

    def settle(self, run_id: str, outcomes: Sequence[Outcome], start: int = 0) -> None:
        """Note what became of records; what was written now stands on them in the mirror, in one transaction.

        An outcome with a modified date makes that date our own write's, by which the next pull knows its echo.
        `start` as for `attempt`.
        """
        if not outcomes:
            return
        if any(outcome.object != self.object for outcome in outcomes):
            raise Bug(f"Outcomes of another object came to the ledger of object {self.object!r}.")
        rows = [
            {**vars(outcome), "modified_at": None if outcome.modified_at is None else naive(outcome.modified_at)}
            for outcome in outcomes
        ]
        settled = pa.Table.from_pylist(rows, schema=_OUTCOMES)
        named = self._named([outcome.record_id for outcome in outcomes])
        with registered(self._connection, "_settled", settled), transaction(self._connection):
            self._connection.execute(
                f"""create or replace temp table _settled_writes as
                    select *, max(position) over (partition by object_id) as latest from store.writes
                    where run_id = ? and position >= ? and {named} qualify position = latest""",
                [run_id, start],
            )
            self._merge_ours()
            self._connection.execute(
                """delete from store.outcomes o using _settled_writes w
                   where o.run_id = w.run_id and o.object = w.object and o.object_id = w.object_id
                     and o.position = w.position"""
            )
            self._connection.execute(
                """insert into store.outcomes
                       (run_id, object, object_id, state, modified_at, request_id, error, settled_at, position)
                   select ?, ?, record_id, state, modified_at, request_id, error, ?, place.position
                   from _settled left join (select distinct object_id, position from _settled_writes) place
                        on place.object_id = record_id""",
                [run_id, self.object, now()],
            )

    def _merge_ours(self) -> None:
        planned = self._connection.execute(
            """select w.object_id, w.property, w.value_after from _settled_writes w
               join _settled s on s.record_id = w.object_id and s.state = 'written'"""
        ).fetchall()
        if not planned:
            return
        values = _by_record(planned)
        standing = self._connection.execute(
            f"select {self.key}, ours from store.{self._table} where {self.key} in ({texts(values)})"
        ).fetchall()
        merged = {
            "record_id": pa.array([row[0] for row in standing], pa.string()),
            "ours": pa.array([_merged(row[1], values[row[0]]) for row in standing], pa.string()),
        }
        with registered(self._connection, "_merged", pa.table(merged)):
            self._connection.execute(
                f"""update store.{self._table} kept
                   set ours = m.ours, modified_at = coalesce(s.modified_at, kept.modified_at),
                       written_at = coalesce(s.modified_at, kept.written_at)
                   from _merged m join _settled s using (record_id)
                   where kept.{self.key} = m.record_id"""
            )

    def take_over(self, from_run: str, to_run: str) -> None:
        """Make an earlier try's writes those of the run that goes on with it: undoing that one undoes all."""
        with transaction(self._connection):
            for table in ("writes", "attempts", "outcomes"):
                self._connection.execute(
                    f"update store.{table} set run_id = ? where run_id = ?", [to_run, from_run]
                )

    def open_runs(self) -> list[str]:
        """Runs with writes that were planned and not settled, the oldest first."""
        rows = self._connection.execute(
            f"select run_id from store.writes w where {_OPEN} group by run_id order by min(planned_at), run_id"
        ).fetchall()
        return [row[0] for row in rows]

    def attempted_unsettled(self, run_id: str) -> dict[str, dict[str, str | None]]:
        """Record -> planned values whose call left and whose outcome nobody noted: to be read back."""
        return self._planned(run_id, f"{_TRIED} and {_OPEN}")

    def unattempted(self, run_id: str) -> dict[str, dict[str, str | None]]:
        """Record -> planned values that never left."""
        return self._planned(run_id, f"not {_TRIED} and {_OPEN}")

    def unsettled(self, run_id: str) -> dict[str, dict[str, str | None]]:
        """Record -> planned values without an outcome, attempted or not."""
        return self._planned(run_id, _OPEN)

    def forget_attempts(self, run_id: str, record_ids: Sequence[str]) -> None:
        """Attempts that, as reading back showed, changed nothing: as if they had never left."""
        self._connection.execute(
            f"delete from store.attempts w where run_id = ? and {self._named(record_ids)} and {_OPEN}", [run_id]
        )

    def drop_unattempted(self, run_id: str) -> int:
        """Take what never left out of the plan; how many records."""
        dropped = len(self.unattempted(run_id))
        self._connection.execute(
            f"delete from store.writes w where run_id = ? and {self._mine} and not {_TRIED} and {_OPEN}", [run_id]
        )
        return dropped

    def written(self, run_id: str) -> pa.Table:
        """What a run wrote, in its order: the id, property, value_before, value_after, predictor, model; each
        property of a record once, from what stood before the run to what it wrote last."""
        return self._connection.sql(
            f"""
            select object_id as {self.key}, property, first(value_before order by position) as value_before,
                   last(value_after order by position) as value_after,
                   last(predictor order by position) as predictor, last(model order by position) as model
            from (select w.*, min(w.position) over (partition by w.object_id) as place
                  from store.writes w join store.outcomes o on {SETTLES}
                  where w.run_id = ? and w.{self._mine} and o.state = 'written')
            group by object_id, property, place order by place, property
            """,
            params=[run_id],
        ).to_arrow_table()

    def prune(self, before: datetime) -> int:
        """Forget what runs wrote whose plans are all older than this; how many values. The runs themselves and
        the audit log stay."""
        rows = self._connection.execute(
            f"""select run_id, count(*) from store.writes w group by run_id
                having max(planned_at) < ? and not bool_or({_OPEN})""",
            [naive(before)],
        ).fetchall()
        if rows:
            with transaction(self._connection):
                for table in ("attempts", "outcomes", "writes"):
                    self._connection.execute(
                        f"delete from store.{table} where run_id in (select unnest(?::varchar[]))",
                        [[run_id for run_id, _ in rows]],
                    )
        return sum(int(count) for _, count in rows)

    def entries(self, run_id: str, limit: int | None = None) -> pa.Table:
        """Everything about a run's writes: one row a record and property, with the record's outcome."""
        return self._connection.sql(
            f"""
            select w.object_id as {self.key}, w.property, w.value_before, w.value_after, w.predictor,
                   w.model, w.reason, w.planned_at, o.state, o.modified_at, o.request_id, o.error, o.settled_at
            from store.writes w left join store.outcomes o on {SETTLES}
            where w.run_id = ? and w.{self._mine}
            order by w.position, w.property {"" if limit is None else f"limit {int(limit)}"}
            """,
            params=[run_id],
        ).to_arrow_table()

    def size(self, run_id: str) -> int:
        """Single values in a run's plan."""
        return self._number(f"select count(*) from store.writes where run_id = ? and {self._mine}", run_id)

    def counts(self, run_id: str) -> dict[str, int]:
        """Records planned, written, failed, gone and open, and single values written."""
        row = first(
            self._connection,
            f"""
            select count(distinct w.object_id),
                   count(distinct case when o.state = 'written' then w.object_id end),
                   count(distinct case when o.state = 'failed' then w.object_id end),
                   count(distinct case when o.state = 'gone' then w.object_id end),
                   count(distinct case when o.state is null then w.object_id end),
                   sum(case when o.state = 'written' then 1 else 0 end)
            from store.writes w left join store.outcomes o on {SETTLES} where w.run_id = ? and w.{self._mine}
            """,
            [run_id],
        )
        names = ("planned", "written", "failed", "gone", "open", "values")
        return dict(zip(names, (int(value or 0) for value in row or (0,) * len(names)), strict=True))

    def _planned(self, run_id: str, condition: str) -> dict[str, dict[str, str | None]]:
        rows = self._connection.execute(
            f"""select object_id, property, value_after from store.writes w
                where run_id = ? and {self._mine} and {condition} order by position, property""",
            [run_id],
        ).fetchall()
        return _by_record(rows)

    def _named(self, record_ids: Iterable[str]) -> str:
        return f"{self._mine} and object_id in ({texts(record_ids)})"

    def _number(self, query: str, *parameters: object) -> int:
        row = first(self._connection, query, parameters)
        return int(row[0]) if row else 0


def _left(run_id: str, start: int) -> str:
    """SQL: the write `w` was neither attempted nor settled. Both are looked for among the run's own places from
    `start` on, so that what a long run did before is not gone through at each batch."""
    among = f"run_id = {literal(run_id)} and position >= {int(start)}"
    return (
        f"not exists (from (select * from store.attempts where {among}) a where {_TRIES}) "
        f"and not exists (from (select * from store.outcomes where {among}) o where {SETTLES})"
    )


def _by_record(rows: Sequence[tuple[Any, ...]]) -> dict[str, dict[str, str | None]]:
    found: dict[str, dict[str, str | None]] = {}
    for record_id, name, value in rows:
        found.setdefault(record_id, {})[name] = value
    return found


def _merged(ours: str, values: Mapping[str, str | None]) -> str:
    """A record's values of ours after a write, as a record's JSON is spelt: keys sorted, empty ones left out."""
    after = {**json.loads(ours), **values}
    kept = {name: value for name, value in after.items() if value not in (None, "")}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
