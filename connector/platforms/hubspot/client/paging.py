"""Going through pages: the next one is fetched while the last one is being stored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Fetched = tuple[Sequence[Mapping[str, Any]], str | None]

#: Small pages are handed out together: storing one costs about as much as storing five.
ENOUGH = 500


def pages(fetch: Callable[[str | None], Fetched], after: str | None = None) -> Iterator[Fetched]:
    """(records, after) from `after` on, at least ENOUGH records each time but the last, whose `after` is None.

    `fetch` runs on a thread of its own, one page ahead; what it raises is raised here.
    """
    gathered: list[Mapping[str, Any]] = []
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(fetch, after)
        while True:
            records, after = coming.result()
            if after is not None:
                coming = pool.submit(fetch, after)
            gathered += records
            if after is None or len(gathered) >= ENOUGH:
                yield gathered, after
                gathered = []
            if after is None:
                return
