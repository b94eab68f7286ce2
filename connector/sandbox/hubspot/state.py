"""Records of the pretend account: their values, history, archive and merges."""

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.sandbox import times
from connector.sandbox.hubspot import standard
from connector.sandbox.hubspot.engagement import Engagement
from connector.sandbox.hubspot.links import Links
from connector.sandbox.hubspot.schema import Definition, Schema
from connector.sandbox.hubspot.search import Index

#: Object name, the ids that stand for it in paths, and the word in messages.
OBJECTS: Mapping[str, tuple[str, str]] = {
    "contacts": ("0-1", "contact"),
    "companies": ("0-2", "company"),
    "deals": ("0-3", "deal"),
    "notes": ("0-46", "note"),
    "meetings": ("0-47", "meeting"),
    "calls": ("0-48", "call"),
    "emails": ("0-49", "email"),
    "tasks": ("0-27", "task"),
    "communications": ("0-18", "communication"),
}
#: Every spelling of an object in a path -> its name.
SPELLINGS = {spelling: name for name, (type_id, single) in OBJECTS.items() for spelling in (name, type_id, single)}
APP_ID = 1_160_452
PORTAL_ID = 62_515
USER_ID = 9_586_504


@dataclass(frozen=True, slots=True)
class Source:
    """Who changed a value, in HubSpot's words."""

    type: str
    id: str | None = None
    user: int | None = None


INTEGRATION = Source("INTEGRATION", str(APP_ID))
CRM_UI = Source("CRM_UI", f"userId:{USER_ID}", USER_ID)
IMPORT = Source("IMPORT", "1")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value that a property had from `at` (epoch ms) on; '' is cleared."""

    value: str
    at: int
    source: Source


@dataclass(slots=True)
class Record:
    """One record. `properties` is replaced, never changed in place: the search index keeps old ones."""

    id: int
    properties: dict[str, str]
    created: int
    modified: int
    archived_at: int | None = None
    history: dict[str, list[Entry]] = field(default_factory=dict)

    def entries(self, name: str) -> list[Entry]:
        """The property's history, newest first."""
        kept = self.history.get(name)
        if kept is not None:
            return kept[::-1]
        value = self.properties.get(name)
        return [] if value is None else [Entry(value, self.created, IMPORT)]


@dataclass(frozen=True)
class Change:
    """Something that happened to a record, for those who listen (webhooks)."""

    kind: str  # creation | propertyChange | deletion | merge | restore | privacyDeletion | associationChange
    object: str
    id: int
    at: int
    source: Source
    property: str | None = None
    value: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class Collection:
    """All records of one object."""

    def __init__(self, name: str, account: "Portal") -> None:
        self.name = name
        self.type_id, self.single = OBJECTS[name]
        self.schema: Schema = standard.schema(name)
        self.modified_name = "lastmodifieddate" if name == "contacts" else "hs_lastmodifieddate"
        self.created_name = "createdate" if name in ("contacts", "companies", "deals") else "hs_createdate"
        self.records: dict[int, Record] = {}
        self.live: list[int] = []
        self.archived: list[int] = []
        self.merged_into: dict[int, int] = {}
        self.by_email: dict[str, int] = {}
        self.index = Index(self, account.search_lag_ms, account.clock)
        self._account = account
        self._next_id = 0

    def load(self, records: Iterable[Record]) -> None:
        """Take in records at the start, known to the search index at once."""
        for record in records:
            self.records[record.id] = record
            (self.live if record.archived_at is None else self.archived).append(record.id)
            self._learn_emails(record)
        self.live.sort()
        self.archived.sort()
        self._next_id = max([self._next_id, *self.live[-1:], *self.archived[-1:], *self.merged_into])
        self.index.fill(self.records[id_] for id_ in self.live)

    def winner(self, id_: int) -> int:
        """The record that stands for `id_` after merges."""
        while id_ in self.merged_into:
            id_ = self.merged_into[id_]
        return id_

    def find(self, id_: int, *, archived: bool = False) -> Record | None:
        """The record of exactly this id."""
        record = self.records.get(id_)
        return record if record is not None and (record.archived_at is not None) == archived else None

    def read(self, record: Record, name: str) -> str | None:
        """The present value; dates and id of the record itself are properties too."""
        return value_of(self, record.id, record.properties, record.created, record.modified, name)

    def create(self, properties: Mapping[str, str], source: Source) -> Record:
        """A new record with a new id."""
        now = self._account.clock()
        self._next_id += 1
        kept = {name: value for name, value in properties.items() if value != ""}
        record = Record(self._next_id, kept, now, now)
        record.history = {name: [Entry(value, now, source)] for name, value in kept.items()}
        self.records[record.id] = record
        insort(self.live, record.id)
        self._learn_emails(record)
        self.index.note(record)
        self._account.tell(Change("creation", self.name, record.id, now, source))
        return record

    def write(self, record: Record, changes: Mapping[str, str], source: Source) -> None:
        """Set values ('' clears). The modified date moves with every write, also one that changes nothing:
        what HubSpot does then is not documented, and this is the harder case for a client."""
        now = self._touch(record)
        moved = {
            name: value
            for name, value in changes.items()
            if record.properties.get(name, "") != value and self._may_move(record, name, value)
        }
        for name, value in moved.items():
            if name not in record.history:
                record.history[name] = record.entries(name)
            record.history[name].append(Entry(value, now, source))
        if "email" in moved or "hs_additional_emails" in moved:
            self._forget_emails(record)
        merged = {**record.properties, **moved}
        record.properties = {name: value for name, value in merged.items() if value != ""}
        self._learn_emails(record)
        self.index.note(record)
        for name, value in moved.items():
            self._account.tell(Change("propertyChange", self.name, record.id, now, source, name, value))

    def archive(self, record: Record, source: Source) -> None:
        """Move to the recycling bin. Search forgets it, the list shows it with archived=true only."""
        record.archived_at = self._touch(record)
        _remove(self.live, record.id)
        insort(self.archived, record.id)
        self._forget_emails(record)
        self.index.note(record)
        self._account.tell(Change("deletion", self.name, record.id, record.archived_at, source))

    def restore(self, record: Record, source: Source) -> None:
        """Back from the recycling bin, with its id."""
        record.archived_at = None
        now = self._touch(record)
        _remove(self.archived, record.id)
        insort(self.live, record.id)
        self._learn_emails(record)
        self.index.note(record)
        self._account.tell(Change("restore", self.name, record.id, now, source))

    def forget(self, record: Record, source: Source) -> None:
        """Delete for good, as privacy laws ask; two messages tell of it."""
        if record.archived_at is None:
            self.archive(record, source)
        _remove(self.archived, record.id)
        del self.records[record.id]
        now = self._account.clock()
        self._account.tell(Change("privacyDeletion", self.name, record.id, now, source))

    def merge(self, winner: Record, loser: Record, source: Source) -> None:
        """Fold `loser` into `winner`; the loser's id leads to the winner from then on."""
        absorbed = [part for part in winner.properties.get("hs_merged_object_ids", "").split(";") if part]
        absorbed += [part for part in loser.properties.get("hs_merged_object_ids", "").split(";") if part]
        changes = {name: value for name, value in loser.properties.items() if name not in winner.properties}
        changes["hs_merged_object_ids"] = ";".join([*absorbed, str(loser.id)])
        if self.name == "contacts":
            changes["hs_calculated_merged_vids"] = ";".join(
                f"{id_}:{winner.modified}" for id_ in [*absorbed, loser.id]
            )
            changes["hs_additional_emails"] = _more_emails(winner, loser)
        _remove(self.live, loser.id)
        del self.records[loser.id]
        self.merged_into[loser.id] = winner.id
        self._account.links.move(self.name, loser.id, winner.id)
        self.index.drop(loser.id)
        self.write(winner, changes, source)
        more = {
            "primaryObjectId": winner.id,
            "mergedObjectIds": [loser.id],
            "newObjectId": winner.id,
            "numberOfPropertiesMoved": len(changes),
        }
        self._account.tell(Change("merge", self.name, winner.id, winner.modified, source, more=more))

    def spelled(self, word: str) -> str | None:
        """The object that a word in a path or filter stands for."""
        return SPELLINGS.get(word)

    def linked(self, id_: int, right: str) -> list[int]:
        """Ids of the records of `right` associated with a record."""
        return self._account.links.of(self.name, id_, right)

    def page(self, after: int, limit: int, *, archived: bool) -> tuple[list[Record], int | None]:
        """Records with ids from `after` on, and the id that the next page starts with."""
        ids = self.archived if archived else self.live
        start = bisect_left(ids, after)
        chosen = ids[start : start + limit]
        following = ids[start + limit] if start + limit < len(ids) else None
        return [self.records[id_] for id_ in chosen], following

    def _may_move(self, record: Record, name: str, value: str) -> bool:
        """Lifecycle stages go forward only; a step back is ignored without an error."""
        if name != "lifecyclestage" or value == "" or not record.properties.get(name):
            return True
        stages = [option for option, _ in self.schema.definitions[name].options]
        return stages.index(value) > stages.index(record.properties[name])

    def _touch(self, record: Record) -> int:
        """Move the modified date: to now, and always forward."""
        record.modified = max(self._account.clock(), record.modified + 1)
        return record.modified

    def _learn_emails(self, record: Record) -> None:
        if self.name == "contacts" and record.archived_at is None:
            for email in emails_of(record):
                self.by_email[email] = record.id

    def _forget_emails(self, record: Record) -> None:
        for email in emails_of(record) if self.name == "contacts" else ():
            if self.by_email.get(email) == record.id:
                del self.by_email[email]


def emails_of(record: Record) -> list[str]:
    """All addresses of a contact, lower-cased."""
    extra = record.properties.get("hs_additional_emails", "")
    return [part for part in [record.properties.get("email", "").lower(), *extra.lower().split(";")] if part]


def _more_emails(winner: Record, loser: Record) -> str:
    primary = winner.properties.get("email", loser.properties.get("email", "")).lower()
    both = dict.fromkeys([*emails_of(winner), *emails_of(loser)])
    return ";".join(email for email in both if email != primary)


def _remove(ids: list[int], id_: int) -> None:
    place = bisect_left(ids, id_)
    if place < len(ids) and ids[place] == id_:
        del ids[place]


def value_of(
    collection: Collection, id_: int, properties: Mapping[str, str], created: int, modified: int, name: str
) -> str | None:
    """A property's value, be it stored or a fact about the record."""
    if name == "hs_object_id":
        return str(id_)
    if name == collection.created_name:
        return times.iso(created)
    if name in (collection.modified_name, "hs_lastmodifieddate"):
        return times.iso(modified)
    return properties.get(name)


@dataclass
class AccountFacts:
    """What the account says of itself."""

    id: int = PORTAL_ID
    timezone: str = "US/Eastern"
    currency: str = "USD"


class Portal:
    """The whole account. Whoever reads or writes it holds `lock`."""

    def __init__(
        self,
        *,
        clock: Callable[[], int] = times.now_ms,
        search_lag: float = 0.0,
        facts: AccountFacts | None = None,
    ) -> None:
        self.clock = clock
        self.search_lag_ms = int(search_lag * 1000)
        self.facts = facts or AccountFacts()
        self.lock = threading.RLock()
        self.links = Links()
        self.engagement = Engagement()
        self.objects = {name: Collection(name, self) for name in OBJECTS}
        self.pipelines: dict[str, list[dict[str, Any]]] = {name: [] for name in OBJECTS}
        self.owners: list[dict[str, Any]] = []
        self.blocklist: set[str] = set()
        #: list id -> contact id -> when it was added, epoch ms
        self.lists: dict[str, dict[int, int]] = {}
        self.listeners: list[Callable[[Change], None]] = []
        self.started = clock()

    @property
    def contacts(self) -> Collection:
        """The contacts."""
        return self.objects["contacts"]

    def tell(self, change: Change) -> None:
        """Pass a change on to those who listen."""
        for listener in self.listeners:
            listener(change)

    def define(self, object_name: str, definition: Definition) -> None:
        """Add or replace a property."""
        self.objects[object_name].schema.put(definition)
