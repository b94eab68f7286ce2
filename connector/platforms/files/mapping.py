"""mapping.toml: which file holds which canonical table, and how its columns are called there.

Everything that can be wrong without opening a data file is found here, with a message that names the mapping,
the table, the key and what is accepted.
"""

import difflib
import re
import tomllib
import unicodedata
import zoneinfo
from collections.abc import Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connector.errors import BadSetting
from scoring.tables import KINDS, TABLES

#: Tables that a file can hold. Definitions are made from the columns found.
FILE_TABLES = tuple(name for name in TABLES if name != "property_definitions")

#: What a purchase line may say about the product; it goes to `purchase_items`.
ITEM_COLUMNS = ("product_id", "category", "quantity", "price")

#: Columns without which a row of the table means nothing.
REQUIRED: AnyMapping[str, tuple[str, ...]] = {
    "contact_addresses": ("contact_id", "email"),
    "consents": ("contact_id", "purpose", "status"),
    "list_members": ("list_id", "contact_id"),
    "property_history": ("object_id", "property", "changed_at"),
    "companies": ("company_id",),
    "deals": ("deal_id",),
    "deal_contacts": ("deal_id", "contact_id"),
    "events": ("contact_id", "occurred_at"),
    "purchases": ("contact_id", "purchased_at"),
    "purchase_items": ("purchase_id", "product_id"),
    "campaigns": ("campaign_id",),
    "identities": ("person_id", "contact_id"),
}

_CONTACTS_ONLY = ("id", "order_by")


class TableSpec(BaseModel):
    """The keys that a table of the mapping takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: Absolute, or relative to the mapping.
    file: str
    #: Column names of a file without a header line.
    names: list[str] | None = None
    #: Lines before the header (or, with `names`, before the first row).
    skip_rows: int = Field(default=0, ge=0)
    #: Canonical column -> column of the file, or "=x" for the constant x.
    columns: dict[str, str] = Field(default_factory=dict)
    #: Of numeric times, which are counted from 1970-01-01 UTC.
    unit: Literal["s", "ms"] | None = None
    #: strptime format of times written otherwise than ISO 8601.
    time_format: str | None = None
    #: Values that mean 'not known', beside the empty one.
    missing: list[str] = Field(default_factory=list)
    #: IANA zone of naive times.
    timezone: str | None = None
    #: Column with the contact's id. Left out: `contact_id` where the file has it, else the row number.
    id: str | None = None
    #: Columns that are never read.
    drop: list[str] = Field(default_factory=list)
    #: 'row': the rows stand in time order.
    order_by: Literal["row"] | None = None


@dataclass(frozen=True)
class Source:
    """One table of the mapping and its file."""

    table: str
    #: As it stands in the mapping: [contacts], or [[events]] number 2.
    label: str
    #: Position among the tables of the mapping, from 1.
    number: int
    file: Path
    spec: TableSpec
    mapping: Path
    #: IANA zone of naive times, resolved.
    timezone: str

    def wrong(self, key: str, message: str) -> BadSetting:
        """The error to raise when a key of this table is wrong."""
        return BadSetting(f"{self.mapping}, {self.label}, {key}: {message}")


@dataclass(frozen=True)
class Mapping:
    """A mapping that was read and checked."""

    path: Path
    #: IANA zone of naive times, and of contacts without a zone.
    timezone: str
    sources: tuple[Source, ...]
    #: [goal] and [goals.<name>] for `scoring.goals.Goal.from_settings`; `column` is the property's name.
    goal: AnyMapping[str, Any] | None
    goals: AnyMapping[str, AnyMapping[str, Any]]

    @property
    def contacts(self) -> TableSpec | None:
        """The (first) contacts table."""
        return next((source.spec for source in self.sources if source.table == "contacts"), None)

    def goal_columns(self) -> tuple[str, ...]:
        """Property names of the columns that static goals read."""
        given = [self.goal or {}, *self.goals.values()]
        return tuple(dict.fromkeys(str(goal["column"]) for goal in given if goal.get("column") is not None))


def read_mapping(path: Path) -> Mapping:
    """Read and check a mapping. Raises BadSetting with one message that names what to change."""
    path = Path(path)
    given = _toml(path)
    timezone = _zone(given.pop("timezone", "UTC"), f"{path}, timezone")
    goal, goals = _goals(path, given.pop("goal", None), given.pop("goals", {}))
    sources: list[Source] = []
    for table, entries in given.items():
        if table not in FILE_TABLES:
            known = (*FILE_TABLES, "goal", "goals", "timezone")
            raise BadSetting(f"{path}, {table}: there is no such table or key{suggest(table, known)}.")
        listed = entries if isinstance(entries, list) else [entries]
        for place, entry in enumerate(listed, start=1):
            label = f"[[{table}]] number {place}" if isinstance(entries, list) else f"[{table}]"
            sources.append(_source(path, table, label, len(sources) + 1, entry, timezone))
    if not sources:
        raise BadSetting(f'{path}: it names no file; add a table such as [contacts] with file = "leads.csv".')
    return Mapping(path=path, timezone=timezone, sources=tuple(sources), goal=goal, goals=goals)


def property_name(column: str) -> str:
    """A file's column as a property: lower_snake, starting with a letter. `emp.var.rate` -> `emp_var_rate`."""
    plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode()
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", plain)
    name = re.sub(r"[^0-9a-z]+", "_", spaced.lower()).strip("_")
    return f"n_{name}" if name[:1].isdigit() else name or "column"


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'columns'? Known are …`, for the end of a message."""
    names = list(known)
    folded = {name.casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    meant = f"; did you mean {folded[close[0]]!r}?" if close else ";"
    return f"{meant} Known are {', '.join(names)}"


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadSetting(f"The mapping {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"The mapping {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"The mapping {path} is not valid TOML: {error}.") from None


def _source(path: Path, table: str, label: str, number: int, entry: object, timezone: str) -> Source:
    where = f"{path}, {label}"
    if not isinstance(entry, dict):
        raise BadSetting(f"{where}: it must be a table with file = …, not {entry!r}.")
    try:
        spec = TableSpec.model_validate(entry)
    except ValidationError as error:
        raise BadSetting(_readable(where, error)) from None
    file = path.parent / Path(spec.file).expanduser()
    source = Source(table, label, number, file, spec, path, timezone=timezone)
    if spec.timezone is not None:
        zone = _zone(spec.timezone, f"{where}, timezone")
        source = Source(table, label, number, file, spec, path, timezone=zone)
    _check_keys(source)
    if not file.is_file():
        raise source.wrong("file", f"there is no file {file}.")
    return source


def _readable(where: str, error: ValidationError) -> str:
    """pydantic's first complaint in one sentence."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "extra_forbidden":
            return f"{where}, {key}: there is no such key{suggest(key, TableSpec.model_fields)}."
        case "missing":
            return f"{where}, {key}: it is needed and not given."
        case _:
            message = first["msg"].removeprefix("Input should be ")
            return f"{where}, {key}: it should be {message}, not {first['input']!r}."


def _check_keys(source: Source) -> None:
    spec = source.spec
    if source.table != "contacts":
        for key in _CONTACTS_ONLY:
            if getattr(spec, key) is not None:
                raise source.wrong(key, "only [contacts] takes it.")
    elif spec.id is not None and spec.columns.get("contact_id", spec.id) != spec.id:
        raise source.wrong("id", "columns.contact_id names another column; keep one of them.")
    if spec.names is not None and len(set(spec.names)) != len(spec.names):
        raise source.wrong("names", "each column needs a name of its own.")
    known = canonical_columns(source.table)
    for canonical in spec.columns:
        if canonical not in known:
            raise source.wrong(
                f"columns.{canonical}", f"there is no such canonical column{suggest(canonical, known)}."
            )
    kind = spec.columns.get("kind", "")
    if source.table == "events" and kind.startswith("=") and kind[1:] not in KINDS:
        raise source.wrong("columns.kind", f"{kind[1:]!r} is no event kind{suggest(kind[1:], KINDS)}.")


def canonical_columns(table: str) -> tuple[str, ...]:
    """Canonical columns that a table of the mapping may name."""
    names = tuple(column.name for column in TABLES[table] if column.name != "row_order")
    return names + ITEM_COLUMNS if table == "purchases" else names


def _goals(
    path: Path, goal: object, goals: object
) -> tuple[AnyMapping[str, Any] | None, AnyMapping[str, AnyMapping[str, Any]]]:
    if goal is not None and not isinstance(goal, dict):
        raise BadSetting(f"{path}, goal: write it as a table: [goal], then column = … and equals = ….")
    if not isinstance(goals, dict) or not all(isinstance(entry, dict) for entry in goals.values()):
        raise BadSetting(f"{path}, goals: write each further goal as a table: [goals.renewal].")
    return (
        None if goal is None else _with_property(goal),
        {name: _with_property(entry) for name, entry in goals.items()},
    )


def _with_property(goal: dict[str, Any]) -> dict[str, Any]:
    column = goal.get("column")
    return {**goal, "column": property_name(column)} if isinstance(column, str) else dict(goal)


def _zone(name: object, where: str) -> str:
    if not isinstance(name, str) or name not in zones():
        close = difflib.get_close_matches(str(name), zones(), n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ";"
        raise BadSetting(
            f"{where}: {name!r} is no time zone{meant} Use an IANA name such as Europe/Berlin or UTC."
        )
    return name


@cache
def zones() -> frozenset[str]:
    """IANA zones that this machine knows."""
    return frozenset(zoneinfo.available_timezones())
