"""Changes by search, against a made index: complete, each once, in few calls, whatever the index was late with."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.platform import Account, Page, PullRequest, page_schema
from connector.platforms.hubspot import words
from connector.platforms.hubspot.changes import LITTLE, Changes
from connector.platforms.hubspot.reading import Reading, to_table
from tests.connector.dict_known import DictKnown

CURSOR = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SINCE = words.milliseconds(CURSOR)
LOOKBACK = 900


class MadeIndex:
    """A search index: modified date (epoch ms) by id. Refuses to page beyond 10,000, as HubSpot does."""

    sizes: Mapping[str, int] = {"search": 200, "batch": 100}

    def __init__(self, modified: Mapping[int, int]) -> None:
        self.modified = dict(modified)
        self.calls = 0

    def now(self) -> datetime:
        return CURSOR + timedelta(hours=1)

    def search(
        self, object_name: str, filters: Sequence[Mapping[str, Any]], properties: Sequence[str]
    ) -> tuple[int, list[Mapping[str, Any]]]:
        self.calls += 1
        low, high, above, upto = 0, 1 << 62, -1, 1 << 62
        for one in filters:
            if one["propertyName"] == "hs_object_id":
                above = int(one["value"]) if one["operator"] == "GT" else above
                upto = int(one["value"]) if one["operator"] == "LTE" else upto
            else:
                assert one["propertyName"] == "lastmodifieddate"
                low, high = int(one["value"]), int(one.get("highValue", high))
        found = sorted(
            number for number, stamp in self.modified.items() if low <= stamp <= high and above < number <= upto
        )
        return len(found), [record(number, self.modified[number]) for number in found[: self.sizes["search"]]]


def record(number: int, stamp: int) -> dict[str, Any]:
    return {"id": str(number), "properties": {"lastmodifieddate": str(stamp)}}


def mirror(modified: Mapping[int, int]) -> DictKnown:
    known = DictKnown()
    commit(known, [record(number, stamp) for number, stamp in modified.items()])
    return known


def commit(known: DictKnown, records: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        dict.fromkeys(page_schema("contacts").names)
        | {"contact_id": found["id"], "modified_at": words.instant(found["properties"]["lastmodifieddate"])}
        for found in records
    ]
    known.commit(Page("contacts", {"contacts": to_table("contacts", rows)}))


def changes(index: MadeIndex, known: DictKnown, *, light: bool = False) -> Changes:
    reading = Reading(index, known, PullRequest(), Account("hubspot", "1"), LOOKBACK)  # type: ignore[arg-type]
    return Changes(reading, "contacts", ("email",), SINCE, light=light)


def read(index: MadeIndex, known: DictKnown, *, light: bool = False) -> tuple[list[int], list[str]]:
    """(ids handed out, ids that vanished), with what is handed out committed as a pull does."""
    numbers: list[int] = []
    vanished: list[str] = []
    for found in changes(index, known, light=light).found():
        numbers += [int(one["id"]) for one in found.records]
        vanished += found.vanished
        commit(known, found.records)
    return numbers, vanished


def ago(seconds: float) -> int:
    return SINCE - round(1000 * seconds)


def test_no_news_is_one_call() -> None:
    old = dict.fromkeys(range(1, 1000), ago(86_400))
    index = MadeIndex(old)
    assert read(index, mirror(old)) == ([], [])
    assert index.calls == 1


def test_news_is_read_and_what_is_known_is_not_handed_out_again() -> None:
    known = {1: ago(86_400), 2: ago(600), 3: ago(1)}
    index = MadeIndex({**known, 2: ago(-5), 4: ago(-6)})
    assert read(index, mirror(known)) == ([2, 4], [])
    assert index.calls == 1


def test_thirty_thousand_changes_take_a_call_for_each_two_hundred() -> None:
    stamp = ago(-60)
    index = MadeIndex(dict.fromkeys(range(1, 30_001), stamp))
    numbers, _ = read(index, mirror({}))
    assert numbers == list(range(1, 30_001))
    assert index.calls <= 150 + 4


def test_changes_of_a_big_push_before_the_cursor_are_only_counted() -> None:
    pushed = {number: ago(20 + number % 60) for number in range(1, 20_001)}
    index = MadeIndex(pushed)
    assert read(index, mirror(pushed)) == ([], [])
    assert index.calls <= 12


@pytest.mark.parametrize("seconds", [1.5, 7, 30, 100, 500, 880])
def test_a_record_that_the_index_was_late_with_is_found(seconds: float) -> None:
    pushed = {2 * number: ago(300 + number % 300) for number in range(1, 10_001)}
    index = MadeIndex({**pushed, 7777: ago(seconds)})
    numbers, vanished = read(index, mirror(pushed))
    assert (numbers, vanished) == ([7777], [])
    assert index.calls <= 40


@pytest.mark.parametrize(("seen", "now"), [(60, 3), (100, 15), (40, 1), (11, 4)])
def test_a_second_change_unseen_is_found_though_the_whole_window_counts_the_same(seen: int, now: int) -> None:
    pushed = {number: ago(22 + number % 90) for number in range(1, 5_001)}
    index = MadeIndex({**pushed, 9999: ago(now)})
    numbers, _ = read(index, mirror({**pushed, 9999: ago(seen)}))
    assert numbers == [9999]


def test_a_quiet_margin_is_read_again_so_that_no_second_change_is_missed() -> None:
    pushed = {number: ago(400) for number in range(1, 5_001)}
    index = MadeIndex({**pushed, 9999: ago(30.0)})
    numbers, _ = read(index, mirror({**pushed, 9999: ago(30.5)}))
    assert numbers == [9999]


def test_vanished_records_are_named() -> None:
    pushed = {number: ago(200 + number % 90) for number in range(1, 5_001)}
    left = {number: stamp for number, stamp in pushed.items() if number not in (17, 4_444)}
    index = MadeIndex(left)
    numbers, vanished = read(index, mirror(pushed))
    assert (numbers, sorted(vanished)) == ([], ["17", "4444"])
    assert index.calls <= 60


def test_an_old_version_in_the_index_never_comes_back() -> None:
    index = MadeIndex({1: ago(100), 2: ago(100)})
    assert read(index, mirror({1: ago(-50), 2: ago(100)})) == ([], [])


def test_a_run_resumes_above_the_last_id() -> None:
    index = MadeIndex(dict.fromkeys(range(1, 1001), ago(-60)))
    known = mirror(dict.fromkeys(range(1, 401), ago(-60)))
    numbers = [int(one["id"]) for found in changes(index, known).found(above="400") for one in found.records]
    assert numbers == list(range(401, 1001))


def pushed_since(contacts: int) -> tuple[MadeIndex, DictKnown]:
    """All were read before the cursor, and written by us since, a thousand a second."""
    known = mirror(dict.fromkeys(range(1, contacts + 1), ago(86_400)))
    written = {number: ago(-60 - number // 1_000) for number in range(1, contacts + 1)}
    for number, stamp in written.items():
        known.written[str(number)] = words.instant(str(stamp))
    return MadeIndex(written), known


def test_a_light_reading_counts_what_we_wrote_instead_of_reading_it() -> None:
    index, known = pushed_since(50_000)
    assert read(index, known, light=True) == ([], [])
    assert index.calls <= 20


def test_a_light_reading_finds_what_changed_while_we_wrote_and_after() -> None:
    index, known = pushed_since(20_000)
    index.modified |= {77: ago(-3_590), 30_001: ago(-71), 30_002: ago(-2_000)}
    numbers, vanished = read(index, known, light=True)
    assert {77, 30_001, 30_002} <= set(numbers)
    assert vanished == []
    assert index.calls <= 60


def test_a_light_reading_takes_what_is_not_in_the_index_yet_for_nothing() -> None:
    index, known = pushed_since(20_000)
    index.modified |= {number: ago(86_400) for number in range(19_000, 20_001)}
    assert read(index, known, light=True)[1] == []


def test_a_light_reading_lets_others_in_after_every_search() -> None:
    index, known = pushed_since(20_000)
    for not_in_the_index_yet in range(1, 20_000, 1_000):
        del index.modified[not_in_the_index_yet]
    between, before = [], index.calls
    for found in changes(index, known, light=True).found():
        between.append(index.calls - before)
        before = index.calls
        commit(known, found.records)
    assert index.calls > 30
    # the first asks how much there is, the next one how much of that is ours
    assert between[0] == 3
    assert max(between[1:]) == 1


def test_a_light_reading_of_what_others_changed_reads_it_straight() -> None:
    index = MadeIndex(dict.fromkeys(range(1, 5_001), ago(-60)))
    numbers, _ = read(index, mirror({}), light=True)
    assert numbers == list(range(1, 5_001))
    assert index.calls <= 25 + 5


STAMPS = st.integers(min_value=ago(1200), max_value=ago(-300))


@settings(max_examples=60, deadline=None)
@given(
    before=st.dictionaries(st.integers(1, 3000), STAMPS, max_size=40),
    after=st.dictionaries(st.integers(1, 3000), STAMPS, max_size=40),
    crowd=st.sampled_from([0, LITTLE + 500]),
)
def test_whatever_changed_since_the_cursor_is_handed_out_once(
    before: dict[int, int], after: dict[int, int], crowd: int
) -> None:
    many = {10_000 + number: ago(130 + number % 700) for number in range(crowd)}
    # the mirror saw `before`; since then some records have changed (never back in time)
    index = MadeIndex({**many, **before, **{n: max(s, before.get(n, s)) for n, s in after.items()}})
    known = mirror({**many, **before})
    numbers, vanished = read(index, known)
    new = {n for n, s in index.modified.items() if s >= SINCE and before.get(n) != s}
    assert new <= set(numbers)
    late = {n for n, s in after.items() if n not in before and ago(LOOKBACK) <= s < SINCE}
    assert late <= set(numbers)
    assert len(numbers) - len(set(numbers)) == 0
    assert vanished == []


def test_time_windows_meet_without_gap_or_overlap() -> None:
    index = MadeIndex({})
    slices = sorted(changes(index, mirror({}))._slices())
    assert slices[-1][1] == SINCE - 1
    assert all(one[1] + 1 == other[0] for one, other in pairwise(slices))
    assert datetime.fromtimestamp(slices[0][0] / 1000, UTC) == CURSOR - timedelta(seconds=120)
