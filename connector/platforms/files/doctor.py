"""Whether files can be used: readable, with rows, with the goal's column, and how much of them is left aside."""

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa

from connector.errors import BadSetting
from connector.platform import Check, Plan
from connector.platforms.files.mapping import Mapping as FileMapping
from connector.platforms.files.mapping import property_name

#: A larger share of rows left aside than this is more than an accident.
MOST_REJECTED = 0.05


def no_calls() -> Plan:
    """Files are not called."""
    return Plan((), 0.0)


def unreadable(error: BadSetting) -> Check:
    """What is wrong with the mapping or a file of it."""
    return Check("files", "fail", str(error), "Correct the mapping or the file that the message names.")


def examine(mapping: FileMapping, tables: Mapping[str, pa.Table], goal_columns: tuple[str, ...]) -> list[Check]:
    """Checks of what was read: rows by table, rejects by file, columns of goals."""
    checks = []
    for table in dict.fromkeys(source.table for source in mapping.sources):
        files = ", ".join(source.file.name for source in mapping.sources if source.table == table)
        rows = tables[table].num_rows
        state = "ok" if rows else "fail" if table == "contacts" else "warn"
        remedy = "" if rows else f"Look at what the mapping says of {files}."
        checks.append(Check(f"read {table}", state, f"{rows:,} rows from {files}.", remedy))  # type: ignore[arg-type]
    checks += _rejects(tables)
    known = set(tables["property_definitions"]["property"].to_pylist())
    for column in goal_columns:
        there = property_name(column) in known
        checks.append(
            Check("goal column", "ok", f"The goal's column {column} is there.")
            if there
            else Check(
                "goal", "fail", f"There is no column {column!r}.", "Name one of the file: [goal] column = …"
            )
        )
    return checks


def _rejects(tables: Mapping[str, pa.Table]) -> list[Check]:
    rejects = tables["rejects"].to_pylist()
    if not rejects:
        return [Check("rows left aside", "ok", "None.")]
    by_file = Counter(row["record"].rpartition(",")[0] for row in rejects)
    counts = ", ".join(f"{count:,} of {file}" for file, count in by_file.most_common())
    first = rejects[0]
    example = f"{first['record']}{', ' + first['field'] if first['field'] else ''}: {first['reason']}"
    rows = sum(tables[table].num_rows for table in ("contacts", "events", "purchases"))
    return [
        Check(
            "rows left aside",
            "warn",
            f"{counts}, such as {example}.",
            "Mend these lines; the rest is used without them."
            if len(rejects) <= MOST_REJECTED * rows
            else "So many speak of a wrong mapping: look at time_format, unit and columns.",
        )
    ]
