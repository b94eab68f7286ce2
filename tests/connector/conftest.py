"""What tests of the worker share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connector.service.worker import Worker
from tests.connector.workers import Job, Watched, stand_ins, workers


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Job]:
    """What each command does, to be filled in."""
    return stand_ins(monkeypatch)


@pytest.fixture
def begun(tmp_path: Path, jobs: dict[str, Job]) -> Iterator[Callable[[], tuple[Worker, Watched]]]:
    """What begins a worker among stand-ins."""
    with workers(tmp_path) as start:
        yield start
