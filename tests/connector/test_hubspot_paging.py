"""Pages fetched ahead and handed out together."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import PlatformDown
from connector.platforms.hubspot.client import paging
from connector.platforms.hubspot.client.paging import Fetched, pages


def fetcher(sizes: list[int]) -> Any:
    """Pages of these sizes; `after` is the number of the page."""

    def fetch(after: str | None) -> Fetched:
        number = int(after or 0)
        records = [{"id": f"{number}.{n}"} for n in range(sizes[number])]
        return records, str(number + 1) if number + 1 < len(sizes) else None

    return fetch


@given(st.lists(st.integers(0, 700), min_size=1, max_size=8), st.integers(0, 7))
def test_every_record_comes_once_and_any_after_is_a_place_to_go_on(sizes: list[int], stop: int) -> None:
    fetch = fetcher(sizes)
    whole = [(len(records), after) for records, after in pages(fetch)]
    assert sum(count for count, _ in whole) == sum(sizes)
    assert whole[-1][1] is None
    assert all(count >= paging.ENOUGH for count, _ in whole[:-1])
    done, after = whole[min(stop, len(whole) - 1)]
    read = sum(count for count, _ in whole[: min(stop, len(whole) - 1) + 1])
    if after is not None:
        assert read + sum(len(records) for records, _ in pages(fetch, after)) == sum(sizes)
    assert done >= 0


def test_the_next_page_is_fetched_meanwhile() -> None:
    second = threading.Event()

    def fetch(after: str | None) -> Fetched:
        if after is not None:
            second.set()
        return [{"id": "x"}] * paging.ENOUGH, "more" if after is None else None

    reading = pages(fetch)
    next(reading)
    assert second.wait(5)
    assert len(list(reading)) == 1


def test_what_a_fetch_raises_is_raised_after_what_was_read_before() -> None:
    def fetch(after: str | None) -> Fetched:
        if after is not None:
            raise PlatformDown("away")
        return [{"id": "x"}] * paging.ENOUGH, "more"

    reading = pages(fetch)
    assert len(next(reading)[0]) == paging.ENOUGH
    with pytest.raises(PlatformDown):
        next(reading)
