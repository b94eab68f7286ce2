"""The examples of docs/service work: what they build is built here, what they name is there."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.service.metrics import Metrics
from connector.settings import Mail, Serve, Settings, load
from tests.deployment import CONTAINERFILE, ROOT, UNIT, stages, unit

PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
SECRETS = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}


def run(command: str, folder: Path, **environment: str) -> str:
    """A build step, by the shell, in `folder`; nothing is downloaded. What it printed."""
    done = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=folder,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a pretend image: the build steps were run as they stand, /opt within this folder."""
    root = tmp_path_factory.mktemp("image")
    source = root / "src"
    source.mkdir()
    build = stages()[0]
    for argument in build.all("COPY"):
        *sources, target = argument.split()
        for name in sources:
            there = source / target / (Path(name).name if target == "./" else "")
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "node_modules")
                shutil.copytree(ROOT / name, there, ignore=ignored)
            else:
                shutil.copy(ROOT / name, there)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for step in build.all("RUN"):
        # Only our own wheel is installed: what it depends on is lent to it by this environment, below.
        run(step.replace("/opt/", f"{root}/opt/"), source, PATH=path, PIP_NO_DEPS="1")
    (site,) = (root / "opt" / "leadlight" / "lib").glob("python3.*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return root


def test_what_the_container_builds_is_the_program_without_its_sources(installed: Path) -> None:
    program = installed / "opt" / "leadlight" / "bin"
    version = run("./leadlight --help", program, PATH="/usr/bin:/bin", TERM="dumb")
    assert "sync" in version
    where = run(
        "./python -c 'import connector, manifests; print(connector.__file__, manifests.__file__)'", program
    )
    assert [str(installed / "opt") in path for path in where.split()] == [True, True]


def test_the_container_pins_every_dependency(installed: Path) -> None:
    pins = (installed / "src" / "pins.txt").read_text(encoding="utf-8")
    assert "--hash" not in pins
    assert "\\" not in pins
    named = {line.partition("==")[0].lower() for line in pins.splitlines() if not line.lstrip().startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dependencies = {re.split(r"[^a-z0-9-]", one)[0] for one in project["dependencies"]}
    assert len(dependencies) > 20
    assert {*dependencies, "hatchling"} <= named


def test_the_container_runs_as_nobody_special_and_says_how_it_is() -> None:
    build, final = stages()
    assert {build.base, final.base} == {"python:3.12-slim"}
    words = [word for word, _ in final.steps]
    assert final.all("USER") == ["leadlight"]
    assert words.index("USER") < words.index("CMD")
    assert final.all("VOLUME") == ["/state"]
    assert "LEADLIGHT_STATE_DIR=/state" in final.all("ENV")
    [check] = final.all("HEALTHCHECK")
    [port] = re.findall(r"127\.0\.0\.1:(\d+)/healthz", check)
    assert port in final.command()
    assert final.all("EXPOSE") == [port]
    # What the last stage runs needs the base image: two known steps, which no test can run.
    assert [step.split()[0] for step in final.all("RUN")] == ["apt-get", "useradd"]


def test_the_unit_reads_and_stops_later_than_the_service() -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read(UNIT, encoding="utf-8")
    assert parser.sections() == ["Unit", "Service", "Install"]
    service = parser["Service"]
    assert int(service["TimeoutStopSec"]) > 10
    assert (service["Restart"], service["User"], service["ProtectSystem"]) == ("on-failure", "leadlight", "strict")
    state = [value for _, key, value in unit() if key == "Environment" and "STATE_DIR" in value]
    assert state == [f"LEADLIGHT_STATE_DIR=/var/lib/{service['StateDirectory']}"]


def test_the_unit_gives_every_credential_to_a_secret_of_ours() -> None:
    lines = unit(with_examples=True)
    credentials = {value.partition(":")[0] for _, key, value in lines if key == "LoadCredential"}
    given = {}
    for _, key, value in lines:
        if key == "Environment" and "_FILE=" in value:
            variable, _, path = value.partition("=")
            given[variable.removeprefix("LEADLIGHT_").removesuffix("_FILE").lower()] = path
    assert set(given) <= SECRETS
    assert {path.removeprefix("%d/") for path in given.values()} == credentials
    assert len(credentials) == 7


def test_systemd_has_nothing_to_say_against_the_unit(installed: Path, tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("/opt/leadlight", str(installed / "opt" / "leadlight"))
    [words] = [value.split() for _, key, value in unit(text) if key == "ExecStart"]
    assert os.access(words[0], os.X_OK)
    if (verify := shutil.which("systemd-analyze")) is not None:
        (tmp_path / "leadlight.service").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [verify, "verify", "--man=no", str(tmp_path / "leadlight.service")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "leadlight.service" not in done.stderr, done.stderr


def test_no_registry_is_named() -> None:
    for path in (UNIT, CONTAINERFILE):
        assert not re.search(r"https?://(?!127\.0\.0\.1)", path.read_text(encoding="utf-8")), path


def test_the_settings_on_the_page_are_all_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "leadlight.toml").write_text(block, encoding="utf-8")
    monkeypatch.setenv("LEADLIGHT_ALERTS_SMTP_PASSWORD", "x")
    settings = load(tmp_path / "leadlight.toml")
    assert settings.serve.model_fields_set == set(Serve.model_fields)
    assert settings.alerts.model_fields_set == set(Mail.model_fields)
    # Defaults are shown as they are.
    assert settings.serve.model_copy(update={"timezone": None}) == Serve()
    variables = set(re.findall(r"LEADLIGHT_([A-Z_]+)_FILE", PAGE))
    assert {name.lower() for name in variables} <= SECRETS
    assert {"alerts_webhook_url", "alerts_smtp_password", "hubspot_client_secret"} <= {
        n.lower() for n in variables
    }


def test_the_metrics_on_the_page_are_all_there_are() -> None:
    figures = {"waiting": 0, "bodies": 0, "dead": 0, "unreadable": 0, "oldest_seconds": 0.0, "totals": {}}
    metrics = Metrics(inbox=lambda: figures, calls=lambda: {"GET /x": 1}, next_sync=lambda: datetime.now(UTC))
    families = {family.name: family.type for family in metrics.registry.collect()}
    names = {
        f"{name}_total" if kind == "counter" else f"{name}_info" if kind == "info" else name
        for name, kind in families.items()
        if name.startswith("leadlight_")
    }
    assert set(re.findall(r"`(leadlight_[a-z_]+)(?:\{[^`]*\})?`", PAGE.partition("Worth a rule")[0])) == names
    assert (
        set(re.findall(r"leadlight_[a-z]+_[a-z_]+", PAGE.partition("Worth a rule")[2].partition("##")[0])) <= names
    )
