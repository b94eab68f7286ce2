"""Rollback on a pretend account: what stood before stands again, edits are kept, and it can be undone."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pytest
from typer.testing import CliRunner

from connector.cli import app
from tests.connector.commands import inside, without_dates, workplace, writes
from tests.connector.portal import Portal, portal, start, wait_for
from tests.made_up import write_leads

ROWS = 640
EDITED = 20


@pytest.fixture(scope="module")
def leads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leads(tmp_path_factory.mktemp("leads"), ROWS)


@pytest.fixture(scope="module", params=["hubspot", "salesforce"])
def account(request: pytest.FixtureRequest, leads: Path) -> Iterator[Portal]:
    with portal("--from", str(leads), "--search-lag", "0", platform=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, account: Portal) -> Path:
    return workplace(tmp_path_factory.mktemp("work"), account=account)


@pytest.fixture(scope="module")
def before(account: Portal) -> dict[str, dict[str, Any]]:
    return without_dates(account.contacts())


@pytest.fixture(scope="module")
def first(account: Portal, folder: Path, before: dict[str, Any]) -> dict[str, Any]:
    code, result, err = inside(account, folder, "sync")
    assert code == 0, err
    return result


@pytest.fixture(scope="module")
def edited(account: Portal, first: dict[str, Any]) -> list[str]:
    ids = scored(account)[: 2 * EDITED : 2]
    edit(account, ids)
    return ids


def edit(account: Portal, ids: list[str]) -> None:
    for number, contact_id in enumerate(ids):
        if number % 2:
            account.edit(contact_id, leadlight_score="99")
        else:
            account.edit(
                contact_id, leadlight_grade="A" if number % 4 else "D", leadlight_reasons="Asked for a call"
            )


def scores(account: Portal) -> dict[str, tuple[Any, ...]]:
    names = ("leadlight_score", "leadlight_grade", "leadlight_probability", "leadlight_reasons")
    return {contact: tuple(map(values.get, names)) for contact, values in account.contacts().items()}


def scored(account: Portal) -> list[str]:
    return [contact for contact, values in account.contacts().items() if values.get("leadlight_score")]


def test_what_cannot_be_done_is_said_and_writes_nothing(
    account: Portal, folder: Path, first: dict[str, Any]
) -> None:
    _, pulled, _ = inside(account, folder, "pull")
    done = writes(account)
    for arguments, named in (
        ([first["run_id"]], "--yes"),
        (["20990101", "--yes"], "20990101"),
        (["2", "--yes"], "runs"),
        ([pulled["run_id"], "--yes"], "wrote"),
    ):
        code, _, err = inside(account, folder, "rollback", *arguments)
        assert code == 2
        assert named in err
    assert writes(account) == done


def test_a_dry_run_counts_and_writes_nothing(
    account: Portal, folder: Path, first: dict[str, Any], edited: list[str]
) -> None:
    done = writes(account)
    code, result, err = inside(account, folder, "rollback", first["run_id"], "--dry-run")
    assert code == 0, err
    assert result["restored"] == first["pushed"]["changed"] - EDITED
    assert result["skipped"] == {"edited_since": EDITED, "gone": 0}
    assert writes(account) == done


@pytest.fixture(scope="module")
def back(account: Portal, folder: Path, first: dict[str, Any], edited: list[str]) -> dict[str, Any]:
    """The rollback of the first sync, what stood before it, and what stood after it."""
    stood = without_dates(account.contacts())
    code, result, err = inside(account, folder, "rollback", first["run_id"][:22], "--yes")
    assert code == 0, err
    return {"result": result, "stood": stood, "stands": without_dates(account.contacts())}


def test_everything_is_as_before_but_what_was_edited(
    before: dict[str, Any], first: dict[str, Any], edited: list[str], back: dict[str, Any]
) -> None:
    result, stands = back["result"], back["stands"]
    assert result["restored"] == first["pushed"]["changed"] - EDITED
    assert result["skipped"] == {"edited_since": EDITED, "gone": 0}
    assert result["failed"] == 0
    untouched = set(before) - set(edited)
    assert {contact: stands[contact] for contact in untouched} == {key: before[key] for key in untouched}
    for contact_id in edited:
        theirs = {name: stands[contact_id][name] for name in stands[contact_id] if name not in before[contact_id]}
        assert theirs
        assert set(theirs.items()) <= set(back["stood"][contact_id].items())
        assert theirs.keys() <= {"leadlight_score", "leadlight_grade", "leadlight_reasons"}
    assert {row["contact_id"] for row in result["kept"]} == set(edited)
    assert all(row["by_run"] is None for row in result["kept"])


def test_the_next_sync_holds_back_what_was_rolled_back(
    account: Portal, folder: Path, first: dict[str, Any], back: dict[str, Any]
) -> None:
    done = writes(account)
    code, result, err = inside(account, folder, "sync")
    assert code == 0, err
    assert result["pushed"]["changed"] == 0
    assert result["pushed"]["held"] == first["pushed"]["changed"] == back["result"]["held"]
    assert "--resume" in err
    assert writes(account) == done
    assert without_dates(account.contacts()) == back["stands"]


def test_a_rollback_can_be_rolled_back_and_then_holds_nothing(
    account: Portal, folder: Path, first: dict[str, Any], back: dict[str, Any], edited: list[str]
) -> None:
    code, result, err = inside(account, folder, "rollback", back["result"]["run_id"], "--yes")
    assert code == 0, err
    assert result["restored"] == first["pushed"]["changed"]
    assert without_dates(account.contacts()) == back["stood"]
    code, listed, err = inside(account, folder, "runs")
    assert code == 0, err
    undone = {row["run_id"]: row["rolled_back_by"] for row in listed["runs"]}
    assert undone[back["result"]["run_id"]] == result["run_id"]
    code, synced, err = inside(account, folder, "sync")
    assert code == 0, err
    assert synced["pushed"]["held"] == 0
    # edits are no longer held: what the model says stands again
    assert synced["pushed"]["changed"] == EDITED


def test_values_that_a_later_run_wrote_are_kept(account: Portal, folder: Path, first: dict[str, Any]) -> None:
    code, result, err = inside(account, folder, "rollback", first["run_id"], "--dry-run")
    assert code == 0, err
    # the sync after the undo wrote the very values of the first run again: only its time may differ
    assert result["restored"] == first["pushed"]["changed"]
    leads = scored(account)[:3]
    for contact_id in leads:
        account.edit(contact_id, pricing_visits="14", industry="Software", employees="2000")
    code, later, err = inside(account, folder, "sync")
    assert code == 0, err
    assert later["pushed"]["changed"] == len(leads)
    code, result, err = inside(account, folder, "rollback", first["run_id"], "--dry-run")
    assert code == 0, err
    assert result["skipped"]["edited_since"] == len(leads)
    by = {row["contact_id"]: row["by_run"] for row in result["kept"] if row["property"] == "leadlight_score"}
    assert set(by.values()) == {later["run_id"]}


def test_resume_writes_again(account: Portal, folder: Path, first: dict[str, Any]) -> None:
    stood = scores(account)
    code, result, err = inside(account, folder, "rollback", first["run_id"], "--yes")
    assert code == 0, err
    assert result["restored"] > first["pushed"]["changed"] / 2
    assert scores(account) != stood
    done = writes(account)
    code, held, err = inside(account, folder, "push")
    assert code == 0, err
    assert held["pushed"]["changed"] == 0
    assert held["pushed"]["held"] >= result["restored"]
    assert writes(account) == done
    code, again, err = inside(account, folder, "push", "--resume")
    assert code == 0, err
    assert again["pushed"]["changed"] >= result["restored"]
    assert again["pushed"]["held"] == 0
    assert scores(account) == stood


@pytest.fixture(scope="module")
def calls_of_first(account: Portal, first: dict[str, Any]) -> int:
    return int(first["api_calls"]["total"])


def killed(leads: Path, folder: Path, call: int, edits: int, platform: str = "hubspot") -> dict[str, Any]:
    """A rollback killed at the sandbox's call number `call` and run again: its result, and the contacts."""
    options = ("--from", str(leads), "--search-lag", "0", "--fault", f"hang-after={call}")
    with portal(*options, platform=platform) as account:
        code, synced, err = inside(account, workplace(folder, account=account), "sync")
        assert code == 0, err
        edit(account, scored(account)[: 2 * edits : 2])
        arguments = ["rollback", synced["run_id"], "--yes", "--json"]
        process = start(arguments, account.environment(folder / "state"), folder)
        wait_for(lambda: sum(account.calls().values()) >= call or process.poll() is not None, f"call {call}")
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        # the schedule comes in between: it must not write again what is being put back
        code, between, err = inside(account, folder, "sync")
        assert code == 0, err
        code, result, err = inside(account, folder, "rollback", synced["run_id"], "--yes")
        assert code == 0, err
        contacts = without_dates(account.contacts())
        code, undone, err = inside(account, folder, "rollback", result["run_id"], "--yes")
        assert code == 0, err
        return {
            **result,
            "between": between["pushed"]["changed"],
            "contacts": contacts,
            "changed": synced["pushed"]["changed"],
            "undone": undone["restored"],
        }


# among its first batches: some calls say whose account it is and read what stands
def test_killed_half_way_and_run_again_it_ends_the_same(
    leads: Path,
    tmp_path: Path,
    calls_of_first: int,
    before: dict[str, Any],
    edited: list[str],
    back: dict[str, Any],
    account: Portal,
) -> None:
    beyond = {"hubspot": 9, "salesforce": 6}[account.platform]
    result = killed(leads, tmp_path / "work", calls_of_first + beyond, EDITED, account.platform)
    assert result["between"] == 0
    assert result["restored"] == back["result"]["restored"]
    assert result["skipped"] == back["result"]["skipped"]
    assert result["failed"] == 0
    untouched = set(before) - set(edited)
    assert {contact: result["contacts"][contact] for contact in untouched} == {
        key: before[key] for key in untouched
    }
    assert result["undone"] == result["changed"]


def test_results_in_files_can_be_rolled_back(leads: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> dict[str, Any]:
        given = ["--platform", "files", "--mapping", str(leads), "--json"]
        environment = {"LEADLIGHT_STATE_DIR": str(tmp_path / "state")}
        result = CliRunner().invoke(app, [*arguments, *given], env=environment)
        assert result.exit_code == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def rows() -> list[dict[str, Any]]:
        [published] = (tmp_path / "state").glob("results/*/leadlight_results.csv")
        table: list[dict[str, Any]] = pa_csv.read_csv(published).to_pylist()
        return table

    synced = run("sync")
    assert sum(bool(row.get("leadlight_score")) for row in rows()) == synced["pushed"]["changed"] > 0
    result = run("rollback", synced["run_id"], "--yes")
    assert result["restored"] == synced["pushed"]["changed"]
    assert not any(value for row in rows() for name, value in row.items() if name.startswith("leadlight"))
    assert run("sync")["pushed"]["changed"] == 0


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("beyond", [2, 4, 6, 7, 8, 10, 11])
def test_killed_anywhere_it_ends_the_same(
    leads: Path,
    tmp_path: Path,
    calls_of_first: int,
    back: dict[str, Any],
    account: Portal,
    beyond: int,
) -> None:
    """Killed before it knew what to put back, it was never begun: the sync that comes in between writes over what
    a person had edited, as any sync does, and that is put back with the rest."""
    result = killed(leads, tmp_path / "work", calls_of_first + beyond, EDITED, account.platform)
    assert result["between"] in (0, EDITED)
    kept = EDITED - result["between"]
    assert result["restored"] == back["result"]["restored"] + result["between"]
    assert result["skipped"] == {**back["result"]["skipped"], "edited_since": kept}
    assert result["undone"] == result["changed"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_twenty_thousand_contacts(tmp_path: Path) -> None:
    folder, edits = workplace(tmp_path / "work"), 50
    with portal("--from", str(write_leads(tmp_path, 20_000)), "--search-lag", "0") as account:
        before = without_dates(account.contacts())
        code, synced, err = inside(account, folder, "sync")
        assert code == 0, err
        ids = scored(account)[:edits]
        edit(account, ids)
        call = sum(account.calls().values()) + 200
        process = start(
            ["rollback", synced["run_id"], "--yes", "--json"], account.environment(folder / "state"), folder
        )
        # The sandbox tells its calls with all 20,000 contacts: asked at short intervals it does little else.
        wait_for(
            lambda: sum(account.calls().values()) >= call or process.poll() is not None,
            f"call {call}",
            seconds=900,
            every=2.0,
        )
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        code, result, err = inside(account, folder, "rollback", synced["run_id"], "--yes")
        assert code == 0, err
        stands = without_dates(account.contacts())
    assert result["restored"] == synced["pushed"]["changed"] - edits
    assert result["skipped"] == {"edited_since": edits, "gone": 0}
    untouched = set(before) - set(ids)
    assert {contact: stands[contact] for contact in untouched} == {
        contact: before[contact] for contact in untouched
    }
