"""What the unit and the container run is run here, against a sandbox: it answers, is healthy, stops in time."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.connector.portal import Portal, clean_environment, portal, wait_for
from tests.deployment import stages, unit

PROGRAM = str(Path(sys.executable).parent / "leadlight")
#: Of the recipes' paths, none of which are on this machine.
PORT, CONFIG = "8321", "/etc/leadlight/leadlight.toml"


@pytest.fixture(scope="module")
def account() -> Iterator[Portal]:
    with portal("--contacts", "40", "--seed", "1") as made:
        yield made


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def of_unit(account: Portal, folder: Path) -> tuple[list[str], dict[str, str], float]:
    """ExecStart, its environment with the credentials that systemd would hand over, seconds to stop."""
    lines = unit()
    contents = {"hubspot-token": account.token, "hubspot-client-secret": account.ready["client_secret"]}
    for _, key, value in lines:
        if key == "LoadCredential":
            name = value.partition(":")[0]
            (folder / name).write_text(f"{contents[name]}\n", encoding="utf-8")
    pairs = [value.partition("=") for _, key, value in lines if key == "Environment"]
    environment = {name: value.replace("%d", str(folder)) for name, _, value in pairs}
    [command] = [value.split() for _, key, value in lines if key == "ExecStart"]
    [seconds] = [float(value) for _, key, value in lines if key == "TimeoutStopSec"]
    return command, environment, seconds


def of_container(account: Portal, folder: Path) -> tuple[list[str], dict[str, str], float]:
    """CMD, its environment with what the page passes in, seconds that `docker run --stop-timeout` leaves."""
    final = stages()[-1]
    environment = dict(pair.split("=", 1) for pair in final.all("ENV") if pair.startswith("LEADLIGHT_"))
    (folder / "token").write_text(f"{account.token}\n", encoding="utf-8")
    return final.command(), environment | {"LEADLIGHT_HUBSPOT_TOKEN_FILE": str(folder / "token")}, 15.0


@pytest.mark.parametrize("recipe", [of_unit, of_container])
def test_the_service_of_the_recipe_answers_is_healthy_and_stops_in_time(
    account: Portal, tmp_path: Path, recipe: object
) -> None:
    assert callable(recipe)
    command, environment, seconds = recipe(account, tmp_path)
    config = tmp_path / "leadlight.toml"
    config.write_text(f'platform = "hubspot"\nhubspot_base_url = "{account.base_url}"\n', encoding="utf-8")
    port = free_port()
    here = {PORT: port, CONFIG: str(config)}
    assert set(here) <= set(command)
    assert Path(command[0]).name == "leadlight"
    environment["LEADLIGHT_STATE_DIR"] = str(tmp_path / "state")
    log = tmp_path / "log"
    with log.open("w", encoding="utf-8") as stream:
        service = subprocess.Popen(
            [PROGRAM, *(here.get(word, word) for word in command[1:])],
            env=clean_environment({"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment}),
            cwd=tmp_path,
            stderr=stream,
        )
    try:
        wait_for(lambda: service.poll() is not None or healthy(port), "the service")
        assert service.poll() is None, log.read_text(encoding="utf-8")
        wait_for(
            lambda: requests.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200, "readiness"
        )
        metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        assert "leadlight_build_info{" in metrics
        assert list((tmp_path / "state").glob("hubspot-*/owner.lock"))
    finally:
        service.terminate()
        code = service.wait(seconds)
    assert code == 0
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{"):
            assert {"time", "level", "event"} <= json.loads(line).keys()
    assert account.token not in log.read_text(encoding="utf-8")


def healthy(port: str) -> bool:
    """As the container's HEALTHCHECK finds out."""
    [check] = stages()[-1].all("HEALTHCHECK")
    words = json.loads(check[check.index("CMD") + 3 :])
    asked = [sys.executable, *(word.replace(f":{PORT}/", f":{port}/") for word in words[1:])]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0
