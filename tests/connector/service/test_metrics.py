"""Metrics that Prometheus can read, true to what happened, with few label values and nobody's data."""

import json
import re
import sqlite3
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.parser import text_string_to_metric_families

from connector.inbox import Inbox, connect, figures
from connector.platforms.hubspot.webhooks import HubSpotReceiver
from connector.service.metrics import OUTCOMES, SOURCES, Metrics


def read(metrics: Metrics) -> dict[str, float]:
    """Every sample, by name and labels."""
    kind, body = metrics.render()
    assert kind.startswith("text/plain; version=")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found
            found[name] = sample.value
    return found


def test_webhooks_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()
    for outcome, seconds in (("accepted", 0.004), ("accepted", 0.2), ("unverified", 0.001)):
        metrics.webhook("hubspot", outcome, seconds)
    found = read(metrics)
    assert found["leadlight_webhooks_total{outcome=accepted,source=hubspot}"] == 2
    assert found["leadlight_webhooks_total{outcome=unverified,source=hubspot}"] == 1
    assert found["leadlight_webhooks_total{outcome=error,source=salesforce}"] == 0
    assert found["leadlight_webhook_acknowledgement_seconds_count{source=hubspot}"] == 3
    assert found["leadlight_webhook_acknowledgement_seconds_bucket{le=0.005,source=hubspot}"] == 2


def test_labels_stay_few_whatever_is_reported() -> None:
    metrics = Metrics()
    for number in range(200):
        metrics.webhook(f"anna{number}@x.example", f"reason {number}", 0.1)
        metrics.ended(f"sync {number}", f"state {number}", 1.0)
        with metrics.at_work(f"job {number}"):
            pass
    body = metrics.render()[1].decode()
    assert "anna" not in body
    assert set(re.findall(r'outcome="([^"]+)"', body)) <= {*OUTCOMES, "other"}
    assert set(re.findall(r'source="([^"]+)"', body)) == {*SOURCES, "other"}
    assert set(re.findall(r'command="([^"]+)"', body)) == {"other"}
    assert 'leadlight_webhooks_total{outcome="other",source="other"} 200.0' in body


def test_the_inbox_is_looked_at_when_asked(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    metrics = Metrics(inbox=lambda: figures(connection))
    assert read(metrics)["leadlight_inbox_depth"] == 0
    event = {
        "objectId": 7,
        "eventId": 1,
        "subscriptionType": "contact.propertyChange",
        "propertyName": "city",
        "portalId": 1,
        "occurredAt": 1_790_000_000_000,
    }
    body = json.dumps([event, event]).encode()
    for received in (0.0, 1.0):
        connection.execute(
            "insert into bodies (source, received_at, body) values ('hubspot', ?, ?)", [received, body]
        )
    found = read(metrics)
    assert found["leadlight_inbox_unread_bodies"] == 2
    assert found["leadlight_inbox_oldest_seconds"] > 1e9
    inbox = Inbox(tmp_path, {"hubspot": HubSpotReceiver(["secret"])})
    inbox.read()
    inbox.close()
    found = read(metrics)
    assert (found["leadlight_inbox_unread_bodies"], found["leadlight_inbox_depth"]) == (0, 1)
    assert found["leadlight_inbox_events_total"] + found["leadlight_inbox_duplicates_total"] == 4
    assert found["leadlight_inbox_duplicates_total"] == 3
    assert found["leadlight_inbox_lost_total"] == 0
    connection.close()


def test_runs_calls_and_times_are_told() -> None:
    due = datetime(2026, 11, 29, 1, 15, tzinfo=UTC)
    calls: dict[str, int] = {"POST /crm/objects/{object}/search": 4}
    metrics = Metrics(calls=lambda: calls, next_sync=lambda: due)
    metrics.succeeded("sync", datetime(2026, 11, 27, 1, 15))
    found = read(metrics)
    success = "leadlight_last_success_timestamp_seconds{command=sync}"
    assert found[success] == datetime(2026, 11, 27, 1, 15, tzinfo=UTC).timestamp()
    assert found["leadlight_next_sync_timestamp_seconds"] == due.timestamp()
    metrics.ended("sync", "failed", 12.0)
    assert read(metrics)[success] == found[success]
    with metrics.at_work("sync"):
        assert read(metrics)["leadlight_job_running{command=sync}"] == 1
    calls["POST /crm/objects/{object}/search"] = 6
    metrics.ended("sync", "partly", 90.0, due)
    found = read(metrics)
    assert found["leadlight_job_running{command=sync}"] == 0
    assert found[success] == due.timestamp()
    assert found["leadlight_api_calls_total{endpoint=POST /crm/objects/{object}/search}"] == 6
    assert found["leadlight_runs_total{command=sync,status=failed}"] == 1
    assert found["leadlight_run_seconds_sum{command=sync}"] == 102
    assert any(name.startswith("leadlight_build_info{") and "version=" in name for name in found)
    assert found["process_resident_memory_bytes"] > 1e6


def test_rescoring_is_counted_by_contact_and_timed_from_arrival() -> None:
    metrics = Metrics()
    metrics.rescored(3, [0.4, 1.2, 40.0])
    metrics.rescored(2)
    found = read(metrics)
    assert found["leadlight_rescored_contacts_total"] == 5
    assert found["leadlight_rescore_seconds_bucket{le=1.5}"] == 2
    assert found["leadlight_rescore_seconds_count"] == 3


def test_a_part_that_cannot_be_had_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def spoiled() -> Mapping[str, Any]:
        raise sqlite3.OperationalError("anna@x.example is locked")

    metrics = Metrics(inbox=spoiled, calls=lambda: {"GET /x": 1})
    found = read(metrics)
    assert "leadlight_inbox_depth" not in found
    assert found["leadlight_api_calls_total{endpoint=GET /x}"] == 1
    assert "metrics are incomplete: OperationalError" in caplog.text
    assert "anna" not in caplog.text


def test_two_services_in_a_process_do_not_share_figures_and_threads_lose_none() -> None:
    metrics, other = Metrics(), Metrics()

    def count() -> None:
        for _ in range(500):
            metrics.webhook("hubspot", "accepted")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    name = "leadlight_webhooks_total{outcome=accepted,source=hubspot}"
    assert (read(metrics)[name], read(other)[name]) == (2000, 0)


def test_names_hold_in_the_stricter_format_too() -> None:
    totals = {"waiting": 1, "bodies": 0, "dead": 2, "unreadable": 3, "oldest_seconds": 0.5, "totals": {"dead": 9}}
    metrics = Metrics(inbox=lambda: totals, calls=lambda: {"GET /x": 1})
    metrics.ended("sync", "done", 1.0)
    text = openmetrics(metrics.registry).decode()
    families = [family.name for family in strict(text)]
    assert len(families) == len(set(families))
    assert "leadlight_inbox_set_aside_total 9.0" in text
    assert "_created" not in text
