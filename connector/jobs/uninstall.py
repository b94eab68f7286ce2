"""Uninstall: our values off every contact and company, by the ledger, so that they can be put back; then our
properties."""

from dataclasses import dataclass, field
from typing import Any

from connector.errors import FixSetup, MissingScope
from connector.jobs.install import properties_json
from connector.jobs.pull import pull
from connector.jobs.run import Run
from connector.jobs.sending import Pushed, recover, send
from connector.mirror.ledger import Ledger
from connector.mirror.sql import count
from connector.platform import PropertyPlan, Removable, WrittenObject
from scoring.engine import literal


@dataclass
class Removal:
    """What is to be cleared and archived, and what became of it."""

    run: Run
    plans: list[PropertyPlan] = field(default_factory=list)
    #: Records that hold a value of ours, and values.
    contacts: int = 0
    companies: int = 0
    values: int = 0
    cleared: Pushed = field(default_factory=Pushed)
    companies_cleared: Pushed = field(default_factory=Pushed)
    done: bool = False

    @property
    def failed(self) -> bool:
        """Whether a record still holds a value of ours."""
        return bool(self.cleared.failed or self.companies_cleared.failed)

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run.id,
            "dry_run": not self.done,
            "contacts": self.contacts,
            "companies": self.companies,
            "values": self.values,
            "cleared": self.cleared.to_json(),
            "companies_cleared": self.companies_cleared.to_json(),
            "properties": properties_json(self.plans),
            **{word: [plan.name for plan in self.plans if plan.action == word] for word in ("in_use", "by_hand")},
        }


def look(run: Run) -> Removal:
    """What an uninstall would do; reads the platform, writes nothing to it. Raises FixSetup where the platform
    has nothing to take away."""
    run.progress("Looking at our properties", 0, None)
    removal = Removal(run, _properties(run, dry_run=True))
    pull(run)
    _look(removal)
    return removal


def uninstall(removal: Removal) -> None:
    """Clear, then archive. When a value could not be cleared, the properties stay: run it again."""
    run = removal.run
    # What a run that died left open is settled first: it may have put values there.
    recover(run)
    _look(removal)
    removal.cleared, removal.companies_cleared, removal.done = Pushed(), Pushed(), True
    for object_name, cleared in _CLEARED.items():
        ledger = run.mirror.ledger.of(object_name)
        planned = run.mirror.connection.sql(
            f"select *, 'uninstall' as reason from {_planned(ledger)} order by {ledger.key}, property"
        ).to_arrow_table()
        if planned.num_rows:
            start = ledger.next_place(run.id)
            ledger.plan_writes(run.id, planned)
            send(run, getattr(removal, cleared), "Clearing", start, object_name)
    if not removal.failed:
        run.progress("Archiving our properties", 0, None)
        removal.plans = _properties(run, dry_run=False)


#: Where it is counted what became of an object's records.
_CLEARED: dict[WrittenObject, str] = {"contact": "cleared", "company": "companies_cleared"}


def _properties(run: Run, *, dry_run: bool) -> list[PropertyPlan]:
    """What became of our properties, or would; companies that can't be seen have none."""
    plans = _platform(run).uninstall(run.all_properties(), dry_run=dry_run)
    try:
        return plans + _platform(run).uninstall(run.company_properties(), dry_run=dry_run)
    except MissingScope as error:
        return plans + [PropertyPlan(entry.name, "absent", str(error)) for entry in run.company_properties()]


def _platform(run: Run) -> Removable:
    if not isinstance(run.platform, Removable):
        raise FixSetup(
            f"Nothing is installed on {run.platform.name}: its results are files beside the state, "
            "which you can simply delete."
        )
    return run.platform


def _ours(removal: Removal) -> list[str]:
    return [plan.name for plan in removal.plans if plan.action in ("archive", "by_hand")]


def _look(removal: Removal) -> None:
    """What there is to clear."""
    run, names = removal.run, _ours(removal)
    removal.contacts, of_contacts = _plan(run, run.mirror.ledger, names, run.mirror.live_contacts_sql)
    companies = "select company_id from store.companies where deleted_at is null and merged_into is null"
    removal.companies, of_companies = _plan(run, run.mirror.ledger.of("company"), names, companies)
    removal.values = of_contacts + of_companies


def _planned(ledger: Ledger) -> str:
    return f"{ledger.object}_cleared"


def _plan(run: Run, ledger: Ledger, names: list[str], live: str) -> tuple[int, int]:
    """Fill a temporary table with a clearing of every value of ours on the object's records; (records, values)."""
    connection, into = run.mirror.connection, _planned(ledger)
    listed = ", ".join(literal(name) for name in names)
    connection.execute(f"""
        create or replace temp table desired as
        select {ledger.key}, name as property, cast(null as varchar) as value
        from ({live}) live cross join (select unnest([{listed}]::varchar[]) as name)
    """)
    values = ledger.differences("desired", into=into)
    return count(connection, f"(select distinct {ledger.key} from {into})"), values
