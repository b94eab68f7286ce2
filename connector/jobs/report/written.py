"""What was written: the last runs, what became of their writes, and what they spent."""

from typing import Any

from connector.jobs import history
from connector.jobs.run import Run

#: Runs that are listed.
RUNS = 20


def written(run: Run) -> dict[str, Any]:
    """`runs` as `leadlight runs` lists them, with their API calls; open `plans`; of the last that made
    calls: calls by endpoint, and the `budget` of our share of a day's calls (null where none are counted)."""
    mirror = run.mirror
    listed = history.runs(mirror, RUNS)
    results = {row["run_id"]: row["result"] or {} for row in mirror.runs(RUNS)}
    spent = {name: result.get("api_calls") or {} for name, result in results.items()}
    last = next((calls for calls in spent.values() if calls.get("total")), {})
    return {
        "runs": [
            {
                **{key: one[key] for key in ("run_id", "command", "status", "who", "contacts", "rolled_back_by")},
                "started_at": f"{one['started_at']:%Y-%m-%dT%H:%M:%SZ}",
                "dry_run": bool(results[one["run_id"]].get("dry_run")),
                "refused": one["refused"],
                "plan": one["plan"],
                "api_calls": spent[one["run_id"]].get("total"),
                "seconds": results[one["run_id"]].get("seconds"),
                "skipped": (results[one["run_id"]].get("pushed") or {}).get("skipped"),
            }
            for one in listed["runs"]
        ],
        "plans": [
            {**plan, "planned_at": f"{plan['planned_at']:%Y-%m-%dT%H:%M:%SZ}", "settled_at": None}
            for plan in listed["plans"]
            if plan["status"] == "open"
        ],
        "budget": {name: last.get(name) for name in ("total", "left_today", "a_day")},
        "calls": dict(sorted(last.get("by_endpoint", {}).items(), key=lambda item: -item[1])),
    }
