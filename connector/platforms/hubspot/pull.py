"""How an account is read: definitions, contacts, companies, deals, what people did, and who is gone."""

from collections.abc import Iterator

from connector.errors import MissingScope
from connector.platform import OWNERS, Page, StreamOff
from connector.platforms.hubspot import (
    activities,
    companies_deals,
    contacts,
    definitions,
    email_events,
    forms,
    gone,
    lists,
    owners,
    page_views,
)
from connector.platforms.hubspot.activities import ACTIVITIES
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.reading import Reading
from connector.platforms.optional import optional


def pull(reading: Reading) -> Iterator[Page | StreamOff]:
    """Everything new. Contacts are needed (MissingScope without them), all other streams may be off."""
    company_definitions = _company_definitions(reading)
    if isinstance(company_definitions, StreamOff):
        yield company_definitions
    yield contacts.choose_properties(reading)
    first = "since" not in (reading.known.cursor(contacts.STREAM) or {})
    yield from contacts.pull(reading)
    if not first:
        yield from gone.count_off(reading)
    yield from optional(lists.STREAM, lists.pull(reading))
    yield from optional(OWNERS, owners.pull(reading))
    if "companies" in reading.definitions:
        yield companies_deals.choose_company_properties(reading)
        yield from optional("companies", companies_deals.pull_companies(reading))
    yield from optional("deals", companies_deals.pull_deals(reading))
    for object_name in ("contacts", "companies", "deals"):
        yield from optional(f"{object_name}_archived", gone.sweep(reading, object_name), quiet=True)
    yield from optional("email_events", email_events.pull(reading))
    yield from optional("form_submissions", forms.pull(reading))
    yield from optional("page_views", page_views.pull(reading))
    for activity in ACTIVITIES:
        yield from optional(activity.name, activities.pull(reading, activity))


def _company_definitions(reading: Reading) -> StreamOff | None:
    """Learn the companies' properties; without the right to, contacts are not asked for their companies either."""
    try:
        body = reading.api.call(paths.PROPERTIES, "companies").body
    except MissingScope as error:
        reading.companies = False
        return StreamOff("companies", error.scope, str(error))
    reading.definitions = {**reading.definitions, "companies": definitions.parse(body)}
    return None
