"""Canonical events as HubSpot keeps them: e-mail events, occurrences, submissions and CRM activities."""

import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from connector.sandbox import times
from connector.sandbox.hubspot.engagement import EMAIL_EVENTS, OCCURRENCES, Consent, Form, Submission, Timeline
from connector.sandbox.hubspot.ids import Ids
from connector.sandbox.hubspot.state import Portal, Record
from scoring.engine import connect

_EMAIL_TYPES = {
    "email_sent": "SENT",
    "email_delivered": "DELIVERED",
    "email_open": "OPEN",
    "email_click": "CLICK",
    "email_bounce": "BOUNCE",
    "email_unsubscribe": "STATUSCHANGE",
    "email_spam": "SPAMREPORT",
}
_ACTIVITIES = {"meeting": "meetings", "call": "calls", "email_reply": "emails", "sms_sent": "communications"}
#: Call outcomes are known by these ids in every account.
_DISPOSITIONS = {
    "connected": "f240bbac-87c9-4f6e-bf70-924b57d47db7",
    "no_answer": "73a0d17f-1163-4015-bdd5-ec830791da20",
    "left_voicemail": "b2cf5968-551e-4856-9783-52b3da59a7d0",
    "busy": "9d9162e7-6cf3-4944-bf63-4dff82258764",
    "wrong_number": "17b47fee-58de-441e-a44c-c6300d46f273",
    "left_live_message": "a4c4c377-d246-4b32-a13b-75a56a4cd0ff",
}
_NAMESPACE = uuid.UUID("5a4db0c5-0000-4000-8000-00000000f0c5")
Row = Mapping[str, Any]

# A mailing reaches a contact once, so that contact and campaign name the send that an event follows.
_EMAIL_SQL = """
    select e.event_id as id, epoch_ms(e.occurred_at) as created, t.type, k.email as recipient,
        coalesce(c.number, 0) as campaign, s.sent_id, s.sent_created, e.url,
        coalesce(e.human = 0, false) as filtered
    from events e
    join types t on e.kind = t.kind
    join known k on e.contact_id = k.contact_id
    left join campaigns c on e.campaign_id = c.campaign_id
    left join (
        select contact_id, campaign_id, min(event_id) as sent_id, min(epoch_ms(occurred_at)) as sent_created
        from events where kind = 'email_sent' group by all
    ) s on e.kind <> 'email_sent' and e.contact_id = s.contact_id and e.campaign_id = s.campaign_id
    where e.occurred_at is not null
"""
_OCCURRENCE_SQL = """
    select e.event_id as id, epoch_ms(e.occurred_at) as created,
        case when e.kind = 'page_view' then 'e_visited_page'
            else '{prefix}' || case when e.kind = 'custom' then coalesce(e.properties ->> '$.name', 'custom')
                else e.kind end
        end as type, k.contact, e.url, e.properties as details
    from events e
    join known k on e.contact_id = k.contact_id
    where e.occurred_at is not null and e.kind not in (select kind from elsewhere)
"""
_LISTED_SQL = """
    select e.*, k.contact, k.email, epoch_ms(e.occurred_at) as at
    from events e
    join known k on e.contact_id = k.contact_id
    where e.occurred_at is not null and (e.kind = 'form_submit' or e.kind in (select kind from activities))
    order by e.occurred_at, e.event_id
"""


def consents(account: Portal, tables: Mapping[str, pa.Table]) -> dict[str, int | None]:
    """Fill the subscription statuses; gives the contacts who left all marketing mail, and when (epoch ms)."""
    table = tables.get("consents")
    if table is None:
        return {}
    contacts = tables["contacts"]
    emails = dict(zip(contacts["contact_id"].to_pylist(), contacts["email"].to_pylist(), strict=True))
    words = {"granted": "SUBSCRIBED", "denied": "UNSUBSCRIBED"}
    denied: dict[str, int | None] = {}
    for row in table.to_pylist():
        if row["purpose"] != "marketing" or row["channel"] not in (None, "email"):
            continue
        since = None if row["since"] is None else times.from_datetime(row["since"])
        if emails.get(row["contact_id"]):
            consent = Consent(words.get(row["status"], "NOT_SPECIFIED"), since)
            account.engagement.consents[emails[row["contact_id"]].lower()] = consent
        if row["status"] == "denied":
            denied[row["contact_id"]] = since
    return denied


def fill(account: Portal, tables: Mapping[str, pa.Table], contacts: Ids) -> None:
    """Turn `events` into what the endpoints serve. Events of unknown contacts are left out."""
    events = tables.get("events")
    if events is None or not events.num_rows:
        return
    with connect() as engine:
        engine.register("events", events)
        engine.register("types", _table(kind=list(_EMAIL_TYPES), type=list(_EMAIL_TYPES.values())))
        engine.register("activities", _table(kind=list(_ACTIVITIES)))
        engine.register("elsewhere", _table(kind=[*_EMAIL_TYPES, *_ACTIVITIES, "form_submit"]))
        engine.register("campaigns", _campaigns(events))
        engine.register("known", _known(account, engine, contacts))
        emails = engine.sql(_EMAIL_SQL).to_arrow_table().cast(EMAIL_EVENTS)
        seen = (
            engine.sql(_OCCURRENCE_SQL.format(prefix=f"pe{account.facts.id}_")).to_arrow_table().cast(OCCURRENCES)
        )
        listed = engine.sql(_LISTED_SQL).to_arrow_table()
    account.engagement.emails, account.engagement.occurrences = Timeline(emails), Timeline(seen)
    _fill_listed(account, listed)


def _table(**columns: list[str]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _campaigns(events: pa.Table) -> pa.Table:
    """Campaign ids are numbers; others become one, the same each time."""
    names = [name for name in events["campaign_id"].unique().to_pylist() if name is not None]
    numbers = [
        int(name) if name.isascii() and name.isdigit() else uuid.uuid5(_NAMESPACE, name).int % 1_000_000_000
        for name in names
    ]
    return pa.table({"campaign_id": pa.array(names, pa.string()), "number": pa.array(numbers, pa.int64())})


def _known(account: Portal, engine: duckdb.DuckDBPyConnection, contacts: Ids) -> pa.Table:
    """contact_id of the events, the record that it leads to, and its address.

    Mail and forms go by address only: one is made up for those who have none.
    """
    found = engine.sql(
        "select contact_id, bool_or(kind = 'form_submit' or kind in (select kind from types)) as needs_email "
        "from events where contact_id is not null group by contact_id order by contact_id"
    ).fetchall()
    names, ids, emails = [], [], []
    for name, needs_email in found:
        record = account.contacts.records.get(account.contacts.winner(contacts.get(name, -1)))
        if record is not None:
            names.append(name)
            ids.append(record.id)
            emails.append(_email_of(account, record) if needs_email else record.properties.get("email"))
    return pa.table(
        {"contact_id": pa.array(names, pa.string()), "contact": ids, "email": pa.array(emails, pa.string())}
    )


def _email_of(account: Portal, record: Record) -> str:
    email = record.properties.get("email")
    if email is None:
        email = record.properties["email"] = f"contact{record.id}@leadlight-demo.example"
        account.contacts.by_email[email] = record.id
    return email


def _fill_listed(account: Portal, listed: pa.Table) -> None:
    """Form submissions, and activities as records of their own."""
    forms: dict[str, Form] = {}
    talks: dict[str, list[Row]] = defaultdict(list)
    for row in _rows(listed):
        if row["kind"] == "form_submit":
            _submit(row, forms)
        else:
            talks[_ACTIVITIES[row["kind"]]].append(row)
    for form in forms.values():
        form.submissions.reverse()
    account.engagement.forms = forms
    for name, rows in talks.items():
        _load_activities(account, name, rows)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=8_192):
        for row in batch.to_pylist():
            row["details"] = json.loads(row["properties"]) if row["properties"] else {}
            yield row


def _submit(row: Row, forms: dict[str, Form]) -> None:
    name = str(row["details"].get("form_name") or row["details"].get("form_id") or "Form")
    guid = str(uuid.uuid5(_NAMESPACE, str(row["details"].get("form_id") or name)))
    form = forms.setdefault(guid, Form(guid, name, row["at"]))
    values = (("email", row["email"]),)
    form.submissions.append(Submission(row["event_id"], row["at"], row["url"] or "", values))


def _load_activities(account: Portal, name: str, rows: list[Row]) -> None:
    records = []
    for id_, row in enumerate(rows, start=1):
        values = {"hs_timestamp": times.iso(row["at"]), **_described(name, row)}
        records.append(Record(id_, values, row["at"], row["at"]))
        account.links.add(name, id_, "contacts", row["contact"])
    account.objects[name].load(records)


def _described(name: str, row: Row) -> dict[str, str]:
    outcome = str(row["details"].get("outcome") or "")
    if name == "meetings":
        known = ("SCHEDULED", "COMPLETED", "RESCHEDULED", "NO_SHOW", "CANCELED")
        held = outcome.upper() if outcome.upper() in known else "COMPLETED"
        ends = times.iso(row["at"] + 1_800_000)
        start = {"hs_meeting_start_time": times.iso(row["at"]), "hs_meeting_end_time": ends}
        return {**start, "hs_meeting_title": "Meeting", "hs_meeting_outcome": held}
    if name == "calls":
        disposition = _DISPOSITIONS.get(outcome.lower(), _DISPOSITIONS["connected"])
        facts = {"hs_call_direction": "OUTBOUND", "hs_call_status": "COMPLETED"}
        return {**facts, "hs_call_disposition": disposition, "hs_call_duration": "240000"}
    if name == "emails":
        return {"hs_email_direction": "INCOMING_EMAIL", "hs_email_status": "SENT", "hs_email_subject": "Re:"}
    return {"hs_communication_channel_type": "SMS", "hs_communication_logged_from": "CRM"}
