"""Who objects loses everything, first and at nobody else's cost; an erasure that left a company is finished."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from connector.errors import Refused
from connector.jobs import rescore as rescoring
from connector.jobs.erase import erase, prepare
from connector.jobs.pull import pull
from connector.jobs.push import PushOptions, push
from connector.jobs.score import score
from connector.jobs.sync import sync
from connector.platform import Outcome, Write
from tests.connector.rescoring import Portal, hint, portal
from tests.made_up import write_companies

REASONS = "leadlight_company_reasons"
CONSENT: dict[str, Any] = {"consent": {"profiling_property": "age", "denied_values": ["99"]}}
#: Nobody grants it.
OPT_IN: dict[str, Any] = {
    "consent": {"mode": "opt_in", "profiling_property": "age", "denied_values": ["99"], "granted_values": ["1"]}
}
WRITING = "crm.objects.companies.write"
KEEN = {"pricing_visits": "14", "industry": "Software", "employees": "2000"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_companies(tmp_path_factory.mktemp("leads"), 300, 25)
    with portal(leads, tmp_path_factory.mktemp("state")) as opened:
        opened.sync(**CONSENT)
        yield opened


def ours(account: Portal, contact_id: str) -> dict[str, str]:
    values = account.values(contact_id).items()
    return {name: value for name, value in values if name.startswith("leadlight_") and value}


def everyone(account: Portal) -> dict[str, dict[str, str]]:
    return {str(one): ours(account, str(one)) for one in account.box.state.contacts.live}


def naming(account: Portal) -> dict[str, list[str]]:
    """Contacts that a company names -> these companies."""
    named: dict[str, list[str]] = {}
    for key, one in account.box.state.objects["companies"].records.items():
        for contact_id in re.findall(r"contact (\w+):", one.properties.get(REASONS) or ""):
            named.setdefault(contact_id, []).append(str(key))
    return named


def standing(account: Portal, company_id: str) -> dict[str, str]:
    values = account.box.state.objects["companies"].records[int(company_id)].properties.items()
    return {name: value for name, value in values if name.startswith("leadlight_") and value}


def edit_company(account: Portal, company_id: str, **properties: str) -> None:
    body = {"company_id": company_id, "properties": properties}
    requests.post(f"{account.box.base_url}/_sandbox/edit", json=body, timeout=60).raise_for_status()


def without(account: Portal, *scopes: str) -> None:
    plan = account.box.host.plan
    plan.faults = replace(plan.faults, missing_scopes=frozenset(scopes))


def test_rescoring_leaves_an_objector_nothing_of_a_refused_prediction(
    account: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    objector = account.open_leads()[0]
    account.edit(objector, age="99")
    inside = rescoring.passed_names
    monkeypatch.setattr(
        rescoring, "passed_names", lambda *given: [one for one in inside(*given) if not one.endswith("_grade")]
    )
    account.rescore([hint("changed", objector)], **CONSENT)
    assert ours(account, objector) == {}


def test_in_rescoring_an_objector_counts_towards_no_cap(account: Portal) -> None:
    objector, other = account.open_leads()[:2]
    before = ours(account, other)
    account.edit(objector, age="99")
    account.edit(other, **KEEN)
    hints = [hint("changed", objector), hint("changed", other)]
    result = account.rescore(hints, max_changes=1, max_grade_moves=0.5, **CONSENT)
    assert (result["changed"], result["reasons"]) == (2, [])
    assert ours(account, objector) == {}
    assert ours(account, other) != before
    with account.running(**CONSENT) as run:
        # as another run of the same day counts them
        assert objector not in rescoring.day.today(run, run.as_of).contacts


def test_an_objector_that_cannot_be_cleared_failed_once(account: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    account.sync(**CONSENT)
    objector, second = account.open_leads()[:2]
    account.edit(objector, age="99")
    account.edit(second, age="99")
    with account.running("sync", **CONSENT) as run:
        inside = run.platform.write

        def write(batch: list[Write]) -> list[Outcome]:
            failing = [one for one in batch if (one.object, one.record_id) == ("contact", objector)]
            rest = [one for one in batch if one not in failing]
            return [Outcome(one.record_id, "failed", error="NO") for one in failing] + (
                inside(rest) if rest else []
            )

        monkeypatch.setattr(run.platform, "write", write)
        pushed = sync(run)["pushed"]
        [(tries,)] = run.mirror.connection.execute(
            "select count(*) from store.attempts where run_id = ? and object_id = ? and object = 'contact'",
            [run.id, objector],
        ).fetchall()
    assert tries > 1
    assert (pushed["changed"], pushed["failed"]) == (1, 1)
    monkeypatch.undo()
    assert ours(account, objector) != {}
    account.sync(**CONSENT)
    assert ours(account, objector) == {}


def test_a_dry_run_takes_nothing_away_and_says_what_would_go(account: Portal) -> None:
    account.sync(**CONSENT)
    objector = next(iter(naming(account)))
    account.edit(objector, age="99")
    before, writes = everyone(account), account.writes()
    with account.running("sync", **CONSENT) as run:
        assert sync(run, PushOptions(dry_run=True))["pushed"]["changed"] == 1
        result = push(run, score(run), PushOptions(dry_run=True))
        [(planned,)] = run.mirror.connection.execute(
            "select count(*) from store.writes where run_id = ?", [run.id]
        ).fetchall()
    assert (result["companies"]["changed"], planned) == (1, 0)
    assert (everyone(account), account.writes()) == (before, writes)
    account.sync(**CONSENT)
    assert ours(account, objector) == {}


def test_where_nobody_grants_it_opt_in_does_not_clear_the_account_past_a_cap(account: Portal) -> None:
    account.sync(**CONSENT)
    objector = account.open_leads()[0]
    account.edit(objector, age="99")
    expected = {**everyone(account), objector: {}}
    with pytest.raises(Refused):
        account.sync(max_changes=0, **OPT_IN)
    assert everyone(account) == expected
    account.sync(**CONSENT)


def test_beyond_the_cap_a_company_that_has_to_forget_somebody_is_cleared_alone(account: Portal) -> None:
    account.sync(**CONSENT)
    objector, [company] = min(naming(account).items())
    others = sorted({key for keys in naming(account).values() for key in keys} - {company})[:2]
    for key in others:
        edit_company(account, key, leadlight_company_score="1")
    account.edit(objector, age="99")
    result = account.sync(max_changes=1, **CONSENT)["companies"]
    assert (result["changed"], result["values"]) == (1, 2)
    assert result["off"].startswith("2 companies would change")
    assert not standing(account, company)
    account.sync(**CONSENT)
    assert standing(account, company)


def test_what_a_rollback_holds_back_is_not_written_again_in_the_place_of_a_name(account: Portal) -> None:
    account.sync(**CONSENT)
    objector, [company] = min(naming(account).items())
    edit_company(account, company, **{REASONS: ""})
    with account.running("sync", **CONSENT) as run:
        synced = sync(run)["run_id"]
    edit_company(account, company, **{REASONS: f"1 open contacts; contact {objector}: 50 A, 50% likely"})
    with account.running("sync", **CONSENT) as run:
        pull(run)
        run.mirror.rollbacks.hold("x", synced)
    account.edit(objector, age="99")
    result = account.sync(**CONSENT)["companies"]
    assert not standing(account, company)
    assert (result["changed"], result["off"]) == (1, None)
    with account.running("sync", **CONSENT) as run:
        assert run.mirror.rollbacks.release() == 0
    account.sync(**CONSENT)
    assert standing(account, company)


def test_an_erasure_that_left_a_company_is_finished_by_another(account: Portal) -> None:
    account.sync(**CONSENT)
    named = naming(account)
    first, second = sorted(named)[:2]
    without(account, WRITING)
    for one in (first, second):
        with account.running("erase", **CONSENT) as run:
            left = erase(run, prepare(run, one))
        assert left["companies_left"]
    assert sorted(naming(account)) == sorted(named)
    with account.running("erase", **CONSENT) as run:
        again = erase(run, prepare(run, first))
    # as long as it can't be cleared it is said again
    assert again["companies_off"]
    without(account)
    with account.running("erase", **CONSENT) as run:
        done = erase(run, prepare(run, first))
        told = run.mirror.connection.execute(
            "select value_before from store.writes where run_id = ? and object = 'company'", [run.id]
        ).fetchall()
    assert (done["companies_off"], done["companies_left"], done["proof"]["traces"]) == (None, [], [])
    assert done["cleared"] > 0
    assert not {first, second} & set(naming(account))
    # nobody who was erased comes back by what stood there before
    assert told
    assert not {first, second} & set(re.findall(r"contact (\w+):", str(told)))
