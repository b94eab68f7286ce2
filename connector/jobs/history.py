"""History: what was run, by whom, what it wrote on which contact, and which plans await approval."""

from typing import Any

from connector.errors import BadSetting
from connector.mirror import Mirror

#: Rows of ledger entries and runs, unless the user says otherwise.
ENTRIES, RUNS = 100, 20


def runs(mirror: Mirror, limit: int | None) -> dict[str, Any]:
    """JSON of `leadlight runs`: runs, the newest first, with what became of their writes; plans; the audit log."""
    who = {row["run_id"]: row for row in mirror.audit()}
    undone = mirror.rollbacks.by_run()
    listed = []
    for row in mirror.runs(limit):
        result = row.pop("result") or {}
        logged = who.get(row["run_id"], {})
        listed.append(
            {
                **row,
                "status": row["status"] or "not ended",
                "who": logged.get("who"),
                "subject": logged.get("subject"),
                "contacts": mirror.ledger.counts(row["run_id"]),
                "companies": mirror.ledger.of("company").counts(row["run_id"]),
                "rolled_back_by": undone.get(row["run_id"]),
                "refused": result.get("refused"),
                "plan": result.get("plan"),
            }
        )
    return {"runs": listed, "plans": mirror.plans.known(), "audit": mirror.audit(limit)}


def show(mirror: Mirror, name: str, limit: int | None) -> dict[str, Any]:
    """JSON of `leadlight runs RUN`: the run and its ledger entries; for a plan's name, the plan and its writes.

    Raises BadSetting when the name is neither, or not one alone.
    """
    plans = [plan for plan in mirror.plans.known() if plan["plan"].startswith(name)]
    found = [row for row in mirror.runs() if row["run_id"].startswith(name)]
    found = [row for row in found if row["run_id"] == name] or found
    if len(found) == 1:
        return _run(mirror, found[0], limit)
    if len(plans) == 1 and not found:
        writes = mirror.plans.writes(plans[0]["plan"])
        entries = writes.slice(0, limit).to_pylist()
        return {**plans[0], "entries": [_entry(row) for row in entries], "entries_total": writes.num_rows}
    raise BadSetting(f"{name} names {len(found)} runs and {len(plans)} plans: `leadlight runs` lists them.")


def _run(mirror: Mirror, row: dict[str, Any], limit: int | None) -> dict[str, Any]:
    logged = next((entry for entry in mirror.audit() if entry["run_id"] == row["run_id"]), {})
    companies = mirror.ledger.of("company")
    entries = mirror.ledger.entries(row["run_id"], limit).to_pylist()
    left = None if limit is None else limit - len(entries)
    entries += companies.entries(row["run_id"], left).to_pylist()
    return {
        **row,
        "status": row["status"] or "not ended",
        "who": logged.get("who"),
        "subject": logged.get("subject"),
        "contacts": mirror.ledger.counts(row["run_id"]),
        "companies": companies.counts(row["run_id"]),
        "rolled_back_by": mirror.rollbacks.by_run().get(row["run_id"]),
        "entries": [_entry(entry) for entry in entries],
        "entries_total": mirror.ledger.size(row["run_id"]) + companies.size(row["run_id"]),
    }


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """A ledger entry in the words of the command: before and after; state `planned` until it is settled."""
    entry = {**row, "before": row["value_before"], "after": row["value_after"]}
    del entry["value_before"], entry["value_after"]
    entry["state"] = entry.get("state") or "planned"
    return entry
