"""The org: its records in an engine of their own, and every change of them."""

import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from connector.sandbox import times
from connector.sandbox.options import Faults
from connector.sandbox.salesforce import ids
from connector.sandbox.salesforce.schema import Field, Object, objects, to_datetime
from scoring.engine import connect

INTEGRATION_USER = ids.one_id("005", 1)
ADMIN_USER = ids.one_id("005", 2)
ORGANIZATION = ids.one_id("00D", 1)


@dataclass(frozen=True)
class Change:
    """A record that was created or changed, for those who listen (outbound messages)."""

    object: str
    id: str
    kind: str  # created | updated | deleted


@dataclass
class RowError:
    """Why a row was refused; `code` is Salesforce's status code."""

    code: str
    message: str
    fields: list[str] = field(default_factory=list)


class Org:
    """Everything in the account. Whoever reads or writes it holds `lock`."""

    def __init__(
        self, *, clock: Callable[[], int] = times.now_ms, faults: Faults | None = None, seed: int = 0
    ) -> None:
        self.clock, self.faults = clock, faults or Faults()
        self.lock = threading.RLock()
        self.objects: dict[str, Object] = dict(objects())
        self.engine = connect()
        self.listeners: list[Callable[[Change], None]] = []
        self.random = random.Random(seed)  # noqa: S311 - a dice, not a secret
        self.started = clock()
        self.timezone, self.currency = "America/New_York", "USD"
        self._numbers: dict[str, int] = {}
        for one in self.objects.values():
            columns = ", ".join(f"{column.name} {column.stored}" for column in one.kept())
            self.engine.execute(f"create table {one.name} ({columns})")

    def define(self, object_name: str, made: Field) -> None:
        """Add a field, empty in every record."""
        standing = self.objects[object_name.lower()]
        if standing.get(made.name) is None:
            self.engine.execute(f"alter table {standing.name} add column {made.name} {made.stored}")
            if made.type == "boolean":
                self.engine.execute(f"update {standing.name} set {made.name} = false")
        standing.add(made)

    def hide(self, path: str) -> None:
        """Field-level security keeps a field ('Lead.Leadlight_Score__c') from the integration user."""
        name, _, hidden = path.partition(".")
        self.objects[name.lower()].fields.pop(hidden.lower(), None)

    def new_ids(self, object_name: str, count: int) -> pa.Array:
        """Ids for new records."""
        prefix = ids.PREFIXES[object_name]
        first = self._numbers.get(prefix, 100)
        self._numbers[prefix] = first + count
        return ids.ids(prefix, np.arange(first, first + count, dtype=np.int64))

    def now(self) -> datetime:
        """The present in whole seconds."""
        return to_datetime(self.clock())

    def rows(self, object_name: str, wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What a write has to know of records, by id."""
        known = "Id, IsDeleted" + (", IsConverted" if object_name == "Lead" else "")
        self.engine.register("wanted", pa.table({"Id": pa.array(list(wanted), pa.string())}))
        found = self.engine.sql(
            f"select {known} from {object_name} join (select distinct Id from wanted) using (Id)"
        )
        answer = {row["Id"]: row for row in found.to_arrow_table().to_pylist()}
        self.engine.unregister("wanted")
        return answer

    def update(self, entity: Object, changes: Mapping[str, Mapping[str, Any]], user: str, late: int = 0) -> None:
        """Set values of live records by id. Every write moves the stamps, also one that changes nothing."""
        if not changes:
            return
        names = list(dict.fromkeys(name for values in changes.values() for name in values))
        self._track(entity, changes, user)
        columns: dict[str, pa.Array] = {"Id": pa.array(list(changes), pa.string())}
        for number, name in enumerate(names):
            one = entity.get(name)
            values = [row.get(name) for row in changes.values()]
            columns[f"v{number}"] = pa.array(values, _ARROW[one.stored if one else "VARCHAR"])
            columns[f"s{number}"] = pa.array([name in row for row in changes.values()], pa.bool_())
        self.engine.register("changed", pa.table(columns))
        sets = [f"{name} = case when c.s{n} then c.v{n} else o.{name} end" for n, name in enumerate(names)]
        at = f"timestamp '{to_datetime(self.clock() - late * 1000).isoformat(sep=' ')}'"
        sets += [f"SystemModstamp = {at}", f"LastModifiedDate = {at}", f"LastModifiedById = '{user}'"]
        self.engine.execute(f"update {entity.name} o set {', '.join(sets)} from changed c where o.Id = c.Id")
        self.engine.unregister("changed")
        for id_ in changes:
            self.tell(Change(entity.name, id_, "updated"))

    def insert(self, entity: Object, records: Sequence[Mapping[str, Any]], user: str) -> list[str]:
        """New records; their ids."""
        made: list[str] = self.new_ids(entity.name, len(records)).to_pylist()
        now = self.now()
        stamps = {"IsDeleted": False, "CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now}
        stamps |= {"CreatedById": user, "LastModifiedById": user}
        blank = {one.name: False for one in entity.kept() if one.type == "boolean"}
        rows = [{**blank, **record, **stamps, "Id": id_} for id_, record in zip(made, records, strict=True)]
        self.load(entity.name, _table(entity, rows))
        for id_ in made:
            self.tell(Change(entity.name, id_, "created"))
        return made

    def load(self, object_name: str, table: pa.Table) -> None:
        """Put rows into the store as they are."""
        self.engine.register("loaded", table)
        self.engine.execute(f"insert into {object_name} by name select * from loaded")
        self.engine.unregister("loaded")

    def numbered(self, name: str, object_name: str, query: str) -> None:
        """A temporary table of a query's rows with a new `id` of the object each: for filling the org."""
        count = self.engine.sql(f"select count(*) from ({query})").fetchall()[0][0]
        self.engine.register("new_ids", pa.table({"id": self.new_ids(object_name, count)}))
        self.engine.execute(f"create temp table {name} as select * from ({query}) positional join new_ids")
        self.engine.unregister("new_ids")

    def delete(self, entity: Object, wanted: Iterable[str], user: str, master: str | None = None) -> None:
        """To the recycle bin: ordinary queries see the records no more; `master` is what they were merged into."""
        for id_ in wanted:
            at = f"timestamp '{self.now().isoformat(sep=' ')}'"
            merged = f", MasterRecordId = '{master}'" if master and entity.get("MasterRecordId") else ""
            self.engine.execute(
                f"update {entity.name} set IsDeleted = true, SystemModstamp = {at}, LastModifiedDate = {at}, "
                f"LastModifiedById = '{user}'{merged} where Id = '{id_}'"
            )
            self.tell(Change(entity.name, id_, "deleted"))

    def tell(self, change: Change) -> None:
        """Pass a change on to those who listen."""
        for listener in self.listeners:
            listener(change)

    def _track(self, entity: Object, changes: Mapping[str, Mapping[str, Any]], user: str) -> None:
        """History of tracked fields."""
        history = self.objects.get(f"{entity.name.lower()}history")
        tracked = TRACKED.get(entity.name, ())
        names = {name for values in changes.values() for name in values if name in tracked}
        if history is None or not names:
            return
        wanted = ", ".join(f"'{id_}'" for id_ in changes)
        kept = self.engine.sql(f"select Id, {', '.join(sorted(names))} from {entity.name} where Id in ({wanted})")
        rows = []
        for before in kept.to_arrow_table().to_pylist():
            for name in sorted(names & changes[before["Id"]].keys()):
                old, new = before[name], changes[before["Id"]][name]
                if old != new:
                    rows.append(
                        {
                            f"{entity.name}Id": before["Id"],
                            "Field": name,
                            "OldValue": None if old is None else str(old),
                            "NewValue": None if new is None else str(new),
                        }
                    )
        if rows:
            self.insert(history, rows, user)


#: Fields whose changes make history rows; at most twenty an object, as Salesforce allows.
TRACKED: dict[str, tuple[str, ...]] = {
    "Lead": ("Status", "Title", "Country", "OwnerId", "HasOptedOutOfEmail"),
    "Contact": ("Title", "OwnerId", "HasOptedOutOfEmail"),
}
_ARROW = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
}


def _table(entity: Object, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    names = [one for one in entity.kept() if any(one.name in row for row in rows)]
    return pa.table({one.name: pa.array([row.get(one.name) for row in rows], _ARROW[one.stored]) for one in names})
