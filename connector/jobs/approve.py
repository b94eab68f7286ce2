"""Approve: carry out exactly the plan that a person looked at, or say why it no longer holds."""

from typing import Any

import pyarrow as pa

from connector.errors import BadSetting, Refused
from connector.jobs.install import ensure_installed
from connector.jobs.push import forget_old, wanted_on
from connector.jobs.run import Run
from connector.jobs.sending import Pushed, read_present, recover, send
from connector.jobs.train import standing_model
from connector.mirror.plans import fingerprint

#: Contacts that are named in a refusal.
_NAMED = 5


def approve(run: Run, name: str) -> dict[str, Any]:
    """JSON of `leadlight approve`: run_id, plan, pushed.

    Raises BadSetting for an unknown plan; Refused, with nothing written, when the plan was carried out before,
    or when a value on the platform is neither what it was when the plan was made nor what the plan would write.
    """
    recover(run)
    plan = find_plan(run, name)
    if plan["status"] != "open":
        raise Refused(
            f"Plan {plan['plan']} was settled before ({plan['status']}, run {plan['carried_by']}): nothing was "
            "written. `leadlight sync` makes a new one.",
            {"run_id": run.id, "plan": plan["plan"]},
        )
    writes = run.mirror.plans.writes(plan["plan"])
    open_rows = _open_rows(run, plan, writes)
    pushed = Pushed(unchanged=plan["contacts"] - len({row["contact_id"] for row in open_rows}))
    if open_rows:
        models = {task.key: model for task in run.tasks() if (model := standing_model(run, task)) is not None}
        ensure_installed(run, wanted_on(run, models))
        run.mirror.ledger.plan_writes(run.id, pa.Table.from_pylist(open_rows, schema=writes.schema))
        send(run, pushed)
    run.mirror.plans.settle(plan["plan"], "done", run.id)
    forget_old(run)
    return {"run_id": run.id, "plan": plan["plan"], "pushed": pushed.to_json()}


def find_plan(run: Run, name: str) -> dict[str, Any]:
    """The plan of that name, or of the only name that starts so. Raises BadSetting."""
    known = run.mirror.plans.known()
    found = [plan for plan in known if plan["plan"].startswith(name)]
    if len(found) != 1:
        still = ", ".join(plan["plan"] for plan in known if plan["status"] == "open") or "none"
        raise BadSetting(f"{name} names {len(found)} plans of this account; awaiting approval: {still}.")
    return found[0]


def _open_rows(run: Run, plan: dict[str, Any], writes: pa.Table) -> list[dict[str, Any]]:
    """What is still to be written; values that an earlier try wrote are left out. Raises Refused."""
    if fingerprint(writes) != plan["plan"]:
        _void(run, plan, "contacts of it were erased, or it was changed in the state")
    rows = writes.to_pylist()
    contacts = list(dict.fromkeys(row["contact_id"] for row in rows))
    present = read_present(run, contacts, _existing(run, sorted({row["property"] for row in rows})))
    left, gone, changed = [], set(), set()
    for row in rows:
        contact = present.get(row["contact_id"])
        if contact is None:
            gone.add(row["contact_id"])
            continue
        now = contact.values.get(row["property"])
        if now == row["value_before"]:
            left.append(row)
        elif now != row["value_after"]:
            changed.add(row["contact_id"])
    if gone or changed:
        named = ", ".join(sorted(gone | changed, key=lambda it: (len(it), it))[:_NAMED])
        _void(run, plan, f"{len(changed):,} contacts were changed since and {len(gone):,} are gone ({named} …)")
    return left


def _existing(run: Run, names: list[str]) -> list[str]:
    """Those that the platform has: before the first approval there may be none, and so no values."""
    missing = {
        plan.name for plan in run.platform.install(run.properties(), dry_run=True) if plan.action == "create"
    }
    return [name for name in names if name not in missing]


def _void(run: Run, plan: dict[str, Any], why: str) -> None:
    run.mirror.plans.settle(plan["plan"], "void", run.id)
    raise Refused(
        f"Plan {plan['plan']} no longer holds: {why}. Nothing was written; `leadlight sync` makes a new plan.",
        {"run_id": run.id, "plan": plan["plan"], "pushed": Pushed().to_json()},
    )
