"""Salesforce's words: SOQL, record ids, CSV, errors, limits; and logging in."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connector.errors import BadCredentials, BadSetting, BudgetSpent, MissingScope
from connector.platforms.salesforce import Salesforce, words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.auth import Credentials, default_audience
from connector.platforms.salesforce.client.bulk import error_code
from connector.platforms.salesforce.client.dialect import RULES, SalesforceDialect
from connector.platforms.salesforce.client.paths import ENDPOINTS
from connector.platforms.salesforce.client.tabular import read_csv, write_csv
from connector.transport import Failure, should_retry
from manifests import properties
from tests.connector.made_time import MadeTime
from tests.connector.salesforce_made import CLIENT_ID, MadeSalesforce, payload

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


@pytest.mark.parametrize("bad", ["Name; DROP", "a.b", "", "1a", "a-b", "Ünter", "a b", "a'"])
def test_a_name_is_letters_digits_and_underscores(bad: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        soql.select([bad], "Lead")
    with pytest.raises(ValueError, match="no name"):
        soql.select(["Id"], bad)


@settings(deadline=None)
@given(st.text())
def test_a_literal_ends_where_it_should(text: str) -> None:
    """Read as Salesforce reads it: a backslash takes the next character along, a quote ends the literal."""
    written = soql.literal(text)
    assert written[0] == written[-1] == "'"
    place, inside = 0, written[1:-1]
    while place < len(inside):
        assert inside[place] != "'"
        if inside[place] == "\\":
            assert inside[place + 1] in "\\'\"nrtbf"
            place += 1
        place += 1


def test_a_query_is_put_together() -> None:
    query = soql.select(
        ["Id", "Score__c"],
        "Lead",
        ["IsConverted = true", soql.one_of("Id", ["a'b"])],
        order="CreatedDate DESC,Id",
        limit=5,
    )
    assert query == (
        "SELECT Id,Score__c FROM Lead WHERE IsConverted = true AND Id IN ('a\\'b') "
        "ORDER BY CreatedDate DESC,Id LIMIT 5"
    )


def test_short_ids_grow_to_eighteen_characters() -> None:
    assert soql.long_id("00D5A0000000001") == "00D5A0000000001UAA"
    assert soql.long_id("001A0000006Vm9u") == "001A0000006Vm9uIAC"
    assert soql.long_id("00D5A0000000001UAA") == "00D5A0000000001UAA"
    for bad in ("", "00Q", "00D5A000000000!", "00D5A0000000001UA"):
        with pytest.raises(ValueError, match="no Salesforce record id"):
            soql.long_id(bad)


def test_our_fields_are_called_as_the_manifest_says() -> None:
    for entry in properties():
        assert words.field_name(entry.name) == entry.salesforce
    assert words.field_name("acme_score_renewal") == "Acme_Score_Renewal__c"


def test_csv_from_salesforce_keeps_newlines_and_drops_nul_bytes() -> None:
    table = read_csv(b'"Id","Text","Empty"\n"00Q1","a ""b""\r\nc,d\x00",""\n"00Q2","","x"\n')
    assert table.to_pylist() == [
        {"Id": "00Q1", "Text": 'a "b"\r\nc,d', "Empty": None},
        {"Id": "00Q2", "Text": None, "Empty": "x"},
    ]
    assert read_csv(b'"Id"\n').num_rows == 0
    assert read_csv(b"").num_rows == 0


def test_a_value_longer_than_the_csv_modules_limit_is_read() -> None:
    long = "x" * 200_000
    assert read_csv(f'"Id","Text"\n"1","{long}"\n'.encode())["Text"].to_pylist() == [long]


def test_csv_to_salesforce_clears_by_its_word_for_null() -> None:
    rows = [{"Id": "1", "A": None, "B": 'two "lines"\nhere'}, {"Id": "2", "B": "x"}]
    assert write_csv(["Id", "A", "B"], rows) == b'Id,A,B\n1,#N/A,"two ""lines""\nhere"\n2,,x\n'


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\x00\r", codec="utf-8"), min_size=1), min_size=1))
def test_what_is_written_as_csv_reads_the_same(texts: list[str]) -> None:
    rows = [{"Id": str(number), "Text": text} for number, text in enumerate(texts)]
    assert read_csv(write_csv(["Id", "Text"], rows)).to_pylist() == rows


def test_values_are_the_same_texts_by_rest_and_by_bulk() -> None:
    pairs = [
        ("number", 45.0, "45"),
        ("number", 1e3, "1000.0"),
        ("boolean", True, "true"),
        ("date", "2026-11-20T10:11:12.000+0000", "2026-11-20T10:11:12.000Z"),
        ("date", "2026-11-20", "2026-11-20"),
        ("text", None, ""),
        ("multi", "a;b", "a;b"),
    ]
    for kind, rest, bulk in pairs:
        assert words.text_of(kind, rest) == words.text_of(kind, bulk)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("api-usage=10018/100000", 89_982),
        ("api-usage=10018/100000; api-bursts=1/750", 89_982),
        ("api-bursts=1/750; per-app-api-usage=1/2(appName=x); api-usage=5/100", 95),
        ("api-usage=many", None),
        ("", None),
    ],
)
def test_the_limit_header_is_read_in_every_shape(text: str, left: int | None) -> None:
    assert SalesforceDialect().quota({"Sforce-Limit-Info": text}).daily_remaining == left


def test_what_is_tried_again() -> None:
    dialect = SalesforceDialect()
    daily = dialect.problem(payload("error_403_daily"))
    assert daily.spent
    assert not should_retry(Failure("status", 403, daily.policy), RULES).again
    concurrent = dialect.problem([{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "ConcurrentRequests …"}])
    assert should_retry(Failure("status", 403, concurrent.policy), RULES).again
    session = dialect.problem(payload("error_401"))
    assert should_retry(Failure("status", 401, session.policy), RULES).again
    assert not should_retry(Failure("status", 401, session.policy, attempt=2), RULES).again
    assert not should_retry(Failure("status", 401, "INVALID_AUTH_HEADER"), RULES).again
    assert not should_retry(Failure("status", 400, "MALFORMED_QUERY"), RULES).again
    assert not should_retry(Failure("connection", repeatable=False), RULES).again


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access: 001xx:--", "UNABLE_TO_LOCK_ROW"),
        (
            "FIELD_CUSTOM_VALIDATION_EXCEPTION:Jane Roe is\nno good:Email --",
            "FIELD_CUSTOM_VALIDATION_EXCEPTION: Email",
        ),
        ("jane@firm.example is wrong", "refused"),
        ("STRING_TOO_LONG:x:jane@firm.example --", "STRING_TOO_LONG"),
    ],
)
def test_an_error_keeps_its_code_and_fields_and_no_text(text: str, code: str) -> None:
    assert error_code(text) == code


def test_every_endpoint_stands_once() -> None:
    assert len({(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}) == len(ENDPOINTS) > 15


def connected(server: HTTPServer, made_time: MadeTime, credentials: Credentials) -> Salesforce:
    return Salesforce(
        credentials, server.url_for(""), clock=made_time.clock, ticks=made_time.ticks, sleep=made_time.sleep
    )


def test_an_assertion_says_who_for_whom_and_lives_three_minutes_at_most(httpserver: HTTPServer) -> None:
    made = MadeSalesforce(httpserver)
    key = Credentials(CLIENT_ID, username="sync@acme.example", private_key=SecretStr(PEM))
    platform = connected(httpserver, made.time, key)
    assert platform.account().id == "00D5A0000000001UAA"
    (sent,) = made.requests("POST /services/oauth2/token")
    assert sent.query_string == b""
    assert "Authorization" not in sent.headers
    form = {name: values[0] for name, values in parse_qs(sent.get_data(as_text=True)).items()}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(
        form["assertion"], KEY.public_key(), algorithms=["RS256"], audience="https://login.salesforce.com",
        options={"verify_exp": False},
    )  # fmt: skip
    assert (claims["iss"], claims["sub"]) == (CLIENT_ID, "sync@acme.example")
    assert 0 < claims["exp"] - made.time.clock().timestamp() <= 180


def test_the_audience_follows_the_host() -> None:
    assert default_audience("https://acme.my.salesforce.com") == "https://login.salesforce.com"
    assert default_audience("https://acme--uat.sandbox.my.salesforce.com") == "https://test.salesforce.com"
    assert default_audience("https://test.salesforce.com") == "https://test.salesforce.com"


def test_without_a_key_the_secret_goes_into_the_body_and_nowhere_else(httpserver: HTTPServer) -> None:
    made = MadeSalesforce(httpserver)
    platform = connected(httpserver, made.time, Credentials(CLIENT_ID, SecretStr("s3cret-value")))
    platform.account()
    (sent,) = made.requests("POST /services/oauth2/token")
    assert parse_qs(sent.get_data(as_text=True))["client_secret"] == ["s3cret-value"]
    assert "s3cret-value" not in sent.url
    assert "s3cret-value" not in repr(platform.__dict__)


@pytest.mark.parametrize(
    ("body", "words_"),
    [
        ({"error": "invalid_grant", "error_description": "user hasn't approved this consumer"}, "pre-authorise"),
        ({"error": "invalid_grant", "error_description": "audience is invalid"}, "LEADLIGHT_SALESFORCE_AUDIENCE"),
        ({"error": "invalid_client_id"}, "LEADLIGHT_SALESFORCE_CLIENT_ID"),
        ({"error": "invalid_grant", "error_description": "request not supported on this domain"}, "My Domain"),
        ({"error": "invalid_grant"}, "LEADLIGHT_SALESFORCE_USERNAME"),
    ],
)
def test_a_refused_log_in_says_what_to_do_and_is_tried_once(
    httpserver: HTTPServer, body: dict[str, str], words_: str
) -> None:
    made = MadeSalesforce(httpserver)
    made.answer("POST /services/oauth2/token", (400, body))
    with pytest.raises(BadCredentials, match=words_) as caught:
        connected(httpserver, made.time, Credentials(CLIENT_ID, SecretStr("s3cret-value"))).account()
    assert "s3cret-value" not in str(caught.value)
    assert len(made.asked) == 1


def test_a_key_that_is_none_is_the_set_up(httpserver: HTTPServer) -> None:
    made = MadeSalesforce(httpserver)
    with pytest.raises(BadSetting, match="LEADLIGHT_SALESFORCE_PRIVATE_KEY"):
        connected(httpserver, made.time, Credentials(CLIENT_ID, private_key=SecretStr("no key"))).account()
    assert made.asked == []


def test_an_ended_session_is_renewed_once_for_all_threads_and_headers_stay(httpserver: HTTPServer) -> None:
    made = MadeSalesforce(httpserver)
    platform = made.platform()
    platform.read_ours(["00Q5A0000000001UAA"], [])
    good = {"token": "token-1"}

    def query(request: Request) -> Any:
        if request.headers["Authorization"] == "Bearer token-1" and good["token"] != "token-1":
            return 401, payload("error_401")
        return {"totalSize": 0, "done": True, "records": []}

    def log_in(_: Request) -> Any:
        time.sleep(0.05)
        return payload("token") | {"access_token": "token-2", "instance_url": httpserver.url_for("")}

    made.answer("GET /services/data/v68.0/query", query)
    made.answer("POST /services/oauth2/token", log_in)
    good["token"] = "token-2"
    before = len(made.requests("POST /services/oauth2/token"))
    with ThreadPoolExecutor(4) as pool:
        ids = [f"00Q5A000000000{number}" for number in range(4)]
        list(pool.map(lambda one: platform.read_ours([soql.long_id(one)], ["leadlight_score"]), ids))
    assert len(made.requests("POST /services/oauth2/token")) == before + 1
    renewed = [
        request
        for request in made.requests("GET /services/data/v68.0/query")
        if request.headers["Authorization"] == "Bearer token-2"
    ]
    assert len(renewed) == 4
    assert all(request.headers["Sforce-Call-Options"] == "client=leadlight" for request in renewed)


def test_a_session_that_is_refused_again_and_again_ends_the_run(httpserver: HTTPServer) -> None:
    made = MadeSalesforce(httpserver)
    platform = made.platform()
    made.answer("GET /services/data/v68.0/query", (401, payload("error_401")))
    with pytest.raises(BadCredentials, match="LEADLIGHT_SALESFORCE"):
        platform.read_ours(["00Q5A0000000001UAA"], ["leadlight_score"])
    assert len(made.requests("GET /services/data/v68.0/query")) == 2


def test_the_days_limit_stops_the_run_at_once(httpserver: HTTPServer) -> None:
    made = MadeSalesforce(httpserver)
    platform = made.platform()
    made.answer("GET /services/data/v68.0/query", (403, payload("error_403_daily")))
    with pytest.raises(BudgetSpent) as caught:
        platform.read_ours(["00Q5A0000000001UAA"], ["leadlight_score"])
    assert caught.value.resume_at is not None
    assert caught.value.resume_at > made.time.clock()
    assert len(made.requests("GET /services/data/v68.0/query")) == 1


def test_an_html_page_of_trouble_is_waited_out(httpserver: HTTPServer) -> None:
    made = MadeSalesforce(httpserver)
    platform = made.platform()
    answers = [Response("<html>down</html>", 503, content_type="text/html"), None]

    def query(_: Request) -> Any:
        found = answers.pop(0)
        return found or {"totalSize": 0, "done": True, "records": []}

    made.answer("GET /services/data/v68.0/query", query)
    assert platform.read_ours(["00Q5A0000000001UAA"], ["leadlight_score"]) == {"00Q5A0000000001UAA": None}


def test_what_a_user_may_not_see_is_named(httpserver: HTTPServer) -> None:
    made = MadeSalesforce(httpserver)
    for name in ("Lead", "Contact"):
        made.answer(f"GET /services/data/v68.0/sobjects/{name}/describe", (404, [{"errorCode": "NOT_FOUND"}]))
    with pytest.raises(MissingScope, match="read access to"):
        made.platform().install(properties(), dry_run=True)
