"""The HubSpot project: HubSpot's shapes, exactly the scopes in use, subscriptions that follow the models."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import SecretStr

from connector.errors import BadSetting
from connector.jobs.manifest import Order, manifest
from connector.jobs.manifest.hubspot import PATH, WEBHOOKS, compare, deployed, subscriptions, target_url
from connector.jobs.manifest.learnt import Learnt
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api
from connector.platforms.hubspot.client.paths import ENDPOINTS, Endpoint
from connector.platforms.hubspot.webhooks import HubSpotReceiver
from connector.settings import Settings
from manifests import properties
from tests.connector.inside import command, sandbox
from tests.connector.projects_made import EMAIL, KNOWN, SERVICE, made
from tests.made_up import write_leads

ROOT = Path(__file__).parents[2]
TEXT, TEXTS = {"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}}


def shape(properties: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object with exactly these keys, and perhaps the optional ones."""
    every = {**properties, **(optional or {})}
    return {"type": "object", "properties": every, "required": list(properties), "additionalProperties": False}


def component(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    uid = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}
    return shape({"uid": uid, "type": {"const": kind}, "config": config})


_ENTRY = shape(
    {"subscriptionType": TEXT, "active": {"type": "boolean"}}, {"objectType": TEXT, "propertyName": TEXT}
)
_ENTRIES = {"type": "array", "items": _ENTRY}
_AUTH = {
    "type": {"const": "static"},
    "requiredScopes": TEXTS,
    "optionalScopes": TEXTS,
    "conditionallyRequiredScopes": TEXTS,
}
_APP = shape(
    {
        "name": TEXT,
        "description": TEXT,
        "distribution": {"const": "private"},
        "auth": shape(_AUTH),
        "permittedUrls": shape({"fetch": TEXTS, "iframe": TEXTS, "img": TEXTS}),
    },
    {"support": shape({"supportEmail": TEXT})},
)
_HTTPS = {"type": "string", "pattern": "^https://"}
_TARGET = shape({"targetUrl": _HTTPS, "maxConcurrentRequests": {"type": "integer", "minimum": 6}})
_LISTS = shape({"crmObjects": _ENTRIES, "legacyCrmObjects": _ENTRIES, "hubEvents": _ENTRIES})
#: HubSpot's shapes of each file, as its project templates have them.
SHAPES = {
    "hsproject.json": shape(
        {"name": TEXT, "srcDir": {"const": "src"}, "platformVersion": {"enum": ["2025.2", "2026.03", "2026.09"]}}
    ),
    "src/app/app-hsmeta.json": component("app", _APP),
    "src/app/cards/score-card-hsmeta.json": component(
        "card",
        shape(
            {
                "name": TEXT,
                "description": TEXT,
                "location": {"const": "crm.record.tab"},
                "entrypoint": TEXT,
                "objectTypes": {"const": ["contacts"]},
            }
        ),
    ),
    "src/app/settings/settings-page-hsmeta.json": component("settings", shape({"entrypoint": TEXT})),
    WEBHOOKS: component("webhooks", shape({"settings": _TARGET, "subscriptions": _LISTS})),
}
#: Every kind of subscription that HubSpot has for contacts, companies and deals.
KINDS = re.compile(
    r"(contact|company|deal|object)\.(creation|deletion|merge|propertyChange|restore|associationChange)"
    r"|contact\.privacyDeletion"
)


def test_every_file_has_hubspots_shape(tmp_path: Path) -> None:
    files = made("hubspot", tmp_path).files
    assert set(SHAPES) == {path for path in files if path.endswith(("hsmeta.json", "hsproject.json"))}
    for path, schema in SHAPES.items():
        jsonschema.validate(json.loads(files[path]), schema)
    uids = [json.loads(files[path])["uid"] for path in SHAPES if path != "hsproject.json"]
    assert len(set(uids)) == len(uids)


def test_entry_points_and_their_packages_are_there(tmp_path: Path) -> None:
    files = made("hubspot", tmp_path).files
    for path in SHAPES:
        entry = json.loads(files[path]).get("config", {}).get("entrypoint")
        if entry is not None:
            assert f"src{entry}" in files
            package = json.loads(files[f"src{entry.rpartition('/')[0]}/package.json"])
            assert set(package["dependencies"]) == {"@hubspot/ui-extensions", "react"}


def test_every_scope_is_used_and_every_call_is_covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[str, set[Endpoint]] = {}
    call = Api.call

    def recorded(api: Api, endpoint: Endpoint, object_name: str = "", **more: Any) -> Any:
        used.setdefault(paths.scope_of(endpoint, object_name), set()).add(endpoint)
        return call(api, endpoint, object_name, **more)

    monkeypatch.setattr(Api, "call", recorded)
    leads = write_leads(tmp_path, 12)
    with sandbox(leads) as account:
        environment = account.environment(tmp_path / "state")
        for arguments in (["doctor"], ["install"], ["pull"]):
            command([*arguments, "--json"], environment, tmp_path)
    # These need what a sandbox of a few leads has not: lists that filters name, values to write, or to take away.
    for endpoint in set(ENDPOINTS) - set().union(*used.values()):
        used.setdefault(paths.scope_of(endpoint, "contacts"), set()).add(endpoint)
    auth = json.loads(made("hubspot", tmp_path).files["src/app/app-hsmeta.json"])["config"]["auth"]
    asked = [*auth["requiredScopes"], *auth["optionalScopes"]]
    assert len(asked) == len(set(asked))
    assert set(asked) == set(used) - {"Marketing Hub Enterprise"}


def test_every_endpoint_that_has_a_scope_is_called_somewhere() -> None:
    """Else a call that was given up would keep its scope asked for."""
    named = {name for name, value in vars(paths).items() if isinstance(value, Endpoint)}
    assert {vars(paths)[name] for name in named} == set(ENDPOINTS)
    folder = ROOT / "connector" / "platforms" / "hubspot"
    code = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    assert set(re.findall(r"\bpaths\.([A-Z_]+)\b", code)) == named
    # Nothing goes round `Api.call`, which the test above listens to.
    assert {path.name for path in folder.rglob("*.py") if ".send(" in path.read_text()} == {"api.py"}


def test_optional_scopes_are_those_that_the_readme_calls_optional(tmp_path: Path) -> None:
    auth = json.loads(made("hubspot", tmp_path).files["src/app/app-hsmeta.json"])["config"]["auth"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    optional: set[str] = set()
    for row in re.findall(r"^\| `(?:GET|POST|PATCH|DELETE) .*\| ([^|]*) \|$", readme, re.MULTILINE):
        for part in re.split(r"(?<=\*optional\*),|; ", row):
            if "*optional*" in part:
                optional |= set(re.findall(r"`([^`]+)`", part))
    optional -= set(auth["requiredScopes"])
    assert set(auth["optionalScopes"]) == optional


def test_the_card_asks_for_our_properties_and_no_address(tmp_path: Path) -> None:
    files = made("hubspot", tmp_path).files
    known = json.loads(files["src/app/cards/settings.js"].partition("= ")[2].rstrip(";\n"))
    assert list(known["fields"].values()) == [entry.name for entry in properties()]
    assert known["staleDays"] == 90
    assert known["segments"]["s3"] == {
        "name": "Frequent website visitors",
        "description": "Visits often, clicks little.",
    }
    assert json.loads(files["src/app/app-hsmeta.json"])["config"]["permittedUrls"]["fetch"] == []
    for path, text in files.items():
        assert "hubspot.fetch" not in text, path


@pytest.mark.parametrize("platform", ["hubspot", "salesforce"])
def test_nothing_secret_and_nothing_of_this_machine_is_in_it(tmp_path: Path, platform: str) -> None:
    secret = SecretStr("0-secret-0")
    names = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    given = dict.fromkeys(names, secret) | {
        "alerts_webhook_url": SecretStr("https://hooks.example.com/0-secret-0")
    }
    settings = Settings(public_url=SERVICE, state_dir=tmp_path / "state", **given)  # type: ignore[arg-type]
    manifest(settings, platform, Order(tmp_path / "app", contact_email=EMAIL))
    files = [path for path in (tmp_path / "app").rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        text = path.read_text(encoding="utf-8")
        for never in ("0-secret-0", str(tmp_path), str(ROOT)):
            assert never not in text, (path, never)


def test_fields_of_the_card_are_those_of_the_manifest() -> None:
    logic = (ROOT / "manifests" / "cards" / "prediction.js").read_text(encoding="utf-8")
    listed = re.search(r"FIELDS = .*?\(\[(.*?)\]\)", logic, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed[1])) == {
        entry.name.removeprefix("leadlight_") for entry in properties()
    }


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("leadlight_send_weekday", r"WEEKDAYS = \[(.*?)\]"),
        ("leadlight_send_source", r"SOURCES = \{(.*?)\};"),
        ("leadlight_confidence", r"CONFIDENCE = \{(.*?)\};"),
    ],
)
def test_the_card_has_words_for_every_option(name: str, table: str) -> None:
    logic = (ROOT / "manifests" / "cards" / "prediction.js").read_text(encoding="utf-8")
    found = re.search(table, logic, re.DOTALL)
    assert found is not None
    words = re.findall(r"^\s*(\w+):|'(\w+)'(?=,|$)", found[1], re.MULTILINE)
    entry = next(entry for entry in properties() if entry.name == name)
    assert {one or other for one, other in words} == {value for value, _ in entry.options}


def test_another_prefix_is_another_name_on_the_card(tmp_path: Path) -> None:
    settings = made("hubspot", tmp_path, prefix="acme").files["src/app/cards/settings.js"]
    assert '"score": "acme_score"' in settings
    assert "leadlight_score" not in settings.replace(KNOWN.models[0], "")


def test_subscriptions_are_the_properties_that_the_models_use(tmp_path: Path) -> None:
    lists = json.loads(made("hubspot", tmp_path).files[WEBHOOKS])["config"]["subscriptions"]
    changes = {
        (entry["objectType"], entry["propertyName"])
        for entry in lists["crmObjects"]
        if entry["subscriptionType"] == "object.propertyChange"
    }
    assert changes == {
        ("contact", "industry"),
        ("contact", "lead_source"),
        ("company", "numberofemployees"),
        *(("deal", name) for name in ("amount", "closedate", "dealstage", "pipeline")),
    }
    assert all(entry["active"] for entries in lists.values() for entry in entries)


def test_a_contacts_own_property_is_not_taken_for_the_companys() -> None:
    given = {
        "contact": frozenset({"employees", "lifecycle_stage"}),
        "company": frozenset({"employees", "annual_revenue"}),
    }
    found = {(of, name) for _, _, of, name in subscriptions(replace(KNOWN, properties=given, deals=False)) if name}
    assert found == {
        ("contact", "employees"),
        ("contact", "lifecyclestage"),
        ("company", "numberofemployees"),
        ("company", "annualrevenue"),
    }


def test_a_contact_that_moves_to_another_company_is_heard_of_where_companies_count() -> None:
    moved = ("legacyCrmObjects", "contact.associationChange", "", "")
    assert moved in subscriptions(replace(KNOWN, deals=False))
    assert moved not in subscriptions(replace(KNOWN, deals=False, properties={"company": frozenset()}))


def test_without_deals_and_models_only_contacts_are_heard_of() -> None:
    found = subscriptions(Learnt())
    assert {kind for _, kind, _, _ in found} == {
        "object.creation",
        "contact.deletion",
        "contact.merge",
        "contact.restore",
        "contact.privacyDeletion",
    }
    assert not any(of == "deal" for _, _, of, _ in found)


def test_every_subscription_is_one_that_hubspot_has_and_the_service_reads() -> None:
    """`objectType` and the type's own first word are told as `objectTypeId` in what HubSpot posts."""
    ids = {"contact": "0-1", "company": "0-2", "deal": "0-3", "": None}
    receiver = HubSpotReceiver(["secret"])
    for where, kind, of, name in subscriptions(KNOWN):
        assert KINDS.fullmatch(kind), kind
        assert (where == "crmObjects") == kind.startswith("object.") == bool(of)
        assert bool(name) == kind.endswith("propertyChange")
        event = {
            "subscriptionType": kind,
            "occurredAt": 1_762_000_000_000,
            "eventId": 1,
            "objectId": 7,
            "fromObjectId": 7,
            "toObjectId": 8,
            "associationType": "CONTACT_TO_COMPANY",
            "primaryObjectId": 7,
            "mergedObjectIds": [8],
            "propertyName": name,
            "objectTypeId": ids[of],
        }
        (hint,) = receiver.hints(json.dumps([event]).encode())
        assert hint.object == (of or "contact" if kind.startswith("object.") else kind.partition(".")[0])


def test_a_subscription_no_longer_needed_stays_inactive(tmp_path: Path) -> None:
    for known in (KNOWN, replace(KNOWN, properties={"contact": frozenset({"budget"})}, deals=False)):
        path = tmp_path / WEBHOOKS
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made("hubspot", tmp_path, known).files[WEBHOOKS], encoding="utf-8")
    standing = deployed(tmp_path)
    assert standing[("crmObjects", "object.propertyChange", "contact", "budget")] is True
    assert standing[("crmObjects", "object.propertyChange", "contact", "industry")] is False
    assert standing[("legacyCrmObjects", "deal.deletion", "", "")] is False
    again = made("hubspot", tmp_path, KNOWN)
    assert again.more["subscriptions"] == {"active": len(subscriptions(KNOWN)), "inactive": 1}


def test_webhooks_that_stand_are_not_dropped_by_a_missing_address(tmp_path: Path) -> None:
    path = tmp_path / WEBHOOKS
    path.parent.mkdir(parents=True)
    path.write_text(made("hubspot", tmp_path).files[WEBHOOKS], encoding="utf-8")
    with pytest.raises(BadSetting, match="public_url"):
        made("hubspot", tmp_path, public_url=None)


def test_without_an_address_there_are_no_webhooks(tmp_path: Path) -> None:
    project = made("hubspot", tmp_path, public_url=None)
    assert WEBHOOKS not in project.files
    assert '"watched": null' in project.files["src/app/settings/settings.js"]
    assert "public_url" in project.notes[0]


@pytest.mark.parametrize("url", [SERVICE, f"{SERVICE}/", f"{SERVICE}{PATH}"])
def test_the_target_is_where_the_service_hears(url: str) -> None:
    assert target_url(url) == f"{SERVICE}/webhooks/hubspot"


@pytest.mark.parametrize("url", ["http://leadlight.example.com", "leadlight.example.com"])
def test_hubspot_posts_to_https_only(url: str) -> None:
    with pytest.raises(BadSetting, match="https"):
        target_url(url)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    settings = Settings(public_url=SERVICE, state_dir=tmp_path / "state")
    with pytest.raises(BadSetting, match="something else"):
        manifest(settings, "hubspot", Order(tmp_path, contact_email=EMAIL))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    told = manifest(settings, "hubspot", Order(tmp_path, contact_email=EMAIL, force=True))
    assert (tmp_path / "src/app/app-hsmeta.json").is_file()
    assert "first training" in told["notes"][0]
    with pytest.raises(BadSetting, match="hubspot and salesforce"):
        manifest(settings, "files", Order(tmp_path))


def test_doctor_compares_the_project_with_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.jobs.manifest.hubspot.learnt", lambda *_: KNOWN)
    settings = Settings(platform="hubspot", hubspot_project=tmp_path)
    assert compare(settings).state == "off"
    path = tmp_path / WEBHOOKS
    path.parent.mkdir(parents=True)
    path.write_text(made("hubspot", tmp_path).files[WEBHOOKS], encoding="utf-8")
    assert compare(settings).state == "ok"
    path.write_text(path.read_text(encoding="utf-8").replace('"lead_source"', '"budget"'), encoding="utf-8")
    check = compare(settings)
    assert check.state == "warn"
    assert "missing: contact lead_source" in check.detail
    assert "not needed: contact budget" in check.detail
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(BadSetting, match="webhooks"):
        compare(settings)
