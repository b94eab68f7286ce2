"""A day's changes in as many seconds as one likes: contacts that people edit, create, delete and bring back."""

import random
import threading
import time
from collections import Counter
from typing import Any

from connector.sandbox.hubspot.calls import Call, Reply
from connector.sandbox.hubspot.problems import invalid
from connector.sandbox.hubspot.state import CRM_UI, INTEGRATION, Change, Portal, Record

#: What happens, in a hundred changes.
_WEIGHTS = {"edit": 96, "creation": 2, "deletion": 1, "restore": 1}
_OURS = "leadlight_"


class Replay:
    """One replay under way. It sees by itself how long it takes until an integration writes to a contact that a
    person edited."""

    def __init__(self, portal: Portal, changes: int, seconds: float, seed: int) -> None:
        self._portal, self._number, self._seconds = portal, changes, seconds
        self._random = random.Random(seed)  # noqa: S311 - a dice, not a secret
        self._ids = list(portal.contacts.live)
        self._names = sorted(_editable(portal))
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self.done: Counter[str] = Counter()
        #: Contact -> when it was edited first without an answer so far.
        self._waiting: dict[int, float] = {}
        self._answers: list[float] = []
        portal.listeners.append(self._hear)
        self._thread.start()

    def to_json(self) -> dict[str, Any]:
        """Changes made by kind, edited contacts still unanswered, and milliseconds until the answer."""
        answers = sorted(self._answers)
        return {
            "changes": self._number,
            "done": dict(self.done),
            "finished": not self._thread.is_alive(),
            "answered": len(answers),
            "waiting": len(self._waiting),
            "p50_ms": _quantile(answers, 0.5),
            "p95_ms": _quantile(answers, 0.95),
            "max_ms": _quantile(answers, 1.0),
        }

    def _run(self) -> None:
        started = time.monotonic()
        for number in range(self._number):
            due = started + self._seconds * number / self._number
            time.sleep(max(0.0, due - time.monotonic()))
            with self._portal.lock:
                self._one()

    def _one(self) -> None:
        kind = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        contacts = self._portal.contacts
        record = contacts.find(self._random.choice(self._ids))
        if kind == "restore" and contacts.archived:
            back = contacts.records[self._random.choice(contacts.archived)]
            contacts.restore(back, CRM_UI)
        elif kind == "creation" and record is not None:
            copied = {name: record.properties[name] for name in self._names if name in record.properties}
            contacts.create(copied, CRM_UI)
        elif kind == "deletion" and record is not None:
            self._waiting.pop(record.id, None)
            contacts.archive(record, CRM_UI)
        elif record is not None:
            kind = "edit"
            self._edit(record)
        else:
            return
        self.done[kind] += 1

    def _edit(self, record: Record) -> None:
        """A property gets the value that another contact has there."""
        contacts = self._portal.contacts
        other = contacts.find(self._random.choice(self._ids)) or record
        name = self._random.choice(self._names)
        value = other.properties.get(name, "")
        if value == record.properties.get(name, ""):
            return
        self._waiting.setdefault(record.id, time.monotonic())
        contacts.write(record, {name: value}, CRM_UI)

    def _hear(self, change: Change) -> None:
        if change.source == INTEGRATION and change.object == "contacts":
            since = self._waiting.pop(change.id, None)
            if since is not None:
                self._answers.append(1000 * (time.monotonic() - since))


class Replays:
    """The sandbox's control of it: one at a time."""

    def __init__(self) -> None:
        self._last: Replay | None = None

    def start(self, call: Call) -> Reply:
        """`{"changes": 6000, "seconds": 60, "seed": 1}`. Raises Problem 400 while another one is under way."""
        body = call.body()
        if self._last is not None and not self._last.to_json()["finished"]:
            raise invalid("A replay is under way.")
        changes, seconds = int(body.get("changes", 1000)), float(body.get("seconds", 60))
        self._last = Replay(call.portal, changes, seconds, int(body.get("seed", 1)))
        return Reply(200, self._last.to_json())

    def look(self, _: Call) -> Reply:
        """How far it is, and how fast edits were answered."""
        if self._last is None:
            raise invalid("Nothing was replayed yet.")
        return Reply(200, self._last.to_json())


def _editable(portal: Portal) -> set[str]:
    """Properties that contacts hold, but for addresses, facts of the record, and ours."""
    definitions = portal.contacts.schema.definitions
    some = [portal.contacts.records[one] for one in portal.contacts.live[:500]]
    held = {name for record in some for name in record.properties}
    return {
        name
        for name in held
        if name in definitions
        and not definitions[name].read_only
        and not name.startswith((_OURS, "hs_"))
        and name not in ("email", "createdate", "lastmodifieddate", "lifecyclestage")
    }


def _quantile(ordered: list[float], share: float) -> int | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) if ordered else None
