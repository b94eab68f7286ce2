"""Plans that await a person's approval, named by the hash of what they would write."""

import hashlib
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from connector.mirror.sql import first, naive, now, registered, transaction

_COLUMNS = ("contact_id", "property", "value_before", "value_after", "predictor", "model", "reason")


class Plans:
    """On the mirror's connection and thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def save(self, run_id: str, writes: pa.Table) -> str:
        """Keep what would be written (as for the ledger, in its order); returns the plan's name. The same plan
        twice is one plan."""
        plan = fingerprint(writes)
        placed = writes.select(_COLUMNS).append_column("position", pa.array(range(writes.num_rows), pa.int64()))
        with registered(self._connection, "_awaiting", placed), transaction(self._connection):
            known = first(self._connection, "select status from store.plans where plan = ?", [plan])
            if known == ("open",):
                return plan
            for table in ("plans", "plan_writes"):
                self._connection.execute(f"delete from store.{table} where plan = ?", [plan])
            self._connection.execute(
                "insert into store.plan_writes by name select ? as plan, * from _awaiting", [plan]
            )
            self._connection.execute(
                """insert into store.plans select ?, ?, ?, count(distinct contact_id), count(*), 'open', null, null
                   from _awaiting""",
                [plan, run_id, now()],
            )
        return plan

    def known(self) -> list[dict[str, Any]]:
        """Every plan kept, the newest first."""
        rows: list[dict[str, Any]] = (
            self._connection.sql("select * from store.plans order by planned_at desc, plan")
            .to_arrow_table()
            .to_pylist()
        )
        return rows

    def writes(self, plan: str) -> pa.Table:
        """What a plan would write, in its order."""
        return self._connection.sql(
            f"select {', '.join(_COLUMNS)} from store.plan_writes where plan = ? order by position", params=[plan]
        ).to_arrow_table()

    def settle(self, plan: str, status: str, run_id: str) -> None:
        """Note what became of a plan: `done` or `void`, and in which run."""
        self._connection.execute(
            "update store.plans set status = ?, carried_by = ?, settled_at = ? where plan = ?",
            [status, run_id, now(), plan],
        )

    def prune(self, before: datetime) -> None:
        """Forget plans that are older."""
        old = "select plan from store.plans where planned_at < ?"
        for table in ("plan_writes", "plans"):
            self._connection.execute(f"delete from store.{table} where plan in ({old})", [naive(before)])


def fingerprint(writes: pa.Table) -> str:
    """Twelve hex digits over contacts, properties and both values, whatever the order. The time of scoring is
    written too, but does not make it another plan."""
    columns = [writes[name].to_pylist() for name in _COLUMNS[:4]]
    lines = sorted(repr(row) for row in zip(*columns, strict=True) if not row[1].endswith("scored_at"))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
