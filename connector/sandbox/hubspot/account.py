"""What the account says of itself, tokens, and the sandbox's own controls."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

from connector.sandbox.hubspot.calls import Call, Reply
from connector.sandbox.hubspot.problems import Problem, invalid, not_found
from connector.sandbox.hubspot.schema import BadValue
from connector.sandbox.hubspot.state import CRM_UI, Change, Collection, Portal

TOKEN = "pat-na1-5a4d0000-1eaf-4000-8000-5a4db0c5ca4d"  # noqa: S105 - opens a pretend account only
CLIENT_ID = "5a4dc11e-0000-4000-8000-000000000001"
CLIENT_SECRET = "5a4d5ec2-0000-4000-8000-000000000002"  # noqa: S105 - as above
REFRESH_TOKEN = "na1-5a4d0000-1eaf-4000-8000-000000000003"  # noqa: S105 - as above
TOKEN_SECONDS = 1_800


def details(call: Call) -> Reply:
    """Time zone and currency among others."""
    facts = call.portal.facts
    moment = datetime.fromtimestamp(call.portal.clock() / 1000, UTC).astimezone(ZoneInfo(facts.timezone))
    offset = moment.strftime("%z")
    minutes = int((moment.utcoffset() or datetime.resolution).total_seconds() // 60)
    body = {
        "portalId": facts.id,
        "accountType": "DEVELOPER_TEST",
        "timeZone": facts.timezone,
        "companyCurrency": facts.currency,
        "additionalCurrencies": [],
        "utcOffset": f"{offset[:3]}:{offset[3:]}",
        "utcOffsetMilliseconds": minutes * 60_000,
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    }
    return Reply(200, body)


def token(call: Call) -> Reply:
    """OAuth: a code or a refresh token against an access token of half an hour."""
    form = {name: values[0] for name, values in parse_qs(call.raw.decode("utf-8", "replace")).items()}
    form = {**call.query, **form}
    if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
        raise Problem(400, "missing or unknown client id", word="BAD_CLIENT_ID")
    grant = form.get("grant_type")
    if grant == "refresh_token" and form.get("refresh_token") != REFRESH_TOKEN:
        described = "refresh token is invalid, expired or revoked"
        raise Problem(400, described, word="BAD_REFRESH_TOKEN", error="invalid_grant", error_description=described)
    if grant not in ("refresh_token", "authorization_code"):
        raise Problem(400, "unsupported grant type", word="BAD_GRANT_TYPE")
    body = {
        "token_type": "bearer",
        "access_token": TOKEN,
        "refresh_token": REFRESH_TOKEN,
        "expires_in": TOKEN_SECONDS,
        "hub_id": call.portal.facts.id,
        "scopes": [],
    }
    return Reply(200, body)


def state(portal: Portal, calls: Counter[str]) -> dict[str, Any]:
    """Every live contact, and company, with its values, and the calls so far."""
    return {
        "contacts": _values(portal.contacts, ("createdate", "lastmodifieddate", "hs_object_id")),
        "companies": _values(portal.objects["companies"], ("createdate", "hs_lastmodifieddate", "hs_object_id")),
        "calls": dict(calls),
    }


def _values(collection: Collection, calculated: Sequence[str]) -> dict[str, dict[str, str]]:
    values = {str(id_): dict(collection.records[id_].properties) for id_ in collection.live}
    for id_ in collection.live:
        record = collection.records[id_]
        for name in calculated:
            values[str(id_)][name] = str(collection.read(record, name))
    return values


def edit(call: Call) -> Reply:
    """A person changes a contact, or a company, in the portal; or people change several (`{"edits": […]}`)."""
    body = call.body()
    if "edits" in body:
        return Reply(200, {"edits": [_edit(call, one) for one in body["edits"]]})
    return Reply(200, _edit(call, body))


def _edit(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    of = "companies" if "company_id" in body else "contacts"
    edited = call.portal.objects[of]
    key = f"{edited.single}_id"
    given = str(body.get(key))
    record = edited.find(edited.winner(int(given))) if given.isdigit() else None
    if record is None:
        raise not_found(f"{edited.single.capitalize()} {given} does not exist.")
    values: dict[str, str] = {}
    for name, raw in dict(body.get("properties") or {}).items():
        definition = edited.schema.live(name)
        if definition is None:
            raise invalid(f'Property "{name}" does not exist')
        try:
            values[name] = definition.stored(
                "" if raw is None else str(raw), current=record.properties.get(name), dated=False
            )
        except BadValue as bad:
            raise invalid(str(bad)) from bad
    edited.write(record, values, CRM_UI)
    modified = {"contacts": "lastmodifieddate"}.get(of, "hs_lastmodifieddate")
    return {key: given, "updatedAt": edited.read(record, modified)}


def restore(call: Call) -> Reply:
    """A person takes a contact out of the recycling bin."""
    contacts = call.portal.contacts
    given = str(call.body().get("contact_id"))
    record = contacts.find(int(given), archived=True) if given.isdigit() else None
    if record is None:
        raise not_found(f"Contact {given} is not in the recycling bin.")
    contacts.restore(record, CRM_UI)
    return Reply(200, {"contact_id": given})


def associate(call: Call) -> Reply:
    """A person associates a contact with a company or a deal, or ends that (`"removed": true`).

    Both ends are told of it, and a primary association comes as a second pair; no modified date moves.
    """
    body, portal = call.body(), call.portal
    other = next((name for name in ("companies", "deals") if f"{portal.objects[name].single}_id" in body), None)
    if other is None:
        raise invalid("Name a company_id or a deal_id.")
    ends = []
    for name in ("contacts", other):
        given = str(body.get(f"{portal.objects[name].single}_id"))
        record = portal.objects[name].find(int(given)) if given.isdigit() else None
        if record is None:
            raise not_found(f"{portal.objects[name].single.capitalize()} {given} does not exist.")
        ends.append((name, record.id))
    removed = bool(body.get("removed"))
    (left, left_id), (right, right_id) = ends
    primary = other == "companies" and portal.links.of(left, left_id, right)[:1] in ([], [right_id])
    (portal.links.end if removed else portal.links.add)(left, left_id, right, right_id)
    for is_primary in (False, True) if primary else (False,):
        for (one, one_id), (to, to_id) in ((ends[0], ends[1]), (ends[1], ends[0])):
            kind = f"{portal.objects[one].single}_TO_{portal.objects[to].single}".upper()
            more = {
                "associationType": kind,
                "fromObjectId": one_id,
                "toObjectId": to_id,
                "associationRemoved": removed,
                "isPrimaryAssociation": is_primary,
            }
            portal.tell(Change("associationChange", one, one_id, portal.clock(), CRM_UI, more=more))
    return Reply(200, {"associated": not removed})
