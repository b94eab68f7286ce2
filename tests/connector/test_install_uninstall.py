"""Install and uninstall from outside, against a pretend HubSpot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import manifests
from tests.connector.inside import command, sandbox
from tests.connector.portal import Portal
from tests.made_up import write_leads

GOAL = '[goal]\ncolumn = "y"\nequals = "yes"\n'
OURS = {entry.name for entry in manifests.properties()}
OF_COMPANIES = {entry.name for entry in manifests.properties("company")}
PROPERTIES = "/crm/properties/2026-09/contacts"
COMPANIES = "/crm/properties/2026-09/companies"


def call(account: Portal, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {account.token}"}
    answer = requests.request(method, account.base_url + path, json=body, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def definitions(account: Portal, path: str = PROPERTIES) -> dict[str, Any]:
    return {entry["name"]: entry for entry in call(account, "GET", path)["results"]}


def writes(account: Portal) -> dict[str, int]:
    return {
        name: count
        for name, count in account.calls().items()
        if not name.startswith("GET") and not name.endswith(("/search", "/batch/read"))
    }


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Portal]:
    mapping = write_leads(tmp_path, 40)
    (tmp_path / "leadlight.toml").write_text(GOAL, encoding="utf-8")
    with sandbox(mapping) as running:
        yield running


def run(account: Portal, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    return command([*arguments, "--json"], account.environment(folder / "state"), folder)


def test_install_creates_then_finds_nothing_to_do_then_repairs_words(account: Portal, tmp_path: Path) -> None:
    code, planned, err = run(account, tmp_path, "install", "--dry-run")
    assert code == 0, err
    assert {entry["action"] for entry in planned["properties"]} == {"create"}
    assert writes(account) == {}
    code, result, _ = run(account, tmp_path, "install")
    assert code == 0
    assert {entry["name"] for entry in result["properties"]} == OURS | OF_COMPANIES
    assert result["companies_off"] is None
    assert set(definitions(account)) >= OURS
    assert not OF_COMPANIES & set(definitions(account))
    assert set(definitions(account, COMPANIES)) >= OF_COMPANIES
    code, again, _ = run(account, tmp_path, "install")
    assert {entry["action"] for entry in again["properties"]} == {"none"}

    call(account, "PATCH", f"{PROPERTIES}/leadlight_score", {"label": "Hotness", "description": "?"})
    options = [{"label": "Top", "value": "A"}, *({"label": grade, "value": grade} for grade in "BCD")]
    call(account, "PATCH", f"{PROPERTIES}/leadlight_grade", {"options": options})
    code, repaired, _ = run(account, tmp_path, "install")
    assert code == 0
    actions = {entry["name"]: entry for entry in repaired["properties"] if entry["action"] != "none"}
    assert {name: entry["action"] for name, entry in actions.items()} == {
        "leadlight_score": "repair",
        "leadlight_grade": "repair",
    }
    assert actions["leadlight_score"]["detail"] == "label, description"
    standing = definitions(account)
    assert standing["leadlight_score"]["label"] == "Lead score"
    assert standing["leadlight_grade"]["options"][0]["label"] == "A"


def test_a_company_property_of_somebody_else_is_reported_and_left_alone(account: Portal, tmp_path: Path) -> None:
    call(account, "POST", f"{COMPANIES}/groups", {"name": "sales", "label": "Sales"})
    theirs = {"name": "leadlight_company_score", "label": "Ours", "groupName": "sales"}
    call(account, "POST", COMPANIES, {**theirs, "type": "string", "fieldType": "text"})
    code, result, err = run(account, tmp_path, "install")
    assert code == 2, err
    assert result["conflicts"] == 1
    actions = {entry["name"]: entry for entry in result["properties"]}
    assert actions["leadlight_company_score"]["action"] == "conflict"
    assert actions["leadlight_company_score"]["detail"] == "its type is string, not number"
    assert set(definitions(account)) >= OURS, "contacts do without"
    standing = definitions(account, COMPANIES)
    assert standing["leadlight_company_score"]["type"] == "string"
    assert "leadlight_company_reasons" not in standing


@pytest.mark.parametrize("theirs", ["type", "group"])
def test_a_property_of_somebody_else_stops_the_install_before_anything(
    account: Portal, tmp_path: Path, theirs: str
) -> None:
    kind = {"type": ("string", "text"), "group": ("number", "number")}[theirs]
    body = {"name": "leadlight_score", "label": "Their score", "type": kind[0], "fieldType": kind[1]}
    call(account, "POST", PROPERTIES, {**body, "groupName": "contactinformation"})
    before = writes(account)
    for name in ("install", "sync"):
        code, result, err = run(account, tmp_path, name)
        assert code == 2
        assert "prefix" in err
        assert writes(account) == before
        if name == "install":
            assert [e["name"] for e in result["properties"] if e["action"] == "conflict"] == ["leadlight_score"]
    assert definitions(account)["leadlight_score"]["label"] == "Their score"


def test_uninstall_clears_every_value_and_archives_what_is_ours(account: Portal, tmp_path: Path) -> None:
    code, _, _ = run(account, tmp_path, "install")
    ids = sorted(account.contacts(), key=int)[:25]
    inputs = [{"id": one, "properties": {"leadlight_score": "70", "leadlight_grade": "A"}} for one in ids]
    call(account, "POST", "/crm/objects/2026-09/contacts/batch/update", {"inputs": inputs})
    before = writes(account)

    code, _, err = run(account, tmp_path, "uninstall")
    assert code == 2
    assert "--yes" in err
    code, planned, _ = run(account, tmp_path, "uninstall", "--dry-run")
    assert code == 0
    assert (planned["contacts"], planned["values"], planned["dry_run"]) == (25, 50, True)
    assert {entry["action"] for entry in planned["properties"]} == {"archive"}
    assert writes(account) == before

    code, result, err = run(account, tmp_path, "uninstall", "--yes")
    assert code == 0, err
    done = {key: result["cleared"][key] for key in ("changed", "unchanged", "failed", "skipped", "values")}
    assert done == {"changed": 25, "unchanged": 0, "failed": 0, "skipped": 0, "values": 50}
    assert not OURS & set(definitions(account))
    groups = {entry["name"] for entry in call(account, "GET", f"{PROPERTIES}/groups")["results"]}
    assert "leadlight" not in groups
    assert not [values for values in account.contacts().values() if values.get("leadlight_score")]

    code, nothing, _ = run(account, tmp_path, "uninstall", "--yes")
    assert code == 0
    assert {entry["action"] for entry in nothing["properties"]} == {"absent"}
    assert nothing["cleared"]["changed"] == 0


def test_a_person_who_says_no_keeps_everything(
    account: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(account, tmp_path, "install")
    one = min(account.contacts(), key=int)
    account.edit(one, leadlight_score="12")
    before = writes(account)
    monkeypatch.setattr("connector.cli.asking.at_terminal", lambda: True)
    arguments = ["uninstall", "--json"]
    environment = account.environment(tmp_path / "state")
    code, result, err = command(arguments, environment, tmp_path, answers="n\n")
    assert code == 3
    assert "1 values on 1 contacts" in err
    assert "nothing was written" in result["refused"]
    assert writes(account) == before
    code, result, err = command(arguments, environment, tmp_path, answers="y\n")
    assert code == 0, err
    assert result["cleared"]["values"] == 1


def test_uninstall_leaves_a_property_of_somebody_else_alone(account: Portal, tmp_path: Path) -> None:
    body = {"name": "leadlight_score", "label": "Their score", "type": "number", "fieldType": "number"}
    call(account, "POST", PROPERTIES, {**body, "groupName": "contactinformation"})
    one = min(account.contacts(), key=int)
    account.edit(one, leadlight_score="12")
    code, result, _ = run(account, tmp_path, "uninstall", "--yes")
    assert code == 0
    assert {e["name"]: e["action"] for e in result["properties"]}["leadlight_score"] == "conflict"
    assert result["cleared"]["changed"] == 0
    assert account.contacts()[one]["leadlight_score"] == "12"


def test_a_property_in_use_stays_and_the_rest_goes_on(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 20)
    (tmp_path / "leadlight.toml").write_text(GOAL, encoding="utf-8")
    with sandbox(mapping, "property-in-use=leadlight_grade", "property-in-use=leadlight_score") as account:
        run(account, tmp_path, "install")
        code, result, err = run(account, tmp_path, "uninstall", "--yes")
        assert code == 4, err
        assert result["in_use"] == ["leadlight_score", "leadlight_grade"]
        assert "leadlight_grade is still used" in err
        assert set(definitions(account)) & OURS == {"leadlight_score", "leadlight_grade"}
        groups = {entry["name"] for entry in call(account, "GET", f"{PROPERTIES}/groups")["results"]}
        assert "leadlight" in groups


def test_a_contact_that_cannot_be_cleared_keeps_the_properties_standing(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 20)
    (tmp_path / "leadlight.toml").write_text(GOAL, encoding="utf-8")
    with sandbox(mapping, "required-property=leadlight_grade") as account:
        run(account, tmp_path, "install")
        one = min(account.contacts(), key=int)
        account.edit(one, leadlight_grade="A")
        code, result, err = run(account, tmp_path, "uninstall", "--yes")
        assert code == 4, err
        assert (result["cleared"]["failed"], result["cleared"]["changed"]) == (1, 0)
        assert set(definitions(account)) >= OURS


def test_files_have_nothing_to_uninstall(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 20)
    environment = {"LEADLIGHT_PLATFORM": "files", "LEADLIGHT_MAPPING": str(mapping)}
    code, _, err = command(["uninstall", "--yes", "--json"], environment, tmp_path)
    assert code == 2
    assert "results are files" in err
