"""Limits, tokens, scopes and trouble on purpose."""

import threading
from collections.abc import Callable

import pytest
import requests

from connector.errors import BadSetting
from connector.sandbox import Rate, Sandbox, parse_fault, parse_rate
from tests.connector.sandbox.hubspot.conftest import Api, Clock, assert_shape, payload

CONTACTS = "/crm/objects/2026-09/contacts"


def test_the_window_slides(start: Callable[..., Api], clock: Clock) -> None:
    api = start(rate=Rate(3, 10.0))
    for _ in range(2):
        assert api.get(CONTACTS).status_code == 200
    clock.advance(6)
    last = api.get(CONTACTS)
    headers = {name.lower(): value for name, value in last.headers.items()}
    assert headers["x-hubspot-ratelimit-max"] == "3"
    assert headers["x-hubspot-ratelimit-remaining"] == "0"
    assert headers["x-hubspot-ratelimit-interval-milliseconds"] == "10000"
    assert headers["x-hubspot-ratelimit-daily-remaining"] == "999997"
    refused = api.get(CONTACTS)
    assert refused.status_code == 429
    assert_shape(refused.json(), payload("error_429_ten_secondly"))
    assert refused.json()["policyName"] == "TEN_SECONDLY_ROLLING"
    assert "Retry-After" not in refused.headers
    clock.advance(4)
    assert [api.get(CONTACTS).status_code for _ in range(3)] == [200, 200, 429]


def test_the_day_ends_at_midnight_of_the_account(start: Callable[..., Api], clock: Clock) -> None:
    api = start(daily=2)
    assert [api.get(CONTACTS).status_code for _ in range(2)] == [200, 200]
    refused = api.post(f"{CONTACTS}/search", {})
    assert refused.status_code == 429
    assert_shape(refused.json(), payload("error_429_daily"))
    # 11:06 UTC is 06:06 in the account's US/Eastern: its day ends 17 h 54 min later.
    clock.advance(17.8 * 3600)
    assert api.get(CONTACTS).status_code == 429
    clock.advance(0.2 * 3600)
    assert api.get(CONTACTS).status_code == 200


def test_associations_have_a_window_of_their_own(start: Callable[..., Api]) -> None:
    api = start()
    answer = api.post("/crm/v4/associations/contacts/deals/batch/read", {"inputs": [{"id": "101"}]})
    assert answer.headers["X-HubSpot-RateLimit-Max"] == "150"
    assert api.get(CONTACTS).headers["X-HubSpot-RateLimit-Remaining"] == "189"


@pytest.mark.parametrize("token", [None, "Bearer wrong", "pat-na1"])
def test_a_wrong_token_is_a_401(api: Api, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": token}
    answer = requests.get(api.box.base_url + CONTACTS, headers=headers, timeout=10)
    assert answer.status_code == 401
    literal = payload("error_401")
    assert answer.json() | {"correlationId": literal["correlationId"]} == literal
    assert answer.headers["X-HubSpot-Correlation-Id"] == answer.json()["correlationId"]


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("forms", "/marketing/v3/forms", 403),
        ("content", "/email/public/v1/events", 403),
        ("crm.objects.contacts.read", CONTACTS, 403),
        ("crm.objects.contacts.read", "/crm/objects/2026-09/calls", 403),
        ("crm.objects.contacts.read", "/crm/properties/2026-09/contacts", 200),
        ("crm.objects.deals.read", "/crm/objects/2026-09/deals", 403),
        ("crm.objects.deals.read", "/crm/pipelines/2026-09/deals", 200),
        ("crm.objects.deals.read", CONTACTS, 200),
        ("sales-email-read", "/crm/objects/2026-09/emails", 403),
        ("sales-email-read", "/crm/objects/2026-09/calls", 200),
        ("crm.objects.owners.read", "/crm/owners/2026-09", 403),
    ],
)
def test_a_missing_scope_is_a_403_where_it_is_needed(
    start: Callable[..., Api], scope: str, path: str, status: int
) -> None:
    answer = start(faults=(("missing-scope", scope),)).get(path)
    assert answer.status_code == status
    if status == 403:
        assert_shape(answer.json(), payload("error_403"))
        assert scope in answer.json()["errors"][0]["context"]["requiredGranularScopes"]


def test_a_missing_write_scope_leaves_reading_alone(start: Callable[..., Api]) -> None:
    api = start(faults=(("missing-scope", "crm.objects.contacts.write"),))
    assert api.get(CONTACTS).status_code == 200
    assert api.post(f"{CONTACTS}/batch/update", {"inputs": []}).status_code == 403


@pytest.mark.parametrize("name", ["500", "502", "503", "504", "521", "523", "524"])
def test_trouble_at_the_edge_is_html(start: Callable[..., Api], name: str) -> None:
    answer = start(faults=((name, "1"),)).get(CONTACTS)
    assert answer.status_code == int(name)
    assert answer.headers["content-type"].startswith("text/html")


def test_locked_and_moving_accounts(start: Callable[..., Api]) -> None:
    locked = start(faults=(("423", "1.0"),)).get(CONTACTS)
    assert (locked.status_code, "Retry-After" in locked.headers) == (423, False)
    moving = start(faults=(("477", "1"),)).get(CONTACTS)
    assert (moving.status_code, moving.headers["Retry-After"]) == (477, "2")


@pytest.mark.parametrize("name", ["reset", "truncate"])
def test_connections_break(start: Callable[..., Api], name: str) -> None:
    api = start(faults=((name, "1"),))
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.get(CONTACTS, limit=5)


def test_a_write_may_be_carried_out_although_the_edge_gave_up(start: Callable[..., Api]) -> None:
    api = start(faults=(("commit-then-timeout", "1"),))
    assert api.patch(f"{CONTACTS}/101", {"properties": {"seats": "9"}}).status_code == 504
    assert api.portal.contacts.records[101].properties["seats"] == "9"


def test_a_reset_request_was_not_carried_out(start: Callable[..., Api]) -> None:
    api = start(faults=(("reset", "1"),))
    with pytest.raises(requests.ConnectionError):
        api.patch(f"{CONTACTS}/101", {"properties": {"seats": "9"}})
    assert api.portal.contacts.records[101].properties["seats"] == "3"


def test_chances_hold_over_many_requests(start: Callable[..., Api]) -> None:
    api = start(faults=(("503", "0.3"),), rate=Rate(1_000, 10.0))
    bad = sum(api.get(CONTACTS, limit=1).status_code == 503 for _ in range(200))
    assert 30 < bad < 90


def test_the_nth_request_is_carried_out_and_never_answered(start: Callable[..., Api]) -> None:
    api = start(faults=(("hang-after", "3"),))
    api.session.get(f"{api.box.base_url}/_sandbox/state", timeout=10)
    assert [api.get(CONTACTS).status_code for _ in range(2)] == [200, 200]
    done = threading.Event()

    def third() -> None:
        with pytest.raises(requests.ReadTimeout):
            requests.patch(
                f"{api.box.base_url}{CONTACTS}/101",
                json={"properties": {"seats": "9"}},
                headers=dict(api.session.headers),
                timeout=0.5,
            )
        done.set()

    thread = threading.Thread(target=third)
    thread.start()
    thread.join(10)
    assert done.is_set()
    assert api.portal.contacts.records[101].properties["seats"] == "9"
    assert api.get(CONTACTS).status_code == 200


def test_calls_are_counted_by_template(api: Api) -> None:
    api.get(f"{CONTACTS}/101")
    api.get(f"{CONTACTS}/999")
    api.post("/crm/v3/objects/0-1/search", {})
    api.get("/crm/properties/2026-09/contacts/email")
    api.post("/_sandbox/edit", {"contact_id": "101", "properties": {"plan": "iron"}})
    state = api.get("/_sandbox/state").json()
    assert state["calls"] == {
        "GET /crm/objects/2026-09/contacts/{id}": 2,
        "POST /crm/v3/objects/contacts/search": 1,
        "GET /crm/properties/2026-09/contacts/{name}": 1,
    }
    assert sorted(state["contacts"]) == ["101", "102", "103", "104", "105"]
    assert (state["contacts"]["101"]["plan"], state["contacts"]["102"]["seats"]) == ("iron", "1.5")


def test_oauth_tokens_live_for_half_an_hour(api: Api, box: Sandbox) -> None:
    form = {"grant_type": "refresh_token", "client_id": box.client_id, "client_secret": box.client_secret}
    url = f"{api.box.base_url}/oauth/2026-09/token"
    good = requests.post(url, data={**form, "refresh_token": box.refresh_token}, timeout=10)
    assert_shape(good.json(), payload("oauth_token"))
    assert good.json()["access_token"] == box.token
    assert good.json()["expires_in"] == 1_800
    bad = requests.post(url, data={**form, "refresh_token": "na1-old"}, timeout=10)
    assert bad.status_code == 400
    assert_shape(bad.json(), payload("oauth_bad_refresh_token"))
    assert bad.json()["status"] == "BAD_REFRESH_TOKEN"


def test_the_account_tells_its_zone_and_currency(api: Api) -> None:
    details = api.get("/account-info/v3/details").json()
    assert (details["timeZone"], details["utcOffset"]) == ("US/Eastern", "-05:00")
    assert (details["companyCurrency"], details["portalId"]) == ("USD", 62_515)


@pytest.mark.parametrize("text", ["190", "190/10", "0/10s", "190/0s", "a/10s"])
def test_wrong_rates_are_named(text: str) -> None:
    with pytest.raises(BadSetting, match="190/10s"):
        parse_rate(text)


@pytest.mark.parametrize(
    "text", ["503", "503=2", "503=x", "999=0.1", "hang-after=0", "plan=huge", "missing-scope="]
)
def test_wrong_faults_are_named(text: str) -> None:
    with pytest.raises(BadSetting, match="--fault"):
        parse_fault(text)


def test_rates_and_faults_are_read() -> None:
    assert parse_rate("190/10s") == Rate(190, 10.0)
    assert parse_fault("503=.02") == ("503", ".02")
    assert parse_fault("missing-scope=crm.objects.deals.read") == ("missing-scope", "crm.objects.deals.read")
