"""The README is true: commands, settings and endpoints are the code's."""

import re
from pathlib import Path

from typer.main import get_command

import manifests
from connector.cli import app
from connector.platforms.hubspot.client.paths import ENDPOINTS
from connector.platforms.salesforce.client.paths import ENDPOINTS as SALESFORCE_ENDPOINTS
from connector.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_endpoint_is_in_the_table_and_the_other_way_round() -> None:
    listed = set(re.findall(r"^\| `((?:GET|POST|PATCH|PUT|DELETE) /[^`]+)`", README, re.MULTILINE))
    assert listed == {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}


def test_every_endpoint_of_salesforce_is_in_its_page_and_the_other_way_round() -> None:
    page = (ROOT / "docs" / "salesforce.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `((?:GET|POST|PATCH|PUT|DELETE) /[^`]+)`", page, re.MULTILINE))
    assert listed == {f"{endpoint.method} {endpoint.path}" for endpoint in SALESFORCE_ENDPOINTS}
    limits = manifests.read_toml("salesforce", "limits.toml")
    assert f"| {limits['pages']['bulk']:,} |" in page
    assert f"| {limits['ingest']['rows']:,} |" in page
    assert f"Up to {limits['pages']['rest']:,} rows go by REST" in page


def test_the_limits_in_the_table_are_those_in_the_manifest() -> None:
    pages = manifests.read_toml("hubspot", "limits.toml")["pages"]
    assert f"| {pages['associations']:,} |" in README
    assert f"{pages['search']}, never past {pages['search_reach']:,}" in README
    assert f"{pages['list']}; {pages['list_with_history']} with history" in README


def test_every_command_is_in_the_readme_and_has_help_with_an_example() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"`{name}`" in README or f"leadlight {name}" in README, name
        assert f"leadlight {name}" in command.help, name
        if name != "sandbox":
            assert any("--json" in parameter.opts for parameter in command.params), name


def test_every_setting_in_the_readme_is_one() -> None:
    table = README[README.index("## Settings") : README.index("## What is kept")]
    named = set(re.findall(r"`\[?([a-z_]+)[\].`]", table))
    known = set(Settings.model_fields)
    assert {"platform", "goal", "gates", "prefix", "max_changes"} <= named & known


def test_the_readme_shows_real_output_and_nothing_is_left_open() -> None:
    assert "<!--" not in README
    assert "contacts changed" in README
