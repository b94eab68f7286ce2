"""Permission sets of the Salesforce project: who writes our fields, who reads them, who may call the service."""

from collections.abc import Mapping, Sequence
from typing import Any

from connector.jobs.manifest.xml import Element
from connector.platforms.salesforce.words import field_name
from manifests import Property, read_toml

INTEGRATION, READERS, NOTIFIER = "Leadlight_Integration", "Leadlight_Card", "Leadlight_Notifier"
#: External credential and principal, as permission sets name them.
_PRINCIPAL = "Leadlight-Notifier"


def permission_sets(ours: Sequence[Property], objects: Mapping[str, Sequence[str]]) -> dict[str, list[Element]]:
    """By name: one set writes our fields, one reads them, one may call the service."""
    allowed = read_toml("salesforce", "permissions.toml")
    written = [of for theirs in objects.values() for of in theirs]
    names = [f"{of}.{field_name(one.name)}" for of in written for one in ours if of in objects[one.object]]
    return {
        INTEGRATION: [
            (
                "description",
                "For the user that Leadlight comes in as: reads what it learns from, writes its fields.",
            ),
            *(_field_permission(name, edit=True) for name in names),
            ("hasActivationRequired", "false"),
            ("label", "Leadlight integration"),
            *(_object_permission(entry) for entry in allowed["objects"]),
            *(("userPermissions", [("enabled", "true"), ("name", name)]) for name in sorted(allowed["user"])),
        ],
        READERS: [
            ("description", "For everybody who is to see predictions. Reads Leadlight's fields only."),
            *(_field_permission(name, edit=False) for name in names),
            ("hasActivationRequired", "false"),
            ("label", "Leadlight card"),
        ],
        NOTIFIER: [
            ("classAccesses", [("apexClass", "LeadlightNotifier"), ("enabled", "true")]),
            ("description", "For users whose changes are to have leads and contacts scored again at once."),
            (
                "externalCredentialPrincipalAccesses",
                [("enabled", "true"), ("externalCredentialPrincipal", _PRINCIPAL)],
            ),
            ("hasActivationRequired", "false"),
            ("label", "Leadlight notifier"),
            # Whoever calls out by a named credential needs to read these; custom permission sets lack it.
            _object_permission({"name": "UserExternalCredential", "all": False}),
        ],
    }


def _field_permission(name: str, *, edit: bool) -> Element:
    return ("fieldPermissions", [("editable", str(edit).lower()), ("field", name), ("readable", "true")])


def _object_permission(entry: Mapping[str, Any]) -> Element:
    return (
        "objectPermissions",
        [
            ("allowCreate", "false"),
            ("allowDelete", "false"),
            ("allowEdit", str(entry.get("edit", False)).lower()),
            ("allowRead", "true"),
            ("modifyAllRecords", "false"),
            ("object", entry["name"]),
            ("viewAllRecords", str(entry.get("all", True)).lower()),
        ],
    )
