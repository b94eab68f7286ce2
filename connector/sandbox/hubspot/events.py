"""Engagement endpoints: marketing e-mail events, occurrences, forms and their submissions, consent."""

import base64
import json
from typing import Any

from connector.sandbox import times
from connector.sandbox.hubspot.calls import Call, Reply
from connector.sandbox.hubspot.engagement import Consent
from connector.sandbox.hubspot.problems import invalid, missing_scope, not_found

APP, APP_NAME = 113, "Batch"
SUBSCRIPTION = 39_644_612
_FOREVER = 1 << 53
_PLAIN_SCOPE = "communication_preferences.statuses.batch.read"


def email_events(call: Call) -> Reply:
    """Newest first. `offset` is opaque and holds while there is more."""
    first, last = _time(call, "startTimestamp", 0), _time(call, "endTimestamp", _FOREVER)
    limit = call.whole("limit", 10, 1_000)
    equal: dict[str, Any] = {}
    if call.query.get("eventType"):
        equal["type"] = call.query["eventType"]
    if call.query.get("recipient"):
        equal["recipient"] = call.query["recipient"].lower()
    if call.query.get("campaignId"):
        if not call.query.get("appId"):
            raise invalid("campaignId needs appId.")
        equal["campaign"] = _number(call.query["campaignId"])
    if call.flag("excludeFilteredEvents"):
        equal["filtered"] = False
    start = _position(call.query.get("offset"))
    rows, more = call.portal.engagement.emails.page(start, limit, first=first, last=last, **equal)
    events = [_email_event(call, row) for row in rows]
    return Reply(200, {"hasMore": more, "offset": _offset(start + len(rows)), "events": events})


def email_event(call: Call) -> Reply:
    """One event by its time and id."""
    created = _number(call.path["created"])
    rows, _ = call.portal.engagement.emails.page(0, 1, first=created, last=created, id=call.path["id"])
    if not rows:
        raise not_found(named=False)
    return Reply(200, _email_event(call, rows[0]))


def _email_event(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    kind = row["type"]
    event: dict[str, Any] = {
        "id": row["id"],
        "created": row["created"],
        "type": kind,
        "recipient": row["recipient"],
        "portalId": call.portal.facts.id,
        "appId": APP,
        "appName": APP_NAME,
        "emailCampaignId": row["campaign"],
        "filteredEvent": row["filtered"],
    }
    if row["sent_id"] is not None:
        event["sentBy"] = {"id": row["sent_id"], "created": row["sent_created"]}
    if kind == "CLICK":
        event |= {"url": row["url"], "referer": "", "linkId": 0}
    if kind == "OPEN":
        event |= {"duration": 1229}
    if kind in ("OPEN", "CLICK"):
        event |= {"deviceType": "COMPUTER", "userAgent": "Mozilla/5.0", "location": {"country": ""}}
        event |= {"browser": {"name": "Chrome", "family": "Chrome", "type": "Browser", "version": []}}
    if kind == "BOUNCE":
        event |= {"category": "UNKNOWN_USER", "status": "5.1.1", "response": "550 5.1.1 unknown user"}
    if kind == "STATUSCHANGE":
        # An unsubscription has no type of its own.
        event |= {
            "source": "SOURCE_RECIPIENT",
            "subscriptions": [{"id": SUBSCRIPTION, "status": "UNSUBSCRIBED"}],
            "portalSubscriptionStatus": "UNSUBSCRIBED",
            "requestedBy": row["recipient"],
            "bounced": False,
        }
    return event


def occurrences(call: Call) -> Reply:
    """Event occurrences, of one record or of the account; an Enterprise hub only."""
    _need_enterprise(call)
    first, last = _iso_time(call, "occurredAfter", 0), _iso_time(call, "occurredBefore", _FOREVER)
    limit = min(int(call.query.get("limit") or 100), 1_000)
    equal: dict[str, Any] = {}
    if call.query.get("eventType"):
        equal["type"] = call.query["eventType"]
    contact = _contact_asked(call)
    if contact is not None:
        equal["contact"] = contact
    start = _position(call.query.get("after"))
    ascending = call.query.get("sort", "").upper() in ("OCCURREDAT", "ASCENDING", "ASC")
    rows, more = call.portal.engagement.occurrences.page(
        start, limit, first=first, last=last, ascending=ascending, **equal
    )
    body: dict[str, Any] = {"results": [_occurrence(call, row) for row in rows]}
    if more:
        after = _offset(start + limit)
        link = f"{call.base_url}{call.target.split('?')[0]}?after={after}"
        body["paging"] = {"next": {"after": after, "link": link}}
    return Reply(200, body)


def _contact_asked(call: Call) -> int | None:
    if call.query.get("objectType", "contact").lower() not in ("contact", "contacts", "0-1"):
        raise invalid("objectType: this account has events of contacts only.")
    email = call.query.get("objectProperty.email")
    if email:
        return call.portal.contacts.by_email.get(email.lower(), -1)
    given = call.query.get("objectId")
    return None if not given else _number(given)


def _occurrence(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    details = json.loads(row["details"]) if row["details"] else {}
    if row["type"] == "e_visited_page":
        details = {"hs_title": details["title"]} if "title" in details else {}
    shown = {"hs_url": row["url"], **details}
    return {
        "id": row["id"],
        "eventType": row["type"],
        "objectType": "CONTACT",
        # Events of a contact that was merged away are the winner's.
        "objectId": str(call.portal.contacts.winner(row["contact"])),
        "occurredAt": times.iso(row["created"]),
        "properties": {name: str(value) for name, value in shown.items() if value is not None},
    }


def event_types(call: Call) -> Reply:
    """Names of all kinds of occurrences."""
    _need_enterprise(call)
    return Reply(200, {"eventTypes": call.portal.engagement.occurrences.distinct("type")})


def _need_enterprise(call: Call) -> None:
    if call.faults.plan != "enterprise":
        raise missing_scope(["business-intelligence"])


def forms(call: Call) -> Reply:
    """Form definitions."""
    limit, start = call.whole("limit", 20, 500), _position(call.query.get("after"))
    found = list(call.portal.engagement.forms.values())
    results = [
        {
            "id": form.guid,
            "name": form.name,
            "formType": "hubspot",
            "createdAt": times.iso(form.created),
            "updatedAt": times.iso(form.created),
            "archived": False,
            "fieldGroups": [],
        }
        for form in found[start : start + limit]
    ]
    body: dict[str, Any] = {"results": results}
    if start + limit < len(found):
        body["paging"] = {"next": {"after": _offset(start + limit)}}
    return Reply(200, body)


def submissions(call: Call) -> Reply:
    """A form's submissions, newest first; there is no filter by time."""
    form = call.portal.engagement.forms.get(call.path["id"])
    if form is None:
        raise not_found(named=False)
    limit, start = call.whole("limit", 20, 50), _position(call.query.get("after"))
    results = [
        {
            "conversionId": one.id,
            "submittedAt": one.at,
            "values": [{"name": name, "value": value, "objectTypeId": "0-1"} for name, value in one.values],
            "pageUrl": one.page,
        }
        for one in form.submissions[start : start + limit]
    ]
    body: dict[str, Any] = {"results": results}
    if start + limit < len(form.submissions):
        body["paging"] = {"next": {"after": _offset(start + limit)}}
    return Reply(200, body)


def statuses(call: Call) -> Reply:
    """Subscription statuses of one address."""
    return Reply(200, {"status": "SUCCESS", "results": [_status(call, call.path["id"])]})


def statuses_batch(call: Call) -> Reply:
    """Statuses of up to 100 addresses; Marketing Hub Enterprise only."""
    if call.faults.plan != "enterprise":
        raise missing_scope([_PLAIN_SCOPE])
    addresses = call.body().get("inputs")
    if not isinstance(addresses, list) or not 0 < len(addresses) <= 100:
        raise invalid("inputs must be a list of 1 to 100 addresses.")
    now = times.iso(call.portal.clock())
    results = [
        {"subscriberIdString": str(address), "statuses": [_status(call, str(address))]} for address in addresses
    ]
    return Reply(200, {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now})


def _status(call: Call, address: str) -> dict[str, Any]:
    consent = call.portal.engagement.consents.get(address.lower(), Consent("NOT_SPECIFIED"))
    return {
        "channel": "EMAIL",
        "subscriberIdString": address,
        "subscriptionId": SUBSCRIPTION,
        "subscriptionName": "Marketing Information",
        "status": consent.status,
        "source": "Sandbox",
        "legalBasis": None,
        "timestamp": None if consent.since is None else times.iso(consent.since),
    }


def definitions(call: Call) -> Reply:
    """The subscription types: one."""
    one = {"id": str(SUBSCRIPTION), "name": "Marketing Information", "isActive": True, "isDefault": True}
    stamps = dict.fromkeys(("createdAt", "updatedAt"), times.iso(call.portal.started))
    return Reply(200, {"status": "COMPLETE", "results": [{**one, **stamps}]})


def _time(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    return _number(text) if text else default


def _iso_time(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if not text:
        return default
    moment = times.parse(text.replace(" ", "+"))
    if moment is None:
        raise invalid(f"{name} must be an ISO 8601 time, not {text!r}.")
    return moment


def _number(text: str) -> int:
    if not text.isdigit():
        raise invalid(f"A whole number is expected, not {text!r}.")
    return int(text)


def _offset(position: int) -> str:
    return base64.urlsafe_b64encode(f"sandbox:{position}".encode()).decode().rstrip("=")


def _position(offset: str | None) -> int:
    if not offset:
        return 0
    try:
        text = base64.urlsafe_b64decode(offset + "=" * (-len(offset) % 4)).decode()
    except ValueError as error:
        raise invalid("The offset is not one that an earlier page gave.") from error
    if not text.removeprefix("sandbox:").isdigit():
        raise invalid("The offset is not one that an earlier page gave.")
    return int(text.removeprefix("sandbox:"))
