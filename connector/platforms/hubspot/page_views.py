"""Page views: event occurrences of the whole account, oldest first. An Enterprise hub is needed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.platform import Page
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import records_and_after
from connector.platforms.hubspot.client.paging import pages
from connector.platforms.hubspot.reading import Reading, Row, details_json, filled

STREAM = "page_views"
EVENT_TYPE = "e_visited_page"

#: The largest page that is in common use; no maximum is documented.
CAUTIOUS_LIMIT = 100

#: How far back the first pull reads.
FIRST_DAYS = 800


def pull(reading: Reading) -> Iterator[Page]:
    """Page views since the cursor, less a look-back for late ones. Raises MissingScope below Enterprise.

    `after` stays good while the window stands, so a stopped pull goes on with the same window.
    """
    cursor = reading.cursor(STREAM)
    now = words.milliseconds(reading.api.now())
    until = int(cursor.get("until") or now)
    if "low" in cursor:
        low = int(cursor["low"])
    elif "since" in cursor:
        low = int(cursor["since"]) - 1000 * reading.lookback
    else:
        low = words.milliseconds(reading.api.now() - timedelta(days=FIRST_DAYS))
    for found, after in pages(lambda after: _occurrences(reading, low, until, after), cursor.get("after")):
        stand = {"since": until} if after is None else {"low": low, "until": until, "after": after}
        yield Page(STREAM, filled({"events": _rows(reading, found)}), stand)


def _occurrences(
    reading: Reading, low: int, until: int, after: str | None
) -> tuple[Sequence[Mapping[str, Any]], str | None]:
    params: dict[str, Any] = {
        "objectType": "contact",
        "eventType": EVENT_TYPE,
        "occurredAfter": _iso(low),
        "occurredBefore": _iso(until),
        "limit": reading.api.sizes["event_occurrences"],
        "sort": "occurredAt",
    }
    if after is not None:
        params["after"] = after
    reply = reading.api.call(paths.OCCURRENCES, params=params, accept=(400,))
    if reply.status == 400:
        reply = reading.api.call(paths.OCCURRENCES, params={**params, "limit": CAUTIOUS_LIMIT})
    return records_and_after(reply.body)


def _rows(reading: Reading, occurrences: Sequence[Mapping[str, Any]]) -> list[Row]:
    now = reading.now()
    return [
        {
            "event_id": str(found["id"]),
            "contact_id": str(found["objectId"]),
            "occurred_at": words.second(found["occurredAt"]),
            "ingested_at": now,
            "kind": "page_view",
            "channel": "web",
            "campaign_id": (found.get("properties") or {}).get("hs_utm_campaign") or None,
            "url": (found.get("properties") or {}).get("hs_url") or None,
            "human": 1.0,
            "source": "hubspot",
            "properties": _details(found.get("properties") or {}),
        }
        for found in occurrences
    ]


def _details(given: Mapping[str, Any]) -> str:
    details = {"title": given.get("hs_title"), "source": given.get("hs_visit_source")}
    return details_json(details)


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
