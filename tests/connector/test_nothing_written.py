"""Every refusal, every dry run and every destructive command that nobody confirmed: the account is as before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connector.cli import COMMANDS, asking
from tests.connector.commands import inside, workplace, writes
from tests.connector.portal import Portal, portal
from tests.made_up import write_leads

STRICT = '{"min_positives": 100000}'
PLAIN: dict[str, str] = {}
#: A model that knows less gives other values.
OTHERS = {"excluded": '["pricing_visits"]', "min_score_step": "0", "max_grade_moves": "1"}

#: Arguments, settings, exit code, a word of what is said. `{run}` is the first sync's, `{contact}` one contact.
CASES: list[tuple[str, dict[str, str], int, str]] = [
    ("sync", {"gates": STRICT}, 3, "refused"),
    ("push", {"gates": STRICT}, 3, "refused"),
    ("sync --max-changes 0", OTHERS, 3, "max_changes"),
    ("push --max-changes 0", OTHERS, 3, "max_changes"),
    ("sync", {**OTHERS, "require_approval": "true"}, 3, "approve"),
    ("sync --dry-run", OTHERS, 0, ""),
    ("push --dry-run", OTHERS, 0, ""),
    ("rollback {run} --dry-run", PLAIN, 0, ""),
    ("rollback {run}", PLAIN, 2, "--yes"),
    ("rollback nonesuch --yes", PLAIN, 2, "nonesuch"),
    ("approve nonesuch", PLAIN, 2, "nonesuch"),
    ("uninstall --dry-run", PLAIN, 0, ""),
    ("uninstall", PLAIN, 2, "--yes"),
    ("install --dry-run", PLAIN, 0, ""),
    ("erase {contact}", PLAIN, 2, "--yes"),
    ("erase 99999999999 --yes", PLAIN, 2, ""),
    ("models promote nonesuch", PLAIN, 2, "nonesuch"),
    ("sync", {"write": '{"exclude": {"list": ["42"]}}'}, 2, "[write.exclude] list names '42'"),
    ("push", {"write": '{"exclude": {"list": ["42"]}}'}, 2, "[write.exclude] list names '42'"),
    ("sync", {"consent": "maybe"}, 2, "opt_in"),
    ("pull", PLAIN, 0, ""),
    ("train", PLAIN, 0, ""),
    ("score", PLAIN, 0, ""),
    ("evaluate", PLAIN, 0, ""),
    ("measure", PLAIN, 0, ""),
    ("export {contact}", PLAIN, 0, ""),
    ("explain {contact}", PLAIN, 0, ""),
    ("runs", PLAIN, 0, ""),
]

#: Commands that are no part of this, each for its own reason.
ELSEWHERE = {
    "init": "calls no platform",
    "manifest": "calls no platform",
    "report": "calls no platform",
    "sandbox": "is one",
    "demo": "has an account of its own",
    "doctor": "sends two requests that name nothing, to learn whether it might write (test_doctor)",
    "serve": "asks nothing, has tests of its own",
    "inbox": "calls no platform",
}


def test_every_command_is_here_or_has_a_reason_not_to_be() -> None:
    known = {command.__name__ for command in COMMANDS}
    tested = {arguments.split()[0] for arguments, *_ in CASES}
    assert known - tested - set(ELSEWHERE) == set()
    assert tested <= known
    assert not tested & set(ELSEWHERE)


@pytest.fixture(scope="module", params=["hubspot", "salesforce"])
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_leads(tmp_path_factory.mktemp("leads"), 640)
    with portal("--from", str(leads), "--search-lag", "0", platform=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, account: Portal) -> Path:
    return workplace(tmp_path_factory.mktemp("work"), account=account)


@pytest.fixture(scope="module")
def first(account: Portal, folder: Path) -> dict[str, Any]:
    code, result, err = inside(account, folder, "sync")
    assert code == 0, err
    assert result["pushed"]["changed"] > 300
    return result


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{one[0]}" for number, one in enumerate(CASES)])
def test_the_account_is_as_before(
    account: Portal, folder: Path, first: dict[str, Any], case: tuple[str, dict[str, str], int, str]
) -> None:
    command, settings, code, said = case
    before, done = account.contacts(), writes(account)
    [contact] = [one for one, values in before.items() if values.get("leadlight_score")][:1]
    arguments = command.format(run=first["run_id"], contact=contact).split()
    chosen = {
        key: text.replace("pricing_visits", account.named("pricing_visits")) for key, text in settings.items()
    }
    found, _, err = inside(account, folder, *arguments, **chosen)
    assert found == code, err
    assert said in err
    assert writes(account) == done
    assert account.contacts() == before


@pytest.mark.parametrize("command", ["rollback {run}", "uninstall", "erase {contact}"])
def test_who_says_no_is_taken_at_their_word(
    account: Portal, folder: Path, first: dict[str, Any], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "at_terminal", lambda: True)
    before, done = account.contacts(), writes(account)
    [contact] = [one for one, values in before.items() if values.get("leadlight_score")][:1]
    [state] = (folder / "state").glob(f"{account.platform}-*")
    answered = command.format(run=first["run_id"], contact=contact).split()
    code, result, err = inside(account, folder, *answered, answers="n\n")
    assert code == 3
    assert "nothing was written" in err
    assert result["refused"]
    assert writes(account) == done
    assert account.contacts() == before
    assert not (state / "erasing.json").exists()
    code, known, _ = inside(account, folder, "export", contact)
    assert (code, known["contact_ids"]) == (0, [contact])
