"""HubSpot's words to ours and back."""

import json
import re
from pathlib import Path
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifests
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.dialect import HubSpotDialect, error_codes, named_properties
from scoring import tables
from tests.connector.hubspot_made import utc


@pytest.mark.parametrize(
    ("given_type", "field_type", "options", "expected"),
    [
        ("bool", "booleancheckbox", (), "boolean"),
        ("enumeration", "booleancheckbox", ("true", "false"), "boolean"),
        ("enumeration", "booleancheckbox", ("yes", "no"), "category"),
        ("enumeration", "checkbox", ("a", "b"), "multi"),
        ("enumeration", "select", ("a", "b"), "category"),
        ("enumeration", "radio", (), "category"),
        ("date", "date", (), "date"),
        ("datetime", "date", (), "date"),
        ("number", "calculation_equation", (), "number"),
        ("string", "textarea", (), "text"),
        ("phone_number", "phonenumber", (), "text"),
        ("string", "file", (), None),
        ("object_coordinates", "text", (), None),
        ("json", "text", (), None),
    ],
)
def test_property_types(given_type: str, field_type: str, options: tuple[str, ...], expected: str | None) -> None:
    found = words.property_type(given_type, field_type, options)
    assert found == expected
    assert found is None or found in tables.PROPERTY_TYPES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-07-07T20:27:17.947Z", utc("2025-07-07T20:27:17.947")),
        ("2025-07-07T20:27:17Z", utc("2025-07-07T20:27:17")),
        ("2025-07-07T20:27:17+02:00", utc("2025-07-07T18:27:17")),
        ("2025-07-07", utc("2025-07-07")),
        ("1391798735000", utc("2014-02-07T18:45:35")),
        (1391798735123, utc("2014-02-07T18:45:35.123")),
        ("-86400000", utc("1969-12-31")),
        ("", None),
        (None, None),
        ("not a date", None),
        ("99999999999999999999", None),
    ],
)
def test_instants_in_all_their_forms(text: object, expected: object) -> None:
    assert words.instant(text) == expected


@given(st.datetimes(min_value=utc("1970-01-01"), max_value=utc("2100-01-01")))
def test_milliseconds_round_trip(moment: object) -> None:
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)  # type: ignore[attr-defined]
    assert words.instant(words.milliseconds(whole)) == whole


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("america_slash_new_york", "America/New_York"),
        ("america_slash_argentina_slash_buenos_aires", "America/Argentina/Buenos_Aires"),
        ("us_slash_eastern", "US/Eastern"),
        ("Europe/Berlin", "Europe/Berlin"),
        ("utc", "UTC"),
        ("america_slash_port_hyphen_au_hyphen_prince", "America/Port-au-Prince"),
        ("mars_slash_olympus", None),
        ("", None),
        (None, None),
    ],
)
def test_time_zones_are_those_this_machine_knows(name: object, expected: str | None) -> None:
    assert words.zone(name) == expected
    assert expected is None or expected in available_timezones()


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        ("number", "87", "87"),
        ("number", "0.1234", "0.1234"),
        ("boolean", "true", "true"),
        ("text", "4 visits; no reply", "4 visits; no reply"),
        ("category", "A", "A"),
        ("datetime", "2026-11-22T08:00:00Z", "1795334400000"),
        ("text", None, ""),
    ],
)
def test_our_values_go_and_come_back_equal(kind: str, ours: str | None, theirs: str) -> None:
    assert words.to_hubspot(kind, ours) == theirs
    assert words.from_hubspot(kind, theirs) == ours


@pytest.mark.parametrize(
    ("kind", "theirs", "ours"),
    [
        ("number", "87.0", "87"),
        ("number", "8.7E1", "87"),
        ("number", "1.0E-4", "0.0001"),
        ("datetime", "2026-11-22T08:00:00.000Z", "2026-11-22T08:00:00Z"),
        ("boolean", "TRUE", "true"),
        ("number", "odd", "odd"),
    ],
)
def test_other_spellings_of_a_value_compare_equal(kind: str, theirs: str, ours: str) -> None:
    assert words.from_hubspot(kind, theirs) == ours


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.one_of(st.none(), st.text(max_size=8)), max_size=6))
def test_equal_records_have_equal_texts(values: dict[str, str | None]) -> None:
    text = words.record_json(values)
    assert text == words.record_json(dict(reversed(values.items())))
    assert json.loads(text) == {name: value for name, value in values.items() if value}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "OPEN"}, "email_open"),
        ({"type": "STATUSCHANGE", "portalSubscriptionStatus": "UNSUBSCRIBED"}, "email_unsubscribe"),
        ({"type": "STATUSCHANGE", "subscriptions": [{"id": 1, "status": "UNSUBSCRIBED"}]}, "email_unsubscribe"),
        ({"type": "STATUSCHANGE", "subscriptions": [{"id": 1, "status": "SUBSCRIBED"}]}, None),
        ({"type": "SOMETHING_NEW"}, None),
        ({}, None),
    ],
)
def test_email_kinds(event: dict[str, object], expected: str | None) -> None:
    assert words.email_kind(event) == expected


def test_every_kind_is_one_of_ours() -> None:
    assert set(words.EMAIL_KINDS.values()) <= set(tables.KINDS)


def test_every_type_of_the_manifest_has_hubspots_words() -> None:
    assert {entry.type for entry in manifests.properties()} <= set(words.WRITTEN_TYPES)


def test_technical_properties_are_told_from_facts() -> None:
    left_out = ("hs_v2_date_entered_customer", "hs_all_owner_ids", "email", "hs_object_id", "hs_time_in_lead")
    assert all(words.is_technical(name) for name in left_out)
    assert not any(
        words.is_technical(name) for name in ("jobtitle", "hs_analytics_source", "hs_email_open", "city")
    )


def test_error_bodies_give_codes_and_names_but_never_text() -> None:
    body = {
        "status": "error",
        "message": 'Property values were not valid: [{"isValid":false,"message":"\\"a@x.example\\" is bad",'
        '"error":"INVALID_EMAIL","name":"email"}]',
        "category": "VALIDATION_ERROR",
        "errors": [{"message": "discount", "code": "INVALID_INTEGER", "context": {"propertyName": ["discount"]}}],
    }
    assert error_codes(body) == ["INVALID_INTEGER", "INVALID_EMAIL"]
    assert named_properties(body) == ["email", "discount"]
    assert "x.example" not in repr(HubSpotDialect().problem(body))


@pytest.mark.parametrize("body", [{}, [], "x", None, {"errors": "x"}, {"message": "[{broken"}, {"errors": [1]}])
def test_any_error_body_can_be_read(body: object) -> None:
    assert error_codes(body) == []
    assert HubSpotDialect().problem(body).code is None


def test_paths_come_from_one_version_except_two_old_ones() -> None:
    undated = {endpoint.path for endpoint in paths.ENDPOINTS if "{version}" not in endpoint.path}
    assert undated == {paths.EMAIL_EVENTS.path, paths.FORMS.path, paths.SUBMISSIONS.path}
    code = Path(paths.__file__).resolve().parents[1]
    dated = [file.name for file in code.rglob("*.py") if re.search(r'"/[^"]*20\d\d-\d\d', file.read_text("utf-8"))]
    assert dated == []


def test_budgets_that_endpoints_draw_on_stand_in_the_manifest() -> None:
    limits = manifests.read_toml("hubspot", "limits.toml")
    assert {name for endpoint in paths.ENDPOINTS for name in endpoint.budgets} == set(limits["budgets"])
