"""What people did and were told, as events: tasks, events, e-mails, campaign responses; and the campaigns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connector.platform import Page
from connector.platforms.rows import Row, filled
from connector.platforms.salesforce import fields, words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import Record
from connector.platforms.salesforce.reading import Reading, is_deleted
from connector.platforms.salesforce.stream import Source, read
from connector.platforms.values import details_json, flag, number, second
from scoring.tables import BY_DAY

#: Salesforce's "to" and "cc" of an e-mail's relations; the sender of an incoming one is "from".
_RECIPIENTS = ("ToAddress", "CcAddress", "BccAddress")
_SENDER = "FromAddress"


@dataclass(frozen=True)
class Activity:
    """An object whose records are events: what is read of it, and the events that a record makes."""

    name: str
    object: str
    fields: tuple[str, ...]
    rows: Callable[[Record], Iterator[Row]]
    #: Archived after a year: then only a query of everything has it.
    archived: bool = False


def _tasks(record: Record) -> Iterator[Row]:
    """A task is dated by day: by its creation's time where that was the same day. E-mails have an object of their
    own."""
    at, created, dated = second(record.get("ActivityDate")), second(record.get("CreatedDate")), BY_DAY
    if at is None or (created is not None and created.date() == at.date()):
        at, dated = created, {}
    subtype = str(record.get("TaskSubtype") or "Task")
    if at is None or subtype == "Email":
        return
    details = {"activity": "tasks", "type": subtype, "status": record.get("Status"), **dated}
    call = subtype == "Call"
    yield _event(f"task:{record['Id']}", at, "call" if call else "custom", "phone" if call else "task", details,
                 record.get("WhoId"))  # fmt: skip


def _meetings(record: Record) -> Iterator[Row]:
    timed = second(record.get("ActivityDateTime"))
    at = timed or second(record.get("ActivityDate"))
    if at is not None:
        details = {"activity": "events", "type": record.get("EventSubtype"), **({} if timed else BY_DAY)}
        yield _event(f"event:{record['Id']}", at, "meeting", "meeting", details, record.get("WhoId"))


def _responses(record: Record) -> Iterator[Row]:
    """A response is dated by day. Joining a campaign is somebody else's doing: no event."""
    at = second(record.get("FirstRespondedDate"))
    if at is None or not flag(record.get("HasResponded")):
        return
    who = record.get("ContactId") or record.get("LeadId")
    details = {"activity": "campaign_response", "status": record.get("Status"), **BY_DAY}
    row = _event(f"campaign_member:{record['Id']}", at, "custom", "campaign", details, who)
    yield {**row, "campaign_id": record.get("CampaignId") or None}


ACTIVITIES = (
    Activity(
        "tasks",
        "Task",
        ("Id", "IsDeleted", "WhoId", "ActivityDate", "Status", "TaskSubtype", "CreatedDate", "SystemModstamp"),
        _tasks,
        archived=True,
    ),
    Activity(
        "events",
        "Event",
        ("Id", "IsDeleted", "WhoId", "ActivityDate", "ActivityDateTime", "EventSubtype", "CreatedDate",
         "SystemModstamp"),
        _meetings,
        archived=True,
    ),
    Activity(
        "campaign_members",
        "CampaignMember",
        ("Id", "IsDeleted", "CampaignId", "LeadId", "ContactId", "Status", "HasResponded", "FirstRespondedDate",
         "SystemModstamp"),
        _responses,
    ),
)  # fmt: skip


def pull(reading: Reading, activity: Activity) -> Iterator[Page]:
    """An activity's records that are new since the cursor. Raises MissingScope."""
    reading.definitions[activity.object] = fields.parse(reading.api.describe(activity.object))
    wanted = reading.fields(activity.object, activity.fields)
    source = Source(activity.object, wanted, everything=activity.archived)
    for batch in read(reading, activity.name, source):
        live = [record for record in batch.records if not is_deleted(record)]
        rows = [row for record in live for row in activity.rows(record)]
        yield Page(activity.name, _of_people(reading, rows), batch.cursor, total=batch.total)


def pull_campaigns(reading: Reading) -> Iterator[Page]:
    """Campaigns that are new since the cursor. Raises MissingScope."""
    reading.definitions["Campaign"] = fields.parse(reading.api.describe("Campaign"))
    names = ("Id", "IsDeleted", "Name", "Type", "StartDate", "ActualCost", "SystemModstamp")
    for batch in read(reading, "campaigns", Source("Campaign", reading.fields("Campaign", names))):
        rows = [
            {
                "campaign_id": str(record["Id"]),
                "channel": str(record.get("Type") or "").lower() or None,
                "name": record.get("Name") or None,
                "sent_at": second(record.get("StartDate")),
                "cost": number(record.get("ActualCost")),
            }
            for record in batch.records
            if not is_deleted(record)
        ]
        yield Page("campaigns", filled({"campaigns": rows}), batch.cursor, total=batch.total)


_EMAIL = ("Id", "IsDeleted", "MessageDate", "Incoming", "RelatedToId", "IsOpened", "FirstOpenedDate",
          "LastOpenedDate", "IsBounced", "IsTracked", "SystemModstamp")  # fmt: skip
_RELATION = ("Id", "EmailMessageId", "RelationId", "RelationType", "SystemModstamp")


def pull_emails(reading: Reading) -> Iterator[Page]:
    """E-mails that are new since the cursor, an event for each thing that happened to one and each recipient.

    Raises MissingScope.
    """
    reading.definitions["EmailMessage"] = fields.parse(reading.api.describe("EmailMessage"))
    source = Source("EmailMessage", reading.fields("EmailMessage", _EMAIL))
    whole = "since" not in reading.cursor("emails")
    relations: Mapping[str, list[Record]] | None = _all_relations(reading) if whole else None
    for batch in read(reading, "emails", source):
        live = [record for record in batch.records if not is_deleted(record)]
        found = relations if relations is not None else _relations(reading, [str(record["Id"]) for record in live])
        rows = [row for record in live for row in _email_rows(record, found.get(str(record["Id"]), ()))]
        yield Page("emails", _of_people(reading, rows), batch.cursor, total=batch.total)


def _all_relations(reading: Reading) -> dict[str, list[Record]]:
    source = Source("EmailMessageRelation", _RELATION)
    return _by_email(record for batch in read(reading, "", source, anew=True) for record in batch.records)


def _relations(reading: Reading, ids: Sequence[str]) -> dict[str, list[Record]]:
    found: list[Record] = []
    size = reading.api.sizes["ids"]
    for start in range(0, len(ids), size):
        condition = soql.one_of("EmailMessageId", ids[start : start + size])
        query = soql.select(_RELATION, "EmailMessageRelation", [condition])
        found += reading.api.rows(query, object_name="EmailMessageRelation")
    return _by_email(found)


def _by_email(records: Iterator[Record] | Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(str(record["EmailMessageId"]), []).append(record)
    return found


def _email_rows(record: Record, relations: Sequence[Record]) -> Iterator[Row]:
    """Salesforce tells of no delivery: what did not bounce was delivered when it was sent. An e-mail that is
    related to a campaign is that campaign's mail; one from person to person is none's."""
    sent = second(record.get("MessageDate"))
    if flag(record.get("Incoming")):
        happened: list[tuple[str, datetime | None]] = [("email_reply", sent)]
        sides: tuple[str, ...] = (_SENDER,)
    else:
        sides = _RECIPIENTS
        happened = [("email_sent", sent)]
        if flag(record.get("IsBounced")):
            happened.append(("email_bounce", None if sent is None else sent + timedelta(seconds=1)))
        else:
            happened.append(("email_delivered", sent))
        opened = dict.fromkeys((second(record.get("FirstOpenedDate")), second(record.get("LastOpenedDate"))))
        happened += [("email_open", at) for at in opened]
    related = str(record.get("RelatedToId") or "")
    campaign = related if related.startswith(words.CAMPAIGN) else None
    people = dict.fromkeys(str(found["RelationId"]) for found in relations if found.get("RelationType") in sides)
    for kind, at in happened:
        for person in people:
            if at is not None:
                stamp = f":{at.isoformat()}" if kind == "email_open" else ""
                key, channel = (
                    f"email:{record['Id']}:{kind}{stamp}:{person}",
                    "email" if campaign else "one_to_one",
                )
                row = _event(key, at, kind, channel, {"activity": "emails"}, person)
                yield {**row, "campaign_id": campaign}


def _event(
    event_id: str, at: datetime, kind: str, channel: str, details: Mapping[str, object], who: object
) -> Row:
    return {
        "event_id": event_id,
        "contact_id": None if who is None else str(who),
        "occurred_at": at,
        "kind": kind,
        "channel": channel,
        "human": 1.0,
        "source": "salesforce",
        "properties": details_json(details),
    }


def _of_people(reading: Reading, rows: Sequence[Row]) -> dict[str, object]:
    """Events of leads and contacts; those of a lead that this pull has met as converted are its contact's."""
    now = reading.now()
    kept = [
        {**row, "ingested_at": now, "contact_id": reading.met.get(str(row["contact_id"]), row["contact_id"])}
        for row in rows
        if row["contact_id"] and words.object_of(str(row["contact_id"]))
    ]
    return dict(filled({"events": kept}))
