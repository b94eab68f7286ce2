"""Members of lists."""

from pytest_httpserver import HTTPServer

from connector.platform import Page, PullRequest
from tests.connector.dict_known import DictKnown
from tests.connector.hubspot_made import MadeHubSpot, V, page, utc

MEMBERSHIPS = f"GET /crm/lists/{V}/42/memberships"


def membership(record: str) -> dict[str, str]:
    return {"recordId": record, "membershipTimestamp": "2026-10-01T10:00:00.500Z"}


def test_members_are_read_of_the_lists_that_are_asked_for_only(httpserver: HTTPServer) -> None:
    made, known = MadeHubSpot(httpserver), DictKnown()
    made.answer(MEMBERSHIPS, page([membership("1")], after="1"), page([membership("2")]))
    made.answer(f"GET /crm/lists/{V}/7/memberships", (404, {"status": "error", "message": "no such list"}))
    request = PullRequest(lists=("42", "7"))
    pages = [
        one for one in made.platform().pull(known, request) if isinstance(one, Page) and one.stream == "lists"
    ]
    assert [one.rows["list_members"].to_pylist() for one in pages] == [
        [{"list_id": "42", "contact_id": key, "added_at": utc("2026-10-01T10:00:00")} for key in "12"],
        [],
    ]
    assert [one.replaces for one in pages] == [{"list_members": ["42"]}, {"list_members": ["7"]}]
    # HubSpot does not know list 7.
    assert [one.cursor for one in pages] == [{"lists": ["42"]}, {"lists": ["42"]}]
    assert [dict(one.args).get("after") for one in made.requests(MEMBERSHIPS)] == [None, "1"]
    list(made.platform().pull(known, PullRequest()))
    assert len(made.requests(MEMBERSHIPS)) == 2
