"""Preview: what a push would do, in figures and samples, from the rows that it would write."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from connector.jobs.run import Run
from connector.mirror.sql import registered
from manifests import Property
from scoring.engine import literal

#: Contacts whose scores move most, and contacts drawn as a sample.
BIGGEST, SAMPLE = 10, 20


def preview(run: Run, rows: pa.Table, wanted: Sequence[Property]) -> dict[str, Any]:
    """Counts by property, grade moves, the biggest score moves, a sample old -> new, calls needed.

    `rows` is what would go into the ledger; `labels` are what people see of a category's values, by property. The
    platform is only asked what properties it has.
    """
    with registered(run.mirror.connection, "_would_write", rows):
        contacts = _rows(run, "select count(distinct contact_id) as contacts from _would_write")[0]["contacts"]
        return {
            "by_property": {row.pop("property"): row for row in _rows(run, _BY_PROPERTY)},
            "grade_moves": {row["move"]: row["contacts"] for row in _rows(run, _grade_moves(run))},
            "biggest_moves": _rows(run, _biggest(run)),
            "sample": _sample(run),
            "prefix": run.prefix,
            "labels": {entry.name: dict(entry.options) for entry in wanted if entry.options},
            "calls": {"write": math.ceil(contacts / run.platform.batch_for(contacts))},
            "properties": {
                plan.name: plan.action
                for plan in run.platform.install(wanted, dry_run=True)
                if plan.action != "none"
            },
        }


_BY_PROPERTY = """
    select property, count(*) as total, count(*) filter (value_before is null) as first,
           count(*) filter (value_before is not null and value_after is not null) as changed,
           count(*) filter (value_after is null) as cleared
    from _would_write group by property order by property
"""


def _grade_moves(run: Run) -> str:
    return f"""
        select coalesce(value_before, 'none') || ' to ' || coalesce(value_after, 'none') as move,
               count(*) as contacts
        from _would_write where property = {literal(run.prefix + "_grade")}
        group by move order by contacts desc, move
    """


def _biggest(run: Run) -> str:
    prefix = run.prefix
    values = ", ".join(
        f"max(case when property = {literal(f'{prefix}_{name}')} then {column} end) as {name}{suffix}"
        for name in ("score", "grade", "reasons")
        for column, suffix in (("value_before", "_before"), ("value_after", "_after"))
    )
    return f"""
        select * from (select contact_id, {values} from _would_write group by contact_id)
        where score_before is not null and score_after is not null and score_before <> score_after
        order by abs(try_cast(score_after as double) - try_cast(score_before as double)) desc, contact_id
        limit {BIGGEST}
    """


def _sample(run: Run) -> list[dict[str, Any]]:
    """Contacts by the hash of their id, so that the sample is spread and the same each time."""
    rows = _rows(
        run,
        f"""with drawn as (select distinct contact_id from _would_write
                           order by md5(contact_id), contact_id limit {SAMPLE})
            select contact_id, property, value_before, value_after
            from _would_write join drawn using (contact_id) order by md5(contact_id), contact_id, property""",
    )
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        values = found.setdefault(row["contact_id"], {"contact_id": row["contact_id"], "values": {}})["values"]
        values[row["property"]] = {"before": row["value_before"], "after": row["value_after"]}
    return list(found.values())


def _rows(run: Run, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.mirror.connection.sql(query).to_arrow_table().to_pylist()
    return found
