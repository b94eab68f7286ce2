"""Which differences of a lead score are worth a write, one row of before and after at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connector.jobs import discipline
from connector.jobs.objections import OBJECTING
from connector.jobs.run import Task
from connector.mirror import Mirror
from connector.platform import Outcome
from connector.settings import Settings
from scoring.goals import Goal
from scoring.predictors.lead_score import LeadScore
from tests.connector.mirror_story import plan_of
from tests.connector.mirrored import commit, contact, fetch, opened

STANDS = {
    "leadlight_score": "50",
    "leadlight_probability": "0.2",
    "leadlight_grade": "C",
    "leadlight_reasons": "+ visited the pricing page 4 times in 7 days; − last reply 12 days ago",
    "leadlight_confidence": "medium",
}


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with opened(tmp_path) as opened_mirror:
        commit(opened_mirror, contacts=[contact("1", ours=STANDS), contact("2", ours=STANDS), contact("3")])
        yield opened_mirror


def run_on(mirror: Mirror, **settings: Any) -> Any:
    tasks = [Task(LeadScore(), Goal(event="deal_won"))]
    chosen = Settings(**settings)
    mirror.connection.execute(f"create or replace temp table {OBJECTING} (contact_id varchar)")
    return SimpleNamespace(mirror=mirror, settings=chosen, prefix=chosen.prefix, news=None, tasks=lambda: tasks)


def plan(mirror: Mirror, contact_id: str = "1", **values: str | None) -> None:
    """Fill `desired` and `planned` with values of one contact, by the properties' short names."""
    mirror.connection.execute("create or replace temp table desired (contact_id text, property text, value text)")
    rows = [[contact_id, f"leadlight_{name}", value] for name, value in values.items()]
    mirror.connection.executemany("insert into desired values (?, ?, ?)", rows)
    mirror.ledger.differences("desired", into="planned")


def left(mirror: Mirror) -> set[str]:
    return {row[0].removeprefix("leadlight_") for row in fetch(mirror, "select property from planned")}


SMALL = {"score": "51", "probability": "0.2071", "confidence": "high"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reasons": "+ visited the pricing page once in 7 days; − last reply today"},
        {"reasons": "− last reply in 3 days; + visited the pricing page 1,200 times in 7 days"},
    ],
)
def test_a_small_move_is_left_as_it_stands(mirror: Mirror, more: dict[str, str]) -> None:
    plan(mirror, **{**SMALL, **more})
    discipline.leave_small_moves(run_on(mirror))
    assert left(mirror) == set()


@pytest.mark.parametrize(
    "more",
    [
        {"grade": "B"},
        {"score": "52"},
        {"score": "48"},
        {"probability": "0.22"},
        {"score": None},
        {"reasons": "+ visited the pricing page 4 times in 7 days"},
        {"reasons": "+ visited the pricing page 4 times in 7 days; − opened an e-mail 12 days ago"},
    ],
)
def test_what_matters_takes_the_small_moves_along(mirror: Mirror, more: dict[str, str | None]) -> None:
    plan(mirror, **{**SMALL, **more})
    discipline.leave_small_moves(run_on(mirror))
    assert left(mirror) == SMALL.keys() | more.keys()


def test_a_first_value_is_written_and_a_step_of_zero_writes_all(mirror: Mirror) -> None:
    plan(mirror, "3", **SMALL)
    discipline.leave_small_moves(run_on(mirror))
    assert left(mirror) == SMALL.keys()
    plan(mirror, "1", **SMALL)
    discipline.leave_small_moves(run_on(mirror, min_score_step=0))
    assert left(mirror) == SMALL.keys()
    discipline.leave_small_moves(run_on(mirror, min_score_step=1))
    assert left(mirror) == SMALL.keys()


def test_other_predictions_are_not_touched(mirror: Mirror) -> None:
    plan(mirror, score="51", send_hour="9")
    discipline.leave_small_moves(run_on(mirror))
    assert left(mirror) == {"send_hour"}


def test_first_grades_have_not_moved_and_lost_ones_have(mirror: Mirror) -> None:
    plan(mirror, "3", grade="A")
    figures = discipline.caps(run_on(mirror), None, None)
    assert figures["grade_moves"]["lead_score"] == {"moved": 0, "graded": 2, "share": 0.0, "cap": 0.2}
    assert figures["exceeded"] == []
    plan(mirror, "1", grade=None)
    figures = discipline.caps(run_on(mirror), None, None)
    assert figures["grade_moves"]["lead_score"]["share"] == 0.5
    assert "1 of 2" in figures["exceeded"][0]
    assert discipline.caps(run_on(mirror), 0, 0.5)["exceeded"] == [
        "1 contacts would change, the cap (max_changes) is 0."
    ]


def test_the_worthiest_go_first(mirror: Mirror) -> None:
    mirror.connection.execute(
        """create or replace temp table desired as select * from (values
            ('1', 'leadlight_score', '60'), ('2', 'leadlight_score', '90'), ('3', 'leadlight_score', '75'),
            ('1', 'leadlight_grade', 'A'), ('3', 'leadlight_grade', 'B')) t(contact_id, property, value)"""
    )
    mirror.ledger.differences("desired", into="planned")
    discipline.rank(run_on(mirror))
    assert discipline.keep_worthiest(run_on(mirror), 2) == 1
    assert fetch(mirror, "select distinct contact_id from planned order by 1") == [("2",), ("3",)]


def test_the_ledger_forgets_what_is_old_and_settled(mirror: Mirror) -> None:
    for run_id, state in (("old", "written"), ("open", None), ("new", "written")):
        mirror.ledger.plan_writes(run_id, plan_of({("1", "score"): "6"}))
        mirror.ledger.attempt(run_id, ["1"])
        if state:
            mirror.ledger.settle(run_id, [Outcome("1", "written")])
    long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=500)
    mirror.connection.execute("update store.writes set planned_at = ? where run_id <> 'new'", [long_ago])
    assert mirror.ledger.prune(datetime.now(UTC) - timedelta(days=400)) == 1
    assert fetch(mirror, "select distinct run_id from store.writes order by 1") == [("new",), ("open",)]
    assert fetch(mirror, "select run_id from store.attempts order by 1") == [("new",), ("open",)]
    assert mirror.ledger.open_runs() == ["open"]


@pytest.mark.parametrize(
    ("cap", "exceeded"), [(0.2, True), (0.20002, True), (0.2001, False), (float("nan"), True)]
)
def test_a_share_is_compared_before_it_is_rounded(tmp_path: Path, cap: float, exceeded: bool) -> None:
    """6,001 of 30,000 are 20.0033%."""
    with opened(tmp_path) as mirror:
        ours = {"leadlight_grade": "C"}
        commit(mirror, contacts=[contact(str(number), ours=ours) for number in range(30_000)])
        rows = "select cast(range as varchar) as contact_id, 'leadlight_grade' as property, 'B' as value"
        mirror.connection.execute(f"create or replace temp table desired as {rows} from range(6001)")
        mirror.ledger.differences("desired", into="planned")
        caps = discipline.caps(run_on(mirror), None, cap)
    assert bool(caps["exceeded"]) == exceeded
