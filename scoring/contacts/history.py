"""What is known of one contact, day by day: what was sent, what came back, deals, purchases, stages.

Only what had happened by the context's instant, in the contact's own time zone: the history that predictors see.
"""

from datetime import date
from typing import Any

from scoring.context import Context
from scoring.engine import literal
from scoring.features.property_sources import option_labels
from scoring.goals import LIFECYCLE_PROPERTIES
from scoring.zones import zones

#: Once, and several times.
WORDS: dict[str, tuple[str, str]] = {
    "email_sent": ("was sent an e-mail", "was sent {n} e-mails"),
    "email_delivered": ("received an e-mail", "received {n} e-mails"),
    "email_open": ("opened an e-mail", "opened e-mails {n} times"),
    "email_click": ("clicked in an e-mail", "clicked in e-mails {n} times"),
    "email_reply": ("replied to an e-mail", "replied to e-mails {n} times"),
    "email_bounce": ("an e-mail bounced", "{n} e-mails bounced"),
    "email_unsubscribe": ("unsubscribed", "unsubscribed {n} times"),
    "email_spam": ("complained about an e-mail", "complained about {n} e-mails"),
    "page_view": ("viewed a page", "viewed {n} pages"),
    "form_submit": ("submitted a form", "submitted {n} forms"),
    "meeting": ("had a meeting", "had {n} meetings"),
    "call": ("had a call", "had {n} calls"),
    "sms_sent": ("was sent a text message", "was sent {n} text messages"),
    "sms_click": ("clicked in a text message", "clicked in text messages {n} times"),
    "push_sent": ("was sent a push notification", "was sent {n} push notifications"),
    "push_open": ("opened a push notification", "opened {n} push notifications"),
    "ad_impression": ("saw an ad", "saw {n} ads"),
    "ad_click": ("clicked on an ad", "clicked on ads {n} times"),
    "product_view": ("viewed a product", "viewed {n} products"),
    "cart_add": ("put something in the cart", "put things in the cart {n} times"),
    "custom": ("did something else of note", "did {n} other things of note"),
    "purchase": ("bought something", "bought {n} times"),
    "deal_opened": ("a deal was opened", "{n} deals were opened"),
    "deal_won": ("a deal was won", "{n} deals were won"),
    "deal_lost": ("a deal was lost", "{n} deals were lost"),
    "stage": ("became", "changed stage {n} times, at last to"),
    "created": ("became known", "became known"),
}

#: Told with what they were worth.
_AMOUNTS = ("purchase", "deal_won", "deal_lost")


def history(context: Context, contact_id: str, days: int) -> dict[str, Any]:
    """The latest `days` days on which anything happened, newest first.

    `{"days": [{"day", "entries": [{"kind", "count", "by_person", "what", "text"}]}], "earlier_days": n}`;
    `by_person` is false for what a machine more likely did.
    """
    rows = context.engine.fetch(_rows(context, contact_id)).to_pylist()
    labels = _stage_labels(context)
    by_day: dict[date, list[dict[str, Any]]] = {}
    for row in rows:
        by_day.setdefault(row["day"], []).append(row)
    shown = sorted(by_day, reverse=True)
    return {
        "days": [
            {"day": day.isoformat(), "entries": [_entry(row, labels) for row in by_day[day]]}
            for day in shown[:days]
        ],
        "earlier_days": max(0, len(shown) - days),
    }


def _stage_labels(context: Context) -> dict[str, str]:
    """What the platform calls its stages."""
    stages = ", ".join(literal(name) for name in LIFECYCLE_PROPERTIES)
    defined = context.engine.fetch(
        f"select options from property_definitions where object = 'contact' and property in ({stages})"
    )
    return {value: label for options in defined["options"].to_pylist() for value, label in option_labels(options)}


def _entry(row: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    once, often = WORDS.get(row["kind"], (str(row["kind"]).replace("_", " "),) * 2)
    text = once if row["n"] == 1 else often.replace("{n}", f"{row['n']:,}")
    if row["kind"] in _AMOUNTS and row["what"]:
        text += f": {float(row['what']):,.2f}" + (", …" if row["several"] else "")
    elif row["what"]:
        text += f" {labels.get(row['what'], row['what'])}" if row["kind"] == "stage" else f": {row['what']}"
        text += ", …" if row["several"] else ""
    if not row["by_person"]:
        text += " (by a machine)"
    return {
        "kind": row["kind"],
        "count": row["n"],
        "by_person": bool(row["by_person"]),
        "what": row["what"],
        "text": text,
    }


def _rows(context: Context, contact_id: str) -> str:
    zone = zones(context.engine, context.options.timezone)
    who, until = literal(contact_id), f"timestamp '{context.as_of:%Y-%m-%d %H:%M:%S}'"
    stages = ", ".join(literal(name) for name in LIFECYCLE_PROPERTIES)
    return f"""
        with happened as (
            select e.occurred_at as happened_at, e.utc_offset_min as minutes, e.kind,
                case when coalesce(e.human, 1.0e0) >= 0.5e0 then 1 else 0 end as by_person,
                coalesce(nullif(e.url, ''), m.name, m.subject) as what
            from events e left join campaigns m on m.campaign_id = e.campaign_id where e.contact_id = {who}
            union all
            select purchased_at, null, 'purchase', 1, cast(amount as varchar)
            from purchases where contact_id = {who} and purchased_at is not null
            union all
            select d.created_at, null, 'deal_opened', 1, null
            from deals d join ({_deals(who)}) own on own.deal_id = d.deal_id where d.created_at is not null
            union all
            select d.closed_at, null, case when coalesce(d.is_won, false) then 'deal_won' else 'deal_lost' end, 1,
                cast(d.amount as varchar)
            from deals d join ({_deals(who)}) own on own.deal_id = d.deal_id
            where d.closed_at is not null and (coalesce(d.is_closed, false) or coalesce(d.is_won, false))
            union all
            select changed_at, null, 'stage', 1, value from property_history
            where object = 'contact' and object_id = {who} and property in ({stages}) and value is not null
            union all
            select created_at, null, 'created', 1, null from contacts
            where contact_id = {who} and created_at is not null
        ),
        dated as (
            select h.happened_at, cast(case when h.minutes is not null
                then h.happened_at + h.minutes * interval '1' minute
                else local_ts(h.happened_at, z.timezone) end as date) as day, h.kind, h.by_person, h.what
            from happened h join ({zone}) z on z.contact_id = {who} where h.happened_at < {until}
        ),
        placed as (
            select d.*, row_number() over (
                partition by day, kind, by_person
                order by case when what is null then 1 else 0 end, happened_at desc, what
            ) as place
            from dated d
        )
        select day, kind, by_person, count(*) as n, max(case when place = 1 then what end) as what,
            count(distinct what) > 1 and kind <> 'stage' as several, max(happened_at) as latest
        from placed group by day, kind, by_person order by day desc, latest desc, kind, by_person desc
    """


def _deals(who: str) -> str:
    return (
        "select distinct dc.deal_id from deal_contacts dc join deals x on x.deal_id = dc.deal_id "
        f"where dc.contact_id = {who} and x.deleted_at is null"
    )
