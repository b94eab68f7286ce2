"""HubSpot's words to ours and back, as tables."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from connector.platforms.values import (
    EPOCH,
    flag,
    instant,
    number,
    record_json,
    second,
)
from connector.platforms.values import canonical_text as from_hubspot
from manifests import read_toml

__all__ = ["flag", "from_hubspot", "instant", "number", "record_json", "second"]

#: Objects as paths name them -> as our tables do.
OBJECTS = {"contacts": "contact", "companies": "company", "deals": "deal"}
PATHS = {ours: theirs for theirs, ours in OBJECTS.items()}

#: The modified date that searches go by. Companies, deals and activities have another name for it.
MODIFIED = {"contacts": "lastmodifieddate"}
MODIFIED_ELSEWHERE = "hs_lastmodifieddate"

#: HubSpot type -> ours; field types refine it (`property_type`).
PROPERTY_TYPES = {
    "bool": "boolean",
    "enumeration": "category",
    "date": "date",
    "datetime": "date",
    "number": "number",
    "string": "text",
    "phone_number": "text",
}

#: Our property types -> HubSpot's (type, fieldType). A datetime's field type is 'date'.
WRITTEN_TYPES = {
    "number": ("number", "number"),
    "text": ("string", "textarea"),
    "category": ("enumeration", "select"),
    "datetime": ("datetime", "date"),
    "boolean": ("bool", "booleancheckbox"),
}

#: Booleans need their two options spelled out when they are created.
BOOLEAN_OPTIONS = (("true", "Yes"), ("false", "No"))

#: Read with every contact: canonical columns, consent, merges and the goal of lifecycle stages stand on them.
CONTACT_BASE = (
    "email",
    "hs_additional_emails",
    "createdate",
    "lastmodifieddate",
    "lifecyclestage",
    "hubspot_owner_id",
    "country",
    "ip_country",
    "hs_timezone",
    "hs_ip_timezone",
    "hs_merged_object_ids",
    "hs_email_optout",
    "hs_legal_basis",
)

COMPANY_BASE = (
    "name",
    "domain",
    "industry",
    "numberofemployees",
    "annualrevenue",
    "country",
    "createdate",
    "hs_lastmodifieddate",
)

DEAL_BASE = (
    "dealname",
    "amount",
    "amount_in_home_currency",
    "deal_currency_code",
    "pipeline",
    "dealstage",
    "closedate",
    "createdate",
    "hs_lastmodifieddate",
    "hs_is_closed",
    "hs_is_closed_won",
)

#: Moved by every write, whoever made it: kept apart from a record's properties, which are compared for news.
STAMPS = frozenset({"createdate", "lastmodifieddate", "hs_lastmodifieddate", "hs_object_id", "hs_createdate"})

_NAMES = read_toml("hubspot", "words.toml")

#: Set when the record is made and not changed after.
IMMUTABLE = frozenset(_NAMES["immutable"])

#: Custom company properties are always taken; of HubSpot's own these.
COMPANY_WORTH_KNOWING = frozenset(_NAMES["company"])

_LEFT_OUT = frozenset((*_NAMES["personal"], *_NAMES["technical"])) | STAMPS
_LEFT_OUT_PREFIXES = tuple(_NAMES["technical_prefixes"])

#: Marketing email events -> kinds. What is not named here is left out: PROCESSED, DEFERRED, DROPPED,
#: SUPPRESSED never reached anyone; PRINT, FORWARD, UNBOUNCE say too little. STATUSCHANGE is an unsubscribe
#: only where it says so (`email_kind`).
EMAIL_KINDS = {
    "SENT": "email_sent",
    "DELIVERED": "email_delivered",
    "OPEN": "email_open",
    "CLICK": "email_click",
    "BOUNCE": "email_bounce",
    "SPAMREPORT": "email_spam",
}

#: `human` of an event that the customer's own reporting settings filter out as a bot or an own address.
FILTERED_HUMAN = 0.05

#: Legal bases that are a consent to marketing; the others allow processing, which is less.
CONSENTING = ("freely given consent",)

CALL_OUTCOMES = {
    "f240bbac-87c9-4f6e-bf70-924b57d47db7": "connected",
    "73a0d17f-1163-4015-bdd5-ec830791da20": "no answer",
    "b2cf5968-551e-4856-9783-52b3da59a7d0": "left voicemail",
    "9d9162e7-6cf3-4944-bf63-4dff82258764": "busy",
    "17b47fee-58de-441e-a44c-c6300d46f273": "wrong number",
    "a4c4c377-d246-4b32-a13b-75a56a4cd0ff": "left live message",
}


def property_type(hubspot_type: str, field_type: str, options: Iterable[str] = ()) -> str | None:
    """Our type of a property, None for one that has no values we could use (files, coordinates, JSON)."""
    if field_type == "file":
        return None
    if hubspot_type == "enumeration" and field_type == "checkbox":
        return "multi"
    if hubspot_type == "enumeration" and field_type == "booleancheckbox" and set(options) <= {"true", "false"}:
        return "boolean"
    return PROPERTY_TYPES.get(hubspot_type)


def is_technical(name: str) -> bool:
    """Whether a HubSpot-defined property is bookkeeping or personal rather than a fact to learn from."""
    return name in _LEFT_OUT or name.startswith(_LEFT_OUT_PREFIXES)


def email_kind(event: Mapping[str, Any]) -> str | None:
    """The kind of a marketing email event, None for those that are left out."""
    if event.get("type") != "STATUSCHANGE":
        return EMAIL_KINDS.get(str(event.get("type")))
    statuses = {event.get("portalSubscriptionStatus")}
    statuses |= {entry.get("status") for entry in event.get("subscriptions") or () if isinstance(entry, Mapping)}
    return "email_unsubscribe" if "UNSUBSCRIBED" in statuses else None


def milliseconds(moment: datetime) -> int:
    """Epoch milliseconds of an aware or a naive UTC instant: how HubSpot's filters and v1 paths want it."""
    naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return (naive - EPOCH) // timedelta(milliseconds=1)


def to_hubspot(kind: str, text: str | None) -> str:
    """Our canonical text in HubSpot's words; '' clears. A datetime goes as epoch milliseconds."""
    if text is None:
        return ""
    moment = instant(text) if kind == "datetime" else None
    return text if moment is None else str(milliseconds(moment))


@cache
def _zones() -> Mapping[str, str]:
    """Every name that HubSpot may use for a zone -> the IANA name: 'america_slash_new_york', 'US/Eastern' …"""
    zones: dict[str, str] = {}
    for name in available_timezones():
        zones[name.lower()] = name
        zones[name.lower().replace("/", "_slash_").replace("-", "_hyphen_")] = name
    return zones


def zone(value: object) -> str | None:
    """The IANA name of a time zone, None for one that this machine does not know."""
    return None if value in (None, "") else _zones().get(str(value).strip().lower())


def id_list(value: object) -> list[str]:
    """A list of record ids or addresses that HubSpot joins by semicolons."""
    return [part.strip() for part in str(value or "").split(";") if part.strip()]
