"""Consent: what a record's own opt-out says, and the Individual behind it.

Salesforce knows objections only, so that there is a row where somebody objects and none elsewhere. Their dates are
not among a record's fields.
"""

from collections.abc import Iterator, Sequence

from connector.platform import Page
from connector.platforms.rows import Row, filled
from connector.platforms.salesforce import fields, words
from connector.platforms.salesforce.client import soql
from connector.platforms.salesforce.client.api import Record
from connector.platforms.salesforce.reading import Reading, is_deleted
from connector.platforms.salesforce.stream import Batch, Source, read
from connector.platforms.values import flag

STREAM, _OBJECT = "individuals", "Individual"


def learn(reading: Reading) -> None:
    """Who objects to what: the Individuals with any objection, all of them. Raises MissingScope."""
    reading.definitions[_OBJECT] = fields.parse(reading.api.describe(_OBJECT))
    names = reading.fields(_OBJECT, tuple(words.OBJECTIONS))
    if not names:
        return
    condition = "(" + " OR ".join(f"{soql.name(name)} = true" for name in names) + ")"
    source = Source(_OBJECT, ["Id", *names], (condition,))
    reading.objecting = {
        str(record["Id"]): frozenset(name for name in names if flag(record.get(name)))
        for batch in read(reading, "", source, anew=True)
        for record in batch.records
    }


def learn_of(reading: Reading, people: Sequence[Record]) -> None:
    """The objections of these people alone. Raises MissingScope."""
    ids = sorted({str(record["IndividualId"]) for record in people if record.get("IndividualId")})
    names = ["Id", *words.OBJECTIONS]
    size = reading.api.sizes["ids"]
    found: dict[str, frozenset[str]] = {}
    for start in range(0, len(ids), size):
        query = soql.select(names, _OBJECT, [soql.one_of("Id", ids[start : start + size])])
        for record in reading.api.rows(query, object_name=_OBJECT):
            found[str(record["Id"])] = frozenset(name for name in words.OBJECTIONS if flag(record.get(name)))
    reading.objecting = found


def consent_rows(reading: Reading, record: Record) -> Iterator[Row]:
    """The consents that this Lead or Contact denies."""
    denied = {("email", "marketing")} if flag(record.get("HasOptedOutOfEmail")) else set()
    for name in reading.objecting.get(str(record.get("IndividualId")), ()):
        denied.add(words.OBJECTIONS[name])
    for channel, purpose in sorted(denied):
        yield {
            "contact_id": str(record["Id"]),
            "channel": channel,
            "purpose": purpose,
            "status": "denied",
            "since": None,
        }


def pull(reading: Reading) -> Iterator[Page]:
    """Consents of the people whose Individual changed since the cursor: that does not touch their own records.
    What changed before the first pull stands on the records that it reads."""
    names = ["Id", "IsDeleted", "SystemModstamp"]
    if not reading.cursor(STREAM):
        yield Page(STREAM, cursor={"since": reading.now().isoformat()})
        return
    for batch in read(reading, STREAM, Source(_OBJECT, reading.fields(_OBJECT, names))):
        yield _page(reading, batch)


def _page(reading: Reading, batch: Batch) -> Page:
    changed = [str(record["Id"]) for record in batch.records]
    people: list[Record] = []
    size = reading.api.sizes["ids"]
    for object_name in words.PEOPLE.values():
        names = reading.fields(object_name, ("Id", "IsDeleted", "IndividualId", "HasOptedOutOfEmail"))
        if "IndividualId" not in names:
            continue
        for start in range(0, len(changed), size):
            condition = soql.one_of("IndividualId", changed[start : start + size])
            people += reading.api.rows(soql.select(names, object_name, [condition]), object_name=object_name)
    live = [record for record in people if not is_deleted(record)]
    rows = [row for record in live for row in consent_rows(reading, record)]
    replaces = {"consents": [str(record["Id"]) for record in live]} if live else {}
    return Page(STREAM, filled({"consents": rows}), batch.cursor, replaces)
