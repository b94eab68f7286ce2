"""The leads to call, as a CSV file that a spreadsheet opens safely."""

import csv
import io
from typing import Any

from connector.jobs.report.people import calls
from connector.jobs.run import Run

_COLUMNS = (
    *("owner_id", "owner", "place", "contact_id", "name", "email", "company"),
    *("score", "grade", "probability", "send_hour", "reasons"),
)
#: Beginnings that spreadsheets take for a formula; names and companies come from anyone who fills in a form.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def calls_csv(run: Run) -> tuple[str, int]:
    """Every owner's best leads of grade A or B outside the holdout, for each goal, as a CSV file's text; how many.
    Expects the table that `report` made."""
    listed = [
        {"goal": task.goal.words, **row}
        for task in run.tasks()
        if task.predictor.name == "lead_score"
        and run.mirror.connection.execute("from reported limit 1").fetchall()
        for row in calls(run, task)
    ]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ("goal", *_COLUMNS), extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: _cell(name, row[name]) for name in ("goal", *_COLUMNS)} for row in listed)
    return out.getvalue(), len(listed)


def _cell(name: str, value: Any) -> Any:
    return f"{value:.0f}" if name == "score" else _safe(value)


def _safe(value: Any) -> Any:
    """A text that no spreadsheet calculates with."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
