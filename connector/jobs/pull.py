"""Pull: bring the mirror up to date with the platform, page by page."""

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connector.errors import BudgetSpent, LeadlightError
from connector.jobs import lists
from connector.jobs.eligibility import needed_lists, needed_properties
from connector.jobs.retention import trim
from connector.jobs.run import Run, declared_goals
from connector.platform import Page, PullRequest, Rationed, StreamOff


@dataclass
class Pulled:
    """Rows written to the mirror by table, and the streams that could not be read."""

    rows: Counter[str] = field(default_factory=Counter)
    streams_off: list[StreamOff] = field(default_factory=list)
    #: What the retention setting did; None without one.
    retention: dict[str, Any] | None = None
    #: Lists that filters name and whose members are not known, each with the setting; what to do about them.
    lists_unread: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def streams_off_json(self) -> list[dict[str, str]]:
        return [{"stream": off.stream, "scope": off.scope, "why": off.why} for off in self.streams_off]


def pull(run: Run, *, full: bool = False, light: bool = False) -> Pulled:
    """Read what is new since the cursors. Each page and its cursor are committed together, so a pull that is
    stopped anywhere goes on at the page it was at. `light` as in `PullRequest`. A list of a filter that cannot be
    read stops nothing here: whoever trains or writes by it refuses (`lists.require`)."""
    pulled = Pulled()
    done: Counter[str] = Counter()
    #: Contacts with events that nobody has looked at; kept where a pull is stopped within a longer run.
    unweighed: set[str] = run.kept.setdefault("unweighed", set())
    last: Page | None = None
    try:
        for page in run.platform.pull(run.mirror.known, request(run, full=full, light=light)):
            if isinstance(page, StreamOff):
                pulled.streams_off.append(page)
                continue
            written = run.mirror.commit(page, run_id=run.id, observed_at=datetime.now(UTC).replace(tzinfo=None))
            pulled.rows.update(written)
            if written.get("events") and "events" in page.rows:
                unweighed.update(one for one in page.rows["events"]["contact_id"].to_pylist() if one is not None)
            done[page.stream] += sum(table.num_rows for name, table in page.rows.items() if name not in _BESIDE)
            run.progress(f"Reading {page.stream}", done[page.stream], page.total)
            last = page
            run.pause()
    except LeadlightError as trouble:
        # an order that comes next ends a poll's run, and the next one does not know of them
        if light and unweighed:
            run.mirror.weigh_events(sorted(unweighed))
            unweighed.clear()
        if isinstance(trouble, BudgetSpent):
            raise _stopped(run, trouble, last) from trouble
        raise
    pulled.lists_unread = lists.unread(run)
    pulled.notes += [lists.why(run, *one) for one in pulled.lists_unread.items()]
    pulled.retention = trim(run)
    # A run that was killed may have brought events that nobody has looked at.
    killed = not run.kept.get("weighed") and bool(run.mirror.unfinished())
    if pulled.rows.get("events") or unweighed or killed:
        run.progress("Telling machines from people", 0, None)
        run.mirror.weigh_events(sorted(unweighed) if light and not killed else None)
        unweighed.clear()
        run.kept["weighed"] = run.kept.get("weighed") or killed
    return pulled


def _stopped(run: Run, spent: BudgetSpent, last: Page | None) -> BudgetSpent:
    """The same, saying where reading goes on and, of the contacts, on how many more days."""
    if last is None:
        return spent
    where = f"Reading stopped in {last.stream} and goes on there with the next run."
    budget: dict[str, Any] = {"reading": last.stream}
    [(known,)] = run.mirror.connection.execute("select count(*) from store.contacts").fetchall()
    if last.total is not None and last.total > known > 0 and isinstance(run.platform, Rationed):
        calls = max(1, sum(run.calls().values()))
        # what a call brought so far, for a day's calls
        days = math.ceil((last.total - known) * calls / known / max(1, run.platform.allowance().a_day))
        budget |= {"read": known, "total": last.total, "days": days}
        where = (
            f"{known:,} of {last.total:,} {last.stream} are read; the next run goes on there and they take about "
            f"{days:,} more day(s), the streams after them not counted."
        )
    return BudgetSpent(f"{spent} {where}", spent.resume_at, budget)


#: Tables that come along with a stream's own rows.
_BESIDE = {"contact_addresses", "property_history", "deal_contacts", "consents", "property_definitions", "rejects"}


def ensure_pulled(run: Run) -> Pulled | None:
    """Pull where that is free (files) or where nothing was ever pulled. Raises FixSetup for a list that a filter
    names and that could not be read."""
    pulled = pull(run) if run.platform.name == "files" or not run.mirror.has_contacts() else None
    lists.require(run)
    return pulled


def request(run: Run, *, full: bool = False, light: bool = False) -> PullRequest:
    """What the goals and the manifest ask of a pull."""
    given: list[Any] = list(declared_goals(run.settings).values())
    columns = tuple(str(goal["column"]) for goal in given if goal.get("column") is not None)
    if run.platform.name != "files":
        # Files are always read whole, and a goal column of theirs stays a text.
        columns = tuple(dict.fromkeys([*columns, *needed_properties(run.settings)]))
    return PullRequest(
        history=any(goal.get("event") is not None for goal in given) or not given,
        goal_columns=columns,
        full=full,
        ours=run.our_names(),
        company_ours=tuple(entry.name for entry in run.company_properties()),
        lists=tuple(needed_lists(run.settings)),
        light=light,
    )
