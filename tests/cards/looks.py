"""Screenshots of the cards in every state: `python -m tests.cards.looks FOLDER`, after `make cards`.

HubSpot's components are drawn by HubSpot alone; here plain HTML stands for them (`standins/hubspot.tsx`).
Salesforce's component is compiled by Salesforce's compiler, the base components around it are stand-ins.
"""

import sys
from pathlib import Path

from tests.connector.chromium import chromium

PAGES = Path(__file__).parent / "build" / "pages"
#: A record page's side column, and a narrow one.
WIDTHS = (480, 320)


def take(folder: Path) -> None:
    """One picture a page and width."""
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 700})
            for path in sorted(PAGES.glob("*.html")):
                page.goto(path.as_uri())
                page.screenshot(path=folder / f"{path.stem}-{width}.png", full_page=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
