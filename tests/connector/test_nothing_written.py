"""Every refusal, every dry run and every destructive command that nobody confirmed: the account is as before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
]


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
    given = {
        key: text.replace("pricing_visits", account.named("pricing_visits")) for key, text in settings.items()
    }
    found, _, err = inside(account, folder, *arguments, **given)
    assert found == code, err
    assert said in err
    assert writes(account) == done
    assert account.contacts() == before
