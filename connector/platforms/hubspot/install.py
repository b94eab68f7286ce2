"""Creating our properties: the group, what is missing, and options that came later. Nothing is ever removed.

A property of one of our names is ours when it stands in our group or has our description: HubSpot tells no owner.
"""

from collections.abc import Mapping, Sequence

from connector.errors import PlatformRefused
from connector.platform import PropertyPlan
from connector.platforms.hubspot import definitions, words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api
from connector.platforms.hubspot.client.dialect import error_codes
from connector.platforms.hubspot.definitions import Definition
from manifests import Property


def install(
    api: Api,
    present: Mapping[str, Definition],
    properties: Sequence[Property],
    *,
    dry_run: bool,
    repair: bool = False,
) -> list[PropertyPlan]:
    """Bring the account to where every property stands with its options.

    The properties are of one object, and `present` are the account's live ones of it, by name. A property of that
    name with another type, one of HubSpot's own or somebody else's is a conflict: reported, never touched. Labels
    that people changed stay, unless `repair` asks for the manifest's.
    """
    missing = [wanted for wanted in properties if wanted.name not in present]
    archived = _archived(api, missing[0]) if missing else {}
    if missing and not dry_run:
        _create_group(api, missing[0])
    plans = []
    for wanted in properties:
        found = present.get(wanted.name)
        if found is None:
            plans.append(_create(api, wanted, archived.get(wanted.name), dry_run=dry_run))
        else:
            plans.append(_reconcile(api, wanted, found, "none", dry_run=dry_run, repair=repair))
    return plans


def _archived(api: Api, wanted: Property) -> dict[str, Definition]:
    body = api.call(paths.PROPERTIES, path_of(wanted), params={"archived": "true"}).body
    return {entry["name"]: definitions.definition(entry) for entry in body.get("results") or ()}


def _create_group(api: Api, wanted: Property) -> None:
    body = {"name": wanted.group, "label": wanted.group_label, "displayOrder": -1}
    api.call(paths.GROUP_CREATE, path_of(wanted), json=body, accept=(409,))


def _create(api: Api, wanted: Property, archived: Definition | None, *, dry_run: bool) -> PropertyPlan:
    """Create a property; the name of an archived one brings that one back as it was."""
    action = "restore" if archived else "create"
    if archived and (conflict := not_ours(wanted, archived)):
        return PropertyPlan(wanted.name, "conflict", f"archived, and {conflict}")
    if dry_run:
        return PropertyPlan(wanted.name, action)  # type: ignore[arg-type]
    reply = api.call(paths.PROPERTY_CREATE, path_of(wanted), json=property_json(wanted), accept=(400, 409))
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
        body = api.call(paths.PROPERTIES, path_of(wanted)).body
        found = definitions.parse(body).get(wanted.name)
        return PropertyPlan(wanted.name, "none") if found is None else _reconcile(api, wanted, found, "none")
    return _reconcile(api, wanted, definitions.definition(reply.body), action)


def _reconcile(
    api: Api, wanted: Property, found: Definition, action: str, *, dry_run: bool = False, repair: bool = False
) -> PropertyPlan:
    """Compare a property that stands with what is wanted; add the options that it lacks, repair its words."""
    if conflict := not_ours(wanted, found):
        return PropertyPlan(wanted.name, "conflict", conflict)
    present = {value for value, _ in found.options}
    lacking = [option for option in wanted.options if option[0] not in present]
    labels = dict(wanted.options) if repair else {}
    # A PATCH replaces the whole list of options: those that stand go along.
    options = (*((value, labels.get(value, label)) for value, label in found.options), *lacking)
    body: dict[str, object] = _words(wanted, found) if repair else {}
    if options != found.options:
        body["options"] = _options(options)
    if not body:
        return PropertyPlan(wanted.name, action)  # type: ignore[arg-type]
    if not dry_run:
        api.call(paths.PROPERTY_UPDATE, path_of(wanted), json=body, property=wanted.name)
    added = ", ".join(value for value, _ in lacking)
    if action == "none":
        action = "add_options" if set(body) == {"options"} and lacking else "repair"
    return PropertyPlan(wanted.name, action, added if action != "repair" else ", ".join(body))  # type: ignore[arg-type]


def path_of(wanted: Property) -> str:
    """The property's object, as paths name it."""
    return words.PATHS[wanted.object]


def _words(wanted: Property, found: Definition) -> dict[str, object]:
    """Label and description where they are not the manifest's."""
    pairs = {"label": (wanted.label, found.label), "description": (wanted.description, found.description)}
    return {name: ours for name, (ours, theirs) in pairs.items() if ours != theirs}


def not_ours(wanted: Property, found: Definition) -> str | None:
    """Why a property of our name is somebody else's, in words; None when it is ours."""
    expected, _ = words.WRITTEN_TYPES[wanted.type]
    if not found.custom:
        return "HubSpot defines a property of this name itself"
    if found.type != expected and not (wanted.type == "boolean" and found.kind == "boolean"):
        return f"its type is {found.type}, not {expected}"
    if found.group not in ("", wanted.group) and found.description != wanted.description:
        return f"it is in the group {found.group}, not {wanted.group}, and its description is not ours"
    return None


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
