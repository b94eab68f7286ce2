"""Changes by the second in a pretend account: every one is in its contact's properties at the end."""

import json
import sys
from pathlib import Path

import pytest

from tests.benchmarks.service import SETTINGS, at_work, knock, load, percentile
from tests.connector.served import Service, free_port, receiving, serving
from tests.made_up import write_leads

pytestmark = pytest.mark.timeout(900)


def test_every_change_is_written_also_those_that_come_during_a_sync(tmp_path: Path) -> None:
    port = free_port()
    leads = write_leads(tmp_path, 320)
    options = ("--from", str(leads), "--latency-ms", "20")
    with receiving(port, *options) as account, serving(account, tmp_path / "s", port, SETTINGS) as service:
        found = load(account, service, rate=10, seconds=6, sync=True, name="pricing_visits")
        # whom the sync read before the webhook came is written by it where a value differs, and else by nobody
        assert len(found.lost) <= 6
        for one in found.lost:
            _stands(service, one)
    assert found.changes == 60
    assert len(found.written) >= 54
    assert found.sync["failed"] == 0


def _stands(service: Service, contact_id: str) -> None:
    """The change is in the mirror, and the account's score is the one that comes of it."""
    there = service.account.contacts()[contact_id]
    code, known, err = service.command("export", contact_id)
    assert code == 0, err
    [kept] = [row["properties"] for row in known["tables"]["contacts"] if row["contact_id"] == contact_id]
    assert kept["pricing_visits"] == there["pricing_visits"]
    code, told, err = service.command("explain", contact_id)
    assert code == 0, err
    assert float(told["probability"]) == pytest.approx(float(there["leadlight_probability"]), abs=1e-4)


def test_signed_requests_over_many_connections_are_all_acknowledged(tmp_path: Path) -> None:
    port = free_port()
    leads = write_leads(tmp_path, 320)
    with receiving(port, "--from", str(leads)) as account, serving(account, tmp_path / "s", port) as service:
        told = knock(f"{service.url}/webhooks/hubspot", str(account.ready["client_secret"]), 160, 320)
        assert told["statuses"] == {"200": 160}
        assert service.metric("leadlight_inbox_requests_total") >= 160


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_hundred_changes_a_second_for_a_minute() -> None:
    with at_work(50_000) as (account, service):
        found = load(account, service, rate=100, seconds=60, sync=True)
    sys.stderr.write(json.dumps(found.to_json(), indent=1) + "\n")
    assert found.changes == 6000
    assert found.lost == []
    assert percentile(found.written, 0.5) <= 1.5
    assert percentile(found.written, 0.95) <= 3.0
    assert found.acknowledged_p99 <= 0.1
