"""Names of owners."""

from pytest_httpserver import HTTPServer

from connector.platform import OWNERS, Page, PullRequest, StreamOff
from tests.connector.dict_known import DictKnown
from tests.connector.hubspot_made import MadeHubSpot, V, page

CALL = f"GET /crm/owners/{V}"


def owner(ident: str, first: str | None, last: str | None) -> dict[str, str | None]:
    return {"id": ident, "email": f"{ident}@firm.example", "firstName": first, "lastName": last}


def test_names_are_read_page_by_page_and_nothing_else_of_an_owner(httpserver: HTTPServer) -> None:
    made = MadeHubSpot(httpserver)
    made.answer(
        CALL,
        page([owner("7", "Ada", "Lind"), owner("8", "", None)], after="100"),
        page([owner("9", None, "Desk ")]),
    )
    [read] = [
        one
        for one in made.platform().pull(DictKnown(), PullRequest())
        if isinstance(one, Page) and one.stream == OWNERS
    ]
    assert (read.rows, read.cursor) == ({}, {"names": {"7": "Ada Lind", "9": "Desk"}})
    assert [dict(one.args) for one in made.requests(CALL)] == [{"limit": "100"}, {"limit": "100", "after": "100"}]


def test_without_the_scope_the_stream_is_off_and_the_rest_goes_on(httpserver: HTTPServer) -> None:
    made = MadeHubSpot(httpserver)
    made.answer(CALL, (403, {"status": "error", "category": "MISSING_SCOPES", "message": "no"}))
    streams = list(made.platform().pull(DictKnown(), PullRequest()))
    off = [one for one in streams if isinstance(one, StreamOff)]
    assert [(one.stream, one.scope) for one in off] == [("owners", "crm.objects.owners.read")]
    assert streams[-1] not in off
