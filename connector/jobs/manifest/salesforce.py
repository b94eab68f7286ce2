"""The Salesforce DX project: fields, permission sets, app, credentials, callout, outbound messages, component.

Elements are those of the Metadata API that source-deploy-retrieve and its users show; what could not be confirmed
is named in docs/salesforce-app.md.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from connector.errors import BadSetting
from connector.jobs.manifest.cards import Card
from connector.jobs.manifest.learnt import Learnt
from connector.jobs.manifest.permissions import NOTIFIER, permission_sets
from connector.jobs.manifest.xml import NAMESPACE, Element, document
from connector.platforms.salesforce.words import field_name
from connector.settings import Settings
from manifests import Property, properties, read_toml, read_tree

ROOT = "force-app/main/default"
_CARD = f"{ROOT}/lwc/leadlightCard"
_REMOVED = "manifest/destructiveChanges.xml"
#: Where the service hears of changes; the last part of the path is the secret.
PATH = "/webhooks/salesforce"
#: What only an org needs that tells us of changes.
_OF_WEBHOOKS = tuple(
    f"{ROOT}/{part}/"
    for part in ("classes", "externalCredentials", "namedCredentials", "objects/Leadlight_Settings__c")
)
#: Fields in a message: the record is read afresh, they only date the change.
_TOLD = ("Id", "SystemModstamp")
#: Canonical names of features -> the fields of leads and contacts that they are read from.
_THEIRS = {
    "country": ("Country", "MailingCountry"),
    "email": ("Email",),
    "lifecycle_stage": ("Status",),
    "lifecyclestage": ("Status",),
}
#: Parts by their folders, for package.xml. What lies one level deeper is a part of its folder.
_TYPES = {
    "classes": "ApexClass",
    "externalClientApps": "ExternalClientApplication",
    "externalCredentials": "ExternalCredential",
    "extlClntAppOauthPolicies": "ExtlClntAppOauthConfigurablePolicies",
    "extlClntAppOauthSettings": "ExtlClntAppOauthSettings",
    "lwc": "LightningComponentBundle",
    "namedCredentials": "NamedCredential",
    "permissionsets": "PermissionSet",
}


@dataclass(frozen=True)
class Org:
    """The project's files; `secret` are the paths of those that hold one."""

    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    secret: frozenset[str] = field(default_factory=frozenset)

    def next(self, out: Path) -> tuple[str, ...]:
        deploy = "sf project deploy start --manifest manifest/package.xml --target-org myorg"
        tests = " --test-level RunSpecifiedTests --tests LeadlightNotifierTest"
        tests = tests if any(path.startswith(f"{ROOT}/classes/") for path in self.files) else ""
        return (f"cd {out}", "sf org login web --alias myorg", f"{deploy} --dry-run{tests}", f"{deploy}{tests}")


def project(
    settings: Settings,
    ours: Sequence[Property],
    card: Card,
    contact_email: str | None,
    outbound_user: str | None,
    former: Mapping[str, set[str]],
) -> Org:
    """All files; without public_url none that calls us. `former` are the parts that an earlier project in the
    folder may have brought into the org: they are taken out with the rest. Raises BadSetting: what is missing."""
    if contact_email is None:
        raise BadSetting("A Salesforce app names whom to write to: add --contact-email you@your-company.example.")
    service = settings.public_url
    if service is None and outbound_user is not None:
        raise BadSetting("Outbound messages need public_url (LEADLIGHT_PUBLIC_URL), the address of the service.")
    if service is not None and urlsplit(service).scheme != "https":
        raise BadSetting(f"public_url = {service}: Salesforce calls an https:// address only.")
    fills = {"contact_email": contact_email, "public_url": str(service).rstrip("/")}
    files = {
        path: _filled(path, text, fills)
        for path, text in read_tree("salesforce").items()
        if service is not None or not path.startswith(_OF_WEBHOOKS)
    }
    version = json.loads(files["sfdx-project.json"])["sourceApiVersion"]
    spec = read_toml("salesforce", "fields.toml")
    for one in ours:
        for object_name in spec["objects"][one.object]:
            path = f"{ROOT}/objects/{object_name}/fields/{field_name(one.name)}.field-meta.xml"
            files[path] = document("CustomField", custom_field(one, spec))
    for name, content in permission_sets(ours, spec["objects"]).items():
        if service is None and name == NOTIFIER:
            continue
        files[f"{ROOT}/permissionsets/{name}.permissionset-meta.xml"] = document("PermissionSet", content)
    files[f"{_CARD}/settings.js"] = card.module()
    files[f"{_CARD}/prediction.js"] = card.logic()
    secret: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    if service is None:
        notes = ("public_url is not set: no callouts, records are rescored on schedule only.",)
    if outbound_user is not None:
        secret = _outbound(settings, spec["objects"]["contact"], outbound_user, version)
        notes = (f"The webhook secret stands in {', '.join(sorted(secret))}: .gitignore keeps them out of git.",)
        files[".gitignore"] = "".join(f"/{path}\n" for path in sorted(secret))
    files |= secret
    members = _members(files)
    files["manifest/package.xml"] = document("Package", [*_listed(members), ("version", version)])
    files["manifest/empty.xml"] = document("Package", [("version", version)])
    every = {kind: members.get(kind, set()) | former.get(kind, set()) for kind in {*members, *former}}
    files[_REMOVED] = document("Package", _listed(every))
    return Org(files, notes, frozenset(secret))


def deployed(folder: Path) -> dict[str, set[str]]:
    """Metadata type -> names that the folder's project would take out of the org; empty where it has none. Raises
    BadSetting for a file that is not of Salesforce's shape."""
    path = folder / _REMOVED
    if not path.is_file():
        return {}
    space = f"{{{NAMESPACE}}}"
    try:
        kinds = fromstring(path.read_text(encoding="utf-8")).findall(f"{space}types")
    except (ParseError, DefusedXmlException, ValueError) as problem:
        raise BadSetting(f"{path} is no package of Salesforce's ({type(problem).__name__}).") from None
    return {
        str(kind.findtext(f"{space}name")): {str(name.text) for name in kind.findall(f"{space}members")}
        for kind in kinds
    }


def watched(known: Learnt) -> list[str]:
    """Fields of leads and contacts whose changes a flow has to tell, by their names in the org."""
    names = known.properties.get("contact", frozenset())
    return sorted({theirs for name in names for theirs in _THEIRS.get(name, (name,))})


def _filled(path: str, text: str, fills: Mapping[str, str]) -> str:
    if path.endswith(".xml"):
        for name, value in fills.items():
            text = text.replace(f"${{{name}}}", value.replace("&", "&amp;").replace("<", "&lt;"))
    return text


def custom_field(one: Property, spec: Mapping[str, Any]) -> list[Element]:
    """CustomField of one of our properties: the type's keys, then the property's own."""
    base = next(entry.name for entry in properties(one.object) if entry.salesforce == one.salesforce)
    shape = {**spec["types"][one.type], **spec["properties"].get(base, {})}
    if shape["type"] != "Number":
        shape = {key: value for key, value in shape.items() if key not in ("precision", "scale")}
    content: list[Element] = [
        ("fullName", field_name(one.name)),
        ("description", one.description),
        ("inlineHelpText", one.description),
        ("label", one.label),
        *((key, str(value)) for key, value in shape.items()),
    ]
    if shape["type"] == "Checkbox":
        return content
    content += [("required", "false")]
    if shape["type"] in ("Number", "Text"):
        content += [("externalId", "false"), ("unique", "false")]
    if shape["type"] == "Picklist":
        values: list[Element] = [
            ("value", [("fullName", value), ("default", "false"), ("label", label)])
            for value, label in one.options
        ]
        definition: list[Element] = [("sorted", "false"), *values]
        content.append(("valueSet", [("restricted", "false"), ("valueSetDefinition", definition)]))
    return content


def _outbound(settings: Settings, objects: Sequence[str], user: str, version: str) -> dict[str, str]:
    """An outbound message an object. Its address is all that it can carry a secret in. Raises BadSetting."""
    if settings.salesforce_webhook_secret is None:
        raise BadSetting(
            "Outbound messages need LEADLIGHT_SALESFORCE_WEBHOOK_SECRET (or …_FILE): their address ends in it."
        )
    token = quote(settings.salesforce_webhook_secret.get_secret_value(), safe="")
    found = {}
    for name in objects:
        content: list[Element] = [
            ("fullName", f"Leadlight_{name}_changed"),
            ("apiVersion", version),
            ("endpointUrl", f"{str(settings.public_url).rstrip('/')}{PATH}/{token}"),
            *(("fields", told) for told in _TOLD),
            ("includeSessionId", "false"),
            ("integrationUser", user),
            ("name", f"Leadlight {name} changed"),
            ("protected", "false"),
            ("useDeadLetterQueue", "false"),
        ]
        path = f"{ROOT}/workflows/{name}.workflow-meta.xml"
        found[path] = document("Workflow", [("outboundMessages", content)])
    return found


def _members(files: Iterable[str]) -> dict[str, set[str]]:
    """Metadata type -> names, from the paths of the files."""
    found: dict[str, set[str]] = {}
    for path in files:
        if not path.startswith(f"{ROOT}/"):
            continue
        folder, *rest = path.removeprefix(f"{ROOT}/").split("/")
        if folder == "objects":
            kind, name = _of_object(rest)
        elif folder == "workflows":
            of = rest[0].partition(".")[0]
            kind, name = "WorkflowOutboundMessage", f"{of}.Leadlight_{of}_changed"
        else:
            kind, name = _TYPES[folder], rest[0].partition(".")[0]
        found.setdefault(kind, set()).add(name)
    return found


def _of_object(rest: Sequence[str]) -> tuple[str, str]:
    """A field of ours on a standard object, or a whole object of ours with its fields."""
    if rest[0].endswith("__c"):
        return "CustomObject", rest[0]
    return "CustomField", f"{rest[0]}.{rest[-1].partition('.')[0]}"


def _listed(members: Mapping[str, set[str]]) -> list[Element]:
    return [
        ("types", [*(("members", name) for name in sorted(names)), ("name", kind)])
        for kind, names in sorted(members.items())
    ]
