"""HubSpot's webhooks: signatures against the documented vectors and spoilt in every part; events as hints."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import BadPayload, Unverified
from connector.platform import Received
from connector.platforms.hubspot.webhooks import HubSpotReceiver, signature_v3

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
BODY = b"{'example_field':'example_value'}"
STAMP = 1693657560000
#: Timestamp and signature as the documentation prints them, for POST https://www.example.com/webhook_uri.
VECTORS = [
    (STAMP, "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
    (1700000300000, "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="),
]


def at(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp / 1000, UTC).replace(tzinfo=None)


def received(stamp: int = STAMP, signature: str = VECTORS[0][1], **changed: Any) -> Received:
    headers = {
        "host": "www.example.com",
        "x-hubspot-signature-v3": signature,
        "x-hubspot-request-timestamp": str(stamp),
    }
    return replace(Received("POST", "/webhook_uri", headers, BODY, at(stamp)), **changed)


def with_header(name: str, value: str | None) -> Received:
    plain = received()
    headers = {key: text for key, text in plain.headers.items() if key != name}
    return replace(plain, headers=headers if value is None else {**headers, name: value})


@pytest.mark.parametrize(("stamp", "signature"), VECTORS)
def test_the_documented_signatures_are_accepted(stamp: int, signature: str) -> None:
    HubSpotReceiver([SECRET]).verify(received(stamp, signature))


@pytest.mark.parametrize(
    "spoilt",
    [
        with_header("x-hubspot-signature-v3", None),
        with_header("x-hubspot-signature-v3", VECTORS[1][1]),
        with_header("x-hubspot-signature-v3", "ä" + VECTORS[0][1]),
        with_header("x-hubspot-request-timestamp", None),
        with_header("x-hubspot-request-timestamp", str(STAMP + 1)),
        with_header("x-hubspot-request-timestamp", "soon"),
        with_header("x-hubspot-request-timestamp", "-1"),
        with_header("x-hubspot-request-timestamp", "9" * 400),
        with_header("host", "www.example.org"),
        with_header("host", None),
        received(method="PUT"),
        received(target="/webhook_uri?x=1"),
        received(target="/webhook"),
        received(body=BODY + b" "),
        received(body=json.dumps({"example_field": "example_value"}).encode()),
        received(received_at=at(STAMP) + timedelta(minutes=5, seconds=1)),
        received(received_at=at(STAMP) - timedelta(seconds=61)),
    ],
)
def test_whatever_is_spoilt_is_refused(spoilt: Received) -> None:
    with pytest.raises(Unverified):
        HubSpotReceiver([SECRET]).verify(spoilt)


def test_five_minutes_are_not_too_old_and_a_minute_ahead_is_a_clock_that_goes_wrong() -> None:
    HubSpotReceiver([SECRET]).verify(received(received_at=at(STAMP) + timedelta(minutes=5)))
    HubSpotReceiver([SECRET]).verify(received(received_at=at(STAMP) - timedelta(seconds=59)))


def test_while_secrets_change_either_is_accepted_and_a_third_is_not() -> None:
    HubSpotReceiver(["new", SECRET]).verify(received())
    with pytest.raises(Unverified):
        HubSpotReceiver(["new", "newer"]).verify(received())


def test_behind_a_proxy_the_public_url_is_what_was_signed() -> None:
    inside = received(target="/webhook_uri", headers={**received().headers, "host": "10.0.0.7:8000"})
    for public in ("https://www.example.com", "https://www.example.com/webhook_uri"):
        HubSpotReceiver([SECRET], public_url=public).verify(inside)
    with pytest.raises(Unverified):
        HubSpotReceiver([SECRET], public_url="https://www.example.org").verify(inside)


def test_some_characters_of_the_uri_are_decoded_before_it_is_signed_and_others_not() -> None:
    plain = "https://www.example.com/hook?when=a:b,c&who=x%20y"
    signature = signature_v3(SECRET.encode(), "POST", plain, BODY, str(STAMP))
    HubSpotReceiver([SECRET]).verify(received(signature=signature, target="/hook?when=a%3Ab%2Cc&who=x%20y"))
    HubSpotReceiver([SECRET]).verify(received(signature=signature, target="/hook?when=a%3ab%2cc&who=x%20y"))
    with pytest.raises(Unverified):
        HubSpotReceiver([SECRET]).verify(received(signature=signature, target="/hook?when=a:b,c&who=x y"))


def test_signatures_that_can_be_replayed_count_only_when_switched_on() -> None:
    uri = "https://www.example.com/webhook_uri"
    old = {
        "v1": hashlib.sha256(SECRET.encode() + BODY).hexdigest(),
        "v2": hashlib.sha256(SECRET.encode() + b"POST" + uri.encode() + BODY).hexdigest(),
    }
    for version, signature in old.items():
        headers = {
            "host": "www.example.com",
            "x-hubspot-signature": signature,
            "x-hubspot-signature-version": version,
        }
        with pytest.raises(Unverified):
            HubSpotReceiver([SECRET]).verify(received(headers=headers))
        HubSpotReceiver([SECRET], versions=("v1", "v2", "v3")).verify(received(headers=headers))
        with pytest.raises(Unverified):
            HubSpotReceiver([SECRET], versions=("v1", "v2", "v3")).verify(received(headers=headers, body=b"[]"))


EVENT: dict[str, Any] = {
    "eventId": 3816279340,
    "subscriptionId": 25,
    "portalId": 33,
    "appId": 1160452,
    "occurredAt": 1462216307945,
    "subscriptionType": "contact.propertyChange",
    "attemptNumber": 0,
    "objectId": 1246965,
    "propertyName": "lifecyclestage",
    "propertyValue": "lead",
    "changeSource": "CRM_UI",
    "sourceId": "userId:9586504",
}


def hints(*events: dict[str, Any]) -> list[tuple[str, str, str, tuple[str, ...]]]:
    found = HubSpotReceiver([SECRET]).hints(json.dumps(events).encode())
    return [(one.object, one.object_id, one.kind, one.others) for one in found]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ("contact", "1246965", "changed", ())),
        ({"subscriptionType": None, "eventType": "contact.creation"}, ("contact", "1246965", "created", ())),
        ({"subscriptionType": "contact.deletion", "objectId": "7"}, ("contact", "7", "deleted", ())),
        ({"subscriptionType": "contact.restore"}, ("contact", "1246965", "restored", ())),
        ({"subscriptionType": "contact.privacyDeletion"}, ("contact", "1246965", "erased", ())),
        (
            {"subscriptionType": "object.propertyChange", "objectTypeId": "0-1"},
            ("contact", "1246965", "changed", ()),
        ),
        ({"subscriptionType": "object.creation", "objectTypeId": "0-3"}, ("deal", "1246965", "created", ())),
        ({"subscriptionType": "company.propertyChange"}, ("company", "1246965", "changed", ())),
        (
            {"subscriptionType": "contact.merge", "primaryObjectId": 1, "mergedObjectIds": [2], "newObjectId": 3},
            ("contact", "3", "merged", ("1", "2")),
        ),
        (
            {"subscriptionType": "contact.merge", "primaryObjectId": 1, "mergedObjectIds": [2, 4]},
            ("contact", "1", "merged", ("2", "4")),
        ),
        (
            {
                "subscriptionType": "deal.associationChange",
                "associationType": "DEAL_TO_CONTACT",
                "fromObjectId": 5,
                "toObjectId": 6,
            },
            ("deal", "5", "associated", ("6",)),
        ),
    ],
)
def test_each_kind_of_event_is_read(changed: dict[str, Any], said: tuple[str, str, str, tuple[str, ...]]) -> None:
    event = {key: value for key, value in {**EVENT, **changed}.items() if value is not None}
    other = {**EVENT, "objectId": 9, "eventId": 1}
    assert hints(other, event, other)[1] == said


def test_our_own_writes_and_what_we_have_no_use_for_are_no_hints() -> None:
    ours = {**EVENT, "propertyName": "leadlight_score"}
    by_our_app = {**EVENT, "sourceId": "1160452"}
    unknown = {**EVENT, "subscriptionType": "ticket.creation"}
    assert hints(ours, by_our_app, unknown, EVENT) == [("contact", "1246965", "changed", ())]


def test_a_second_delivery_has_the_same_key_and_another_event_another() -> None:
    receiver = HubSpotReceiver([SECRET])

    def key(**changed: Any) -> str:
        [hint] = receiver.hints(json.dumps([{**EVENT, **changed}]).encode())
        return hint.key

    assert key() == key(attemptNumber=3)
    keys = [key(), key(occurredAt=1), key(objectId=2), key(propertyName="email"), key(portalId=34), key(eventId=7)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b'{"a": [', b"[" * 5000, b'[{"subscriptionType": 7}]', b"\xff"]
)
def test_what_is_no_list_of_events_is_named(body: bytes) -> None:
    with pytest.raises(BadPayload):
        HubSpotReceiver([SECRET]).hints(body)


def test_the_app_deletes_nobody_so_that_a_deletion_in_its_name_is_somebody_elses() -> None:
    ours = {**EVENT, "appId": 7, "sourceId": "7", "changeSource": "INTEGRATION"}
    receiver = HubSpotReceiver([SECRET])
    assert receiver.hints(json.dumps([ours]).encode()) == []
    kinds = ["deletion", "privacyDeletion", "creation"]
    told = [{**ours, "subscriptionType": f"contact.{kind}"} for kind in kinds]
    found = receiver.hints(json.dumps(told).encode())
    assert [hint.kind for hint in found] == ["deleted", "erased", "created"]


def test_half_a_character_in_a_property_name_is_no_trouble_of_ours() -> None:
    text = json.dumps([{**EVENT, "propertyName": "x"}]).replace('"x"', '"\\ud800"')
    assert len(HubSpotReceiver([SECRET]).hints(text.encode())) == 1


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*EVENT, "primaryObjectId", "mergedObjectIds", "fromObjectId", "toObjectId"]),
            st.one_of(
                st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.lists(st.integers(), max_size=3)
            ),
        ).map(lambda changed: {**EVENT, **changed}),
        max_size=3,
    )
)
def test_whatever_an_event_holds_it_is_read_or_named(events: list[dict[str, Any]]) -> None:
    try:
        found = HubSpotReceiver([SECRET]).hints(json.dumps(events).encode())
    except BadPayload:
        return
    assert all(hint.object_id.isdigit() for hint in found)
