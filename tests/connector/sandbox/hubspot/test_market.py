"""Accounts made from files and from the made-up market."""

from datetime import timedelta
from pathlib import Path

import pytest
import requests

from connector.errors import BadSetting
from connector.sandbox import Sandbox, SandboxOptions, run
from connector.sandbox.hubspot.market import portal
from connector.sandbox.serving import _Announcing
from connector.sandbox.times import DAY_MS, now_ms
from tests.connector.sandbox.hubspot.conftest import NOW, Clock

MAPPING = """
timezone = "Europe/Berlin"
[contacts]
file = "leads.csv"
drop = ["seconds"]
{id}
[goal]
column = "y"
equals = "yes"
"""
LEADS = (
    "lead,Job Title,emp.var.rate,y,seconds,state\nA-7,cook,1.1,yes,9,NY\nA-3,nurse,-0.4,,8,\nA-5,cook,2,no,7,CA\n"
)


def mapped(folder: Path, id_: str = "") -> Path:
    (folder / "leads.csv").write_text(LEADS, encoding="utf-8")
    (folder / "mapping.toml").write_text(MAPPING.format(id=id_), encoding="utf-8")
    return folder / "mapping.toml"


def test_rows_without_ids_are_numbered_and_undated_ones_are_thirty_days_old(tmp_path: Path) -> None:
    account = portal(SandboxOptions(mapping=mapped(tmp_path)), clock=Clock())
    contacts = account.contacts
    assert contacts.live == [1, 2, 3]
    assert [contacts.records[id_].properties.get("y") for id_ in contacts.live] == ["yes", None, "no"]
    assert {(one.created, one.modified) for one in contacts.records.values()} == {(NOW - 30 * DAY_MS,) * 2}
    assert contacts.records[3].properties["emp_var_rate"] == "2"
    assert (account.facts.timezone, contacts.records[1].properties["state"]) == ("Europe/Berlin", "NY")


def test_the_goal_is_text_and_dropped_columns_are_not_served(tmp_path: Path) -> None:
    schema = portal(SandboxOptions(mapping=mapped(tmp_path))).contacts.schema
    goal, rate = schema.live("y"), schema.live("emp_var_rate")
    assert goal is not None
    assert rate is not None
    assert (goal.type, goal.field_type, rate.type, rate.label) == ("string", "text", "number", "emp.var.rate")
    assert schema.live("seconds") is None


def test_ids_that_are_no_numbers_become_a_property(tmp_path: Path) -> None:
    contacts = portal(SandboxOptions(mapping=mapped(tmp_path, 'id = "lead"'))).contacts
    assert [contacts.records[id_].properties["source_record_id"] for id_ in (1, 2, 3)] == ["A-7", "A-3", "A-5"]
    assert contacts.records[2].properties.get("y") is None


def test_ids_that_are_numbers_stay(tmp_path: Path) -> None:
    path = mapped(tmp_path, 'id = "lead"')
    (tmp_path / "leads.csv").write_text(LEADS.replace("A-", "90"), encoding="utf-8")
    contacts = portal(SandboxOptions(mapping=path)).contacts
    assert contacts.live == [903, 905, 907]
    assert contacts.schema.live("source_record_id") is None


def test_a_wrong_mapping_is_the_callers_to_mend(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"absent\.toml"):
        portal(SandboxOptions(mapping=tmp_path / "absent.toml"))


def test_events_of_files_reach_their_endpoints(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("who,at\nu1,1700000000\nu2,1700000060\nu1,1700000120\n", encoding="utf-8")
    (tmp_path / "mapping.toml").write_text(
        '[[events]]\nfile = "clicks.csv"\nunit = "s"\n'
        'columns = { contact_id = "who", occurred_at = "at", kind = "=email_click" }\n',
        encoding="utf-8",
    )
    account = portal(SandboxOptions(mapping=tmp_path / "mapping.toml"))
    rows, more = account.engagement.emails.page(0, 10, first=0, last=now_ms())
    emails = {
        one.properties["source_record_id"]: one.properties["email"] for one in account.contacts.records.values()
    }
    assert [row["recipient"] for row in rows] == [emails["u1"], emails["u2"], emails["u1"]]
    assert [row["created"] for row in rows] == [1_700_000_120_000, 1_700_000_060_000, 1_700_000_000_000]
    assert not more
    assert set(account.contacts.by_email) == set(emails.values())


def test_the_made_up_market_fills_every_endpoint() -> None:
    account = portal(SandboxOptions(contacts=150, seed=3), clock=Clock())
    assert len(account.contacts.live) == 150
    for name in ("companies", "deals", "meetings", "calls", "emails"):
        assert account.objects[name].live, name
    assert account.engagement.forms
    kinds = set(account.engagement.emails.distinct("type"))
    assert {"SENT", "DELIVERED", "OPEN", "CLICK", "STATUSCHANGE"} <= kinds
    assert account.engagement.occurrences.distinct("type") == ["e_visited_page"]
    assert any(record.history.get("lifecyclestage") for record in account.contacts.records.values())
    newest, _ = account.engagement.emails.page(0, 1, first=0, last=NOW)
    assert NOW - timedelta(days=40) / timedelta(milliseconds=1) < newest[0]["created"] < NOW
    assert all(not stage["id"].startswith("closedwon") for stage in account.pipelines["deals"][0]["stages"])


def test_the_same_seed_makes_the_same_account() -> None:
    one, other = (portal(SandboxOptions(contacts=60, seed=5), clock=Clock()).contacts for _ in range(2))
    assert one.records == other.records


def test_the_ready_line_says_how_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    def announce(line: str) -> None:
        lines.append(line)
        stop()

    servers: list[_Announcing] = []
    plain = _Announcing.__init__

    def kept(self: _Announcing, *given: object) -> None:
        plain(self, *given)  # type: ignore[arg-type]
        servers.append(self)

    def stop() -> None:
        servers[0].should_exit = True

    monkeypatch.setattr(_Announcing, "__init__", kept)
    run(SandboxOptions(), announce)
    assert len(lines) == 1
    assert '"ready": true' in lines[0]
    assert '"username": null' in lines[0]


def test_a_port_that_is_taken_is_named() -> None:
    with Sandbox() as box:
        port = int(box.base_url.rpartition(":")[2])
        with pytest.raises(BadSetting, match=f"--port {port}"):
            Sandbox(SandboxOptions(port=port))
        assert requests.get(f"{box.base_url}/_sandbox/state", timeout=10).json() == {
            "contacts": {},
            "companies": {},
            "calls": {},
        }
