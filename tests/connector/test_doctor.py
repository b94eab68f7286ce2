"""Doctor: what works, what is missing by name, what a sync will take; and it changes nothing."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import SecretStr

import manifests
from connector.mirror import Mirror
from connector.platform import Account, Wanted
from connector.platforms.hubspot import HubSpot
from connector.transport import utc_now
from tests.connector.files_made import made
from tests.connector.inside import command, sandbox
from tests.connector.portal import Portal
from tests.made_up import write_leads

GOAL = '[goal]\ncolumn = "y"\nequals = "yes"\n'
PROPERTIES = "/crm/properties/2026-09/contacts"
#: The requests that name nothing, by which doctor learns whether it might write.
PROBES = {
    f"POST /crm/{path}"
    for of in ("contacts", "companies")
    for path in (f"properties/2026-09/{of}", f"objects/2026-09/{of}/batch/update")
}
ROWS = 640


@pytest.fixture(scope="module")
def leads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leads(tmp_path_factory.mktemp("leads"), ROWS)


@pytest.fixture(scope="module")
def account(leads: Path) -> Iterator[Portal]:
    with sandbox(leads) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leadlight.toml").write_text(GOAL, encoding="utf-8")
    return tmp_path


def doctor(account: Portal, folder: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    return command(["doctor", *arguments, "--json"], account.environment(folder / "state") | environment, folder)


def states(result: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in result["checks"]}


def check(result: dict[str, Any], name: str) -> dict[str, str]:
    [found] = [check for check in result["checks"] if check["name"] == name]
    return found


def writes(calls: dict[str, int]) -> set[str]:
    return {name for name in calls if not name.startswith("GET") and not name.endswith(("/search", "/batch/read"))}


def test_a_good_account_is_ready_and_stays_as_it_is(account: Portal, folder: Path) -> None:
    before = account.contacts()
    code, result, err = doctor(account, folder)
    assert code == 0, err
    assert result["ready"] is True
    found = states(result)
    assert {name for name, state in found.items() if state == "fail"} == set()
    for name in (
        "token",
        "time zone",
        "clock",
        "read contacts",
        "read deals",
        "read page_views",
        "write contacts",
    ):
        assert found[name] == "ok", name
    assert check(result, "read contacts")["detail"].startswith(f"{ROWS} contacts")
    assert check(result, "our properties")["state"] == "warn"
    assert check(result, "data")["state"] == "off"
    assert "Ready." in err
    assert account.contacts() == before
    assert writes(account.calls()) == PROBES
    assert not (folder / "state").exists()


OPTIONAL = {
    "crm.objects.companies.read": "read companies",
    "crm.objects.deals.read": "read deals",
    "content": "read email_events",
    "forms": "read form_submissions",
    "sales-email-read": "read emails",
    "crm.objects.owners.read": "read owners",
}


def test_missing_optional_scopes_are_named_and_no_obstacle(leads: Path, folder: Path) -> None:
    with sandbox(leads, *(f"missing-scope={scope}" for scope in OPTIONAL)) as account:
        code, result, err = doctor(account, folder)
    assert code == 0, err
    off = {check["name"]: check for check in result["checks"] if check["state"] == "off"}
    assert {*OPTIONAL.values(), "data"} == set(off)
    for scope, name in OPTIONAL.items():
        assert scope in off[name]["remedy"]
        assert scope in err


def test_scopes_for_the_score_of_companies_are_named_and_no_obstacle(leads: Path, folder: Path) -> None:
    scopes = {
        "crm.objects.companies.write": "write companies",
        "crm.schemas.companies.write": "write company properties",
    }
    with sandbox(leads, *(f"missing-scope={scope}" for scope in scopes)) as account:
        code, result, err = doctor(account, folder)
    assert code == 0, err
    off = {check["name"]: check for check in result["checks"] if check["state"] == "off"}
    assert {*scopes.values(), "data"} == set(off)
    for scope, name in scopes.items():
        assert off[name]["detail"] == f"The scope {scope} is missing: companies get no score."
        assert scope in off[name]["remedy"]
    assert "writing companies" not in result["plan"]["first_sync"]["parts"]


@pytest.mark.parametrize(
    "scopes",
    [
        {"crm.objects.contacts.read": "read contacts"},
        {"crm.objects.contacts.write": "write contacts", "crm.schemas.contacts.write": "write properties"},
    ],
)
def test_missing_needed_scopes_fail_and_are_named(leads: Path, folder: Path, scopes: dict[str, str]) -> None:
    with sandbox(leads, *(f"missing-scope={scope}" for scope in scopes)) as account:
        code, result, err = doctor(account, folder)
    assert code == 2
    assert result["ready"] is False
    assert {name for name, state in states(result).items() if state == "fail"} == set(scopes.values())
    for scope, name in scopes.items():
        assert scope in check(result, name)["detail"]
        assert name in err.strip().splitlines()[-1]


def test_a_smaller_plan_turns_page_views_off(leads: Path, folder: Path) -> None:
    with sandbox(leads, "plan=professional") as account:
        code, result, _ = doctor(account, folder)
    assert code == 0
    assert check(result, "read page_views")["state"] == "off"
    assert "Enterprise" in check(result, "read page_views")["detail"]
    assert "625,000" in check(result, "calls left today")["detail"]


def test_a_wrong_token_is_the_only_finding_and_never_shown(account: Portal, folder: Path) -> None:
    wrong = "pat-na1-this-is-wrong"
    code, result, err = doctor(account, folder, LEADLIGHT_HUBSPOT_TOKEN=wrong)
    assert code == 2
    assert states(result) == {"token": "fail", "data": "off"}
    assert "LEADLIGHT_HUBSPOT_TOKEN" in check(result, "token")["remedy"]
    assert wrong not in err + str(result)


def test_no_token_and_no_platform_are_findings_too(tmp_path: Path) -> None:
    code, result, _ = command(["doctor", "--json"], {"LEADLIGHT_PLATFORM": "hubspot"}, tmp_path)
    assert (code, states(result)) == (2, {"token": "fail"})
    code, result, _ = command(["doctor", "--json"], {}, tmp_path)
    assert (code, states(result)) == (2, {"set-up": "fail"})
    assert "LEADLIGHT_PLATFORM" in result["checks"][0]["detail"]


def test_a_property_of_somebody_else_and_an_unknown_goal_fail(leads: Path, folder: Path) -> None:
    with sandbox(leads) as account:
        body = {"name": "leadlight_score", "label": "Theirs", "type": "string", "fieldType": "text"}
        requests.post(
            account.base_url + PROPERTIES,
            json={**body, "groupName": "contactinformation"},
            headers={"Authorization": f"Bearer {account.token}"},
            timeout=60,
        ).raise_for_status()
        (folder / "leadlight.toml").write_text(GOAL.replace('"y"', '"z"'), encoding="utf-8")
        code, result, _ = doctor(account, folder)
        assert code == 2
        assert "string" in check(result, "property leadlight_score")["detail"]
        assert "'z'" in check(result, "goal column")["detail"]
        (folder / "leadlight.toml").write_text('prefix = "acme"\n' + GOAL, encoding="utf-8")
        code, _, err = doctor(account, folder)
        assert code == 0, err


def test_too_few_calls_left_today_are_said_with_the_days(leads: Path, folder: Path) -> None:
    with sandbox(leads, daily=40) as account:
        code, result, err = doctor(account, folder)
    assert code == 0, err
    left = check(result, "calls left today")
    assert left["state"] == "warn"
    assert "of 40" in left["detail"]
    assert "days" in left["remedy"]


def test_another_clock_is_noticed(account: Portal) -> None:
    late = HubSpot(
        SecretStr(account.token), base_url=account.base_url, clock=lambda: utc_now() - timedelta(minutes=10)
    )
    diagnosis = late.diagnose(Wanted(manifests.properties()))
    late.close()
    [clock] = [found for found in diagnosis.checks if found.name == "clock"]
    assert clock.state == "warn"
    # The platform's clock is read to the second, and an answer takes its time.
    assert any(f"{seconds} s behind" in clock.detail for seconds in range(580, 602))


def test_the_plan_is_what_the_sync_then_takes_and_the_data_are_judged(account: Portal, folder: Path) -> None:
    _, before, _ = doctor(account, folder)
    code, synced, err = command(["sync", "--json"], account.environment(folder / "state"), folder)
    assert code == 0, err
    planned = before["plan"]["first_sync"]
    uncounted = sum(planned["parts"][name] for name in planned["not_counted"])
    not_planned = ("/email/", "/event-occurrences/", "/forms")
    counted = sum(
        count
        for name, count in synced["api_calls"]["by_endpoint"].items()
        if not any(part in name for part in not_planned)
    )
    assert planned["calls"] - uncounted == pytest.approx(counted, rel=0.1)

    calls = account.calls()
    code, after, err = doctor(account, folder, "--offline")
    assert code == 0, err
    assert account.calls() == calls
    assert after["plan"]["predictors"]["lead_score"] == {"can_run": True, "lacks": []}
    assert after["plan"]["predictors"]["segments"]["can_run"] is False
    assert after["data"]["contacts"] == ROWS
    assert after["data"]["goals"]["default"]["rows"] == ROWS
    assert after["data"]["goals"]["default"]["positives"] > 60
    assert after["data"]["missing"]["industry"] == 0.0
    assert "excluded" not in states(after)
    _, misspelt, _ = doctor(account, folder, "--offline", LEADLIGHT_EXCLUDED='["Industry", "agee"]')
    assert check(misspelt, "excluded")["state"] == "warn"
    assert check(misspelt, "excluded")["detail"].endswith("so: agee.")

    code, again, _ = doctor(account, folder)
    assert check(again, "our properties")["state"] == "ok"
    assert again["plan"]["first_sync"]["parts"]["set-up"] < planned["parts"]["set-up"]


def test_a_state_in_use_is_said_and_the_rest_still_checked(account: Portal, folder: Path) -> None:
    _, result, _ = doctor(account, folder)
    number = check(result, "token")["detail"].split()[1].rstrip(",")
    state = folder / "state" / f"hubspot-{number}"
    with Mirror.open(state, Account("hubspot", number), command="sync"):
        code, result, _ = doctor(account, folder)
    assert code == 0
    assert check(result, "state")["state"] == "warn"
    assert "in use" in check(result, "state")["detail"]


def files_doctor(mapping: Path, folder: Path) -> tuple[int, dict[str, Any], str]:
    return command(["doctor", "--platform", "files", "--mapping", str(mapping), "--json"], {}, folder)


def test_files_rows_rejects_duplicates_and_consent(tmp_path: Path) -> None:
    mapping = made(
        tmp_path,
        '[contacts]\nfile = "leads.csv"\nid = "id"\n[[events]]\nfile = "e.csv"\ncolumns = { kind = "=call" }\n'
        '[consents]\nfile = "c.csv"\n[goal]\ncolumn = "won"\nequals = "yes"\n',
        leads_csv="id,email,won,size\n1,A.b+x@gmail.com,yes,\n2,ab@googlemail.com,no,5\n3,c@x.example,no,\n"
        "4,C@X.example ,no,\n5,d+1@x.example,no,\n6,,,\n",
        e_csv="contact_id,occurred_at\n1,2024-01-03\n2,soon\n3,2024-02-03\n",
        c_csv="contact_id,purpose,status\n1,marketing,denied\n2,profiling,denied\n3,marketing,granted\n",
    )
    code, result, err = files_doctor(mapping, tmp_path)
    assert code == 0, err
    assert check(result, "read contacts")["detail"] == "6 rows from leads.csv."
    aside = check(result, "rows left aside")
    assert aside["state"] == "warn"
    assert aside["detail"].startswith("1 of e.csv, such as e.csv, line 3, occurred_at")
    assert (result["data"]["with_email"], result["data"]["duplicates"]) == (5, 4)
    assert check(result, "duplicates")["state"] == "warn"
    assert result["data"]["consent"] == {
        "known": 3,
        "coverage": 0.5,
        "marketing_denied": 1,
        "profiling_denied": 1,
    }
    assert result["data"]["history_days"] == 31
    # One objects to profiling, one has no outcome.
    assert result["data"]["goals"]["default"] == {"rows": 4, "positives": 1, "split": "cv"}
    assert "29 more" in check(result, "goal")["remedy"]
    assert result["data"]["missing"]["size"] == pytest.approx(5 / 6, abs=1e-3)
    assert result["plan"]["first_sync"]["calls"] == 0
    assert result["plan"]["predictors"]["send_time"]["can_run"] is False
    assert not (tmp_path / ".leadlight").exists()


LEADS = "id,email,won,may\n1,a@x.example,yes,yes\n2,b@x.example,no,no\n3,c@x.example,no,\n4,d@x.example,no,\n"


@pytest.mark.parametrize(
    ("mode", "said", "profiled"),
    [
        ("", "Unknown counts as allowed", 2),
        ('mode = "opt_in"\n', 'Unknown counts as no (consent = "opt_in"): 1 have agreed', 1),
    ],
)
def test_consent_is_told_by_the_mode_and_by_a_property_of_their_own(
    tmp_path: Path, mode: str, said: str, profiled: int
) -> None:
    mapping = made(
        tmp_path,
        '[contacts]\nfile = "leads.csv"\nid = "id"\n[consents]\nfile = "c.csv"\n'
        '[goal]\ncolumn = "won"\nequals = "yes"\n',
        leads_csv=LEADS,
        c_csv="contact_id,purpose,status\n1,marketing,denied\n4,profiling,denied\n",
    )
    (tmp_path / "leadlight.toml").write_text(
        f'[consent]\n{mode}profiling_property = "may"\ndenied_values = ["no"]\ngranted_values = ["yes"]\n',
        encoding="utf-8",
    )
    _, result, _ = files_doctor(mapping, tmp_path)
    figures = result["data"]["consent"]
    assert figures == {"known": 3, "coverage": 0.75, "marketing_denied": 1, "profiling_denied": 2}
    assert result["data"]["profiled"] == profiled
    assert said in check(result, "consent")["detail"]


@pytest.mark.parametrize(
    ("broken", "named"),
    [('column = "wonn"', "wonn"), ('file = "none.csv"', "none.csv")],
)
def test_a_wrong_mapping_is_a_finding(tmp_path: Path, broken: str, named: str) -> None:
    text = '[contacts]\nfile = "leads.csv"\nid = "id"\n[goal]\ncolumn = "won"\nequals = "yes"\n'
    key = broken.split(" = ")[0]
    text = "\n".join(broken if line.startswith(key) else line for line in text.splitlines())
    mapping = made(tmp_path, text, leads_csv="id,won\n1,yes\n2,no\n")
    code, result, _ = files_doctor(mapping, tmp_path)
    assert code == 2
    assert "fail" in states(result).values()
    assert named in " ".join(check["detail"] for check in result["checks"])
