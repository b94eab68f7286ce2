"""Both cards in a browser, in every state: legible in a side column, and they ask nobody for anything."""

import pytest

from tests.cards.looks import PAGES
from tests.connector.chromium import Watched, chromium

STATES = ("denied", "empty", "error", "holdout", "loading", "long", "markup", "ready", "stale", "withoutScore")
#: What a reader must find in a state, on either platform.
FOUND = {
    "ready": ("91", "73% likely: a deal won within 90 days", "Grade A", "High confidence", "Tuesday at 09:00"),
    "stale": ("This prediction may have run out", "120 days ago"),
    "holdout": ("In the holdout", "Frequent website visitors"),
    "empty": ("No value is not a zero",),
    "denied": ("You may not see predictions",),
    "error": ("could not be read",),
    "loading": ("Loading the prediction",),
    "long": ("4.1% likely", "Low confidence", "Company size is 1-10; 11-50"),
    "markup": ("Industry is <script>alert(1)</script>",),
    "withoutScore": ("No score", "The goal is reached already"),
}


@pytest.mark.parametrize("width", [480, 320])
def test_every_state_is_legible_and_asks_for_nothing(width: int) -> None:
    assert PAGES.is_dir(), "run `make cards` first: it writes the pages"
    pages = {path.stem: path for path in PAGES.glob("*.html")}
    assert set(pages) == {f"{of}-{state}" for of in ("hubspot", "salesforce") for state in STATES} | {
        "hubspot-settings"
    }
    with chromium() as browser:
        watched = Watched(browser, {"width": width, "height": 700}, "light", PAGES.parent.as_uri())
        for name, path in pages.items():
            watched.page.goto(path.as_uri())
            for words in FOUND.get(name.partition("-")[2], ("Properties it writes",)):
                # by text, because a component's inside is no part of the page's own text
                assert watched.page.get_by_text(words).first.is_visible(), (name, words)
            if name.endswith(("-ready", "-stale")):
                number = watched.page.get_by_text("91", exact=True).first.bounding_box()
                assert number is not None
                assert number["height"] < number["width"] * 1.5, f"{name}: a score in two lines"
            assert not watched.overflows(), name
            assert width < 480 or watched.unreachable() == [], name
        assert watched.troubles == []
