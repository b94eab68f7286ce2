"""`leadlight inbox`: on the file itself, whether a service has the state or not."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from connector import inbox as letters
from connector.inbox import Inbox, Intake
from connector.owner_lock import OwnerLock
from connector.platforms.hubspot.webhooks import HubSpotReceiver
from tests.connector.inside import command

AGO = 7_200.0


def event(contact: int, number: int) -> dict[str, Any]:
    return {
        "eventId": number,
        "portalId": 1,
        "subscriptionType": "contact.propertyChange",
        "objectId": contact,
        "propertyName": "lifecyclestage",
        "propertyValue": "lead",
        "occurredAt": 1_700_000_000_000,
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state with contact 7 set aside, a body that cannot be read, and contact 8 waiting."""
    home = tmp_path / "state" / "hubspot-1"
    home.mkdir(parents=True)
    at = time.time() - AGO
    box = Inbox(home, {"hubspot": HubSpotReceiver(["s"])}, attempts=1)

    async def put(*bodies: bytes) -> None:
        intake = Intake(home)
        await asyncio.gather(*(intake.put("hubspot", one, at) for one in bodies))
        intake.close()

    asyncio.run(put(json.dumps([event(7, 1)]).encode(), b"secret words"))
    while box.read(at):
        pass
    [bad] = box.due(10)
    box.settle([bad], left=[bad.key], reason="no answer from HubSpot")
    asyncio.run(put(json.dumps([event(8, 2)]).encode()))
    while box.read(at):
        pass
    box.close()
    return home


def run(home: Path, *arguments: str, answers: str | None = None) -> tuple[int, dict[str, Any], str]:
    environment = {"LEADLIGHT_PLATFORM": "hubspot", "LEADLIGHT_STATE_DIR": str(home.parent)}
    code, result, err = command(["inbox", *arguments, "--json"], environment, home.parent, answers=answers)
    return code, result, " ".join(err.split())


def figures(home: Path) -> dict[str, Any]:
    connection = letters.connect(home)
    try:
        return letters.figures(connection)
    finally:
        connection.close()


def test_the_list_names_what_waits_and_what_was_set_aside(home: Path) -> None:
    code, result, err = run(home)
    assert code == 0, err
    assert [(one["state"], one["what"]) for one in result["entries"]] == [
        ("unreadable", "a body of 12 bytes"),
        ("dead", "contact 7 changed"),
        ("waiting", "contact 8 changed"),
    ]
    assert (result["figures"]["dead"], result["figures"]["unreadable"]) == (1, 1)
    assert "secret words" not in json.dumps(result) + err
    assert "2 h" in err
    assert "no answer" in err
    assert "1 changes and 1 unreadable bodies were set aside" in err
    assert len(run(home, "list", "--limit", "1")[1]["entries"]) == 1


def test_it_works_while_another_process_has_the_state(home: Path) -> None:
    lock = OwnerLock(home, "serve")
    try:
        dead = next(one["id"] for one in run(home)[1]["entries"] if one["state"] == "dead")
        code, result, _ = run(home, "retry", dead)
    finally:
        lock.release()
    assert (code, result) == (0, {"retried": 1})
    assert (figures(home)["dead"], figures(home)["waiting"], figures(home)["unreadable"]) == (0, 2, 1)


def test_all_that_was_set_aside_is_retried(home: Path) -> None:
    assert run(home, "retry", "--all")[1] == {"retried": 2}
    assert (figures(home)["dead"], figures(home)["unreadable"]) == (0, 0)


def test_dropping_asks_and_counts_as_lost(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, result, _ = run(home, "drop", "--all")
    assert (code, result["kind"]) == (2, "BadSetting")
    monkeypatch.setattr("connector.cli.asking.at_terminal", lambda: True)
    code, result, err = run(home, "drop", "--all", answers="n\n")
    assert code == 3
    assert "Drop 2 entries" in err
    assert figures(home)["dead"] == 1
    assert run(home, "drop", "--all", "--yes")[1] == {"dropped": 2}
    found = figures(home)
    assert (found["dead"], found["unreadable"], found["waiting"], found["totals"]["lost"]) == (0, 0, 1, 2)


def test_only_what_was_set_aside_is_touched(home: Path) -> None:
    waiting = next(one["id"] for one in run(home)[1]["entries"] if one["state"] == "waiting")
    before = figures(home)
    code, result, _ = run(home, "drop", waiting, "h999", "--yes")
    assert code == 2
    assert waiting in result["error"]
    assert "h999" in result["error"]
    after = figures(home)
    assert {**before, "oldest_seconds": 0} == {**after, "oldest_seconds": 0}


@pytest.mark.parametrize("words", [("lost",), ("list", "h1"), ("retry",), ("drop", "h1", "--all")])
def test_wrong_use_is_told(home: Path, words: tuple[str, ...]) -> None:
    code, result, _ = run(home, *words)
    assert (code, result["kind"]) == (2, "BadSetting")
    assert "inbox" in result["error"]


def test_to_look_makes_no_file(tmp_path: Path) -> None:
    home = tmp_path / "state" / "hubspot-1"
    home.mkdir(parents=True)
    code, result, err = run(home, "list")
    assert (code, result["entries"], result["figures"]["waiting"]) == (0, [], 0), err
    assert run(home, "retry", "--all")[1] == {"retried": 0}
    assert run(home, "drop", "--all")[1] == {"dropped": 0}
    assert list(home.iterdir()) == []
