"""New events are weighed with the mailboxes that they concern, and every mark is that of weighing them all."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connector.errors import Stopped
from connector.jobs import pull as job
from connector.jobs.pull import pull
from connector.mirror import Mirror
from connector.platform import Account, Page, PullRequest, page_schema
from scoring.synthetic.market import market
from scoring.tables import schema

UNTIL = datetime(2026, 6, 30)
_SEEN = ", timestamp '2026-01-01' as first_seen_at, timestamp '2026-01-01' as seen_at"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A market of which some mailboxes' last clicks have not come yet."""
    tables = market(300, 3, UNTIL).tables
    with Mirror.open(tmp_path, Account("made", "1")) as opened:
        for table in ("contacts", "events"):
            opened.connection.register("made", tables[table].select(schema(table).names))
            seen = _SEEN if table == "contacts" else ""
            opened.connection.execute(f"insert into store.{table} by name select *{seen} from made")
            opened.connection.unregister("made")
        opened.connection.execute(
            "create temp table late as select * from store.events where kind in ('email_click', 'email_open') "
            "and contact_id in (select contact_id from store.contacts order by hash(contact_id) limit 12)"
        )
        opened.connection.execute("delete from store.events where event_id in (select event_id from late)")
        yield opened


def marks(mirror: Mirror) -> list[tuple[object, ...]]:
    return mirror.connection.execute("select * from store.machine_made order by all").fetchall()


def test_the_marks_are_those_of_weighing_everyone(mirror: Mirror) -> None:
    mirror.weigh_events()
    before = marks(mirror)
    mirror.connection.execute("insert into store.events select * from late")
    concerned = [row[0] for row in mirror.connection.execute("select distinct contact_id from late").fetchall()]
    assert mirror.weigh_events(concerned) == len(marks(mirror))
    some = marks(mirror)
    mirror.weigh_events()
    assert some == marks(mirror)
    assert some != before


def test_a_poll_that_gives_way_has_weighed_what_it_brought(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.weigh_events()
    before = marks(mirror)
    late = mirror.connection.execute("from late").to_arrow_table().select(page_schema("events").names)

    def pause() -> None:
        raise Stopped("An order comes first.")

    monkeypatch.setattr(job, "request", lambda *_, **__: PullRequest(light=True))
    run: Any = SimpleNamespace(
        platform=SimpleNamespace(pull=lambda *_: iter([Page("email_events", {"events": late})])),
        **{"mirror": mirror, "id": "r", "kept": {}, "progress": lambda *_: None, "pause": pause},
    )
    with pytest.raises(Stopped):
        pull(run, light=True)
    brought = marks(mirror)
    mirror.weigh_events()
    assert brought == marks(mirror)
    assert brought != before
