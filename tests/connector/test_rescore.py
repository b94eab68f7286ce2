"""What happens to a contact that changed: each kind of hint on a pretend account, and what must not happen."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest

from connector.errors import PlatformDown
from connector.jobs import rescore as job
from connector.jobs.rescore import poll, prepare, rescore
from connector.jobs.rollback import find_target, rollback
from connector.jobs.run import Run
from connector.platform import Outcome, Write
from connector.sandbox.hubspot.state import CRM_UI
from tests.connector.rescoring import Portal, hint, portal, rows
from tests.made_up import write_leads

ROWS = 640
KEEN = {"pricing_visits": "14", "industry": "Software", "employees": "2000"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_leads(tmp_path_factory.mktemp("leads"), ROWS)
    with portal(leads, tmp_path_factory.mktemp("state")) as opened:
        yield opened


@pytest.fixture
def lead(account: Portal) -> str:
    """A contact with a score that is far from the best."""
    account.hints()
    leads = account.open_leads()
    return min(leads[:300], key=lambda one: (float(account.values(one)["leadlight_probability"]), int(one)))


def test_an_edit_is_scored_and_written_and_only_once(account: Portal, lead: str) -> None:
    before = account.values(lead)
    account.edit(lead, **KEEN)
    hints = account.hints()
    assert {one.kind for one in hints} == {"changed"}
    result = account.rescore(hints)
    after = account.values(lead)
    assert float(after["leadlight_probability"]) > float(before["leadlight_probability"])
    assert after["leadlight_scored_at"] >= before["leadlight_scored_at"]
    assert (result["contacts"], result["scored"], result["changed"]) == (1, 1, 1)
    assert result["values"] >= 3
    assert (result["failed"], result["gone"], result["left"], result["reasons"]) == (0, 0, [], [])
    writes = account.writes()
    again = account.rescore(hints)
    assert (again["scored"], again["changed"], again["unchanged"]) == (0, 0, 1)
    assert account.writes() == writes


def test_a_sync_afterwards_has_nothing_to_add(account: Portal) -> None:
    """So every value is the one that a scoring of everyone gives, and our own writes were no news."""
    account.sync()
    for place, one in enumerate(account.open_leads()[:40]):
        account.edit(one, pricing_visits=str(place % 9), employees=str(10 * place))
    result = account.rescore()
    assert (result["contacts"], result["scored"]) == (40, 40)
    after = account.sync()
    assert (after["scored"], after["pushed"]["changed"]) == (0, 0)
    with account.running("score") as run:
        whole = job.standing(run)
        kept = run.mirror.predictions()
        ids = kept["contact_id"].to_pylist()
        run.mirror.connection.register("every_id", pa.table({"contact_id": ids}))
        job.compute(run, whole, run.as_of, "every_id")
        assert run.mirror.predictions().to_pylist() == kept.to_pylist()


def test_our_own_writes_ask_for_nothing(account: Portal, lead: str) -> None:
    account.edit(lead, pricing_visits="9")
    account.rescore()
    ours = [change for change in account.told if (change.property or "").startswith("leadlight_")]
    assert ours
    assert account.hints() == []
    # even where such a hint slipped through, the contact shows our own write and nothing else
    writes = account.writes()
    result = account.rescore([hint("changed", lead)])
    assert (result["scored"], result["changed"]) == (0, 0)
    assert account.writes() == writes


def test_a_storm_costs_a_handful_of_calls(account: Portal, lead: str) -> None:
    account.edit(lead, pricing_visits="8")
    account.told.clear()
    calls = account.calls()
    result = account.rescore([hint("changed", lead, key=str(number)) for number in range(10_000)])
    assert (result["contacts"], result["changed"]) == (1, 1)
    assert account.calls() - calls <= 8


def test_a_new_contact_gets_a_score(account: Portal) -> None:
    account.hints()
    made = account.call("POST", "contacts", {"properties": {**KEEN, "email": "new@example.com", "age": "40"}})
    result = account.rescore()
    assert (result["scored"], result["changed"]) == (1, 1)
    assert account.values(str(made["id"]))["leadlight_grade"] in "AB"


def test_who_reached_the_goal_loses_the_score(account: Portal, lead: str) -> None:
    account.edit(lead, y="yes")
    result = account.rescore()
    assert result["changed"] == 1
    after = account.values(lead)
    assert not [name for name in after if name.startswith("leadlight_") and name != "leadlight_holdout"]


def test_a_deleted_contact_is_suspended_and_a_restored_one_is_back(account: Portal, lead: str) -> None:
    account.call("DELETE", f"contacts/{lead}")
    calls = account.calls()
    result = account.rescore()
    assert (result["gone"], result["changed"], result["left"]) == (1, 0, [])
    assert account.calls() - calls <= 4
    with account.running() as run:
        assert rows(run, "select 1 from store.predictions where contact_id = ?", lead) == []
        assert rows(run, "select deleted_at is not null from store.contacts where contact_id = ?", lead) == [
            (True,)
        ]
    contacts = account.box.state.contacts
    contacts.restore(contacts.records[int(lead)], CRM_UI)
    result = account.rescore()
    assert (result["scored"], result["gone"]) == (1, 0)
    with account.running() as run:
        assert rows(run, "select 1 from store.predictions where contact_id = ?", lead) == [(1,)]


@pytest.mark.parametrize("told", ["of the merge", "of the loser"])
def test_a_merge_leads_to_the_winner_with_both_histories(account: Portal, lead: str, told: str) -> None:
    loser = next(one for one in account.open_leads() if one != lead)
    at = datetime(2026, 1, 1)
    with account.running() as run:
        for one in (lead, loser):
            event = f"event of {one} {told}"
            rows(run, f"insert into store.events by name select '{event}' as event_id, '{one}' as contact_id, "
                      f"timestamp '{at}' as occurred_at, 'call' as kind")  # fmt: skip
    deal = account.call("POST", "deals", {"properties": {"dealname": "theirs"}})["id"]
    account.box.state.links.add("deals", int(deal), "contacts", int(loser))
    account.call("POST", "contacts/merge", {"primaryObjectId": lead, "objectIdToMerge": loser})
    hints = account.hints()
    assert any(one.kind == "merged" for one in hints)
    if told == "of the loser":
        # reading it leads to the winner
        hints = [hint("changed", loser)]
    result = account.rescore(hints)
    assert result["left"] == []
    with account.running() as run:
        assert rows(run, "select merged_into from store.contacts where contact_id = ?", loser) == [(lead,)]
        mine = rows(run, "select event_id from store.events where contact_id = ? and kind = 'call'", lead)
        assert {f"event of {one} {told}" for one in (lead, loser)} <= {row[0] for row in mine}
        assert rows(run, "select contact_id from store.deal_contacts where deal_id = ?", deal) == [(lead,)]
        assert rows(run, "select 1 from store.predictions where contact_id = ?", loser) == []
        assert rows(run, "select 1 from store.predictions where contact_id = ?", lead) == [(1,)]


def test_an_association_is_read_again(account: Portal, lead: str) -> None:
    company = account.call("POST", "companies", {"properties": {"name": "Acme"}})
    account.box.state.links.add("contacts", int(lead), "companies", int(company["id"]))
    account.hints()
    account.rescore([hint("changed", lead)])
    with account.running() as run:
        assert rows(run, "select company_id from store.contacts where contact_id = ?", lead) == [(None,)]
    account.rescore([hint("associated", lead)])
    with account.running() as run:
        assert rows(run, "select company_id from store.contacts where contact_id = ?", lead) == [(company["id"],)]
    account.edit(lead, pricing_visits="2")
    account.rescore()
    with account.running() as run:
        assert rows(run, "select company_id from store.contacts where contact_id = ?", lead) == [(company["id"],)]


def test_who_is_nowhere_is_gone_and_nothing_happens(account: Portal) -> None:
    result = account.rescore([hint("changed", "555555555")])
    assert (result["gone"], result["changed"], result["left"]) == (1, 0, [])


@pytest.mark.parametrize("where", ["compute", "_plan", "send"])
def test_a_crash_anywhere_is_made_good_by_the_same_hints(account: Portal, lead: str, where: str) -> None:
    account.edit(lead, pricing_visits="13", age=str(20 + len(where)))
    hints = account.hints()
    with pytest.raises(ZeroDivisionError), patch.object(job, where, side_effect=ZeroDivisionError):
        account.rescore(hints)
    result = account.rescore(hints)
    assert result["changed"] == 1
    with account.running() as run:
        assert run.mirror.ledger.open_runs() == []
        assert run.mirror.news() == 0
    assert account.sync()["pushed"]["changed"] == 0


def test_a_call_after_one_that_failed_settles_it_within_the_same_run(account: Portal, lead: str) -> None:
    account.edit(lead, pricing_visits="1", age="77")
    hints = account.hints()
    with account.running() as run:
        with patch.object(run.platform, "write", side_effect=PlatformDown("down")), pytest.raises(PlatformDown):
            rescore(run, hints)
        assert run.mirror.ledger.open_runs() == [run.id]
        result = rescore(run, hints)
        assert result["changed"] == 1
        assert run.mirror.ledger.open_runs() == []


def test_what_is_meant_and_tried_is_on_disk_before_a_call_leaves(account: Portal, lead: str) -> None:
    """Values, plan and first attempts share a commit, which comes before the platform hears anything."""
    account.edit(lead, pricing_visits="2", age="55")
    seen = []
    with account.running() as run:
        write = run.platform.write

        def watched(batch: Sequence[Write]) -> list[Outcome]:
            with run.mirror.reading() as beside:
                for table in ("writes", "attempts"):
                    query = f"select count(*) from store.{table} where run_id = ? and object_id = ?"
                    seen.append(beside.connection.execute(query, [run.id, lead]).fetchall()[0][0])
                query = "select count(*) from store.predictions where run_id = ?"
                seen.append(beside.connection.execute(query, [run.id]).fetchall()[0][0])
            return write(batch)

        with patch.object(run.platform, "write", side_effect=watched):
            assert rescore(run, account.hints())["changed"] == 1
    planned, tried, computed = seen
    assert planned >= 3
    assert (tried, computed) == (1, 1)


def test_models_are_made_ready_for_the_next_runs(account: Portal, lead: str) -> None:
    models: dict[str, Any] = {}
    with account.running() as run:
        run.kept["models"] = models
        assert len(list(prepare(run))) >= len(models) > 0
    ready = {key: model for key, (_, model) in models.items()}
    assert all(model.parsed for model in ready.values() if model is not None)
    account.edit(lead, pricing_visits="3", age="54")
    with account.running() as run:
        run.kept["models"] = models
        assert rescore(run, account.hints())["changed"] == 1
    assert {key: model for key, (_, model) in models.items()} == ready
    assert all(models[key][1] is model for key, model in ready.items())


def test_a_contact_that_changes_again_within_one_run_is_written_again(account: Portal, lead: str) -> None:
    before = account.values(lead)["leadlight_probability"]
    told = []
    with account.running() as run:
        for visits in ("14", "0", "9"):
            account.edit(lead, pricing_visits=visits)
            assert rescore(run, account.hints())["changed"] == 1
            told.append(account.values(lead)["leadlight_probability"])
    assert told[0] != told[1] != told[2]
    assert account.sync()["pushed"]["changed"] == 0
    with account.running("rollback") as undo:
        assert rollback(undo, find_target(undo, run.id))["restored"] == 1
        undo.mirror.rollbacks.release()
    assert account.values(lead)["leadlight_probability"] == before
    account.sync()


def test_many_calls_are_one_run_which_is_rolled_back_as_one(account: Portal) -> None:
    leads = account.open_leads()[10:14]
    before = {one: account.values(one)["leadlight_probability"] for one in leads}
    with account.running() as run:
        for one in leads:
            account.edit(one, **KEEN)
            assert rescore(run, account.hints())["changed"] == 1
    changed = [one for one in leads if account.values(one)["leadlight_probability"] != before[one]]
    assert changed
    with account.running("rollback") as undo:
        assert rollback(undo, find_target(undo, run.id))["restored"] == len(leads)
    assert {one: account.values(one)["leadlight_probability"] for one in leads} == before
    account.hints()
    # what was put back is held back, for a webhook too
    writes = account.writes()
    account.edit(leads[0], pricing_visits="13")
    result = account.rescore()
    assert (result["scored"], result["held"], result["changed"]) == (1, 1, 0)
    assert account.writes() == writes
    with account.running() as run:
        run.mirror.rollbacks.release()


def test_caps_hold_for_a_day_of_runs(account: Portal) -> None:
    account.sync()  # what other tests left to be written
    with account.running() as run:
        query = (
            "from store.outcomes join store.runs using (run_id) where command = 'rescore' and state = 'written'"
        )
        written = {row[0] for row in rows(run, f"select object_id {query}")}
    first, second = [one for one in account.open_leads() if one not in written][:2]
    cap = len(written) + 1
    account.edit(first, pricing_visits="12", age="33")
    assert account.rescore(max_changes=cap)["changed"] == 1
    account.edit(second, pricing_visits="12", age="34")
    stopped = account.rescore(max_changes=cap)
    assert (stopped["scored"], stopped["changed"], stopped["left"]) == (1, 0, [])
    assert "max_changes" in stopped["reasons"][0]
    account.edit(second, pricing_visits="0")
    moved = account.rescore(max_grade_moves=0.0)
    assert moved["changed"] == 0
    assert "max_grade_moves" in moved["reasons"][0]
    account.edit(second, **KEEN)
    awaited = account.rescore([hint("changed", second)], require_approval=True)
    assert awaited["changed"] == 0
    assert "require_approval" in awaited["reasons"][0]
    standing = account.values(second)["leadlight_probability"]
    account.sync()
    assert float(account.values(second)["leadlight_probability"]) > float(standing)


def test_grade_moves_of_a_day_are_net_and_a_share_of_who_held_a_grade_at_midnight(account: Portal) -> None:
    account.sync()

    def told(lead: str) -> tuple[int, int]:
        """What the cap says: so many of so many, were the lead to move."""
        account.edit(lead, **KEEN)
        [reason] = account.rescore([hint("changed", lead)], max_grade_moves=0.0)["reasons"][:1]
        moved, held = re.findall(r"([0-9,]+) of ([0-9,]+) contacts with a grade", reason)[0]
        return int(moved.replace(",", "")), int(held.replace(",", ""))

    leads = account.open_leads()
    low = sorted(leads, key=lambda one: (float(account.values(one)["leadlight_probability"]), int(one)))
    there_and_back, gone, last = low[:3]
    moved, held = told(last)
    before = {name: account.values(there_and_back)[name] for name in KEEN}
    grades = []
    for values in (KEEN, before):
        account.edit(there_and_back, **values)
        assert account.rescore([hint("changed", there_and_back)])["changed"] == 1
        grades.append(account.values(there_and_back)["leadlight_grade"])
    assert grades[0] != grades[1]
    assert told(last) == (moved, held)
    # who loses the grade has moved, and held one at midnight; who got a first one today did not
    account.edit(gone, y="yes")
    account.call("POST", "contacts", {"properties": {**KEEN, "email": "first@example.com", "age": "40"}})
    made = [one.object_id for one in account.hints() if one.kind == "created"]
    for values in ({}, {"pricing_visits": "0", "employees": "5"}):
        account.edit(made[0], **values)
        assert account.rescore([hint("changed", gone), hint("created", made[0])])["changed"] >= 1
    assert told(last) == (moved + 1, held)
    account.sync()


def test_what_a_sync_has_planned_gives_way_to_what_is_known_better(account: Portal, lead: str) -> None:
    account.edit(lead, pricing_visits="11", age="51")
    hints = account.hints()
    with account.running("sync") as run:
        plan = pa.table(
            {"contact_id": [lead], "property": ["leadlight_score"], "value": ["1"], "value_before": ["2"]}
        )
        run.mirror.ledger.plan_writes(run.id, plan)
        beside = run.mirror.beside()
        other = Run(
            beside.begin_run("rescore"), "rescore", run.settings, run.platform, beside, None, 0.0, run.progress
        )
        assert rescore(other, hints)["changed"] == 1
        assert run.mirror.ledger.unattempted(run.id) == {}
        run.mirror.ledger.plan_writes(run.id, plan)
        run.mirror.ledger.attempt(run.id, [lead])
        account.edit(lead, pricing_visits="10")
        hints = account.hints()
        result = rescore(other, hints)
        assert (result["changed"], result["left"]) == (0, [hints[0].key])
        other.done({})
        beside.close()
    assert account.rescore(hints)["failed"] == 0


def test_a_poll_finds_what_no_webhook_told(account: Portal, lead: str) -> None:
    account.sync()
    account.edit(lead, **KEEN)
    account.told.clear()
    with account.running() as run:
        result = poll(run)
        assert (result["contacts"], result["scored"], result["changed"]) == (1, 1, 1)
        assert result["pulled"]["contacts"] == 1
        quiet = poll(run)
        assert (quiet["contacts"], quiet["changed"]) == (0, 0)


def test_what_a_poll_computed_and_could_not_write_is_written_by_the_next(account: Portal, lead: str) -> None:
    account.sync()
    account.edit(lead, **KEEN)
    account.told.clear()
    before = account.values(lead)
    with account.running() as run:
        with patch.object(run.platform, "write", side_effect=PlatformDown("away")), pytest.raises(PlatformDown):
            poll(run)
        assert account.values(lead) == before
    with account.running() as run:
        result = poll(run)
    assert (result["contacts"], result["changed"]) == (1, 1)
    assert account.values(lead)["leadlight_probability"] > before["leadlight_probability"]


def test_a_poll_lets_others_in_between_two_parts(
    account: Portal, lead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.sync()
    monkeypatch.setattr(job, "POLL_BATCH", 1)
    others = [one for one in account.open_leads() if one != lead][:2]
    for one in (lead, *others):
        account.edit(one, pricing_visits="11")
    account.told.clear()

    waiting: list[int] = []
    with account.running(require_approval=True) as run:
        poll(replace(run, pause=lambda: waiting.append(run.mirror.news())))
    # nothing is written, so nothing else pauses
    assert waiting[-3:] == [3, 2, 1]
    account.sync()


def test_a_poll_leaves_what_it_told_by_counts_alone_to_the_next_sync(account: Portal, lead: str) -> None:
    account.sync()
    account.edit(lead, pricing_visits="7")
    account.told.clear()
    with account.running() as run:
        before = dict(run.mirror.known.cursor("contacts") or {})
        assert poll(run)["contacts"] == 1
        after = dict(run.mirror.known.cursor("contacts") or {})
    assert after.pop("polled") > before["since"]
    assert after == before
    account.sync()
    with account.running() as run:
        assert "polled" not in (run.mirror.known.cursor("contacts") or {})


def test_before_the_first_sync_nothing_happens(account: Portal, tmp_path: Path) -> None:
    fresh = Portal(account.box, account.settings.model_copy(update={"state_dir": tmp_path}))
    result = fresh.rescore([hint("changed", account.open_leads()[0])])
    assert "sync" in result["reasons"][0]
    assert result["changed"] == 0
