"""A pretend org inside this process, a mirror of it, and the platform between them."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import manifests
from connector.mirror import Mirror
from connector.platform import Page, PullRequest, StreamOff
from connector.platforms.salesforce import Salesforce
from connector.platforms.salesforce.client.api import Api
from connector.platforms.salesforce.client.auth import Credentials
from connector.sandbox import SandboxOptions
from connector.sandbox.options import Faults
from connector.sandbox.salesforce.box import SalesforceSandbox
from connector.sandbox.salesforce.fill import deploy
from connector.sandbox.salesforce.store import ADMIN_USER, Org
from connector.sandbox.times import now_ms

OURS = tuple(entry.name for entry in manifests.properties())


@dataclass
class Account:
    """An org, its mirror and what the last pull said."""

    box: SalesforceSandbox
    mirror: Mirror
    off: list[StreamOff] = field(default_factory=list)
    platform: Salesforce | None = None

    def connect(self, **more: Any) -> Salesforce:
        key = SecretStr(Path(str(self.box.ready()["private_key_file"])).read_text(encoding="utf-8"))
        credentials = Credentials(self.box.client_id, username=self.box.username, private_key=key)
        org = self.box.org
        return Salesforce(
            credentials,
            self.box.base_url,
            clock=lambda: datetime.fromtimestamp(org.clock() / 1000, UTC),
            sleep=lambda seconds: time.sleep(min(seconds, 0.25)),
            **more,
        )

    def pull(
        self, pages: int | None = None, until: Callable[[], bool] = lambda: False, **request: Any
    ) -> dict[str, int]:
        """Commit pages, at most so many and until something holds; rows written by table."""
        self.platform, self.off = self.connect(), []
        written: dict[str, int] = {}
        wanted = PullRequest(ours=OURS, **{"history": True, **request})
        now = self.box.org.now().replace(tzinfo=None)
        for place, page in enumerate(self.platform.pull(self.mirror.known, wanted)):
            if place == pages or until():
                break
            if isinstance(page, Page):
                for table, count in self.mirror.commit(page, run_id="r", observed_at=now).items():
                    written[table] = written.get(table, 0) + count
            else:
                self.off.append(page)
        self.platform.close()
        return written

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        self.mirror.engine()
        return self.mirror.connection.execute(query).fetchall()

    def live(self) -> set[str]:
        return {row[0] for row in self.rows(self.mirror.live_contacts_sql)}

    def insert(self, name: str, *rows: Mapping[str, Any]) -> list[str]:
        with self.box.org.lock:
            return self.box.org.insert(self.box.org.objects[name.lower()], list(rows), ADMIN_USER)

    def update(self, name: str, record: str, **values: Any) -> None:
        with self.box.org.lock:
            self.box.org.update(self.box.org.objects[name.lower()], {record: values}, ADMIN_USER)

    def delete(self, name: str, *records: str, master: str | None = None) -> None:
        with self.box.org.lock:
            self.box.org.delete(self.box.org.objects[name.lower()], list(records), ADMIN_USER, master)

    def leads(self, count: int, **values: Any) -> list[str]:
        rows = [{"LastName": f"n{i}", "Company": "M", "Email": f"n{i}@m.example", **values} for i in range(count)]
        return self.insert("Lead", *rows)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Account]]:
    """Starts an org, empty or filled by the options, with our fields."""
    with ExitStack() as stack:

        def started(clock: Callable[[], int] = now_ms, bare: bool = False, **options: Any) -> Account:
            chosen = SandboxOptions(platform="salesforce", **options)
            org = None
            if not chosen.contacts and chosen.mapping is None:
                org = Org(clock=clock, faults=Faults.of(chosen.faults))
                if not bare:
                    deploy(org)
                for path in org.faults.hidden_fields:
                    org.hide(path)
            box = stack.enter_context(SalesforceSandbox(chosen, org))
            # the sandbox's Date header is the machine's
            monkeypatch.setattr(Api, "now", lambda _: datetime.fromtimestamp(box.org.clock() / 1000, UTC))
            account = Account(box, None)  # type: ignore[arg-type]
            account.mirror = stack.enter_context(Mirror.open(tmp_path / "state", account.connect().account()))
            account.mirror.begin_run("pull")
            return account

        yield started
