"""Writing to Salesforce: every row accounted for, by Collections and by Bulk."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connector.errors import Bug, FixSetup, PlatformDown, PlatformRefused
from connector.platform import Write
from connector.platforms.salesforce.client.soql import long_id
from manifests import properties
from tests.connector.salesforce_made import DATA, MadeSalesforce, contact, lead

UPDATE = f"PATCH {DATA}/composite/sobjects"
JOBS = f"{DATA}/jobs/ingest"


def result(record: str, code: str | None = None, *fields: str) -> dict[str, Any]:
    errors = [{"statusCode": code, "message": f"about {record} of jane@firm.example", "fields": list(fields)}]
    return {"id": record, "success": code is None, "errors": errors if code else []}


def scored(ids: Sequence[str], score: str = "57") -> list[Write]:
    return [Write(one, {"leadlight_score": score}) for one in ids]


@pytest.fixture
def made(httpserver: HTTPServer) -> MadeSalesforce:
    return MadeSalesforce(httpserver)


def test_values_go_in_the_types_of_their_fields_and_types_of_records_together(made: MadeSalesforce) -> None:
    made.answer(UPDATE, lambda request: [result(record["id"]) for record in request.get_json()["records"]])
    values = {
        "leadlight_score": "57",
        "leadlight_probability": "0.25",
        "leadlight_grade": None,
        "leadlight_holdout": None,
        "leadlight_scored_at": "2026-11-22T12:00:00Z",
    }
    batch = [Write(lead(1), values), Write(contact(1), {"leadlight_score": None}), *scored([lead(2)])]
    outcomes = made.platform().write(batch)
    assert [(one.record_id, one.state) for one in outcomes] == [
        (lead(1), "written"),
        (contact(1), "written"),
        (lead(2), "written"),
    ]
    leads, contacts = made.bodies(UPDATE)
    assert leads["allOrNone"] is False
    assert leads["records"][0] == {
        "attributes": {"type": "Lead"},
        "id": lead(1),
        "Leadlight_Score__c": 57,
        "Leadlight_Probability__c": 0.25,
        "Leadlight_Grade__c": None,
        "Leadlight_Holdout__c": False,
        "Leadlight_Scored_At__c": "2026-11-22T12:00:00Z",
    }
    assert [record["id"] for record in leads["records"]] == [lead(1), lead(2)]
    assert contacts["records"] == [
        {"attributes": {"type": "Contact"}, "id": contact(1), "Leadlight_Score__c": None}
    ]


def test_a_bad_row_fails_alone_and_its_text_is_kept_out(made: MadeSalesforce) -> None:
    made.answer(
        UPDATE,
        [
            result(lead(1)),
            result(lead(2), "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Email"),
            result(lead(3), "ENTITY_IS_DELETED"),
            result(lead(4), "CANNOT_UPDATE_CONVERTED_LEAD"),
        ],
    )
    outcomes = made.platform().write(scored([lead(number) for number in range(1, 5)]))
    assert [(one.state, one.error) for one in outcomes] == [
        ("written", None),
        ("failed", "FIELD_CUSTOM_VALIDATION_EXCEPTION: Email"),
        ("gone", "ENTITY_IS_DELETED"),
        ("gone", "CANNOT_UPDATE_CONVERTED_LEAD"),
    ]


def test_what_is_no_record_of_ours_is_gone_and_costs_no_call(made: MadeSalesforce) -> None:
    outcomes = made.platform().write(scored(["999999999999", long_id("0015A0000000001")]))
    assert [one.state for one in outcomes] == ["gone", "gone"]
    assert made.requests(UPDATE) == []


def test_a_contact_twice_is_our_bug(made: MadeSalesforce) -> None:
    with pytest.raises(Bug):
        made.platform().write(scored([lead(1), lead(1)]))


def test_locked_rows_are_tried_again_side_by_side_with_their_siblings(made: MadeSalesforce) -> None:
    ids = [contact(number) for number in range(4)]
    parents = {contact(0): "001B", contact(1): "001A", contact(2): "001B", contact(3): "001A"}
    tries: list[list[str]] = []

    def update(request: Request) -> Any:
        asked = [record["id"] for record in request.get_json()["records"]]
        tries.append(asked)
        locked = {1: {*ids[:4]}, 2: {contact(2)}}.get(len(tries), set())
        return [result(one, "UNABLE_TO_LOCK_ROW" if one in locked else None) for one in asked]

    made.answer(UPDATE, update)
    made.answer(
        f"GET {DATA}/query",
        {
            "totalSize": 4,
            "done": True,
            "records": [{"attributes": {}, "Id": one, "AccountId": parents[one]} for one in ids],
        },
    )
    outcomes = made.platform().write(scored(ids))
    assert {one.state for one in outcomes} == {"written"}
    assert tries == [ids, [contact(1), contact(3), contact(0), contact(2)], [contact(2)]]
    assert len(made.time.slept) == 2
    assert 1.0 <= made.time.slept[0] <= 1.25
    assert 2.0 <= made.time.slept[1] <= 2.5


def test_a_row_that_stays_locked_fails(made: MadeSalesforce) -> None:
    made.answer(UPDATE, [result(lead(1), "UNABLE_TO_LOCK_ROW")])
    (outcome,) = made.platform().write(scored([lead(1)]))
    assert (outcome.state, outcome.error) == ("failed", "UNABLE_TO_LOCK_ROW")
    assert len(made.requests(UPDATE)) == 6


@pytest.mark.parametrize(
    "answer", [[result("x", "INVALID_FIELD", "Leadlight_Score__c")], (400, [{"errorCode": "INVALID_FIELD"}])]
)
def test_a_field_that_is_not_there_is_the_set_up(made: MadeSalesforce, answer: Any) -> None:
    made.answer(UPDATE, answer)
    with pytest.raises(FixSetup, match="sf project deploy start"):
        made.platform().write(scored([lead(1)]))


class Job:
    """An ingest job's answers; keeps the CSV that was uploaded."""

    def __init__(self, made: MadeSalesforce, states: Sequence[dict[str, Any]], **results: bytes) -> None:
        self.csv = b""
        made.answer(f"POST {JOBS}", {"id": "7505A", "state": "Open", "apiVersion": 68.0})
        made.answer(f"PUT {JOBS}/7505A/batches", self._upload)
        made.answer(f"PATCH {JOBS}/7505A", {"id": "7505A", "state": "UploadComplete"})
        made.answer(f"GET {JOBS}/7505A", *states)
        made.answer(f"DELETE {JOBS}/7505A", (204, None))
        for name in ("successfulResults", "failedResults", "unprocessedrecords"):
            made.answer(f"GET {JOBS}/7505A/{name}/", results.get(name, b'"sf__Id","sf__Error"\n'))

    def _upload(self, request: Request) -> Any:
        assert request.headers["Content-Type"] == "text/csv"
        self.csv += request.get_data()
        return 201, None


MANY = [lead(number) for number in range(2100)]


def done(failed: int = 0, **more: Any) -> dict[str, Any]:
    state = {"id": "7505A", "state": "JobComplete", "numberRecordsProcessed": len(MANY)}
    return state | {"numberRecordsFailed": failed} | more


def test_many_rows_go_by_one_job_with_as_few_calls_as_there_are(made: MadeSalesforce) -> None:
    job = Job(made, [{"state": "InProgress"}, {"state": "InProgress"}, done()])
    platform = made.platform()
    assert platform.batch_for(2000) == 200
    assert platform.batch_for(len(MANY)) == 100_000
    platform.account()
    before = len(made.asked)
    values = {"leadlight_score": None, "leadlight_reasons": 'a "b",\nc', "leadlight_holdout": "true"}
    outcomes = platform.write([Write(MANY[0], values), *scored(MANY[1:])])
    assert [one.record_id for one in outcomes] == MANY
    assert {one.state for one in outcomes} == {"written"}
    assert job.csv.splitlines()[0] == b"Id,Leadlight_Holdout__c,Leadlight_Reasons__c,Leadlight_Score__c"
    assert f'{MANY[0]},true,"a ""b"",\nc",#N/A\n{MANY[1]},,,57\n'.encode() in job.csv
    calls = [name for name, _ in made.asked[before:]]
    looks = [name for name in calls if name == f"GET {JOBS}/7505A"]
    assert len(looks) == 3
    assert len(calls) - len(looks) == 3  # made, uploaded, closed
    assert made.bodies(f"POST {JOBS}") == [
        {
            "object": "Lead",
            "operation": "update",
            "contentType": "CSV",
            "columnDelimiter": "COMMA",
            "lineEnding": "LF",
        }
    ]


def test_a_jobs_rows_are_matched_by_id_whatever_their_order(made: MadeSalesforce) -> None:
    failed = [
        f'"{MANY[9]}","STRING_TOO_LONG:too\nlong: jane@firm.example:Leadlight_Reasons__c --"',
        f'"{MANY[3]}","UNABLE_TO_LOCK_ROW:unable to obtain exclusive access:--"',
        f'"{MANY[5]}","CANNOT_UPDATE_CONVERTED_LEAD:cannot reference converted lead:--"',
    ]
    text = '"sf__Id","sf__Error"\n' + "\n".join(failed) + "\n"
    Job(made, [done(failed=3)], failedResults=text.encode())
    made.answer(UPDATE, lambda request: [result(record["id"]) for record in request.get_json()["records"]])
    outcomes = {one.record_id: one for one in made.platform().write(scored(MANY))}
    assert (outcomes[MANY[9]].state, outcomes[MANY[9]].error) == (
        "failed",
        "STRING_TOO_LONG: Leadlight_Reasons__c",
    )
    assert outcomes[MANY[5]].state == "gone"
    # the locked one was tried again, by itself
    assert outcomes[MANY[3]].state == "written"
    assert [record["id"] for record in made.bodies(UPDATE)[0]["records"]] == [MANY[3]]
    assert sum(one.state == "written" for one in outcomes.values()) == len(MANY) - 2


def test_rows_that_a_job_never_came_to_are_not_written(made: MadeSalesforce) -> None:
    listed = '"sf__Id","sf__Created"\n' + "".join(f'"{one}","false"\n' for one in MANY[:1500])
    Job(made, [done(state="Aborted", numberRecordsProcessed=1500)], successfulResults=listed.encode())
    outcomes = made.platform().write(scored(MANY))
    assert [one.state for one in outcomes] == ["written"] * 1500 + ["failed"] * 600


def test_a_count_that_does_not_add_up_is_not_believed(made: MadeSalesforce) -> None:
    listed = '"sf__Id","sf__Created"\n' + "".join(f'"{one}","false"\n' for one in MANY[:2000])
    Job(made, [done(numberRecordsProcessed=2050)], successfulResults=listed.encode())
    outcomes = made.platform().write(scored(MANY))
    assert [one.state for one in outcomes] == ["written"] * 2000 + ["failed"] * 100


def test_a_job_that_failed_for_a_field_is_the_set_up(made: MadeSalesforce) -> None:
    state = {"id": "7505A", "state": "Failed", "errorMessage": "InvalidBatch : Field name not found : Nope__c"}
    Job(made, [state])
    with pytest.raises(FixSetup, match="sf project deploy start"):
        made.platform().write(scored(MANY))


CHANGE = f"PATCH {JOBS}/7505A"


def test_a_lost_answer_to_the_closing_of_a_job_is_looked_up(made: MadeSalesforce) -> None:
    """Salesforce closed it and the answer was lost: said again it is refused, and the job's state tells."""
    Job(made, [{"state": "InProgress"}, done()])
    made.answer(CHANGE, (503, None), (400, [{"errorCode": "INVALIDJOBSTATE"}]))
    outcomes = made.platform().write(scored(MANY))
    assert {one.state for one in outcomes} == {"written"}
    assert [body["state"] for body in made.bodies(CHANGE)] == ["UploadComplete"] * 2
    assert made.requests(f"DELETE {JOBS}/7505A") == []


def test_a_job_that_can_not_be_closed_is_given_up_and_cleared_away(made: MadeSalesforce) -> None:
    Job(made, [{"state": "Open"}])
    made.answer(CHANGE, (400, [{"errorCode": "LIMIT_EXCEEDED"}]))
    with pytest.raises(PlatformRefused, match="LIMIT_EXCEEDED"):
        made.platform().write(scored(MANY))
    assert [body["state"] for body in made.bodies(CHANGE)] == ["UploadComplete", "Aborted"]
    assert len(made.requests(f"DELETE {JOBS}/7505A")) == 1


def test_an_upload_that_may_not_have_arrived_goes_into_another_job(made: MadeSalesforce) -> None:
    """A job takes one upload; the first one was never closed, so that nothing is done twice."""
    job = Job(made, [done()])
    made.answer(f"POST {JOBS}", {"id": "7505B", "state": "Open"}, {"id": "7505A", "state": "Open"})
    made.answer(f"PUT {JOBS}/7505B/batches", (503, None))
    made.answer(f"PATCH {JOBS}/7505B", {"id": "7505B", "state": "Aborted"})
    made.answer(f"DELETE {JOBS}/7505B", (204, None))
    outcomes = made.platform().write(scored(MANY))
    assert {one.state for one in outcomes} == {"written"}
    assert len(made.requests(f"PUT {JOBS}/7505B/batches")) == 1
    assert [body["state"] for body in made.bodies(f"PATCH {JOBS}/7505B")] == ["Aborted"]
    assert len(made.requests(f"DELETE {JOBS}/7505B")) == 1
    assert job.csv.count(b"\n") == len(MANY) + 1


def test_a_job_that_does_not_end_is_looked_at_ten_times_at_most_and_given_up(made: MadeSalesforce) -> None:
    Job(made, [{"state": "InProgress"}])
    with pytest.raises(PlatformDown, match="did not end"):
        made.platform().write(scored(MANY))
    assert 8 <= len(made.requests(f"GET {JOBS}/7505A")) <= 10
    assert sum(made.time.slept) > 3600
    assert [body["state"] for body in made.bodies(CHANGE)] == ["UploadComplete", "Aborted"]
    assert len(made.requests(f"DELETE {JOBS}/7505A")) == 1


QUERY_JOBS = f"{DATA}/jobs/query"
WHOLE = b'"Id","Leadlight_Score__c"\n' + "".join(f'"{one}","57"\n' for one in MANY).encode()


def read_back(made: MadeSalesforce, *pages: bytes) -> dict[str, Any]:
    """Read our values of many leads by Bulk, whose page of results comes as these in turn."""
    made.answer(f"POST {QUERY_JOBS}", {"id": "7505Q", "state": "UploadComplete"})
    made.answer(f"GET {QUERY_JOBS}/7505Q", {"state": "JobComplete", "numberRecordsProcessed": len(MANY)})
    left = list(pages)

    def answer(_: Request) -> Response:
        body = left.pop(0) if len(left) > 1 else left[0]
        headers = {"Sforce-Locator": "null", "Sforce-NumberOfRecords": str(len(MANY))}
        return Response(body, 200, headers, content_type="text/csv")

    made.answer(f"GET {QUERY_JOBS}/7505Q/results", answer)
    found = made.platform().read_ours(MANY, ["leadlight_score"])
    return {key: None if row is None else row.values["leadlight_score"] for key, row in found.items()}


@pytest.mark.parametrize(
    "broken",
    [WHOLE[: WHOLE.rindex(b'"00Q')], WHOLE[:-20], WHOLE[: WHOLE.index(b"\n") + 1], b"", WHOLE + b'"x"\n'],
    ids=["a row short", "within a value", "head only", "nothing", "of another form"],
)
def test_a_page_of_results_that_was_cut_off_is_read_again(made: MadeSalesforce, broken: bytes) -> None:
    assert set(read_back(made, broken, WHOLE).values()) == {"57"}
    assert len(made.requests(f"GET {QUERY_JOBS}/7505Q/results")) == 2


def test_results_that_never_come_whole_stop_the_run_without_showing_them(made: MadeSalesforce) -> None:
    with pytest.raises(PlatformDown, match="incomplete") as caught:
        read_back(made, WHOLE + b'"jane@firm.example"\n')
    assert "jane" not in str(caught.value)
    assert caught.value.__context__ is None


def test_missing_fields_are_named_with_the_command_that_deploys_them(made: MadeSalesforce) -> None:
    platform = made.platform()
    assert {plan.action for plan in platform.install(properties(), dry_run=False)} == {"none"}
    fields = [
        {"name": "Id", "type": "id"},
        {"name": "Leadlight_Score__c", "type": "double", "updateable": False},
        {"name": "Leadlight_Grade__c", "type": "reference", "updateable": True},
    ]
    made.answer(f"GET {DATA}/sobjects/Contact/describe", {"fields": fields})
    plans = {plan.name: plan for plan in platform.install(properties(), dry_run=True)}
    assert plans["leadlight_score"].action == "create"
    assert "read-only" in plans["leadlight_score"].detail
    assert plans["leadlight_grade"].action == "conflict"
    assert plans["leadlight_reasons"].detail.startswith("Contact.Leadlight_Reasons__c")
    with pytest.raises(FixSetup, match="sf project deploy start"):
        platform.install(properties(), dry_run=False)


def test_times_of_the_org_are_utc(made: MadeSalesforce) -> None:
    made.answer(
        f"GET {DATA}/query",
        {
            "totalSize": 1,
            "done": True,
            "records": [
                {"attributes": {}, "Id": lead(1), "Leadlight_Scored_At__c": "2026-11-20T10:11:12.000+0000",
                 "Leadlight_Score__c": 57.0, "Leadlight_Holdout__c": False, "IsConverted": False}
            ],
        },
    )  # fmt: skip
    names = ["leadlight_scored_at", "leadlight_score", "leadlight_holdout"]
    held = made.platform().read_ours([lead(1)], names)[lead(1)]
    assert held is not None
    assert dict(held.values) == {
        "leadlight_scored_at": datetime(2026, 11, 20, 10, 11, 12, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "leadlight_score": "57",
        "leadlight_holdout": None,
    }
    held = made.platform(flags=True).read_ours([lead(1)], names)[lead(1)]
    assert held is not None
    assert held.values["leadlight_holdout"] == "false"
