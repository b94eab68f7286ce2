"""`leadlight serve` stopped, killed and late, from outside: what was begun or acknowledged is finished, once."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from tests.connector.commands import workplace
from tests.connector.portal import Portal, clean_environment, leadlight, portal, start, wait_for
from tests.connector.served import (
    Service,
    begun,
    environment,
    free_port,
    hubspot_events,
    salesforce_callout,
    scored_at,
    serving,
    signed,
    signed_callout,
    webhook_path,
)
from tests.made_up import write_leads

ROWS = 320
PLATFORMS = ["hubspot", "salesforce"]
#: No poll: what a webhook told is found by nothing else.
DEAF = '[serve]\nsync = ""\npoll_minutes = 0\n'
pytestmark = pytest.mark.timeout(900)
MARKS = "('leadlight_scored_at', 'leadlight_model')"


@pytest.fixture(scope="module")
def leads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leads(tmp_path_factory.mktemp("leads"), ROWS)


@pytest.fixture
def account(request: pytest.FixtureRequest, leads: Path) -> Iterator[Portal]:
    """On both platforms where a test says so."""
    platform = getattr(request, "param", "hubspot")
    with portal("--search-lag", "0", "--from", str(leads), platform=platform) as made:
        yield made


def rows_of(service: Service, sql: str) -> list[tuple[Any, ...]]:
    """Of the mirror, when no service has it."""
    with closing(duckdb.connect(str(service.state / "mirror.duckdb"))) as found:
        return found.execute(sql).fetchall()


def written_twice(service: Service) -> list[tuple[Any, ...]]:
    """Values that the ledger says were written to a contact more than once."""
    return rows_of(
        service,
        f"""select object_id, property, value_after, count(*) from store.writes
            join store.outcomes using (run_id, object, object_id)
            where state = 'written' and property not in {MARKS}
            group by all having count(*) > 1""",
    )


def deliver(service: Service, contact_ids: list[str], number: int) -> bool:
    """Tell the service that these changed, as the platform does; whether it acknowledged that."""
    url = service.url + webhook_path(service.account.platform)
    if service.account.platform == "hubspot":
        body = hubspot_events(contact_ids, number)
        headers = signed(str(service.account.ready["client_secret"]), url, body)
    else:
        body = salesforce_callout(contact_ids)
        headers = signed_callout(body)
    try:
        return requests.post(url, data=body, headers=headers, timeout=10).status_code == 200
    except requests.RequestException:
        return False


def event(service: Service, kind: str, contact_id: str, number: int) -> None:
    url, now = service.url + webhook_path("hubspot"), int(time.time() * 1000)
    body = (
        f'[{{"eventId": {number}, "portalId": 1, "occurredAt": {now}, "subscriptionType": "contact.{kind}", '
        f'"objectId": {contact_id}}}]'
    ).encode()
    headers = signed(str(service.account.ready["client_secret"]), url, body)
    assert requests.post(url, data=body, headers=headers, timeout=10).status_code == 200


def worked_off(service: Service) -> bool:
    """Whether nothing waits in the inbox, read or unread."""
    return service.metric("leadlight_inbox_unread_bodies") + service.metric("leadlight_inbox_depth") == 0


def scored(account: Portal) -> list[str]:
    """Who holds a score."""
    return sorted(key for key, one in account.contacts().items() if one.get("leadlight_score") not in (None, ""))


def still_open(account: Portal) -> list[str]:
    """Who has not reached the goal."""
    return sorted(key for key, one in account.contacts().items() if one.get("y") == "no")


def gdpr_delete(account: Portal, contact_id: str) -> None:
    answer = requests.post(
        f"{account.base_url}/crm/objects/2026-09/contacts/gdpr-delete",
        json={"objectId": contact_id},
        headers={"Authorization": f"Bearer {account.token}"},
        timeout=30,
    )
    answer.raise_for_status()


def known(service: Service, contact_id: str) -> bool:
    """Whether the mirror knows the contact."""
    code, _, err = service.command("export", contact_id)
    assert code in (0, 2), err
    return code == 0


@pytest.mark.parametrize(
    ("platform", "doing"), [("hubspot", "reading"), ("hubspot", "writing"), ("salesforce", "reading")]
)
def test_a_sync_that_is_stopped_in_the_middle_is_finished_by_the_next_service(
    platform: str, doing: str, leads: Path, tmp_path: Path
) -> None:
    port = free_port()
    if doing == "writing":  # more than are written at once
        leads = write_leads(tmp_path, 5 * ROWS)
    options = ("--search-lag", "0", "--from", str(leads), "--latency-ms", "400")
    with portal(*options, platform=platform) as account:
        with serving(account, tmp_path, port, DEAF, synced=False) as service:
            handed = start(["sync", "--json"], environment(account, tmp_path), tmp_path)
            wait_for(lambda: service.events("begun"), "the sync to begin")
            called = sum(account.calls().values())
            wait_for(lambda: sum(account.calls().values()) > called, "the sync to be under way")
            if doing == "writing":
                wait_for(lambda: bool(scored(account)), "the first scores", 120)
            before = time.monotonic()
            assert service.kill(signal.SIGTERM) == 0
            assert time.monotonic() - before < 10
            _, err = handed.communicate(timeout=30)
            assert handed.returncode == 1
            assert "goes on with" in " ".join(err.split())
            assert (service.state / "order.json").stat().st_mode & 0o077 == 0
            assert len(scored(account)) < len(still_open(account))
        with begun(account, tmp_path, port) as service:
            wait_for(lambda: not (service.state / "order.json").exists(), "the sync to be finished")
            assert set(still_open(account)) <= set(scored(account))
            assert service.kill(signal.SIGTERM) == 0
        syncs = rows_of(service, "select status from store.runs where command = 'sync' order by started_at")
        assert syncs[-1] == ("done",)
        assert written_twice(service) == []
        code, result, err = leadlight(["sync", "--json"], environment(account, tmp_path), tmp_path)
        assert code == 0, err
        assert result["pushed"]["changed"] == 0


#: The service, in which every look takes a minute.
SLOW = """
import pathlib, sys, time
from connector.service import logs, serving, state
from connector.settings import load

def stored(*given, **named):
    pathlib.Path("looking").touch()
    time.sleep(60)

state.stored_run = stored
logs.configure()
serving.Service(load(), port=int(sys.argv[1])).run()
"""


@pytest.mark.parametrize("who", ["a command", "a page"])
def test_nobody_s_look_keeps_the_service_from_its_end(account: Portal, tmp_path: Path, who: str) -> None:
    folder, port = workplace(tmp_path, account=account), free_port()
    given, here = environment(account, folder), str(Path(__file__).resolve().parents[2])
    around = clean_environment({"PYTHONPATH": here, **given})
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", SLOW, str(port)], cwd=folder, env=around, stderr=log)
    service = Service(account, folder, port, process)
    try:
        wait_for(service.ready, "the service")
        if who == "a page":
            page = f"import requests; requests.get('{service.url}')"
            asking = subprocess.Popen([sys.executable, "-c", page], stderr=subprocess.PIPE, text=True)
        else:
            asking = start(["report", "--json"], given, folder)
        wait_for((folder / "looking").exists, "the look to be under way")
        before = time.monotonic()
        assert service.kill(signal.SIGTERM) == 0
        assert time.monotonic() - before < 10
    finally:
        process.kill()
    asking.communicate(timeout=30)
    service.log += (folder / "log").read_text().splitlines()
    broken_off = [one["path"] for one in service.events("request") if one["status"] == 499]
    assert broken_off == ["/" if who == "a page" else "/handed"]
    assert len(service.events("a look that takes long is broken off: ask again when the service is back")) == 1
    assert [one for one in service.log if "CancelledError" in one] == []


class Load:
    """Contacts that were changed in the account, and those of them whose change was not acknowledged yet."""

    def __init__(self, account: Portal) -> None:
        self.account, self.number = account, 0
        self.before: dict[str, str | None] = {}
        self.unheard: list[str] = []

    def change(self, contact_ids: list[str]) -> None:
        for one in contact_ids:
            self.before[one] = scored_at(self.account, one)
            self.account.edit(one, pricing_visits="14")
        self.unheard += contact_ids

    def deliver(self, service: Service, leave: int = 0) -> None:
        """Tell of what was not acknowledged, each by itself, but for the last few."""
        for one in self.unheard[: max(0, len(self.unheard) - leave)]:
            self.number += 1
            if deliver(service, [one], self.number):
                self.unheard.remove(one)


def killed_under_load(account: Portal, folder: Path, times: int) -> None:
    """Each round changes contacts, tells of them, and kills the service somewhere in between."""
    port, load = free_port(), Load(account)
    for turn in range(times):
        with serving(account, folder, port, DEAF) as service:
            everyone = sorted(set(scored(account)) - set(load.before))
            load.change(everyone[:12])
            load.deliver(service, leave=4)
            assert len(load.unheard) == 4
            time.sleep(0.05 * turn)
            service.kill(signal.SIGKILL)
    time.sleep(1.1)  # marks are whole seconds
    with begun(account, folder, port) as service:
        load.deliver(service)
        assert load.unheard == []
        wait_for(lambda: worked_off(service), "the inbox to be empty")
        now = account.contacts()
        assert [one for one, at in load.before.items() if now[one]["leadlight_scored_at"] == at] == []
        assert service.metric("leadlight_inbox_dead_letters") == 0
        assert service.kill(signal.SIGTERM) == 0
    assert written_twice(service) == []


@pytest.mark.parametrize("account", PLATFORMS, indirect=True)
def test_killed_twice_under_webhooks_nothing_acknowledged_is_lost(account: Portal, tmp_path: Path) -> None:
    killed_under_load(account, tmp_path, 2)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("account", PLATFORMS, indirect=True)
def test_killed_ten_times_under_webhooks_nothing_acknowledged_is_lost(account: Portal, tmp_path: Path) -> None:
    killed_under_load(account, tmp_path, 10)


def test_a_missed_nightly_run_is_made_up_for_once(account: Portal, tmp_path: Path) -> None:
    port, hour = free_port(), (datetime.now(UTC) - timedelta(hours=6)).hour
    settings = f'[serve]\nsync = "30 {hour} * * *"\ntimezone = "UTC"\npoll_minutes = 0\n'
    with serving(account, tmp_path, port, settings) as service:
        assert service.kill(signal.SIGTERM) == 0
        assert service.events("late") == []
    past = "started_at = started_at - interval 3 day, finished_at = finished_at - interval 3 day"
    rows_of(service, f"update store.runs set {past}")
    with begun(account, tmp_path, port) as service:
        wait_for(lambda: service.events("ended"), "the run to be made up for")
        assert len(service.events("late")) == 1
        told = service.events("ended")[0]
        assert (told["command"], told["who"], told["status"]) == ("sync", "schedule", "done")
        assert service.kill(signal.SIGTERM) == 0
    with begun(account, tmp_path, port) as service:
        time.sleep(2.0)
        assert service.events("late") + service.events("begun") == []
        assert service.kill(signal.SIGTERM) == 0


@pytest.mark.parametrize("kinds", [("deletion", "privacyDeletion"), ("privacyDeletion", "deletion")])
def test_who_asks_to_be_forgotten_is_erased_by_the_service_in_whatever_order_it_hears(
    account: Portal, tmp_path: Path, kinds: tuple[str, str]
) -> None:
    with serving(account, tmp_path, free_port(), DEAF) as service:
        lead, other = scored(account)[:2]
        assert known(service, lead)
        gdpr_delete(account, lead)
        for number, kind in enumerate(kinds):
            event(service, kind, lead, number + 1)
            wait_for(lambda: worked_off(service), "the inbox to be empty")
        assert not known(service, lead)
        assert known(service, other)
        assert service.metric("leadlight_inbox_dead_letters") == 0
        assert service.kill(signal.SIGTERM) == 0
    assert rows_of(service, f"select count(*) from store.contacts where contact_id = '{lead}'") == [(0,)]
    assert not (service.state / "erasing.json").exists()


def test_who_asks_to_be_forgotten_during_a_sync_is_erased_after_it(leads: Path, tmp_path: Path) -> None:
    options = ("--search-lag", "0", "--from", str(leads), "--latency-ms", "250")
    with portal(*options) as account, serving(account, tmp_path, free_port(), DEAF) as service:
        lead, other = scored(account)[:2]
        handed = start(["pull", "--full", "--json"], environment(account, tmp_path), tmp_path)
        wait_for(lambda: service.events("begun"), "the pull to begin")
        gdpr_delete(account, lead)
        event(service, "privacyDeletion", lead, 1)
        _, err = handed.communicate(timeout=120)
        assert handed.returncode == 0, err
        wait_for(lambda: worked_off(service), "the inbox to be empty")
        assert not known(service, lead)
        assert known(service, other)
        assert service.kill(signal.SIGTERM) == 0
    assert not (service.state / "erasing.json").exists()


@pytest.mark.parametrize("account", PLATFORMS, indirect=True)
def test_an_erasure_is_handed_over_and_leaves_nothing(account: Portal, tmp_path: Path) -> None:
    with serving(account, tmp_path, free_port(), DEAF) as service:
        lead = scored(account)[0]
        code, result, err = service.command("erase", lead, "--yes")
        assert code == 0, err
        assert result["proof"]["traces"] == []
        assert account.contacts()[lead].get("leadlight_score") in (None, "")
        assert not known(service, lead)
        assert [one for one in service.log if f'"{lead}"' in one or f" {lead} " in one] == []
        assert service.kill(signal.SIGTERM) == 0
    assert not (service.state / "order.json").exists()
