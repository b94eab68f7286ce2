"""The durable inbox: on disk before it is acknowledged, each event once, tried again, set aside, taken out."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connector import inbox as letters
from connector.inbox import Inbox, Intake
from connector.inbox.work import FIRST_PAUSE
from connector.jobs import traces
from connector.jobs.people import Person
from connector.platform import Hint
from connector.platforms.hubspot.webhooks import HubSpotReceiver

NOW = 1_800_000_000.0


def event(
    contact: int, number: int, name: str = "lifecyclestage", value: str = "lead", at: int = 0
) -> dict[str, Any]:
    return {
        "eventId": number,
        "portalId": 1,
        "subscriptionType": "contact.propertyChange",
        "objectId": contact,
        "propertyName": name,
        "propertyValue": value,
        "occurredAt": 1_700_000_000_000 + at,
    }


def body(*events: dict[str, Any]) -> bytes:
    return json.dumps(events).encode()


def put(folder: Path, *bodies: bytes, at: float = NOW) -> None:
    async def all_at_once() -> None:
        intake = Intake(folder)
        await asyncio.gather(*(intake.put("hubspot", one, at) for one in bodies))
        intake.close()

    asyncio.run(all_at_once())


def looked_at_elsewhere(folder: Path) -> dict[str, Any]:
    """The figures as another process finds them, which then closes the file."""
    code = (
        "import json, pathlib, sys; from connector import inbox; c = inbox.connect(pathlib.Path(sys.argv[1])); "
        "print(json.dumps(inbox.figures(c))); c.close()"
    )
    found = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path, {"hubspot": HubSpotReceiver(["s"])}, attempts=3)
    yield opened
    opened.close()


def figures(folder: Path) -> dict[str, Any]:
    connection = letters.connect(folder)
    try:
        return letters.figures(connection, NOW)
    finally:
        connection.close()


def read_all(box: Inbox) -> None:
    while box.read(NOW):
        pass


def test_what_was_put_is_read_once_in_the_order_it_happened(tmp_path: Path, box: Inbox) -> None:
    put(tmp_path, body(event(2, 1, at=500), event(1, 2, at=100)), body(event(2, 1, at=500)))
    read_all(box)
    assert [hint.object_id for hint in box.due(10, now=NOW)] == ["1", "2"]
    found = figures(tmp_path)
    assert (found["bodies"], found["waiting"]) == (0, 2)
    assert found["totals"] == {"duplicates": 1, "events": 2, "requests": 2}


def test_changes_of_one_contact_are_one_hint_and_a_later_one_outlives_the_handling(
    tmp_path: Path, box: Inbox
) -> None:
    put(tmp_path, *(body(*(event(7, 100 * group + one) for one in range(100))) for group in range(20)))
    read_all(box)
    [hint] = box.due(10, now=NOW)
    put(tmp_path, body(event(7, 99_999, at=9)))
    read_all(box)
    box.settle([hint], now=NOW)
    assert box.due(10, now=NOW + 0.5) == []
    [again] = box.due(10, now=NOW + FIRST_PAUSE)
    assert again.key != hint.key
    box.settle([again], now=NOW)
    assert not box.waiting()


def test_a_record_that_just_changed_may_wait_for_more(tmp_path: Path, box: Inbox) -> None:
    put(tmp_path, body(event(7, 1)))
    read_all(box)
    assert box.due(10, window=0.5, now=NOW + 0.2) == []
    assert len(box.due(10, window=0.5, now=NOW + 0.6)) == 1


def test_what_fails_is_tried_later_then_set_aside_and_can_be_retried(tmp_path: Path, box: Inbox) -> None:
    put(tmp_path, body(event(7, 1), event(8, 2)))
    read_all(box)
    now = NOW
    for _ in range(3):
        found = box.due(10, now=now)
        bad = [hint for hint in found if hint.object_id == "7"]
        box.settle(found, left=[hint.key for hint in bad], reason="no answer", now=now)
        assert box.due(10, now=now + 1) == []
        now += 1_000
    assert figures(tmp_path)["dead"] == 1
    connection = letters.connect(tmp_path)
    [dead] = letters.entries(connection, 10)
    assert (dead["what"], dead["state"], dead["attempts"], dead["reason"]) == (
        "contact 7 changed",
        "dead",
        3,
        "no answer",
    )
    assert letters.retry_dead(connection, [dead["id"]]) == 1
    assert [hint.object_id for hint in box.due(10)] == ["7"]
    assert letters.drop_letters(connection, []) == 0
    connection.close()


def test_a_body_that_cannot_be_read_is_kept_aside_and_the_rest_goes_on(tmp_path: Path, box: Inbox) -> None:
    put(tmp_path, body(event(1, 1)), b"no json", body(event(2, 2)))
    read_all(box)
    assert {hint.object_id for hint in box.due(10, now=NOW)} == {"1", "2"}
    assert figures(tmp_path)["unreadable"] == 1
    connection = letters.connect(tmp_path)
    [aside] = letters.entries(connection, 10, dead_only=True)
    assert aside["state"] == "unreadable"
    assert "no json" not in json.dumps(aside)
    assert letters.drop_letters(connection, [aside["id"]]) == 1
    assert letters.figures(connection)["totals"]["lost"] == 1
    connection.close()


def forget(folder: Path, contacts: list[str], addresses: list[str]) -> int:
    connection = letters.connect(folder)
    try:
        return letters.forget(connection, contacts, addresses, readers={"hubspot": HubSpotReceiver(())})
    finally:
        connection.close()


def test_what_the_same_body_tells_of_others_outlives_who_is_taken_out(tmp_path: Path, box: Inbox) -> None:
    def told(kind: str, contact: int, number: int, **more: Any) -> dict[str, Any]:
        kept = {name: value for name, value in event(contact, number).items() if not name.startswith("property")}
        return {**kept, "subscriptionType": f"contact.{kind}", **more}

    merged = told("merge", 10, 5, primaryObjectId=10, mergedObjectIds=[7, 11])
    put(tmp_path, body(told("deletion", 7, 1), told("privacyDeletion", 8, 2), {**event(9, 3), "appId": 7}, merged))
    put(tmp_path, b'[{"objectId": 7, "subscriptionType": "contact.deletion", "occurredAt": "7"')
    assert forget(tmp_path, ["7"], []) == 4
    read_all(box)
    found = {(one.object_id, one.kind, one.others) for one in box.due(10, now=NOW)}
    assert found == {("8", "erased", ()), ("9", "changed", ()), ("10", "merged", ("11",))}
    totals = figures(tmp_path)["totals"]
    assert (totals["requests"], totals["events"], totals["lost"]) == (2, 4, 1)


def test_what_an_event_lacks_or_nobody_foresaw_keeps_no_other_waiting(
    tmp_path: Path, box: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, body(event(7, 1), {**event(8, 2), "objectId": "nobody"}, event(9, 3)), b"!", body(event(10, 4)))
    plain = HubSpotReceiver.hints

    def hints(self: HubSpotReceiver, given: bytes) -> list[Hint]:
        if given == b"!":
            raise ZeroDivisionError
        return plain(self, given)

    monkeypatch.setattr(HubSpotReceiver, "hints", hints)
    read_all(box)
    assert {hint.object_id for hint in box.due(10, now=NOW)} == {"7", "9", "10"}
    connection = letters.connect(tmp_path)
    aside = [one["reason"] for one in letters.entries(connection, 10, dead_only=True)]
    assert aside == ["an event's objectId is no record id", "it could not be read (ZeroDivisionError)"]
    # tried again, the others are no second events
    assert letters.retry_dead(connection, []) == 2
    connection.close()
    read_all(box)
    assert figures(tmp_path)["totals"]["events"] == 3


def test_a_person_is_taken_out_of_the_file_for_good(tmp_path: Path, box: Inbox) -> None:
    put(tmp_path, body(event(70, 1), event(7, 2)), body(event(8, 3, "email", "Ann@firm.example")))
    box.read(NOW)
    put(tmp_path, body(event(8, 4, "email", "ann@firm.example")), body(event(9, 5, "city", "Bern")))
    assert forget(tmp_path, ["7"], ["ann@firm.example"]) == 2
    read_all(box)
    assert {hint.object_id for hint in box.due(10, now=NOW)} == {"70", "8", "9"}
    box.close()
    for path in tmp_path.iterdir():
        assert b"ann@firm" not in path.read_bytes().lower()


_WRITER = """
import asyncio, sys
from pathlib import Path
from connector.inbox import Intake

async def main():
    intake = Intake(Path(sys.argv[1]))
    async def one(worker):
        number = 0
        while True:
            await intake.put("hubspot", b"%d-%d" % (worker, number), 1.0)
            sys.stdout.write("%d-%d\\n" % (worker, number)); sys.stdout.flush()
            number += 1
    await asyncio.gather(*(one(worker) for worker in range(8)))

asyncio.run(main())
"""


def killed(folder: Path) -> None:
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(folder)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(300)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.stdout.read().splitlines(keepends=True)
    said = {line.strip() for line in acknowledged if line.endswith(b"\n")}
    assert len(said) >= 300
    connection = letters.connect(folder)
    kept = {row["body"] for row in connection.execute("select body from bodies")}
    connection.close()
    assert said <= kept


def test_killed_while_writing_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    for number in range(2):
        killed(tmp_path / str(number))


@pytest.mark.soak
def test_killed_ten_times_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    for number in range(10):
        killed(tmp_path / str(number))


def test_a_record_that_never_stops_changing_is_handled_ever_more_seldom(tmp_path: Path, box: Inbox) -> None:
    """A storm costs few readings; a second change after a quiet time waits for nothing."""
    connection, handled = letters.connect(tmp_path), []
    for tick in range(600):  # a minute, ten changes a second
        now = NOW + tick / 10
        connection.execute(
            "insert into bodies (source, received_at, body) values ('hubspot', ?, ?)", [now, body(event(7, tick))]
        )
        box.read(now)
        if found := box.due(100, window=0.25, now=now):
            handled.append(now - NOW)
            box.settle(found, now=now)
    assert handled[0] < 0.5
    assert 5 <= len(handled) <= 8
    later = NOW + 400
    connection.execute(
        "insert into bodies (source, received_at, body) values ('hubspot', ?, ?)", [later, body(event(7, 9_999))]
    )
    connection.close()
    box.settle(box.due(100, now=later - 200), now=later - 200)
    box.read(later)
    assert len(box.due(100, window=0.25, now=later + 0.3)) == 1


@pytest.mark.parametrize("also", ["another connection", "a search for traces"])
def test_what_is_acknowledged_is_on_disk_though_another_process_came_and_went(tmp_path: Path, also: str) -> None:
    """`leadlight inbox` beside a service: a lock that the service has lost lets it take the service's log away."""

    async def received() -> None:
        intake = Intake(tmp_path)
        await intake.put("hubspot", body(event(7, 1)), NOW)
        if also == "another connection":
            letters.connect(tmp_path).close()
        else:
            files, _ = traces.in_files([tmp_path], Person(("7",), ("ann@m.example",)), ())
            assert files == 3
        assert looked_at_elsewhere(tmp_path)["bodies"] == 1
        await intake.put("hubspot", body(event(8, 2)), NOW)
        assert looked_at_elsewhere(tmp_path)["bodies"] == 2
        intake.close()

    asyncio.run(received())
    assert figures(tmp_path)["bodies"] == 2
