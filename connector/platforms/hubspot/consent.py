"""Consent, from the contact's own properties: one row where something is known, no call of its own."""

from collections.abc import Iterator

from connector.platforms.hubspot import words
from connector.platforms.hubspot.client.api import Record
from connector.platforms.hubspot.reading import Row


def consent_rows(record: Record) -> Iterator[Row]:
    """Whether marketing e-mail may be sent: an opt-out from all e-mail denies it, a given consent grants it.

    The dates of either are not among a contact's properties, so `since` is null.
    """
    given = record.get("properties") or {}
    bases = [basis.lower() for basis in words.id_list(given.get("hs_legal_basis"))]
    if words.flag(given.get("hs_email_optout")):
        status = "denied"
    elif any(basis.startswith(words.CONSENTING) for basis in bases):
        status = "granted"
    else:
        return
    yield {
        "contact_id": str(record["id"]),
        "channel": "email",
        "purpose": "marketing",
        "status": status,
        "since": None,
    }
