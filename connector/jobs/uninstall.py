"""Uninstall: our values off every contact, by the ledger, so that they can be put back; then our properties."""

from dataclasses import dataclass, field
from typing import Any

from connector.errors import FixSetup
from connector.jobs.install import properties_json
from connector.jobs.pull import pull
from connector.jobs.run import Run
from connector.jobs.sending import Pushed, recover, send
from connector.platform import PropertyPlan, Removable
from scoring.engine import literal


@dataclass
class Removal:
    """What is to be cleared and archived, and what became of it."""

    run: Run
    plans: list[PropertyPlan] = field(default_factory=list)
    #: Contacts that hold a value of ours, and values.
    contacts: int = 0
    values: int = 0
    cleared: Pushed = field(default_factory=Pushed)
    done: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run.id,
            "dry_run": not self.done,
            "contacts": self.contacts,
            "values": self.values,
            "cleared": self.cleared.to_json(),
            "properties": properties_json(self.plans),
            **{word: [plan.name for plan in self.plans if plan.action == word] for word in ("in_use", "by_hand")},
        }


def look(run: Run) -> Removal:
    """What an uninstall would do; reads the platform, writes nothing to it. Raises FixSetup where the platform
    has nothing to take away."""
    run.progress("Looking at our properties", 0, None)
    removal = Removal(run, _platform(run).uninstall(run.all_properties(), dry_run=True))
    pull(run)
    removal.contacts, removal.values = _plan(run, _ours(removal))
    return removal


def uninstall(removal: Removal) -> None:
    """Clear, then archive. When a value could not be cleared, the properties stay: run it again."""
    run = removal.run
    # What a run that died left open is settled first: it may have put values there.
    recover(run)
    removal.contacts, removal.values = _plan(run, _ours(removal))
    removal.cleared, removal.done = Pushed(), True
    if removal.contacts:
        planned = run.mirror.connection.sql(
            "select *, 'uninstall' as reason from planned order by contact_id, property"
        ).to_arrow_table()
        run.mirror.ledger.plan_writes(run.id, planned)
        send(run, removal.cleared)
    if not removal.cleared.failed:
        run.progress("Archiving our properties", 0, None)
        removal.plans = _platform(run).uninstall(run.all_properties(), dry_run=False)


def _platform(run: Run) -> Removable:
    if not isinstance(run.platform, Removable):
        raise FixSetup(
            f"Nothing is installed on {run.platform.name}: its results are files beside the state, "
            "which you can simply delete."
        )
    return run.platform


def _ours(removal: Removal) -> list[str]:
    return [plan.name for plan in removal.plans if plan.action in ("archive", "by_hand")]


def _plan(run: Run, names: list[str]) -> tuple[int, int]:
    """Fill the temporary table `planned` with a clearing of every value of ours; (contacts, values)."""
    connection = run.mirror.connection
    listed = ", ".join(literal(name) for name in names)
    connection.execute(f"""
        create or replace temp table desired as
        select contact_id, name as property, cast(null as varchar) as value
        from ({run.mirror.live_contacts_sql}) live cross join (select unnest([{listed}]::varchar[]) as name)
    """)
    run.mirror.ledger.differences("desired", into="planned")
    [(contacts, values)] = connection.execute(
        "select count(distinct contact_id), count(*) from planned"
    ).fetchall()
    return int(contacts), int(values)
