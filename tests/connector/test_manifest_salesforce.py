"""The Salesforce project: our fields both ways, rights that cover every read, signatures the service checks."""

import hashlib
import hmac
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring
from pydantic import SecretStr

from connector.errors import BadSetting, Unverified
from connector.jobs.manifest import Order, manifest
from connector.jobs.manifest.salesforce import ROOT
from connector.platform import Received
from connector.platforms.salesforce import doctor, words
from connector.platforms.salesforce.webhooks import SalesforceReceiver
from connector.settings import Settings
from manifests import properties, read_toml
from tests.connector.projects_made import EMAIL, KNOWN, SERVICE, made

NAMESPACE = "{http://soap.sforce.com/2006/04/metadata}"
#: Root element -> the elements that the Metadata API has below it, as far as they are used here.
ELEMENTS = {
    "ApexClass": "apiVersion status",
    "CustomField": "fullName description inlineHelpText label type precision scale length visibleLines "
    "defaultValue required externalId unique valueSet",
    "CustomObject": "customSettingsType description enableFeeds label visibility",
    "ExternalClientApplication": "contactEmail description distributionState isProtected label",
    "ExternalCredential": "authenticationProtocol externalCredentialParameters label",
    "ExtlClntAppOauthConfigurablePolicies": "commaSeparatedPermissionSet externalClientApplication "
    "ipRelaxationPolicyType label permittedUsersPolicyType refreshTokenPolicyType",
    "ExtlClntAppOauthSettings": "commaSeparatedOauthScopes externalClientApplication label",
    "LightningComponentBundle": "apiVersion description isExposed masterLabel targets targetConfigs",
    "NamedCredential": "allowMergeFieldsInBody allowMergeFieldsInHeader calloutStatus generateAuthorizationHeader "
    "label namedCredentialParameters namedCredentialType",
    "Package": "types version",
    "PermissionSet": "classAccesses description externalCredentialPrincipalAccesses fieldPermissions "
    "hasActivationRequired label objectPermissions userPermissions",
    "Workflow": "outboundMessages",
}
#: How Salesforce describes the types of custom fields.
DESCRIBED = {
    "Number": "double",
    "Text": "string",
    "LongTextArea": "textarea",
    "Picklist": "picklist",
    "DateTime": "datetime",
    "Checkbox": "boolean",
}
USER = "admin@your-company.example"
EVERY = (*properties(), *properties("company"))
#: Salesforce's objects -> what we write there.
ON = {"Lead": properties(), "Contact": properties(), "Account": properties("company")}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    secret = SecretStr("path secret/1")
    return dict(made("salesforce", tmp_path, user=USER, salesforce_webhook_secret=secret).files)


def document(files: dict[str, str], path: str) -> Element:
    return fromstring(files[path])


def texts(element: Element, path: str) -> list[str]:
    return [
        str(found.text) for found in element.findall("/".join(f"{NAMESPACE}{part}" for part in path.split("/")))
    ]


def permission_set(files: dict[str, str], name: str) -> Element:
    return document(files, f"{ROOT}/permissionsets/{name}.permissionset-meta.xml")


def test_every_document_has_elements_of_its_type_in_groups(files: dict[str, str]) -> None:
    seen = set()
    for path in files:
        if not path.endswith(".xml"):
            continue
        root = document(files, path)
        kind = root.tag.removeprefix(NAMESPACE)
        names = [child.tag.removeprefix(NAMESPACE) for child in root]
        assert set(names) <= set(ELEMENTS[kind].split()), path
        runs = [name for place, name in enumerate(names) if not place or names[place - 1] != name]
        assert len(runs) == len(set(runs)), f"{path}: elements of one name lie together"
        assert not [text for text in root.itertext() if "${" in text], path
        seen.add(kind)
    assert seen == set(ELEMENTS)


def test_our_fields_are_there_on_their_objects_and_the_other_way_round(files: dict[str, str]) -> None:
    for object_name, written in ON.items():
        folder = f"{ROOT}/objects/{object_name}/fields/"
        found = {path.removeprefix(folder).partition(".")[0]: path for path in files if path.startswith(folder)}
        assert set(found) == {entry.salesforce for entry in written}
        for entry in written:
            root = document(files, found[entry.salesforce])
            (kind,) = texts(root, "type")
            assert texts(root, "fullName") == [entry.salesforce] == [words.field_name(entry.name)]
            assert texts(root, "label") == [entry.label]
            assert DESCRIBED[kind] in words.HELD_BY[entry.type], entry.name
            values = texts(root, "valueSet/valueSetDefinition/value/fullName")
            labels = texts(root, "valueSet/valueSetDefinition/value/label")
            assert tuple(zip(values, labels, strict=True)) == entry.options
            assert texts(root, "valueSet/restricted") == (["false"] if entry.options else [])


def test_fields_hold_what_is_written(files: dict[str, str]) -> None:
    def field(name: str, of: str = "Lead") -> Element:
        return document(files, f"{ROOT}/objects/{of}/fields/{name}.field-meta.xml")

    def digits(name: str, of: str = "Lead") -> tuple[int, int]:
        (precision,), (scale,) = texts(field(name, of), "precision"), texts(field(name, of), "scale")
        return int(precision) - int(scale), int(scale)

    assert digits("Leadlight_Score__c") == (3, 0)
    assert digits("Leadlight_Probability__c") == (1, 4)
    assert digits("Leadlight_Send_Hour__c") == (2, 0)
    assert digits("Leadlight_Company_Score__c", "Account") == (2, 0)
    longest = "; ".join(["99,999,999 open contacts", ", ".join(["contact 0035A00000Xn2vKQAR: 100"] * 3)])
    assert int(texts(field("Leadlight_Company_Reasons__c", "Account"), "length")[0]) >= len(longest)
    assert int(texts(field("Leadlight_Reasons__c"), "length")[0]) >= 5 * 255
    assert int(texts(field("Leadlight_Model__c"), "length")[0]) >= 4 * len(KNOWN.models[0])
    help_texts = [
        texts(field(entry.salesforce, of), "inlineHelpText")[0] for of, written in ON.items() for entry in written
    ]
    assert max(map(len, help_texts)) <= 510


def test_every_spec_is_of_a_property_or_a_type_that_is_there() -> None:
    spec = read_toml("salesforce", "fields.toml")
    assert set(spec["properties"]) <= {entry.name for entry in EVERY}
    assert set(spec["types"]) == {entry.type for entry in EVERY}
    assert {of: set(theirs) for of, theirs in spec["objects"].items()} == {
        of: set(theirs.values()) for of, theirs in words.WRITTEN.items()
    }


def test_a_further_goal_has_fields_of_its_own(tmp_path: Path) -> None:
    goals = {"renewal": {"event": "purchase", "horizon_days": 30}}
    found = made("salesforce", tmp_path, goals=goals).files
    path = f"{ROOT}/objects/Lead/fields/Leadlight_Probability_Renewal__c.field-meta.xml"
    assert texts(fromstring(found[path]), "precision") == ["5"]


def test_the_integration_user_may_write_our_fields_and_read_all_that_is_read(files: dict[str, str]) -> None:
    user = permission_set(files, "Leadlight_Integration")
    fields = {f"{of}.{entry.salesforce}" for of, written in ON.items() for entry in written}
    assert set(texts(user, "fieldPermissions/field")) == fields
    assert set(texts(user, "fieldPermissions/editable")) == {"true"}
    allowed = read_toml("salesforce", "permissions.toml")
    objects = texts(user, "objectPermissions/object")
    assert set(objects) | set(allowed["follow"]) == {*words.PEOPLE.values(), *doctor._WORTH, "Organization"}
    assert dict(zip(objects, texts(user, "objectPermissions/allowEdit"), strict=True)) == {
        name: str(name in ON).lower() for name in objects
    }
    for forbidden in ("allowCreate", "allowDelete", "modifyAllRecords"):
        assert set(texts(user, f"objectPermissions/{forbidden}")) == {"false"}
    assert texts(user, "userPermissions/name") == sorted(allowed["user"])


def test_readers_may_read_our_fields_and_nothing_else(files: dict[str, str]) -> None:
    readers = permission_set(files, "Leadlight_Card")
    assert len(texts(readers, "fieldPermissions/field")) == sum(map(len, ON.values()))
    assert set(texts(readers, "fieldPermissions/editable")) == {"false"}
    assert not texts(readers, "objectPermissions/object")
    assert not texts(readers, "userPermissions/name")


def test_credentials_and_class_are_named_alike(files: dict[str, str]) -> None:
    notifier = permission_set(files, "Leadlight_Notifier")
    external = document(files, f"{ROOT}/externalCredentials/Leadlight.externalCredential-meta.xml")
    (principal,) = texts(external, "externalCredentialParameters/parameterName")
    granted = texts(notifier, "externalCredentialPrincipalAccesses/externalCredentialPrincipal")
    assert granted == [f"Leadlight-{principal}"]
    (allowed,) = texts(notifier, "classAccesses/apexClass")
    assert f"{ROOT}/classes/{allowed}.cls" in files
    named = document(files, f"{ROOT}/namedCredentials/Leadlight.namedCredential-meta.xml")
    assert texts(named, "namedCredentialParameters/parameterValue") == [SERVICE]
    assert texts(named, "namedCredentialParameters/externalCredential") == ["Leadlight"]
    assert "callout:Leadlight/webhooks/salesforce/" in files[f"{ROOT}/classes/LeadlightNotifier.cls"]


def test_the_package_lists_every_part_and_nothing_else(files: dict[str, str]) -> None:
    package = document(files, "manifest/package.xml")
    listed = {
        str(kind.findtext(f"{NAMESPACE}name")): set(texts(kind, "members"))
        for kind in package.findall(f"{NAMESPACE}types")
    }
    parts = {path for path in files if path.startswith(ROOT)}
    assert len(listed["CustomField"]) == sum(map(len, ON.values()))
    assert listed["ApexClass"] == {"LeadlightNotifier", "LeadlightNotifierTest"}
    assert listed["PermissionSet"] == {"Leadlight_Card", "Leadlight_Integration", "Leadlight_Notifier"}
    assert listed["WorkflowOutboundMessage"] == {
        "Contact.Leadlight_Contact_changed",
        "Lead.Leadlight_Lead_changed",
    }
    assert listed["LightningComponentBundle"] == {"leadlightCard"}
    assert {name for names in listed.values() for name in names} >= {"Leadlight_Settings__c", "Leadlight"}
    assert len(parts) == 24 + 2 + 3 + 2 + 4 + 6 + 4 + 5, sorted(parts)
    removed = document(files, "manifest/destructiveChanges.xml")
    assert texts(removed, "types/members") == texts(package, "types/members")


def test_what_a_former_project_brought_is_taken_out_too(tmp_path: Path) -> None:
    """Outbound messages, a former goal's fields: the org has them, whatever is written later."""
    goals = {"renewal": {"event": "purchase", "horizon_days": 30}}
    plain = Settings(
        public_url=SERVICE, state_dir=tmp_path / "state", salesforce_webhook_secret=SecretStr("path-secret")
    )
    for user, settings in ((USER, plain.model_copy(update={"goals": goals})), (None, plain)):
        manifest(settings, "salesforce", Order(tmp_path / "app", contact_email=EMAIL, outbound_user=user))
    package, removed = (
        (tmp_path / "app/manifest" / f"{name}.xml").read_text(encoding="utf-8")
        for name in ("package", "destructiveChanges")
    )
    for gone in ("Lead.Leadlight_Lead_changed", "Contact.Leadlight_Probability_Renewal__c"):
        assert f">{gone}<" not in package
        assert f">{gone}<" in removed
    assert set(re.findall("<members>.*?<", package)) < set(re.findall("<members>.*?<", removed))
    (tmp_path / "app/manifest/destructiveChanges.xml").write_text("<Package><types>", encoding="utf-8")
    with pytest.raises(BadSetting, match="destructiveChanges"):
        manifest(settings, "salesforce", Order(tmp_path / "app", contact_email=EMAIL))


def test_the_tests_of_a_class_are_run_with_its_deployment(tmp_path: Path) -> None:
    with_class, without = (made("salesforce", tmp_path, public_url=url) for url in (SERVICE, None))
    assert all("--tests LeadlightNotifierTest" in line for line in with_class.next if "deploy start" in line)
    assert not any("--tests" in line for line in without.next)


def test_one_api_version_and_no_newer_than_the_client_speaks(files: dict[str, str]) -> None:
    version = json.loads(files["sfdx-project.json"])["sourceApiVersion"]
    found = {
        text
        for path in files
        if path.endswith(".xml")
        for text in re.findall(r"<(?:apiV|v)ersion>([^<]+)<", files[path])
    }
    assert found == {version}
    assert float(version) <= float(Settings().salesforce_api_version.removeprefix("v"))


def test_no_secret_is_in_it_but_in_the_address_of_outbound_messages(tmp_path: Path) -> None:
    secrets = {
        "salesforce_webhook_secret": SecretStr("path-secret"),
        "salesforce_hmac_secret": SecretStr("signing-secret"),
        "salesforce_client_secret": SecretStr("client-secret"),
        "salesforce_client_id": "consumer-key",
    }
    plain = made("salesforce", tmp_path, **secrets).files
    assert not [path for path in plain if "Glbl" in path or "workflows" in path]
    for path, text in plain.items():
        assert not re.search("path-secret'?<|signing-secret|client-secret|consumer-key", text), path
    settings = Settings(public_url=SERVICE, state_dir=tmp_path / "state", **secrets)  # type: ignore[arg-type]
    manifest(settings, "salesforce", Order(tmp_path / "app", contact_email=EMAIL, outbound_user=USER))
    holders = [
        path for path in (tmp_path / "app").rglob("*") if path.is_file() and "path-secret<" in path.read_text()
    ]
    assert {path.name for path in holders} == {"Lead.workflow-meta.xml", "Contact.workflow-meta.xml"}
    ignored = (tmp_path / "app/.gitignore").read_text(encoding="utf-8").split()
    assert {f"/{path.relative_to(tmp_path / 'app').as_posix()}" for path in holders} == set(ignored)
    assert all(path.stat().st_mode & 0o077 == 0 for path in holders)


def test_an_outbound_message_goes_where_the_service_hears(files: dict[str, str]) -> None:
    message = document(files, f"{ROOT}/workflows/Lead.workflow-meta.xml")
    assert texts(message, "outboundMessages/endpointUrl") == [f"{SERVICE}/webhooks/salesforce/path%20secret%2F1"]
    assert texts(message, "outboundMessages/integrationUser") == [USER]
    assert texts(message, "outboundMessages/includeSessionId") == ["false"]
    assert texts(message, "outboundMessages/fields") == ["Id", "SystemModstamp"]
    target = texts(message, "outboundMessages/endpointUrl")[0].removeprefix(SERVICE)
    receiver = SalesforceReceiver(SecretStr("path secret/1"), None)
    receiver.verify(Received("POST", target, {}, b"<soap/>", datetime(2026, 11, 25)))


def test_without_an_address_nothing_calls_us(tmp_path: Path) -> None:
    project = made("salesforce", tmp_path, public_url=None)
    kept = {path.removeprefix(f"{ROOT}/").partition("/")[0] for path in project.files if path.startswith(ROOT)}
    assert not kept & {"classes", "namedCredentials", "externalCredentials", "workflows"}
    assert not [path for path in project.files if "Leadlight_Settings__c" in path or "Notifier" in path]
    assert not re.search("Notifier|Credential|Settings__c", project.files["manifest/package.xml"])
    with pytest.raises(BadSetting, match="public_url"):
        made("salesforce", tmp_path, public_url=None, user=USER)
    with pytest.raises(BadSetting, match="https"):
        made("salesforce", tmp_path, public_url="http://leadlight.example.com")
    with pytest.raises(BadSetting, match="WEBHOOK_SECRET"):
        made("salesforce", tmp_path, user=USER)


def apex(files: dict[str, str], name: str) -> str:
    return files[f"{ROOT}/classes/{name}.cls"]


def test_the_service_takes_what_the_callout_signs(files: dict[str, str]) -> None:
    """The Apex test pins the same vector, so that both sides are held to one signature."""
    code, pinned = apex(files, "LeadlightNotifier"), apex(files, "LeadlightNotifierTest")
    vector = re.search(
        r"'(sha256=[0-9a-f]{64})',\s+LeadlightNotifier\.signature\('(\d+)', '([^']*)', '(\w+)'\)", pinned
    )
    assert vector is not None
    signature, stamp, body, key = vector.groups()
    assert signature == "sha256=" + hmac.new(key.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
    assert "generateMac('HmacSHA256', Blob.valueOf(timestamp + '.' + body)" in code
    headers = {name.lower() for name in re.findall(r"setHeader\('(X-[^']+)'", code)}
    assert headers == {"x-leadlight-signature", "x-leadlight-timestamp"}
    at = datetime.fromtimestamp(int(stamp), UTC).replace(tzinfo=None)
    received = Received(
        "POST",
        "/webhooks/salesforce/path",
        {"x-leadlight-signature": signature, "x-leadlight-timestamp": stamp},
        body.encode(),
        at,
    )
    SalesforceReceiver(None, SecretStr(key)).verify(received)
    with pytest.raises(Unverified):
        SalesforceReceiver(None, SecretStr("other")).verify(received)


def found(pattern: str, code: str) -> tuple[str, ...]:
    match = re.search(pattern, code)
    assert match is not None, pattern
    return match.groups()


@pytest.mark.parametrize("body", ['{"records":[]}', '{"records":[{"id":"Käthe . ☃"}]}'])
def test_a_message_signed_by_the_constants_of_the_class_is_let_in(files: dict[str, str], body: str) -> None:
    """Nothing here is ours but the order of steps: algorithm, separator, prefix, unit, headers are read there."""
    code = apex(files, "LeadlightNotifier")
    algorithm, separator = found(
        r"generateMac\('Hmac(\w+)', Blob\.valueOf\(timestamp \+ '(.)' \+ body\), Blob\.valueOf\(secret\)\)", code
    )
    (prefix,) = found(r"return '([^']+)' \+ EncodingUtil\.convertToHex\(mac\)", code)
    (unit,) = found(r"String timestamp = String\.valueOf\(now\.getTime\(\) / (\d+)\)", code)
    (path,) = found(r"setEndpoint\('callout:Leadlight(/[^']+)' \+ pathPart\(settings\.Webhook_Secret__c\)\)", code)
    stamped, signed = (
        found(rf"setHeader\('(X-[\w-]+)', {value}", code)[0] for value in ("timestamp", "signature")
    )
    at = datetime(2026, 11, 25, 9, 0, 0, 123_000)
    stamp = str(int(at.replace(tzinfo=UTC).timestamp() * 1000) // int(unit))
    mac = hmac.new(b"key", f"{stamp}{separator}{body}".encode(), algorithm.lower()).hexdigest()
    headers = {stamped.lower(): stamp, signed.lower(): prefix + mac}
    receiver = SalesforceReceiver(SecretStr("a b/c"), SecretStr("key"))
    receiver.verify(Received("POST", f"{path}a%20b%2Fc", headers, body.encode(), at))
    with pytest.raises(Unverified):
        receiver.verify(Received("POST", f"{path}a%20b%2Fc", headers, body.encode() + b" ", at))


def test_a_secret_is_one_part_of_the_callouts_path(files: dict[str, str]) -> None:
    code, pinned = apex(files, "LeadlightNotifier"), apex(files, "LeadlightNotifierTest")
    assert "EncodingUtil.urlEncode(secret, 'UTF-8').replace('+', '%20')" in code
    assert "'callout:Leadlight/webhooks/salesforce/path%20secret'" in pinned


def test_the_apex_tests_make_no_record_that_an_org_may_refuse(files: dict[str, str]) -> None:
    """A required field, a validation rule or a flow of the org's would fail the deployment."""
    pinned = apex(files, "LeadlightNotifierTest")
    assert re.findall(r"(?:insert|update|upsert) (?:new )?(\w+)", pinned) == [
        "Leadlight_Settings__c",
        "settings",
        "settings",
    ]
    assert not re.search(r"\[\s*SELECT", pinned)


def test_every_branch_of_the_callout_but_the_second_try_is_tested(files: dict[str, str]) -> None:
    """Salesforce deploys a class to production with three quarters of its lines run."""
    pinned = apex(files, "LeadlightNotifierTest")
    called = set(re.findall(r"LeadlightNotifier\.(\w+)\(", pinned)) | {"execute"} & set(
        re.findall(r"\.(\w+)\(null\)", pinned)
    )
    code = apex(files, "LeadlightNotifier")
    methods = set(re.findall(r"^    (?:public|private)(?: static)? \w+ (\w+)\(", code, re.MULTILINE))
    reached = {"send": "changed", "pathPart": "request", "bodyOf": "request"}
    assert {reached.get(name, name) for name in methods} <= called


def test_who_calls_out_may_read_the_credential_and_no_record(files: dict[str, str]) -> None:
    notifier = permission_set(files, "Leadlight_Notifier")
    assert texts(notifier, "objectPermissions/object") == ["UserExternalCredential"]
    assert texts(notifier, "objectPermissions/allowRead") == ["true"]
    for more in ("allowCreate", "allowDelete", "allowEdit", "modifyAllRecords", "viewAllRecords"):
        assert texts(notifier, f"objectPermissions/{more}") == ["false"], more
    assert not texts(notifier, "userPermissions/name")


def test_the_fields_to_watch_are_called_as_the_org_calls_them(tmp_path: Path) -> None:
    names = frozenset({"Industry", "Region__c", "country", "lifecyclestage"})
    known = replace(KNOWN, properties={"contact": names, "company": frozenset({"employees"})})
    watch = made("salesforce", tmp_path, known).more["watch"]
    assert watch == ["Country", "Industry", "MailingCountry", "Region__c", "Status"]


def test_the_service_reads_what_the_callout_says(files: dict[str, str]) -> None:
    keys = re.findall(r"'(\w+)' =>", apex(files, "LeadlightNotifier"))
    assert keys == ["object", "id", "change", "organizationId", "at", "records"]
    said: dict[str, Any] = {
        "organizationId": "00D000000000001EAA",
        "at": "2026-11-25T09:00:00.123Z",
        "records": [{"object": "Lead", "id": "00Q000000000001AAA", "change": "updated"}],
    }
    receiver = SalesforceReceiver(None, SecretStr("key"))
    (hint,) = receiver.hints(json.dumps(said).encode())
    assert (hint.object, hint.kind) == ("contact", "changed")
    # A second attempt is the same event.
    assert receiver.hints(json.dumps(said).encode())[0].key == hint.key


def test_secrets_of_the_callout_stand_in_its_settings_only(files: dict[str, str]) -> None:
    used = set(re.findall(r"settings\.(\w+__c)", apex(files, "LeadlightNotifier")))
    folder = f"{ROOT}/objects/Leadlight_Settings__c/fields/"
    assert used == {path.removeprefix(folder).partition(".")[0] for path in files if path.startswith(folder)}
    named = re.findall(r"LEADLIGHT_\w+", "".join(text for path, text in files.items() if path.startswith(folder)))
    assert {name.removeprefix("LEADLIGHT_").lower() for name in named} <= set(Settings.model_fields)


def test_the_component_knows_our_fields_and_shares_the_card(files: dict[str, str], tmp_path: Path) -> None:
    folder = f"{ROOT}/lwc/leadlightCard"
    known = json.loads(files[f"{folder}/settings.js"].partition("= ")[2].rstrip(";\n"))
    assert list(known["fields"].values()) == [entry.salesforce for entry in properties()]
    other = made("hubspot", tmp_path).files
    assert files[f"{folder}/prediction.js"] == other["src/app/cards/prediction.js"]
    assert set(
        texts(document(files, f"{folder}/leadlightCard.js-meta.xml"), "targetConfigs/targetConfig/objects/object")
    ) == {
        "Lead",
        "Contact",
    }
