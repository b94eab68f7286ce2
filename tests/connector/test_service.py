"""`leadlight serve` from outside: webhooks to scores, commands beside it, stops and kills."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.connector.portal import Portal, start, wait_for
from tests.connector.served import (
    Service,
    environment,
    free_port,
    hubspot_events,
    receiving,
    scored_at,
    serving,
    signed,
)
from tests.made_up import write_leads

ROWS = 640
KEEN = {"pricing_visits": "14", "industry": "Software", "employees": "2000"}
PLATFORMS = ["hubspot", "salesforce"]


@pytest.fixture(scope="module")
def leads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leads(tmp_path_factory.mktemp("leads"), ROWS)


@pytest.fixture(scope="module", params=PLATFORMS)
def service(
    request: pytest.FixtureRequest, leads: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    port = free_port()
    with (
        receiving(port, "--from", str(leads), platform=request.param) as account,
        serving(account, tmp_path_factory.mktemp("service"), port) as running,
    ):
        yield running


def a_lead(account: Portal, place: int = 0) -> str:
    """A contact that holds a middling score."""
    scores = {
        key: float(values["leadlight_probability"])
        for key, values in account.contacts().items()
        if values.get("leadlight_score") not in (None, "")
    }
    return sorted(scores, key=lambda one: (scores[one], one))[len(scores) // 3 + place]


def rescored(service: Service, contact_id: str, before: str | None, seconds: float = 60.0) -> None:
    wait_for(
        lambda: scored_at(service.account, contact_id) not in (None, before), f"contact {contact_id}", seconds
    )


def test_a_change_in_the_account_is_rescored_without_being_asked(service: Service) -> None:
    account, lead = service.account, a_lead(service.account)
    before = account.contacts()[lead]
    account.edit(lead, **KEEN)
    rescored(service, lead, before["leadlight_scored_at"])
    after = account.contacts()[lead]
    assert float(after["leadlight_probability"]) > float(before["leadlight_probability"])
    code, told, _ = service.command("explain", lead)
    assert code == 0
    assert float(told["probability"]) == pytest.approx(float(after["leadlight_probability"]), abs=1e-4)


def test_our_own_writes_rescore_nobody(service: Service) -> None:
    account, lead = service.account, a_lead(service.account, 1)
    before = scored_at(account, lead)
    account.edit(lead, **KEEN)
    rescored(service, lead, before)

    def at_work() -> tuple[float, dict[str, int]]:
        return service.metric("leadlight_rescored_contacts_total"), account.calls()

    def quiet() -> bool:
        found = at_work()
        time.sleep(2.0)
        return at_work() == found

    # the poll of the start may still be under way; writes that asked for writes would never come to rest
    wait_for(quiet, "the service to be at rest", 60.0)
    assert quiet()


def test_a_sync_is_handed_over_and_other_commands_are_answered(service: Service) -> None:
    code, result, err = service.command("sync")
    assert code == 0, err
    assert result["pushed"]["failed"] == 0
    assert "Handed to the running service" in err
    code, listed, err = service.command("runs")
    assert code == 0, err
    newest = listed["runs"][0]
    assert (newest["run_id"], newest["command"], newest["status"]) == (result["run_id"], "sync", "done")
    lead = a_lead(service.account)
    code, told, _ = service.command("explain", lead)
    assert (code, told["contact_id"]) == (0, lead)
    wrote = next(run["run_id"] for run in listed["runs"] if run["contacts"]["written"])
    code, told, err = service.command("rollback", wrote, "--dry-run")
    assert code == 0, err
    assert told["of_run"] == wrote
    code, listed, _ = service.command("inbox", "list")
    assert code == 0


@pytest.mark.parametrize("same", [False, True])
def test_a_second_service_is_refused_and_told_who_is_there(service: Service, same: bool) -> None:
    port = str(service.port if same else 0)
    process = start(
        ["serve", "--port", port, "--json"], environment(service.account, service.folder), service.folder
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"process {service.process.pid} (serve" in err


def test_a_port_that_another_program_has_is_told_and_the_state_given_up(service: Service, tmp_path: Path) -> None:
    around = environment(service.account, service.folder) | {"LEADLIGHT_STATE_DIR": str(tmp_path)}
    for _ in range(2):
        process = start(["serve", "--port", str(service.port), "--json"], around, service.folder)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert f"--port {service.port} cannot be listened on" in " ".join(err.split())


def test_health_and_metrics(service: Service) -> None:
    assert service.get("/healthz").json() == {"status": "ok"}
    assert service.get("/readyz").json() == {"ready": True, "troubles": []}
    text = service.get("/metrics").text
    assert "leadlight_inbox_depth" in text
    assert service.get("/").status_code == 200


def test_the_log_is_json_without_anybody_in_it(service: Service) -> None:
    account, lead = service.account, a_lead(service.account, 2)
    before = scored_at(account, lead)
    field = "email" if account.platform == "hubspot" else "Email"
    person = {"contact_id": lead, "properties": {field: "jane.roe@example.org"}}
    requests.post(f"{account.base_url}/_sandbox/edit", json=person, timeout=60).raise_for_status()
    account.edit(lead, **KEEN)
    rescored(service, lead, before)
    assert service.command("explain", lead)[0] == 0
    lines = [one for one in service.log if one.strip()]
    assert [one for one in lines if not one.startswith("{")] == []
    text = "".join(lines).lower()
    assert '"event": "rescored"' in text
    secrets = [account.ready.get(name) for name in ("token", "client_secret")]
    told = ["jane.roe", "example.org", "in-the-path", *(one for one in secrets if one)]
    assert [one for one in told if one.lower() in text] == []


def test_a_storm_on_one_contact_costs_a_handful_of_calls(leads: Path, tmp_path: Path) -> None:
    port = free_port()
    with receiving(port, "--from", str(leads)) as account, serving(account, tmp_path, port) as service:
        lead = a_lead(account)
        url, secret = f"{service.url}/webhooks/hubspot", account.ready["client_secret"]
        before, calls = scored_at(account, lead), sum(account.calls().values())
        for number in range(100):
            body = hubspot_events([lead] * 100, 1 + 100 * number)
            answer = requests.post(url, data=body, headers=signed(secret, url, body), timeout=30)
            assert answer.status_code == 200
        account.edit(lead, **KEEN)
        rescored(service, lead, before)
        wait_for(lambda: service.metric("leadlight_inbox_depth") == 0, "the inbox to be empty")
        assert service.metric('leadlight_webhooks_total{source="hubspot",outcome="accepted"}') >= 100
        # of each batch: a reading, a reading of definitions at times, a write
        assert sum(account.calls().values()) - calls <= 60
