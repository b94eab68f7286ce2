"""What a platform offers, and what each method promises.

One contract test suite (`tests/connector/test_platform_contract.py`) runs against every platform. A new
platform is one folder in `connector/platforms`, one in `manifests`, and one line in
`connector/platforms/__init__.py`.

Translation happens here, once, at the edge: pages hold canonical tables (`scoring.tables`) in our words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from scoring import tables

#: What the mirror keeps of a record besides its canonical columns.
#: - `properties`: JSON object, the platform's internal property name -> value as text. Keys sorted, empty and
#:   missing values left out, compact, so that equal records have equal texts.
#: - `ours`: the same for the properties that we write.
#: - `modified_at`: the platform's modified date with all its digits (UTC, microseconds).
RECORD_COLUMNS = (("properties", pa.string()), ("ours", pa.string()), ("modified_at", pa.timestamp("us")))

#: Tables whose records carry RECORD_COLUMNS.
RECORD_TABLES = ("contacts", "companies", "deals")

#: Objects that hold values of ours.
WrittenObject = Literal["contact", "company"]

#: `removals`: records that are gone. `merged_into` is the winner's id; else the record was deleted.
REMOVALS = pa.schema(
    [
        ("object", pa.string()),  # contact | company | deal
        ("object_id", pa.string()),
        ("deleted_at", pa.timestamp("us")),
        ("merged_into", pa.string()),
    ]
)

#: `rejects`: input that could not be used. `record` names it (file and line, or object and id), never its content.
REJECTS = pa.schema([("record", pa.string()), ("field", pa.string()), ("reason", pa.string())])


def page_schema(table: str) -> pa.Schema:
    """The Arrow schema that a table has in a page."""
    if table == "removals":
        return REMOVALS
    if table == "rejects":
        return REJECTS
    schema = tables.schema(table)
    if table in RECORD_TABLES:
        for name, kind in RECORD_COLUMNS:
            schema = schema.append(pa.field(name, kind))
    return schema


@dataclass(frozen=True)
class Account:
    """Whose data this is. `id` names the state folder."""

    platform: str
    id: str
    timezone: str = "UTC"
    currency: str | None = None


@dataclass(frozen=True)
class Page:
    """Some rows and the cursor that stands after them; the mirror commits both in one transaction.

    Upserts go by the tables' ids (contact_id, company_id, deal_id, event_id, purchase_id, campaign_id);
    `property_history` by (object, object_id, property, changed_at). For tables without an id of their own
    (contact_addresses, consents, list_members, deal_contacts, purchase_items, identities) `replaces`
    names the parents whose rows these are all of: {"deal_contacts": ["deal id", …]}; parents are contact_id,
    contact_id, list_id, deal_id, purchase_id, contact_id. `property_definitions` replaces all definitions of the
    objects it holds.
    """

    stream: str
    rows: Mapping[str, pa.Table] = field(default_factory=dict)
    #: JSON-able, or None when this page moves no cursor.
    cursor: Mapping[str, Any] | None = None
    replaces: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Contacts, or companies, whose change is our own write: the id and modified_at; only the latter is stored.
    echoes: pa.Table | None = None
    #: Tables of which this page holds all rows there are: rows that it lacks are removed.
    whole: Sequence[str] = ()
    #: Rows that this stream expects in all, for the progress bar.
    total: int | None = None


@dataclass(frozen=True)
class StreamOff:
    """A stream that could not be read because an optional scope or plan is missing."""

    stream: str
    scope: str
    why: str


#: Before and after anything that ever happened (naive UTC).
BEGINNING, END = datetime(1970, 1, 1), datetime(9999, 1, 1)  # noqa: DTZ001 - naive UTC, as the mirror's


@dataclass(frozen=True)
class Span:
    """Live records of an object with since <= modified date <= until (UTC) and above < id <= upto, ids as numbers.

    The date is that of the version last read, not of our own write since: a person may have edited the record just
    before that write, and only a reading shows it. With `written` it is that of our write where it came later.
    """

    object_name: str
    since: datetime = BEGINNING
    until: datetime = END
    above: str | None = None
    upto: str | None = None
    written: bool = False


class Known(Protocol):
    """What a pull may ask about the mirror."""

    def cursor(self, stream: str) -> Mapping[str, Any] | None:
        """The cursor committed with the stream's last page."""

    def split_echoes(self, records: pa.Table) -> tuple[pa.Table, pa.Table]:
        """(news, echoes) of contacts or companies: an echo's modified_at is that of our own write, and every
        property read (ours too) equals the mirror's."""

    def count(self, span: Span) -> int:
        """How many records are in it."""

    def ids(self, span: Span) -> list[str]:
        """Their ids, ascending as numbers."""

    def read_at(self, object_name: str, record_ids: Sequence[str]) -> Mapping[str, datetime]:
        """Record -> the modified date of the version that was read of it last, for those that are there."""

    def addresses(self, emails: Sequence[str]) -> Mapping[str, str]:
        """Lower-cased address -> contact_id, for those known."""

    def companies_of(self, contact_ids: Sequence[str]) -> Mapping[str, str]:
        """Contact -> company, for those that have one."""

    def deals_of(self, contact_ids: Sequence[str]) -> list[str]:
        """Ids of the deals that these contacts are on, ascending."""


@dataclass(frozen=True)
class PullRequest:
    """What a pull is asked to read."""

    #: Property history is wanted (the goal is in time).
    history: bool = False
    #: Columns of static goals: always read, whatever their fill.
    goal_columns: tuple[str, ...] = ()
    #: Everything again, whatever the cursors say.
    full: bool = False
    #: Names of the properties that we write on contacts, and on companies.
    ours: tuple[str, ...] = ()
    company_ours: tuple[str, ...] = ()
    #: Ids of the lists whose members are wanted.
    lists: tuple[str, ...] = ()
    #: Few calls matter more than certainty: what is told apart from our own writes by counts alone may be left to
    #: the next pull that is not light, which reads everything since the last such one.
    light: bool = False


@dataclass(frozen=True)
class Asked:
    """A contact that is to be read again, by its id."""

    contact_id: str
    #: Its company and its deals are read too; else they stay as the mirror has them.
    associations: bool = False
    #: The platform told that it is gone: where it is not found, nothing more is asked.
    gone: bool = False


@dataclass(frozen=True)
class Write:
    """New values for one record, as canonical text (`scoring.decisions`); None clears a property."""

    record_id: str
    values: Mapping[str, str | None]
    object: WrittenObject = "contact"


@dataclass(frozen=True)
class Outcome:
    """What became of one record's write."""

    record_id: str
    #: written; failed (`error` says why); gone (deleted or merged away: the platform knows it no more)
    state: Literal["written", "failed", "gone"]
    modified_at: datetime | None = None
    request_id: str | None = None
    error: str | None = None
    object: WrittenObject = "contact"


@dataclass(frozen=True)
class Received:
    """A webhook request as it arrived."""

    method: str
    #: Path and query exactly as they were sent.
    target: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes
    #: UTC without a zone.
    received_at: datetime


@dataclass(frozen=True)
class Hint:
    """What a webhook says has happened to a record. Never data: the record is read afresh."""

    #: contact, company or deal.
    object: str
    object_id: str
    kind: Literal["created", "changed", "deleted", "restored", "merged", "erased", "associated"]
    #: UTC without a zone.
    occurred_at: datetime
    #: Equal for two deliveries of one event, different for two events.
    key: str
    #: The platform's name of the property that changed.
    property: str | None = None
    #: merged: the records that went into `object_id`. associated: contacts at the other end.
    others: tuple[str, ...] = ()


class Receiver(Protocol):
    """One platform's webhooks: who may send them, and what they say. Needs no connection to the platform."""

    name: str

    def verify(self, received: Received) -> None:
        """Raises Unverified when it does not come from the platform, is too old or from the future."""

    def hints(self, body: bytes) -> list[Hint]:
        """What a verified body says; our own writes are left out. Raises BadPayload naming what is wrong with it,
        never what it holds."""

    def acknowledgement(self) -> tuple[str, bytes]:
        """Media type and body of the answer to what was taken."""


@dataclass(frozen=True)
class PropertyPlan:
    """What `install` or `uninstall` did, or would do, to one property."""

    name: str
    #: repair: label, description or options' labels are put right. in_use: the platform will not archive it.
    #: by_hand: an administrator deletes it, with the platform's own tools. absent: there is nothing of that name.
    action: Literal[
        "create",
        "restore",
        "add_options",
        "repair",
        "none",
        "conflict",
        "archive",
        "in_use",
        "by_hand",
        "absent",
    ]
    detail: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that `doctor` looked at. `detail` and `remedy` are sentences without personal data."""

    name: str
    #: fail: the job cannot run. off: an optional part that is not there, or was not looked at.
    state: Literal["ok", "warn", "fail", "off"]
    detail: str
    #: What to do about it; empty when nothing is to be done.
    remedy: str = ""


@dataclass(frozen=True)
class Cost:
    """The calls that one part of a sync takes."""

    part: str
    calls: int
    #: Records that the number of calls was worked out from; None where the platform tells no number.
    records: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a sync costs: calls, and minutes at the platform's limits and its present speed."""

    parts: tuple[Cost, ...]
    minutes: float

    @property
    def calls(self) -> int:
        return sum(part.calls for part in self.parts)


@dataclass(frozen=True)
class Diagnosis:
    """What a platform says of itself. Plans are None where nothing is called, or too little is known."""

    checks: tuple[Check, ...]
    first: Plan | None = None
    daily: Plan | None = None


@dataclass(frozen=True)
class Allowance:
    """Our share of the calls that a platform allows in a day."""

    #: Calls on a day that is whole.
    a_day: int
    #: When the next day begins (UTC, aware).
    renewed_at: datetime


@dataclass(frozen=True)
class Wanted:
    """What `doctor` tells a platform about the job ahead."""

    #: `manifests.Property`, under the names they have on this account.
    properties: tuple[Any, ...]
    #: Property history is wanted (the goal is in time).
    history: bool = False
    #: Columns of static goals.
    goal_columns: tuple[str, ...] = ()
    #: Ids of the lists that filters name.
    lists: tuple[str, ...] = ()
    #: The same as `properties`, of companies.
    company_properties: tuple[Any, ...] = ()


#: The stream of owners' names: its cursor holds `names`, owner id -> name, and it has no rows.
OWNERS = "owners"


class Platform(Protocol):
    """A marketing platform: where contacts come from and predictions go."""

    name: str
    #: Whose records hold values of ours.
    objects: tuple[WrittenObject, ...]
    #: Records per call of `write` and `read_ours` where few are concerned; calls left are counted by it.
    batch_size: int
    #: Calls that may run at once.
    concurrency: int

    def batch_for(self, records: int) -> int:
        """Records per call of `write` and `read_ours` where so many are concerned: `batch_size`, unless the
        platform has another way for many."""

    def account(self) -> Account:
        """Whose data this is. Raises BadCredentials. Costs at most one call, remembered."""

    def pull(self, known: Known, request: PullRequest) -> Iterator[Page | StreamOff]:
        """Everything that is new since the cursors, in pages small enough to lose.

        Stopped anywhere and started again, it repeats at most the page that was under way.
        """

    def install(self, properties: Sequence[Any], *, dry_run: bool, repair: bool = False) -> list[PropertyPlan]:
        """Create those of our properties (`manifests.Property`, of contacts or of companies) and options that are
        missing.

        With `repair`, labels, descriptions and options' labels become what the manifest says. One of our names
        that is somebody else's property is a conflict: reported, never touched.
        """

    def write(self, batch: Sequence[Write]) -> list[Outcome]:
        """Write at most `batch_for` records of one object; one outcome for each, in order. Thread-safe,
        idempotent."""

    def read_ours(
        self, record_ids: Sequence[str], properties: Sequence[str], object_name: WrittenObject = "contact"
    ) -> Mapping[str, Write | None]:
        """The present values of our properties; None for a record that is gone. At most `batch_for` ids."""

    def calls(self) -> Mapping[str, int]:
        """Calls made so far, by 'METHOD /path/template'."""

    def calls_left(self) -> int | None:
        """Calls that may still be made today; None where there is no such limit."""

    def close(self) -> None:
        """Give up connections."""


@runtime_checkable
class Diagnosable(Protocol):
    """A platform that can say whether it is ready."""

    def diagnose(self, wanted: Wanted) -> Diagnosis:
        """Look at everything a sync needs, one cheap call each; changes nothing. Troubles are checks: only what
        keeps it from going on (no connection) is raised, as TryLater."""


@runtime_checkable
class Rationed(Protocol):
    """A platform that allows so many calls in a day: work that takes more is spread over days."""

    def allowance(self) -> Allowance:
        """As far as responses have told."""


@runtime_checkable
class Readable(Protocol):
    """A platform that gives single contacts by their ids: what a webhook's hint is followed up with."""

    def read(self, known: Known, request: PullRequest, asked: Sequence[Asked]) -> Iterator[Page]:
        """These contacts as they are now, with what a pull reads of them; pages move no cursor.

        Who is no longer there stands among `removals`, merged ones with their winner (who is to be asked for
        then); our own writes among `echoes`. A contact on no page could not be settled: ask again later.
        """


@runtime_checkable
class Removable(Protocol):
    """A platform from which our properties can be taken away again."""

    def uninstall(self, properties: Sequence[Any], *, dry_run: bool) -> list[PropertyPlan]:
        """Archive our properties, then their group when nothing is left in it.

        What is not ours (`conflict`) or not there (`absent`) is left alone; what the platform will not let go
        (`in_use`: a segment or a workflow stands on it; `by_hand`) is reported and the rest goes on.
        """
