"""`leadlight serve` in a process of its own, in front of a pretend account that sends it webhooks."""

import base64
import hmac
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from connector.inbox import connect, figures
from tests.connector.commands import workplace
from tests.connector.portal import DEADLINE, Portal, leadlight, portal, start, wait_for

#: In the path of Salesforce's outbound messages, and what its callouts are signed with.
PATH_SECRET, HMAC_SECRET = "in-the-path-3f8a1c", "signs-callouts-77b2"

QUIET = '[serve]\nsync = ""\npoll_minutes = 60\n'


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass
class Service:
    """A running service, and where it keeps its state."""

    account: Portal
    folder: Path
    port: int
    process: "subprocess.Popen[str]"
    #: Lines of its log so far.
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Path:
        return next((self.folder / "state").glob(f"{self.account.platform}-*"))

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=30)

    def command(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """A command beside it, on the same settings."""
        return leadlight([*arguments, "--json"], environment(self.account, self.folder), self.folder)

    def ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except requests.RequestException:
            return False

    def metric(self, name: str) -> float:
        """A figure by its name and labels as it stands in /metrics; 0 where it does not."""
        for line in self.get("/metrics").text.splitlines():
            given, _, value = line.rpartition(" ")
            if _labelled(given) == _labelled(name):
                return float(value)
        return 0.0

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the log says of an event."""
        found = (json.loads(line) for line in self.log if line.startswith("{"))
        return [one for one in found if one.get("event") == name]

    def kill(self, how: int = signal.SIGKILL, seconds: float = 30.0) -> int:
        """End it; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(seconds)


def _labelled(name: str) -> tuple[str, frozenset[str]]:
    plain, _, labels = name.rstrip("}").partition("{")
    return plain, frozenset(labels.split(",")) if labels else frozenset()


def environment(account: Portal, folder: Path) -> dict[str, str]:
    given = account.environment(folder / "state")
    if account.platform == "hubspot":
        return given | {"LEADLIGHT_HUBSPOT_CLIENT_SECRET": str(account.ready["client_secret"])}
    return given | {
        "LEADLIGHT_SALESFORCE_WEBHOOK_SECRET": PATH_SECRET,
        "LEADLIGHT_SALESFORCE_HMAC_SECRET": HMAC_SECRET,
    }


def webhook_path(platform: str) -> str:
    return "/webhooks/hubspot" if platform == "hubspot" else f"/webhooks/salesforce/{PATH_SECRET}"


@contextmanager
def receiving(port: int, *options: str, platform: str = "hubspot") -> Iterator[Portal]:
    """A sandbox that tells a service on this port of every change."""
    target = f"http://127.0.0.1:{port}{webhook_path(platform)}"
    with portal("--search-lag", "0", "--webhooks", target, *options, platform=platform) as account:
        yield account


@contextmanager
def serving(
    account: Portal,
    folder: Path,
    port: int,
    settings: str = QUIET,
    *,
    synced: bool = True,
    market: bool = False,
    seconds: float = DEADLINE,
) -> Iterator[Service]:
    """The service until the block ends; `synced`: after a first sync, which may take so many seconds; `market`: on
    a made-up market, whose goal is the default one."""
    workplace(folder, "max_grade_moves = 1.0", account)
    if market:
        (folder / "leadlight.toml").write_text("max_grade_moves = 1.0\n", encoding="utf-8")
    with (folder / "leadlight.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{settings}")
    if synced and not list((folder / "state").glob("*/mirror.duckdb")):
        code, _, err = leadlight(["sync", "--json"], environment(account, folder), folder, seconds)
        assert code == 0, err
    with begun(account, folder, port) as service:
        yield service


@contextmanager
def begun(
    account: Portal,
    folder: Path,
    port: int,
    more: Sequence[str] = (),
    given: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """The service on what is in the folder; `given` is its environment, where a test has one of its own."""
    around = environment(account, folder) if given is None else dict(given)
    process = start(["serve", "--port", str(port), *more], around, folder)
    service = Service(account, folder, port, process)
    thread = threading.Thread(target=_read, args=(process, service.log), daemon=True)
    thread.start()
    try:
        wait_for(lambda: service.ready() or process.poll() is not None, "the service")
        assert process.poll() is None, "".join(service.log)
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        thread.join(5)


def _read(process: "subprocess.Popen[str]", log: list[str]) -> None:
    assert process.stderr is not None
    log.extend(iter(process.stderr.readline, ""))


def scored_at(account: Portal, contact_id: str) -> str | None:
    value = account.contacts()[contact_id].get("leadlight_scored_at")
    return None if value is None else str(value)


def hubspot_events(
    contact_ids: Sequence[str],
    first: int = 1,
    name: str = "pricing_visits",
    kind: str = "contact.propertyChange",
) -> bytes:
    """A body as HubSpot posts it: one event on each contact, with event ids from `first` on."""
    now = int(time.time() * 1000)
    return json.dumps(
        [
            {
                "eventId": first + place,
                "subscriptionId": 1,
                "portalId": 1,
                "appId": 7,
                "occurredAt": now + place,
                "subscriptionType": kind,
                "attemptNumber": 0,
                "objectId": int(one),
                "propertyName": name,
                "propertyValue": str(place),
                "changeSource": "CRM_UI",
                "sourceId": "userId:1",
            }
            for place, one in enumerate(contact_ids)
        ]
    ).encode()


def signed(secret: str, url: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """The headers of a HubSpot request, by the v3 rule: HMAC-SHA256 of method, URI, body and timestamp."""
    stamp = str(int((time.time() if at is None else at) * 1000))
    told = b"POST" + url.encode() + body + stamp.encode()
    digest = base64.b64encode(hmac.digest(secret.encode(), told, "sha256")).decode()
    return {
        "content-type": "application/json",
        "x-hubspot-signature-v3": digest,
        "x-hubspot-request-timestamp": stamp,
    }


def salesforce_callout(record_ids: Sequence[str], change: str = "updated") -> bytes:
    """A body as the Apex callout posts it."""
    at = datetime.now(UTC).isoformat()
    records = [{"object": "Contact", "id": one, "change": change} for one in record_ids]
    return json.dumps({"at": at, "records": records}).encode()


def signed_callout(body: bytes) -> dict[str, str]:
    """The headers of the callout: HMAC-SHA256 of timestamp, a full stop and body."""
    stamp = str(int(time.time()))
    code = hmac.digest(HMAC_SECRET.encode(), stamp.encode() + b"." + body, "sha256").hex()
    return {
        "content-type": "application/json",
        "x-leadlight-signature": f"sha256={code}",
        "x-leadlight-timestamp": stamp,
    }


def counted(folder: Path) -> dict[str, Any]:
    """The figures of the inbox in a folder."""
    connection = connect(folder)
    try:
        return figures(connection)
    finally:
        connection.close()
