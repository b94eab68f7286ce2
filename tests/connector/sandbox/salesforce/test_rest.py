"""Queries, records, collections, limits and tokens, as the documentation has them."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
import requests

from connector.sandbox.salesforce.auth import JWT_GRANT
from connector.sandbox.salesforce.ids import long_form
from tests.connector.sandbox.hubspot.conftest import assert_shape
from tests.connector.sandbox.salesforce.conftest import Api, payload


def _token(api: Api, **claims: object) -> requests.Response:
    given = {
        "iss": api.box.client_id,
        "sub": api.box.username,
        "aud": "https://login.salesforce.com",
        "exp": int(datetime.now(UTC).timestamp()) + 120,
        **claims,
    }
    assertion = jwt.encode(given, api.box.private_key_file.read_bytes(), "RS256")
    form = {"grant_type": JWT_GRANT, "assertion": assertion}
    return requests.post(f"{api.box.base_url}/services/oauth2/token", data=form, timeout=10)


def test_a_token_has_the_documented_fields_and_no_others(api: Api) -> None:
    found = _token(api).json()
    assert found.keys() == payload("token_jwt").keys()
    assert found["instance_url"] == api.box.base_url


@pytest.mark.parametrize(
    ("claims", "error", "description"),
    [
        ({"iss": "unknown"}, "invalid_client_id", "client identifier invalid"),
        ({"sub": "someone@mill.example"}, "invalid_grant", "user hasn't approved this consumer"),
        ({"aud": "https://mill.example"}, "invalid_grant", "audience is invalid"),
        ({"exp": 1_700_000_000}, "invalid_grant", "expired authorization code"),
        ({"exp": 4_000_000_000}, "invalid_grant", "expired authorization code"),
    ],
)
def test_a_wrong_assertion_is_refused(api: Api, claims: dict[str, object], error: str, description: str) -> None:
    refused = _token(api, **claims)
    assert (refused.status_code, refused.json()) == (400, {"error": error, "error_description": description})


def test_the_key_file_is_its_owners_alone_and_goes_with_the_sandbox(start: Callable[..., Api]) -> None:
    api = start()
    path = api.box.private_key_file
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    api.box.stopping()
    assert not path.exists()


def test_a_session_that_is_none_is_401(api: Api) -> None:
    api.session.headers["Authorization"] = "Bearer nobody"
    refused = api.query("SELECT Id FROM Lead")
    assert (refused.status_code, refused.json()) == (401, payload("error_401"))


def test_a_page_looks_as_documented(api: Api) -> None:
    api.leads(201)
    page = api.query("SELECT Id, Email FROM Lead", **{"Sforce-Query-Options": "batchSize=200"}).json()
    assert_shape(page, payload("query_page"))
    assert len(page["records"]) == 200
    rest = api.get(page["nextRecordsUrl"]).json()
    assert (rest["done"], len(rest["records"])) == (True, 1)


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("LastName = 'N1'", ["n1"]),
        ("LastName LIKE 'n_'", ["n0", "n1", "n2"]),
        ("LastName IN ('n0', 'n2') AND Email != null", ["n0", "n2"]),
        ("NOT (LastName = 'n0' OR LastName = 'n1')", ["n2"]),
        ("Title != 'x'", ["n0", "n1", "n2"]),
        ("SystemModstamp >= 2000-01-01T00:00:00Z AND IsConverted = false AND NumberOfEmployees > 5", []),
        ("Owner.Name = 'nobody'", []),
        ("LastName = 'it\\'s'", []),
    ],
)
def test_conditions(api: Api, where: str, names: list[str]) -> None:
    api.leads(3)
    found = api.query(f"SELECT LastName FROM Lead WHERE {where} ORDER BY LastName")
    assert [one["LastName"] for one in found.json()["records"]] == names


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT Id FROM", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE LastName = 'a\\qb'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead; DROP TABLE Lead", "MALFORMED_QUERY"),
        ("SELECT Nope FROM Lead", "INVALID_FIELD"),
        ("SELECT Nope.Name FROM Lead", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE CreatedDate > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Leadlight_Reasons__c = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
    ],
)
def test_a_wrong_query_is_refused_by_its_code(api: Api, statement: str, code: str) -> None:
    refused = api.query(statement)
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, code)


def test_a_column_that_is_not_there_is_pointed_at(api: Api) -> None:
    message = api.query("SELECT Id, FullName FROM Account").json()[0]["message"]
    assert message.startswith(payload("error_invalid_field")[0]["message"])


def test_a_collection_answers_each_row_in_order(api: Api) -> None:
    one, other, converted = api.leads(3)
    api.org.engine.execute(f"update Lead set IsConverted = true where Id = '{converted}'")
    api.org.delete(api.org.objects["lead"], [other], "0055A0000000002QAA")
    wanted = [(one, 87), (other, 1), (converted, 1), (one[:15], 5), ("00Q5A0000000zzz", 1), (one, "many")]
    records = [{"attributes": {"type": "Lead"}, "id": i, "Leadlight_Score__c": v} for i, v in wanted]
    answer = api.call("PATCH", "composite/sobjects", json={"allOrNone": False, "records": records})
    assert answer.status_code == 200
    codes = [row["errors"][0]["statusCode"] if row["errors"] else row["id"] for row in answer.json()]
    assert codes == [
        one,
        "ENTITY_IS_DELETED",
        "CANNOT_UPDATE_CONVERTED_LEAD",
        "DUPLICATE_VALUE",
        "INVALID_CROSS_REFERENCE_KEY",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
    ]
    assert_shape(answer.json(), payload("collection"))


def test_all_or_none_writes_nothing_when_a_row_fails(api: Api) -> None:
    one = api.leads(1)[0]
    records = [{"attributes": {"type": "Lead"}, "id": i, "Title": "T"} for i in (one, "00Q5A0000000zzz")]
    answer = api.call("PATCH", "composite/sobjects", json={"allOrNone": True, "records": records}).json()
    assert answer[0]["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert api.get(f"sobjects/Lead/{one}").json()["Title"] is None


def test_201_records_are_too_many(api: Api) -> None:
    records = [{"attributes": {"type": "Lead"}, "id": i} for i in range(201)]
    assert api.call("PATCH", "composite/sobjects", json={"records": records}).status_code == 400


def test_a_write_moves_the_stamp_and_a_formula_does_not(start: Callable[..., Api]) -> None:
    now = [1_795_000_000_000]
    api = start(clock=lambda: now[0])
    account = api.org.insert(api.org.objects["account"], [{"Name": "Mill", "Industry": "milling"}], "x")[0]
    person = api.org.insert(api.org.objects["contact"], [{"LastName": "A", "AccountId": account}], "x")[0]
    asked = f"sobjects/Contact/{person}"
    before = api.get(asked, fields="SystemModstamp,Account_Industry__c").json()
    now[0] += 60_000
    assert api.call("PATCH", f"sobjects/Account/{account}", json={"Industry": "baking"}).status_code == 204
    after = api.get(asked, fields="SystemModstamp,Account_Industry__c").json()
    assert (before["Account_Industry__c"], after["Account_Industry__c"]) == ("milling", "baking")
    assert before["SystemModstamp"] == after["SystemModstamp"] == "2026-11-18T11:06:40.000+0000"
    api.call("PATCH", asked, json={"Leadlight_Score__c": 5})
    assert api.get(asked).json()["SystemModstamp"] == "2026-11-18T11:07:40.000+0000"


def test_hidden_fields_are_absent(start: Callable[..., Api]) -> None:
    api = start(faults=(("hidden-field", "Lead.Leadlight_Score__c"),))
    names = {one["name"] for one in api.get("sobjects/Lead/describe").json()["fields"]}
    assert "Leadlight_Score__c" not in names
    assert api.query("SELECT Leadlight_Score__c FROM Lead").json()[0]["errorCode"] == "INVALID_FIELD"


def test_the_daily_limit_is_of_the_last_24_hours(start: Callable[..., Api]) -> None:
    now = [1_795_000_000_000]
    api = start(clock=lambda: now[0], daily=2)
    assert api.get("limits").json()["DailyApiRequests"] == {"Max": 2, "Remaining": 1}
    assert api.get("limits").headers["Sforce-Limit-Info"] == "api-usage=2/2; api-bursts=1/750"
    refused = api.get("limits")
    assert (refused.status_code, refused.json()) == (403, payload("error_403_daily"))
    now[0] += 86_400_000
    assert api.get("limits").status_code == 200


def test_deleted_and_updated_tell_ids(api: Api) -> None:
    kept, gone = api.leads(2)
    api.call("DELETE", f"sobjects/Lead/{gone}")
    later = datetime.now(UTC) + timedelta(minutes=2)
    window = {"start": (later - timedelta(hours=1)).isoformat(), "end": later.isoformat()}
    assert api.get("sobjects/Lead/updated/", **window).json()["ids"] == [kept]
    assert api.get("sobjects/Lead/deleted/", **window).json()["deletedRecords"][0]["id"] == gone
    window["start"] = (later - timedelta(days=16)).isoformat()
    assert api.get("sobjects/Lead/deleted/", **window).status_code == 400


def test_a_target_too_long_is_414(api: Api) -> None:
    assert api.query(f"SELECT Id FROM Lead WHERE LastName = '{'x' * 17_000}'").status_code == 414


def test_a_persons_edit_moves_the_stamp_and_shows_in_the_state(api: Api) -> None:
    one = api.leads(1)[0]
    edit = api.call("POST", "/_sandbox/edit", json={"contact_id": one, "properties": {"Title": "Miller"}})
    assert edit.json()["contact_id"] == one
    state = api.get("/_sandbox/state").json()
    assert state["contacts"][one]["Title"] == "Miller"


def test_ids_carry_a_checksum() -> None:
    assert long_form("001A0000006Vm9r") == "001A0000006Vm9rIAC"
    assert long_form("001A0000006Vm9rIAD") is None


def test_a_process_that_is_terminated_takes_its_key_along() -> None:
    command = [sys.executable, "-c", "from connector.cli import main; main()", "sandbox", "salesforce"]
    with subprocess.Popen([*command, "--contacts", "10"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        path = Path(ready["private_key_file"])
        assert path.exists()
        process.terminate()
        process.wait(20)
    assert ready["token"] is None
    assert not path.exists()
