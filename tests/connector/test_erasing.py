"""The parts of an erasure: what is found, what is removed, what a killed one leaves, who is kept out."""

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.errors import BadSetting, NotTaken, StateMismatch
from connector.jobs import erase as erasing
from connector.jobs import traces
from connector.jobs.erase import JOURNAL, begun, erase, prepare
from connector.jobs.people import Person, find
from connector.jobs.pull import pull
from connector.jobs.retention import trim
from connector.jobs.run import Run, open_run
from connector.mirror import schema
from connector.mirror.pages import KEY_FILE
from connector.platform import Outcome, Write
from connector.settings import Settings
from tests.connector.files_made import made
from tests.connector.mirrored import ACCOUNT, DAY, T0, commit, contact, event, fetch, opened

ANN = "ann.lee@example.com"
MAPPING = """
[contacts]
file = "leads.csv"
id = "key"
columns = { email = "mail", created_at = "since" }
[goal]
column = "won"
equals = "1"
[[events]]
file = "events.csv"
columns = { contact_id = "who", occurred_at = "at", kind = "=email_click", url = "url" }
[[purchases]]
file = "sales.csv"
columns = { purchase_id = "number", contact_id = "who", purchased_at = "at", amount = "paid" }
"""
LEADS = f"key,mail,since,won,notes\na1,{ANN},2025-01-01,1,called {ANN} twice\n" + "".join(
    f"b{n},bob{n}@example.com,2025-01-01,{n % 2},knows xann.lee@example.com\n" for n in range(40)
)
EVENTS = (
    f"who,at,url\na1,2025-02-01,/a\nb1,2025-02-02,https://x.com/?u=ann.lee%40example.com\nb2,2023-02-03,/{ANN}x\n"
)
SALES = "number,who,at,paid\ns1,a1,2025-03-01,5\ns2,b1,2025-03-01,5\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    mapping = made(tmp_path, MAPPING, leads_csv=LEADS, events_csv=EVENTS, sales_csv=SALES)
    return Settings(platform="files", mapping=mapping, state_dir=tmp_path / "state")


def pulled(settings: Settings) -> Path:
    """The state folder after a pull, and values of ours for two contacts."""
    with open_run(settings, "pull") as run:
        pull(run)
        rows = [{"contact_id": key, "property": "leadlight_score", "value": "50"} for key in ("a1", "b1")]
        table = pa.Table.from_pylist([{**row, "value_before": None} for row in rows])
        run.mirror.ledger.plan_writes(
            run.id, table.cast(pa.schema([(n, pa.string()) for n in table.column_names]))
        )
        for batch in run.mirror.ledger.batches(run.id, 10):
            run.mirror.ledger.attempt(run.id, [write.record_id for write in batch])
            run.mirror.ledger.settle(run.id, run.platform.write(batch))
        run.done({"samples": [{"contact_id": "a1", "score": 1}], "edited": ["a1", "b1"], "by": {"a1": 1}})
        return run.folder


def erased(settings: Settings, contact_id: str = "a1") -> dict[str, Any]:
    with open_run(settings, "erase") as run:
        return erase(run, prepare(run, contact_id))


def everything(run: Run) -> str:
    connection = run.mirror.connection
    tables = connection.execute("select table_name from duckdb_tables() where schema_name = 'store'").fetchall()
    return "\n".join(str(connection.execute(f"from store.{name}").fetchall()) for (name,) in tables)


def test_everything_of_the_person_goes_and_everything_else_stays(settings: Settings) -> None:
    folder = pulled(settings)
    results = settings.state_dir / "results"
    assert any(ANN not in path.read_text() and "a1" in path.read_text() for path in results.rglob("*.csv"))
    result = erased(settings)
    assert result["proof"]["traces"] == []
    assert result["cleared"] == 1
    removed = result["removed"]
    assert {name: removed[name] for name in ("contacts", "purchases", "writes", "runs")} == {
        "contacts": 1,
        "purchases": 1,
        "writes": 2,
        "runs": 1,
    }
    # their own, and the one of somebody else whose link has the address; a longer address is another person's
    assert removed["events"] == 2
    with open_run(settings, "look") as run:
        left = everything(run)
        assert "ann.lee%40" not in left
        assert f"/{ANN}x" in left
        assert "xann.lee@example.com" in left
        assert "'a1'" not in left
        [(text,)] = run.mirror.connection.execute(
            "select result from store.runs where command = 'pull'"
        ).fetchall()
        assert text == '{"by": {}, "edited": ["b1"], "samples": []}'
        assert pull(run, full=True).rows["contacts"] == 0
        assert run.mirror.connection.execute("select count(*) from store.contacts").fetchall() == [(40,)]
        assert "'a1'" not in everything(run)
        ours = run.platform.read_ours(["b1"], ["leadlight_score"])["b1"]
        assert ours is not None
        assert ours.values == {"leadlight_score": "50"}
    [table] = [list(csv.reader(path.open())) for path in results.rglob("*.csv")]
    assert [row[0] for row in table] == ["key", "b1"]
    assert not (folder / JOURNAL).exists()


@pytest.mark.parametrize(
    ("stage", "after"),
    [
        ((erasing, "_clear"), False),
        ((erasing, "_clear"), True),
        ((erasing, "remove"), True),
        ((schema, "_swap"), False),
        ((schema, "_swap"), True),
        ((erasing, "_prove"), False),
    ],
    ids=lambda part: str(part[1]) if isinstance(part, tuple) else ("after" if part else "before"),
)
def test_stopped_anywhere_and_run_again_it_ends_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, stage: tuple[Any, str], after: bool
) -> None:
    folder = pulled(settings)
    owner, name = stage
    inside: Callable[..., Any] = getattr(owner, name)

    def stopped(*given: Any) -> None:
        if after:
            inside(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stopped)
        with pytest.raises(KeyboardInterrupt):
            erased(settings)
    assert (folder / JOURNAL).stat().st_mode & 0o777 == 0o600
    result = erased(settings)
    assert result["resumed"]
    assert result["addresses"] == 1
    assert result["proof"]["traces"] == []
    assert not (folder / JOURNAL).exists()
    assert {path.name for path in folder.iterdir()} == {"mirror.duckdb", "owner.lock", KEY_FILE}
    with open_run(settings, "look") as run:
        assert "'a1'" not in everything(run)
        assert not run.mirror.ledger.open_runs()


def test_where_the_platform_refuses_nothing_is_removed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled(settings)
    with open_run(settings, "erase") as run:

        def refuse(batch: list[Write]) -> list[Outcome]:
            return [Outcome(write.record_id, "failed", error="NO") for write in batch]

        monkeypatch.setattr(run.platform, "write", refuse)
        with pytest.raises(NotTaken, match="Nothing was erased"):
            erase(run, prepare(run, "a1"))
        assert begun(run.folder) is None, "the next erasure would have to finish this one"
        assert run.mirror.connection.execute("select count(*) from store.contacts").fetchall() == [(41,)]
    monkeypatch.undo()
    assert erased(settings)["removed"]["contacts"] == 1


def test_a_trace_that_is_left_is_named_and_the_journal_stays(settings: Settings) -> None:
    folder = pulled(settings)
    report = folder / "reports" / "old.csv.gz"
    report.parent.mkdir()
    report.write_bytes(gzip.compress(f"x,{ANN.upper()}\n".encode()))
    result = erased(settings)
    assert result["proof"]["traces"] == [{"where": "reports/old.csv.gz", "rows": None}]
    assert (folder / JOURNAL).exists()
    report.unlink()
    assert erased(settings)["proof"]["traces"] == []
    assert not (folder / JOURNAL).exists()


def test_a_model_that_spells_out_a_value_of_the_person_is_dropped(settings: Settings) -> None:
    folder = pulled(settings)
    home = folder / "models" / "default" / "lead_score"
    for version in ("v1", "v2"):
        (home / version).mkdir(parents=True)
        (home / version / "meta.json").write_text(f'{{"levels": ["{ANN if version == "v2" else "x"}"]}}')
    (home / "champion").write_text("v2\n")
    result = erased(settings)
    assert (result["models_removed"], result["proof"]["traces"]) == (["v2"], [])
    assert sorted(path.name for path in home.iterdir()) == ["v1"]


PERSON = Person(("4711", "x-12345678"), (ANN,))


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_files_are_searched_decompressed_for_whole_addresses_and_ids(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner.json", f'{{"to": "{ANN}"}}')
    pq.write_table(pa.table({"n": [1], "who": [ANN]}), tmp_path / "hit.parquet")
    pq.write_table(pa.table({"contact_id": ["4711"]}), tmp_path / "id.parquet")
    pq.write_table(pa.table({"n": ["1"], "amount": ["4711"]}), tmp_path / "clean.parquet")
    far = b" " * ((1 << 23) - 5)
    contents = {
        "hit.zip": archive.getvalue(),
        "hit.gz": gzip.compress(b"... " + ANN.encode()),
        "hit.json": b'{"url": "?m=ann.lee%40example.com"}',
        "border.txt": far + ANN.encode() + b" more",
        "id.csv": b"contact_id,score\n4711,3\n",
        "long-id.txt": b"contact X-12345678.",
        "lead.html": b"<td>Ann Lee<small>id 4711</small></td>",
        "reason.html": b"<td>Contact 4711: 88 A, 80% likely</td>",
        "clean.html": b"<td>Firm<small>company 4711</small></td><td>id 47110</td>",
        "clean.csv": b"contact_id,score\n14711,4711\n",
        "clean.txt": b"xann.lee@example.com ann.lee@example.com.au ann.lee@example.community x-123456789 4711",
    }
    for name, content in contents.items():
        written(tmp_path, name, content)
    number, found = traces.in_files([tmp_path], PERSON, ())
    assert number == 14
    assert {path.name for path in found} == {
        *("hit.zip", "hit.gz", "hit.json", "hit.parquet", "border.txt", "id.csv", "id.parquet", "long-id.txt"),
        *("lead.html", "reason.html"),
    }


def test_text_columns_are_searched_for_whole_addresses_and_ids_where_ids_stand(tmp_path: Path) -> None:
    with opened(tmp_path) as mirror:
        commit(
            mirror,
            contacts=[contact("14711", {"note": f"see {ANN}."}), contact("2", {"note": "ann.lee@example.com.au"})],
            events=[event("4711", "2")],
            deal_contacts=[{"deal_id": "4711", "contact_id": "2"}],
        )
        number, found = traces.in_tables(mirror.connection, PERSON)
        assert number > 60
        assert found == [{"where": "store.contacts.properties", "rows": 1}]
        commit(mirror, at=T0 + DAY, deal_contacts=[{"deal_id": "1", "contact_id": "4711"}])
        _, found = traces.in_tables(mirror.connection, PERSON)
        assert {"where": "store.deal_contacts.contact_id", "rows": 1} in found


def test_merged_contacts_and_holders_of_an_address_are_one_person(settings: Settings) -> None:
    with open_run(settings, "look") as run:
        commit(
            run.mirror,
            contacts=[
                contact("1", merged_into="2"),
                contact("2"),
                contact("3"),
                contact("4", email="C2@example.com"),
            ],
            contact_addresses=[{"contact_id": "2", "email": "second@example.com"}],
        )
        person = find(run, "1", None)
        assert person is not None
        assert set(person.contact_ids) == {"1", "2", "4"}
        assert person.addresses == ("c1@example.com", "c2@example.com", "second@example.com")
        assert find(run, None, "SECOND@example.com") is not None
        assert find(run, "9", None) is None
        with pytest.raises(BadSetting, match="Name one contact"):
            find(run, "1", "c1@example.com")


def test_no_page_brings_an_erased_person_back(tmp_path: Path) -> None:
    with opened(tmp_path) as mirror:
        commit(mirror, contacts=[contact("3"), contact("9")])
        mirror.erased.add(["5"], [ANN])
    with opened(tmp_path) as mirror:
        history = {"property": "p", "value": "v", "changed_at": T0}
        commit(
            mirror,
            at=T0 + DAY,
            contacts=[contact("5"), contact("6", email=ANN.upper()), contact("7"), contact("8", merged_into="5")],
            contact_addresses=[{"contact_id": "5", "email": "a@b.c"}, {"contact_id": "7", "email": "d@e.f"}],
            events=[event("e1", "5"), event("e2", "6"), event("e3", "7")],
            property_history=[
                {"object": kind, "object_id": "5", **history} for kind in ("contact", "company", "deal")
            ],
            removals=[
                {"object": "contact", "object_id": "9", "merged_into": "5"},
                {"object": "contact", "object_id": "3", "merged_into": "7"},
            ],
        )
        assert fetch(mirror, "select contact_id from store.contacts order by 1") == [("3",), ("7",), ("9",)]
        assert fetch(mirror, "select event_id from store.events") == [("e3",)]
        assert fetch(mirror, "select contact_id from store.contact_addresses") == [("7",)]
        assert fetch(mirror, "select object from store.property_history order by 1") == [("company",), ("deal",)]
        gone = "select contact_id, merged_into, deleted_at is not null from store.contacts where contact_id <> '7'"
        assert sorted(fetch(mirror, gone)) == [("3", "7", False), ("9", None, True)]
        # a new contact with an erased address is known as erased by its id, too
        commit(mirror, at=T0 + 2 * DAY, events=[event("e4", "6", T0 + DAY)])
        assert fetch(mirror, "select event_id from store.events") == [("e3",)]
        hashes = {row[0] for row in fetch(mirror, "select hash from store.erased")}
        assert len(hashes) == 3
        assert all(len(one) == 64 for one in hashes)
    (tmp_path / "hubspot-4711" / KEY_FILE).unlink()
    with pytest.raises(StateMismatch, match=r"erased\.key is missing"):
        opened(tmp_path)


def test_a_rewritten_mirror_is_the_same_but_for_what_was_deleted(tmp_path: Path) -> None:
    needle = "a-needle-of-forty-characters-in-a-haystack"
    with opened(tmp_path) as mirror:
        commit(mirror, contacts=[contact("1", {"note": needle}), contact("2", {"note": "kept"})])
        columns = fetch(mirror, _COLUMNS)
        mirror.connection.execute("delete from store.contacts where contact_id = '1'")
        mirror.connection.execute("checkpoint")
        file = tmp_path / "hubspot-4711" / "mirror.duckdb"
        assert needle.encode() in file.read_bytes()
        mirror.rewrite(ACCOUNT)
        assert needle.encode() not in file.read_bytes()
        assert fetch(mirror, _COLUMNS) == columns
        assert commit(mirror, at=T0 + DAY, contacts=[contact("2", {"note": "new"}, T0 + DAY)])["contacts"] == 1
        assert fetch(mirror, "select contact_id from contacts") == [("2",)]
    with opened(tmp_path) as mirror:
        assert fetch(mirror, "select properties from store.contacts") == [('{"note":"new"}',)]


_COLUMNS = (
    "select table_name, column_name, data_type, is_nullable, column_default from duckdb_columns() "
    "where schema_name in ('store', 'main') and database_name = current_database() and not internal order by all"
)


@pytest.mark.parametrize(
    ("asked", "kept", "left"), [(None, None, 3), (5000, 5000, 3), (400, 400, 2), (10, 365, 2)]
)
def test_old_events_are_deleted_but_none_that_predictions_need(
    settings: Settings, asked: int | None, kept: int | None, left: int
) -> None:
    chosen = settings.model_copy(update={"keep_events_days": asked})
    with open_run(chosen, "pull") as run:
        pulled_now = pull(run)
        assert run.mirror.connection.execute("select count(*) from store.events").fetchall() == [(left,)]
        told = pulled_now.retention
        assert (None if told is None else told["kept_days"]) == kept
        assert told is None or told["deleted_events"] == 3 - left
        assert trim(run) is None or trim(run)["deleted_events"] == 0  # type: ignore[index]
        oldest = run.mirror.connection.execute("select min(occurred_at) from store.events").fetchall()[0][0]
        assert kept is None or oldest >= run.as_of - timedelta(days=kept)


def test_what_was_said_of_deleted_events_goes_with_them(settings: Settings) -> None:
    with open_run(settings.model_copy(update={"keep_events_days": 400}), "pull") as run:
        pull(run)
        connection = run.mirror.connection
        connection.execute("insert into store.machine_made select event_id, contact_id, 1 from store.events")
        connection.execute("update store.events set occurred_at = occurred_at - interval 30 year")
        told = trim(run)
        assert told is not None
        assert told["deleted_events"] == 2
        assert connection.execute("from store.machine_made").fetchall() == []


def test_goals_that_the_settings_no_longer_name_are_cleared_too(settings: Settings) -> None:
    """Nor are their scores ever features."""
    name = "leadlight_score_renewal"
    pulled(settings)
    with open_run(settings, "sync") as run:
        rows = [{"contact_id": "a1", "property": name, "value": "50", "value_before": None}]
        schema = pa.schema([(key, pa.string()) for key in rows[0]])
        run.mirror.ledger.plan_writes(run.id, pa.Table.from_pylist(rows, schema=schema))
        for batch in run.mirror.ledger.batches(run.id, 10):
            run.mirror.ledger.attempt(run.id, [write.record_id for write in batch])
            run.mirror.ledger.settle(run.id, run.platform.write(batch))
        run.done({})
    with open_run(settings, "look") as run:
        assert name in run.our_names()
        assert name in run.options().excluded
        assert name not in [entry.name for entry in run.properties()]
    # the score of the goal that is left, and this one
    assert erased(settings)["cleared"] == 2


def test_a_group_named_by_an_erased_contact_takes_another_name(settings: Settings) -> None:
    with open_run(settings, "erase") as run:
        groups = {"1": "1", "2": "1", "3": "1", "4": "4"}
        commit(
            run.mirror,
            contacts=[contact(key) for key in groups],
            identities=[{"person_id": person, "contact_id": key} for key, person in groups.items()],
        )
        assert erase(run, prepare(run, "1"))["proof"]["traces"] == []
        left = fetch(run.mirror, "select contact_id, person_id from store.identities order by 1")
        assert left == [("2", "2"), ("3", "2"), ("4", "4")]


def test_a_contact_deleted_on_the_platform_is_found_by_its_address(settings: Settings) -> None:
    with open_run(settings, "erase") as run:
        commit(run.mirror, contacts=[contact("1"), contact("2")])
        commit(run.mirror, at=T0 + DAY, removals=[{"object": "contact", "object_id": "1", "deleted_at": T0 + DAY}])
        found = prepare(run, None, "C1@example.com")
        assert found.person == Person(("1",), ("c1@example.com",))
        assert erase(run, found)["removed"]["contacts"] == 1


def test_a_former_address_that_is_somebody_elses_now_takes_nobody_along(settings: Settings) -> None:
    with open_run(settings, "look") as run:
        once = {"object": "contact", "object_id": "1", "property": "email"}
        commit(
            run.mirror,
            contacts=[contact("1"), contact("2")],
            property_history=[
                {**once, "value": "c2@example.com", "changed_at": T0 - 2 * DAY},
                {**once, "value": "before@example.com", "changed_at": T0 - DAY},
            ],
        )
        assert find(run, "1", None) == Person(("1",), ("before@example.com", "c1@example.com"))


def test_the_same_number_is_no_trace_where_other_things_have_their_ids(settings: Settings) -> None:
    number = "30612345678"
    with open_run(settings, "erase") as run:
        commit(
            run.mirror,
            contacts=[contact(number), contact("2")],
            deals=[{"deal_id": number, "company_id": number}],
            deal_contacts=[{"deal_id": number, "contact_id": "2"}],
        )
        run.mirror.connection.execute(
            "insert into store.cursors values ('contacts', ?, 'run', now()::timestamp)",
            [f'{{"after": "{number}"}}'],
        )
        result = erase(run, prepare(run, number))
        assert result["proof"]["traces"] == []
        assert fetch(run.mirror, "select deal_id, company_id from store.deals") == [(number, number)]
        assert fetch(run.mirror, "select deal_id, contact_id from store.deal_contacts") == [(number, "2")]
        # a cursor with the id in it goes as a whole: its stream is read from the start
        assert fetch(run.mirror, "select 1 from store.cursors where stream = 'contacts'") == []


@pytest.mark.parametrize(
    ("text", "is_trace"),
    [
        (r"see:\njürgen+x@example.com\r", True),
        ("/go?next=%2Fp%3Femail%3Dj%C3%BCrgen%2Bx%40example.com%26u", True),
        ("JÜRGEN+X@EXAMPLE.COM", True),
        ("?u=j%C3%BCrgen%252Bx%2540example.com", True),
        (r'"j\u00fcrgen+x@example.com"', True),
        ("y.jürgen+x@example.com", False),
        ("jürgen@example.com", False),
    ],
)
def test_every_spelling_of_an_address_is_a_trace(tmp_path: Path, text: str, is_trace: bool) -> None:
    person = Person(("1",), ("jürgen+x@example.com",))
    written(tmp_path, "a.json", text.encode())
    assert bool(traces.in_files([tmp_path], person, ())[1]) is is_trace
    with opened(tmp_path) as mirror:
        commit(mirror, events=[event("e", "2", url=text)])
        assert bool(traces.in_tables(mirror.connection, person)[1]) is is_trace


@pytest.mark.parametrize("column", ["company_id", "object_id", "deal_id", "purchase_id"])
def test_another_record_with_the_number_of_an_erased_contact_keeps_its_own(column: str) -> None:
    """HubSpot numbers each kind of record by itself: a company may have the number of a contact."""
    person = Person(("123456789012",), ("jane@example.org",))
    wanted = traces.pattern(traces.meant_in(column, person))
    assert wanted is not None
    assert re.search(wanted, "jane@example.org")
    assert not re.search(wanted, "123456789012")
    own = traces.pattern(traces.meant_in("contact_id", person))
    assert own is not None
    assert re.search(own, "123456789012")
