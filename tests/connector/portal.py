"""A pretend HubSpot or Salesforce in a process of its own, and the `leadlight` command run from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

LEADLIGHT = [sys.executable, "-c", "from connector.cli import main; main()"]
DEADLINE = 120.0


@dataclass(frozen=True)
class Portal:
    """A running sandbox: its address, its token, and what stands in it."""

    base_url: str
    token: str | None
    platform: str = "hubspot"
    #: What the sandbox printed when it was ready.
    ready: dict[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = requests.get(f"{self.base_url}/_sandbox/state", timeout=60).json()
        return state

    def contacts(self) -> dict[str, dict[str, Any]]:
        """Id -> values, under the names that they have on HubSpot."""
        return self._records("contacts")

    def companies(self) -> dict[str, dict[str, Any]]:
        """The same of companies."""
        return self._records("companies")

    def _records(self, of: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.state()[of]
        if self.platform == "hubspot":
            return found
        return {
            key: {_ours(name): value for name, value in values.items() if (name, value) != _UNTICKED}
            for key, values in found.items()
        }

    def calls(self) -> dict[str, int]:
        calls: dict[str, int] = self.state()["calls"]
        return calls

    def edit(self, contact_id: str, **properties: str) -> None:
        self._edit("contact_id", contact_id, properties)

    def edit_company(self, company_id: str, **properties: str) -> None:
        self._edit("company_id", company_id, properties)

    def _edit(self, key: str, record_id: str, properties: Mapping[str, str]) -> None:
        body = {key: record_id, "properties": {self.named(name): value for name, value in properties.items()}}
        requests.post(f"{self.base_url}/_sandbox/edit", json=body, timeout=60).raise_for_status()

    def named(self, name: str) -> str:
        """A property's name on this platform."""
        if self.platform == "hubspot":
            return name
        parts = name.split("_")
        return ("_".join(part.capitalize() for part in parts) if parts[0] == "leadlight" else name) + "__c"

    @property
    def goal(self) -> str:
        """Settings for the goal of `made_up.write_leads`."""
        return f'[goal]\ncolumn = "{self.named("y")}"\nequals = "yes"\n'

    def environment(self, state_dir: Path) -> dict[str, str]:
        common = {"LEADLIGHT_PLATFORM": self.platform, "LEADLIGHT_STATE_DIR": str(state_dir)}
        if self.platform == "salesforce":
            return common | {
                "LEADLIGHT_SALESFORCE_BASE_URL": self.base_url,
                "LEADLIGHT_SALESFORCE_CLIENT_ID": self.ready["client_id"],
                "LEADLIGHT_SALESFORCE_USERNAME": self.ready["username"],
                "LEADLIGHT_SALESFORCE_PRIVATE_KEY_FILE": self.ready["private_key_file"],
            }
        return common | {
            "LEADLIGHT_HUBSPOT_BASE_URL": self.base_url,
            "LEADLIGHT_HUBSPOT_TOKEN": str(self.token),
        }


#: A checkbox is never empty.
_UNTICKED = ("Leadlight_Holdout__c", "false")


def _ours(name: str) -> str:
    if not name.endswith("__c"):
        return name
    plain = name.removesuffix("__c")
    return plain.lower() if plain.startswith("Leadlight_") else plain


@contextmanager
def portal(*options: str, platform: str = "hubspot") -> Iterator[Portal]:
    """`leadlight sandbox <platform> <options>` until the block ends."""
    command = [*LEADLIGHT, "sandbox", platform, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Portal(ready["base_url"], ready["token"], platform, ready)
        finally:
            process.terminate()


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEADLIGHT_")}
    return {**kept, **extra}


def start(arguments: list[str], environment: dict[str, str], folder: Path) -> "subprocess.Popen[str]":
    """The command, running; its cwd is `folder`."""
    return subprocess.Popen(
        [*LEADLIGHT, *arguments],
        env=clean_environment({"PYTHONPATH": str(Path(__file__).resolve().parents[2]), **environment}),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def leadlight(
    arguments: list[str], environment: dict[str, str], folder: Path, seconds: float = DEADLINE
) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON (empty when none), stderr."""
    process = start(arguments, environment, folder)
    out, err = process.communicate(timeout=seconds)
    return process.returncode, json.loads(out) if out.strip() else {}, err


def wait_for(condition: Any, what: str, seconds: float = DEADLINE, every: float = 0.05) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:.0f} s for {what}"
        time.sleep(every)
