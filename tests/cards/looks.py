"""Screenshots of the cards in every state: `python -m tests.cards.looks FOLDER`, after `make cards`.

HubSpot's components are drawn by HubSpot alone; here plain HTML stands for them (`standins/hubspot.tsx`). Salesforce's
component is compiled by Salesforce's compiler, the base components around it are stand-ins.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PAGES = Path(__file__).parent / "build" / "pages"
#: A record page's side column, and a phone.
WIDTHS = (480, 320)
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@contextmanager
def browser_page(width: int) -> Iterator[Page]:
    """A page of Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*_FLAGS, "--disable-sync"])
        try:
            yield browser.new_page(viewport={"width": width, "height": 700})
        finally:
            browser.close()


def take(folder: Path) -> None:
    """One picture a page and width."""
    folder.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        with browser_page(width) as page:
            for path in sorted(PAGES.glob("*.html")):
                page.goto(path.as_uri())
                page.screenshot(path=folder / f"{path.stem}-{width}.png", full_page=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
