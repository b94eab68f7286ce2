"""The same as `portal`, within this process: for tests of many commands, of which each start takes its time."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from connector.cli import app
from connector.sandbox.options import SandboxOptions, parse_fault
from connector.sandbox.server import Sandbox
from tests.connector.portal import Portal, clean_environment


@contextmanager
def sandbox(mapping: Path, *faults: str) -> Iterator[Portal]:
    """A pretend HubSpot with the contacts of a mapping, on a thread of its own."""
    options = SandboxOptions(mapping=mapping, search_lag=0.5, faults=tuple(parse_fault(fault) for fault in faults))
    with Sandbox(options) as box:
        yield Portal(box.base_url, box.token)


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
    out = result.stdout.strip()
    return result.exit_code, json.loads(out) if out else {}, result.stderr
