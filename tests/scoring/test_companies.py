"""A company's chance is that at least one of its contacts reaches the goal."""

import re
from math import prod

import duckdb
import pytest

from scoring.companies import CAP, NAMED, company_chances, company_scores


def chances(*rows: tuple[str | None, float | None]) -> dict[str, tuple[float, int]]:
    connection = duckdb.connect()
    connection.execute("create table c (company_id varchar, contact_id varchar, probability double)")
    connection.executemany("insert into c values (?, ?, ?)", [(key, str(n), p) for n, (key, p) in enumerate(rows)])
    found = connection.execute(company_chances("select * from c")).fetchall()
    return {key: (chance, contacts) for key, chance, contacts in found}


def test_it_is_one_less_the_product_of_the_others() -> None:
    given = [0.2, 0.5, 0.013]
    found = chances(*(("a", p) for p in given), ("b", 0.3))
    assert found["a"] == (pytest.approx(1 - prod(1 - p for p in given)), 3)
    assert found["b"] == (pytest.approx(0.3), 1)


def test_it_is_capped_and_never_undefined() -> None:
    assert chances(*(("a", 0.6) for _ in range(20)))["a"] == (CAP, 20)
    assert chances(("a", 1.0), ("b", 0.0)) == {"a": (CAP, 1), "b": (0.0, 1)}


def test_who_has_no_company_or_no_probability_does_not_count() -> None:
    assert chances((None, 0.9), ("a", None), ("b", 0.1), ("b", None)) == {"b": (pytest.approx(0.1), 1)}


def test_its_record_tells_the_chance_in_percent_and_the_strongest_by_id() -> None:
    connection = duckdb.connect()
    connection.execute("create table c (company_id varchar, contact_id varchar, probability double, score double)")
    given = [("a", "9", 0.2, 40), ("a", "10", 0.5, 64), ("a", "11", 0.5, 64), ("a", "12", 0.1, 5)]
    given += [("b", "7", 0.004, 0), ("b", "8", None, None), (None, "6", 0.9, 91)]
    connection.executemany("insert into c values (?, ?, ?, ?)", given)
    query = f"select company_id, score, reasons from ({company_scores('from c')}) order by 1"
    a = "4 open contacts; contact 10: 64, contact 11: 64, contact 9: 40"
    assert connection.execute(query).fetchall() == [
        ("a", round(100 * (1 - 0.8 * 0.5 * 0.5 * 0.9)), a),
        ("b", 0, "1 open contact; contact 7: 0"),
    ]
    assert re.findall(NAMED, a) == ["10", "11", "9"]
