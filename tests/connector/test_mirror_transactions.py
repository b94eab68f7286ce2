"""What a commit keeps of first values; transactions within others, and with an error that was caught."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from connector.mirror import Mirror
from connector.mirror.sql import transaction
from tests.connector.mirrored import DAY, T0, fetch, opened, page


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with opened(tmp_path) as opened_mirror:
        yield opened_mirror


def test_the_first_value_of_a_record_stays_known_where_only_its_neighbours_have_history(mirror: Mirror) -> None:
    def deals(at: int, amount: str) -> list[dict[str, object]]:
        stamp = T0 + at * DAY
        return [
            {
                "deal_id": one,
                "created_at": T0,
                "properties": json.dumps({"amount": amount}),
                "ours": "{}",
                "modified_at": stamp,
            }
            for one in ("1", "2")
        ]

    for at, amount in enumerate(("100", "200", "300")):
        seen = T0 + at * DAY
        told = {"object": "deal", "object_id": "1", "property": "amount", "value": amount, "changed_at": seen}
        history = [{**told, "observed_at": seen, "source": "CRM_UI"}]
        mirror.commit(page(deals=deals(at, amount), property_history=history), run_id="r", observed_at=seen)
    found = fetch(
        mirror,
        "select value from store.property_history where object_id = '2' order by changed_at",
    )
    assert [value for (value,) in found] == ["100", "200", "300"]


def test_a_transaction_within_another_is_a_part_of_it(mirror: Mirror) -> None:
    connection = mirror.connection

    def fails() -> None:
        with transaction(connection):
            with transaction(connection):
                connection.execute("create table store.inner (x integer)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert not connection.execute("select 1 from duckdb_tables() where table_name = 'inner'").fetchall()
    with transaction(connection):
        connection.execute("create table store.inner (x integer)")
    assert connection.execute("select count(*) from store.inner").fetchall() == [(0,)]


def test_a_transaction_in_which_an_error_was_caught_is_no_success(mirror: Mirror) -> None:
    connection = mirror.connection
    connection.execute("create table store.once (x integer primary key)")

    def overheard() -> None:
        with transaction(connection):
            connection.execute("insert into store.once values (1)")
            with suppress(duckdb.Error):
                connection.execute("insert into store.once values (1)")

    with pytest.raises(duckdb.Error):
        overheard()
    assert connection.execute("select count(*) from store.once").fetchall() == [(0,)]
    with transaction(connection):
        connection.execute("insert into store.once values (2)")
    assert connection.execute("select x from store.once").fetchall() == [(2,)]
