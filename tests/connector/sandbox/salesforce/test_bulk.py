"""Bulk API 2.0, as the documentation has it."""

import gzip
from collections.abc import Callable

from tests.connector.sandbox.salesforce.conftest import Api


def _ingest(api: Api, csv: str, **more: str) -> str:
    given = {"object": "Lead", "operation": "update", "contentType": "CSV", "lineEnding": "LF", **more}
    job = api.call("POST", "jobs/ingest", json=given).json()
    assert job["state"] == "Open"
    put = api.call("PUT", "/" + job["contentUrl"], data=csv.encode(), headers={"Content-Type": "text/csv"})
    assert (put.status_code, put.content) == (201, b"")
    closed = api.call("PATCH", f"jobs/ingest/{job['id']}", json={"state": "UploadComplete"}).json()
    assert closed["state"] == "UploadComplete"
    return str(job["id"])


def _query(api: Api, statement: str) -> str:
    job = api.call("POST", "jobs/query", json={"operation": "query", "query": statement})
    assert job.json()["state"] == "UploadComplete", job.text
    assert api.finished(job.json()["id"], "query")["state"] == "JobComplete"
    return str(job.json()["id"])


def test_an_empty_value_is_ignored_and_a_marked_one_clears(api: Api) -> None:
    one, other = api.leads(2, Title="T", Country="DE")
    job = _ingest(api, f'Id,Title,Country\n{one},,FR\n{other},#N/A,"F\nR"\n')
    assert api.finished(job)["numberRecordsProcessed"] == 2
    found = api.query("SELECT Title, Country FROM Lead ORDER BY Id").json()["records"]
    assert [(row["Title"], row["Country"]) for row in found] == [("T", "FR"), (None, "F\nR")]


def test_results_come_in_another_order_with_ids(api: Api) -> None:
    made = api.leads(50)
    job = _ingest(api, "Id,Leadlight_Score__c\n" + "".join(f"{one},7\n" for one in made))
    api.finished(job)
    lines = api.get(f"jobs/ingest/{job}/successfulResults/").text.splitlines()
    assert lines[0] == '"sf__Id","sf__Created","Id","Leadlight_Score__c"'
    ids = [line.split(",")[0].strip('"') for line in lines[1:]]
    assert sorted(ids) == sorted(made)
    assert ids != made


def test_rows_are_locked_and_told_of(start: Callable[..., Api]) -> None:
    api = start(faults=(("lock", "1"),))
    one = api.leads(1)[0]
    job = _ingest(api, f"Id,Title\n{one},x\n")
    told = api.finished(job)
    assert (told["state"], told["numberRecordsFailed"]) == ("JobComplete", 1)
    assert (
        "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access" in api.get(f"jobs/ingest/{job}/failedResults").text
    )


def test_a_failed_job_keeps_what_it_did_not_get_to(start: Callable[..., Api]) -> None:
    api = start(faults=(("job-failed", "1"),))
    one = api.leads(1)[0]
    job = _ingest(api, f"Id,Title\n{one},x\n")
    assert api.finished(job)["state"] == "Failed"
    # simple-salesforce spells the path with a capital letter
    for word in ("unprocessedrecords", "unprocessedRecords"):
        assert api.get(f"jobs/ingest/{job}/{word}").text == f'"Id","Title"\n"{one}","x"\n'


def test_an_unknown_column_fails_the_job(api: Api) -> None:
    one = api.leads(1)[0]
    told = api.finished(_ingest(api, f"Id,Nope__c\n{one},x\n"))
    assert (told["state"], told["errorMessage"]) == ("Failed", "InvalidBatch : Field name not found : Nope__c")


def test_a_job_is_aborted_and_deleted(api: Api) -> None:
    job = api.call("POST", "jobs/ingest", json={"object": "Lead", "operation": "update"}).json()["id"]
    assert api.call("PATCH", f"jobs/ingest/{job}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert api.call("DELETE", f"jobs/ingest/{job}").status_code == 204
    assert api.get(f"jobs/ingest/{job}").status_code == 404


def test_an_upload_may_be_gzipped(api: Api) -> None:
    one = api.leads(1)[0]
    job = api.call("POST", "jobs/ingest", json={"object": "Lead", "operation": "update"}).json()
    body = gzip.compress(f"Id,Title\n{one},x\n".encode())
    api.call("PUT", "/" + job["contentUrl"], data=body, headers={"Content-Encoding": "gzip"})
    api.call("PATCH", f"jobs/ingest/{job['id']}", json={"state": "UploadComplete"})
    assert api.finished(job["id"])["numberRecordsProcessed"] == 1
    assert api.get(f"sobjects/Lead/{one}").json()["Title"] == "x"


def test_pages_can_be_read_again_and_dates_end_with_z(api: Api) -> None:
    api.leads(5)
    job = _query(api, "SELECT Id, CreatedDate FROM Lead")
    first = api.get(f"jobs/query/{job}/results", maxRecords=3)
    assert (first.headers["Sforce-Locator"], first.headers["Sforce-NumberOfRecords"]) != ("null", "3")
    assert first.text.splitlines()[1].endswith('.000Z"')
    again = api.get(f"jobs/query/{job}/results", maxRecords=3, locator=first.headers["Sforce-Locator"])
    assert (again.headers["Sforce-Locator"], again.headers["Sforce-NumberOfRecords"]) == ("null", "2")
    assert api.get(f"jobs/query/{job}/results", maxRecords=3).text == first.text


def test_results_are_bound_to_the_version_of_the_job(api: Api) -> None:
    job = _query(api, "SELECT Id FROM Lead")
    assert api.get(f"/services/data/v67.0/jobs/query/{job}/results").status_code == 409


def test_aggregates_are_not_for_bulk(api: Api) -> None:
    job = {"operation": "query", "query": "SELECT COUNT(Id) FROM Lead"}
    assert api.call("POST", "jobs/query", json=job).status_code == 400
    assert api.query("SELECT COUNT(Id) FROM Lead").json()["records"][0]["expr0"] == 0
