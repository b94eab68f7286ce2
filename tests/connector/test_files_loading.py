"""Canonical tables from files: values, types, sums, unions."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from connector.errors import BadSetting
from connector.platform import page_schema
from connector.platforms.files import last_time, load_tables, read_mapping
from scoring.tables import TABLES
from tests.connector.files_made import SHARED, at, load, made, rows


def definitions(tables: dict[str, pa.Table], *names: str) -> dict[str, tuple[str, ...]]:
    table = tables["property_definitions"]
    return {row[0]: row[1:] for row in rows(table, "property", *names)}


def test_every_table_has_its_page_schema(tmp_path: Path) -> None:
    mapping = (
        '[contacts]\nfile = "leads.csv"\n[companies]\nfile = "firms.csv"\n[deals]\nfile = "deals.csv"\n'
        '[consents]\nfile = "consents.csv"\n[[events]]\nfile = "e.csv"\n'
    )
    tables = load(
        tmp_path,
        mapping,
        leads_csv="contact_id,age\na,1\n",
        firms_csv="company_id,name,employees,Sector\nc,Firm,12,wood\n",
        deals_csv="deal_id,amount,is_won\nd,10.5,TRUE\ne,,no\n",
        consents_csv="contact_id,channel,purpose,status\nb,email,Marketing,denied\na,email,profiling,perhaps\n",
        e_csv="contact_id,occurred_at\na,2024-01-01\n",
    )
    assert set(tables) == {*TABLES, "rejects"}
    for name, table in tables.items():
        assert table.schema.equals(page_schema(name)), name
    assert rows(tables["deals"], "amount", "is_won", "properties") == [(10.5, True, "{}"), (None, False, "{}")]
    assert rows(tables["companies"], "employees", "properties") == [(12.0, '{"sector":"wood"}')]
    assert rows(tables["consents"], "contact_id", "purpose") == [("b", "marketing")]
    assert tables["rejects"].to_pylist() == [
        {"record": "consents.csv, line 3", "field": "status", "reason": "not one of granted, denied, unknown"}
    ]


def test_property_types_are_sniffed_from_all_values(tmp_path: Path) -> None:
    header = "Lead Number,emp.var.rate,happy,yes_no,zip,seen,seen_at,Colour,remark,nothing,y"
    lines = [
        f"{row},{row / 4}e0,{'True' if row % 2 else 'false'},{row % 2},0{row},2024-01-0{row + 1},"
        f"2024-01-0{row + 1}T10:00:00+02:00,{'red' if row % 2 else 'blue'},text {row},,{row % 2}"
        for row in range(8)
    ]
    mapping = '[contacts]\nfile = "leads.csv"\n[goal]\ncolumn = "y"\nequals = "1"\n'
    tables = load(tmp_path, mapping, leads_csv="\n".join([header, *lines]))
    assert definitions(tables, "type", "label", "column_name") == {
        "lead_number": ("number", "Lead Number", "p_lead_number"),
        "emp_var_rate": ("number", "emp.var.rate", "p_emp_var_rate"),
        "happy": ("boolean", "happy", "p_happy"),
        "yes_no": ("number", "yes_no", "p_yes_no"),
        "zip": ("text", "zip", "p_zip"),
        "seen": ("date", "seen", "p_seen"),
        "seen_at": ("date", "seen_at", "p_seen_at"),
        "colour": ("category", "Colour", "p_colour"),
        "remark": ("text", "remark", "p_remark"),
        "y": ("text", "y", "p_y"),
    }
    options = definitions(tables, "options")["colour"][0]
    assert json.loads(options) == [{"value": "blue", "label": "blue"}, {"value": "red", "label": "red"}]
    text = tables["contacts"]["properties"][1].as_py()
    assert json.loads(text) == {
        "colour": "red",
        "emp_var_rate": "0.25e0",
        "happy": "true",
        "lead_number": "1",
        "remark": "text 1",
        "seen": "2024-01-02T00:00:00Z",
        "seen_at": "2024-01-02T08:00:00Z",
        "y": "1",
        "yes_no": "1",
        "zip": "01",
    }
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_missing_values_are_left_out_and_a_goal_keeps_its_text(tmp_path: Path) -> None:
    mapping = (
        '[contacts]\nfile = "leads.csv"\nmissing = ["", "Select", "unknown"]\ndrop = ["duration"]\n'
        'columns = { country = "Country" }\n[goal]\ncolumn = "Converted"\nequals = " Yes"\n'
    )
    leads = (
        "Country,source,duration,Converted\nDE,Select,1, Yes\nunknown, Google ,2,unknown\nSelect,selected,3,  \n"
    )
    tables = load(tmp_path, mapping, leads_csv=leads)
    assert tables["contacts"]["contact_id"].to_pylist() == ["1", "2", "3"]
    assert tables["contacts"]["country"].to_pylist() == ["DE", None, None]
    assert tables["contacts"]["properties"].to_pylist() == [
        '{"converted":" Yes"}',
        '{"source":"Google"}',
        '{"source":"selected"}',
    ]
    assert "duration" not in definitions(tables)


def test_two_columns_of_one_name_both_stay(tmp_path: Path) -> None:
    tables = load(tmp_path, '[contacts]\nfile = "leads.csv"\n', leads_csv="a b,a.b,a b\n1,2,3\n")
    assert tables["contacts"]["properties"].to_pylist() == ['{"a_b":"1","a_b_2":"2","a_b_2_2":"3"}']


def test_contacts_are_the_union_of_all_ids(tmp_path: Path) -> None:
    mapping = (
        '[[contacts]]\nfile = "leads.csv"\nid = "id"\n[[contacts]]\nfile = "more.csv"\nid = "who"\n'
        '[purchases]\nfile = "p.csv"\n[events]\nfile = "e.csv"\n'
    )
    tables = load(
        tmp_path,
        mapping,
        leads_csv="id,country,age\na,,30\nb,FR,\n",
        more_csv="who,country,age,rank\nb,DE,41,2\nc,IT,,3\n",
        p_csv="contact_id,purchased_at\nd,2024-01-01\na,2024-01-02\n",
        e_csv="contact_id,occurred_at\ne,2024-01-01\nd,2024-01-01\n",
    )
    assert rows(tables["contacts"], "contact_id", "country", "properties", "row_order") == [
        ("a", None, '{"age":"30"}', 1),
        ("b", "FR", '{"age":"41","rank":"2"}', 2),
        ("c", "IT", '{"rank":"3"}', 2),
        ("d", None, "{}", None),
        ("e", None, "{}", None),
    ]


def test_times_by_unit_format_and_zone(tmp_path: Path) -> None:
    tables = load(
        tmp_path,
        'timezone = "Europe/Berlin"\n'
        '[[events]]\nfile = "iso.csv"\n'
        '[[events]]\nfile = "s.csv"\nunit = "s"\n[[events]]\nfile = "ms.csv"\nunit = "ms"\n'
        '[[events]]\nfile = "us.csv"\ntimezone = "America/New_York"\ntime_format = "%m/%d/%Y %H:%M"\n'
        '[[events]]\nfile = "z.csv"\ntime_format = "%d.%m.%Y %H:%M %z"\n',
        iso_csv="contact_id,occurred_at\na,2024-01-31\na,2024-07-01 12:00:00.9\n"
        "a,2024-07-01T12:00+05:30\na,2024-07-01T12:00:00Z\na,2024-07-01 12:00:00 +0200\na,2024-07-01 12:00 UTC\n",
        s_csv="contact_id,occurred_at\na,1082040961.7\n",
        ms_csv="contact_id,occurred_at\na,1082040961999\n",
        us_csv="contact_id,occurred_at\na,12/1/2010 8:45\n",
        z_csv="contact_id,occurred_at\na,01.02.2024 10:00 +0200\n",
    )
    berlin = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC).replace(tzinfo=None)
    assert tables["events"]["occurred_at"].to_pylist() == [
        at("2024-01-30 23:00"),
        berlin,
        at("2024-07-01 06:30"),
        at("2024-07-01 12:00"),
        at("2024-07-01 10:00"),
        at("2024-07-01 12:00"),
        at("2004-04-15 14:56:01"),
        at("2004-04-15 14:56:01"),
        at("2010-12-01 13:45"),
        at("2024-02-01 08:00"),
    ]
    assert len(set(tables["events"]["event_id"].to_pylist())) == 10


def test_events_have_kinds_of_ours_and_their_details(tmp_path: Path) -> None:
    mapping = '[events]\nfile = "e.csv"\ncolumns = { contact_id = "who", occurred_at = "at", kind = "what" }\n'
    text = (
        "who,at,what,utc_offset_min,Form Name\na,2024-01-01,Page View,-480,\n"
        "a,2024-01-02,Webinar joined,9999,\na,2024-01-03,form-submit,120,Contact us\na,2024-01-04,Webinar left,,\n"
    )
    tables = load(tmp_path, mapping, e_csv=text)
    assert rows(tables["events"], "kind", "channel", "utc_offset_min", "human", "properties") == [
        ("page_view", "web", -480, 1.0, "{}"),
        ("form_submit", "web", 120, 1.0, '{"form_name":"Contact us"}'),
        ("custom", None, None, 1.0, '{"name":"Webinar left"}'),
    ]
    assert rows(tables["rejects"], "record", "field") == [("e.csv, line 3", "utc_offset_min")]


def test_constants_fill_a_column(tmp_path: Path) -> None:
    mapping = '[events]\nfile = "e.csv"\ncolumns = { kind = "=email_click", utc_offset_min = "=60" }\n'
    tables = load(tmp_path, mapping, e_csv="contact_id,occurred_at\na,2024-01-01\nb,2024-01-02\n")
    assert rows(tables["events"], "kind", "utc_offset_min") == [("email_click", 60)] * 2


def test_lines_of_one_purchase_are_summed(tmp_path: Path) -> None:
    mapping = (
        '[purchases]\nfile = "p.csv"\n'
        'columns = { purchase_id = "basket", product_id = "sku", purchased_at = "at", contact_id = "who" }\n'
    )
    text = (
        "basket,who,at,sku,quantity,price,amount,currency\n"
        "b1,a,2024-01-02 10:00:00,x,1,0.1,0.1,EUR\nb2,a,2024-01-03,x,1,9,9,EUR\n"
        "b1,a,2024-01-02 09:59:00,y,2,0.1,0.2,\nb2,c,2024-01-04,,1,5,5,EUR\nb1,a,2024-01-02 10:00:00,,1,1,-1,EUR\n"
    )
    tables = load(tmp_path, mapping, p_csv=text)
    assert rows(tables["purchases"], "purchase_id", "contact_id", "purchased_at", "amount", "currency") == [
        ("b1", "a", at("2024-01-02 09:59"), -0.7, "EUR"),
        ("b2", "a", at("2024-01-03"), 9.0, "EUR"),
        ("b2/c", "c", at("2024-01-04"), 5.0, "EUR"),
    ]
    assert rows(tables["purchase_items"], "purchase_id", "product_id", "quantity", "price") == [
        ("b1", "x", 1.0, 0.1),
        ("b2", "x", 1.0, 9.0),
        ("b1", "y", 2.0, 0.1),
    ]


def test_an_amount_is_quantity_times_price_where_none_is_given(tmp_path: Path) -> None:
    text = "contact_id,purchased_at,quantity,price\na,2024-01-01,3,2.5\na,2024-01-01,1,\n"
    tables = load(tmp_path, '[purchases]\nfile = "p.csv"\n', p_csv=text)
    assert tables["purchases"]["amount"].to_pylist() == [7.5, None]
    again = load(tmp_path, '[purchases]\nfile = "p.csv"\n')
    assert again["purchases"].equals(tables["purchases"])
    assert len(set(tables["purchases"]["purchase_id"].to_pylist())) == 2


def test_numbers_are_numbers(tmp_path: Path) -> None:
    text = "deal_id,amount\na,1e3\nb,nan\nc,inf\nd,1_000\ne,-.5\nf,12%\ng,1e999\n"
    tables = load(tmp_path, '[deals]\nfile = "d.csv"\n', d_csv=text)
    assert rows(tables["deals"], "deal_id", "amount") == [("a", 1000.0), ("e", -0.5)]
    assert tables["rejects"]["reason"].to_pylist() == ["not a number"] * 5


def test_unknown_time_zones_are_emptied_and_named(tmp_path: Path) -> None:
    text = "contact_id,timezone\na,Europe/Berlin\nb,Middle Earth\nc,\n"
    tables = load(tmp_path, '[contacts]\nfile = "leads.csv"\n', leads_csv=text)
    assert tables["contacts"]["timezone"].to_pylist() == ["Europe/Berlin", None, None]
    assert rows(tables["rejects"], "record", "field") == [("leads.csv, line 3", "timezone")]


def test_ids_that_come_again_in_a_later_file(tmp_path: Path) -> None:
    mapping = '[[events]]\nfile = "a.csv"\n[[events]]\nfile = "b.csv"\n'
    text = "event_id,contact_id,occurred_at\n{},a,2024-01-01\n2,a,2024-01-02\n"
    tables = load(tmp_path, mapping, a_csv=text.format(1), b_csv=text.format(3))
    assert sorted(tables["events"]["event_id"].to_pylist()) == ["1", "2", "3"]
    assert rows(tables["rejects"], "record", "field") == [("a.csv, record 2", "event_id")]


def test_last_time_is_just_after_the_last_thing_that_happened(tmp_path: Path) -> None:
    mapping = '[purchases]\nfile = "p.csv"\n[deals]\nfile = "d.csv"\n'
    tables = load(
        tmp_path,
        mapping,
        p_csv="contact_id,purchased_at\na,2024-03-01 10:00:00\na,2024-02-01\n",
        d_csv="deal_id,created_at,closed_at\nd,2024-01-01,2030-01-01\n",
    )
    assert last_time(tables) == at("2024-03-01 10:00:01")
    assert last_time(load(tmp_path, '[contacts]\nfile = "leads.csv"\n', leads_csv="age\n1\n")) is None


def test_goal_columns_of_the_settings_are_read_as_text(tmp_path: Path) -> None:
    path = made(tmp_path, '[contacts]\nfile = "leads.csv"\n', leads_csv="Is Won,country\n1,DE\n0,FR\n")
    tables = load_tables(read_mapping(path), ["Is Won", "country"])
    assert definitions(tables, "type") == {"is_won": ("text",), "country": ("text",)}
    assert tables["contacts"]["country"].to_pylist() == ["DE", "FR"]
    with pytest.raises(BadSetting, match="did you mean 'is_won'"):
        load_tables(read_mapping(path), ["is_one"])


def _made_purchases(folder: Path) -> tuple[Path, int, int, float]:
    lines = [f" {row % 50:05d} 1997{1 + row % 12:02d}01 {row % 7:3d} {row / 8:9.2f}" for row in range(1_000)]
    (folder / "master.txt").write_text("\n".join([" id date n value", *lines]))
    total = math.fsum(round(row / 8, 2) for row in range(1_000))
    return folder / "master.txt", 1_000, 50, total


def test_a_master_file_of_purchases_adds_up(tmp_path: Path) -> None:
    real = SHARED / "cdnow" / "CDNOW_master.txt"
    file, purchases, customers, total = (
        (real, 69_659, 23_570, 2_500_315.63) if real.exists() else _made_purchases(tmp_path)
    )
    mapping = (
        f'[purchases]\nfile = "{file}"\nnames = ["contact_id", "purchased_at", "quantity", "amount"]\n'
        'skip_rows = 1\ntime_format = "%Y%m%d"\n'
    )
    tables = load(tmp_path, mapping)
    assert tables["purchases"].num_rows == purchases
    assert tables["contacts"].num_rows == customers
    assert pc.sum(tables["purchases"]["amount"]).as_py() == pytest.approx(total, abs=purchases * 0.005)
    assert tables["rejects"].num_rows == 0


def test_a_gzipped_file_of_leads_keeps_every_row(tmp_path: Path) -> None:
    real = SHARED / "bank_marketing" / "bank-additional-full.csv.gz"
    if real.exists():
        file, count, positives = str(real), 41_188, 4_640
    else:
        made(tmp_path, "", bank_csv="age;duration;y\n" + '30;1;"yes"\n41;2;"no"\n' * 500)
        file, count, positives = "bank.csv", 1_000, 500
    mapping = f'[contacts]\nfile = "{file}"\ndrop = ["duration"]\n[goal]\ncolumn = "y"\nequals = "yes"\n'
    contacts = load(tmp_path, mapping)["contacts"]
    assert contacts["contact_id"].to_pylist() == [str(row) for row in range(1, count + 1)]
    assert pc.sum(pc.match_substring(contacts["properties"], '"y":"yes"')).as_py() == positives
    assert not any("duration" in text for text in contacts["properties"].to_pylist())
