"""One source's rows in canonical columns, bad ones put aside: a temporary table per source.

All conversion is SQL over whole columns. What a row is rejected for is its first field that cannot be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from connector.platforms.files.mapping import REQUIRED, Source, canonical_columns, property_name, suggest
from connector.platforms.files.reading import Raw, Reader
from connector.platforms.files.values import Value, cleaned, kind_of_event, value
from scoring.engine import literal
from scoring.tables import TABLES

#: Tables whose rows have an id of their own: a repeated one would overwrite, so it is put aside.
_IDS = {
    "contacts": "contact_id",
    "companies": "company_id",
    "deals": "deal_id",
    "events": "event_id",
    "campaigns": "campaign_id",
}
_ITEM_TYPES = {"product_id": "VARCHAR", "category": "VARCHAR", "quantity": "DOUBLE", "price": "DOUBLE"}


@dataclass(frozen=True)
class Extra:
    """A column that is not canonical: a property of a contact or company, a detail of an event."""

    name: str
    label: str
    #: Column of the staged table that holds its text.
    column: str


@dataclass(frozen=True)
class Staged:
    """`table` has the canonical columns that `given` lists, one text column per extra, `_source` and `_row`."""

    source: Source
    table: str
    given: tuple[str, ...]
    extras: tuple[Extra, ...]


class Stage:
    """Stages sources on one connection. The table `rejects` collects what could not be used."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, folder: Path, goal_columns: Sequence[str] = ()
    ) -> None:
        self.connection, self._folder = connection, folder
        self._goals = frozenset(property_name(column) for column in goal_columns)
        connection.execute(
            "create or replace temp table rejects("
            "record varchar, field varchar, reason varchar, number bigint, source integer)"
        )

    def stage(self, source: Source) -> Staged:
        """Read, convert, put bad rows aside. Raises BadSetting where no row at all can be used."""
        reader = Reader(self.connection, source, self._folder)
        raw = reader.read(lined=False)
        columns = resolve(source, raw.columns)
        extras = _extras(source, raw.columns, columns, self._goals)
        table = f"stage_{source.number}"
        self._convert(source, raw, columns, extras, table)
        if not raw.lined and self._flagged(table):
            raw = reader.read(lined=True)
            self._convert(source, raw, columns, extras, table)
        self._put_aside(source, raw, table)
        self.connection.execute(f"drop table {raw.name}")
        return Staged(source, table, tuple(columns), extras)

    def _convert(
        self, source: Source, raw: Raw, columns: dict[str, str], extras: tuple[Extra, ...], table: str
    ) -> None:
        texts = [f"{expression} as t_{name}" for name, expression in columns.items()]
        texts += [
            f"{_extra_text(source, raw.columns[e.label], e.name in self._goals)} as {e.column}" for e in extras
        ]
        values = {name: _value(source, name) for name in columns}
        converted = [f"{found.sql} as {name}" for name, found in values.items()]
        if "kind" in columns:
            kind, word = kind_of_event("t_kind")
            converted = [item for item in converted if not item.endswith(" as kind")]
            converted += [f"{kind} as kind", f"{word} as _word"]
        keep = ", ".join(
            [*columns, *(extra.column for extra in extras), *(["_word"] if "kind" in columns else [])]
        )
        zone = "t_timezone" if "timezone" in columns and source.table == "contacts" else "null"
        field, reason = _complaints(source, values)
        self.connection.execute(
            f"create or replace temp table {table} as select _row, _line, {source.number} as _source, {keep}, "
            f"{zone} as _zone, {field} as _field, {reason} as _reason from ("
            f"select *, {', '.join(converted)} from (select _row, _line, {', '.join(texts)} from {raw.name}))"
        )
        self._flag_repeated(source, table, columns)

    def _flag_repeated(self, source: Source, table: str, columns: dict[str, str]) -> None:
        """Of rows with one id the last counts; those before it are put aside."""
        key = _IDS.get(source.table)
        if key is None or key not in columns:
            return
        good = f"from {table} where _reason is null"
        if not self._number(f"select count(*) - count(distinct {key}) {good}"):
            return
        words = literal(f"the same {key} comes again further down; that row counts")
        self.connection.execute(
            f"update {table} set _field = {literal(key)}, _reason = {words} where _row in "
            f"(select _row from (select _row, row_number() over (partition by {key} order by _row desc) as place "
            f"{good}) where place > 1)"
        )

    def _flagged(self, table: str) -> bool:
        return bool(self._number(f"select count(*) from {table} where _reason is not null or {_BAD_ZONE}"))

    def _put_aside(self, source: Source, raw: Raw, table: str) -> None:
        where = f"{source.file.name}, {raw.unit} "
        if raw.rejects:
            bad = {
                "record": [f"{where}{reject.line}" for reject in raw.rejects],
                "field": pa.array([reject.field for reject in raw.rejects], pa.string()),
                "reason": [reject.reason for reject in raw.rejects],
                "number": [reject.line for reject in raw.rejects],
            }
            self.connection.register("_incoming", pa.table(bad))
            self.connection.execute(f"insert into rejects select *, {source.number} from _incoming")
            self.connection.unregister("_incoming")
        record = f"{literal(where)} || _line"
        self.connection.execute(
            f"insert into rejects select {record}, _field, _reason, _line, _source from {table} "
            "where _reason is not null"
        )
        self.connection.execute(f"delete from {table} where _reason is not null")
        self._refuse_nothing_left(source, table)
        if self._number(f"select count(*) from {table} where {_BAD_ZONE}"):
            self.connection.execute(
                f"insert into rejects select {record}, 'timezone', 'not a known time zone; left empty', "
                f"_line, _source from {table} where {_BAD_ZONE}"
            )
            self.connection.execute(f"update {table} set timezone = null where {_BAD_ZONE}")

    def _refuse_nothing_left(self, source: Source, table: str) -> None:
        """A file of bad rows alone is a wrong mapping, not bad luck."""
        if self._number(f"select count(*) from {table}"):
            return
        found = self.connection.execute(
            f"select record, field, reason from rejects where source = {source.number} order by number limit 1"
        ).fetchall()
        if not found:
            return
        first = found[0]
        key = f"columns.{first[1]}" if first[1] else "file"
        raise source.wrong(key, f"no row can be used; the first, {first[0]}: {first[2]}.")

    def _number(self, sql: str) -> int:
        return int(self.connection.execute(sql).fetchall()[0][0])


_BAD_ZONE = "_zone is not null and _zone not in (select name from known_zones)"


def resolve(source: Source, found: dict[str, str]) -> dict[str, str]:
    """Canonical column -> SQL expression of its text. Raises BadSetting naming a column that the file lacks."""
    spec = source.spec
    _check_columns(source, found)
    given = dict(spec.columns)
    if spec.id is not None:
        given["contact_id"] = spec.id
    columns: dict[str, str] = {}
    for canonical in canonical_columns(source.table):
        theirs = given.get(canonical, canonical)
        if theirs.startswith("=") and canonical in given:
            columns[canonical] = literal(theirs[1:])
        elif theirs in found and theirs not in spec.drop:
            columns[canonical] = cleaned(source, found[theirs])
    if source.table == "contacts":
        # Without an id the row number is one: fixed as long as rows are only appended.
        columns.setdefault("contact_id", "cast(_row as varchar)")
    for needed in REQUIRED.get(source.table, ()):
        if needed not in columns:
            listed = ", ".join(found)
            raise source.wrong(
                f"columns.{needed}",
                f"it is needed: say which column of {source.file.name} it is. It has {listed}.",
            )
    return columns


def _check_columns(source: Source, found: dict[str, str]) -> None:
    """Every name that the mapping uses stands in the file."""
    spec = source.spec
    used = [(f"columns.{key}", theirs) for key, theirs in spec.columns.items() if not theirs.startswith("=")]
    used += [("drop", theirs) for theirs in spec.drop]
    used += [("id", spec.id)] if spec.id is not None else []
    for key, theirs in used:
        if theirs not in found:
            raise source.wrong(key, f"{source.file.name} has no column {theirs!r}{suggest(theirs, found)}.")
        if key != "drop" and theirs in spec.drop:
            raise source.wrong(key, f"column {theirs!r} is also in drop; take it out of one of them.")


def _extras(
    source: Source, found: dict[str, str], columns: dict[str, str], goals: frozenset[str]
) -> tuple[Extra, ...]:
    """The columns that no canonical one takes, and those of static goals in any case."""
    if source.table not in ("contacts", "companies", "events"):
        return ()
    spec = source.spec
    used = {theirs for theirs in spec.columns.values() if not theirs.startswith("=")} | {spec.id}
    used |= {name for name in columns if name in found and spec.columns.get(name, name) == name}
    extras: list[Extra] = []
    names: set[str] = set()
    for label in found:
        plain = property_name(label)
        if label in spec.drop or (label in used and plain not in goals):
            continue
        name, repeat = plain, 1
        while name in names:
            repeat += 1
            name = f"{plain}_{repeat}"
        names.add(name)
        extras.append(Extra(name, label, f"x_{len(extras)}"))
    return tuple(extras)


def _extra_text(source: Source, column: str, goal: bool) -> str:
    text = cleaned(source, column)
    # A goal's value is compared as it stands, blanks and all.
    return f"case when ({text}) is not null then {column} end" if goal else text


def _value(source: Source, name: str) -> Value:
    types = {column.name: column.type for column in TABLES[source.table]}
    if source.table == "purchases":
        types.update(_ITEM_TYPES)
    return value(source, name, types[name], f"t_{name}")


def _complaints(source: Source, values: dict[str, Value]) -> tuple[str, str]:
    """(field, reason) of a row's first complaint, as SQL; null for a good row."""
    needed = REQUIRED.get(source.table, ()) + (("contact_id",) if source.table == "contacts" else ())
    fields: list[str] = []
    reasons: list[str] = []
    for name, found in values.items():
        if name in needed:
            fields.append(f"when t_{name} is null then {literal(name)}")
            reasons.append(f"when t_{name} is null then 'empty'")
        if found.complaint is not None:
            test = f"when t_{name} is not null and {name} is null then"
            fields.append(f"{test} {literal(name)}")
            reasons.append(f"{test} {literal(found.complaint)}")
    if not fields:
        return "cast(null as varchar)", "cast(null as varchar)"
    return f"case {' '.join(fields)} end", f"case {' '.join(reasons)} end"
