"""The main job, from outside: a file of leads through a pretend HubSpot over real HTTP, and back."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.connector.commands import workplace
from tests.connector.portal import Portal, leadlight, portal, start, wait_for
from tests.made_up import write_leads

ROWS = 1530
SYNC = ["sync", "--json"]


@pytest.fixture(scope="module")
def leads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leads(tmp_path_factory.mktemp("leads"), ROWS)


@pytest.fixture(scope="module", params=["hubspot", "salesforce"])
def account(request: pytest.FixtureRequest, leads: Path) -> Iterator[Portal]:
    with portal("--from", str(leads), "--search-lag", "1", platform=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, account: Portal) -> Path:
    return workplace(tmp_path_factory.mktemp("work"), account=account)


@pytest.fixture(scope="module")
def first(account: Portal, folder: Path) -> dict[str, Any]:
    code, result, err = leadlight(SYNC, account.environment(folder / "state"), folder)
    assert code == 0, err
    return result


def batch_calls(calls: dict[str, int]) -> int:
    writing = ("/batch/update", "/composite/sobjects")
    return sum(count for endpoint, count in calls.items() if endpoint.endswith(writing))


def list_calls(calls: dict[str, int]) -> int:
    return sum(
        count
        for endpoint, count in calls.items()
        if endpoint.startswith("GET /crm/objects/") and endpoint.endswith("/contacts")
    )


def test_every_open_contact_holds_a_score_and_no_converted_one(account: Portal, first: dict[str, Any]) -> None:
    contacts = account.contacts()
    assert len(contacts) == ROWS
    assert first["pulled"]["contacts"] == ROWS
    open_ones = {key for key, values in contacts.items() if values["y"] == "no"}
    scored = {key for key, values in contacts.items() if values.get("leadlight_score")}
    assert scored == open_ones
    assert first["scored"] == first["pushed"]["changed"] == len(open_ones)
    assert first["pushed"]["failed"] == first["pushed"]["skipped"] == 0


def test_values_are_what_the_manifest_says(account: Portal, first: dict[str, Any]) -> None:
    assert first["gates"]["lead_score"] == {"passed": True, "ran": True, "reasons": []}
    assert first["gates"]["segments"]["ran"] is False
    some = [values for values in account.contacts().values() if values.get("leadlight_score")]
    for values in some[:200]:
        assert 0 <= float(values["leadlight_score"]) <= 100
        assert 0 <= float(values["leadlight_probability"]) <= 1
        assert values["leadlight_grade"] in "ABCD"
        assert values["leadlight_reasons"]
        assert values["leadlight_model"].startswith("lead_score-")
        assert values["leadlight_scored_at"]
    assert any("Software" in values["leadlight_reasons"] for values in some)


def test_dropped_columns_are_never_served(account: Portal) -> None:
    assert all("duration" not in values for values in account.contacts().values())


def test_the_job_costs_what_it_must(account: Portal, first: dict[str, Any]) -> None:
    calls = first["api_calls"]["by_endpoint"]
    size = {"hubspot": 100, "salesforce": 200}[account.platform]
    assert list_calls(calls) <= math.ceil(1.05 * math.ceil(ROWS / 100))
    assert batch_calls(calls) <= 1.02 * math.ceil(first["pushed"]["changed"] / size) + 1
    assert first["api_calls"]["total"] == sum(calls.values())


def test_later_syncs_write_nothing_and_cost_little(account: Portal, folder: Path, first: dict[str, Any]) -> None:
    time.sleep(2)
    environment = account.environment(folder / "state")
    before = batch_calls(account.calls())
    code, second, err = leadlight(SYNC, environment, folder)
    assert code == 0, err
    assert second["pushed"]["changed"] == 0
    assert second["scored"] == 0
    assert second["api_calls"]["total"] <= math.ceil(first["pushed"]["changed"] / 200) + 30
    time.sleep(2)
    code, third, err = leadlight(SYNC, environment, folder)
    assert code == 0, err
    assert third["pushed"]["changed"] == 0
    assert third["api_calls"]["total"] <= 30
    assert batch_calls(account.calls()) == before


def test_an_edit_by_a_person_reaches_the_next_sync(account: Portal, folder: Path, first: dict[str, Any]) -> None:
    contacts = account.contacts()
    lead = min(
        (key for key, values in contacts.items() if values.get("leadlight_score")),
        key=lambda key: (float(contacts[key]["leadlight_probability"]), key.zfill(18)),
    )
    account.edit(lead, pricing_visits="12", industry="Software", employees="2000")
    converted = max(
        (key for key, values in contacts.items() if values.get("leadlight_score")), key=lambda key: key.zfill(18)
    )
    account.edit(converted, y="yes")
    time.sleep(2)
    code, result, err = leadlight(SYNC, account.environment(folder / "state"), folder)
    assert code == 0, err
    after = account.contacts()
    assert float(after[lead]["leadlight_probability"]) > float(contacts[lead]["leadlight_probability"])
    assert not after[converted].get("leadlight_score")
    assert not after[converted].get("leadlight_grade")
    assert result["pushed"]["changed"] == 2
    assert result["scored"] == 1


@pytest.mark.parametrize(("platform", "latency"), [("hubspot", "150"), ("salesforce", "1000")])
def test_an_edit_while_the_push_runs_reaches_the_next_sync(
    leads: Path, tmp_path: Path, platform: str, latency: str
) -> None:
    options = ("--from", str(leads), "--search-lag", "1", "--latency-ms", latency)
    with portal(*options, platform=platform) as slow:
        workplace(tmp_path, account=slow)
        environment = slow.environment(tmp_path / "state")
        process = start(SYNC, environment, tmp_path)
        wait_for(lambda: batch_calls(slow.calls()) > 0 or process.poll() is not None, "the first batch")
        open_ones = [key for key, values in slow.contacts().items() if values["y"] == "no"]
        # one that was written by then, and one that is not written yet or was just now
        edited = (open_ones[0], open_ones[-1])
        for contact in edited:
            slow.edit(contact, pricing_visits="14", industry="Software", employees="2000")
        assert process.poll() is None, "the push was over before the edit"
        process.communicate(timeout=120)
        assert process.returncode == 0
        before = slow.contacts()
        time.sleep(2)
        code, _, err = leadlight(SYNC, environment, tmp_path)
        assert code == 0, err
        after = slow.contacts()
    for contact in edited:
        assert float(after[contact]["leadlight_probability"]) > float(before[contact]["leadlight_probability"])
