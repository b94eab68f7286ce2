"""Taking our properties away: archived one by one, then their group. HubSpot keeps archived ones for 90 days."""

from collections.abc import Mapping, Sequence

from connector.errors import PlatformRefused
from connector.platform import PropertyPlan
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api
from connector.platforms.hubspot.client.dialect import error_codes
from connector.platforms.hubspot.definitions import Definition
from connector.platforms.hubspot.install import not_ours, path_of
from connector.transport import Reply
from manifests import Property

_IN_USE = "CANNOT_DELETE_PROPERTY_IN_USE"


def uninstall(
    api: Api, present: Mapping[str, Definition], properties: Sequence[Property], *, dry_run: bool
) -> list[PropertyPlan]:
    """Archive those of our properties (of one object) that stand. See `connector.platform.Removable`."""
    plans = [_archive(api, wanted, present.get(wanted.name), dry_run=dry_run) for wanted in properties]
    archived = {plan.name for plan in plans if plan.action == "archive"}
    for group, of in {wanted.group: path_of(wanted) for wanted in properties if wanted.name in archived}.items():
        left = [found for found in present.values() if found.group == group and found.name not in archived]
        if not left and not dry_run:
            # 400 GROUP_WITH_ACTIVE_PROPERTIES: somebody put one of their own there meanwhile.
            api.call(paths.GROUP_ARCHIVE, of, group=group, accept=(400, 404))
    return plans


def _archive(api: Api, wanted: Property, found: Definition | None, *, dry_run: bool) -> PropertyPlan:
    if found is None:
        return PropertyPlan(wanted.name, "absent")
    if why := not_ours(wanted, found):
        return PropertyPlan(wanted.name, "conflict", why)
    if dry_run:
        return PropertyPlan(wanted.name, "archive")
    reply = api.call(paths.PROPERTY_ARCHIVE, path_of(wanted), property=wanted.name, accept=(400, 404))
    if reply.status != 400:
        return PropertyPlan(wanted.name, "archive")
    if in_use(reply):
        return PropertyPlan(wanted.name, "in_use", f"a segment, workflow, form or report uses it ({_IN_USE})")
    code = next(iter(error_codes(reply.body)), None) or reply.body.get("category")
    raise PlatformRefused(
        f"HubSpot: the property {wanted.name} could not be archived ({code}, request {reply.request_id}).",
        status=400,
        code=code,
        request_id=reply.request_id,
    )


def in_use(reply: Reply) -> bool:
    """Whether a refusal says so: in `subCategory`, or as JSON text inside `message`."""
    body = reply.body
    return any(_IN_USE in str(body.get(place) or "") for place in ("subCategory", "category", "message")) or (
        _IN_USE in error_codes(body)
    )
