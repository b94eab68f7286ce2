"""Installing our properties: created, restored, completed, and never overwritten."""

from dataclasses import replace
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request

import manifests
from connector.errors import MissingScope, PlatformRefused
from tests.connector.hubspot_made import MadeHubSpot, V, payload

PROPERTIES = f"GET /crm/properties/{V}/contacts"
CREATE = f"POST /crm/properties/{V}/contacts"
GROUP = f"POST /crm/properties/{V}/contacts/groups"
BY_NAME = {entry.name: entry for entry in manifests.properties()}
GRADE = BY_NAME["leadlight_grade"]
SCORE = BY_NAME["leadlight_score"]
EXISTS = {
    "status": "error",
    "message": "A property named 'leadlight_score' already exists.",
    "correlationId": "c",
    "category": "OBJECT_ALREADY_EXISTS",
    "subCategory": "Properties.PROPERTY_WITH_NAME_EXISTS",
}


@pytest.fixture
def made(httpserver: HTTPServer) -> MadeHubSpot:
    return MadeHubSpot(httpserver)


def present(made: MadeHubSpot, live: list[dict[str, Any]], archived: list[dict[str, Any]] | None = None) -> None:
    made.answer(
        PROPERTIES,
        lambda request: {"results": (archived or []) if request.args.get("archived") == "true" else live},
    )


def entry(name: str, kind: str, field_type: str, *options: str, defined: bool = False) -> dict[str, Any]:
    given = [{"label": f"is {value}", "value": value} for value in options]
    return {"name": name, "type": kind, "fieldType": field_type, "options": given, "hubspotDefined": defined}


def created(request: Request) -> Any:
    return 201, {**request.get_json(), "hubspotDefined": False}


def test_everything_is_created_where_nothing_was(made: MadeHubSpot) -> None:
    present(made, [])
    made.answer(GROUP, (201, {"name": "leadlight"}))
    made.answer(CREATE, created)
    plans = made.platform().install(manifests.properties(), dry_run=False)
    assert [plan.name for plan in plans] == list(BY_NAME)
    assert {plan.action for plan in plans} == {"create"}
    assert made.bodies(GROUP) == [{"name": "leadlight", "label": "Leadlight predictions", "displayOrder": -1}]
    bodies = {body["name"]: body for body in made.bodies(CREATE)}
    kinds = {name: (body["type"], body["fieldType"]) for name, body in bodies.items()}
    assert kinds["leadlight_scored_at"] == ("datetime", "date")
    assert kinds["leadlight_holdout"] == ("bool", "booleancheckbox")
    assert kinds["leadlight_score"] == ("number", "number")
    assert [option["value"] for option in bodies["leadlight_grade"]["options"]] == ["A", "B", "C", "D"]
    assert [option["value"] for option in bodies["leadlight_holdout"]["options"]] == ["true", "false"]


def test_a_dry_run_only_looks(made: MadeHubSpot) -> None:
    present(made, [], [entry("leadlight_grade", "enumeration", "select", "A")])
    plans = made.platform().install([SCORE, GRADE], dry_run=True)
    assert [(plan.name, plan.action) for plan in plans] == [
        ("leadlight_score", "create"),
        ("leadlight_grade", "restore"),
    ]
    assert {call.split()[0] for call in made.calls()} == {"GET"}


def test_all_there_costs_two_calls(made: MadeHubSpot) -> None:
    present(made, [entry("leadlight_score", "number", "number")])
    plans = made.platform().install([SCORE], dry_run=False)
    assert [plan.action for plan in plans] == ["none"]
    assert made.calls() == [f"GET /account-info/{V}/details", PROPERTIES]


def test_missing_options_are_added_and_none_removed(made: MadeHubSpot) -> None:
    present(made, [entry("leadlight_grade", "enumeration", "select", "A", "old")])
    patch = f"PATCH /crm/properties/{V}/contacts/leadlight_grade"
    made.answer(patch, {})
    plans = made.platform().install([GRADE], dry_run=False)
    assert [(plan.action, plan.detail) for plan in plans] == [("add_options", "B, C, D")]
    options = made.bodies(patch)[0]["options"]
    assert [option["value"] for option in options] == ["A", "old", "B", "C", "D"]
    assert options[0]["label"] == "is A"


def test_a_property_of_another_type_or_of_hubspots_own_is_a_conflict(made: MadeHubSpot) -> None:
    present(
        made,
        [
            entry("leadlight_score", "string", "text"),
            entry("leadlight_grade", "enumeration", "select", "A", defined=True),
            entry("leadlight_holdout", "enumeration", "booleancheckbox", "true", "false"),
        ],
    )
    plans = made.platform().install([SCORE, GRADE, BY_NAME["leadlight_holdout"]], dry_run=False)
    assert [plan.action for plan in plans] == ["conflict", "conflict", "none"]
    assert "string" in plans[0].detail
    assert {call.split()[0] for call in made.calls()} == {"GET"}


def test_creating_an_archived_name_brings_it_back_and_completes_it(made: MadeHubSpot) -> None:
    old = entry("leadlight_grade", "enumeration", "select", "A", "B")
    present(made, [], [old])
    made.answer(GROUP, (409, {"status": "error", "category": "OBJECT_ALREADY_EXISTS"}))
    made.answer(CREATE, (201, {**old, "createdAt": "2024-01-01T00:00:00Z"}))
    patch = f"PATCH /crm/properties/{V}/contacts/leadlight_grade"
    made.answer(patch, {})
    plans = made.platform().install([GRADE], dry_run=False)
    assert [(plan.action, plan.detail) for plan in plans] == [("restore", "C, D")]
    assert len(made.bodies(patch)) == 1


def test_an_archived_name_of_another_type_is_left_alone(made: MadeHubSpot) -> None:
    present(made, [], [entry("leadlight_score", "string", "text")])
    made.answer(GROUP, (201, {}))
    plans = made.platform().install([SCORE], dry_run=False)
    assert [plan.action for plan in plans] == ["conflict"]
    assert CREATE not in made.calls()


def test_someone_else_created_it_meanwhile(made: MadeHubSpot) -> None:
    live: list[dict[str, Any]] = []
    present(made, live)
    made.answer(GROUP, (201, {}))

    def beaten(request: Request) -> Any:
        live.append(entry("leadlight_score", "number", "number"))
        return 409, EXISTS

    made.answer(CREATE, beaten)
    assert [plan.action for plan in made.platform().install([SCORE], dry_run=False)] == ["none"]


def test_a_refusal_names_property_and_code(made: MadeHubSpot) -> None:
    present(made, [])
    made.answer(GROUP, (201, {}))
    made.answer(CREATE, (400, {"status": "error", "category": "PROPERTY_LIMIT", "correlationId": "corr-9"}))
    with pytest.raises(PlatformRefused, match=r"leadlight_score.*PROPERTY_LIMIT.*corr-9"):
        made.platform().install([SCORE], dry_run=False)


def test_the_scope_that_is_missing_is_named(made: MadeHubSpot) -> None:
    present(made, [])
    made.answer(GROUP, (403, {"status": "error"}))
    with pytest.raises(MissingScope) as missing:
        made.platform().install([SCORE], dry_run=False)
    assert missing.value.scope == "crm.schemas.contacts.write"


def test_another_prefix_is_just_another_name(made: MadeHubSpot) -> None:
    present(made, payload("contact_properties")["results"])
    made.answer(GROUP, (201, {}))
    made.answer(CREATE, created)
    plans = made.platform().install([replace(SCORE, name="acme_score")], dry_run=False)
    assert [(plan.name, plan.action) for plan in plans] == [("acme_score", "create")]
