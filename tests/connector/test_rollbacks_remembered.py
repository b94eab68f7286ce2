"""What the mirror remembers of rollbacks and of plans that await approval."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from connector.mirror import Mirror
from connector.platform import Outcome
from tests.connector.mirrored import commit, contact, fetch, opened


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with opened(tmp_path) as opened_mirror:
        commit(opened_mirror, contacts=[contact(it) for it in "123"])
        yield opened_mirror


def plan(**values: str) -> pa.Table:
    """Writes of score and scored_at: contact -> score, as c1="7"."""
    rows = [
        {"contact_id": it[1:], "property": name, "value_before": None, "value_after": value}
        | {"predictor": "lead_score" if name == "score" else None, "model": "m1" if name == "score" else None}
        | {"reason": None}
        for it, score in values.items()
        for name, value in (("score", score), ("scored_at", "2026-11-23T08:00:00Z"))
    ]
    names = ("contact_id", "property", "value_before", "value_after", "predictor", "model", "reason")
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names]))


def wrote(mirror: Mirror, command: str, states: str, **values: str) -> str:
    """A run that wrote these; the contacts' outcomes by their first letters."""
    run_id = mirror.begin_run(command)
    mirror.ledger.plan_writes(run_id, plan(**values))
    ids = [it[1:] for it in values]
    mirror.ledger.attempt(run_id, ids)
    kinds = {"w": "written", "f": "failed", "g": "gone"}
    outcomes = [Outcome(it, kinds[state]) for it, state in zip(ids, states, strict=True)]  # type: ignore[arg-type]
    mirror.ledger.settle(run_id, outcomes)
    return run_id


def test_a_hold_ends_with_its_model_and_only_what_was_written_is_held(mirror: Mirror) -> None:
    synced = wrote(mirror, "sync", "wwf", c1="7", c2="8", c3="9")
    back = mirror.begin_run("rollback")
    assert mirror.rollbacks.hold(back, synced) == 2
    assert mirror.rollbacks.hold(back, synced) == 2
    assert fetch(mirror, "select object_id, predictor, model from store.holds order by 1") == [
        ("1", "lead_score", "m1"),
        ("2", "lead_score", "m1"),
    ]
    assert mirror.rollbacks.held({"lead_score": "m1", "segments": "s9"}) == 2
    assert mirror.rollbacks.held({"segments": "s9"}) == 2
    assert mirror.rollbacks.held({"lead_score": "m2"}) == 0
    assert mirror.rollbacks.hold(back, synced) == 2
    assert mirror.rollbacks.release("another") == 0
    assert mirror.rollbacks.release(back) == 2


def test_an_unfinished_rollback_is_taken_over_and_a_finished_one_is_not(mirror: Mirror) -> None:
    synced = wrote(mirror, "sync", "www", c1="7", c2="8", c3="9")
    killed = wrote(mirror, "rollback", "wf", c1="1", c2="2")
    mirror.rollbacks.begin(killed, synced)
    mirror.rollbacks.hold(killed, synced)
    again = mirror.begin_run("rollback")
    # the failed contact is looked at again
    assert mirror.rollbacks.begin(again, synced) == 1
    assert mirror.ledger.counts(again)["written"] == 1
    assert mirror.ledger.counts(killed)["planned"] == 0
    assert mirror.rollbacks.by_run() == {synced: again}
    assert mirror.rollbacks.release(again) == 3
    mirror.end_run(again, "done", {})
    assert mirror.rollbacks.begin(mirror.begin_run("rollback"), synced) == 0
    assert mirror.rollbacks.of_run(again) == synced
    assert mirror.rollbacks.of_run(synced) is None


def test_a_value_of_a_later_run_is_known(mirror: Mirror) -> None:
    synced = wrote(mirror, "sync", "w", c1="7")
    mirror.connection.execute("update store.writes set run_id = '20200101' where run_id = ?", [synced])
    mirror.connection.execute("update store.outcomes set run_id = '20200101' where run_id = ?", [synced])
    later = wrote(mirror, "sync", "w", c1="8")
    found = mirror.rollbacks.later_writers(
        "20200101", [("1", "score", "8"), ("2", "score", "8"), ("1", "x", None)]
    )
    assert found.to_pylist() == [{"object_id": "1", "property": "score", "later_run": later}]


def test_a_plan_is_named_by_what_it_would_write(mirror: Mirror) -> None:
    name = mirror.plans.save("r1", plan(c1="7", c2="8"))
    assert mirror.plans.save("r2", plan(c2="8", c1="7")) == name
    assert mirror.plans.save("r3", plan(c1="7", c2="9")) != name
    known = {row["plan"]: row for row in mirror.plans.known()}
    assert len(known) == 2
    assert (known[name]["run_id"], known[name]["contacts"], known[name]["value_count"]) == ("r1", 2, 4)
    assert mirror.plans.writes(name).equals(plan(c1="7", c2="8"))
    mirror.plans.settle(name, "void", "r4")
    assert mirror.plans.save("r5", plan(c1="7", c2="8")) == name
    assert {row["plan"]: row["status"] for row in mirror.plans.known()}[name] == "open"


def test_the_audit_log_keeps_who_ran_what(mirror: Mirror) -> None:
    first = mirror.begin_run("sync", who="ana")
    second = mirror.begin_run("rollback", who="ben", subject=first)
    newest = mirror.audit(1)
    assert [(row["who"], row["command"], row["subject"], row["run_id"]) for row in newest] == [
        ("ben", "rollback", first, second)
    ]


def test_undoing_a_rollback_ends_the_holds_of_all_rollbacks_of_that_run(mirror: Mirror) -> None:
    """The second one found everything put back, and held it all the same."""
    synced, other = wrote(mirror, "sync", "ww", c1="7", c2="8"), wrote(mirror, "sync", "w", c3="9")
    for of_run in (synced, synced, other):
        back = mirror.begin_run("rollback")
        mirror.rollbacks.begin(back, of_run)
        mirror.rollbacks.hold(back, of_run)
        mirror.end_run(back, "done", {})
    mirror.rollbacks.release_of(synced)
    assert fetch(mirror, "select object_id from store.holds") == [("3",)]
