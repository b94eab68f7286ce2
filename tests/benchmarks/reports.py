"""`python -m tests.benchmarks.reports FILE…`: how large a report is, and how long Chromium takes to open it.

The median of five loads at a phone's width, from the navigation to the load event. On a machine that does nothing
else, a report should open in under a second.
"""

import statistics
import sys
from pathlib import Path

from tests.connector.chromium import PHONE, chromium

TIMES = 5


def opened(path: Path) -> list[float]:
    """Milliseconds of each load."""
    with chromium() as browser:
        found = []
        for _ in range(TIMES):
            page = browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
            page.goto(path.resolve().as_uri())
            found.append(float(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")))
            page.close()
        return found


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        loads = opened(path)
        sys.stdout.write(
            f"{path.name}: {path.stat().st_size / 1000:,.0f} kB, opens in {statistics.median(loads):,.0f} ms "
            f"({min(loads):,.0f} to {max(loads):,.0f})\n"
        )


if __name__ == "__main__":
    main()
