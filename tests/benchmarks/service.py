"""`python -m tests.benchmarks.service acknowledge|load`: what `leadlight serve` bears, from outside.

acknowledge: signed requests of a hundred events each over sixteen connections, from a process of their own.
load: changes in a pretend account while the service runs, from the change to the property written, half of them
while a sync is under way in the same process. The pretend account and whoever changes it share the machine.
"""

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.connector.portal import Portal, leadlight, start, wait_for
from tests.connector.served import (
    Service,
    begun,
    environment,
    free_port,
    hubspot_events,
    receiving,
    serving,
    signed,
)
from tests.made_up import write_leads

EVENTS, CONNECTIONS = 100, 16
SETTINGS = '[serve]\nsync = ""\npoll_minutes = 5\n'
#: Seconds of changes that one request makes: who changes the account shares the processor with the service.
TOGETHER = 0.05
#: Of each batch that the service rescored: how many changes, and milliseconds of each part.
OF_A_BATCH = ("hints", "ms", "read_ms", "compute_ms", "plan_ms", "write_ms")
#: Seconds after the last change until every one must be written.
PATIENCE = 120.0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


# acknowledgements


def acknowledge(requests_: int, rows: int = 320) -> dict[str, Any]:
    """Requests a second, and milliseconds from sending one to its answer."""
    port = free_port()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        leads = write_leads(folder, rows)
        with receiving(port, "--from", str(leads)) as account, serving(account, folder / "s", port) as service:
            client = [sys.executable, "-m", "tests.benchmarks.service", "client", "--requests", str(requests_)]
            client += ["--url", f"{service.url}/webhooks/hubspot", "--rows", str(rows)]
            secret = str(account.ready["client_secret"])
            done = subprocess.run(client, input=secret, capture_output=True, text=True, check=True)
            told: dict[str, Any] = json.loads(done.stdout)
            before = service.metric("leadlight_inbox_requests_total")
            return {**told, "on_disk": int(before)}


def knock(url: str, secret: str, count: int, rows: int) -> dict[str, Any]:
    """Send `count` requests that were signed beforehand, as fast as they are answered."""
    where = urlsplit(url)
    ids = [str(1 + number % rows) for number in range(EVENTS)]
    waiting = [_raw(where.netloc, where.path, url, secret, ids, number) for number in range(count)]
    shares = [waiting[one::CONNECTIONS] for one in range(CONNECTIONS)]
    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found = list(
            pool.map(lambda share: _conversation(str(where.hostname), int(where.port or 80), share), shares)
        )
    seconds = time.perf_counter() - began
    took = [one for part in found for _, one in part]
    return {
        "requests": count,
        "seconds": round(seconds, 2),
        "requests_per_second": round(count / seconds),
        "statuses": dict(Counter(status for part in found for status, _ in part)),
        "p50_ms": round(1000 * statistics.median(took), 1),
        "p99_ms": round(1000 * percentile(took, 0.99), 1),
    }


def _raw(host: str, path: str, url: str, secret: str, ids: Sequence[str], number: int) -> bytes:
    body = hubspot_events(ids, 1 + EVENTS * number)
    head = {"host": host, "content-length": str(len(body)), **signed(secret, url, body)}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _conversation(host: str, port: int, share: Sequence[bytes]) -> list[tuple[str, float]]:
    """Status and seconds of each request, one after the other on one connection."""
    found = []
    with socket.create_connection((host, port), 30) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in share:
            began = time.perf_counter()
            line.sendall(request)
            status = _answer(line)
            found.append((status, time.perf_counter() - began))
    return found


def _answer(line: socket.socket) -> str:
    got = b""
    while b"\r\n\r\n" not in got:
        part = line.recv(4096)
        if not part:
            raise ConnectionError("the service hung up")
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    named = dict(row.lower().split(b": ", 1) for row in head.split(b"\r\n")[1:])
    missing = int(named.get(b"content-length", b"0")) - len(body)
    while missing > 0:
        missing -= len(line.recv(missing))
    return head.split(b" ")[1].decode()


# the load line


@dataclass
class Load:
    """What came of it. Seconds from a change in the account to the contact's properties written there."""

    changes: int
    #: Of changes before the sync began, and after.
    calm: list[float]
    beside: list[float]
    #: Contacts whose last change was followed by no writing.
    lost: list[str]
    #: Seconds within which 99% of the webhooks were acknowledged, by the service's own histogram: an upper bound.
    acknowledged_p99: float
    sync: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    #: What the service logged of each batch that it rescored.
    batches: list[dict[str, Any]] = field(default_factory=list)

    @property
    def written(self) -> list[float]:
        return self.calm + self.beside

    def to_json(self) -> dict[str, Any]:
        return {
            "changes": self.changes,
            "lost": len(self.lost),
            "seconds_from_change_to_written": {
                name: {
                    "p50": round(statistics.median(found), 2),
                    "p95": round(percentile(found, 0.95), 2),
                    "most": round(max(found), 2),
                }
                for name, found in (("all", self.written), ("calm", self.calm), ("beside_a_sync", self.beside))
                if found
            },
            "acknowledged_p99_at_most": self.acknowledged_p99,
            "sync_meanwhile": self.sync,
            "seconds_of_changes": round(self.seconds, 1),
            "batches": len(self.batches),
            "median_of_batches": _medians(self.batches, OF_A_BATCH),
        }


def _medians(batches: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, float]:
    return {name: statistics.median(one.get(name, 0) for one in batches) for name in names if batches}


def load(
    account: Portal, service: Service, rate: float, seconds: float, *, sync: bool, name: str = "jobtitle"
) -> Load:
    """Change contacts that hold a score, `rate` a second, in a property that is read; then wait until all are
    written. `sync`: hand one over when half of the time has passed."""
    people = sorted(key for key, one in account.contacts().items() if one.get("leadlight_score") not in (None, ""))
    chance = random.Random(1)
    changed: dict[str, list[float]] = {}
    handed: list[Any] = []
    chosen = chance.choices(people, k=round(rate * seconds))
    began, clock = time.monotonic(), time.time()

    half = threading.Timer(
        seconds / 2,
        lambda: handed.append(start(["sync", "--json"], environment(account, service.folder), service.folder)),
    )
    if sync:
        half.start()
    made = 0
    with requests.Session() as session:
        while made < len(chosen):
            time.sleep(max(0.0, began + made / rate - time.monotonic()))
            some = chosen[made : made + max(1, round(rate * TOGETHER))]
            values = ({name: str(20 + number)} for number in range(made, made + len(some)))
            edits = [{"contact_id": one, "properties": given} for one, given in zip(some, values, strict=True)]
            answer = session.post(f"{account.base_url}/_sandbox/edit", json={"edits": edits}, timeout=60)
            answer.raise_for_status()
            for one in some:
                changed.setdefault(one, []).append(time.time())
            made += len(some)
    took = time.monotonic() - began
    half.join() if sync else None
    wait_for(lambda: _at_rest(service), "the inbox to be empty", PATIENCE)
    told = {} if not handed else json.loads(handed[0].communicate(timeout=1200)[0] or "{}")
    wait_for(lambda: _at_rest(service), "the inbox to be empty", PATIENCE)
    histories = _histories(account, sorted(changed))
    calm: list[float] = []
    beside: list[float] = []
    lost = []
    for one, times in changed.items():
        # the account may date a write with the millisecond in which the change was answered
        after = [[at for at in histories[one] if at >= time_ - 0.05] for time_ in times]
        for found, time_ in zip(after, times, strict=True):
            if found:
                (beside if sync and time_ > clock + seconds / 2 else calm).append(min(found) - time_)
        lost += [one] if not all(after) else []
    pushed = told.get("pushed", {})
    return Load(
        *(sum(map(len, changed.values())), calm, beside, lost, _acknowledged(service), pushed, took),
        batches=service.events("rescored"),
    )


def _at_rest(service: Service) -> bool:
    names = ("leadlight_inbox_depth", "leadlight_inbox_unread_bodies")
    return sum(service.metric(name) for name in names) == 0


def _histories(account: Portal, contact_ids: Sequence[str]) -> dict[str, list[float]]:
    """Epoch seconds at which each contact's mark was written."""
    found: dict[str, list[float]] = {}
    for place in range(0, len(contact_ids), 50):
        body = {
            "inputs": [{"id": one} for one in contact_ids[place : place + 50]],
            "properties": [],
            "propertiesWithHistory": ["leadlight_scored_at"],
        }
        while True:
            answer = requests.post(
                f"{account.base_url}/crm/objects/2026-09/contacts/batch/read",
                json=body,
                headers={"Authorization": f"Bearer {account.token}"},
                timeout=60,
            )
            if answer.status_code != 429:
                break
            time.sleep(1.0)
        answer.raise_for_status()
        for record in answer.json()["results"]:
            versions = record["propertiesWithHistory"].get("leadlight_scored_at", [])
            found[str(record["id"])] = [_epoch(one["timestamp"]) for one in versions]
    return found


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _acknowledged(service: Service) -> float:
    """The bucket of the service's histogram in which the 99th of a hundred acknowledgements lies, in seconds."""
    name = "leadlight_webhook_acknowledgement_seconds"
    of_all = service.metric(f'{name}_count{{source="hubspot"}}')
    buckets = []
    for line in service.get("/metrics").text.splitlines():
        if line.startswith(f"{name}_bucket") and 'source="hubspot"' in line:
            labels, _, value = line.rpartition(" ")
            buckets.append((float(labels.partition('le="')[2].partition('"')[0]), float(value)))
    return min((edge for edge, count in buckets if count >= 0.99 * of_all), default=float("inf"))


@contextmanager
def at_work(contacts: int) -> Iterator[tuple[Portal, Service]]:
    """A made-up market and a service that runs on it: its first sync was the service's, and what the account told
    of it has been worked off. Then the service was started again, so that it polls once."""
    port = free_port()
    options = ("--contacts", str(contacts), "--seed", "1", "--latency-ms", "20")
    with tempfile.TemporaryDirectory() as made, receiving(port, *options) as account:
        folder = Path(made)
        with serving(account, folder, port, SETTINGS, market=True, synced=False) as service:
            code, _, err = leadlight(["sync", "--json"], environment(account, folder), folder, 2 * 3600.0)
            if code:
                raise RuntimeError(f"The first sync failed: {err}")
            wait_for(lambda: _at_rest(service), "the inbox to be empty", 600.0)
        with begun(account, folder, port) as service:
            yield account, service


def loaded(contacts: int, rate: float, seconds: float, each: bool) -> dict[str, Any]:
    """The load line on a made-up market. `each`: with every batch, poll and order."""
    with at_work(contacts) as (account, service):
        told = load(account, service, rate, seconds, sync=True).to_json()
        return {**told, "each": _each(service)} if each else told


def _each(service: Service) -> list[dict[str, Any]]:
    """The service's log of batches, polls and orders, with times."""
    found = (one for event in ("rescored", "polled", "begun", "ended") for one in service.events(event))
    return [
        {name: one[name] for name in ("time", "event", "command", *OF_A_BATCH) if name in one}
        for one in sorted(found, key=lambda one: str(one["time"]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.service", description=__doc__)
    parser.add_argument("what", choices=("acknowledge", "load", "client"))
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--contacts", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--each", action="store_true", help="print every batch, poll and order too")
    parser.add_argument("--url")
    parser.add_argument("--rows", type=int, default=320)
    given = parser.parse_args()
    if given.what == "client":
        told = knock(given.url, sys.stdin.read(), given.requests, given.rows)
    elif given.what == "acknowledge":
        told = acknowledge(given.requests)
    else:
        told = loaded(given.contacts, given.rate, given.seconds, given.each)
    sys.stdout.write(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
