"""Marketing email events (HubSpot's v1 path): per recipient, newest first, joined to contacts by address."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from connector.platform import Page
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.reading import Reading, Row, details_json, filled

STREAM = "email_events"

#: Events arrive late and out of order: the last minutes are left to the next pull.
HOLD_BACK = timedelta(minutes=5)

#: How far back the first pull reads.
FIRST_DAYS = 800


def pull(reading: Reading) -> Iterator[Page]:
    """Events since the cursor, less a look-back for late ones (their ids make them the same again).

    A window that was stopped goes on below the oldest event that was committed: HubSpot's own `offset` is not
    promised to outlive the run.
    """
    cursor = reading.cursor(STREAM)
    until = words.milliseconds(reading.api.now() - HOLD_BACK)
    if "since" in cursor:
        since = int(cursor["since"]) - 1000 * reading.lookback
    else:
        since = words.milliseconds(reading.api.now() - timedelta(days=FIRST_DAYS))
    if "low" in cursor:
        # Finish the window that was under way first.
        yield from _window(reading, int(cursor["low"]), int(cursor["high"]), int(cursor["until"]))
        since = int(cursor["until"]) - 1000 * reading.lookback
    yield from _window(reading, since, until, until)


def _window(reading: Reading, low: int, high: int, until: int) -> Iterator[Page]:
    """Events created from `low` to `high` (epoch ms); afterwards the stream stands at `until`."""
    offset: str | None = None
    while True:
        params: dict[str, Any] = {
            "startTimestamp": low,
            "endTimestamp": high,
            "limit": reading.api.sizes["email_events"],
        }
        if offset is not None:
            params["offset"] = offset
        body = reading.api.call(paths.EMAIL_EVENTS, params=params).body
        events = body.get("events") or ()
        more = bool(body.get("hasMore")) and bool(body.get("offset"))
        offset = str(body["offset"]) if more else None
        oldest = min((int(event["created"]) for event in events), default=high)
        stand = {"since": until} if not more else {"low": low, "high": oldest, "until": until}
        yield Page(STREAM, filled({"events": _rows(reading, events)}), stand)
        if not more:
            return


def _rows(reading: Reading, events: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Events of contacts that we know, of kinds that we use."""
    kinds = {id(event): words.email_kind(event) for event in events}
    wanted = [event for event in events if kinds[id(event)] and event.get("recipient")]
    known = reading.known.addresses(sorted({_address(event) for event in wanted}))
    now = reading.now()
    return [
        {**event_row(event, str(kinds[id(event)])), "contact_id": known[_address(event)], "ingested_at": now}
        for event in wanted
        if _address(event) in known
    ]


def _address(event: Mapping[str, Any]) -> str:
    return str(event["recipient"]).strip().lower()


def event_row(event: Mapping[str, Any], kind: str) -> Row:
    """An event as our table has it. It is identified by id and creation time together."""
    campaign = event.get("emailCampaignId")
    sent = event.get("sentBy") or {}
    details = {
        "device": event.get("deviceType"),
        "link_id": event.get("linkId"),
        "sent_by": f"{sent['id']}:{sent['created']}" if "id" in sent and "created" in sent else None,
        "filtered": event.get("filteredEvent") or None,
        "bounce": event.get("category") if kind == "email_bounce" else None,
    }
    return {
        "event_id": f"{event['id']}:{event['created']}",
        "occurred_at": words.second(event["created"]),
        "kind": kind,
        "channel": "email",
        "campaign_id": None if campaign is None else str(campaign),
        "url": event.get("url") or None,
        "human": words.FILTERED_HUMAN if event.get("filteredEvent") else 1.0,
        "source": "hubspot",
        "properties": details_json(details),
    }
