import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from connector.errors import Bug, StateMismatch, TryLater
from connector.mirror import Mirror, schema
from connector.platform import Account
from scoring.tables import TABLES
from tests.connector.mirrored import (
    ACCOUNT,
    DAY,
    T0,
    commit,
    contact,
    definition,
    event,
    fetch,
    forget_news,
    news,
    opened,
    page,
)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with opened(tmp_path) as opened_mirror:
        yield opened_mirror


def test_folder_and_files_are_for_the_owner_only(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1")])
    assert stat.S_IMODE(mirror.folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in mirror.folder.iterdir() if path.is_file()}
    assert {"mirror.duckdb", "owner.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_a_folder_in_use_names_its_holder(mirror: Mirror) -> None:
    with pytest.raises(StateMismatch, match=rf"process {os.getpid()} \(test, since 20"):
        Mirror.open(mirror.folder, ACCOUNT, command="sync")
    assert json.loads((mirror.folder / "owner.lock").read_text())["command"] == "test"


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    opened(tmp_path).close()
    folder = tmp_path / "hubspot-4711"
    code = (
        "import os, signal; from pathlib import Path; from connector.owner_lock import OwnerLock; "
        f"OwnerLock(Path({str(folder)!r}), 'pull'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    assert "pull" in (folder / "owner.lock").read_text()
    with opened(tmp_path) as mirror:
        assert mirror.has_contacts() is False


def test_another_account_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    folder = tmp_path / "hubspot-4711"
    with pytest.raises(StateMismatch, match="belongs to hubspot account 4711") as refused:
        Mirror.open(folder, Account("hubspot", "815"))
    assert refused.value.exit_code == 2
    with pytest.raises(StateMismatch, match="salesforce account 4711"):
        Mirror.open(folder, Account("salesforce", "4711"))
    opened(tmp_path).close()


def test_a_newer_state_is_refused_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    further = (*schema.MIGRATIONS, ("create table store.later (x integer)",))
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", further)
        opened(tmp_path).close()
    with pytest.raises(
        StateMismatch, match=f"state version {len(further)}, this program knows {len(further) - 1}"
    ):
        opened(tmp_path)


def test_a_migration_that_fails_leaves_the_former_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as mirror:
        commit(mirror, contacts=[contact("1")])
    broken = (*schema.MIGRATIONS, ("create table store.later (x integer)", "select nonsense"))
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", broken)
        with pytest.raises(Exception, match="nonsense"):
            opened(tmp_path)
    with opened(tmp_path) as mirror:
        assert mirror.has_contacts()
        assert schema.version(mirror.connection) == len(schema.MIGRATIONS)
        assert fetch(mirror, "select table_name from duckdb_tables() where table_name = 'later'") == []


def test_what_a_former_state_wrote_was_written_on_contacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = next(
        n for n, step in enumerate(schema.MIGRATIONS) if any("object_id" in sql for sql in step[:1]) and n
    )
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:before])
        with opened(tmp_path) as mirror:
            run = "insert into store.{} (run_id, contact_id, position{}) values ('r', '1', 0{})"
            mirror.connection.execute(run.format("writes", ", property, value_after", ", 'score', '5'"))
            mirror.connection.execute(run.format("outcomes", ", state", ", 'written'"))
            mirror.connection.execute(
                "insert into store.holds values ('1', 'lead_score', 'v', 'r', now()::timestamp)"
            )
    with opened(tmp_path) as mirror:
        [row] = mirror.ledger.written("r").to_pylist()
        assert (row["contact_id"], row["property"], row["value_after"]) == ("1", "score", "5")
        assert mirror.ledger.of("company").written("r").num_rows == 0
        assert fetch(mirror, "select object, object_id from store.holds") == [("contact", "1")]


def test_storage_has_a_place_for_every_canonical_column(mirror: Mirror) -> None:
    for table, columns in TABLES.items():
        stored = {row[0]: row[1] for row in fetch(mirror, f"describe store.{table}")}
        assert {column.name: stored.get(column.name) for column in columns} == {
            column.name: column.type for column in columns
        }, table


def test_read_only_reads_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "hubspot-4711"
    with pytest.raises(StateMismatch, match="no state"):
        Mirror.open(folder, ACCOUNT, read_only=True)
    assert not folder.exists()
    with opened(tmp_path) as mirror:
        commit(mirror, contacts=[contact("1")])
    with Mirror.open(folder, ACCOUNT, read_only=True) as mirror:
        assert mirror.engine().fetch("select contact_id from contacts").to_pylist() == [{"contact_id": "1"}]
        with pytest.raises(Exception, match="read-only"):
            commit(mirror, contacts=[contact("2")])


def test_rows_and_cursor_are_committed_together_or_not_at_all(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1")], stream="contacts", cursor={"after": "1"})
    with pytest.raises(Bug, match="stream contacts has a row without its id"):
        commit(
            mirror,
            contacts=[contact("2")],
            events=[event("e1", "2"), {"event_id": None, "occurred_at": T0}, event("e2", "2")],
            stream="contacts",
            cursor={"after": "2"},
        )
    assert mirror.known.cursor("contacts") == {"after": "1"}
    assert fetch(mirror, "select contact_id from contacts") == [("1",)]
    assert fetch(mirror, "select count(*) from events") == [(0,)]
    assert mirror.known.cursor("deals") is None


def test_a_page_with_unknown_tables_or_columns_is_a_bug(mirror: Mirror) -> None:
    with pytest.raises(Bug, match="'contact'"):
        commit(mirror, whole=("contact",))
    with pytest.raises(Bug, match="replaces events"):
        commit(mirror, replaces={"events": ["1"]})
    odd = page()
    wrong = type(odd)("s", {"events": pa.table({"event_id": ["1"], "when": ["x"]})})
    with pytest.raises(Bug, match=r"events\.when"):
        mirror.commit(wrong, run_id="run", observed_at=T0)


def test_equal_rows_are_neither_written_nor_news(mirror: Mirror) -> None:
    given = {
        "contacts": [contact("1", {"a": "x"}), contact("2"), contact("3")],
        "events": [event("e1", "1"), event("e2", "2"), event("e3", "3")],
        "consents": [{"contact_id": "1", "channel": "email", "purpose": "marketing", "status": "granted"}],
        "deals": [{"deal_id": "d", "amount": 5.0, "modified_at": T0}],
        "deal_contacts": [{"deal_id": "d", "contact_id": "2"}],
        "property_definitions": [definition("a", "text")],
        "property_history": [
            {
                "object": "contact",
                "object_id": "1",
                "property": "a",
                "value": "x",
                "changed_at": T0,
                "source": "UI",
            }
        ],
        "replaces": {"consents": ["1", "2"], "deal_contacts": ["d"]},
    }
    first = commit(mirror, **given)
    assert first == {
        "contacts": 3,
        "events": 3,
        "consents": 1,
        "deals": 1,
        "deal_contacts": 1,
        "property_definitions": 1,
        "property_history": 1,
    }
    forget_news(mirror)
    assert commit(mirror, T0 + DAY, **given) == {}
    assert mirror.news() == 0


def test_the_last_of_two_rows_with_one_id_stays(mirror: Mirror) -> None:
    twice = [contact("1", {"a": "old"}), contact("2"), contact("1", {"a": "new"})]
    assert commit(mirror, contacts=twice) == {"contacts": 2}
    assert fetch(mirror, "select properties from store.contacts order by contact_id") == [
        ('{"a":"new"}',),
        ("{}",),
    ]


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        ({"contacts": [contact("2", {"a": "y"}, T0 + DAY)]}, ["2"]),
        ({"contacts": [contact("2", {"a": "x"}, T0 + DAY)]}, []),
        ({"contacts": [contact("2", {"a": "x"}, T0 + DAY, ours={"leadlight_score": "5"})]}, []),
        ({"contacts": [contact("2", {"a": "x"}, T0 + DAY, company_id="c")]}, ["2"]),
        ({"events": [event("e1", "3"), event("e9", "1")]}, ["1"]),
        ({"events": [event("e1", "1")]}, ["1", "3"]),
        ({"purchases": [{"purchase_id": "p", "contact_id": "2", "amount": 3.0}]}, ["2"]),
        ({"companies": [{"company_id": "firm", "name": "Firm Ltd"}]}, ["3"]),
        ({"deals": [{"deal_id": "d", "amount": 7.0, "modified_at": T0 + DAY}]}, ["1"]),
        (
            {"deal_contacts": [{"deal_id": "d", "contact_id": "2"}], "replaces": {"deal_contacts": ["d"]}},
            ["1", "2"],
        ),
        ({"replaces": {"deal_contacts": ["d"]}}, ["1"]),
        ({"consents": [{"contact_id": "3", "channel": "email", "status": "denied"}]}, ["3"]),
        ({"removals": [{"object": "contact", "object_id": "1", "deleted_at": T0}]}, ["1"]),
        ({"removals": [{"object": "contact", "object_id": "1", "merged_into": "2"}]}, ["1", "2"]),
        ({"removals": [{"object": "deal", "object_id": "d"}]}, ["1"]),
        ({"campaigns": [{"campaign_id": "k", "name": "Spring"}]}, []),
        ({"property_definitions": [definition("a", "number")]}, []),
        ({"events": [], "whole": ("events",)}, ["3"]),
    ],
)
def test_news_are_the_contacts_that_a_change_concerns(
    mirror: Mirror, change: dict[str, object], concerned: list[str]
) -> None:
    commit(
        mirror,
        contacts=[contact("1"), contact("2", {"a": "x"}), contact("3", company_id="firm")],
        companies=[{"company_id": "firm", "name": "Firm"}],
        events=[event("e1", "3")],
        deals=[{"deal_id": "d", "amount": 5.0, "modified_at": T0}],
        deal_contacts=[{"deal_id": "d", "contact_id": "1"}],
        replaces={"deal_contacts": ["d"]},
    )
    assert news(mirror) == ["1", "2", "3"]
    forget_news(mirror)
    commit(mirror, T0 + DAY, **change)
    assert news(mirror) == concerned


def test_news_that_came_after_the_engine_stay(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1"), contact("2"), contact("3")])
    mirror.engine()
    commit(mirror, events=[event("e", "2")])
    values = pa.table({"contact_id": ["1", "2"], "leadlight_score": ["10", "20"]})
    mirror.save_predictions("run", T0, {"lead_score": "v1"}, values, whole=True)
    assert news(mirror) == ["2"]
    mirror.engine()
    again = pa.table({"contact_id": ["2"], "leadlight_score": ["30"]})
    mirror.save_predictions("run", T0, {"lead_score": "v1"}, again)
    assert mirror.news() == 0
    assert mirror.predictions().to_pylist() == [
        {"contact_id": "1", "leadlight_score": "10"},
        {"contact_id": "2", "leadlight_score": "30"},
    ]


def test_what_a_job_beside_has_read_meanwhile_is_left_to_it(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1"), contact("2"), contact("3")])
    values = pa.table({"contact_id": ["1", "2", "3"], "leadlight_score": ["1", "2", "3"]})
    mirror.save_predictions("before", T0, {}, values, whole=True)
    commit(mirror, T0 + 2 * DAY, contacts=[contact("2", {"a": "new"}), contact("3", {"a": "new"})])
    mirror.connection.execute("create temp table two as select unnest(['2', '3']) as contact_id")
    beside = pa.table({"contact_id": ["2"], "leadlight_score": ["20"]})
    mirror.save_predictions("beside", T0, {}, beside, among="two")
    stale = pa.table({"contact_id": ["1", "2", "3"], "leadlight_score": ["10", "12", "13"]})
    mirror.save_predictions("run", T0, {}, stale, whole=True, since=T0 + DAY)
    assert mirror.predictions().to_pylist() == [
        {"contact_id": "1", "leadlight_score": "10"},
        {"contact_id": "2", "leadlight_score": "20"},
    ]


def test_a_contact_on_the_news_that_got_no_value_loses_its_former_one(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1"), contact("2"), contact("3")])
    mirror.engine()
    assert mirror.scored_day() is None
    values = pa.table({"contact_id": ["1", "2"], "leadlight_score": ["10", None], "leadlight_grade": ["A", "B"]})
    mirror.save_predictions("run", T0, {"lead_score": "v1"}, values, whole=True)
    assert mirror.scored_day() == (T0.date(), {"lead_score": "v1"})
    commit(mirror, events=[event("e", "1")])
    mirror.engine()
    mirror.news_table()
    none = values.slice(0, 0)
    mirror.save_predictions("run", T0 + DAY, {"lead_score": "v1"}, none)
    assert mirror.predictions().to_pylist() == [
        {"contact_id": "2", "leadlight_grade": "B", "leadlight_score": None}
    ]
    assert mirror.scored_day() == (T0.date(), {"lead_score": "v1"})
    assert mirror.news() == 0


def test_an_events_row_is_found_again_where_it_moved_to(mirror: Mirror) -> None:
    first = [event("e1", "1"), event("m1", "1", T0 + DAY, kind="meeting", ingested_at=T0), event("e2", "2")]
    commit(mirror, events=first)
    moved = event("m1", "1", T0 + 40 * DAY, kind="meeting", ingested_at=T0 + 5 * DAY)
    assert commit(mirror, events=[moved]) == {"events": 1}
    when = (T0 + 40 * DAY).replace(microsecond=0)
    assert fetch(mirror, "select occurred_at, ingested_at from events where event_id = 'm1'") == [
        (when, T0.replace(microsecond=0))
    ]
    assert fetch(mirror, "select count(*) from events") == [(3,)]


def test_children_are_replaced_by_parent(mirror: Mirror) -> None:
    def items(purchase: str, *products: str) -> list[dict[str, object]]:
        return [{"purchase_id": purchase, "product_id": product, "quantity": 1.0} for product in products]

    parents = {"purchase_items": ["p1", "p2"]}
    commit(mirror, purchase_items=items("p1", "a", "a", "b") + items("p2", "c"), replaces=parents)
    changed = items("p1", "a", "b") + items("p2", "c")
    assert commit(mirror, purchase_items=changed, replaces=parents) == {"purchase_items": 1}
    assert commit(mirror, purchase_items=items("p3", "z")) == {"purchase_items": 1}
    found = fetch(mirror, "select purchase_id, product_id from purchase_items order by all")
    assert found == [("p1", "a"), ("p1", "b"), ("p2", "c"), ("p3", "z")]
    assert commit(mirror, replaces={"purchase_items": ["p2"]}) == {"purchase_items": 1}
    beside = {"contact_id": "1", "channel": "email", "purpose": "marketing"}
    commit(mirror, consents=[{**beside, "status": "granted"}, {**beside, "channel": "sms", "status": "granted"}])
    commit(mirror, consents=[{**beside, "status": "denied"}])
    assert fetch(mirror, "select channel, status from consents order by channel") == [
        ("email", "denied"),
        ("sms", "granted"),
    ]


def test_a_whole_table_loses_what_the_page_lacks(mirror: Mirror) -> None:
    contacts = [contact(str(number), {"a": "x"}) for number in (1, 2, 3)]
    events = [event(f"e{number}", str(number)) for number in (1, 2, 3)]
    everything = ("contacts", "events", "purchases")
    commit(mirror, contacts=contacts, events=events, whole=everything)
    forget_news(mirror)
    assert commit(mirror, T0 + DAY, contacts=contacts, events=events, whole=everything) == {}
    written = commit(mirror, T0 + DAY, contacts=contacts[::2], events=events[:2], whole=everything)
    assert written == {"contacts": 1, "events": 1}
    assert news(mirror) == ["2", "3"]
    assert fetch(mirror, "select contact_id from contacts where deleted_at is not null") == [("2",)]
    assert fetch(mirror, "select event_id from events order by event_id") == [("e1",), ("e2",)]
    commit(mirror, T0 + DAY, contacts=contacts, events=events, whole=everything)
    assert fetch(mirror, "select count(*) from contacts where deleted_at is null") == [(3,)]


def test_removed_records_stay_readable_and_a_stale_index_does_not_bring_them_back(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1"), contact("2"), contact("3")])
    gone = [
        {"object": "contact", "object_id": "1", "deleted_at": T0 + DAY},
        {"object": "contact", "object_id": "2", "merged_into": "3"},
        {"object": "contact", "object_id": "99"},
    ]
    assert commit(mirror, T0 + DAY, removals=gone) == {"removals": 2}
    assert commit(mirror, T0 + DAY, removals=gone) == {}
    assert commit(mirror, T0 + DAY, contacts=[contact("1", {"a": "late"})]) == {}
    deleted = (T0 + DAY).replace(microsecond=0)
    assert fetch(mirror, "select contact_id, deleted_at, merged_into from contacts order by contact_id") == [
        ("1", deleted, None),
        ("2", None, "3"),
        ("3", None, None),
    ]
    assert commit(mirror, T0 + 2 * DAY, contacts=[contact("1", at=T0 + 2 * DAY)]) == {"contacts": 1}
    assert fetch(mirror, "select deleted_at from contacts where contact_id = '1'") == [(None,)]


def test_what_a_merged_contact_did_is_its_last_winners(mirror: Mirror) -> None:
    bought = [{"purchase_id": "p1", "contact_id": "1", "purchased_at": T0}]
    on = [{"deal_id": "d", "contact_id": one} for one in ("1", "2")]
    commit(
        mirror,
        contacts=[contact("1"), contact("2"), contact("3")],
        events=[event("e1", "1"), event("e2", "2")],
        purchases=bought,
        deal_contacts=on,
    )
    fetch(mirror, "insert into store.machine_made values ('e1', '1', 0.5)")
    forget_news(mirror)
    commit(mirror, removals=[{"object": "contact", "object_id": "2", "merged_into": "3"}])
    commit(mirror, removals=[{"object": "contact", "object_id": "1", "merged_into": "2"}])
    assert fetch(mirror, "select event_id, contact_id from events order by event_id") == [("e1", "3"), ("e2", "3")]
    assert fetch(mirror, "select contact_id from purchases") == [("3",)]
    assert fetch(mirror, "select contact_id from store.machine_made") == [("3",)]
    assert fetch(mirror, "select deal_id, contact_id from deal_contacts") == [("d", "3")]
    assert "3" in news(mirror)


def test_a_second_job_beside_shares_what_is_committed_and_no_temporary_table(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1")])
    mirror.engine().run("create or replace temp table mine as select 1 as one")
    beside = mirror.beside()
    assert beside.is_beside
    assert not mirror.is_beside
    run = beside.begin_run("rescore")
    beside.commit(page(contacts=[contact("1", {"a": "x"}, at=T0 + DAY)]), run_id=run, observed_at=T0 + DAY)
    beside.engine().run("create or replace temp table mine as select 2 as one")
    assert fetch(mirror, "select one from mine") == [(1,)]
    assert mirror.unfinished() == []
    # news that came beside stays, though the engine of the first job was taken before
    nobody = pa.table({"contact_id": pa.array([], pa.string())})
    mirror.save_predictions("r", T0, {}, nobody, whole=True)
    assert news(mirror) == ["1"]
    beside.end_run(run, "done", {})
    beside.close()


def test_an_older_reading_does_not_undo_a_newer_one_until_an_hour_has_passed(mirror: Mirror) -> None:
    commit(mirror, T0 + DAY, contacts=[contact("1", {"a": "new"}, T0 + DAY)])
    assert commit(mirror, T0 + DAY, contacts=[contact("1", {"a": "old"}, T0)]) == {}
    assert commit(mirror, T0 + 2 * DAY, contacts=[contact("1", {"a": "old"}, T0)]) == {"contacts": 1}


def test_runs_are_kept_and_those_that_never_ended_are_told(tmp_path: Path) -> None:
    with opened(tmp_path) as mirror:
        lost = mirror.begin_run("sync", as_of=T0)
        done = mirror.begin_run("pull")
        mirror.end_run(done, "done", {"pulled": {"contacts": 3}})
    with opened(tmp_path) as mirror:
        mirror.begin_run("sync")
        assert mirror.unfinished() == [lost]
        last = mirror.last_run("pull")
        assert last is not None
        assert (last["run_id"], last["status"], last["result"]) == (done, "done", {"pulled": {"contacts": 3}})
        assert mirror.last_run("score") is None
        rejected = [{"record": "leads.csv:7", "field": "created_at", "reason": "no time"}]
        assert commit(mirror, rejects=rejected) == {"rejects": 1}
        assert mirror.rejects("run").to_pylist() == [{"stream": "s", **rejected[0]}]


def test_others_look_while_a_job_is_at_work_and_a_rewriting_waits_for_them(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1")])
    with ThreadPoolExecutor(1) as pool:

        def look() -> int:
            with mirror.reading() as beside:
                return int(fetch(beside, "select count(*) from contacts")[0][0])

        mirror.connection.execute("begin")
        mirror.connection.execute("delete from store.contacts")
        assert pool.submit(look).result(20) == 1
        mirror.connection.execute("commit")
        assert pool.submit(look).result(20) == 0
        inside, leave = threading.Event(), threading.Event()

        def stay() -> None:
            with mirror.reading():
                inside.set()
                leave.wait(20)

        staying = pool.submit(stay)
        assert inside.wait(20)
        threading.Timer(0.3, leave.set).start()
        mirror.rewrite(ACCOUNT)
        assert staying.done() or leave.is_set()
        assert pool.submit(look).result(20) == 0


def test_a_look_that_stays_too_long_keeps_the_file_as_it_was(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(mirror, contacts=[contact("1")])
    monkeypatch.setattr("connector.mirror.mirror.REWRITE_WAITS", 0.05)
    with mirror.reading(), pytest.raises(TryLater):
        mirror.rewrite(ACCOUNT)
    assert fetch(mirror, "select contact_id from contacts") == [("1",)]
    mirror.rewrite(ACCOUNT)
    assert fetch(mirror, "select contact_id from contacts") == [("1",)]
