"""Install: our properties on the platform, created or completed, never taken over from somebody else."""

from collections.abc import Sequence
from typing import Any

from connector.errors import BadCredentials, FixSetup
from connector.jobs.run import Run
from connector.platform import PropertyPlan
from manifests import Property


def install(run: Run, *, dry_run: bool = False) -> dict[str, Any]:
    """JSON of `leadlight install`: what was done, or would be, for each property; `companies_off`: why those of
    companies are left alone, or null.

    Words that differ from the manifest's are put right. Where a name is somebody else's, nothing at all is
    changed: `conflicts` says how many.
    """
    wanted = run.properties()
    run.progress("Looking at our properties", 0, None)
    plans = run.platform.install(wanted, dry_run=True, repair=True)
    conflicts = [plan for plan in plans if plan.action == "conflict"]
    if not dry_run and not conflicts:
        run.progress("Creating what is missing", 0, None)
        plans = run.platform.install(wanted, dry_run=False, repair=True)
        conflicts = [plan for plan in plans if plan.action == "conflict"]
    of_companies, off = ([], None) if conflicts else _of_companies(run, dry_run=dry_run)
    plans = [*plans, *of_companies]
    conflicts += [plan for plan in of_companies if plan.action == "conflict"]
    return {
        "run_id": run.id,
        "dry_run": dry_run,
        "conflicts": len(conflicts),
        "companies_off": off,
        "properties": properties_json(plans),
    }


def _of_companies(run: Run, *, dry_run: bool) -> tuple[list[PropertyPlan], str | None]:
    """The same for the properties of companies, and why there are none; contacts do without."""
    wanted = run.properties("company")
    if not wanted or "company" not in run.platform.objects:
        return [], None
    try:
        plans = run.platform.install(wanted, dry_run=True, repair=True)
        if not dry_run and not any(plan.action == "conflict" for plan in plans):
            plans = run.platform.install(wanted, dry_run=False, repair=True)
    except BadCredentials:
        raise
    except FixSetup as problem:
        return [], f"Companies get no score: {problem}"
    return plans, None


def properties_json(plans: Sequence[PropertyPlan]) -> list[dict[str, str]]:
    """What became, or would become, of each property."""
    return [{"name": plan.name, "action": plan.action, "detail": plan.detail} for plan in plans]


def ensure_installed(run: Run, wanted: list[Property]) -> None:
    """Create what is missing before a push. Raises FixSetup, with nothing changed, on a property that is somebody
    else's."""
    for dry_run in (True, False):
        for plan in run.platform.install(wanted, dry_run=dry_run):
            if plan.action == "conflict":
                raise FixSetup(conflict(plan))


def conflict(plan: PropertyPlan) -> str:
    """What is wrong with a property that is not ours, and what to do about it."""
    return (
        f"The property {plan.name} exists on the platform and is not ours: {plan.detail}. "
        "Rename it there, or choose another prefix = … in leadlight.toml."
    )
