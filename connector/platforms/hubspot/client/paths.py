"""Every endpoint that is called, with its scope and the budgets that it draws on.

Dated paths carry `{version}`, which is one setting. Marketing email events, form submissions and form
definitions exist on their old paths only; HubSpot calls those unsupported from September 2027 on.
"""

from dataclasses import dataclass

_CRM = ("burst", "daily")
#: Search is exempt from the ten-second budget and has its own.
_SEARCH = ("search", "daily")
#: Associations have budgets of their own; we count them as CRM calls too, which is the careful reading.
_ASSOCIATIONS = (*_CRM, "associations", "associations_daily")


@dataclass(frozen=True)
class Endpoint:
    """A method and a path; `{object}`, `{version}` are filled in before counting, other parts after."""

    method: str
    path: str
    scope: str
    budgets: tuple[str, ...] = _CRM


ACCOUNT = Endpoint("GET", "/account-info/{version}/details", "oauth")
PROPERTIES = Endpoint("GET", "/crm/properties/{version}/{object}", "crm.objects.{object}.read")
PROPERTY_CREATE = Endpoint("POST", "/crm/properties/{version}/{object}", "crm.schemas.{object}.write")
PROPERTY_UPDATE = Endpoint("PATCH", "/crm/properties/{version}/{object}/{property}", "crm.schemas.{object}.write")
PROPERTY_ARCHIVE = Endpoint(
    "DELETE", "/crm/properties/{version}/{object}/{property}", "crm.schemas.{object}.write"
)
GROUP_ARCHIVE = Endpoint(
    "DELETE", "/crm/properties/{version}/{object}/groups/{group}", "crm.schemas.{object}.write"
)
GROUP_CREATE = Endpoint("POST", "/crm/properties/{version}/{object}/groups", "crm.schemas.{object}.write")
PIPELINES = Endpoint("GET", "/crm/pipelines/{version}/{object}", "crm.objects.{object}.read")

LIST = Endpoint("GET", "/crm/objects/{version}/{object}", "crm.objects.{object}.read")
READ = Endpoint("GET", "/crm/objects/{version}/{object}/{id}", "crm.objects.{object}.read")
SEARCH = Endpoint("POST", "/crm/objects/{version}/{object}/search", "crm.objects.{object}.read", _SEARCH)
BATCH_READ = Endpoint("POST", "/crm/objects/{version}/{object}/batch/read", "crm.objects.{object}.read")
BATCH_UPDATE = Endpoint("POST", "/crm/objects/{version}/{object}/batch/update", "crm.objects.{object}.write")
ASSOCIATIONS = Endpoint(
    "POST", "/crm/associations/{version}/{object}/{to}/batch/read", "crm.objects.{object}.read", _ASSOCIATIONS
)
OCCURRENCES = Endpoint("GET", "/events/event-occurrences/{version}", "Marketing Hub Enterprise")
MEMBERSHIPS = Endpoint("GET", "/crm/lists/{version}/{list}/memberships", "crm.lists.read")
OWNERS = Endpoint("GET", "/crm/owners/{version}", "crm.objects.owners.read")

EMAIL_EVENTS = Endpoint("GET", "/email/public/v1/events", "content")
FORMS = Endpoint("GET", "/marketing/v3/forms", "forms")
SUBMISSIONS = Endpoint("GET", "/form-integrations/v1/submissions/forms/{form}", "forms")

ENDPOINTS = (
    ACCOUNT,
    PROPERTIES,
    PROPERTY_CREATE,
    PROPERTY_UPDATE,
    PROPERTY_ARCHIVE,
    GROUP_CREATE,
    GROUP_ARCHIVE,
    PIPELINES,
    LIST,
    READ,
    SEARCH,
    BATCH_READ,
    BATCH_UPDATE,
    ASSOCIATIONS,
    OCCURRENCES,
    MEMBERSHIPS,
    OWNERS,
    EMAIL_EVENTS,
    FORMS,
    SUBMISSIONS,
)

#: Activities lie under the contacts' scope, one-to-one e-mails under their own.
_SCOPE_OBJECTS = {"calls": "contacts", "meetings": "contacts", "tasks": "contacts", "communications": "contacts"}


def scope_of(endpoint: Endpoint, object_name: str = "") -> str:
    """The scope that a call needs."""
    if object_name == "emails":
        return "sales-email-read"
    return endpoint.scope.format(object=_SCOPE_OBJECTS.get(object_name, object_name))
