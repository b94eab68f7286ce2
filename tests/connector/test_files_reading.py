"""Files as people have them: compressed, in old encodings, with odd separators and broken rows."""

import csv
import gzip
import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.errors import BadSetting
from connector.platforms.files import load_tables, read_mapping
from connector.platforms.files.results import write_table
from tests.connector.files_made import at, load, made, rows

CONTACTS = '[contacts]\nfile = "leads.csv"\nid = "id"\n'
PLAIN = "id,city,note\n1,Köln,a\n2,München,b\n3,Århus,b\n"


def notes(table: pa.Table) -> list[dict[str, str]]:
    return [json.loads(text) for text in table["properties"].to_pylist()]


def zipped(content: bytes, *names: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("cp1252"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        gzip.compress(PLAIN.encode()),
        gzip.compress(PLAIN.encode("utf-16")),
        zipped(PLAIN.encode("latin-1"), "leads.csv"),
        zipped(PLAIN.encode(), "__MACOSX/._leads.csv", "leads.csv"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\n\n").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", "|").encode(),
        PLAIN.replace("a\n", '"a"\r\n').encode(),
        PLAIN.replace("Köln", "'Köln'").replace("b", "'b'").encode(),
        ("\n" + PLAIN.rstrip("\n")).encode(),
    ],
    ids=lambda content: "content",  # archives hold the time: no name to know a test by in two processes
)
def test_content_says_what_a_file_is(tmp_path: Path, content: bytes) -> None:
    tables = load(tmp_path, CONTACTS, leads_csv=content)
    assert notes(tables["contacts"]) == [
        {"city": "Köln", "note": "a"},
        {"city": "München", "note": "b"},
        {"city": "Århus", "note": "b"},
    ]
    assert tables["rejects"].num_rows == 0


def test_a_preamble_is_skipped_and_lines_still_count_from_the_top(tmp_path: Path) -> None:
    text = "Export of today\n(c) us, them; all\nid,age\n1,30\n2\n3,32\n"
    tables = load(tmp_path, CONTACTS + "skip_rows = 2\n", leads_csv=text)
    assert tables["contacts"]["contact_id"].to_pylist() == ["1", "3"]
    assert rows(tables["rejects"], "record", "reason") == [("leads.csv, line 5", "1 fields instead of 2")]


def test_columns_aligned_by_spaces(tmp_path: Path) -> None:
    mapping = (
        '[[purchases]]\nfile = "cd.txt"\nnames = ["contact_id", "purchased_at", "quantity", "amount"]\n'
        'skip_rows = 1\ntime_format = "%Y%m%d"\n'
    )
    text = (
        " customer_id  date n value\r\n 00001 19970101  1   11.77\r\n"
        " 00002 19970112 12   12.00\r\n00002 19970112  5   77.5\r\n"
    )
    tables = load(tmp_path, mapping, cd_txt=text)
    assert rows(tables["purchases"], "contact_id", "purchased_at", "amount") == [
        ("00001", at("1997-01-01"), 11.77),
        ("00002", at("1997-01-12"), 12.0),
        ("00002", at("1997-01-12"), 77.5),
    ]
    assert tables["contacts"]["contact_id"].to_pylist() == ["00001", "00002"]


def test_quoted_fields_may_span_lines_and_hold_quotes(tmp_path: Path) -> None:
    text = 'id,note\n1,"a\nb"\n2,"say ""hi"", all"\n3,6" pipe\n4,"\r\n"\n'
    tables = load(tmp_path, CONTACTS, leads_csv=text)
    assert notes(tables["contacts"]) == [{"note": "a\nb"}, {"note": 'say "hi", all'}, {"note": '6" pipe'}, {}]


def test_bad_rows_are_named_kept_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = (
        "id,created_at,age\n"  # line 1
        "1,2024-01-01,30\n"
        "2,2024-01-02\n"  # 3: too few
        "3,2024-01-03,31,x\n"  # 4: too many
        '4,"2024-01-\n04",32\n'  # 5-6: a time over two lines
        ",2024-01-05,33\n"  # 7: no id
        "\n"
        "5,the first,34\n"  # 9: no time
        '6,"2024-01-06,35\n'  # 10: a quote never closed
        "7,2024-01-07,36\n"
        '8,"2024-01-08"x,37\n'  # 12: text after the quote
        '9,"2024-01-09",38\n'
    )
    tables = load(tmp_path, CONTACTS, leads_csv=text)
    assert tables["contacts"]["contact_id"].to_pylist() == ["1", "7", "9"]
    assert tables["contacts"]["row_order"].to_pylist() == [1, 8, 10]
    assert rows(tables["rejects"], "record", "field") == [
        ("leads.csv, line 3", None),
        ("leads.csv, line 4", None),
        ("leads.csv, line 5", "created_at"),
        ("leads.csv, line 7", "contact_id"),
        ("leads.csv, line 9", "created_at"),
        ("leads.csv, line 10", None),
        ("leads.csv, line 12", None),
    ]
    reasons = tables["rejects"]["reason"].to_pylist()
    assert reasons[0] == "2 fields instead of 3"
    assert reasons[3] == "empty"
    assert "not a time" in reasons[4]
    assert not any("2024" in reason and "31" not in reason for reason in reasons), "a reason holds no data"


def test_many_bad_rows_are_all_counted(tmp_path: Path) -> None:
    lines = [f"{row}" if row % 2 else f"{row},x" for row in range(5_000)]
    tables = load(tmp_path, CONTACTS, leads_csv="id,note\n" + "\n".join(lines))
    assert (tables["contacts"].num_rows, tables["rejects"].num_rows) == (2_500, 2_500)
    assert tables["rejects"]["record"].to_pylist()[-1] == "leads.csv, line 5001"


def test_a_repeated_id_counts_once_and_says_so(tmp_path: Path) -> None:
    tables = load(tmp_path, CONTACTS, leads_csv="id,age\n1,30\n2,31\n1,40\n")
    assert rows(tables["contacts"], "contact_id", "properties") == [("2", '{"age":"31"}'), ("1", '{"age":"40"}')]
    assert rows(tables["rejects"], "record", "field") == [("leads.csv, line 2", "contact_id")]


def test_parquet_with_types_of_its_own(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1.0, 2.0, None]),
            "signup": pa.array([at("2024-01-01 12:00"), at("2024-01-02"), None], pa.timestamp("us", "UTC")),
            "happy": pa.array([True, None, False]),
            "rate": pa.array([0.5, 2.0, None]),
        }
    )
    pq.write_table(table, tmp_path / "leads.bin")
    mapping = '[contacts]\nfile = "leads.bin"\nid = "id"\ncolumns = { created_at = "signup" }\n'
    tables = load(tmp_path, mapping)
    assert rows(tables["contacts"], "contact_id", "created_at") == [
        ("1", at("2024-01-01 12:00")),
        ("2", at("2024-01-02")),
    ]
    assert notes(tables["contacts"]) == [{"happy": "true", "rate": "0.5"}, {"rate": "2"}]
    assert rows(tables["rejects"], "record", "field", "reason") == [("leads.bin, row 3", "contact_id", "empty")]


def test_utf_8_with_a_broken_byte_is_still_utf_8(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = PLAIN.encode().replace(b",a\n", b",\xff\n")
    tables = load(tmp_path, CONTACTS, leads_csv=broken)
    assert [row["city"] for row in notes(tables["contacts"])] == ["Köln", "München", "Århus"]
    assert notes(tables["contacts"])[0]["note"] == "\ufffd"
    assert "1 broken bytes" in caplog.text


def test_a_delimiter_at_the_end_of_lines_is_no_field(tmp_path: Path) -> None:
    tables = load(tmp_path, CONTACTS, leads_csv="id,note\n1,a,\n2\n3,c,\n4,d\n5,e,f\n")
    assert tables["contacts"]["contact_id"].to_pylist() == ["1", "3", "4"]
    assert tables["rejects"]["record"].to_pylist() == ["leads.csv, line 3", "leads.csv, line 6"]


@pytest.mark.parametrize(
    "time", ["0000-01-01", "2024-13-01", "2024-02-30", "99999-01-01", "2024-01-01 25:00", "1e3"]
)
def test_times_that_are_none(tmp_path: Path, time: str) -> None:
    mapping = '[events]\nfile = "e.csv"\n'
    tables = load(tmp_path, mapping, e_csv=f"contact_id,occurred_at\na,2024-02-29\nb,{time}\nc,2024-02-28 10:00\n")
    assert tables["events"]["contact_id"].to_pylist() == ["a", "c"]
    assert rows(tables["rejects"], "record", "field") == [("e.csv, line 3", "occurred_at")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (gzip.compress(PLAIN.encode() * 50)[:40], "damaged"),
        (b"PK\x03\x04 no archive", "damaged"),
        (zipped(b"x", "a.csv", "b.csv"), "holds 2 files"),
        (zipped(b"x", "[Content_Types].xml", "xl/sheet1.xml"), "Excel workbook"),
        (b"PAR1 is not enough", "damaged"),
        (b"name,age\n1,2\n", "no column 'id'"),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else None,
)
def test_what_is_no_table_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(BadSetting, match=words) as raised:
        load(tmp_path, CONTACTS, leads_csv=content)
    assert "[contacts]" in str(raised.value)
    assert "leads.csv" in str(raised.value)


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    tables = load(tmp_path, CONTACTS, leads_csv="id,age\n")
    assert (tables["contacts"].num_rows, tables["rejects"].num_rows) == (0, 0)


_TEXT = st.text(
    st.characters(codec="cp1252", exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n'\",;|\t "), max_size=12
).map(str.strip)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(_TEXT, min_size=width, max_size=width), max_size=8)
    ),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16"]),
    ending=st.sampled_from(["\n", "\r\n"]),
    wrap=st.sampled_from([bytes, gzip.compress, lambda content: zipped(content, "leads.csv")]),
)
def test_what_a_writer_quotes_comes_back(
    tmp_path: Path, cells: list[list[str]], delimiter: str, encoding: str, ending: str, wrap: object
) -> None:
    width = len(cells[0]) if cells else 1
    names = [f"field_{place}" for place in range(width)]
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", *names])
    writer.writerows([str(row), *values] for row, values in enumerate(cells))
    assert callable(wrap)
    tables = load(tmp_path, CONTACTS, leads_csv=wrap(written.getvalue().encode(encoding)))
    # True and false are written small, as the type's canonical text.
    expected = [{name: value for name, value in zip(names, values, strict=True) if value} for values in cells]
    assert tables["rejects"].num_rows == 0
    assert [
        {name: value.lower() if value.lower() in ("true", "false") else value for name, value in row.items()}
        for row in expected
    ] == [
        {name: value.lower() if value.lower() in ("true", "false") else value for name, value in row.items()}
        for row in notes(tables["contacts"])
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows_=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**31), st.booleans()), min_size=1, max_size=30),
    unit=st.sampled_from(["s", "ms"]),
)
def test_every_row_is_either_taken_or_named(tmp_path: Path, rows_: list[tuple[int, int, bool]], unit: str) -> None:
    factor = 1 if unit == "s" else 1000
    lines = [f"{who},{at * factor if good else 'soon'}" for who, at, good in rows_]
    mapping = f'[[events]]\nfile = "e.csv"\nnames = ["contact_id", "occurred_at"]\nunit = "{unit}"\n'
    good = [(str(who), at) for who, at, fine in rows_ if fine]
    path = made(tmp_path, mapping, e_csv="\n".join(lines))
    if not good:
        with pytest.raises(BadSetting, match="no row can be used"):
            load_tables(read_mapping(path))
        return
    tables = load_tables(read_mapping(path))
    times = [
        (who, int((time - at("1970-01-01")).total_seconds()))
        for who, time in rows(tables["events"], "contact_id", "occurred_at")
    ]
    assert times == good
    bad = [place for place, (_, _, fine) in enumerate(rows_, start=1) if not fine]
    assert tables["rejects"]["record"].to_pylist() == [f"e.csv, line {line}" for line in bad]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_written_tables_are_read_again(tmp_path: Path, ending: str) -> None:
    table = pa.table({"id": ["1", "2"], "leadlight_reasons": ['says "hi", often\nand more', None]})
    write_table(tmp_path / f"leads{ending}", table)
    tables = load(tmp_path, CONTACTS.replace(".csv", ending))
    assert notes(tables["contacts"]) == [{"leadlight_reasons": 'says "hi", often\nand more'}, {}]
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"\.csv or \.parquet"):
        write_table(tmp_path / "scores.xlsx", pa.table({"a": [1]}))
    assert list(tmp_path.iterdir()) == []
