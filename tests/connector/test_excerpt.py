"""A rescoring's excerpt gives every contact the values that a scoring of everyone gives."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from connector.mirror import Mirror
from connector.mirror import excerpt as excerpt_module
from connector.mirror.excerpt import OWN
from connector.mirror.sql import texts
from connector.platform import Page, PullRequest
from connector.platforms.hubspot.platform import HubSpot
from connector.sandbox import Rate, Sandbox, SandboxOptions
from scoring.decisions import decide
from scoring.engine import DuckEngine
from scoring.goals import Goal
from scoring.predictors import PREDICTORS
from scoring.predictors.base import Context, Model, Options

GOALS = (Goal(event="deal_won"), Goal(name="stage", event="lifecycle_stage", value="customer"))
MEANWHILE = ["nothing", "others were asked for", "another company", "the clock went back", "merged"]
AS_OF = datetime.now(UTC).replace(tzinfo=None, microsecond=0)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A market as HubSpot tells of it, in which some contacts are one person, of whom half objected once."""
    options = SandboxOptions(contacts=700, seed=5, search_lag=0.0, rate=Rate(100_000, 10.0))
    with Sandbox(options) as box:
        platform = HubSpot(SecretStr(box.token), box.base_url)
        with Mirror.open(tmp_path_factory.mktemp("state"), platform.account()) as opened:
            for page in platform.pull(opened.known, PullRequest(history=True)):
                if isinstance(page, Page):
                    opened.commit(page, run_id="run", observed_at=AS_OF)
            platform.close()
            # some of what people did was done by machines
            opened.connection.execute(
                "insert into store.machine_made select event_id, contact_id, 0.9 from store.events "
                "where kind in ('email_open', 'email_click') and hash(event_id) % 5 = 0"
            )
            opened.connection.execute(
                """insert into store.identities
                   select 'p' || (row_number() over (order by contact_id) % 200), 'x', '1', contact_id, 'test'
                   from store.contacts where try_cast(contact_id as bigint) % 2 = 0"""
            )
            opened.connection.execute(
                """insert into store.consents
                   select min(contact_id), 'email', 'profiling', 'denied', timestamp '2020-01-01'
                   from store.identities where person_id < 'p5' group by person_id"""
            )
            yield opened


def values(engine: DuckEngine, models: dict[str, Model], only: str | None) -> pa.Table:
    outputs = {}
    for predictor in PREDICTORS:
        for goal in GOALS:
            model = models.get(f"{predictor.name} {goal.name}")
            if model is not None:
                context = Context(engine, AS_OF, goal, Options())
                names = {name: f"{name}_{goal.name}" for name in predictor.properties}
                outputs[f"{predictor.name} {goal.name}"] = (predictor.score(context, model, only), names)
    return decide(outputs)


@pytest.fixture(scope="module")
def models(mirror: Mirror) -> dict[str, Model]:
    found = {}
    for predictor in PREDICTORS:
        for goal in GOALS[: 2 if predictor.name == "lead_score" else 1]:
            found[f"{predictor.name} {goal.name}"] = predictor.train(
                Context(mirror.engine(), AS_OF, goal, Options())
            )
    return found


def test_every_value_equals_that_of_a_scoring_of_everyone(mirror: Mirror, models: dict[str, Model]) -> None:
    whole = values(mirror.engine(), models, None)
    assert 200 < whole.num_rows < 650
    live = [row[0] for row in mirror.connection.execute(mirror.live_contacts_sql + " order by 1").fetchall()]
    parts = []
    for start in range(0, len(live), 120):
        with mirror.excerpt(live[start : start + 120], AS_OF) as excerpt:
            parts.append(values(excerpt.engine(), models, OWN))
    assert pa.concat_tables(parts).sort_by("contact_id").to_pylist() == whole.to_pylist()


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_looking_ahead_changes_no_value(mirror: Mirror, models: dict[str, Model], meanwhile: str) -> None:
    """Events that were read before the contacts were read again, whatever became of them in between."""
    connection = mirror.connection
    live = [row[0] for row in connection.execute(mirror.live_contacts_sql + " order by 1").fetchall()]
    chosen, others = live[100:160], live[400:430]
    with mirror.empty_excerpt() as excerpt:
        seen = AS_OF + timedelta(days=200) if meanwhile == "the clock went back" else AS_OF
        excerpt.look_ahead(others if meanwhile == "others were asked for" else chosen, seen)
        assert excerpt._ahead is not None
        excerpt._ahead.result()
        if meanwhile == "another company":
            connection.execute(
                f"""update store.contacts set company_id = (
                        select company_id from store.contacts where contact_id in ({texts(others)})
                        and company_id is not null order by contact_id limit 1)
                    where contact_id in ({texts(chosen)})"""
            )
        if meanwhile == "merged":
            loser = connection.execute(
                f"select max(contact_id) from store.events where contact_id in ({texts(others)})"
            ).fetchall()[0][0]
            connection.execute("update store.events set contact_id = ? where contact_id = ?", [chosen[0], loser])
        excerpt.fill(chosen, AS_OF, anew=meanwhile == "merged")
        ahead = values(excerpt.engine(), models, OWN)
    with mirror.excerpt(chosen, AS_OF) as excerpt:
        assert ahead.to_pylist() == values(excerpt.engine(), models, OWN).to_pylist()
    assert ahead.num_rows > 20


def test_what_was_found_ahead_never_comes_after_what_was_found_anew(mirror: Mirror) -> None:
    """The look ahead is slow; the events have moved to another contact since it began."""
    connection = mirror.connection
    [(busy,), (other,)] = connection.execute(
        "select contact_id from store.events group by 1 order by count(*) desc, 1 limit 2"
    ).fetchall()
    plain = excerpt_module._events
    began = threading.Event()

    def slow(beside: Any, since: datetime, **tables: str) -> None:
        if tables:
            began.set()
            time.sleep(0.3)
        plain(beside, since, **tables)

    with pytest.MonkeyPatch.context() as patch, mirror.empty_excerpt() as excerpt:
        patch.setattr(excerpt_module, "_events", slow)
        excerpt.look_ahead([busy], AS_OF)
        assert began.wait(10)
        excerpt.fill([other], AS_OF, anew=True)
        found = excerpt.engine().fetch("select distinct contact_id from events")["contact_id"].to_pylist()
    assert other in found


def test_an_excerpt_holds_no_more_than_it_must_and_disturbs_nothing(mirror: Mirror) -> None:
    contacts = "select count(*) as n from contacts"
    one = mirror.connection.execute("select min(contact_id) from store.events").fetchall()[0][0]
    with mirror.excerpt([one], AS_OF) as excerpt:
        engine = excerpt.engine()
        around, events = engine.fetch(contacts)["n"][0].as_py(), engine.fetch("select contact_id from events")
    assert 1 <= around < 60
    assert one in events["contact_id"].to_pylist()
    assert mirror.engine().fetch(contacts)["n"][0].as_py() == 700
