"""People to whom nothing may be written as things stand now: by a list that cannot be read, whom nobody knows any
more; by an objection that came after the plan."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.jobs.rescore import rescore
from tests.connector.rescoring import Portal, hint, portal
from tests.made_up import write_leads

SCOPE = "crm.lists.read"
KEEN = {"pricing_visits": "14", "industry": "Software", "employees": "2000"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_leads(tmp_path_factory.mktemp("leads"), 640)
    with portal(leads, tmp_path_factory.mktemp("state")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def undisturbed(account: Portal) -> Iterator[None]:
    """Each test begins with a list 42 that can be read, and takes its trouble with it."""
    faults = account.box.host.plan.faults
    account.box.state.lists = {"42": dict.fromkeys(map(int, members(account)), account.box.state.clock())}
    yield
    account.box.host.plan.faults = faults


def members(account: Portal) -> list[str]:
    return account.open_leads()[:5]


def lose_scope(account: Portal) -> None:
    plan = account.box.host.plan
    plan.faults = replace(plan.faults, missing_scopes=frozenset({SCOPE}))


def lose_list(account: Portal) -> None:
    account.box.state.lists = {}


def run(account: Portal, folder: Path, *arguments: str, filters: str) -> tuple[int, dict[str, Any], str]:
    text = f'max_grade_moves = 1\n{filters}\n[goal]\ncolumn = "y"\nequals = "yes"\n'
    (folder / "leadlight.toml").write_text(text, encoding="utf-8")
    environment = {
        "LEADLIGHT_PLATFORM": "hubspot",
        "LEADLIGHT_STATE_DIR": str(account.settings.state_dir),
        "LEADLIGHT_HUBSPOT_BASE_URL": account.box.base_url,
        "LEADLIGHT_HUBSPOT_TOKEN": str(account.box.token),
    }
    result = CliRunner().invoke(
        app, [*arguments, "--json", "--config", str(folder / "leadlight.toml")], env=environment
    )
    return result.exit_code, json.loads(result.stdout or "{}"), result.stderr


EXCLUDE = '[write.exclude]\nlist = ["42"]\n'
FILTERS = {
    "write.exclude": EXCLUDE,
    "write.include": '[write.include]\nlist = ["42"]\n',
    "exclude": '[exclude]\nlist = ["42"]\n',
}


EVERY = ("push", "sync", "push --dry-run", "sync --dry-run", "train", "score")


@pytest.mark.parametrize(
    ("lose", "where", "commands"),
    [
        (lose_scope, "write.exclude", ("sync", "push")),
        (lose_list, "write.exclude", EVERY),
        (lose_scope, "exclude", EVERY),
        (lose_list, "write.include", ("sync",)),
    ],
)
def test_a_pull_goes_on_and_says_so_and_what_would_write_refuses(
    account: Portal, tmp_path: Path, lose: Any, where: str, commands: tuple[str, ...]
) -> None:
    """Also where the list could be read before: who came to it since is not known."""
    code, _, err = run(account, tmp_path, "pull", filters=FILTERS[where])
    assert code == 0, err
    lose(account)
    writes, before = account.writes(), {one: account.values(one) for one in account.open_leads()}
    code, found, err = run(account, tmp_path, "pull", filters=FILTERS[where])
    assert code == 0, err
    assert found["lists_unread"] == {"42": f"[{where}] list"}
    assert f"[{where}] list names '42'" in err
    for command in commands:
        code, _, err = run(account, tmp_path, *command.split(), filters=FILTERS[where])
        assert code == 2, (command, err)
        assert f"[{where}] list names '42'" in err
        assert (SCOPE in err) == (lose is lose_scope)
    assert account.writes() == writes
    assert {one: account.values(one) for one in account.open_leads()} == before


def test_a_push_with_a_list_that_nobody_pulled_refuses(account: Portal, tmp_path: Path) -> None:
    writes = account.writes()
    code, _, err = run(account, tmp_path, "push", filters='[write.exclude]\nlist = ["7"]\n')
    assert code == 2
    assert "[write.exclude] list names '7'" in err
    assert account.writes() == writes


def test_who_is_on_an_excluded_list_gets_nothing_by_webhook_either(account: Portal, tmp_path: Path) -> None:
    code, _, err = run(account, tmp_path, "sync", filters=EXCLUDE)
    assert code == 0, err
    excluded, other = next(iter(account.box.state.lists["42"])), account.open_leads()[20]
    assert not account.values(str(excluded)).get("leadlight_score")
    account.hints()
    filters = {"write": {"exclude": {"list": ["42"]}}}
    for one in (str(excluded), other):
        account.edit(one, **KEEN)
    result = account.rescore(**filters)
    assert (result["scored"], result["reasons"]) == (2, [])
    assert not account.values(str(excluded)).get("leadlight_score")
    assert float(account.values(other)["leadlight_score"]) > 80

    lose_scope(account)
    run(account, tmp_path, "pull", filters=EXCLUDE)
    writes = account.writes()
    account.edit(other, pricing_visits="0", industry="Retail", employees="5")
    with account.running(**filters) as one_run:
        refused = rescore(one_run, account.hints() or [hint("changed", other)])
    assert (refused["changed"], refused["left"]) == (0, [])
    assert "[write.exclude] list names '42'" in refused["reasons"][0]
    assert account.writes() == writes


def test_a_plan_waits_until_the_list_can_be_read_again(account: Portal, tmp_path: Path) -> None:
    filters = f'require_approval = true\nmin_score_step = 0\nexcluded = ["age"]\n{EXCLUDE}'
    code, found, err = run(account, tmp_path, "sync", filters=filters)
    assert code == 3, err
    lose_scope(account)
    run(account, tmp_path, "pull", filters=filters)
    writes = account.writes()
    code, _, err = run(account, tmp_path, "approve", found["plan"], filters=filters)
    assert code == 2
    assert "[write.exclude] list names '42'" in err
    assert account.writes() == writes
    account.box.host.plan.faults = replace(account.box.host.plan.faults, missing_scopes=frozenset())
    run(account, tmp_path, "pull", filters=filters)
    code, done, err = run(account, tmp_path, "approve", found["plan"], filters=filters)
    assert code == 0, err
    assert done["status"] == "done"


def test_who_objects_after_the_plan_was_made_gets_nothing(account: Portal, tmp_path: Path) -> None:
    filters = (
        "require_approval = true\nmin_score_step = 0\n"
        '[consent]\nprofiling_property = "age"\ndenied_values = ["99"]\n'
    )
    code, found, err = run(account, tmp_path, "sync", filters=filters)
    assert code == 3, err
    code, shown, err = run(account, tmp_path, "runs", found["plan"], filters=filters)
    objector = next(row["contact_id"] for row in shown["entries"] if row["after"] is not None)
    account.edit(objector, age="99")
    writes = account.writes()
    code, _, err = run(account, tmp_path, "approve", found["plan"], filters=filters)
    assert code == 3
    assert "1 contacts have since objected to profiling" in err
    assert account.writes() == writes


def test_who_objects_loses_everything_whatever_a_rollback_or_a_gate_says(
    account: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose former values a rollback put back and holds; one whose predictor a gate refuses today."""
    consent = '[consent]\nprofiling_property = "age"\ndenied_values = ["99"]\n'
    code, _, err = run(account, tmp_path, "sync", filters=consent)
    assert code == 0, err
    other = f'min_score_step = 0\nexcluded = ["industry"]\n{consent}'
    code, found, err = run(account, tmp_path, "sync", filters=other)
    assert code == 0, err
    code, back, err = run(account, tmp_path, "rollback", found["run_id"], "--yes", filters=other)
    assert (code, back["restored"] > 100) == (0, True), err
    code, _, err = run(account, tmp_path, "push", "--resume", "--max-changes", "0", filters=other)
    assert code == 3, err
    # a refusal leaves the holds as they are, as the next sync shows
    held, refused = account.open_leads()[:2]
    account.edit(held, age="99")
    code, found, err = run(account, tmp_path, "sync", filters=other)
    assert (code, found["pushed"]["held"] > 100) == (0, True), err
    assert not ours(account, held)
    account.edit(refused, age="99")
    monkeypatch.setattr("connector.jobs.push.passed_names", lambda *_: ["leadlight_segment"])
    code, _, err = run(account, tmp_path, "sync", filters=other)
    assert code == 0, err
    assert not ours(account, refused)
    assert ours(account, account.open_leads()[5])
    monkeypatch.undo()
    run(account, tmp_path, "sync", "--resume", filters=consent)


def ours(account: Portal, contact_id: str) -> dict[str, str]:
    values = account.values(contact_id).items()
    return {name: value for name, value in values if name.startswith("leadlight_") and value}


def test_a_rollback_clears_and_puts_nothing_back(account: Portal, tmp_path: Path) -> None:
    """What stood before belongs to people whom the list might hold; what is only ours may go."""
    code, found, err = run(
        account, tmp_path, "sync", filters='min_score_step = 0\nexcluded = ["pricing_visits"]\n'
    )
    assert code == 0, err
    assert found["pushed"]["changed"] > 100
    lose_list(account)
    run(account, tmp_path, "pull", filters=EXCLUDE)
    before = {one: account.values(one)["leadlight_score"] for one in account.open_leads()}
    code, back, err = run(account, tmp_path, "rollback", found["run_id"], "--yes", filters=EXCLUDE)
    assert code == 0, err
    assert back["barred"] > 100
    assert "[write.exclude] list names '42'" in err
    after = {one: account.values(one)["leadlight_score"] for one in account.open_leads()}
    assert {one: before[one] for one in after} == after


@pytest.mark.parametrize("lose", [lose_scope, lose_list])
def test_uninstall_takes_everything_away_all_the_same(account: Portal, tmp_path: Path, lose: Any) -> None:
    lose(account)
    code, found, err = run(account, tmp_path, "uninstall", "--dry-run", filters=EXCLUDE)
    assert code == 0, err
    assert found["contacts"] > 300
    if lose is lose_list:
        code, found, err = run(account, tmp_path, "uninstall", "--yes", filters=EXCLUDE)
        assert code == 0, err
        assert account.open_leads() == []
