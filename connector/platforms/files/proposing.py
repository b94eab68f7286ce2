"""A first mapping for a file of contacts, from what stands in it: id, outcome, known columns, unknown values."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from connector.errors import BadSetting
from connector.platforms.files.mapping import Source, TableSpec, property_name, suggest
from connector.platforms.files.reading import Raw, Reader
from scoring.engine import literal

#: Words that exports write for 'not known', as they are spelt.
_UNKNOWN = ("Select", "unknown", "Unknown", "UNKNOWN", "?", "N/A", "n/a", "NA", "null", "NULL", "nan", "NaN", "-")

#: Canonical column -> names that exports give it.
_CANONICAL: Mapping[str, frozenset[str]] = {
    "email": frozenset({"email", "e_mail", "email_address", "e_mail_address", "mail"}),
    "country": frozenset({"country", "country_region"}),
    "created_at": frozenset(
        {"created_at", "created", "create_date", "created_date", "date_created", "createdate", "signup"}
        | {"signup_date", "sign_up_date", "registered_at", "registration_date", "join_date", "joined_at"}
    ),
    "lifecycle_stage": frozenset({"lifecycle_stage", "lifecyclestage"}),
    "timezone": frozenset({"timezone", "time_zone"}),
}

#: What outcomes are called, the surest first.
_OUTCOMES = (
    *("converted", "conversion", "outcome", "target", "label", "y", "won", "is_won", "deal_won", "success"),
    *("purchased", "bought", "subscribed", "customer", "response", "responded", "churn", "churned", "deposit"),
)
_YES = ("yes", "y", "1", "1.0", "true", "t", "won", "converted", "success", "customer")
_ID_NAMES = ("contact_id", "id", "lead_id", "prospect_id", "customer_id", "record_id", "user_id", "uuid")


@dataclass(frozen=True)
class Proposal:
    """What a mapping of one file of contacts could say."""

    file: Path
    rows: int
    #: All columns, as the file names them.
    found: tuple[str, ...]
    #: Column that tells contacts apart; None: the row number does.
    id: str | None = None
    #: Canonical column -> column of the file, where the names differ.
    columns: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    #: (column, value that counts) of the outcome, if one is plain to see.
    goal: tuple[str, str] | None = None


def propose(file: Path, *, id: str | None = None) -> Proposal:
    """Look into a CSV (`.gz`, `.zip` too) or Parquet file. Raises BadSetting when it is none, or has no column
    `id`."""
    if not file.is_file():
        raise BadSetting(f"--file {file}: there is no such file.")
    source = Source("contacts", "[contacts]", 1, file, TableSpec(file=str(file)), file, "UTC")
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        raw = Reader(connection, source, Path(folder)).read(lined=False)
        if id is not None and id not in raw.columns:
            raise BadSetting(f"--id {id}: {file.name} has no such column{suggest(id, raw.columns)}.")
        look = _Look(connection, raw)
        found = tuple(raw.columns)
        ident = id or look.id()
        return Proposal(
            file, raw.rows, found, ident, look.canonical(ident), look.missing(), look.outcome(exclude=ident)
        )


class _Look:
    def __init__(self, connection: duckdb.DuckDBPyConnection, raw: Raw) -> None:
        self._connection, self._raw = connection, raw
        self._filled = self._each(lambda text: f"count({text})")
        self._distinct = self._each(lambda text: f"count(distinct {text})")

    def id(self) -> str | None:
        """A column whose values are all there and all different, and that is named like an id."""
        unique = [
            label
            for label in self._raw.columns
            if self._filled[label] == self._distinct[label] == self._raw.rows and _id_rank(label) is not None
        ]
        return min(unique, key=lambda label: _id_rank(label) or 0, default=None)

    def canonical(self, ident: str | None) -> dict[str, str]:
        """Columns that have a canonical place under another name."""
        given: dict[str, str] = {}
        for canonical, names in _CANONICAL.items():
            if canonical in self._raw.columns:
                continue
            theirs = [label for label in self._raw.columns if property_name(label) in names and label != ident]
            if theirs and (canonical != "created_at" or self._dated(theirs[0])):
                given[canonical] = theirs[0]
        return given

    def missing(self) -> tuple[str, ...]:
        """Words for 'not known' that stand somewhere in the file."""
        listed = ", ".join(literal(word) for word in _UNKNOWN)
        there = self._each(lambda text: f"list(distinct {text}) filter ({text} in ({listed}))")
        present = {word for words in there.values() for word in words or ()}
        return tuple(word for word in _UNKNOWN if word in present)

    def outcome(self, exclude: str | None) -> tuple[str, str] | None:
        """The column that says how it went: two values, named like an outcome or the last one with a yes in it."""
        last = list(self._raw.columns)[-1:]
        ranked: list[tuple[int, int, str, str]] = []
        for place, label in enumerate(self._raw.columns):
            rank = _outcome_rank(label)
            if label == exclude or (rank is None and label not in last):
                continue
            value = self._positive(label, named=rank is not None)
            if value is not None:
                ranked.append((len(_OUTCOMES) if rank is None else rank, -place, label, value))
        _, _, label, value = min(ranked, default=(0, 0, "", ""))
        return (label, value) if label else None

    def _positive(self, label: str, *, named: bool) -> str | None:
        """The value that counts, of a column with two: a yes, or else the rarer one."""
        text = _text(self._raw.columns[label])
        known = f"{text} is not null and {text} not in ({', '.join(literal(word) for word in _UNKNOWN)})"
        counts = self._connection.execute(
            f"select {self._raw.columns[label]}, count(*) from {self._raw.name} where {known} "
            "group by 1 order by 2, 1 limit 3"
        ).fetchall()
        if len(counts) != 2:
            return None
        yes = [str(value) for value, _ in counts if str(value).strip().casefold() in _YES]
        if len(yes) == 1:
            return yes[0]
        return str(counts[0][0]) if named else None

    def _dated(self, label: str) -> bool:
        """Whether nearly all values are times in a form that needs no further word."""
        text = _text(self._raw.columns[label])
        row = self._connection.execute(
            f"select count(try_cast({text} as timestamp)), count({text}) from {self._raw.name}"
        ).fetchall()[0]
        return bool(row[1]) and row[0] >= 0.95 * row[1]

    def _each(self, expression: Callable[[str], str]) -> dict[str, Any]:
        parts = ", ".join(expression(_text(column)) for column in self._raw.columns.values())
        row = self._connection.execute(f"select {parts} from {self._raw.name}").fetchall()[0]
        return dict(zip(self._raw.columns, row, strict=True))


def _text(column: str) -> str:
    return f"nullif(trim({column}), '')"


def _id_rank(label: str) -> int | None:
    name = property_name(label)
    if name in _ID_NAMES:
        return _ID_NAMES.index(name)
    if name.endswith(("_id", "_uuid", "_key")):
        return len(_ID_NAMES)
    return len(_ID_NAMES) + 1 if name.endswith(("_number", "_no")) else None


def _outcome_rank(label: str) -> int | None:
    name = property_name(label)
    if name in _OUTCOMES:
        return _OUTCOMES.index(name)
    return next((len(_OUTCOMES) for word in name.split("_") if len(word) > 1 and word in _OUTCOMES), None)
