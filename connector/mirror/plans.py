"""Plans that await a person's approval, named by the hash of what they would write."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from connector.mirror.sql import first, naive, now, registered, transaction
from connector.platform import WrittenObject

#: Besides the record's id.
_COLUMNS = ("property", "value_before", "value_after", "predictor", "model", "reason")
#: Objects, and the counts of their records.
_MANY: Mapping[WrittenObject, str] = {"contact": "contacts", "company": "companies"}


class Plans:
    """On the mirror's connection and thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def save(self, run_id: str, writes: pa.Table, object_name: WrittenObject = "contact") -> str:
        """Keep what would be written (as for the ledger, in its order) on the records of one object; returns the
        plan's name. The same plan twice is one plan."""
        plan, key = fingerprint(writes), _key(object_name)
        placed = writes.select([key, *_COLUMNS]).rename_columns(["object_id", *_COLUMNS])
        placed = placed.append_column("position", pa.array(range(writes.num_rows), pa.int64()))
        with registered(self._connection, "_awaiting", placed), transaction(self._connection):
            known = first(self._connection, "select status from store.plans where plan = ?", [plan])
            if known == ("open",):
                return plan
            for table in ("plans", "plan_writes"):
                self._connection.execute(f"delete from store.{table} where plan = ?", [plan])
            self._connection.execute(
                "insert into store.plan_writes by name select ? as plan, ? as object, * from _awaiting",
                [plan, object_name],
            )
            counts = {"contacts": "0", "companies": "0", _MANY[object_name]: "count(distinct object_id)"}
            self._connection.execute(
                f"""insert into store.plans by name
                   select ? as plan, ? as run_id, ? as planned_at, {counts["contacts"]} as contacts,
                          {counts["companies"]} as companies, count(*) as value_count, 'open' as status
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
        """What a plan would write, in its order; the id's column says of which object."""
        row = first(self._connection, "select companies from store.plans where plan = ?", [plan])
        key = _key("company" if row is not None and row[0] else "contact")
        return self._connection.sql(
            f"select object_id as {key}, {', '.join(_COLUMNS)} from store.plan_writes where plan = ? "
            "order by position",
            params=[plan],
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


def _key(object_name: WrittenObject) -> str:
    """The canonical name of an object's id."""
    return f"{object_name}_id"


def fingerprint(writes: pa.Table) -> str:
    """Twelve hex digits over records, properties and both values, whatever the order. The time of scoring is
    written too, but does not make it another plan."""
    key = next(name for name in writes.column_names if name in map(_key, _MANY))
    columns = [writes[name].to_pylist() for name in (key, *_COLUMNS[:3])]
    lines = sorted(repr(row) for row in zip(*columns, strict=True) if not row[1].endswith("scored_at"))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
