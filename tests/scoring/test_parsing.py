"""Statements that are parsed once say what their texts say, wherever and by whomever they are run."""

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from scoring import parsing
from scoring.engine import connect


def test_a_text_that_comes_again_is_bound_to_what_is_there_now() -> None:
    connection = connect()
    found = []
    for kind in ("integer", "varchar", "varchar[]"):
        connection.execute(f"create or replace table t as select cast(null as {kind}) as x")
        found.append(connection.execute("select typeof(x) from t").fetchall()[0][0])
    connection.execute("drop table t")
    assert found == ["INTEGER", "VARCHAR", "VARCHAR[]"]
    for _ in range(2):
        with pytest.raises(duckdb.CatalogException):
            connection.execute("select typeof(x) from t")


def test_parameters_are_those_of_each_call_and_other_databases_have_their_own_rows() -> None:
    one, other = connect(), connect()
    one.execute("create table t as select 7 as x")
    other.execute("create table t as select 70 as x")
    text = "select x + ? from t"
    assert [c.execute(text, [n]).fetchall() for n in (1, 2, 3) for c in (one, other)] == [
        [(8,)], [(71,)], [(9,)], [(72,)], [(10,)], [(73,)],
    ]  # fmt: skip
    assert one.sql("select sum(x) as s from t").to_arrow_table()["s"].to_pylist() == [7]
    assert one.cursor().sql("select sum(x) as s from t").to_arrow_table()["s"].to_pylist() == [7]


def test_several_statements_in_one_text_are_all_run_each_time() -> None:
    connection = connect()
    connection.execute("create table t (x integer)")
    for _ in range(3):
        connection.execute("insert into t values (1); insert into t values (2)")
    assert connection.execute("select count(*), sum(x) from t").fetchall() == [(6, 9)]


def test_threads_share_what_was_parsed() -> None:
    connection = connect()
    connection.execute("create table t as select range as x from range(1000)")

    def count(least: int) -> bool:
        cursor = connection.cursor()
        return all(
            cursor.execute("select count(*) from t where x >= ?", [least]).fetchall() == [(1000 - least,)]
            for _ in range(200)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(count, (0, 10, 500, 999)))


def test_of_a_text_that_came_once_nothing_readable_is_kept_and_all_can_be_forgotten() -> None:
    connection = connect()
    connection.execute("select 'person@example.org'")
    assert not any("person@example.org" in text for text in parsing._PARSED._known)
    connection.execute("select 'person@example.org'")
    assert any("person@example.org" in text for text in parsing._PARSED._known)
    parsing.forget()
    assert not parsing._PARSED._known
    assert connection.execute("select 'person@example.org'").fetchall() == [("person@example.org",)]


def test_no_more_than_so_many_texts_are_kept() -> None:
    connection = connect()
    for number in range(parsing.MOST + 50):
        for _ in range(2):
            connection.execute(f"select {number}")
    assert len(parsing._PARSED._known) == len(parsing._PARSED._met) == parsing.MOST
