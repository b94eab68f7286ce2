"""Wrong set-ups: the right exit code and one clear message that names what to change."""

from pathlib import Path
from typing import Any

import pytest

from tests.connector.inside import command, sandbox
from tests.connector.portal import leadlight
from tests.made_up import write_leads

GOAL = '[goal]\ncolumn = "y"\nequals = "yes"\n'


def evaluate(mapping: Path, folder: Path) -> tuple[int, dict[str, Any], str]:
    return command(["evaluate", "--platform", "files", "--mapping", str(mapping), "--json"], {}, folder)


def test_no_platform_is_explained(tmp_path: Path) -> None:
    code, result, err = leadlight(["sync", "--json"], {}, tmp_path)
    assert code == 2
    assert "LEADLIGHT_PLATFORM" in err
    assert result["kind"] == "BadSetting"


def test_a_wrong_token_is_named(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 20)
    with sandbox(mapping) as account:
        environment = account.environment(tmp_path / "state") | {"LEADLIGHT_HUBSPOT_TOKEN": "pat-na1-wrong-token"}
        code, _, err = command(["sync", "--json"], environment, tmp_path)
    assert code == 2
    assert "LEADLIGHT_HUBSPOT_TOKEN" in err
    assert "wrong-token" not in err


def test_a_missing_optional_scope_turns_its_stream_off(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 400)
    (tmp_path / "leadlight.toml").write_text(GOAL, encoding="utf-8")
    with sandbox(mapping, "missing-scope=forms") as account:
        code, result, err = command(["sync", "--json"], account.environment(tmp_path / "state"), tmp_path)
    assert code == 0, err
    assert [(off["stream"], off["scope"]) for off in result["streams_off"]] == [("form_submissions", "forms")]


@pytest.mark.parametrize("scope", ["crm.objects.contacts.read", "crm.objects.contacts.write"])
def test_a_missing_contacts_scope_stops_the_sync(tmp_path: Path, scope: str) -> None:
    mapping = write_leads(tmp_path, 400)
    (tmp_path / "leadlight.toml").write_text(GOAL, encoding="utf-8")
    with sandbox(mapping, f"missing-scope={scope}") as account:
        code, _, err = command(["sync", "--json"], account.environment(tmp_path / "state"), tmp_path)
    assert code == 2
    assert scope in err


def test_a_malformed_mapping_names_table_and_key(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 20)
    mapping.write_text(mapping.read_text(encoding="utf-8") + '\n[[events]]\nfil = "x.csv"\n', encoding="utf-8")
    code, _, err = evaluate(mapping, tmp_path)
    assert code == 2
    assert "mapping.toml" in err
    assert "events" in err
    assert "fil" in err


def test_an_unknown_goal_is_named(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 20)
    mapping.write_text('[contacts]\nfile = "leads.csv"\n[goal]\nevent = "deal_one"\n', encoding="utf-8")
    code, _, err = evaluate(mapping, tmp_path)
    assert code == 2
    assert "deal_one" in err
    assert "deal_won" in err


def test_a_goal_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 20)
    mapping.write_text('[contacts]\nfile = "leads.csv"\n[goal]\ncolumn = "z"\nequals = "1"\n', encoding="utf-8")
    code, _, err = evaluate(mapping, tmp_path)
    assert code == 2
    assert '"z"' in err or "'z'" in err


def test_broken_rows_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 1200)
    leads = tmp_path / "leads.csv"
    lines = leads.read_text(encoding="utf-8").splitlines()
    lines[5] = "41;Software;20"
    leads.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "scores.csv"
    arguments = ["score", "--platform", "files", "--mapping", str(mapping), "--out", str(out), "--json"]
    code, result, err = command(arguments, {}, tmp_path)
    assert code == 4
    assert "leads.csv" in err
    assert "6" in err
    assert result["scored"] > 800
    assert len(out.read_text(encoding="utf-8").splitlines()) == result["scored"] + 1


def test_a_file_that_cannot_be_written_is_named_before_the_work(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 20)
    arguments = ["score", "--platform", "files", "--mapping", str(mapping), "--out", "scores.xlsx", "--json"]
    code, _, err = command(arguments, {}, tmp_path)
    assert code == 2
    assert ".parquet" in err
