"""A pull and a push against a portal in a JSON file, which kills its own process at the n-th step.

`python -m tests.connector.mirror_story FOLDER N`. What is done twice must be told apart from what was not done:
the portal counts the writes of each contact.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector.mirror import Mirror
from connector.mirror.commit import PageCommit
from connector.mirror.ledger import Ledger
from connector.platform import Outcome, Write
from tests.connector.mirrored import DAY, T0, contact, event, opened, page

PAGES, CONTACTS, BATCH = 4, 12, 5


class Clockwork:
    """Counts steps, and kills at the one it is told; 0 never."""

    def __init__(self, kill_at: int) -> None:
        self.steps, self._kill_at = 0, kill_at

    def tick(self) -> None:
        self.steps += 1
        if self.steps == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def ticking(method: Callable[..., Any], clock: Clockwork) -> Callable[..., Any]:
    def both(*given: Any, **named: Any) -> Any:
        clock.tick()
        return method(*given, **named)

    return both


def run(folder: Path, kill_at: int = 0) -> int:
    """The whole job, from wherever an earlier run of it was stopped; how many steps it had."""
    clock = Clockwork(kill_at)
    inside = {(PageCommit, "_cursor"): PageCommit._cursor, (Ledger, "_merge_ours"): Ledger._merge_ours}
    for (owner, name), method in inside.items():
        setattr(owner, name, ticking(method, clock))
    try:
        with opened(folder) as mirror:
            _recover(mirror, folder, clock)
            _pull(mirror, clock)
            _push(mirror, folder, clock)
    finally:
        for (owner, name), method in inside.items():
            setattr(owner, name, method)
    return clock.steps


def _portal(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "portal.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _write(folder: Path, batch: list[Write]) -> list[Outcome]:
    portal = _portal(folder)
    for write in batch:
        entry = portal.setdefault(write.record_id, {"writes": 0, "values": {}})
        entry["writes"] += 1
        entry["values"] |= write.values
    (folder / "portal.new").write_text(json.dumps(portal, sort_keys=True))
    (folder / "portal.new").replace(folder / "portal.json")
    return [Outcome(write.record_id, "written", T0 + 2 * DAY) for write in batch]


def _pull(mirror: Mirror, clock: Clockwork) -> None:
    done = mirror.known.cursor("contacts") or {"page": 0}
    for number in range(int(done["page"]), PAGES):
        clock.tick()
        ids = [str(number * 3 + place) for place in range(3)]
        shown = page(
            "contacts",
            {"page": number + 1},
            contacts=[contact(it, {"a": f"at {number}"}) for it in ids],
            events=[event(f"e{it}", it) for it in ids],
        )
        mirror.commit(shown, run_id="pull", observed_at=T0)


def _push(mirror: Mirror, folder: Path, clock: Clockwork) -> None:
    mirror.connection.execute(
        f"""create or replace temp table desired as
        select contact_id, property, case when property = 'score' then contact_id end as value
        from ({mirror.live_contacts_sql}) cross join (values ('score'), ('grade')) named(property)
        union all select contact_id, 'model', 'v1' from ({mirror.live_contacts_sql})"""
    )
    mirror.ledger.differences("desired", into="planned")
    plan = mirror.connection.sql("select * from planned order by contact_id").to_arrow_table()
    run_id = mirror.begin_run("push")
    mirror.ledger.plan_writes(run_id, plan)
    clock.tick()
    for batch in mirror.ledger.batches(run_id, BATCH):
        mirror.ledger.attempt(run_id, [write.record_id for write in batch])
        clock.tick()
        outcomes = _write(folder, batch)
        clock.tick()
        mirror.ledger.settle(run_id, outcomes)
        clock.tick()
    mirror.end_run(run_id, "done", {})


def _recover(mirror: Mirror, folder: Path, clock: Clockwork) -> None:
    portal = _portal(folder)
    for run_id in mirror.ledger.open_runs():
        clock.tick()
        tried = mirror.ledger.attempted_unsettled(run_id)
        there = [it for it, values in tried.items() if portal.get(it, {}).get("values") == values]
        mirror.ledger.settle(run_id, [Outcome(it, "written", T0 + 2 * DAY) for it in there])
        clock.tick()
        mirror.ledger.forget_attempts(run_id, sorted(set(tried) - set(there)))
        mirror.ledger.drop_unattempted(run_id)


def state(folder: Path) -> dict[str, Any]:
    """All that must be equal, killed or not: everything but run ids and our clock."""
    with opened(folder) as mirror:
        tables = {
            "contacts": "select contact_id, properties, ours, modified_at, written_at from store.contacts",
            "events": "select * from store.events",
            "history": "select * from property_history",
            "cursors": "select stream, cursor from store.cursors",
            "news": "select distinct contact_id from store.news",
            "writes": "select object_id, property, value_before, value_after from store.writes",
            "outcomes": "select object_id, state, modified_at from store.outcomes",
        }
        found: dict[str, Any] = {
            name: mirror.connection.execute(f"{query} order by all").fetchall() for name, query in tables.items()
        }
        found["open"] = mirror.ledger.open_runs()
    return {**found, "portal": _portal(folder)}


def plan_of(values: dict[tuple[str, str], str | None]) -> pa.Table:
    """A plan's table."""
    return pa.table(
        {
            "contact_id": [contact_id for contact_id, _ in values],
            "property": [name for _, name in values],
            "value_after": pa.array(list(values.values()), pa.string()),
            "value_before": pa.nulls(len(values), pa.string()),
        }
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
