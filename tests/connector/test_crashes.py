"""Killed from outside at its n-th call and run again: mirror, ledger and portal end as if nothing had happened."""

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.connector.commands import without_dates, workplace
from tests.connector.portal import Portal, leadlight, portal, start, wait_for
from tests.made_up import write_leads

ROWS = 930
SYNC = ["sync", "--json"]
#: Calls of an unkilled first sync: a dozen that look around, ten list pages, nine batches.
CALLS = 32

#: What must be equal, without run ids, request ids and times.
TABLES = {
    "contacts": "select contact_id, properties, ours from store.contacts order by all",
    "history": "select object, object_id, property, value, source from store.property_history order by all",
    "ledger": """select object_id, property, value_before, value_after, predictor, model, state
                 from store.writes left join store.outcomes using (run_id, object, object_id) order by all""",
    "predictions": 'select contact_id, "values" from store.predictions order by all',
}


@pytest.fixture(scope="module")
def leads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leads(tmp_path_factory.mktemp("leads"), ROWS)


def without_time(ours: str) -> dict[str, str]:
    return {name: value for name, value in json.loads(ours).items() if name != "leadlight_scored_at"}


def end_state(account: Portal, folder: Path) -> dict[str, Any]:
    mirrors = list((folder / "state").glob("*/mirror.duckdb"))
    assert len(mirrors) == 1
    with duckdb.connect(str(mirrors[0]), read_only=True) as connection:
        state: dict[str, Any] = {name: connection.execute(query).fetchall() for name, query in TABLES.items()}
    state["contacts"] = [(key, properties, without_time(ours)) for key, properties, ours in state["contacts"]]
    state["ledger"] = [row for row in state["ledger"] if row[1] != "leadlight_scored_at"]
    state["portal"] = {
        contact: {name: value for name, value in values.items() if name.lower() != "leadlight_scored_at"}
        for contact, values in without_dates(account.contacts()).items()
    }
    return state


def not_killed(leads: Path, folder: Path, platform: str) -> dict[str, Any]:
    with portal("--from", str(leads), "--search-lag", "0", platform=platform) as account:
        workplace(folder, account=account)
        code, _, err = leadlight(SYNC, account.environment(folder / "state"), folder)
        assert code == 0, err
        return end_state(account, folder)


@pytest.fixture(scope="module")
def unkilled(leads: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return not_killed(leads, tmp_path_factory.mktemp("unkilled"), "hubspot")


def killed_and_run_again(
    leads: Path, folder: Path, call: int, platform: str = "hubspot"
) -> tuple[dict[str, Any], bool]:
    """The end state, and whether the run was in fact killed (not done before its n-th call)."""
    options = ("--from", str(leads), "--search-lag", "0", "--fault", f"hang-after={call}")
    with portal(*options, platform=platform) as account:
        workplace(folder, account=account)
        environment = account.environment(folder / "state")
        process = start(SYNC, environment, folder)
        wait_for(lambda: sum(account.calls().values()) >= call or process.poll() is not None, f"call {call}")
        time.sleep(0.5)
        killed = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        code, _, err = leadlight(SYNC, environment, folder)
        assert code == 0, err
        return end_state(account, folder), killed


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The first rows that only one of the two has, by table."""
    found = {}
    for name in one:
        ours, theirs = ({repr(row) for row in rows(state[name])} for state in (one, other))
        if ours != theirs or len(rows(one[name])) != len(rows(other[name])):
            found[name] = (sorted(ours - theirs)[:2], sorted(theirs - ours)[:2])
    return found


def rows(table: Any) -> list[Any]:
    return list(table.items()) if isinstance(table, dict) else table


# a call while looking around, in the list, at its end, in the first and in a later batch
@pytest.mark.parametrize("call", [3, 9, 17, 24, 29])
def test_a_kill_loses_nothing_and_repeats_nothing(
    leads: Path, tmp_path: Path, unkilled: dict[str, Any], call: int
) -> None:
    state, killed = killed_and_run_again(leads, tmp_path / "work", call)
    assert killed
    assert differences(unkilled, state) == {}


@pytest.fixture(scope="module")
def unkilled_org(leads: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return not_killed(leads, tmp_path_factory.mktemp("unkilled_org"), "salesforce")


# while looking around, and among the writes
@pytest.mark.parametrize("call", [7, 31])
def test_a_kill_loses_nothing_on_salesforce_either(
    leads: Path, tmp_path: Path, unkilled_org: dict[str, Any], call: int
) -> None:
    state, killed = killed_and_run_again(leads, tmp_path / "work", call, "salesforce")
    assert killed
    assert differences(unkilled_org, state) == {}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_twenty_kills_lose_nothing(leads: Path, tmp_path: Path, unkilled: dict[str, Any]) -> None:
    calls = random.Random(20).sample(range(1, CALLS), 20)
    for call in calls:
        state, _ = killed_and_run_again(leads, tmp_path / f"work{call}", call)
        assert differences(unkilled, state) == {}, f"killed at call {call}"
