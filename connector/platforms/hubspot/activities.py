"""Calls, meetings, one-to-one e-mails, tasks and messages: what people did and were told, as events."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.platform import Page
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client.api import Record
from connector.platforms.hubspot.client.paging import Fetched, pages
from connector.platforms.hubspot.reading import Reading, Row, details_json, filled

Properties = Mapping[str, Any]

#: What is kept of an activity besides its time: nothing that people wrote.
_COMMON = ("hs_timestamp", "hs_lastmodifieddate")


def _email_kind(given: Properties) -> str:
    if given.get("hs_email_direction") == "INCOMING_EMAIL":
        return "email_reply"
    return "email_bounce" if given.get("hs_email_status") in ("BOUNCED", "FAILED") else "email_sent"


def _message_kind(given: Properties) -> str:
    return "sms_sent" if given.get("hs_communication_channel_type") == "SMS" else "custom"


@dataclass(frozen=True)
class Activity:
    """One kind of activity: HubSpot's object name, what is read of it and what it is to us.

    `details` maps property -> the name it has in an event's `properties`.
    """

    name: str
    kind: Callable[[Properties], str]
    channel: str
    details: Mapping[str, str]


ACTIVITIES = (
    Activity(
        "calls",
        lambda _: "call",
        "phone",
        {
            "hs_call_direction": "direction",
            "hs_call_status": "status",
            "hs_call_duration": "duration_ms",
            "hs_call_disposition": "outcome",
        },
    ),
    Activity("meetings", lambda _: "meeting", "meeting", {"hs_meeting_outcome": "outcome"}),
    Activity(
        "emails",
        _email_kind,
        "one_to_one",
        {"hs_email_direction": "direction", "hs_email_status": "status"},
    ),
    Activity(
        "tasks",
        lambda _: "custom",
        "task",
        {"hs_task_type": "type", "hs_task_status": "status", "hs_task_priority": "priority"},
    ),
    Activity(
        "communications",
        _message_kind,
        "message",
        {"hs_communication_channel_type": "type"},
    ),
)


def pull(reading: Reading, activity: Activity) -> Iterator[Page]:
    """An activity's records that are new since the cursor, one event for each contact they belong to."""
    cursor = reading.cursor(activity.name)
    wanted = [*_COMMON, *activity.details]
    if "since" in cursor:
        yield from _changed(reading, activity, wanted, cursor)
        return
    started = int(cursor.get("started") or words.milliseconds(reading.api.now()))

    def fetch(after: str | None) -> Fetched:
        return reading.api.list_page(activity.name, wanted, after=after, associations=("contacts",))

    for records, after in pages(fetch, cursor.get("after")):
        stand = {"since": started} if after is None else {"after": after, "started": started}
        yield _page(reading, activity, records, {str(record["id"]): _inline(record) for record in records}, stand)


def _changed(
    reading: Reading, activity: Activity, wanted: Sequence[str], cursor: Mapping[str, Any]
) -> Iterator[Page]:
    """By search, from `lookback` seconds before the cursor: events that were read before are the same again."""
    started = int(cursor.get("started") or words.milliseconds(reading.api.now()))
    since, above = int(cursor["since"]), cursor.get("above")
    floor = {
        "propertyName": words.MODIFIED_ELSEWHERE,
        "operator": "GTE",
        "value": str(since - 1000 * reading.lookback),
    }
    while True:
        beyond = [{"propertyName": "hs_object_id", "operator": "GT", "value": above}] if above else []
        total, records = reading.api.search(activity.name, [floor, *beyond], wanted)
        last = total <= len(records) or not records
        above = str(records[-1]["id"]) if records else above
        contacts = _contacts_of(reading, activity, records)
        stand = {"since": started} if last else {"since": since, "started": started, "above": above}
        yield _page(reading, activity, records, contacts, stand)
        if last:
            return


def _contacts_of(reading: Reading, activity: Activity, records: Sequence[Record]) -> dict[str, list[str]]:
    ids = [str(record["id"]) for record in records]
    if not ids:
        return {}
    found = reading.api.associations(activity.name, "contacts", ids)
    return {record: [str(to["toObjectId"]) for to in found.get(record, ())] for record in ids}


def _inline(record: Record) -> list[str]:
    found = ((record.get("associations") or {}).get("contacts") or {}).get("results") or ()
    return [str(to["id"]) for to in found]


def _page(
    reading: Reading,
    activity: Activity,
    records: Sequence[Record],
    contacts: Mapping[str, Sequence[str]],
    cursor: Mapping[str, Any],
) -> Page:
    now = reading.now()
    rows = [
        {**event, "event_id": f"{event['event_id']}:{contact}", "contact_id": contact, "ingested_at": now}
        for record in records
        if (event := _event(activity, record)) is not None
        for contact in dict.fromkeys(contacts.get(str(record["id"]), ()))
    ]
    return Page(activity.name, filled({"events": rows}), cursor)


def _event(activity: Activity, record: Record) -> Row | None:
    given = record.get("properties") or {}
    occurred_at = words.second(given.get("hs_timestamp"))
    if occurred_at is None:
        return None
    details = {ours: _worded(theirs, given.get(theirs)) for theirs, ours in activity.details.items()}
    details["activity"] = activity.name
    return {
        "event_id": f"{activity.name}:{record['id']}",
        "occurred_at": occurred_at,
        "kind": activity.kind(given),
        "channel": activity.channel,
        "human": 1.0,
        "source": "hubspot",
        "properties": details_json(details),
    }


def _worded(name: str, value: object) -> object:
    if name == "hs_call_disposition":
        return words.CALL_OUTCOMES.get(str(value), value)
    return value
