"""Commands that other processes handed over, when the service stops."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connector.service.handed import Handed
from connector.settings import Settings


def test_a_look_that_is_broken_off_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    @contextmanager
    def stored(*given: Any, **named: Any) -> Iterator[Any]:
        time.sleep(0.5)
        yield None

    state: Any = SimpleNamespace(folder=tmp_path, settings=Settings(), stored=stored)
    worker: Any = SimpleNamespace(at_work=None)

    async def asked() -> None:
        lines = Handed(state, worker)._look("runs", {}, [], "somebody")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(lines), 0.2)

    asyncio.run(asked())  # at its end it breaks off whatever is under way
    assert [record.getMessage() for record in caplog.records] == []
