"""An erasure beyond the mirror: the inbox of webhooks, and files that commands wrote where the user said."""

import csv
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector import inbox
from connector.jobs import outside, traces
from connector.jobs.erase import erase, prepare
from connector.jobs.people import Person
from connector.jobs.pull import pull
from connector.jobs.run import open_run
from connector.platforms.files.results import write_table
from connector.settings import Settings
from tests.connector.files_made import made

ANN = "jörg+ann.lee@example.com"
MAPPING = '[contacts]\nfile = "leads.csv"\nid = "key"\ncolumns = { email = "mail" }\n'
LEADS = f"key,mail,won\n4711,{ANN},1\n4712,bob@example.com,0\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    mapping = made(tmp_path, MAPPING, leads_csv=LEADS)
    return Settings(platform="files", mapping=mapping, state_dir=tmp_path / "state", goal={"column": "won"})


def pulled(settings: Settings) -> Path:
    with open_run(settings, "pull") as run:
        pull(run)
        run.done({})
        return run.folder


def erased(settings: Settings) -> dict[str, Any]:
    with open_run(settings, "erase") as run:
        return erase(run, prepare(run, "4711"))


def test_the_inbox_forgets_the_person_though_no_service_runs(settings: Settings) -> None:
    folder = pulled(settings)
    bodies = [
        json.dumps([{"objectId": 4711, "propertyValue": "x"}]),
        json.dumps([{"objectId": 99, "propertyValue": ANN}]),
        json.dumps([{"objectId": 99, "propertyValue": f"https://x.example/?u={ANN.replace('@', '%40')}"}]),
        json.dumps([{"objectId": 47110, "propertyValue": "bob@example.com"}]),
    ]
    with closing(inbox.connect(folder)) as connection:
        for body in bodies:
            connection.execute(
                "insert into bodies (source, received_at, body) values ('x', 1, ?)", [body.encode()]
            )
        for number, key in enumerate(("4711", "4712")):
            connection.execute(
                "insert into hints "
                "(source, object, object_id, kind, key, others, occurred_at, received_at, due_at) "
                "values ('x', 'contact', ?, 'changed', ?, '[]', 1, 1, 1)",
                [key, str(number)],
            )
    result = erased(settings)
    assert result["removed"]["inbox"] == 4
    assert result["proof"]["traces"] == []
    with closing(inbox.connect(folder)) as connection:
        assert [row["body"].decode() for row in connection.execute("select body from bodies")] == bodies[3:]
        assert [row["object_id"] for row in connection.execute("select object_id from hints")] == ["4712"]
    files = [path for path in folder.iterdir() if path.name.startswith("inbox")]
    assert files
    assert not any(b"4711," in path.read_bytes() or b"ann.lee" in path.read_bytes() for path in files)


def test_a_hint_about_the_person_is_a_trace(tmp_path: Path) -> None:
    with closing(inbox.connect(tmp_path)) as connection:
        connection.execute(
            "insert into hints (source, object, object_id, kind, key, others, occurred_at, received_at, due_at) "
            "values ('x', 'contact', '4711', 'changed', 'k', '[]', 1, 1, 1), "
            "('x', 'deal', '4712', 'changed', 'l', '[]', 1, 1, 1)"
        )
        connection.execute("pragma wal_checkpoint(truncate)")
    path = tmp_path / inbox.FILE
    assert traces.in_file(path, Person(("4711",), ()))
    assert not traces.in_file(path, Person(("4712",), ()))


def test_files_that_were_written_elsewhere_lose_the_person_too(settings: Settings, tmp_path: Path) -> None:
    folder, elsewhere = pulled(settings), tmp_path / "elsewhere"
    elsewhere.mkdir()
    scores = pa.table({"contact_id": ["4711", "4712"], "leadlight_score": ["1", "2"]})
    for name in ("scores.csv", "scores.parquet"):
        write_table(elsewhere / name, scores)
    calls = elsewhere / "calls.csv"
    calls.write_text(f"goal,place,contact_id,email\nwon,1,4711,{ANN}\nwon,2,4712,bob@example.com\n")
    report, other = elsewhere / "report.html", elsewhere / "other.html"
    report.write_text("<small>id 4711</small>")
    other.write_text("<small>id 47112</small>")
    gone = elsewhere / "gone.csv"
    gone.write_text("contact_id\n4711\n")
    outside.remember(folder, *sorted(elsewhere.iterdir()), None)
    gone.unlink()
    result = erased(settings)
    assert result["proof"]["traces"] == []
    assert result["files"] == {
        "rows_removed": {str(elsewhere / name): 1 for name in ("calls.csv", "scores.csv", "scores.parquet")},
        "deleted": [str(report)],
    }
    assert [row[0] for row in csv.reader((elsewhere / "scores.csv").open())] == ["contact_id", "4712"]
    assert pq.read_table(elsewhere / "scores.parquet").to_pylist() == scores.to_pylist()[1:]
    assert calls.read_text().splitlines()[1:] == ["won,2,4712,bob@example.com"]
    assert not report.exists()
    assert other.exists()
    assert outside.files(folder) == sorted({*elsewhere.iterdir()})


def test_a_file_that_somebody_changed_is_theirs_and_named(settings: Settings, tmp_path: Path) -> None:
    folder, out = pulled(settings), tmp_path / "out.csv"
    out.write_text("contact_id,leadlight_score\n4711,1\n")
    outside.remember(folder, out)
    theirs = "contact_id,phone\n4711,123\n"
    out.write_text(theirs)
    result = erased(settings)
    assert result["proof"]["traces"] == [{"where": str(out), "rows": None}]
    assert out.read_text() == theirs
    out.unlink()
    assert erased(settings)["proof"]["traces"] == []


def test_an_id_in_a_later_column_of_a_table_is_a_trace(tmp_path: Path) -> None:
    table = tmp_path / "calls.csv"
    table.write_text("goal,place,contact_id\nwon,4712,4711\n")
    assert traces.in_file(table, Person(("4711",), ()))
    assert not traces.in_file(table, Person(("4712",), ()))
