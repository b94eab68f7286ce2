"""The client against the sandbox: two readings of the same documentation have to agree."""

import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import manifests
from connector.errors import BudgetSpent, FixSetup, TryLater
from connector.platform import Write
from connector.sandbox.salesforce.store import ADMIN_USER
from connector.sandbox.times import now_ms
from tests.connector.salesforce_org import Account, start
from tests.made_up import write_leads

__all__ = ["start"]

STAMP = "2026-11-22T08:00:00Z"


def test_a_converted_lead_is_its_contact_from_the_day_it_came(start: Callable[..., Account]) -> None:
    now = [now_ms()]
    org = start(clock=lambda: now[0])
    (lead,) = org.leads(1, Status="Open - Not Contacted")
    first_seen = org.box.org.now()
    org.pull()
    now[0] += 86_400_000 * 3
    org.update("Lead", lead, Status="Working - Contacted")
    org.pull()
    now[0] += 86_400_000 * 3
    (contact,) = org.insert("Contact", {"LastName": "n0", "Email": "n0@m.example"})
    day = org.box.org.now().date()
    org.update(
        "Lead", lead, IsConverted=True, ConvertedContactId=contact, ConvertedDate=day, Status="Closed - Converted"
    )
    org.pull()
    assert org.live() == {contact}
    [(created, stage)] = org.rows(
        f"select created_at, lifecycle_stage from contacts where contact_id = '{contact}'"
    )
    assert created == first_seen.replace(tzinfo=None, microsecond=0)
    assert stage == "converted"
    assert org.rows(f"select merged_into from contacts where contact_id = '{lead}'") == [(contact,)]
    history = org.rows(
        f"select value from property_history where object_id = '{contact}' and property = 'lifecycle_stage' "
        "and source <> 'observed' order by changed_at"
    )
    assert history[:2] == [("Open - Not Contacted",), ("Working - Contacted",)]
    assert ("converted",) in history
    assert org.pull() == {}


def test_the_history_of_a_field_says_what_it_was_at_first(start: Callable[..., Account]) -> None:
    now = [now_ms()]
    org = start(clock=lambda: now[0])
    moved, still = org.leads(2, Status="Open - Not Contacted")
    born = org.box.org.now().replace(tzinfo=None, microsecond=0)
    now[0] += 86_400_000
    org.update("Lead", moved, Status="Working - Contacted")
    changed = org.box.org.now().replace(tzinfo=None, microsecond=0)
    now[0] += 86_400_000
    org.update("Lead", moved, Status="Closed - Not Converted")
    org.pull()
    told = org.rows(
        "select object_id, value, changed_at from property_history where property = 'lifecycle_stage' "
        "and source = 'LeadHistory' order by object_id, changed_at"
    )
    assert [row[1] for row in told if row[0] == moved] == ["Working - Contacted", "Closed - Not Converted"]
    # history is kept from the first change on: before it the value is that of the record, from then
    assert (still, "Open - Not Contacted", changed) in told
    assert born < changed


def test_deleted_merged_and_purged_people_go(start: Callable[..., Account]) -> None:
    now = [now_ms()]
    org = start(clock=lambda: now[0])
    kept, deleted, loser, purged = org.leads(4)
    org.pull()
    assert org.live() == {kept, deleted, loser, purged}
    now[0] += 86_400_000 * 2
    org.delete("Lead", deleted)
    org.delete("Lead", loser, master=kept)
    org.pull()
    assert org.live() == {kept, purged}
    assert org.rows(f"select merged_into from contacts where contact_id = '{loser}'") == [(kept,)]
    with org.box.org.lock:
        org.box.org.engine.sql("delete from Lead where Id = ?", params=[purged])
    now[0] += 86_400_000 * 8
    org.pull()
    assert org.live() == {kept}


def test_a_transaction_that_committed_late_is_found(start: Callable[..., Account]) -> None:
    now = [now_ms()]
    org = start(clock=lambda: now[0])
    (one,) = org.leads(1)
    org.pull()
    now[0] += 3_600_000
    org.pull()
    with org.box.org.lock:
        org.box.org.update(org.box.org.objects["lead"], {one: {"Country": "Norway"}}, ADMIN_USER, late=600)
    org.pull()
    assert org.rows("select country from contacts") == [("Norway",)]


def test_objections_follow_the_individual(start: Callable[..., Account]) -> None:
    org = start()
    (individual,) = org.insert("Individual", {"LastName": "n0"})
    one, two = org.leads(2)
    org.update("Lead", one, IndividualId=individual)
    org.update("Lead", two, HasOptedOutOfEmail=True)
    org.pull()
    assert org.rows("select contact_id, purpose from consents") == [(two, "marketing")]
    org.update("Individual", individual, HasOptedOutProfiling=True)
    org.pull()
    assert org.rows("select contact_id, status from consents where purpose = 'profiling'") == [(one, "denied")]
    org.update("Individual", individual, HasOptedOutProfiling=False)
    org.pull()
    assert org.rows("select contact_id from consents where purpose = 'profiling'") == []


def test_mails_of_a_campaign_are_told_from_those_between_people(start: Callable[..., Account]) -> None:
    """Which opens machines made is worked out by the mails of campaigns and their delivery: a proxy that fetches
    every mail within seconds is found."""
    org = start()
    people = org.leads(2)
    campaigns = org.insert("Campaign", *[{"Name": f"Newsletter {i}", "Type": "Email"} for i in range(12)])
    sent = org.box.org.now() - timedelta(days=30)
    plain = {"Incoming": False, "Status": "3", "IsTracked": True}
    for number, campaign in enumerate([*campaigns, None]):
        at = sent + timedelta(days=number)
        for person in people:
            opened = {"IsOpened": True, "FirstOpenedDate": at + timedelta(seconds=5),
                      "LastOpenedDate": at + timedelta(seconds=5)} if person == people[0] else {}  # fmt: skip
            mail = {**plain, "MessageDate": at, "RelatedToId": campaign, **opened}
            bounced = {"IsBounced": True} if person == people[1] and number == 0 else {}
            (letter,) = org.insert("EmailMessage", {**mail, **bounced})
            relation = {"EmailMessageId": letter, "RelationId": person, "RelationType": "ToAddress"}
            org.insert("EmailMessageRelation", relation)
    org.pull()
    told = "select kind, channel, campaign_id is null, count(*) from events group by all order by all"
    assert org.rows(told) == [
        ("email_bounce", "email", False, 1),
        ("email_delivered", "email", False, 23),
        ("email_delivered", "one_to_one", True, 2),
        ("email_open", "email", False, 12),
        ("email_open", "one_to_one", True, 1),
        ("email_sent", "email", False, 24),
        ("email_sent", "one_to_one", True, 2),
    ]
    assert {row[0] for row in org.rows("select campaign_id from campaigns")} == set(campaigns)
    org.mirror.weigh_events()
    machines = f"select count(*) from store.machine_made where contact_id = '{people[0]}' and machine > 0.5"
    assert org.rows(machines)[0][0] > 8


def test_what_is_dated_by_day_is_told_from_what_has_an_hour(start: Callable[..., Account]) -> None:
    """Else midnight would be everybody's best hour in an org whose people answer campaigns."""
    org = start()
    (person,) = org.leads(1)
    today = org.box.org.now().date()
    (campaign,) = org.insert("Campaign", {"Name": "Webinar", "Type": "Webinar"})
    org.insert("CampaignMember", {"CampaignId": campaign, "LeadId": person, "HasResponded": True,
                                  "FirstRespondedDate": today})  # fmt: skip
    for day in (today, today - timedelta(days=9)):
        org.insert("Task", {"WhoId": person, "ActivityDate": day, "TaskSubtype": "Task"})
    org.insert("Event", {"WhoId": person, "ActivityDate": today})
    org.insert("Event", {"WhoId": person, "ActivityDate": today, "ActivityDateTime": org.box.org.now()})
    org.pull()
    assert org.rows(
        "select channel, json_extract_string(properties, '$.dated'), "
        "occurred_at = date_trunc('day', occurred_at) from events order by all"
    ) == [
        ("campaign", "day", True),
        ("meeting", "day", True),
        ("meeting", None, False),
        ("task", "day", True),
        ("task", None, False),
    ]


def test_roles_of_a_deal_are_all_that_there_are(start: Callable[..., Account]) -> None:
    org = start()
    one, two = org.insert("Contact", {"LastName": "a"}, {"LastName": "b"})
    (deal,) = org.insert(
        "Opportunity",
        {"Name": "d", "StageName": "Prospecting", "CloseDate": date(2026, 12, 1), "Amount": 5},
    )
    roles = org.insert(
        "OpportunityContactRole",
        {"OpportunityId": deal, "ContactId": one, "Role": "Evaluator", "IsPrimary": True},
        {"OpportunityId": deal, "ContactId": two, "Role": "Other", "IsPrimary": False},
    )
    org.pull()
    assert org.rows("select contact_id, is_primary from deal_contacts order by role") == [
        (one, True),
        (two, False),
    ]
    org.update("OpportunityContactRole", roles[0], Role="Decision Maker")
    org.delete("OpportunityContactRole", roles[1])
    org.pull()
    assert org.rows("select contact_id, role from deal_contacts") == [(one, "Decision Maker")]


def test_a_person_may_have_been_read_by_rest_or_by_bulk(start: Callable[..., Account], tmp_path: Path) -> None:
    """More than two thousand rows go by Bulk: the mirror is the same, and a later pull by REST finds no news."""
    org = start()
    ids = org.leads(2300, Industry='Media, "new"\nand old', AnnualRevenue=1_000_000, NumberOfEmployees=7)
    org.pull()
    assert org.live() == set(ids)
    calls = org.platform.calls() if org.platform else {}
    assert calls["GET /services/data/v68.0/jobs/query/{id}/results"] == 1
    assert jobs_of(calls, "query") == {"POST": 1, "results": 1}
    one = f"select properties from store.contacts where contact_id = '{ids[0]}'"
    by_bulk = json.loads(org.rows(one)[0][0])
    org.update("Lead", ids[0], NumberOfEmployees=8)
    assert org.pull()["contacts"] == 1
    assert json.loads(org.rows(one)[0][0]) == by_bulk | {"NumberOfEmployees": "8"}


def test_a_pull_stopped_in_a_job_goes_on_at_its_page(
    start: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = manifests.read_toml

    def smaller(*path: str) -> dict[str, Any]:
        found = read(*path)
        if path == ("salesforce", "limits.toml"):
            found["pages"] |= {"bulk": 700, "slice": 300}
        return found

    monkeypatch.setattr(manifests, "read_toml", smaller)
    org = start()
    ids = org.leads(2300)
    org.pull(pages=8)
    assert 0 < len(org.live()) < 2300
    made = org.box.calls["POST /services/data/v68.0/jobs/query"]
    org.pull()
    assert org.live() == set(ids)
    assert org.box.calls["POST /services/data/v68.0/jobs/query"] == made
    assert org.pull() == {}


def test_a_job_that_fails_is_read_by_rest(start: Callable[..., Account]) -> None:
    org = start(faults=(("job-failed", "1"),))
    ids = org.leads(2300)
    org.pull()
    assert org.live() == set(ids)


def scores(org: Account, value: str = "57") -> list[Write]:
    return [
        Write(one, {"leadlight_score": value, "leadlight_grade": "B", "leadlight_scored_at": STAMP})
        for one in sorted(org.live())
    ]


def test_many_scores_go_by_bulk_around_locks_and_rules(start: Callable[..., Account]) -> None:
    org = start(faults=(("lock", "0.02"), ("validation", "0.01")))
    org.leads(2300)
    org.pull()
    platform = org.connect()
    outcomes = platform.write(scores(org))
    failed = [one for one in outcomes if one.state != "written"]
    assert 5 <= len(failed) <= 60
    assert {str(one.error).partition(":")[0] for one in failed} == {"FIELD_CUSTOM_VALIDATION_EXCEPTION"}
    held = platform.read_ours([one.record_id for one in outcomes], ["leadlight_score", "leadlight_scored_at"])
    for one in outcomes:
        found = held[one.record_id]
        assert found is not None
        wanted = {"leadlight_score": "57", "leadlight_scored_at": STAMP} if one.state == "written" else None
        assert dict(found.values) == (wanted or {"leadlight_score": None, "leadlight_scored_at": None})
    assert platform.calls()["POST /services/data/v68.0/jobs/query"] == 1
    assert {one.state for one in platform.write([Write(row.record_id, {"leadlight_score": None})
                                                 for row in outcomes[:200]])} <= {"written", "failed"}  # fmt: skip


def test_sessions_that_end_all_the_time_change_nothing(start: Callable[..., Account]) -> None:
    org = start(faults=(("session-calls", "3"),))
    ids = org.leads(2300)
    org.pull()
    assert org.live() == set(ids)
    platform = org.connect()
    assert {one.state for one in platform.write(scores(org))} == {"written"}
    assert platform.calls()["POST /services/oauth2/token"] > 1
    assert org.pull()["contacts"] == 2300
    assert org.pull() == {}


def test_bad_days_change_nothing_but_the_time(start: Callable[..., Account]) -> None:
    faults = (("503", "0.1"), ("reset", "0.03"), ("truncate", "0.03"), ("420", "0.05"), ("query-timeout", "0.03"))
    org = start(faults=faults, contacts=80, seed=3)
    for _ in range(30):
        try:
            written = org.pull()
        except TryLater:
            continue
        if written == {}:
            break
    expected = org.box.org.engine.sql("select Id from Lead where not IsConverted union all select Id from Contact")
    assert org.live() == {row[0] for row in expected.fetchall()}


def test_the_days_limit_stops_and_the_next_day_goes_on(start: Callable[..., Account]) -> None:
    now = [now_ms()]
    org = start(clock=lambda: now[0], daily=40)
    ids = org.leads(300)
    assert org.pull()["contacts"] == 300
    with pytest.raises(BudgetSpent) as caught:
        org.pull()
    assert caught.value.resume_at is not None
    # a tenth is left to others
    assert org.box.host.limits.requests.used <= 37
    now[0] += timedelta(days=1, minutes=1) // timedelta(milliseconds=1)
    org.pull()
    assert org.live() == set(ids)


def test_an_org_without_our_fields_is_the_set_up(start: Callable[..., Account]) -> None:
    org = start(bare=True)
    org.leads(2)
    org.pull()
    with pytest.raises(FixSetup, match="sf project deploy start"):
        org.connect().install(manifests.properties(), dry_run=False)
    with pytest.raises(FixSetup, match="sf project deploy start"):
        org.connect().write(scores(org))


def test_a_field_that_security_hides_is_named(start: Callable[..., Account]) -> None:
    org = start(faults=(("hidden-field", "Lead.Leadlight_Grade__c"),))
    with pytest.raises(FixSetup, match=r"Lead\.Leadlight_Grade__c"):
        org.connect().install(manifests.properties(), dry_run=False)


def test_a_market_is_read_whole_and_doctor_finds_all_of_it(start: Callable[..., Account]) -> None:
    from connector.platform import Wanted

    org = start(contacts=80, seed=3)
    org.pull()
    assert org.off == []
    kinds = {row[0] for row in org.rows("select distinct kind from events")}
    assert {"email_sent", "email_open", "meeting", "call"} <= kinds
    ids = {row[0][:3] for row in org.rows("select distinct contact_id from events")}
    assert ids <= {"00Q", "003"}
    assert org.rows("select count(*) from deals where is_won and closed_at is null") == [(0,)]
    assert (
        org.rows("select count(*) from property_history where object = 'deal' and property = 'amount'")[0][0] > 0
    )
    platform = org.connect()
    found = platform.diagnose(Wanted(manifests.properties(), history=True, goal_columns=("Nope__c",)))
    states = {check.name: check.state for check in found.checks}
    assert states.pop("goal column") == "fail"
    assert set(states.values()) == {"ok"}
    assert found.first is not None
    assert found.first.calls > 20


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_leads_take_as_few_calls_as_there_are(
    start: Callable[..., Account], tmp_path: Path
) -> None:
    """The least possible is a job made and a page for each 50,000 rows; and a job made, uploaded and started. What
    else a pull asks (log-in, descriptions, a sample, streams that have nothing) is the same for any number."""
    org = start(mapping=write_leads(tmp_path, 100_000))
    org.pull(history=False)
    assert len(org.live()) == 100_000
    calls = org.platform.calls() if org.platform else {}
    assert jobs_of(calls, "query") == {"POST": 1, "results": 2}
    looks = calls["GET /services/data/v68.0/jobs/query/{id}"]
    assert sum(calls.values()) - looks - 3 <= 35, calls
    platform = org.connect()
    batch = scores(org)
    assert platform.batch_for(len(batch)) == 100_000
    assert {one.state for one in platform.write(batch)} == {"written"}
    assert jobs_of(platform.calls(), "ingest") == {"POST": 1, "PUT": 1, "PATCH": 1}
    looks = platform.calls()["GET /services/data/v68.0/jobs/ingest/{id}"]
    # besides: a log-in and two descriptions
    assert sum(platform.calls().values()) - looks <= 3 + 3
    assert org.pull(history=False)["contacts"] == 100_000
    assert org.pull(history=False) == {}


def jobs_of(calls: Mapping[str, int], kind: str) -> dict[str, int]:
    """Calls of jobs, looks at their state aside, of which there are ten at most."""
    base = f"/services/data/v68.0/jobs/{kind}"
    assert calls[f"GET {base}/{{id}}"] <= 10
    found: dict[str, int] = {}
    for name, count in calls.items():
        method, _, path = name.partition(" ")
        if path.startswith(base) and name != f"GET {base}/{{id}}":
            key = method if method != "GET" else path.rstrip("/").rpartition("/")[2]
            found[key] = found.get(key, 0) + count
    return found
