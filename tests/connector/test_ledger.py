import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from connector.errors import Bug
from connector.mirror import Mirror
from connector.platform import Outcome, Write
from tests.connector import mirror_story
from tests.connector.mirror_story import plan_of
from tests.connector.mirrored import DAY, T0, commit, contact, fetch, opened, rows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with opened(tmp_path) as opened_mirror:
        ours = {"1": {"score": "5", "grade": "B"}, "2": {}, "3": {"score": "9", "theme": "é"}, "4": {"score": "1"}}
        gone = [{"object": "contact", "object_id": "4", "deleted_at": T0}]
        commit(opened_mirror, contacts=[contact(it, ours=values) for it, values in ours.items()], removals=gone)
        yield opened_mirror


def test_differences_are_what_does_not_stand_on_live_contacts(mirror: Mirror) -> None:
    mirror.connection.execute(
        """create temp table desired as select * from (values
            ('1', 'score', '5'), ('1', 'grade', 'A'), ('2', 'score', '7'), ('2', 'grade', null),
            ('3', 'score', ''),
            ('3', 'grade', ''), ('4', 'score', '8'), ('5', 'score', '8')) t(contact_id, property, value)"""
    )
    assert mirror.ledger.differences("desired", into="planned") == 3
    assert fetch(mirror, "select contact_id, property, value, value_before from planned order by all") == [
        ("1", "grade", "A", "B"),
        ("2", "score", "7", None),
        ("3", "score", None, "9"),
    ]


def test_batches_come_in_the_plans_order_and_leave_out_what_was_attempted(mirror: Mirror) -> None:
    values = {("3", "score"): "1", ("1", "score"): "2", ("3", "grade"): None, ("2", "score"): "3"}
    assert mirror.ledger.plan_writes("r", plan_of(values)) == 3
    batches = mirror.ledger.batches("r", 2)
    assert next(batches) == [Write("3", {"grade": None, "score": "1"}), Write("1", {"score": "2"})]
    mirror.ledger.attempt("r", ["3", "1"])
    assert list(batches) == [[Write("2", {"score": "3"})]]
    assert list(mirror.ledger.batches("r", 2)) == [[Write("2", {"score": "3"})]]
    assert mirror.ledger.attempted_unsettled("r") == {"3": {"grade": None, "score": "1"}, "1": {"score": "2"}}
    assert mirror.ledger.unattempted("r") == {"2": {"score": "3"}}


def test_a_run_writes_a_contact_as_often_as_it_changes(mirror: Mirror) -> None:
    ledger = mirror.ledger

    def plan(before: str, after: str) -> list[list[Write]]:
        start = ledger.next_place("r")
        rows = {"contact_id": ["1"], "property": ["score"], "value_after": [after], "value_before": [before]}
        ledger.plan_writes("r", pa.table(rows))
        return list(ledger.batches("r", 100, start))

    for before, after in (("5", "6"), ("6", "7"), ("7", "8")):
        assert plan(before, after) == [[Write("1", {"score": after})]]
        ledger.attempt("r", ["1"])
        assert ledger.attempted_unsettled("r") == {"1": {"score": after}}
        ledger.settle("r", [Outcome("1", "written")])
        assert ledger.open_runs() == []
        assert fetch(mirror, "select ours from store.contacts where contact_id = '1'") == [
            (f'{{"grade":"B","score":"{after}"}}',)
        ]
    plan("8", "9")
    ledger.attempt("r", ["1"])
    ledger.settle("r", [Outcome("1", "failed")])
    [row] = ledger.written("r").to_pylist()
    assert (row["value_before"], row["value_after"]) == ("5", "8")
    assert ledger.counts("r") == {"planned": 1, "written": 1, "failed": 1, "gone": 0, "open": 0, "values": 3}
    assert ledger.entries("r").num_rows == 4


def test_what_was_written_stands_on_the_contact_and_nothing_else_does(mirror: Mirror) -> None:
    values = {("1", "score"): "6", ("1", "grade"): None, ("2", "score"): "7", ("3", "score"): "8"}
    mirror.ledger.plan_writes("r", plan_of(values))
    mirror.ledger.attempt("r", ["1", "2", "3"])
    mirror.ledger.settle(
        "r",
        [
            Outcome("1", "written", T0 + DAY, "req-1"),
            Outcome("2", "failed", None, "req-1", "the portal's rule"),
            Outcome("3", "gone"),
        ],
    )
    assert fetch(
        mirror, "select ours, modified_at, written_at from store.contacts order by contact_id limit 3"
    ) == [
        ('{"score":"6"}', T0 + DAY, T0 + DAY),
        ("{}", T0, None),
        ('{"score":"9","theme":"é"}', T0, None),
    ]
    assert mirror.ledger.counts("r") == {
        "planned": 3,
        "written": 1,
        "failed": 1,
        "gone": 1,
        "open": 0,
        "values": 2,
    }
    entries = mirror.ledger.entries("r").select(["contact_id", "property", "state", "request_id", "error"])
    assert [tuple(row.values()) for row in entries.to_pylist()] == [
        ("1", "grade", "written", "req-1", None),
        ("1", "score", "written", "req-1", None),
        ("2", "score", "failed", "req-1", "the portal's rule"),
        ("3", "score", "gone", None, None),
    ]
    assert mirror.ledger.open_runs() == []
    assert mirror.ledger.counts("another") == dict.fromkeys(mirror.ledger.counts("r"), 0)


def test_merging_keeps_the_spelling_of_records(mirror: Mirror) -> None:
    mirror.ledger.plan_writes("r", plan_of({("3", "zeta"): "ö", ("3", "alpha"): "1", ("77", "alpha"): "1"}))
    mirror.ledger.settle("r", [Outcome("3", "written"), Outcome("77", "written")])
    assert fetch(mirror, "select ours, modified_at, written_at from store.contacts where contact_id = '3'") == [
        ('{"alpha":"1","score":"9","theme":"é","zeta":"ö"}', T0, None)
    ]


def test_an_open_run_is_settled_by_reading_back_and_dropping_the_rest(mirror: Mirror) -> None:
    ledger = mirror.ledger
    ledger.plan_writes("old", plan_of({("1", "score"): "6", ("2", "score"): "7", ("3", "score"): "8"}))
    ledger.plan_writes("older", plan_of({("1", "score"): "5"}))
    ledger.attempt("old", ["1", "2"])
    assert ledger.open_runs() == ["old", "older"]
    assert ledger.attempted_unsettled("old") == {"1": {"score": "6"}, "2": {"score": "7"}}
    ledger.settle("old", [Outcome("1", "written")])
    ledger.forget_attempts("old", ["1", "2"])
    assert ledger.unsettled("old") == {"2": {"score": "7"}, "3": {"score": "8"}}
    assert ledger.drop_unattempted("old") == 2
    assert ledger.drop_unattempted("older") == 1
    assert ledger.open_runs() == []
    assert ledger.entries("old")["contact_id"].to_pylist() == ["1"]


def company_plan(company_id: str, score: str) -> pa.Table:
    values = {"company_id": company_id, "property": "score", "value_after": score, "value_before": None}
    kinds = pa.schema([(name, pa.string()) for name in values])
    return pa.Table.from_pylist([values], schema=kinds)


def test_a_contact_and_a_company_of_one_id_are_told_apart(mirror: Mirror) -> None:
    firm = {"company_id": "1", "name": "Firm", "properties": "{}", "ours": "{}", "modified_at": T0}
    commit(mirror, companies=[firm])
    contacts, companies = mirror.ledger, mirror.ledger.of("company")
    contacts.plan_writes("r", plan_of({("1", "score"): "6"}))
    start = companies.next_place("r")
    assert companies.plan_writes("r", company_plan("1", "77")) == 1
    assert list(contacts.batches("r", 100)) == [[Write("1", {"score": "6"})]]
    assert list(companies.batches("r", 100, start)) == [[Write("1", {"score": "77"}, "company")]]
    companies.attempt("r", ["1"], start)
    assert contacts.attempted_unsettled("r") == {}
    assert companies.attempted_unsettled("r") == {"1": {"score": "77"}}
    with pytest.raises(Bug):
        companies.settle("r", [Outcome("1", "written")], start)
    companies.settle("r", [Outcome("1", "written", T0 + DAY, object="company")], start)
    assert fetch(mirror, "select ours, written_at from store.companies") == [('{"score":"77"}', T0 + DAY)]
    assert fetch(mirror, "select ours, written_at from store.contacts where contact_id = '1'") == [
        ('{"grade":"B","score":"5"}', None)
    ]
    assert contacts.unsettled("r") == {"1": {"score": "6"}}
    assert companies.unsettled("r") == {}
    assert contacts.written("r").num_rows == 0
    assert companies.written("r")["company_id"].to_pylist() == ["1"]
    assert (contacts.counts("r")["open"], companies.counts("r")["written"]) == (1, 1)
    assert contacts.drop_unattempted("r") == 1
    assert companies.size("r") == 1


def test_the_echo_of_our_own_write_on_a_company_is_no_news(mirror: Mirror) -> None:
    firm = {"company_id": "1", "name": "Firm", "properties": "{}", "ours": "{}", "modified_at": T0}
    commit(mirror, companies=[firm])
    companies = mirror.ledger.of("company")
    companies.plan_writes("r", company_plan("1", "77"))
    companies.settle("r", [Outcome("1", "written", T0 + DAY, object="company")])
    echo = {**firm, "ours": '{"score":"77"}', "modified_at": T0 + DAY}
    edited = {**echo, "ours": '{"score":"7"}'}
    for row, is_news in ((echo, False), (edited, True), ({**echo, "modified_at": T0 + 2 * DAY}, True)):
        fresh, echoes = mirror.known.split_echoes(rows("companies", [row]))
        assert (fresh.num_rows, echoes.num_rows) == (int(is_news), int(not is_news))
    known = rows("companies", [echo]).select(["company_id", "modified_at"])
    commit(mirror, T0 + DAY, echoes=known)
    assert fetch(mirror, "select read_modified_at from store.companies") == [(T0 + DAY,)]


def _kill(folder: Path, step: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.connector.mirror_story", str(folder), str(step)], check=False, cwd=ROOT
    )
    assert done.returncode == -signal.SIGKILL


def test_killed_anywhere_and_run_again_the_end_is_the_same(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    calm.mkdir()
    steps = mirror_story.run(calm)
    expected = mirror_story.state(calm)
    assert {len(expected[name]) for name in ("contacts", "events", "outcomes", "portal")} == {
        mirror_story.CONTACTS
    }
    assert {entry["writes"] for entry in expected["portal"].values()} == {1}
    # in the pull: before a commit, and inside its transaction; in the push: after the plan, after an attempt,
    # after the portal took the call, inside settling, after it, and the last step
    in_pull = 2 * mirror_story.PAGES
    for step in (3, 4, in_pull + 1, in_pull + 2, in_pull + 3, in_pull + 4, in_pull + 5, steps):
        folder = tmp_path / str(step)
        folder.mkdir()
        _kill(folder, step)
        mirror_story.run(folder)
        assert mirror_story.state(folder) == expected, f"killed at step {step} of {steps}"


def test_killed_while_recovering(tmp_path: Path) -> None:
    calm, folder = tmp_path / "calm", tmp_path / "killed"
    for place in (calm, folder):
        place.mkdir()
    mirror_story.run(calm)
    _kill(folder, 2 * mirror_story.PAGES + 3)
    _kill(folder, 2)
    _kill(folder, 3)
    mirror_story.run(folder)
    assert mirror_story.state(folder) == mirror_story.state(calm)


_CHECKPOINTS = """
import sys
from pathlib import Path
from tests.connector.mirrored import commit, contact, event, opened
mirror = opened(Path(sys.argv[1]))
mirror.connection.execute("set checkpoint_threshold = '1KB'")
start = (mirror.known.cursor("s") or {"page": 0})["page"]
for number in range(start, start + 1000):
    ids = [f"{number}-{place}" for place in range(20)]
    commit(mirror, contacts=[contact(it, {"a": "x" * 50}) for it in ids], events=[event(it, it) for it in ids],
           cursor={"page": number + 1})
    print(number, flush=True)
"""


def test_killed_while_the_file_is_checkpointed(tmp_path: Path) -> None:
    for lines in (3, 4):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHECKPOINTS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(lines)]
        child.kill()
        child.wait()
        child.stdout.close()
        with opened(tmp_path) as mirror:
            cursor = mirror.known.cursor("s")
            assert cursor is not None
            assert cursor["page"] > told[-1]
            counted = "select (select count(*) from store.contacts), (select count(*) from store.events)"
            assert fetch(mirror, counted) == [(cursor["page"] * 20, cursor["page"] * 20)]
