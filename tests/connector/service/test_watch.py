"""What a person is told of orders that nobody waits for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connector.service.orders import RESUMING, TRIES, Order
from connector.service.watch import Watch
from connector.settings import Serve, Settings


class Told:
    """A watch whose alerts the test has."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        state = SimpleNamespace(
            settings=Settings(serve=Serve(sync="15 2 * * *")),
            folder=folder,
            mirror=SimpleNamespace(runs=list),
            platform=SimpleNamespace(calls=dict),
            account=SimpleNamespace(platform="hubspot"),
        )
        self.watch = Watch(state, ZoneInfo("UTC"), receives=False, next_sync=lambda: None)  # type: ignore[arg-type]
        self.sent: list[tuple[str, str, list[str]]] = []
        monkeypatch.setattr(self.watch, "_alerts", SimpleNamespace(send=self._send))

    def _send(self, kind: str, subject: str, lines: Any = (), **_: Any) -> None:
        self.sent.append((kind, subject, list(lines)))


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(tmp_path, monkeypatch)


def test_what_is_given_up_is_told_with_the_command_to_give(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.watch.given_up(Order("sync", {"max_changes": 7}, RESUMING, TRIES + 1))
    [(kind, subject, lines)] = told.sent
    assert (kind, subject) == ("failed", "sync (given up)")
    assert f"{TRIES} tries" in lines[0]
    assert "leadlight sync --max-changes 7" in lines[1]
    assert [record.getMessage() for record in caplog.records] == ["given up"]
