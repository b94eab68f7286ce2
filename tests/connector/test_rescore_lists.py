"""A contact that changed, where a filter goes by lists: scored when it may be, left alone or cleared when not."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from connector.jobs.rescore import poll, rescore
from scoring.tables import TABLES
from tests.connector.rescoring import Portal, portal
from tests.made_up import write_leads

LIST = "42"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_leads(tmp_path_factory.mktemp("leads"), 640)
    with portal(leads, tmp_path_factory.mktemp("state")) as opened:
        yield opened


def put_on_list(account: Portal, members: list[str]) -> None:
    body = {"list_id": LIST, "contact_ids": members}
    requests.post(f"{account.box.base_url}/_sandbox/list", json=body, timeout=60).raise_for_status()


@pytest.mark.parametrize("way", ["rescore", "poll"])
@pytest.mark.parametrize(
    ("filters", "member_has_values"),
    [
        ({"write": {"include": {"list": [LIST]}}}, True),
        ({"write": {"exclude": {"list": [LIST]}}}, False),
        ({"include": {"list": [LIST]}}, True),
    ],
    ids=["write.include", "write.exclude", "include"],
)
def test_a_filter_by_list_holds_for_who_changed(
    account: Portal, filters: dict[str, Any], way: str, *, member_has_values: bool
) -> None:
    everyone = sorted((str(one) for one in account.box.state.contacts.live), key=int)
    members = everyone[:400]
    put_on_list(account, members)
    account.sync(**filters)
    inside, outside = members[0], everyone[500]
    for one in (inside, outside):
        account.edit(one, y="", pricing_visits=str(len(way) + (one == inside)), age="31")
    hints = account.hints()
    with account.running(**filters) as run:
        result = rescore(run, hints) if way == "rescore" else poll(run)
    assert result["reasons"] == []
    assert {inside, outside} == {hint.object_id for hint in hints}
    assert result["contacts"] == result["scored"] == 2
    trains_only = "write" not in filters
    assert bool(account.values(inside).get("leadlight_probability")) == member_has_values
    assert bool(account.values(outside).get("leadlight_probability")) == (trains_only or not member_has_values)
    assert account.sync(**filters)["pushed"]["changed"] == 0


def test_an_excerpt_has_every_canonical_table(account: Portal) -> None:
    with account.running() as run:
        one = account.open_leads()[0]
        with run.mirror.excerpt([one], run.as_of) as excerpt:
            engine = excerpt.engine()
            stored = engine.fetch(
                "select table_name from duckdb_tables() where database_name = current_database()"
            )
            names = stored["table_name"].to_pylist()
    assert set(TABLES) <= set(names)
