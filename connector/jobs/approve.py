"""Approve: carry out exactly the plan that a person looked at, or say why it no longer holds."""

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from connector.errors import BadSetting, Refused
from connector.jobs import lists
from connector.jobs.barred import barred, find_nameable, unnameable
from connector.jobs.companies import awaiting, push_companies
from connector.jobs.install import ensure_installed
from connector.jobs.pull import pull
from connector.jobs.push import draw_arms, forget_old, wanted_on
from connector.jobs.run import Run
from connector.jobs.sending import Pushed, read_present, recover, send
from connector.jobs.spread import spread
from connector.jobs.train import standing_models
from connector.jobs.withhold import keep_arms
from connector.mirror.ledger import Ledger
from connector.mirror.plans import fingerprint
from manifests import Property
from scoring.companies import NAMED

#: Contacts that are named in a refusal.
_NAMED = 5


def approve(run: Run, name: str) -> dict[str, Any]:
    """JSON of `leadlight approve`: run_id, plan, status, pushed, budget, companies. What today's calls do not
    allow stays in the plan, whose status is then still `open`: approve it again. Companies are no part of a plan
    of contacts: their scores follow from those of the contacts once all of these are written. A plan of companies
    is made where no contact changes.

    Raises BadSetting for an unknown plan; Refused, with nothing written, when the plan was carried out before,
    when a value on the platform is neither what it was when the plan was made nor what the plan would write, or
    when somebody in it may get no value, or be named, any more; FixSetup, the plan staying open, when a list of
    `[write]` could not be read.
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
    ledger = run.mirror.ledger.of("company" if plan["companies"] else "contact")
    open_rows = _open_rows(run, plan, writes, ledger)
    records = list(dict.fromkeys(row[ledger.key] for row in open_rows))
    days = spread(run, len(records))
    today = set(records if days is None else records[: days.today])
    done = Pushed(unchanged=plan["contacts"] + plan["companies"] - len(records), left=len(records) - len(today))
    rows = pa.Table.from_pylist([row for row in open_rows if row[ledger.key] in today], schema=writes.schema)
    companies = awaiting(run)
    if plan["companies"]:
        if today:
            _carry_out(run, plan, rows, ledger, run.company_properties(), done)
        companies = {**companies, **done.to_json(), "off": None}
    elif today:
        companies = _with_companies(run, plan, rows, ledger, done)
    elif not done.left:
        # an earlier try was stopped between its contacts and the companies
        companies = push_companies(run, *draw_arms(run, standing_models(run)))
    status = "open" if done.left else "done"
    run.mirror.plans.settle(plan["plan"], status, run.id)
    forget_old(run)
    return {
        "run_id": run.id,
        "plan": plan["plan"],
        "status": status,
        "pushed": (Pushed() if plan["companies"] else done).to_json(),
        "budget": None if days is None else days.to_json(),
        "companies": companies,
    }


def _with_companies(
    run: Run, plan: dict[str, Any], rows: pa.Table, ledger: Ledger, pushed: Pushed
) -> dict[str, Any]:
    """Write rows of a plan of contacts, then companies; JSON of these."""
    models = standing_models(run)
    scored, passed = draw_arms(run, models)
    keep_arms(run)
    _carry_out(run, plan, rows, ledger, wanted_on(run, models), pushed)
    return awaiting(run) if pushed.left else push_companies(run, scored, passed)


def _carry_out(
    run: Run, plan: dict[str, Any], rows: pa.Table, ledger: Ledger, wanted: list[Property], pushed: Pushed
) -> None:
    """Write rows of the plan. The writes of an earlier approval of it become this run's, so that one rollback
    undoes the whole plan."""
    ensure_installed(run, wanted)
    if plan["carried_by"] is not None:
        run.mirror.ledger.take_over(plan["carried_by"], run.id)
    # known before the first write, so that whoever goes on after a kill finds it
    run.mirror.plans.settle(plan["plan"], "open", run.id)
    start = ledger.next_place(run.id)
    ledger.plan_writes(run.id, rows)
    send(run, pushed, start=start, object_name=ledger.object)


def find_plan(run: Run, name: str) -> dict[str, Any]:
    """The plan of that name, or of the only name that starts so. Raises BadSetting."""
    known = run.mirror.plans.known()
    found = [plan for plan in known if plan["plan"].startswith(name)]
    if len(found) != 1:
        still = ", ".join(plan["plan"] for plan in known if plan["status"] == "open") or "none"
        raise BadSetting(f"{name} names {len(found)} plans of this account; awaiting approval: {still}.")
    return found[0]


def _open_rows(run: Run, plan: dict[str, Any], writes: pa.Table, ledger: Ledger) -> list[dict[str, Any]]:
    """What is still to be written; values that an earlier try wrote are left out. Raises Refused."""
    if fingerprint(writes) != plan["plan"]:
        _void(run, plan, "contacts of it were erased, or it was changed in the state")
    rows, key = writes.to_pylist(), ledger.key
    if objecting := _objecting(run, rows, ledger):
        why = (
            "contacts have since objected to profiling or left the filters of [write]"
            if ledger.object == "contact"
            else "contacts whom companies of it name may not be named any more"
        )
        _void(run, plan, f"{len(objecting):,} {why} ({_names(objecting)})")
    records = list(dict.fromkeys(row[key] for row in rows))
    properties = _existing(run, sorted({row["property"] for row in rows}), ledger)
    present = read_present(run, records, properties, ledger.object)
    left, gone, changed = [], set(), set()
    for row in rows:
        record = present.get(row[key])
        if record is None:
            gone.add(row[key])
            continue
        now = record.values.get(row["property"])
        if now == row["value_before"]:
            left.append(row)
        elif now != row["value_after"]:
            changed.add(row[key])
    if gone or changed:
        _void(
            run,
            plan,
            f"{len(changed):,} {'companies' if plan['companies'] else 'contacts'} were changed since and "
            f"{len(gone):,} are gone ({_names(gone | changed)})",
        )
    return left


def _objecting(run: Run, rows: Sequence[dict[str, Any]], ledger: Ledger) -> set[str]:
    """Contacts in the plan that may get no value, or be named, any more."""
    after = [row for row in rows if row["value_after"] is not None]
    if ledger.object == "contact":
        return barred(run) & {row["contact_id"] for row in after}
    find_nameable(run)
    return unnameable(run, {one for row in after for one in re.findall(NAMED, row["value_after"])})


def _names(contacts: set[str]) -> str:
    named = sorted(contacts, key=lambda it: (len(it), it))
    return ", ".join(named[:_NAMED]) + (" …" if len(named) > _NAMED else "")


def _existing(run: Run, names: list[str], ledger: Ledger) -> list[str]:
    """Those that the platform has: before the first approval there may be none, and so no values."""
    wanted = run.properties(ledger.object)
    missing = {plan.name for plan in run.platform.install(wanted, dry_run=True) if plan.action == "create"}
    return [name for name in names if name not in missing]


def _void(run: Run, plan: dict[str, Any], why: str) -> None:
    run.mirror.plans.settle(plan["plan"], "void", run.id)
    raise Refused(
        f"Plan {plan['plan']} no longer holds: {why}. Nothing was written; `leadlight sync` makes a new plan.",
        {"run_id": run.id, "plan": plan["plan"], "pushed": Pushed().to_json()},
    )
