"""Init writes settings and mappings that load, says what comes next, and overwrites nothing."""

import re
from pathlib import Path
from typing import Any

import pytest

from connector.errors import BadSetting
from connector.jobs.eligibility import read_consent, read_filters
from connector.jobs.init import parse_goal
from connector.platforms.files.mapping import read_mapping
from connector.platforms.files.platform import FilesPlatform
from connector.platforms.files.proposing import propose
from connector.settings import Settings, load
from scoring.errors import UsageError
from scoring.goals import Goal
from tests.connector.inside import command
from tests.made_up import write_leads

LEADS = """Prospect ID,Email Address,Created,Country,Do Not Email,Source,Converted
abc1,a@x.example,2024-01-02 10:00,DE,No,Select,0
abc2,b@x.example,2024-01-03 10:00,FR,No,Ads,1
abc3,c@x.example,2024-02-03 09:30,FR,Yes,Ads,0
"""


def init(folder: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    return command(["init", *arguments, "--json"], environment, folder)


def test_hubspot_settings_load_and_hold_the_goal(tmp_path: Path) -> None:
    code, result, err = init(
        tmp_path, "--platform", "hubspot", "--goal", "lifecycle_stage:customer", "--horizon", "30"
    )
    assert code == 0, err
    assert result["written"] == ["leadlight.toml"]
    assert "leadlight doctor" in result["next"]
    settings = load(tmp_path / "leadlight.toml")
    assert settings.platform == "hubspot"
    assert settings.goal == {"event": "lifecycle_stage", "horizon_days": 30, "value": "customer"}


def test_what_is_commented_out_is_valid_and_names_the_safeguards(tmp_path: Path) -> None:
    code, _, err = init(tmp_path, "--platform", "hubspot", "--goal", "deal_won", "--yes")
    assert code == 0, err
    path = tmp_path / "leadlight.toml"
    text = re.sub(r"(?m)^#(?=\w+ = )", "", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    settings = load(path)
    assert (settings.max_changes, settings.max_grade_moves, settings.require_approval) == (5000, 0.2, True)
    assert settings.holdout is not None
    assert read_consent(settings).denied == ("no",)
    assert read_filters(settings)[1].exclude == {"email_domain": ("your-company.example",)}


def test_salesforce_settings_load_and_say_what_is_to_be_filled_in(tmp_path: Path) -> None:
    code, result, err = init(tmp_path, "--platform", "salesforce", "--goal", "deal_won", "--yes")
    assert code == 0, err
    assert result["next"][0].startswith("leadlight manifest salesforce")
    assert "sf project deploy start" in result["next"][1]
    path = tmp_path / "leadlight.toml"
    text = path.read_text(encoding="utf-8")
    assert "LEADLIGHT_SALESFORCE_PRIVATE_KEY_FILE" in text
    assert "HubSpot" not in text
    for key in ("salesforce_base_url", "salesforce_client_id", "salesforce_username"):
        assert f"#{key} = " in text
        text = text.replace(f"#{key} = ", f"{key} = ")
    path.write_text(text, encoding="utf-8")
    settings = load(path)
    assert settings.platform == "salesforce"
    assert settings.salesforce_base_url == "https://YOUR-DOMAIN.my.salesforce.com"


def test_every_key_that_is_commented_out_is_a_setting(tmp_path: Path) -> None:
    init(tmp_path, "--platform", "hubspot", "--yes")
    text = (tmp_path / "leadlight.toml").read_text(encoding="utf-8")
    keys = re.findall(r"^#([a-z_]+) = ", text, re.MULTILINE)
    assert len(keys) >= 7
    assert set(keys) <= set(Settings.model_fields)
    (tmp_path / "all.toml").write_text(re.sub(r"(?m)^#(?=[a-z_]+ = )", "", text), encoding="utf-8")
    assert load(tmp_path / "all.toml").max_changes == 5000


def test_a_secret_is_never_written(tmp_path: Path) -> None:
    secret = "pat-na1-11111111-2222-3333-4444-555555555555"
    _, result, err = init(tmp_path, "--platform", "hubspot", "--yes", LEADLIGHT_HUBSPOT_TOKEN=secret)
    assert secret not in (tmp_path / "leadlight.toml").read_text(encoding="utf-8")
    assert secret not in err + str(result)


def test_files_get_a_mapping_that_reads(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text(LEADS, encoding="utf-8")
    code, result, err = init(tmp_path, "--file", "leads.csv", "--yes")
    assert code == 0, err
    assert result["written"] == ["leadlight.toml", "mapping.toml"]
    settings = load(tmp_path / "leadlight.toml")
    assert settings.platform == "files"
    assert settings.mapping is not None
    mapping = read_mapping(settings.mapping)
    assert mapping.contacts is not None
    assert mapping.contacts.id == "Prospect ID"
    assert mapping.contacts.file == "leads.csv"
    assert mapping.contacts.missing == ["", "Select"]
    assert mapping.contacts.columns == {"email": "Email Address", "country": "Country", "created_at": "Created"}
    assert mapping.goal == {"column": "converted", "equals": "1"}
    contacts = FilesPlatform(settings.mapping, tmp_path / "results").tables()["contacts"].to_pylist()
    assert [row["contact_id"] for row in contacts] == ["abc1", "abc2", "abc3"]
    assert contacts[2]["country"] == "FR"


def test_the_settings_are_good_for_an_evaluation_right_away(tmp_path: Path) -> None:
    write_leads(tmp_path, 400)
    (tmp_path / "mapping.toml").unlink()
    code, result, err = init(tmp_path, "--platform", "files", "--file", "leads.csv", "--yes")
    assert code == 0, err
    assert result["goal"] == {"column": "y", "equals": "yes"}
    code, figures, err = command(["evaluate", "--json"], {}, tmp_path)
    assert code == 0, err
    assert figures["lead_score"]["rows"] == 400


@pytest.mark.parametrize("there", ["leadlight.toml", "mapping.toml"])
def test_nothing_is_overwritten_without_force(tmp_path: Path, there: str) -> None:
    (tmp_path / "leads.csv").write_text(LEADS, encoding="utf-8")
    (tmp_path / there).write_text("# mine\n", encoding="utf-8")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, result, err = init(tmp_path, "--file", "leads.csv", "--yes")
    assert code == 2
    assert "--force" in err
    assert there in result["error"]
    assert (tmp_path / there).read_text(encoding="utf-8") == "# mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    code, _, _ = init(tmp_path, "--file", "leads.csv", "--yes", "--force")
    assert code == 0
    assert "# mine" not in (tmp_path / there).read_text(encoding="utf-8")


def test_without_a_terminal_what_is_missing_is_named(tmp_path: Path) -> None:
    code, _, err = init(tmp_path)
    assert code == 2
    assert "--platform" in err
    code, _, err = init(tmp_path, "--platform", "files", "--yes")
    assert code == 2
    assert "--file" in err
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_given_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.cli.account.at_terminal", lambda: True)
    code, result, err = command(["init", "--json"], {}, tmp_path, answers="hubspot\npurchase\n30\n")
    assert code == 0, err
    assert result["goal"] == {"event": "purchase", "horizon_days": 30}
    assert load(tmp_path / "leadlight.toml").goal == result["goal"]
    (tmp_path / "leads.csv").write_text(LEADS, encoding="utf-8")
    code, result, err = command(["init", "--force", "--json"], {}, tmp_path, answers="files\nleads.csv\n\n")
    assert code == 0, err
    assert result["goal"] == {"column": "Converted", "equals": "1"}


def test_an_awkward_file_name_and_value_survive_the_writing(tmp_path: Path) -> None:
    name = 'le"ads ü.csv'
    (tmp_path / name).write_text('a;"is ""it"""\n1;so "x"\n2;no\n3;no\n', encoding="utf-8")
    code, _, err = init(tmp_path, "--file", name, "--goal", 'is "it"=so "x"', "--mapping", "maps/m.toml", "--yes")
    assert code == 0, err
    mapping = read_mapping(tmp_path / "maps" / "m.toml")
    assert mapping.goal == {"column": "is_it", "equals": 'so "x"'}
    assert load(tmp_path / "leadlight.toml").mapping == tmp_path / "maps" / "m.toml"


def proposed(folder: Path, text: str, **given: str) -> Any:
    (folder / "x.csv").write_text(text, encoding="utf-8")
    return propose(folder / "x.csv", **given)


def test_an_id_is_named_like_one_and_unique(tmp_path: Path) -> None:
    assert proposed(tmp_path, "user_id,age\n1,30\n1,31\n").id is None
    assert proposed(tmp_path, "age,lead_number,id\n30,7,1\n31,8,2\n").id == "id"
    assert proposed(tmp_path, "age,height\n30,1\n31,2\n").id is None
    assert proposed(tmp_path, "age,height\n30,1\n31,2\n", id="age").id == "age"
    with pytest.raises(BadSetting, match=r"--id agee.*did you mean 'age'"):
        proposed(tmp_path, "age,height\n30,1\n31,2\n", id="agee")


def test_an_outcome_has_two_values_and_a_telling_name_or_place(tmp_path: Path) -> None:
    assert proposed(tmp_path, "y,z\nyes,1\nno,2\nno,3\n").goal == ("y", "yes")
    assert proposed(tmp_path, "opt_out,result\nyes,True\nno,False\nno,False\n").goal == ("result", "True")
    assert proposed(tmp_path, "opt_out,age\nyes,1\nno,2\nno,3\n").goal is None
    assert proposed(tmp_path, "outcome,age\nlost,1\nlost,2\ngained,3\n").goal == ("outcome", "gained")
    assert proposed(tmp_path, "churn,age\nyes,1\nno,2\nunknown,3\n").goal == ("churn", "yes")


def test_words_that_are_no_dates_are_no_creation_date(tmp_path: Path) -> None:
    assert proposed(tmp_path, "created,age\nlong ago,1\nyesterday,2\n").columns == {}


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("deal_won", {"event": "deal_won", "horizon_days": 45}),
        ("event:form_submit", {"event": "event:form_submit", "horizon_days": 45}),
        ("lifecycle_stage", {"event": "lifecycle_stage", "horizon_days": 45, "value": "customer"}),
        ("a b=c=d", {"column": "a b", "equals": "c=d"}),
    ],
)
def test_goals_in_short(text: str, goal: dict[str, Any]) -> None:
    assert parse_goal(text, 45) == goal
    assert Goal.from_settings(goal)


def test_a_goal_that_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="deal_one"):
        parse_goal("deal_one", 90)
    code, _, err = init(tmp_path, "--platform", "hubspot", "--goal", "deal_one", "--yes")
    assert code == 2
    assert "deal_won" in err
    assert list(tmp_path.iterdir()) == []
