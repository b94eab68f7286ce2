from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from connector.errors import Bug
from connector.mirror import Mirror
from connector.platform import Outcome, Span
from tests.connector.mirrored import DAY, T0, commit, contact, fetch, forget_news, opened, rows


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with opened(tmp_path) as opened_mirror:
        yield opened_mirror


def test_count_and_ids_agree_on_live_records_by_number(mirror: Mirror) -> None:
    contacts = [contact(str(number), at=T0 + number * DAY) for number in (2, 9, 10, 11, 100)]
    commit(mirror, contacts=contacts, removals=[{"object": "contact", "object_id": "11"}])
    known = mirror.known
    assert known.ids(Span("contact", T0, T0 + 100 * DAY, None, None)) == ["2", "9", "10", "100"]
    assert known.ids(Span("contacts", T0, T0 + 100 * DAY, "2", "10")) == ["9", "10"]
    assert known.ids(Span("contact", T0 + 9 * DAY, T0 + 10 * DAY, None, None)) == ["9", "10"]
    for above, upto in ((None, None), ("2", "10"), ("9", None), ("100", None)):
        assert known.count(Span("contact", T0, T0 + 100 * DAY, above, upto)) == len(
            known.ids(Span("contact", T0, T0 + 100 * DAY, above, upto))
        )
    with pytest.raises(Bug, match="ticket"):
        known.count(Span("ticket", T0, T0, None, None))


def test_records_are_known_by_the_version_that_was_read_of_them(mirror: Mirror) -> None:
    contacts = [contact(str(number), at=T0 + number * DAY) for number in (2, 9, 10)]
    commit(mirror, contacts=contacts, removals=[{"object": "contact", "object_id": "10"}])
    _written(mirror, "9", "7", T0 + 20 * DAY)
    assert mirror.known.read_at("contact", ["9", "2", "10", "11"]) == {"2": T0 + 2 * DAY, "9": T0 + 9 * DAY}
    assert mirror.known.read_at("contacts", []) == {}


def test_addresses_find_the_live_contact_or_the_winner(mirror: Mirror) -> None:
    commit(
        mirror,
        contacts=[contact("1", email="One@Example.com"), contact("2"), contact("3"), contact("4")],
        contact_addresses=[
            {"contact_id": "1", "email": "second@example.com", "is_primary": False},
            {"contact_id": "3", "email": "C1@example.com", "is_primary": False},
        ],
        removals=[
            {"object": "contact", "object_id": "2", "merged_into": "3"},
            {"object": "contact", "object_id": "4", "deleted_at": T0},
        ],
    )
    asked = [
        "ONE@example.com",
        "second@example.com",
        "c1@example.com",
        "c2@example.com",
        "c4@example.com",
        "no@x.com",
    ]
    assert mirror.known.addresses(asked) == {
        "one@example.com": "1",
        "second@example.com": "1",
        "c1@example.com": "3",
        "c2@example.com": "3",
    }
    assert mirror.known.addresses([]) == {}


def _written(mirror: Mirror, contact_id: str, score: str, at: object) -> None:
    plan = pa.table({"contact_id": [contact_id], "property": ["leadlight_score"], "value": [score]})
    run = mirror.begin_run("push")
    mirror.ledger.plan_writes(run, plan.append_column("value_before", pa.array([None], pa.string())))
    mirror.ledger.settle(run, [Outcome(contact_id, "written", at)])  # type: ignore[arg-type]


def test_an_echo_has_our_date_and_equal_properties(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact(str(number), {"a": "x"}) for number in (1, 2, 3, 4)])
    ours = {"leadlight_score": "7"}
    for number in (1, 2, 3):
        _written(mirror, str(number), "7", T0 + DAY)
    read = rows(
        "contacts",
        [
            contact("1", {"a": "x"}, T0 + DAY, ours=ours),
            contact("2", {"a": "edited"}, T0 + DAY, ours=ours),
            contact("3", {"a": "x"}, T0 + DAY, ours={"leadlight_score": "8"}),
            contact("4", {"a": "x"}, T0, ours={}),
            contact("5", {"a": "x"}, T0 + DAY, ours=ours),
        ],
    )
    fresh, echoes = mirror.known.split_echoes(read)
    assert echoes["contact_id"].to_pylist() == ["1"]
    assert fresh["contact_id"].to_pylist() == ["2", "3", "4", "5"]
    forget_news(mirror)
    assert commit(mirror, T0 + DAY, echoes=echoes) == {}
    assert mirror.news() == 0
    assert fetch(mirror, "select modified_at, updated_at from store.contacts where contact_id = '1'") == [
        (T0 + DAY, T0.replace(microsecond=0))
    ]
    later = rows("contacts", [contact("1", {"a": "x"}, T0 + 2 * DAY, ours=ours)])
    assert mirror.known.split_echoes(later)[1].num_rows == 0


def test_an_edit_read_before_our_write_arrived_in_the_index_keeps_both(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1", {"a": "x"})])
    _written(mirror, "1", "7", T0 + 2 * DAY)
    edited = contact("1", {"a": "edited"}, T0 + DAY, ours={})
    assert commit(mirror, T0 + 2 * DAY, contacts=[edited]) == {"contacts": 1}
    assert fetch(mirror, "select properties, ours, modified_at from store.contacts") == [
        ('{"a":"edited"}', '{"leadlight_score":"7"}', T0 + 2 * DAY)
    ]


def test_values_of_ours_that_were_not_read_stay(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1", {"a": "x"})])
    _written(mirror, "1", "7", None)
    commit(mirror, contacts=[{**contact("1", {"a": "y"}), "ours": None, "modified_at": None}], whole=("contacts",))
    assert fetch(mirror, "select properties, ours from store.contacts") == [
        ('{"a":"y"}', '{"leadlight_score":"7"}')
    ]


def test_a_record_counts_by_the_version_that_was_read_not_by_our_write(mirror: Mirror) -> None:
    commit(mirror, contacts=[contact("1", {"a": "x"})])
    _written(mirror, "1", "7", T0 + 2 * DAY)
    assert mirror.known.count(Span("contact", T0 + DAY, T0 + 3 * DAY, None, None)) == 0
    commit(mirror, T0 + 2 * DAY, contacts=[contact("1", {"a": "x"}, T0 + 2 * DAY, ours={"leadlight_score": "7"})])
    assert mirror.known.count(Span("contact", T0 + DAY, T0 + 3 * DAY, None, None)) == 1
