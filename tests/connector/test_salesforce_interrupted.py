"""Pulls that are stopped, jobs that are gone, queries that take too long: what changed meanwhile is still read."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import manifests
from connector.sandbox.salesforce import records
from connector.sandbox.salesforce.problems import Problem
from connector.sandbox.times import now_ms
from tests.connector.salesforce_org import Account, start

__all__ = ["start"]

JOBS = "POST /services/data/v68.0/jobs/query"
DAY = 86_400_000


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows make a job of several pages."""
    read = manifests.read_toml

    def smaller(*path: str) -> dict[str, Any]:
        found = read(*path)
        if path == ("salesforce", "limits.toml"):
            found["pages"] |= {"rest": 50, "bulk": 40, "slice": 20}
        return found

    monkeypatch.setattr(manifests, "read_toml", smaller)


def stop_in_the_job(org: Account, stream: str = "leads") -> str:
    """Pull until a page of the stream's Bulk job is stored; the job's id."""
    org.pull(until=lambda: "locator" in (org.mirror.known.cursor(stream) or {}))
    return str((org.mirror.known.cursor(stream) or {})["job"])


def lead_jobs(org: Account) -> set[str]:
    """Jobs that read leads whole: other streams ask for a few columns of them."""
    known = org.box.host.jobs.known.values()
    return {job.id for job in known if job.entity.name == "Lead" and job.query and len(job.query.columns) > 9}


def forget_jobs(org: Account) -> None:
    """Results are kept for seven days."""
    with org.box.org.lock:
        org.box.host.jobs.known.clear()


def convert(org: Account, lead: str) -> str:
    (contact,) = org.insert("Contact", {"LastName": "c", "Email": "c@m.example"})
    day = org.box.org.now().date()
    org.update("Lead", lead, IsConverted=True, ConvertedContactId=contact, ConvertedDate=day,
               Status="Closed - Converted")  # fmt: skip
    return contact


def owner_of_the_call(org: Account) -> list[tuple[Any, ...]]:
    return org.rows("select distinct contact_id from events where kind = 'call'")


def call(org: Account, lead: str) -> None:
    org.insert("Task", {"WhoId": lead, "Subject": "x", "TaskSubtype": "Call", "Status": "Completed",
                        "ActivityDate": org.box.org.now().date()})  # fmt: skip


@pytest.mark.usefixtures("small_pages")
def test_a_first_pull_goes_on_when_its_job_is_gone(start: Callable[..., Account]) -> None:
    org = start()
    ids = org.leads(130)
    stop_in_the_job(org)
    assert 0 < len(org.live()) < 130
    forget_jobs(org)
    org.pull()
    assert org.live() == set(ids)
    assert "job" not in (org.mirror.known.cursor("leads") or {})
    assert org.pull() == {}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("gone", [True, False], ids=["gone", "kept"])
@pytest.mark.parametrize("days", [1, 8], ids=["what changed", "all of it"])
def test_what_changed_before_a_stopped_pull_is_read_after_it(
    start: Callable[..., Account], days: int, gone: bool
) -> None:
    """Deletions, merges and conversions since the last whole pull: whether the pull that was stopped read what
    changed or, once a week, everything; and whether its job is still there."""
    now = [now_ms()]
    org = start(clock=lambda: now[0])
    ids = org.leads(130, Status="Open - Not Contacted")
    deleted, loser, converted = ids[125:128]
    call(org, converted)
    now[0] += 3_600_000
    org.pull()
    now[0] += days * DAY - 3_600_000
    for one in ids[:120]:
        org.update("Lead", one, Country="Norway")
    org.delete("Lead", deleted)
    org.delete("Lead", loser, master=ids[0])
    contact = convert(org, converted)
    stop_in_the_job(org)
    if gone:
        forget_jobs(org)
    before = lead_jobs(org)
    now[0] += 60_000
    org.pull()
    assert len(lead_jobs(org) - before) == (1 if gone else 0)
    assert org.live() == set(ids) - {deleted, loser, converted} | {contact}
    assert org.rows(f"select merged_into from contacts where contact_id = '{loser}'") == [(ids[0],)]
    assert org.rows(f"select merged_into from contacts where contact_id = '{converted}'") == [(contact,)]
    assert owner_of_the_call(org) == [(contact,)]
    assert org.rows("select count(*) from contacts where country = 'Norway'") == [(120,)]
    assert org.pull() == {}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("pages", range(2, 26, 5))
def test_a_pull_stopped_anywhere_ends_at_the_same_mirror(start: Callable[..., Account], pages: int) -> None:
    org = start()
    ids = org.leads(130)
    org.insert("Contact", *[{"LastName": f"c{i}", "Email": f"c{i}@m.example"} for i in range(60)])
    org.pull(pages=pages)
    org.pull()
    assert len(org.live()) == 190
    assert set(ids) <= org.live()
    assert org.box.calls[JOBS] <= 4
    assert org.pull() == {}


@pytest.mark.parametrize("earlier", [3_600_000, 0], ids=["before", "read again"])
def test_a_conversion_met_in_the_weekly_reading_carries_what_the_lead_did(
    start: Callable[..., Account], earlier: int
) -> None:
    """Also where the look-back reads the lead's activity again, by the lead's name."""
    now = [now_ms()]
    org = start(clock=lambda: now[0])
    (lead,) = org.leads(1, Status="Open - Not Contacted")
    call(org, lead)
    now[0] += earlier
    org.pull()
    now[0] += DAY
    org.update("Lead", lead, Status="Working - Contacted")
    now[0] += 8 * DAY
    contact = convert(org, lead)
    org.pull()
    assert org.live() == {contact}
    assert owner_of_the_call(org) == [(contact,)]
    told = org.rows(
        f"select value from property_history where object_id = '{contact}' and property = 'lifecycle_stage' "
        "and source <> 'observed' order by changed_at"
    )
    assert told[:2] == [("Open - Not Contacted",), ("Working - Contacted",)]
    assert org.pull() == {}


@pytest.mark.usefixtures("small_pages")
def test_a_goal_asked_for_meanwhile_is_not_left_out_by_the_old_job(start: Callable[..., Account]) -> None:
    """A job that was made for other fields is given up, and cleared away."""
    org = start()
    first, *_ = org.leads(130)
    job = stop_in_the_job(org)
    org.update("Lead", first, Rating="Hot")
    org.pull(goal_columns=("Rating",))
    assert job not in org.box.host.jobs.known
    assert len(org.live()) == 130
    rated = "select contact_id from store.contacts where json_extract_string(properties, '$.Rating') = 'Hot'"
    assert org.rows(rated) == [(first,)]


@pytest.mark.parametrize("faults", [(), (("job-failed", "1"),)], ids=["by Bulk", "by windows"])
def test_queries_that_take_too_long_are_read_otherwise(
    start: Callable[..., Account], faults: tuple[tuple[str, str], ...]
) -> None:
    now = [now_ms() - 40 * DAY]
    org = start(clock=lambda: now[0], faults=(("query-rows", "40"), *faults))
    ids: list[str] = []
    for _ in range(8):
        ids += org.leads(15)
        now[0] += 4 * DAY
    org.pull()
    assert org.live() == set(ids)
    for one in ids:
        org.update("Lead", one, Country="Norway")
        now[0] += DAY // 30
    org.pull()
    assert org.rows("select count(*) from contacts where country = 'Norway'") == [(len(ids),)]


def test_a_log_of_deletions_over_its_cap_is_read_in_windows(
    start: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_IDS", 3)
    now = [now_ms()]
    org = start(clock=lambda: now[0])
    ids = org.leads(12)
    org.pull()
    for one in ids[:10]:
        now[0] += 4 * 3_600_000
        org.delete("Lead", one)
    now[0] += 3_600_000
    org.pull()
    assert org.live() == set(ids[10:])
    assert covered(org) > (org.box.org.now() - timedelta(hours=1)).replace(tzinfo=None).isoformat()
    assert org.box.calls["GET /services/data/v68.0/sobjects/Lead/deleted"] > 4


@pytest.mark.parametrize("code", ["INVALID_REPLICATION_DATE", "EXCEEDED_ID_LIMIT", "QUERY_TIMEOUT"])
def test_without_the_log_of_deletions_the_recycle_bin_tells(
    start: Callable[..., Account], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def refuse(*_: object) -> None:
        raise Problem(400, code, "for lead n1 of n1@m.example")

    now = [now_ms()]
    org = start(clock=lambda: now[0])
    ids = org.leads(3)
    org.pull()
    now[0] += 2 * DAY
    org.delete("Lead", ids[0])
    monkeypatch.setattr(records, "_window", refuse)
    org.pull()
    assert org.live() == set(ids[1:])
    assert org.off == []
    assert covered(org) == org.box.org.now().replace(tzinfo=None).isoformat()


def covered(org: Account) -> str:
    return str((org.mirror.known.cursor("lead_deleted") or {})["covered"])
