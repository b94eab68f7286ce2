"""Install: our properties on the platform, created or completed, never taken over from somebody else."""

from typing import Any

from connector.errors import FixSetup
from connector.jobs.run import Run
from manifests import Property


def install(run: Run, *, dry_run: bool = False) -> dict[str, Any]:
    """JSON of `leadlight install`: what was done, or would be, for each property."""
    plans = run.platform.install(run.properties(), dry_run=dry_run)
    return {
        "run_id": run.id,
        "dry_run": dry_run,
        "properties": [{"name": plan.name, "action": plan.action, "detail": plan.detail} for plan in plans],
    }


def ensure_installed(run: Run, wanted: list[Property]) -> None:
    """Create what is missing before a push. Raises FixSetup on a property that is somebody else's."""
    for plan in run.platform.install(wanted, dry_run=False):
        if plan.action == "conflict":
            raise FixSetup(
                f"The property {plan.name} exists on the platform and is not ours: {plan.detail} "
                "Rename it there, or choose another prefix = … in leadlight.toml."
            )
