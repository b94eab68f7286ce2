"""Creating our properties: the group, what is missing, and options that came later. Nothing is ever removed."""

from collections.abc import Mapping, Sequence

from connector.errors import PlatformRefused
from connector.platform import PropertyPlan
from connector.platforms.hubspot import definitions, words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api
from connector.platforms.hubspot.client.dialect import error_codes
from connector.platforms.hubspot.definitions import Definition
from manifests import Property

_OBJECT = "contacts"


def install(
    api: Api, present: Mapping[str, Definition], properties: Sequence[Property], *, dry_run: bool
) -> list[PropertyPlan]:
    """Bring the account to where every property stands with its options.

    `present` are the account's live properties by name. A property of that name with another type, or one of
    HubSpot's own, is a conflict: reported, never touched.
    """
    missing = [wanted for wanted in properties if wanted.name not in present]
    archived = _archived(api) if missing else {}
    if missing and not dry_run:
        _create_group(api, missing[0])
    plans = []
    for wanted in properties:
        found = present.get(wanted.name)
        if found is None:
            plans.append(_create(api, wanted, archived.get(wanted.name), dry_run=dry_run))
        else:
            plans.append(_reconcile(api, wanted, found, "none", dry_run=dry_run))
    return plans


def _archived(api: Api) -> dict[str, Definition]:
    body = api.call(paths.PROPERTIES, _OBJECT, params={"archived": "true"}).body
    return {entry["name"]: definitions.definition(entry) for entry in body.get("results") or ()}


def _create_group(api: Api, wanted: Property) -> None:
    body = {"name": wanted.group, "label": wanted.group_label, "displayOrder": -1}
    api.call(paths.GROUP_CREATE, _OBJECT, json=body, accept=(409,))


def _create(api: Api, wanted: Property, archived: Definition | None, *, dry_run: bool) -> PropertyPlan:
    """Create a property; the name of an archived one brings that one back as it was."""
    action = "restore" if archived else "create"
    if archived and (conflict := _conflict(wanted, archived)):
        return PropertyPlan(wanted.name, "conflict", f"archived, and {conflict}")
    if dry_run:
        return PropertyPlan(wanted.name, action)  # type: ignore[arg-type]
    reply = api.call(paths.PROPERTY_CREATE, _OBJECT, json=property_json(wanted), accept=(400, 409))
    if reply.status == 400:
        code = next(iter(error_codes(reply.body)), None) or reply.body.get("category")
        raise PlatformRefused(
            f"HubSpot: the property {wanted.name} could not be created ({code}, request {reply.request_id}).",
            status=400,
            code=code,
            request_id=reply.request_id,
        )
    if reply.status == 409:
        # Made by someone else since we looked.
        body = api.call(paths.PROPERTIES, _OBJECT).body
        found = definitions.parse(body).get(wanted.name)
        return PropertyPlan(wanted.name, "none") if found is None else _reconcile(api, wanted, found, "none")
    return _reconcile(api, wanted, definitions.definition(reply.body), action)


def _reconcile(
    api: Api, wanted: Property, found: Definition, action: str, *, dry_run: bool = False
) -> PropertyPlan:
    """Compare a property that stands with what is wanted; add the options that it lacks."""
    if conflict := _conflict(wanted, found):
        return PropertyPlan(wanted.name, "conflict", conflict)
    present = {value for value, _ in found.options}
    lacking = [option for option in wanted.options if option[0] not in present]
    if not lacking:
        return PropertyPlan(wanted.name, action)  # type: ignore[arg-type]
    if not dry_run:
        # A PATCH replaces the whole list of options: those that stand go along.
        body = {"options": _options((*found.options, *lacking))}
        api.call(paths.PROPERTY_UPDATE, _OBJECT, json=body, property=wanted.name)
    detail = ", ".join(value for value, _ in lacking)
    return PropertyPlan(wanted.name, "add_options" if action == "none" else action, detail)  # type: ignore[arg-type]


def _conflict(wanted: Property, found: Definition) -> str | None:
    expected, _ = words.WRITTEN_TYPES[wanted.type]
    if not found.custom:
        return "HubSpot defines a property of this name itself"
    if found.type == expected or (wanted.type == "boolean" and found.kind == "boolean"):
        return None
    return f"its type is {found.type}, not {expected}"


def property_json(wanted: Property) -> dict[str, object]:
    """What creates a property."""
    kind, field_type = words.WRITTEN_TYPES[wanted.type]
    body: dict[str, object] = {
        "groupName": wanted.group,
        "name": wanted.name,
        "label": wanted.label,
        "type": kind,
        "fieldType": field_type,
        "description": wanted.description,
        "formField": False,
        "hidden": False,
        "displayOrder": -1,
    }
    if wanted.type == "category":
        body["options"] = _options(wanted.options)
    elif wanted.type == "boolean":
        body["options"] = _options(words.BOOLEAN_OPTIONS)
    return body


def _options(options: Sequence[tuple[str, str]]) -> list[dict[str, object]]:
    return [
        {"label": label, "value": value, "displayOrder": order, "hidden": False}
        for order, (value, label) in enumerate(options)
    ]
