"""Whom no company may name goes from them whatever else is refused, capped or awaits approval, and stays gone."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from connector.errors import Refused
from connector.jobs import rollback as rolling
from connector.jobs.approve import approve
from connector.jobs.erase import erase, prepare
from connector.jobs.orders import JOBS
from connector.jobs.pull import pull
from connector.jobs.sync import sync
from connector.platform import Outcome, Write
from connector.settings import Holdout
from tests.connector.rescoring import Portal, hint, portal
from tests.made_up import write_companies

SCORE, REASONS = "leadlight_company_score", "leadlight_company_reasons"
CONSENT: dict[str, Any] = {"consent": {"profiling_property": "age", "denied_values": ["99"]}}
SHADOWED = "Shadow mode writes nothing on companies."
WRITING = "crm.objects.companies.write"
KEEN = {"pricing_visits": "14", "industry": "Software", "employees": "2000"}
COLD = {"pricing_visits": "0", "industry": "Retail", "employees": "5"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_companies(tmp_path_factory.mktemp("leads"), 640, 45)
    with portal(leads, tmp_path_factory.mktemp("state")) as opened:
        opened.sync(**CONSENT)
        yield opened


def reasons(account: Portal) -> dict[str, str]:
    records = account.box.state.objects["companies"].records.items()
    return {str(key): one.properties[REASONS] for key, one in records if one.properties.get(REASONS)}


def naming(account: Portal, contact_id: str) -> list[str]:
    return [key for key, text in reasons(account).items() if f"contact {contact_id}:" in text]


def somebody(account: Portal) -> str:
    """A contact that a company names."""
    named = {one for text in reasons(account).values() for one in re.findall(r"contact (\w+):", text)}
    return min(named)


def edit_company(account: Portal, company_id: str, **properties: str) -> None:
    body = {"company_id": company_id, "properties": properties}
    requests.post(f"{account.box.base_url}/_sandbox/edit", json=body, timeout=60).raise_for_status()


def ours(account: Portal, contact_id: str) -> dict[str, str]:
    values = account.values(contact_id).items()
    return {name: value for name, value in values if name.startswith("leadlight_") and value}


def without(account: Portal, *scopes: str) -> None:
    plan = account.box.host.plan
    plan.faults = replace(plan.faults, missing_scopes=frozenset(scopes))


def test_shadow_mode_takes_names_away_and_writes_nothing_else(account: Portal) -> None:
    objector, before = somebody(account), reasons(account)
    [company] = naming(account, objector)
    account.edit(objector, age="99")
    result = account.sync(shadow=True, **CONSENT)["companies"]
    assert (result["changed"], result["off"]) == (1, SHADOWED)
    del before[company]
    assert reasons(account) == before
    assert not ours(account, objector)
    again = account.sync(shadow=True, **CONSENT)["companies"]
    assert (again["changed"], again["off"]) == (0, SHADOWED)
    assert account.sync(**CONSENT)["companies"]["changed"] == 1
    assert company in reasons(account)


@pytest.mark.parametrize("refusal", ["gates", "max_changes", "max_grade_moves", "approval"])
def test_no_refusal_keeps_an_objector_scored_or_named(
    account: Portal, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    objector, before = somebody(account), reasons(account)
    [company] = naming(account, objector)
    others = {one: ours(account, one) for one in account.open_leads() if one != objector}
    another = min(others, key=lambda one: float(others[one]["leadlight_probability"]))
    account.edit(objector, age="99")
    account.edit(another, **KEEN)
    settings = (
        CONSENT
        | {
            "gates": {},
            "max_changes": {"max_changes": 0},
            "max_grade_moves": {"max_grade_moves": 0.0},
            "approval": {"require_approval": True},
        }[refusal]
    )
    if refusal == "gates":
        monkeypatch.setattr("connector.jobs.push.passed_names", refused)
    with pytest.raises(Refused, match="1 contacts who object to profiling lost their values") as raised:
        account.sync(**settings)
    assert raised.value.result["pushed"]["changed"] == 1
    assert raised.value.result["companies"]["changed"] == 1
    assert not ours(account, objector)
    del before[company]
    assert reasons(account) == before
    assert {one: ours(account, one) for one in others} == others
    account.edit(another, **COLD)


def refused(*_: Any) -> list[str]:
    raise Refused("Every prediction was refused, nothing was written.", {"pushed": {}})


def test_an_objector_alone_moves_no_grade_and_meets_no_cap(account: Portal) -> None:
    account.sync(**CONSENT)
    objector = somebody(account)
    account.edit(objector, age="99")
    result = account.sync(max_changes=0, max_grade_moves=0.0, **CONSENT)
    assert result["pushed"]["changed"] == 1
    assert result["caps"]["changes"]["contacts"] == 0
    assert not naming(account, objector)
    assert not ours(account, objector)


@pytest.mark.parametrize("held_back", ["approval", "cap"])
def test_rescoring_takes_from_an_objector_what_it_may_not_renew(account: Portal, held_back: str) -> None:
    objector, other = account.open_leads()[:2]
    before = ours(account, other)
    account.edit(objector, age="99")
    account.edit(other, pricing_visits="14", industry="Software", employees="2000")
    settings: dict[str, Any] = {"require_approval": True} if held_back == "approval" else {"max_changes": 0}
    result = account.rescore([hint("changed", objector), hint("changed", other)], **settings, **CONSENT)
    assert result["changed"] == 1
    assert not ours(account, objector)
    assert ours(account, other) == before
    account.sync(**CONSENT)


def test_where_no_contact_changes_companies_have_a_plan_of_their_own(account: Portal) -> None:
    account.sync(**CONSENT)
    before = reasons(account)
    first, second = sorted(before)[:2]
    edit_company(account, first, leadlight_company_score="1")
    with pytest.raises(Refused, match="1 companies") as raised:
        account.sync(require_approval=True, **CONSENT)
    plan = raised.value.result["plan"]
    planned = raised.value.result["planned"]
    assert (planned["contacts"], planned["companies"]) == (0, 1)
    assert score(account, first) == "1"
    with account.running("approve", require_approval=True, **CONSENT) as run:
        done = approve(run, plan)
    assert (done["companies"]["changed"], done["pushed"]["changed"], done["status"]) == (1, 0, "done")
    assert score(account, first) != "1"
    with account.running("rollback", **CONSENT) as run:
        back = rolling.rollback(run, rolling.find_target(run, done["run_id"]))
    assert (back["companies"]["restored"], score(account, first)) == (1, "1")
    account.sync(**CONSENT)

    # somebody whom the plan would name objects before it is approved
    edit_company(account, second, **{REASONS: ""})
    with pytest.raises(Refused) as raised:
        account.sync(require_approval=True, **CONSENT)
    objector = re.findall(r"contact (\w+):", before[second])[0]
    account.edit(objector, age="99")
    with (
        account.running("approve", require_approval=True, **CONSENT) as run,
        pytest.raises(Refused, match="1 contacts whom companies of it name may not be named any more"),
    ):
        approve(run, raised.value.result["plan"])
    assert second not in reasons(account)
    account.sync(**CONSENT)
    assert not naming(account, objector)


def score(account: Portal, company_id: str) -> str:
    return account.box.state.objects["companies"].records[int(company_id)].properties[SCORE]


def test_the_cap_on_changes_holds_for_companies(account: Portal) -> None:
    account.sync(**CONSENT)
    edited = sorted(reasons(account))[2:5]
    for company in edited:
        edit_company(account, company, leadlight_company_score="1")
    result = account.sync(max_changes=2, **CONSENT)["companies"]
    assert result["changed"] == 0
    assert result["off"].startswith("3 companies would change, the cap (max_changes) is 2")
    assert [score(account, company) for company in edited] == ["1", "1", "1"]
    result = account.sync(max_changes=3, **CONSENT)["companies"]
    assert (result["changed"], result["off"]) == (3, None)


def test_a_rollback_names_nobody_who_may_not_be_named_any_more(account: Portal) -> None:
    account.sync(**CONSENT)
    before = reasons(account)
    warmest = warm(account)
    changed = cooled(account, *(warmest[key] for key in sorted(warmest)[:8]))
    after = reasons(account)
    companies = [key for key in sorted(warmest) if after[key] != before[key]][:4]
    one, other, third, _ = (warmest[key] for key in companies)
    account.edit(one, age="99")
    account.call("DELETE", f"contacts/{other}")
    holdout = {"holdout": Holdout(share=0.5, salt="9")}
    with account.running("rollback", **holdout, **CONSENT) as run:
        pull(run)
        run.mirror.connection.execute(
            'insert into store.holdout (contact_id, goal, predictor, salt, arm, share, assigned_at, "values") '
            "values (?, 'default', 'lead_score', '9', 'holdout', 0.5, now()::timestamp, '')",
            [third],
        )
        back = rolling.rollback(run, rolling.find_target(run, changed))
        run.mirror.connection.execute("delete from store.holdout")
    assert back["companies"]["barred"] == 3
    assert [reasons(account)[key] for key in companies] == [
        *(after[key] for key in companies[:3]),
        before[companies[3]],
    ]


def warm(account: Portal) -> dict[str, str]:
    """Companies whose first contact is likely, and that contact."""
    found = {key: re.findall(r"contact (\w+): (\d+)", text)[0] for key, text in reasons(account).items()}
    return {key: contact_id for key, (contact_id, score) in found.items() if int(score) > 55}


def cooled(account: Portal, *contact_ids: str) -> str:
    """The run that wrote it after these lost their interest."""
    for one in contact_ids:
        account.edit(one, **COLD)
    with account.running("sync", **CONSENT) as run:
        result = sync(run)
    assert result["companies"]["changed"] > 0
    return str(result["run_id"])


def test_a_rollback_undone_without_companies_still_holds_them(account: Portal) -> None:
    account.sync(**CONSENT)
    synced = cooled(account, min(warm(account).values()))
    with account.running("rollback", **CONSENT) as run:
        back = rolling.rollback(run, rolling.find_target(run, synced))
    assert back["companies"]["restored"] == 1
    without(account, WRITING)
    with account.running("rollback", **CONSENT) as run:
        undone = rolling.rollback(run, rolling.find_target(run, back["run_id"]))
        held = dict(
            run.mirror.connection.execute(
                "select object, count(*) from store.holds where run_id = ? group by object", [back["run_id"]]
            ).fetchall()
        )
    without(account)
    assert WRITING in undone["companies"]["off"]
    assert undone["restored"] == back["restored"] > 0
    assert set(held) == {"company"}
    account.sync(**CONSENT)


@pytest.mark.parametrize("why", [WRITING, "did not clear our properties on 1 records"])
def test_an_erasure_goes_on_where_companies_cannot_be_cleared(
    account: Portal, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    account.sync(**CONSENT)
    person = somebody(account)
    [company] = naming(account, person)
    with account.running("erase", **CONSENT) as run, monkeypatch.context() as changed:
        if why == WRITING:
            without(account, WRITING)
        else:
            write = run.platform.write

            def refuse(batch: list[Write]) -> list[Outcome]:
                if batch[0].object == "contact":
                    return write(batch)
                return [Outcome(one.record_id, "failed", error="NO", object="company") for one in batch]

            changed.setattr(run.platform, "write", refuse)
        result = erase(run, prepare(run, person))
    without(account)
    assert JOBS["erase"].exit_code(result) == 4
    assert result["companies_left"] == [company]
    assert why in result["companies_off"]
    assert (result["proof"]["traces"], ours(account, person)) == ([], {})
    assert naming(account, person) == [company]
    with account.running("pull", **CONSENT) as run:
        # what the platform still says of the person is not taken in again
        edit_company(account, company, name="Another name")
        pull(run, full=True)
        [(name, told)] = run.mirror.connection.execute(
            "select name, ours from store.companies where company_id = ?", [company]
        ).fetchall()
    assert name == "Another name"
    assert "contact erased:" in told
    assert f"contact {person}:" not in told
    account.sync(**CONSENT)
    assert naming(account, person) == []
