"""Contacts: the list, its properties, histories, consent, and where a stopped pull goes on."""

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request

from connector.errors import BadSetting, MissingScope
from connector.platform import PullRequest
from connector.platforms.hubspot.client import paging
from tests.connector.dict_known import DictKnown
from tests.connector.hubspot_made import MadeHubSpot, V, contact, page, utc

LIST = f"GET /crm/objects/{V}/contacts"
SEARCH = f"POST /crm/objects/{V}/contacts/search"
BATCH_READ = f"POST /crm/objects/{V}/contacts/batch/read"
OURS = ("leadlight_grade", "leadlight_score", "leadlight_scored_at")

ODD = contact(
    12,
    email="Odd@Firm.Example",
    hs_additional_emails="second.address@firm.example;THIRD@firm.example",
    hs_timezone="america_slash_new_york",
    lifecyclestage="lead",
    budget="1500.50",
    leadlight_score="87.0",
    leadlight_scored_at="2026-11-20T08:00:00.000Z",
    hs_email_optout="true",
    hs_merged_object_ids="7;8",
    country="Austria",
)
ODD["associations"] = {
    "companies": {
        "results": [
            {"id": "900", "type": "contact_to_company_unlabeled"},
            {"id": "901", "type": "contact_to_company"},
        ]
    }
}


@pytest.fixture
def made(httpserver: HTTPServer) -> MadeHubSpot:
    return MadeHubSpot(httpserver)


def pulled(made: MadeHubSpot, known: DictKnown, **request: Any) -> DictKnown:
    known.take(made.platform().pull(known, PullRequest(ours=OURS, **request)))
    return known


def pages_of(made: MadeHubSpot) -> None:
    """Three pages: the odd contact stands in the middle of the middle one."""
    elsewhere = contact(13, hs_timezone="mars_slash_olympus", hs_ip_timezone="Asia/Tokyo")
    made.total = 6
    parts = {
        None: page([contact(9), contact(10, email=None)], "11"),
        "11": page([contact(11), ODD, elsewhere], "14"),
        "14": page([contact(14, hs_legal_basis="Freely given consent from contact;Performance of a contract")]),
    }
    made.answer(LIST, lambda request: parts[request.args.get("after")])
    made.answer(
        BATCH_READ,
        page([contact(n, jobtitle="CTO", lifecyclestage="lead", budget=None) for n in (9, 10)]),
    )


def test_the_first_pull_reads_the_list_to_its_end(made: MadeHubSpot) -> None:
    pages_of(made)
    known = pulled(made, DictKnown())
    contacts = known.tables["contacts"]
    assert sorted(contacts, key=int) == ["9", "10", "11", "12", "13", "14"]
    odd = contacts["12"]
    assert odd["email"] == "odd@firm.example"
    assert odd["timezone"] == "America/New_York"
    assert contacts["13"]["timezone"] == "Asia/Tokyo"
    assert contacts["9"]["timezone"] is None
    assert odd["country"] == "Austria"
    assert odd["company_id"] == "901"
    assert odd["lifecycle_stage"] == "lead"
    assert odd["created_at"] == utc("2025-03-01T08:00:00")
    assert odd["updated_at"] == utc("2026-11-01T10:00:00")
    assert odd["modified_at"] == utc("2026-11-01T10:00:00.500")
    assert contacts["10"]["email"] is None


def test_properties_are_kept_as_text_and_ours_apart(made: MadeHubSpot) -> None:
    pages_of(made)
    odd = pulled(made, DictKnown()).tables["contacts"]["12"]
    stored = json.loads(odd["properties"])
    assert stored["budget"] == "1500.50"
    assert "lastmodifieddate" not in stored
    assert "leadlight_score" not in stored
    assert odd["properties"] == json.dumps(stored, sort_keys=True, separators=(",", ":"))
    assert odd["ours"] == '{"leadlight_score":"87","leadlight_scored_at":"2026-11-20T08:00:00Z"}'


def test_every_address_consent_and_merge_comes_along(made: MadeHubSpot) -> None:
    pages_of(made)
    known = pulled(made, DictKnown())
    addresses = {
        (row["email"], row["is_primary"]) for row in known.parts["contact_addresses"] if row["contact_id"] == "12"
    }
    assert addresses == {
        ("odd@firm.example", True),
        ("second.address@firm.example", False),
        ("third@firm.example", False),
    }
    assert [row for row in known.parts["contact_addresses"] if row["contact_id"] == "10"] == []
    consents = {
        row["contact_id"]: (row["channel"], row["purpose"], row["status"]) for row in known.parts["consents"]
    }
    assert consents == {"12": ("email", "marketing", "denied"), "14": ("email", "marketing", "granted")}
    assert {(row["object_id"], row["merged_into"]) for row in known.removals} == {("7", "12"), ("8", "12")}


def test_chosen_properties_are_filled_or_custom_and_never_ours(made: MadeHubSpot) -> None:
    pages_of(made)
    known = pulled(made, DictKnown())
    rows = {row["property"]: row for row in known.definitions if row["object"] == "contact"}
    # numemployees is HubSpot's and empty in the sample, budget is custom and empty
    assert sorted(rows) == ["budget", "is_partner", "jobtitle", "lifecyclestage", "topics"]
    types = {name: row["type"] for name, row in rows.items()}
    assert types == {
        "budget": "number",
        "is_partner": "boolean",
        "jobtitle": "text",
        "lifecyclestage": "category",
        "topics": "multi",
    }
    assert rows["budget"]["column_name"] == "p_budget"
    assert json.loads(rows["topics"]["options"])[1] == {"value": "events", "label": "Events"}
    asked = made.requests(LIST)[-1].args["properties"].split(",")
    assert {"budget", "leadlight_score", "hs_additional_emails"} <= set(asked)
    assert "hs_all_team_ids" not in asked


def test_a_goal_column_is_read_whatever_its_fill(made: MadeHubSpot) -> None:
    pages_of(made)
    pulled(made, DictKnown(), goal_columns=("numemployees",))
    assert "numemployees" in made.requests(LIST)[-1].args["properties"].split(",")


def test_an_unknown_goal_column_is_named(made: MadeHubSpot) -> None:
    pages_of(made)
    with pytest.raises(BadSetting, match="'nonsense'"):
        pulled(made, DictKnown(), goal_columns=("nonsense",))


def test_a_stopped_pull_goes_on_at_its_last_page(made: MadeHubSpot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "ENOUGH", 1)
    pages_of(made)
    known = DictKnown()
    # definitions and the first page of contacts
    known.take(made.platform().pull(known, PullRequest(ours=OURS)), stop_after=2)
    assert sorted(known.tables["contacts"]) == ["10", "9"]
    before = len(made.requests(LIST))
    pulled(made, known)
    assert [request.args.get("after") for request in made.requests(LIST)[before:]] == ["11", "14"]
    assert len(known.tables["contacts"]) == 6


def test_history_halves_the_page_and_fills_its_table(made: MadeHubSpot) -> None:
    record = contact(11, lifecyclestage="customer")
    record["propertiesWithHistory"] = {
        "lifecyclestage": [
            {
                "value": "customer",
                "timestamp": "2026-06-01T10:00:00.700Z",
                "sourceType": "CRM_UI",
                "sourceId": "u",
            },
            {"value": "lead", "timestamp": "2026-01-01T10:00:00Z", "sourceType": "FORM"},
        ],
        "budget": [{"value": "", "timestamp": "2026-02-01T10:00:00Z", "sourceType": "API"}],
    }
    made.answer(LIST, page([contact(10), record, contact(12)]))
    known = pulled(made, DictKnown(), history=True)
    arguments = made.requests(LIST)[-1].args
    assert arguments["limit"] == "50"
    assert "lifecyclestage" in arguments["propertiesWithHistory"].split(",")
    rows = [(r["property"], r["value"], r["changed_at"], r["source"]) for r in known.history]
    assert rows == [
        ("lifecyclestage", "customer", utc("2026-06-01T10:00:00"), "CRM_UI"),
        ("lifecyclestage", "lead", utc("2026-01-01T10:00:00"), "FORM"),
        ("budget", None, utc("2026-02-01T10:00:00"), "API"),
    ]


def test_a_property_list_too_long_for_a_url_goes_through_batch_read(made: MadeHubSpot) -> None:
    many = [
        {"name": f"a_custom_property_with_a_long_name_{n:04}", "label": "x", "type": "string", "fieldType": "text"}
        for n in range(300)
    ]
    made.answer(f"GET /crm/properties/{V}/contacts", {"results": many})
    made.answer(LIST, page([contact(9), contact(10), contact(11)]))

    def read(request: Request) -> Any:
        return page([contact(int(given["id"]), jobtitle="CTO") for given in request.get_json()["inputs"][::-1]])

    made.answer(BATCH_READ, read)
    known = pulled(made, DictKnown())
    assert max(len(request.url) for request in made.requests(LIST)) < 8000
    assert len(made.bodies(BATCH_READ)[-1]["properties"]) > 300
    assert {json.loads(row["properties"])["jobtitle"] for row in known.tables["contacts"].values()} == {"CTO"}


def test_a_search_refused_for_its_length_asks_for_ids_and_reads_the_rest(made: MadeHubSpot) -> None:
    pages_of(made)
    known = pulled(made, DictKnown())
    many = [{"name": f"a_custom_property_{n:04}", "label": "x", "type": "string"} for n in range(200)]
    made.answer(f"GET /crm/properties/{V}/contacts", {"results": many})
    changed = [contact(n, "2026-11-22T11:00:00Z") for n in (9, 10, 11)]

    def search(request: Request) -> Any:
        if len(request.get_data()) > 3000:
            return 400, {"status": "error", "message": "The request is invalid"}
        return {"total": 6 if not request.get_json()["filterGroups"] else 3, "results": changed}

    made.answer(SEARCH, search)
    full = [contact(n, "2026-11-22T11:00:00Z", a_custom_property_0007="seven") for n in (11, 9, 10)]
    made.answer(BATCH_READ, page(full))
    known.news.clear()
    pulled(made, known)
    assert known.news == ["9", "10", "11"]
    assert {"a_custom_property_0007"} <= set(json.loads(known.tables["contacts"]["10"]["properties"]))


def test_our_own_echo_is_no_news_and_asks_nothing_more(made: MadeHubSpot) -> None:
    pages_of(made)
    known = pulled(made, DictKnown())
    written = utc("2026-11-22T09:00:00.120")
    for contact_id in ("9", "11", "14"):
        known.wrote(contact_id, written, leadlight_score="50")
    stamp = "2026-11-22T09:00:00.120Z"
    edited = contact(11, stamp, leadlight_score="50", budget="7")
    news = [contact(9, stamp, leadlight_score="50.0"), edited, {**ODD, "id": "15"}]
    made.total = 7
    made.found(news)
    made.asked.clear()
    known.news.clear()
    pulled(made, known)
    assert known.echoes == ["9"]
    assert known.news == ["11", "15"]
    assert known.tables["contacts"]["9"]["modified_at"] == written
    inputs = made.bodies(f"POST /crm/associations/{V}/contacts/companies/batch/read")
    assert inputs == [{"inputs": [{"id": "11"}, {"id": "15"}]}]


def test_associations_of_news_are_read_in_a_batch(made: MadeHubSpot) -> None:
    pages_of(made)
    known = pulled(made, DictKnown())
    made.found([contact(n, "2026-11-22T11:00:00Z") for n in (9, 10, 11)])
    labelled = [
        {"toObjectId": 801, "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": 279, "label": None}]},
        {
            "toObjectId": "802",
            "associationTypes": [
                {"category": "HUBSPOT_DEFINED", "typeId": 1, "label": "Primary"},
                {"category": "HUBSPOT_DEFINED", "typeId": 279, "label": None},
            ],
        },
    ]
    made.answer(
        f"POST /crm/associations/{V}/contacts/companies/batch/read",
        (207, {"status": "COMPLETE", "results": [{"from": {"id": "10"}, "to": labelled}], "numErrors": 2}),
    )
    pulled(made, known)
    assert [known.tables["contacts"][n]["company_id"] for n in ("9", "10", "11")] == [None, "802", None]


def test_without_the_contacts_scope_the_pull_cannot_go_on(made: MadeHubSpot) -> None:
    body = {
        "status": "error",
        "category": "MISSING_SCOPES",
        "errors": [{"context": {"requiredGranularScopes": ["crm.objects.contacts.read"]}}],
    }
    made.answer(LIST, (403, body))
    with pytest.raises(MissingScope) as missing:
        pulled(made, DictKnown())
    assert missing.value.scope == "crm.objects.contacts.read"
    assert missing.value.exit_code == 2


def test_companies_that_may_not_be_seen_are_not_asked_for(made: MadeHubSpot) -> None:
    pages_of(made)
    made.answer(f"GET /crm/properties/{V}/companies", (403, {"status": "error", "message": "no"}))
    known = pulled(made, DictKnown())
    assert [(off.stream, off.scope) for off in known.off] == [("companies", "crm.objects.companies.read")]
    assert "associations" not in made.requests(LIST)[-1].args
    assert len(known.tables["contacts"]) == 6


def test_a_daily_sweep_finds_what_was_archived(made: MadeHubSpot) -> None:
    pages_of(made)
    known = pulled(made, DictKnown())
    known.cursors["contacts_archived"] = {"swept": known.cursors["contacts_archived"]["swept"] - 86_400_001}
    gone = {**contact(11), "archived": True, "archivedAt": "2026-11-21T10:00:00Z"}
    made.answer(LIST, lambda request: page([gone] if request.args.get("archived") == "true" else []))
    pulled(made, known)
    assert "11" not in known.tables["contacts"]
    assert known.removals[-1]["deleted_at"] == utc("2026-11-21T10:00:00")


def test_what_vanished_is_found_by_counting_and_followed_to_its_winner(made: MadeHubSpot) -> None:
    pages_of(made)
    known = pulled(made, DictKnown())
    left = [contact(n) for n in (9, 12, 13, 14)]

    def search(request: Request) -> Any:
        filters = request.get_json()["filterGroups"]
        since = int(filters[0]["filters"][0]["value"]) if filters else 0
        return {"total": 4, "results": left} if since == 0 else {"total": 0, "results": []}

    made.answer(SEARCH, search)
    made.answer(f"GET /crm/objects/{V}/contacts/10", (404, {"status": "error", "message": "resource not found"}))
    made.answer(f"GET /crm/objects/{V}/contacts/11", contact(12))
    made.answer(BATCH_READ, (207, page([], numErrors=2)))
    pulled(made, known)
    found = {row["object_id"]: row["merged_into"] for row in known.removals}
    assert (found["10"], found["11"]) == (None, "12")
    assert sorted(known.tables["contacts"], key=int) == ["9", "12", "13", "14"]
