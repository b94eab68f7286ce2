"""Companies and deals, whose stages and amounts need reading with care."""

import pytest
from pytest_httpserver import HTTPServer

from connector.platform import PullRequest
from connector.platforms.hubspot.words import milliseconds
from tests.connector.dict_known import DictKnown
from tests.connector.hubspot_made import MadeHubSpot, V, page, payload, utc

DEALS = f"GET /crm/objects/{V}/deals"


@pytest.fixture
def made(httpserver: HTTPServer) -> MadeHubSpot:
    return MadeHubSpot(httpserver)


def pulled(made: MadeHubSpot, known: DictKnown, history: bool = False) -> DictKnown:
    known.take(made.platform().pull(known, PullRequest(history=history)))
    return known


def test_won_follows_probability_and_hubspots_own_flag_never_the_stage_id(made: MadeHubSpot) -> None:
    made.answer(DEALS, payload("deals"))
    deals = pulled(made, DictKnown()).tables["deals"]
    assert {n: (d["is_closed"], d["is_won"]) for n, d in deals.items()} == {
        "501": (True, True),
        "502": (False, False),
        "503": (True, False),
    }
    assert deals["501"]["stage"] == "18800112"
    assert deals["501"]["closed_at"] == utc("2026-05-03")
    # an open deal's close date is a forecast
    assert deals["502"]["closed_at"] is None
    assert deals["501"]["modified_at"] == utc("2026-05-03T10:00:00.250")


def test_amounts_are_in_the_home_currency_or_unknown(made: MadeHubSpot) -> None:
    made.answer(DEALS, payload("deals"))
    deals = pulled(made, DictKnown()).tables["deals"]
    found = {n: (d["amount"], d["amount_original"], d["currency"]) for n, d in deals.items()}
    assert found == {"501": (1100.5, 1200.0, "USD"), "502": (None, 300.0, "JPY"), "503": (50.25, 50.25, "EUR")}


def test_a_deal_brings_its_contacts_once_and_its_primary_company(made: MadeHubSpot) -> None:
    made.answer(DEALS, payload("deals"))
    known = pulled(made, DictKnown())
    pairs = [(row["deal_id"], row["contact_id"]) for row in known.parts["deal_contacts"]]
    assert sorted(pairs) == [("501", "11"), ("501", "12"), ("503", "13")]
    assert known.tables["deals"]["501"]["company_id"] == "901"
    assert made.requests(DEALS)[0].args["associations"] == "contacts,companies"


def test_changed_deals_get_their_associations_in_batches(made: MadeHubSpot) -> None:
    made.answer(DEALS, payload("deals"))
    known = pulled(made, DictKnown())
    changed = [{**deal, "associations": None} for deal in payload("deals")["results"]]
    for deal in changed:
        deal["properties"]["hs_lastmodifieddate"] = "2026-12-01T10:00:00Z"
    made.answer(f"POST /crm/objects/{V}/deals/search", {"total": 3, "results": changed})
    buyer = [{"category": "USER_DEFINED", "typeId": 36, "label": "Decision maker"}]
    made.answer(
        f"POST /crm/associations/{V}/deals/contacts/batch/read",
        {"results": [{"from": {"id": "502"}, "to": [{"toObjectId": 77, "associationTypes": buyer}]}]},
    )
    pulled(made, known)
    rows = [(row["deal_id"], row["contact_id"], row["role"]) for row in known.parts["deal_contacts"]]
    assert rows == [("502", "77", "Decision maker")]
    body = made.bodies(f"POST /crm/objects/{V}/deals/search")[-1]
    assert body["filterGroups"][0]["filters"][0]["propertyName"] == "hs_lastmodifieddate"


def test_many_associations_of_one_record_are_paged(made: MadeHubSpot) -> None:
    made.answer(DEALS, payload("deals"))
    known = pulled(made, DictKnown())
    deal = payload("deals")["results"][1]
    deal["properties"]["hs_lastmodifieddate"] = "2026-12-01T10:00:00Z"
    made.answer(f"POST /crm/objects/{V}/deals/search", {"total": 1, "results": [deal]})
    path = f"POST /crm/associations/{V}/deals/contacts/batch/read"
    made.answer(
        path,
        {"results": [{"from": {"id": "502"}, "to": [{"toObjectId": 1}], "paging": {"next": {"after": "MQ=="}}}]},
        {"results": [{"from": {"id": "502"}, "to": [{"toObjectId": 2}]}]},
    )
    pulled(made, known)
    assert made.bodies(path) == [{"inputs": [{"id": "502"}]}, {"inputs": [{"id": "502", "after": "MQ=="}]}]
    assert [row["contact_id"] for row in known.parts["deal_contacts"] if row["deal_id"] == "502"] == ["1", "2"]


def test_companies_bring_their_facts_and_custom_properties(made: MadeHubSpot) -> None:
    middle = {
        "id": "901",
        "properties": {
            "name": "Firm",
            "domain": "Firm.Example",
            "industry": "COMPUTER_SOFTWARE",
            "numberofemployees": "120",
            "annualrevenue": "",
            "plan": "gold",
            "createdate": "2024-01-01T00:00:00Z",
            "hs_lastmodifieddate": "2026-01-01T00:00:00.750Z",
        },
    }
    others = [
        {
            "id": n,
            "properties": {"hs_lastmodifieddate": "2026-01-01T00:00:00Z"},
            "createdAt": "2024-05-01T00:00:00Z",
        }
        for n in ("900", "902")
    ]
    made.answer(f"GET /crm/objects/{V}/companies", page([others[0], middle], "902"), page([others[1]]))
    known = pulled(made, DictKnown())
    company = known.tables["companies"]["901"]
    assert (company["domain"], company["employees"], company["annual_revenue"]) == ("firm.example", 120.0, None)
    assert '"plan":"gold"' in company["properties"]
    assert known.tables["companies"]["902"]["created_at"] == utc("2024-05-01")
    names = {row["property"] for row in known.definitions if row["object"] == "company"}
    assert names == {"industry", "plan"}
    assert known.cursors["companies"]["since"] > milliseconds(utc("2026-01-01"))


def test_a_stopped_list_of_companies_goes_on(made: MadeHubSpot) -> None:
    known = DictKnown()
    known.cursors["companies"] = {"after": "902", "started": 1_790_000_000_000}
    made.answer(f"GET /crm/objects/{V}/companies", page([]))
    pulled(made, known)
    assert made.requests(f"GET /crm/objects/{V}/companies")[0].args["after"] == "902"
    assert known.cursors["companies"] == {"since": 1_790_000_000_000}


def test_deals_without_their_scope_are_off_and_the_rest_goes_on(made: MadeHubSpot) -> None:
    made.answer(f"GET /crm/pipelines/{V}/deals", (403, {"status": "error", "category": "MISSING_SCOPES"}))
    known = pulled(made, DictKnown())
    assert [(off.stream, off.scope) for off in known.off] == [("deals", "crm.objects.deals.read")]
    assert "calls" in known.cursors


def test_deal_histories_come_with_the_list_when_asked_for(made: MadeHubSpot) -> None:
    body = payload("deals")
    body["results"][1]["propertiesWithHistory"] = {
        "dealstage": [{"value": "closedlost", "timestamp": "2026-04-01T10:00:00Z", "sourceType": "CRM_UI"}]
    }
    made.answer(DEALS, body)
    known = pulled(made, DictKnown(), history=True)
    assert made.requests(DEALS)[0].args["limit"] == "50"
    assert [(r["object"], r["object_id"], r["value"]) for r in known.history] == [("deal", "502", "closedlost")]
