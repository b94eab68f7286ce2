"""Files as a platform: when it reads, and what it leaves behind."""

import csv
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.errors import BadSetting
from connector.platform import Page, PullRequest, Write
from connector.platforms.files.platform import FilesPlatform
from connector.platforms.files.results import CSV_NAME, PARQUET_NAME, Results, write_table
from tests.connector.files_made import made

MAPPING = '[contacts]\nfile = "leads.csv"\nid = "Prospect ID"\n[goal]\ncolumn = "Won"\nequals = "1"\n'
LEADS = "Prospect ID,Won,Paid\na,1,0\nb,0,1\nc,,1\n"


class Cursors:
    """As much of a mirror as the platform asks."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}

    def cursor(self, stream: str) -> object:
        return self.kept.get(stream)


def pulled(platform: FilesPlatform, known: Cursors, **request: object) -> list[Page]:
    pages = list(platform.pull(known, PullRequest(**request)))  # type: ignore[arg-type]
    known.kept.update({page.stream: page.cursor for page in pages if isinstance(page, Page)})
    return pages  # type: ignore[return-value]


@pytest.fixture
def platform(tmp_path: Path) -> FilesPlatform:
    return FilesPlatform(made(tmp_path, MAPPING, leads_csv=LEADS), results=tmp_path / "results")


def test_it_reads_again_when_content_mapping_or_goal_changes(platform: FilesPlatform, tmp_path: Path) -> None:
    known = Cursors()
    assert [page.total for page in pulled(platform, known)] == [5]
    assert pulled(platform, known) == []
    os.utime(tmp_path / "leads.csv", (1, 1))
    assert pulled(platform, known) == [], "the same content at another time is no news"
    (tmp_path / "leads.csv").write_text(LEADS + "d,1,1\n")
    fresh = FilesPlatform(platform.mapping.path, tmp_path / "results")
    assert [page.rows["contacts"].num_rows for page in pulled(fresh, known)] == [4]
    assert len(pulled(fresh, known, goal_columns=("Paid",))) == 1
    assert pulled(fresh, known, goal_columns=("paid",)) == []
    made(tmp_path, MAPPING + "# a note\n")
    assert len(pulled(FilesPlatform(platform.mapping.path, tmp_path / "results"), known)) == 1
    assert len(pulled(fresh, known, full=True)) == 1


def test_two_mappings_are_two_accounts(platform: FilesPlatform, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = FilesPlatform(made(elsewhere, MAPPING, leads_csv=LEADS), results=tmp_path / "results")
    assert other.account().id != platform.account().id
    assert platform.account().id.startswith("mapping-")


def test_it_tells_the_mappings_goals(platform: FilesPlatform) -> None:
    assert platform.goals == {"default": {"column": "won", "equals": "1"}}
    assert platform.last_time() is None


def test_results_are_files_that_an_importer_takes(platform: FilesPlatform, tmp_path: Path) -> None:
    platform.write([Write("b", {"leadlight_score": "8", "leadlight_reasons": 'said "yes", twice'})])
    platform.write([Write("a", {"leadlight_score": "57"}), Write("nobody", {"leadlight_score": "1"})])
    platform.write([Write("b", {"leadlight_score": "9", "leadlight_grade": None})])
    platform.close()
    folder = tmp_path / "results" / platform.account().id
    with (folder / CSV_NAME).open(newline="", encoding="utf-8") as opened:
        assert list(csv.reader(opened)) == [
            ["Prospect ID", "leadlight_reasons", "leadlight_score"],
            ["a", "", "57"],
            ["b", 'said "yes", twice', "9"],
        ]
    assert pq.read_table(folder / PARQUET_NAME).to_pylist() == [
        {"Prospect ID": "a", "leadlight_reasons": None, "leadlight_score": "57"},
        {"Prospect ID": "b", "leadlight_reasons": 'said "yes", twice', "leadlight_score": "9"},
    ]


def test_a_platform_that_wrote_nothing_leaves_nothing(platform: FilesPlatform, tmp_path: Path) -> None:
    list(platform.pull(Cursors(), PullRequest()))  # type: ignore[arg-type]
    platform.close()
    assert not (tmp_path / "results").exists()


def test_a_killed_push_keeps_what_was_written(tmp_path: Path) -> None:
    killed = Results(tmp_path)
    killed.write({"a": {"leadlight_score": "1"}})
    # no close(): the process is gone
    again = Results(tmp_path)
    assert again.read(["a", "b"]) == {"a": {"leadlight_score": "1"}}
    again.close()
    assert pq.read_table(tmp_path / PARQUET_NAME).num_rows == 1


def test_writes_from_several_threads_all_arrive(tmp_path: Path) -> None:
    results = Results(tmp_path)
    threads = [
        threading.Thread(target=results.write, args=({f"{place}": {"leadlight_score": str(place)}},))
        for place in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results.table()["leadlight_score"].to_pylist()) == [str(place) for place in range(8)]
    results.close()


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "scores.csv"
    write_table(target, pa.table({"contact_id": ["1"]}))
    before = target.read_text()
    with pytest.raises(pa.ArrowInvalid):
        write_table(target, pa.table({"contact_id": [["a list has no CSV"]]}))
    assert target.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
    with pytest.raises(BadSetting, match="cannot be written"):
        write_table(target / "below" / "scores.csv", pa.table({"contact_id": ["1"]}))
