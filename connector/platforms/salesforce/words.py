"""Salesforce's words to ours and back, as tables."""

from collections.abc import Mapping
from typing import Any

from connector.platform import WrittenObject
from connector.platforms.values import canonical_text, instant, plain_number, record_json
from manifests import read_toml

#: Our contacts are people of two objects; the first three characters of an id tell which.
LEAD, CONTACT = "Lead", "Contact"
PEOPLE: Mapping[str, str] = {"00Q": LEAD, "003": CONTACT}

ACCOUNT = "Account"

#: Records that we write, by the beginnings of their ids.
WRITTEN: Mapping[WrittenObject, Mapping[str, str]] = {"contact": PEOPLE, "company": {"001": ACCOUNT}}

#: How ids of campaigns begin.
CAMPAIGN = "701"

#: Objects as Salesforce names them -> as our tables do.
OBJECTS = {LEAD: "contact", CONTACT: "contact", ACCOUNT: "company", "Opportunity": "deal"}

#: Salesforce type -> ours. What is not here has no values that we could use: compound addresses and places,
#: references, encrypted and binary fields, addresses of people.
PROPERTY_TYPES = {
    "string": "text",
    "textarea": "text",
    "picklist": "category",
    "combobox": "category",
    "multipicklist": "multi",
    "int": "number",
    "long": "number",
    "double": "number",
    "currency": "number",
    "percent": "number",
    "date": "date",
    "datetime": "date",
    "boolean": "boolean",
}

#: Texts longer than this are prose: never a feature.
LONGEST_TEXT = 255

#: Our property types -> the types of a custom field that can hold them. A segment's id is a text: its options
#: come with the model, and a restricted picklist would refuse them.
HELD_BY: Mapping[str, frozenset[str]] = {
    "number": frozenset({"double", "int", "percent", "currency"}),
    "text": frozenset({"string", "textarea"}),
    "category": frozenset({"string", "picklist", "combobox"}),
    "datetime": frozenset({"datetime"}),
    "boolean": frozenset({"boolean"}),
}

#: Read with every record of an object, where it has them: canonical columns stand on them.
BASE: Mapping[str, tuple[str, ...]] = {
    LEAD: (
        "Id", "IsDeleted", "MasterRecordId", "CreatedDate", "SystemModstamp", "Email", "Country", "OwnerId",
        "Status", "IsConverted", "ConvertedDate", "ConvertedContactId", "IndividualId", "HasOptedOutOfEmail",
    ),
    CONTACT: (
        "Id", "IsDeleted", "MasterRecordId", "CreatedDate", "SystemModstamp", "Email", "MailingCountry", "OwnerId",
        "AccountId", "IndividualId", "HasOptedOutOfEmail",
    ),
    "Account": (
        "Id", "IsDeleted", "MasterRecordId", "CreatedDate", "SystemModstamp", "Name", "Website", "Industry",
        "NumberOfEmployees", "AnnualRevenue", "BillingCountry",
    ),
    "Opportunity": (
        "Id", "IsDeleted", "CreatedDate", "SystemModstamp", "AccountId", "Amount", "CurrencyIsoCode", "StageName",
        "IsClosed", "IsWon", "CloseDate", "RecordTypeId",
    ),
}  # fmt: skip

#: Moved by every write or by looking at a record, whoever did it; or told in a column of its own.
STAMPS = frozenset(
    {
        "Id", "IsDeleted", "MasterRecordId", "CreatedDate", "CreatedById", "LastModifiedDate",
        "LastModifiedById", "SystemModstamp", "LastActivityDate", "LastViewedDate", "LastReferencedDate",
        "IsConverted", "ConvertedDate", "ConvertedContactId",
    }
)  # fmt: skip

_NAMES = read_toml("salesforce", "words.toml")
IMMUTABLE: frozenset[str] = frozenset(_NAMES["immutable"])
COMPANY_WORTH_KNOWING: frozenset[str] = frozenset(_NAMES["company"])
_LEFT_OUT = frozenset((*_NAMES["personal"], *_NAMES["technical"])) | STAMPS

#: The stage of a contact that was a lead once.
CONVERTED = "converted"

#: Fields of an Individual by which a person objects -> (channel, purpose) of the consent that is denied.
OBJECTIONS: Mapping[str, tuple[str, str]] = {
    "HasOptedOutProfiling": ("any", "profiling"),
    "HasOptedOutProcessing": ("processing", "profiling"),
    "ShouldForget": ("forget", "profiling"),
    "HasOptedOutSolicit": ("any", "marketing"),
}


def is_technical(name: str) -> bool:
    """Whether one of Salesforce's own fields is bookkeeping or personal rather than a fact to learn from."""
    return name in _LEFT_OUT


def field_name(name: str) -> str:
    """The custom field of one of our properties: leadlight_score -> Leadlight_Score__c."""
    return "_".join(part[:1].upper() + part[1:] for part in name.split("_") if part) + "__c"


def object_of(record_id: str, of: WrittenObject = "contact") -> str | None:
    """Salesforce's object of one of our records (Lead or Contact), by the id's first characters; None for none."""
    return WRITTEN[of].get(record_id[:3]) if len(record_id) == 18 else None


def text_of(kind: str | None, value: Any) -> str | None:
    """A field's value as text, the same whether it came by REST (JSON) or by Bulk (CSV)."""
    if value in (None, ""):
        return None
    if kind == "boolean" or isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if kind == "number":
        return plain_number(text)
    if kind == "date" and "T" in text:
        moment = instant(text)
        return text if moment is None else moment.isoformat(timespec="milliseconds") + "Z"
    return text


def to_salesforce(kind: str, text: str | None) -> str | bool | float | None:
    """Our canonical text as a JSON value of a record; None clears, and a checkbox is never empty."""
    if kind == "boolean":
        return text == "true"
    if text is None or kind != "number":
        return text
    return float(text) if "." in text or "e" in text.lower() else int(text)


def to_csv(kind: str, text: str | None) -> str | None:
    """The same for Bulk's CSV, in which all values are texts."""
    return ("true" if text == "true" else "false") if kind == "boolean" else text


def from_salesforce(kind: str, value: Any) -> str | None:
    """Salesforce's value of one of our fields as canonical text."""
    return canonical_text(kind, str(value).lower() if isinstance(value, bool) else value)


def ours_json(values: Mapping[str, str | None], kinds: Mapping[str, str], *, flags: bool) -> str:
    """Our values on a record as the mirror keeps them.

    A checkbox is never empty. Unticked, it says no where flags are in use and something else of ours stands on the
    record; else nobody ever said anything.
    """
    said = {name: value for name, value in values.items() if kinds[name] != "boolean" or value == "true"}
    if flags and any(said.values()):
        return record_json(values)
    return record_json(said)
