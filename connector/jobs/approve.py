"""Approve: carry out exactly the plan that a person looked at, or say why it no longer holds."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from connector.errors import BadSetting, Refused
from connector.jobs import lists
from connector.jobs.barred import barred
from connector.jobs.companies import awaiting, push_companies
from connector.jobs.install import ensure_installed
from connector.jobs.pull import pull
from connector.jobs.push import draw_arms, forget_old, wanted_on
from connector.jobs.run import Run
from connector.jobs.sending import Pushed, read_present, recover, send
from connector.jobs.spread import spread
from connector.jobs.train import standing_models
from connector.jobs.withhold import keep_arms
from connector.mirror.plans import fingerprint

#: Contacts that are named in a refusal.
_NAMED = 5


def approve(run: Run, name: str) -> dict[str, Any]:
    """JSON of `leadlight approve`: run_id, plan, status, pushed, budget, companies. What today's calls do not
    allow stays in the plan, whose status is then still `open`: approve it again. Companies are no part of a plan:
    their scores follow from those of the contacts once all of these are written.

    Raises BadSetting for an unknown plan; Refused, with nothing written, when the plan was carried out before,
    when a value on the platform is neither what it was when the plan was made nor what the plan would write, or
    when somebody in it may get no value any more; FixSetup, the plan staying open, when a list of `[write]` could
    not be read.
    """
    recover(run)
    plan = find_plan(run, name)
    if plan["status"] != "open":
        raise Refused(
            f"Plan {plan['plan']} was settled before ({plan['status']}, run {plan['carried_by']}): nothing was "
            "written. `leadlight sync` makes a new one.",
            {"run_id": run.id, "plan": plan["plan"]},
        )
    # who has objected, or left the filters, since the plan was made
    pull(run)
    lists.require(run, writing=True)
    writes = run.mirror.plans.writes(plan["plan"])
    open_rows = _open_rows(run, plan, writes)
    contacts = list(dict.fromkeys(row["contact_id"] for row in open_rows))
    days = spread(run, len(contacts))
    today = set(contacts if days is None else contacts[: days.today])
    pushed = Pushed(unchanged=plan["contacts"] - len(contacts), left=len(contacts) - len(today))
    companies = awaiting(run)
    if today:
        companies = _carry_out(
            run, plan, [row for row in open_rows if row["contact_id"] in today], writes.schema, pushed
        )
    elif not pushed.left:
        # an earlier try was stopped between its contacts and the companies
        companies = push_companies(run, *draw_arms(run, standing_models(run)))
    status = "open" if pushed.left else "done"
    run.mirror.plans.settle(plan["plan"], status, run.id)
    forget_old(run)
    return {
        "run_id": run.id,
        "plan": plan["plan"],
        "status": status,
        "pushed": pushed.to_json(),
        "budget": None if days is None else days.to_json(),
        "companies": companies,
    }


def _carry_out(
    run: Run, plan: dict[str, Any], rows: Sequence[dict[str, Any]], schema: pa.Schema, pushed: Pushed
) -> dict[str, Any]:
    """Write rows of the plan, then companies; JSON of these. The writes of an earlier approval of it become this
    run's, so that one rollback undoes the whole plan."""
    models = standing_models(run)
    scored, passed = draw_arms(run, models)
    keep_arms(run)
    ensure_installed(run, wanted_on(run, models))
    if plan["carried_by"] is not None:
        run.mirror.ledger.take_over(plan["carried_by"], run.id)
    # known before the first write, so that whoever goes on after a kill finds it
    run.mirror.plans.settle(plan["plan"], "open", run.id)
    run.mirror.ledger.plan_writes(run.id, pa.Table.from_pylist(list(rows), schema=schema))
    send(run, pushed)
    return awaiting(run) if pushed.left else push_companies(run, scored, passed)


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
    if objecting := barred(run) & {row["contact_id"] for row in rows if row["value_after"] is not None}:
        _void(
            run,
            plan,
            f"{len(objecting):,} contacts have since objected to profiling or left the filters of [write] "
            f"({_names(objecting)})",
        )
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
        _void(
            run,
            plan,
            f"{len(changed):,} contacts were changed since and {len(gone):,} are gone ({_names(gone | changed)})",
        )
    return left


def _names(contacts: set[str]) -> str:
    named = sorted(contacts, key=lambda it: (len(it), it))
    return ", ".join(named[:_NAMED]) + (" …" if len(named) > _NAMED else "")


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
