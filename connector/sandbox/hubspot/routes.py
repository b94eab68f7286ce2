"""Every path that the sandbox answers, with the scope it needs and the limit it counts against."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from connector.sandbox.hubspot import account, associations, events, lists, objects, properties, writing
from connector.sandbox.hubspot.calls import Call, Reply
from connector.sandbox.hubspot.limits import Bucket
from connector.sandbox.hubspot.state import SPELLINGS

Handler = Callable[[Call], Reply]


@dataclass(frozen=True)
class Endpoint:
    """One method on one path. `scope` may hold {read_type}, filled from the path's object."""

    method: str
    path: str
    handler: Handler
    scope: str = "oauth"
    bucket: Bucket = "burst"
    #: Answered without a token (the token endpoint itself).
    open: bool = False

    def template(self, parameters: dict[str, str]) -> str:
        """'POST /crm/objects/2026-09/contacts/batch/read': ids and names stay in braces."""
        filled = self.path
        for name in ("version", "type", "from", "to"):
            given = parameters.get(name)
            if given is not None:
                filled = filled.replace(f"{{{name}}}", SPELLINGS.get(given, given))
        return f"{self.method} {filled}"


#: (method, path under the object, handler, read or write, bucket)
_OBJECTS: tuple[tuple[str, str, Handler, str, Bucket], ...] = (
    ("GET", "", objects.listing, "read", "burst"),
    ("POST", "", writing.create, "write", "burst"),
    ("POST", "/batch/read", objects.batch_read, "read", "burst"),
    ("POST", "/batch/update", writing.batch_update, "write", "burst"),
    ("POST", "/batch/create", writing.batch_create, "write", "burst"),
    ("POST", "/batch/upsert", writing.batch_upsert, "write", "burst"),
    ("POST", "/batch/archive", writing.batch_archive, "write", "burst"),
    ("POST", "/search", objects.search, "read", "search"),
    ("POST", "/merge", writing.merge, "write", "burst"),
    ("POST", "/gdpr-delete", writing.gdpr_delete, "write", "burst"),
    ("GET", "/{id}", objects.read, "read", "burst"),
    ("PATCH", "/{id}", writing.update, "write", "burst"),
    ("DELETE", "/{id}", writing.archive, "write", "burst"),
)
_PROPERTIES: tuple[tuple[str, str, Handler, str], ...] = (
    ("GET", "", properties.listing, "read"),
    ("POST", "", properties.create, "write"),
    ("POST", "/batch/create", properties.batch_create, "write"),
    ("GET", "/groups", properties.groups, "read"),
    ("POST", "/groups", properties.create_group, "write"),
    ("GET", "/groups/{name}", properties.read_group, "read"),
    ("DELETE", "/groups/{name}", properties.archive_group, "write"),
    ("GET", "/{name}", properties.read, "read"),
    ("PATCH", "/{name}", properties.update, "write"),
    ("DELETE", "/{name}", properties.archive, "write"),
)
#: (method, legacy path, dated path, handler, scope); a path that has no twin stands alone.
_OTHERS: tuple[tuple[str, str | None, str | None, Handler, str], ...] = (
    (
        *("GET", "/crm/{version}/pipelines/{type}", "/crm/pipelines/{version}/{type}", properties.pipelines),
        "crm.schemas.deals.read|crm.objects.deals.read",
    ),
    (
        *("GET", "/crm/{version}/lists/{id}/memberships", "/crm/lists/{version}/{id}/memberships"),
        *(lists.memberships, "crm.lists.read"),
    ),
    ("GET", "/crm/{version}/owners", "/crm/owners/{version}", properties.owners, "crm.objects.owners.read"),
    (
        *("GET", "/crm/{version}/limits/custom-properties", "/crm/limits/{version}/custom-properties"),
        *(properties.custom_limits, "oauth"),
    ),
    ("GET", "/account-info/{version}/details", None, account.details, "oauth"),
    ("GET", "/events/{version}/events", "/events/event-occurrences/{version}", events.occurrences, "oauth"),
    (
        *("GET", "/events/{version}/events/event-types", "/events/event-occurrences/{version}/event-types"),
        *(events.event_types, "oauth"),
    ),
    ("GET", "/email/public/v1/events", None, events.email_events, "content"),
    ("GET", "/email/public/v1/events/{created}/{id}", None, events.email_event, "content"),
    ("GET", "/marketing/{version}/forms", None, events.forms, "forms"),
    ("GET", "/form-integrations/v1/submissions/forms/{id}", None, events.submissions, "forms"),
    (
        *("GET", "/communication-preferences/{version}/statuses/{id}", None, events.statuses),
        "communication_preferences.read|communication_preferences.read_write",
    ),
    (
        *("POST", "/communication-preferences/{version}/statuses/batch/read", None, events.statuses_batch),
        "communication_preferences.statuses.batch.read",
    ),
    (
        *("GET", "/communication-preferences/{version}/definitions", None, events.definitions),
        "communication_preferences.read|communication_preferences.read_write",
    ),
)


def endpoints() -> Iterator[Endpoint]:
    """All of them, those with fixed words before those with parameters in the same place."""
    for base in ("/crm/objects/{version}/{type}", "/crm/{version}/objects/{type}"):
        for method, tail, handler, right, bucket in _OBJECTS:
            yield Endpoint(method, base + tail, handler, f"crm.objects.{{type}}.{right}", bucket)
    for base in ("/crm/properties/{version}/{type}", "/crm/{version}/properties/{type}"):
        for method, tail, handler, right in _PROPERTIES:
            scope = f"crm.schemas.{{type}}.{right}"
            yield Endpoint(
                method, base + tail, handler, f"{scope}|crm.objects.{{type}}.read" if right == "read" else scope
            )
    for base in ("/crm/associations/{version}/{from}/{to}", "/crm/{version}/associations/{from}/{to}"):
        scope = "crm.objects.{from}.read&crm.objects.{to}.read"
        yield Endpoint("POST", base + "/batch/read", associations.batch_read, scope, "associations")
    for method, legacy, dated, handler, scope in _OTHERS:
        for path in (dated, legacy):
            if path is not None:
                yield Endpoint(method, path, handler, scope)
    for path in ("/oauth/{version}/token",):
        yield Endpoint("POST", path, account.token, open=True)


def scopes_needed(endpoint: Endpoint, parameters: dict[str, str]) -> list[list[str]]:
    """All of the outer list are needed; of each inner list, one."""
    filled = endpoint.scope
    for name in ("type", "from", "to"):
        if name in parameters:
            filled = filled.replace(f"{{{name}}}", _scope_object(parameters[name]))
    groups = [group.split("|") for group in filled.split("&")]
    kind = SPELLINGS.get(parameters.get("type", ""))
    if kind == "emails" and endpoint.path.endswith(("/{type}", "/search", "/batch/read", "/{id}")):
        groups.append(["sales-email-read"])
    return groups


def _scope_object(word: str) -> str:
    name = SPELLINGS.get(word, word)
    # Activities have no scope of their own: they are read with contacts.
    return name if name in ("contacts", "companies", "deals") else "contacts"
