"""A pretend HubSpot whose contacts were synced once, and what it tells of changes, as hints."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from connector.jobs.rescore import rescore
from connector.jobs.run import Run, run_on
from connector.jobs.sync import sync
from connector.mirror import Mirror
from connector.platform import Hint
from connector.registry import connect
from connector.sandbox import Rate, Sandbox, SandboxOptions
from connector.sandbox.hubspot.state import Change
from connector.settings import Settings

KINDS = {
    "creation": "created",
    "propertyChange": "changed",
    "deletion": "deleted",
    "restore": "restored",
    "merge": "merged",
    "privacyDeletion": "erased",
    "associationChange": "associated",
}
WORDS = {"contacts": "contact", "companies": "company", "deals": "deal"}


def hint(kind: Any, contact_id: str, *others: str, key: str | None = None) -> Hint:
    now = datetime.now(UTC).replace(tzinfo=None)
    return Hint("contact", contact_id, kind, now, key or f"{kind} {contact_id}", others=others)


def as_hint(change: Change, number: int) -> Hint:
    """As HubSpot's receiver reads what is sent of a change."""
    others = tuple(str(one) for one in change.more.get("mergedObjectIds", ()))
    at = datetime.fromtimestamp(change.at / 1000, UTC).replace(tzinfo=None)
    return Hint(WORDS[change.object], str(change.id), KINDS[change.kind], at, str(number), change.property, others)  # type: ignore[arg-type]


def rows(run: Run, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What a query on the run's mirror gives."""
    return run.mirror.connection.execute(query, list(parameters)).fetchall()


@dataclass
class Portal:
    """The account, and a state folder that belongs to it."""

    box: Sandbox
    settings: Settings
    told: list[Change] = field(default_factory=list)

    @contextmanager
    def running(self, command: str = "rescore", **changed: Any) -> Iterator[Run]:
        settings = self.settings.model_copy(update=changed)
        platform = connect(settings)
        account = platform.account()
        folder = settings.state_dir / f"hubspot-{account.id}"
        with (
            Mirror.open(folder, account, command=command) as mirror,
            run_on(platform, mirror, settings, command) as run,
        ):
            yield run
            run.done({})
        platform.close()

    def rescore(self, hints: Sequence[Hint] | None = None, **changed: Any) -> dict[str, Any]:
        """One call in a run of its own; without hints, for what the portal told since."""
        with self.running(**changed) as run:
            return rescore(run, self.hints() if hints is None else hints)

    def sync(self, **changed: Any) -> dict[str, Any]:
        with self.running("sync", **changed) as run:
            return sync(run)

    def hints(self) -> list[Hint]:
        """What was told since the last time, but for our own properties."""
        told, self.told[:] = list(self.told), []
        return [
            as_hint(change, number)
            for number, change in enumerate(told)
            if not (change.property or "").startswith("leadlight_")
        ]

    def edit(self, contact_id: str, **properties: str) -> None:
        body = {"contact_id": contact_id, "properties": properties}
        requests.post(f"{self.box.base_url}/_sandbox/edit", json=body, timeout=60).raise_for_status()

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = requests.request(
            method,
            f"{self.box.base_url}/crm/objects/2026-09/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.box.token}"},
            timeout=60,
        )
        answer.raise_for_status()
        return dict(answer.json()) if answer.content else {}

    def values(self, contact_id: str) -> dict[str, str]:
        return dict(self.box.state.contacts.records[int(contact_id)].properties)

    def open_leads(self) -> list[str]:
        """Contacts that hold a score, in order."""
        contacts = self.box.state.contacts
        return [str(one) for one in contacts.live if contacts.records[one].properties.get("leadlight_score")]

    def calls(self) -> int:
        return sum(self.box.calls.values())

    def writes(self) -> int:
        return sum(n for name, n in self.box.calls.items() if name.endswith("/batch/update"))


@contextmanager
def portal(mapping: Path, state_dir: Path) -> Iterator[Portal]:
    """Synced once; changes are listened to from then on."""
    options = SandboxOptions(mapping=mapping, search_lag=0.0, rate=Rate(100_000, 10.0))
    with Sandbox(options) as box:
        settings = Settings(
            platform="hubspot",
            hubspot_base_url=box.base_url,
            hubspot_token=box.token,  # type: ignore[arg-type]
            state_dir=state_dir,
            goal={"column": "y", "equals": "yes"},
            max_grade_moves=1.0,
        )
        made = Portal(box, settings)
        assert made.sync()["pushed"]["changed"] > 0
        box.state.listeners.append(made.told.append)
        yield made
