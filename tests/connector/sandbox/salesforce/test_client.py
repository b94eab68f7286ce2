"""simple-salesforce takes the sandbox for the real thing."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceExpiredSession, SalesforceMalformedRequest

from tests.connector.sandbox.salesforce.conftest import Api, Mapped


def test_it_logs_in_by_jwt_and_by_client_credentials(api: Api) -> None:
    api.leads(1)
    session = requests.Session()
    session.mount("https://", Mapped(api.box.base_url))
    by_key = Salesforce(
        username=api.box.username,
        consumer_key=api.box.client_id,
        privatekey_file=str(api.box.private_key_file),
        session=session,
    )
    by_secret = Salesforce(
        consumer_key=api.box.client_id, consumer_secret=api.box.client_secret, domain="demo.my", session=session
    )
    for client in (by_key, by_secret):
        assert client.query("SELECT Name FROM Lead")["records"][0]["Name"] == "n0"
        assert client.api_usage["api-usage"].total == 100_000


def test_it_pages_through_all_records(api: Api) -> None:
    made = api.leads(4_500)
    found = api.client().query_all("SELECT Id, LastName FROM Lead ORDER BY Id")
    assert [one["Id"] for one in found["records"]] == made
    assert found["totalSize"] == 4_500
    # the second page is shorter than asked for, so a fourth one is not needed but a third is
    assert api.box.calls["GET /services/data/v68.0/query/{locator}"] == 2


def test_it_bulk_queries(api: Api) -> None:
    api.leads(250, Title='says "hi",\nthen leaves')
    pages = list(api.client().bulk2.Lead.query("SELECT Id, Title, Country FROM Lead", max_records=100))
    assert [page.count("\n") for page in pages] == [201, 201, 101]
    assert pages[0].startswith('"Id","Title","Country"\n"00Q')
    assert '"says ""hi"",\nthen leaves",""\n' in pages[0]


def test_it_bulk_updates_and_learns_which_rows_failed(api: Api) -> None:
    first, second, third = api.leads(3)
    api.org.engine.execute(f"update Lead set IsConverted = true where Id = '{second}'")
    rows = [{"Id": one, "Leadlight_Score__c": str(n)} for n, one in enumerate((first, second, third))]
    told = api.client().bulk2.Lead.update(records=rows)
    assert (told[0]["numberRecordsProcessed"], told[0]["numberRecordsFailed"]) == (3, 1)
    failed = api.client().bulk2.Lead.get_failed_records(told[0]["job_id"])
    assert f'"{second}","CANNOT_UPDATE_CONVERTED_LEAD:cannot reference converted lead:--"' in failed
    scores = api.query("SELECT Leadlight_Score__c FROM Lead ORDER BY Id").json()["records"]
    assert [one["Leadlight_Score__c"] for one in scores] == [0.0, None, 2.0]


def test_it_reads_describes_and_changes_single_records(api: Api) -> None:
    client = api.client()
    made = client.Lead.create({"LastName": "New", "Company": "Mill"})
    assert made["success"]
    assert client.Lead.update(made["id"], {"Title": "Miller"}) == 204
    assert client.Lead.get(made["id"])["Title"] == "Miller"
    described = {one["name"]: one for one in client.Lead.describe()["fields"]}
    assert described["Leadlight_Score__c"]["updateable"]
    assert not described["IsConverted"]["updateable"]
    assert client.Lead.delete(made["id"]) == 204
    assert client.query("SELECT Id FROM Lead")["totalSize"] == 0
    gone = client.query_all("SELECT Id, IsDeleted FROM Lead", include_deleted=True)["records"]
    assert [(one["Id"], one["IsDeleted"]) for one in gone] == [(made["id"], True)]


def test_it_understands_refusals(start: Callable[..., Api]) -> None:
    api: Any = start(faults=(("session-calls", "1"),))
    client = api.client()
    with pytest.raises(SalesforceMalformedRequest) as refused:
        client.query("SELECT Id, FullName FROM Account")
    assert refused.value.content[0]["errorCode"] == "INVALID_FIELD"
    with pytest.raises(SalesforceExpiredSession):
        client.query("SELECT Id FROM Account")
