"""mapping.toml: what it says, and one clear message for what it should not."""

from pathlib import Path

import pytest

from connector.errors import BadSetting
from connector.platforms.files import load_tables, property_name, read_mapping
from scoring.goals import Goal
from tests.connector.files_made import load, made

LEADS = (
    "Prospect ID,signup,Country,TotalVisits,y\na,2024-01-01,DE,3,yes\nb,2024-01-02,FR,4,no\nc,2024-01-03,DE,5,no\n"
)
CONTACTS = '[contacts]\nfile = "leads.csv"\nid = "Prospect ID"\n'


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("emp.var.rate", "emp_var_rate"),
        ("Lead Source", "lead_source"),
        ("TotalVisits", "total_visits"),
        ("Prospect ID", "prospect_id"),
        ("customerID", "customer_id"),
        ("  Größe (cm) ", "groe_cm"),
        ("2nd visit", "n_2nd_visit"),
        ("名前", "column"),
        ("Converted", "converted"),
        ("already_snake", "already_snake"),
    ],
)
def test_property_names_are_lower_snake(column: str, name: str) -> None:
    assert property_name(column) == name


def test_a_file_may_be_relative_to_the_mapping_or_absolute(tmp_path: Path) -> None:
    path = made(tmp_path, CONTACTS, leads_csv=LEADS)
    relative = load_tables(read_mapping(path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    absolute = made(elsewhere, CONTACTS.replace("leads.csv", str(tmp_path / "leads.csv")))
    assert load_tables(read_mapping(absolute))["contacts"].equals(relative["contacts"])
    assert relative["contacts"].num_rows == 3


def test_goals_are_given_with_their_property_names(tmp_path: Path) -> None:
    text = (
        CONTACTS + '[goal]\ncolumn = "TotalVisits"\nequals = "3"\n[goals.renewal]\ncolumn = "y"\nequals = "yes"\n'
        '[goals.buys]\nevent = "purchase"\nhorizon_days = 30\n'
    )
    mapping = read_mapping(made(tmp_path, text, leads_csv=LEADS))
    assert mapping.goal_columns() == ("total_visits", "y")
    assert mapping.goal is not None
    assert Goal.from_settings(mapping.goal) == Goal(column="total_visits", equals="3")
    assert Goal.from_settings(mapping.goals["buys"], "buys").horizon_days == 30


def test_tables_may_repeat_and_keep_their_order(tmp_path: Path) -> None:
    text = 'timezone = "Europe/Berlin"\n' + "".join(
        f'[[events]]\nfile = "{name}.csv"\ntimezone = "{zone}"\n'
        for name, zone in (("a", "UTC"), ("b", "Asia/Tokyo"))
    )
    mapping = read_mapping(made(tmp_path, text, a_csv="contact_id\n", b_csv="contact_id\n"))
    assert mapping.timezone == "Europe/Berlin"
    assert [(source.file.name, source.timezone) for source in mapping.sources] == [
        ("a.csv", "UTC"),
        ("b.csv", "Asia/Tokyo"),
    ]
    assert mapping.contacts is None


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("[contacts", ["mapping.toml", "not valid TOML"]),
        ("", ["names no file", "[contacts]"]),
        ('[contact]\nfile = "leads.csv"\n', ["contact:", "did you mean 'contacts'?", "events"]),
        ('contacts = "leads.csv"\n', ["[contacts]", "must be a table", "file"]),
        ("[contacts]\n", ["[contacts], file", "needed and not given"]),
        ('[contacts]\nfile = "lead.csv"\n', ["[contacts], file", "there is no file", "lead.csv"]),
        (CONTACTS + "colums = {}\n", ["[contacts], colums", "did you mean 'columns'?", "time_format"]),
        (CONTACTS + 'unit = "h"\n', ["[contacts], unit", "'s' or 'ms'", "'h'"]),
        (CONTACTS + "skip_rows = -1\n", ["[contacts], skip_rows", "greater than or equal to 0"]),
        (CONTACTS + 'skip_rows = "1"\n', ["[contacts], skip_rows", "valid integer", "'1'"]),
        (CONTACTS + 'order_by = "date"\n', ["[contacts], order_by", "'row'"]),
        (CONTACTS + 'timezone = "Europe/Berln"\n', ["[contacts], timezone", "did you mean 'Europe/Berlin'?"]),
        ('timezone = "Mars"\n' + CONTACTS, ["timezone", "'Mars' is no time zone"]),
        (CONTACTS + 'columns = { creatd_at = "signup" }\n', ["columns.creatd_at", "did you mean 'created_at'?"]),
        (
            CONTACTS + 'columns = { created_at = "sign_up" }\n',
            ["columns.created_at", "did you mean 'signup'?"],
        ),
        (CONTACTS.replace("Prospect ID", "prospect"), ["[contacts], id", "no column 'prospect'", "Prospect ID"]),
        (CONTACTS + 'drop = ["Y"]\n', ["[contacts], drop", "did you mean 'y'?"]),
        (CONTACTS + 'drop = ["Prospect ID"]\n', ["[contacts], id", "also in drop"]),
        (CONTACTS + 'columns = { contact_id = "y" }\n', ["[contacts], id", "columns.contact_id"]),
        (CONTACTS + 'time_format = "%Q"\ncolumns = { created_at = "signup" }\n', ["time_format", "'%Q'"]),
        (
            CONTACTS + 'unit = "s"\ncolumns = { created_at = "signup" }\n',
            ["created_at", "line 2", "seconds"],
        ),
        (
            CONTACTS + 'columns = { created_at = "y" }\n',
            ["created_at", "no row can be used", "time_format"],
        ),
        (CONTACTS + '[goal]\ncolumn = "z"\nequals = "1"\n', ["goal.column", "'z'", "total_visits"]),
        (CONTACTS + 'drop = ["y"]\n[goal]\ncolumn = "y"\nequals = "1"\n', ["goal.column", "it is in drop"]),
        ('[[events]]\nfile = "leads.csv"\n', ["[[events]] number 1", "columns.contact_id", "Prospect ID"]),
        ('[events]\nfile = "leads.csv"\nid = "y"\n', ["[events], id", "only [contacts]"]),
        (
            '[events]\nfile = "leads.csv"\ncolumns = { kind = "=email_clik" }\n',
            ["columns.kind", "did you mean 'email_click'?"],
        ),
        ('[events]\nfile = "leads.csv"\nnames = ["a", "a"]\n', ["[events], names", "of its own"]),
        ('[contacts]\nfile = "leads.csv"\nnames = ["a", "b"]\n', ["no row can be used", "5 fields instead of 2"]),
    ],
)
def test_what_is_wrong_is_said_in_one_message(tmp_path: Path, mapping: str, words: list[str]) -> None:
    path = made(tmp_path, mapping, leads_csv=LEADS)
    with pytest.raises(BadSetting) as raised:
        load_tables(read_mapping(path))
    message = str(raised.value)
    assert raised.value.exit_code == 2
    assert "mapping.toml" in message
    assert "\n" not in message or "TOML" in message
    assert [word for word in words if word not in message] == []


def test_a_missing_mapping_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"nowhere\.toml does not exist"):
        read_mapping(tmp_path / "nowhere.toml")


def test_canonical_names_map_by_themselves_and_by_name_only(tmp_path: Path) -> None:
    leads = "contact_id,created_at,country,Country\na,2024-01-01,DE,Germany\n"
    contact = load(tmp_path, '[contacts]\nfile = "leads.csv"\n', leads_csv=leads)["contacts"].to_pylist()[0]
    assert (contact["contact_id"], contact["country"]) == ("a", "DE")
    assert contact["properties"] == '{"country":"Germany"}'
