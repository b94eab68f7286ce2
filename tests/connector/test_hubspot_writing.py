"""Writing our properties: every row gets its outcome, one bad row fails alone."""

from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request

from connector.errors import Bug, FixSetup, MissingScope
from connector.platform import Write
from tests.connector.hubspot_made import MadeHubSpot, V, utc

UPDATE = f"POST /crm/objects/{V}/contacts/batch/update"
BATCH_READ = f"POST /crm/objects/{V}/contacts/batch/read"


@pytest.fixture
def made(httpserver: HTTPServer) -> MadeHubSpot:
    return MadeHubSpot(httpserver)


def score(number: int, value: str | None = "87") -> Write:
    return Write(str(number), {"leadlight_score": value})


def written(numbers: list[int]) -> dict[str, Any]:
    # HubSpot does not keep the order of the inputs
    return {
        "status": "COMPLETE",
        "results": [
            {"id": str(n), "properties": {"leadlight_score": "87"}, "updatedAt": f"2026-11-22T10:00:00.{n:03}Z"}
            for n in reversed(numbers)
        ],
        "startedAt": "2026-11-22T10:00:00.000Z",
        "completedAt": "2026-11-22T10:00:00.900Z",
    }


def test_a_batch_goes_by_record_id_in_hubspots_words(made: MadeHubSpot) -> None:
    made.answer(UPDATE, written([101, 102, 103]))
    batch = [
        score(101),
        Write("102", {"leadlight_scored_at": "2026-11-22T08:00:00Z", "leadlight_grade": None}),
        Write("103", {"leadlight_holdout": "false", "leadlight_reasons": "visited pricing 4 times"}),
    ]
    outcomes = made.platform().write(batch)
    assert [one["properties"] for one in made.bodies(UPDATE)[0]["inputs"]] == [
        {"leadlight_score": "87"},
        {"leadlight_scored_at": "1795334400000", "leadlight_grade": ""},
        {"leadlight_holdout": "false", "leadlight_reasons": "visited pricing 4 times"},
    ]
    assert all("idProperty" not in one for one in made.bodies(UPDATE)[0]["inputs"])
    assert [(o.record_id, o.state) for o in outcomes] == [
        ("101", "written"),
        ("102", "written"),
        ("103", "written"),
    ]
    assert outcomes[1].modified_at == utc("2026-11-22T10:00:00.102")


def test_the_modified_date_is_the_one_that_a_search_shows(made: MadeHubSpot) -> None:
    body = written([101])
    body["results"][0]["properties"]["lastmodifieddate"] = "2026-11-22T10:00:00.555Z"
    made.answer(UPDATE, body)
    assert made.platform().write([score(101)])[0].modified_at == utc("2026-11-22T10:00:00.555")


def test_companies_are_written_on_their_own_path_and_dated_by_their_own_property(made: MadeHubSpot) -> None:
    update = UPDATE.replace("contacts", "companies")
    body = written([101])
    # a company has no lastmodifieddate
    body["results"][0]["properties"] |= {
        "hs_lastmodifieddate": "2026-11-22T10:00:00.555Z",
        "lastmodifieddate": "2026-11-22T11:00:00Z",
    }
    body["errors"] = [{"category": "OBJECT_NOT_FOUND", "context": {"ids": ["102"]}}]
    made.answer(update, body)
    values = {"leadlight_company_score": "87", "leadlight_company_reasons": "1 open contact; contact 7: 91"}
    outcomes = made.platform().write([Write(one, values, "company") for one in ("101", "102", "103")])
    assert [one["properties"] for one in made.bodies(update)[0]["inputs"]] == [values] * 3
    assert [(o.record_id, o.state, o.object) for o in outcomes] == [
        ("101", "written", "company"),
        ("102", "gone", "company"),
        ("103", "gone", "company"),
    ]
    assert outcomes[0].modified_at == utc("2026-11-22T10:00:00.555")


def test_a_merged_row_that_is_silently_left_out_is_gone(made: MadeHubSpot) -> None:
    made.answer(UPDATE, written([101, 103]))
    outcomes = made.platform().write([score(101), score(102), score(103)])
    assert [o.state for o in outcomes] == ["written", "gone", "written"]


def test_errors_of_a_207_belong_to_their_rows(made: MadeHubSpot) -> None:
    body = written([101, 104]) | {
        "numErrors": 2,
        "errors": [
            {
                "status": "error",
                "category": "OBJECT_NOT_FOUND",
                "message": "Could not get some CONTACT objects, they may be deleted or not exist.",
                "context": {"ids": ["102"], "objectWriteTraceId": ["102"]},
            },
            {
                "status": "error",
                "category": "VALIDATION_ERROR",
                "message": 'Property values were not valid: [{"isValid":false,"message":"a@x.example is wrong",'
                '"error":"INVALID_OPTION","name":"leadlight_grade"}]',
                "context": {"objectWriteTraceId": ["103"]},
            },
        ],
    }
    made.answer(UPDATE, (207, body))
    outcomes = made.platform().write([score(n) for n in (101, 102, 103, 104)])
    assert [o.state for o in outcomes] == ["written", "gone", "failed", "written"]
    assert outcomes[2].error == "INVALID_OPTION"


def refuse(bad: set[str], code: str) -> Any:
    """A HubSpot that fails the whole batch for one bad row."""

    def handler(request: Request) -> Any:
        numbers = [one["id"] for one in request.get_json()["inputs"]]
        if bad & set(numbers):
            return 400, {
                "status": "error",
                "message": "Property values were not valid: "
                f'[{{"isValid":false,"message":"x","error":"{code}","name":"leadlight_score"}}]',
                "correlationId": "corr-400",
                "category": "VALIDATION_ERROR",
            }
        return written([int(n) for n in numbers])

    return handler


def test_one_bad_row_of_a_hundred_fails_alone(made: MadeHubSpot) -> None:
    made.answer(UPDATE, refuse({"150"}, "MISSING_CONDITIONAL_REQUIRED_PROPERTY"))
    outcomes = made.platform().write([score(n) for n in range(101, 201)])
    assert [o.record_id for o in outcomes] == [str(n) for n in range(101, 201)]
    failed = [o for o in outcomes if o.state != "written"]
    assert [o.record_id for o in failed] == ["150"]
    assert failed[0].error == "MISSING_CONDITIONAL_REQUIRED_PROPERTY: leadlight_score"
    assert failed[0].request_id == "corr-400"
    assert len(made.requests(UPDATE)) <= 15


def test_a_property_that_does_not_exist_is_the_set_up(made: MadeHubSpot) -> None:
    made.answer(UPDATE, refuse({"102"}, "PROPERTY_DOESNT_EXIST"))
    with pytest.raises(FixSetup, match=r"leadlight_score.*leadlight install"):
        made.platform().write([score(101), score(102), score(103)])
    assert len(made.requests(UPDATE)) == 1


def test_without_the_right_to_write_nothing_is_bisected(made: MadeHubSpot) -> None:
    made.answer(UPDATE, (403, {"status": "error", "category": "MISSING_SCOPES"}))
    with pytest.raises(MissingScope) as missing:
        made.platform().write([score(101), score(102)])
    assert missing.value.scope == "crm.objects.contacts.write"
    assert len(made.requests(UPDATE)) == 1


def test_a_write_whose_answer_was_lost_is_made_again(made: MadeHubSpot) -> None:
    made.answer(UPDATE, (504, {}), written([101]))
    assert made.platform().write([score(101)])[0].state == "written"
    assert len(made.requests(UPDATE)) == 2


def test_a_contact_twice_in_a_batch_is_our_bug(made: MadeHubSpot) -> None:
    with pytest.raises(Bug):
        made.platform().write([score(101), score(101)])


def test_present_values_come_back_as_they_were_written(made: MadeHubSpot) -> None:
    values = {
        "leadlight_score": "87.0",
        "leadlight_probability": "0.1230",
        "leadlight_scored_at": "2026-11-22T08:00:00.000Z",
        "leadlight_holdout": "false",
        "leadlight_grade": None,
    }
    made.answer(
        BATCH_READ, (207, {"results": [{"id": "102", "properties": values}], "numErrors": 2, "errors": []})
    )
    present = made.platform().read_ours(["101", "102", "103"], list(values))
    assert present["101"] is None
    assert present["103"] is None
    assert present["102"] == Write(
        "102",
        {
            "leadlight_score": "87",
            "leadlight_probability": "0.123",
            "leadlight_scored_at": "2026-11-22T08:00:00Z",
            "leadlight_holdout": "false",
            "leadlight_grade": None,
        },
    )


def test_properties_under_another_prefix_take_their_type_from_hubspot(made: MadeHubSpot) -> None:
    entry = {"name": "acme_scored_at", "type": "datetime", "fieldType": "date", "hubspotDefined": False}
    made.answer(f"GET /crm/properties/{V}/contacts", {"results": [entry]})
    made.answer(UPDATE, written([101]))
    made.platform().write([Write("101", {"acme_scored_at": "2026-11-22T08:00:00Z"})])
    assert made.bodies(UPDATE)[0]["inputs"][0]["properties"] == {"acme_scored_at": "1795334400000"}
