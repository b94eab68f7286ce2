"""Report and dashboard in a browser: content, widths, both schemes, accessibility, from a click to a rollback."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from connector.service.serving import Service
from connector.settings import load
from tests.connector import inside as here
from tests.connector.chromium import DESKTOP, PHONE, Watched, chromium
from tests.connector.commands import inside, workplace
from tests.connector.portal import Portal
from tests.made_up import write_leads

ROWS = 640


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with here.sandbox(write_leads(tmp_path_factory.mktemp("leads"), ROWS)) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = workplace(tmp_path_factory.mktemp("work"), "require_approval = true\nmax_grade_moves = 1.0")
    with (made / "leadlight.toml").open("a", encoding="utf-8") as file:
        file.write('\n[serve]\nsync = ""\n')
    return made


@pytest.fixture(scope="module")
def reported(account: Portal, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The HTML and the JSON of one command, after a sync that left a plan."""
    code, _, err = inside(account, folder, "sync")
    assert code == 3, err
    code, told, err = inside(account, folder, "report", "--out", str(folder / "report.html"))
    assert code == 0, err
    return folder / "report.html", told


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_report_says_what_the_json_says(browser: Browser, reported: Any, viewport: Any, scheme: str) -> None:
    path, told = reported
    assert path.stat().st_size < 3_000_000
    watched = Watched(browser, viewport, scheme, path.as_uri())
    page = watched.page
    page.goto(path.as_uri())
    # the verdict and its reason stand on the first screen
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(told["verdict"]["headline"])
    expect(heading).to_be_in_viewport()
    lead = next(one for one in told["trust"] if one["key"] == "lead_score")
    expect(page.get_by_text(lead["sentence"]).first).to_be_in_viewport()
    evaluation = lead["evaluation"]
    expect(page.locator("#trust .figures")).to_contain_text(f"{evaluation['lift_top_decile']['value']:.1f}×")
    expect(page.locator("#trust .figures")).to_contain_text(f"{evaluation['auc']['value']:.2f}")
    best = told["who"][0]["top"][0]
    row = page.locator("#who table").filter(has_text="likeliest to reach").locator("tbody tr").first
    expect(row).to_contain_text(f"id {best['contact_id']}")
    expect(row).to_contain_text(f"{best['score']:.0f} {best['grade']}")
    assert len(page.locator("#drivers article").all()) == min(12, len(told["drivers"][0]["effects"])) > 0
    bars = page.locator("#who figure").first.locator("rect.bar title").all_text_contents()
    assert [int(one.split(": ")[1].replace(",", "")) for one in bars] == told["who"][0]["distribution"]["now"]
    assert not watched.overflows()
    assert watched.unreachable() == []
    assert watched.troubles == []
    watched.context.close()


@contextmanager
def served(account: Portal, folder: Path) -> Iterator[str]:
    """`leadlight serve` on the folder's state; its address."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in account.environment(folder / "state").items():
            patched.setenv(name, value)
        settings = load(folder / "leadlight.toml")
    with Service(settings) as service:
        yield service.url


def test_from_a_dry_run_to_approval_and_back(
    browser: Browser, account: Portal, folder: Path, reported: Any
) -> None:
    before = _ours(account)
    with served(account, folder) as address:
        watched = Watched(browser, DESKTOP, "light", address)
        page = watched.page
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_have_text(reported[1]["verdict"]["headline"])
        page.get_by_role("link", name="Dry run").click()
        page.get_by_role("button", name="Start the dry run").click()
        expect(page.get_by_role("heading", name="What would change")).to_be_visible(timeout=60_000)
        assert _ours(account) == before
        page.get_by_role("link", name="Runs and plans").click()
        page.get_by_role("link", name="Look at it").first.click()
        expect(page.get_by_role("cell", name="leadlight_score").first).to_be_visible()
        page.get_by_role("link", name="Approve").click()
        page.get_by_role("button", name="Approve and write").click()
        expect(page.locator("#progress .chip")).to_have_text("Done", timeout=60_000)
        written = _ours(account)
        assert sum("leadlight_score" in values for values in written.values()) > ROWS / 2
        page.get_by_role("link", name=re.compile("^Run 20")).click()
        page.get_by_role("link", name="Roll back").click()
        page.get_by_role("button", name="Roll back").click()
        expect(page.locator("#progress .chip")).to_have_text("Done", timeout=60_000)
        assert _ours(account) == before
        page.goto(f"{address}/contacts")
        contact = next(iter(account.contacts()))
        page.get_by_label("Id or e-mail address").fill(contact)
        page.get_by_role("button", name="Find").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Contact {contact}")
        for path in ("/", "/runs", "/contacts", "/inbox", "/confirm/sync"):
            page.goto(address + path)
            assert (path, watched.unreachable()) == (path, [])
        assert watched.troubles == []
        watched.context.close()
    code, told, err = inside(account, folder, "runs")
    assert code == 0, err
    audit = {(one["command"], one["who"]) for one in told["audit"]}
    assert {("sync", "dashboard"), ("approve", "dashboard"), ("rollback", "dashboard")} <= audit


def _ours(account: Portal) -> dict[str, dict[str, Any]]:
    """Values of ours by contact; empty ones are none."""
    return {
        contact_id: {name: value for name, value in values.items() if name.startswith("leadlight_") and value}
        for contact_id, values in json.loads(json.dumps(account.contacts())).items()
    }
