"""The same as `portal`, within this process: for tests of many commands, of which each start takes its time."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.testing import CliRunner

import manifests
from connector.cli import app
from connector.sandbox.hubspot.limits import Window
from connector.sandbox.options import Rate, SandboxOptions, parse_fault
from connector.sandbox.server import Sandbox
from tests.connector.portal import Portal, clean_environment


@contextmanager
def sandbox(mapping: Path, *faults: str, daily: int | None = None) -> Iterator[Portal]:
    """A pretend HubSpot with the contacts of a mapping, on a thread of its own."""
    given = tuple(parse_fault(fault) for fault in faults)
    options = SandboxOptions(mapping=mapping, search_lag=0.5, faults=given, daily=daily)
    with Sandbox(options) as box, _quick_searches():
        box.host.limits.search = Window(_QUICK)
        yield Portal(box.base_url, box.token)


#: Instead of HubSpot's five searches a second, which a test has no time for.
_QUICK = Rate(500, 1.0)


@contextmanager
def _quick_searches() -> Iterator[None]:
    read = manifests.read_toml

    def quicker(*path: str) -> dict[str, Any]:
        found = read(*path)
        if path == ("hubspot", "limits.toml"):
            found["budgets"]["search"]["calls"] = _QUICK.calls
        return found

    with patch.object(manifests, "read_toml", quicker):
        yield


def command(
    arguments: list[str], environment: dict[str, str], folder: Path, *, answers: str | None = None
) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON (empty when none), stderr of `leadlight <arguments>` run in `folder`."""
    before, here = dict(os.environ), Path.cwd()
    os.environ.clear()
    os.environ.update(
        clean_environment({**{k: v for k, v in before.items() if k[:10] != "LEADLIGHT_"}, **environment})
    )
    os.chdir(folder)
    try:
        result = CliRunner().invoke(app, arguments, input=answers, catch_exceptions=False)
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
    # Above the JSON stand the answers, which the runner types out where a terminal would have shown them.
    last = result.stdout.strip().splitlines()[-1:]
    return result.exit_code, json.loads(last[0]) if last else {}, result.stderr
