"""What the mirror remembers of rollbacks: of which run each one was, and which values are held back since."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from connector.mirror.ledger import SETTLES
from connector.mirror.sql import first, now, registered, transaction
from connector.platform import WrittenObject

_HELD = "select count(distinct object_id) from store.holds"


class Rollbacks:
    """On the mirror's connection and thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def begin(self, run_id: str, of_run: str) -> int:
        """Note that `run_id` puts back what `of_run` wrote. A rollback of the same run that never ended is taken
        over: its writes become this run's, so that undoing this one undoes all. Returns how many contacts."""
        unfinished = [
            row[0]
            for row in self._connection.execute(
                """select b.run_id from store.rollbacks b join store.runs r using (run_id)
                   where b.of_run = ? and b.run_id <> ? and r.status is distinct from 'done'""",
                [of_run, run_id],
            ).fetchall()
        ]
        with transaction(self._connection):
            for table in ("writes", "attempts", "outcomes", "holds"):
                self._connection.execute(
                    f"update store.{table} set run_id = ? where run_id in (select unnest(?::varchar[]))",
                    [run_id, unfinished],
                )
            # what failed or was gone is looked at again
            for table in ("writes", "attempts", "outcomes"):
                self._connection.execute(
                    f"""delete from store.{table} where run_id = ? and (object, object_id) in (
                            select object, object_id from store.outcomes
                            where run_id = ? and state <> 'written')""",
                    [run_id, run_id],
                )
            self._connection.execute(
                "delete from store.rollbacks where run_id in (select unnest(?::varchar[]))", [unfinished]
            )
            self._connection.execute("insert into store.rollbacks values (?, ?, ?)", [run_id, of_run, now()])
        return self._count(
            "select count(distinct object_id) from store.writes where run_id = ? and object = 'contact'", run_id
        )

    def of_run(self, run_id: str) -> str | None:
        """The run that a rollback was of; None for a run that is no rollback."""
        row = first(self._connection, "select of_run from store.rollbacks where run_id = ?", [run_id])
        return None if row is None else str(row[0])

    def by_run(self) -> dict[str, str]:
        """Run -> the newest rollback of it."""
        rows = self._connection.execute(
            "select of_run, run_id from store.rollbacks order by started_at"
        ).fetchall()
        return dict(rows)

    def hold(self, run_id: str, of_run: str) -> int:
        """Hold back, on every record that `of_run` wrote, what its models would write; how many contacts."""
        with transaction(self._connection):
            self._connection.execute("delete from store.holds where run_id = ?", [run_id])
            self._connection.execute(
                f"""insert into store.holds (object, object_id, predictor, model, run_id, held_at)
                   select distinct w.object, w.object_id, w.predictor, w.model, ?, ?::timestamp
                   from store.writes w join store.outcomes o on {SETTLES}
                   where w.run_id = ? and o.state = 'written'
                     and w.predictor is not null and w.model is not null""",
                [run_id, now(), of_run],
            )
        return self._count(f"{_HELD} where object = 'contact' and run_id = ?", run_id)

    def release_of(self, of_run: str, objects: Sequence[WrittenObject] = ("contact", "company")) -> None:
        """Take back the holds of every rollback of a run on records of these objects: one that found all put back
        already has holds too."""
        self._connection.execute(
            "delete from store.holds where run_id in (select run_id from store.rollbacks where of_run = ?) "
            "and object in (select unnest(?::varchar[]))",
            [of_run, list(objects)],
        )

    def release(self, run_id: str | None = None) -> int:
        """Take back the holds of one rollback, or all; of how many contacts."""
        where, given = ("true", []) if run_id is None else ("run_id = ?", [run_id])
        count = self._count(f"{_HELD} where object = 'contact' and {where}", *given)
        self._connection.execute(f"delete from store.holds where {where}", given)
        return count

    def held(self, models: Mapping[str, str]) -> int:
        """Forget holds on models that are no longer in use (`models`: predictor -> version); records held."""
        for predictor, version in models.items():
            self._connection.execute(
                "delete from store.holds where predictor = ? and model <> ?", [predictor, version]
            )
        return self._count(_HELD)

    def later_writers(
        self, run_id: str, kept: Sequence[tuple[str, str, str | None]], object_name: WrittenObject = "contact"
    ) -> pa.Table:
        """Of values that no longer are what a run wrote (record's id, property, value now): those that a later
        run of ours wrote, with that run: `object_id, property, later_run`."""
        given = pa.table(
            {
                "object_id": pa.array([row[0] for row in kept], pa.string()),
                "property": pa.array([row[1] for row in kept], pa.string()),
                "present": pa.array([row[2] for row in kept], pa.string()),
            }
        )
        with registered(self._connection, "_kept", given):
            return self._connection.sql(
                f"""
                select k.object_id, k.property, max(w.run_id) as later_run
                from _kept k join store.writes w
                     on w.object = ? and w.object_id = k.object_id and w.property = k.property
                        and w.value_after is not distinct from k.present
                     join store.outcomes o on {SETTLES}
                where o.state = 'written' and w.run_id > ?
                group by k.object_id, k.property
                """,
                params=[object_name, run_id],
            ).to_arrow_table()

    def _count(self, query: str, *parameters: Any) -> int:
        row = first(self._connection, query, parameters)
        return int(row[0]) if row else 0
