"""Form submissions (HubSpot's v1 path): newest first, per form, without a filter by time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from connector.platform import Page
from connector.platforms.hubspot import words
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import records_and_after
from connector.platforms.hubspot.client.paging import Fetched, pages
from connector.platforms.hubspot.reading import Reading, Row, details_json, filled

STREAM = "form_submissions"

#: The list of forms is read again, and each form looked at, at least this often.
REFRESH_EVERY = timedelta(hours=24)

#: With more forms than this, one search tells first whether anyone submitted anything.
FEW_FORMS = 2


def pull(reading: Reading) -> Iterator[Page]:
    """Submissions since the cursor. A stopped pull goes on at the form and the page where it was."""
    cursor = reading.cursor(STREAM)
    now = words.milliseconds(reading.api.now())
    started = int(cursor.get("started") or now)
    listed_at = int(cursor.get("listed_at") or 0)
    due = now - listed_at >= REFRESH_EVERY / timedelta(milliseconds=1)
    forms = [str(form["id"]) for form in reading.api.forms()] if due else list(cursor["forms"])
    base = {"forms": forms, "listed_at": now if due else listed_at}
    since = int(cursor["since"]) if "since" in cursor else None
    if since is not None and "form" not in cursor and not due and not _any(reading, forms, since):
        yield Page(STREAM, cursor={**base, "since": started})
        return
    position = {**base, "started": started} | ({} if since is None else {"since": since})
    for form in _from(forms, cursor.get("form")):
        after = cursor.get("after") if form == cursor.get("form") else None
        yield from _form(reading, form, after, since, position)
    yield Page(STREAM, cursor={**base, "since": started})


def _any(reading: Reading, forms: Sequence[str], since: int) -> bool:
    """Whether a contact's last conversion lies after the cursor."""
    if len(forms) <= FEW_FORMS:
        return bool(forms)
    floor = str(since - 1000 * reading.lookback)
    filters = [{"propertyName": "recent_conversion_date", "operator": "GTE", "value": floor}]
    total, _ = reading.api.search("contacts", filters, ("recent_conversion_date",))
    return total > 0


def _from(forms: Sequence[str], form: object) -> Sequence[str]:
    return forms[forms.index(form) :] if form in forms else forms


def _form(
    reading: Reading, form: str, after: str | None, since: int | None, position: Mapping[str, Any]
) -> Iterator[Page]:
    floor = 0 if since is None else since - 1000 * reading.lookback

    def fetch(after: str | None) -> Fetched:
        params: dict[str, Any] = {"limit": reading.api.sizes["form_submissions"]}
        if after is not None:
            params["after"] = after
        reply = reading.api.call(paths.SUBMISSIONS, params=params, form=form, accept=(404,))
        submissions, after = records_and_after(reply.body)
        fresh = [found for found in submissions if int(found["submittedAt"]) >= floor]
        return fresh, after if len(fresh) == len(submissions) else None

    for submissions, further in pages(fetch, after):
        stand = None if further is None else {**position, "form": form, "after": further}
        yield Page(STREAM, filled({"events": _rows(reading, form, submissions)}), stand)


def _rows(reading: Reading, form: str, submissions: Sequence[Mapping[str, Any]]) -> list[Row]:
    addresses = {str(found["conversionId"]): _address(found) for found in submissions}
    known = reading.known.addresses(sorted({address for address in addresses.values() if address}))
    now = reading.now()
    return [
        {
            "event_id": str(found["conversionId"]),
            "contact_id": known[address],
            "occurred_at": words.second(found["submittedAt"]),
            "ingested_at": now,
            "kind": "form_submit",
            "channel": "web",
            "url": found.get("pageUrl") or None,
            "human": 1.0,
            "source": "hubspot",
            "properties": details_json({"form_id": form}),
        }
        for found in submissions
        if (address := addresses[str(found["conversionId"])]) in known
    ]


def _address(submission: Mapping[str, Any]) -> str:
    """The submitter's address: the only value of a submission that is looked at."""
    for value in submission.get("values") or ():
        if value.get("name") == "email":
            return str(value.get("value") or "").strip().lower()
    return ""
