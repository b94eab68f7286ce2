"""How an org is read: definitions, people, companies, deals, what people did, and who is gone."""

from collections.abc import Iterator

from connector.platform import Page, StreamOff
from connector.platforms.optional import optional
from connector.platforms.salesforce import activities, companies_deals, consent, contacts, fields, gone, history
from connector.platforms.salesforce.activities import ACTIVITIES
from connector.platforms.salesforce.companies_deals import OPPORTUNITY
from connector.platforms.salesforce.reading import Reading
from connector.platforms.salesforce.words import ACCOUNT, CONTACT, LEAD


def pull(reading: Reading) -> Iterator[Page | StreamOff]:
    """Everything new. `reading.definitions` holds Lead, Contact or both; all else may be off."""
    yield from _people(reading)
    yield from optional("companies", _companies(reading))
    yield from optional("deals", _deals(reading))
    yield from optional("deal_contacts", companies_deals.pull_roles(reading))
    if reading.request.history:
        yield from optional("deal_history", companies_deals.pull_history(reading))
    for object_name in (LEAD, CONTACT, ACCOUNT, OPPORTUNITY):
        if object_name in reading.definitions:
            yield from optional(f"{object_name.lower()}_deleted", gone.ask(reading, object_name), quiet=True)
    yield from gone.compare(reading)
    yield from optional("campaigns", activities.pull_campaigns(reading))
    yield from optional("emails", activities.pull_emails(reading))
    for activity in ACTIVITIES:
        yield from optional(activity.name, activities.pull(reading, activity))


def _people(reading: Reading) -> Iterator[Page | StreamOff]:
    for object_name in (LEAD, CONTACT):
        if object_name not in reading.definitions:
            right = f"read access to {object_name}"
            why = f"Salesforce: the integration user lacks {right}."
            yield StreamOff(contacts.STREAMS[object_name], right, why)
    yield contacts.choose_properties(reading)
    yield from optional("individuals", _individuals(reading))
    people = [name for name in (LEAD, CONTACT) if name in reading.definitions]
    if reading.request.history:
        reading.whole_history = not all(contacts.is_complete(reading, name) for name in people)
        for object_name in people:
            yield from optional(f"{object_name.lower()}_history", history.pull(reading, object_name))
    for object_name in people:
        yield from contacts.pull(reading, object_name)


def _individuals(reading: Reading) -> Iterator[Page]:
    consent.learn(reading)
    yield from consent.pull(reading)


def _companies(reading: Reading) -> Iterator[Page]:
    reading.definitions[ACCOUNT] = fields.parse(reading.api.describe(ACCOUNT))
    yield companies_deals.choose_company_properties(reading)
    yield from companies_deals.pull_companies(reading)


def _deals(reading: Reading) -> Iterator[Page]:
    reading.definitions[OPPORTUNITY] = fields.parse(reading.api.describe(OPPORTUNITY))
    yield from companies_deals.pull_deals(reading)
