"""Our fields: Salesforce gets them by metadata, so that they are looked for here and never made.

A field is ready when the integration user sees it (field-level security hides it otherwise), may change it, and
its type can hold our values, on Leads and on Contacts alike.
"""

from collections.abc import Mapping, Sequence

from connector.errors import FixSetup
from connector.platform import PropertyPlan
from connector.platforms.salesforce import words
from connector.platforms.salesforce.fields import Definition
from manifests import Property

#: The command that brings them, for messages.
DEPLOY = (
    "write them with `leadlight manifest salesforce --out salesforce-app --contact-email YOU`, deploy them there "
    "with `sf project deploy start --manifest manifest/package.xml --target-org ORG`, "
    "then give them to the integration user with `sf org assign permset -n Leadlight_Integration`."
)


def install(
    present: Mapping[str, Mapping[str, Definition]], properties: Sequence[Property], *, dry_run: bool
) -> list[PropertyPlan]:
    """What stands of our fields. `present`: object -> its fields. Raises FixSetup, unless it is a dry run, naming
    what is missing and the command that deploys it."""
    plans = [_plan(present, wanted) for wanted in properties]
    missing = [plan for plan in plans if plan.action == "create"]
    if missing and not dry_run:
        named = "; ".join(plan.detail for plan in missing)
        raise FixSetup(f"Salesforce lacks fields of ours ({named}): {DEPLOY}")
    return plans


def _plan(present: Mapping[str, Mapping[str, Definition]], wanted: Property) -> PropertyPlan:
    field = words.field_name(wanted.name)
    missing, closed = [], []
    for object_name, definitions in present.items():
        found = definitions.get(field)
        if found is None:
            missing.append(f"{object_name}.{field}")
        elif found.type not in words.HELD_BY[wanted.type] or found.calculated:
            what = "a formula" if found.calculated else f"of type {found.type}"
            return PropertyPlan(wanted.name, "conflict", f"{object_name}.{field} is {what}, which can't hold it")
        elif not found.updateable:
            closed.append(f"{object_name}.{field}")
    if missing:
        return PropertyPlan(wanted.name, "create", f"{', '.join(missing)} not there or hidden")
    if closed:
        return PropertyPlan(wanted.name, "create", f"{', '.join(closed)} read-only by field-level security")
    return PropertyPlan(wanted.name, "none")


def uninstall(
    present: Mapping[str, Mapping[str, Definition]], properties: Sequence[Property]
) -> list[PropertyPlan]:
    """Our values can be cleared from here, our fields can only be named: an administrator deletes them."""
    plans = []
    for wanted in properties:
        field = words.field_name(wanted.name)
        there = [name for name, definitions in present.items() if field in definitions]
        if not there:
            plans.append(PropertyPlan(wanted.name, "absent"))
        else:
            detail = f"delete {', '.join(f'{name}.{field}' for name in there)}"
            plans.append(PropertyPlan(wanted.name, "by_hand", detail))
    return plans
