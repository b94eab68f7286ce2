"""A contact as it was at an instant, as columns: what predictors learn from.

`build` makes one row per pair of contact and instant. Features are SQL over the canonical tables, computed once
for all pairs; see `feature_sql` for the builder, `property_features` for CRM properties, `behaviour_features`
for what a contact did, `account_features` for purchases, deals and the company.
"""

from collections.abc import Sequence

import pyarrow as pa

from scoring.context import Context
from scoring.engine import Engine, quoted
from scoring.features import account as account_features
from scoring.features import behaviour as behaviour_features
from scoring.features import properties as property_features
from scoring.features.sql import OTHER, SQL_TYPES, Computed, Feature, select_list, spoken

__all__ = ["OTHER", "Feature", "build", "left_out", "read", "spoken"]

_WIDE = "leadlight_wide"


def build(
    context: Context, pairs: str, into: str, features: Sequence[Feature] | None = None
) -> tuple[Feature, ...]:
    """Compute features for each (contact_id, as_of) of the table `pairs` into the table `into`.

    `into` has contact_id, as_of and one column per feature (DOUBLE or VARCHAR, null is unknown). Without
    `features`, all that vary on these pairs are found, in a fixed order; with them, exactly these, null where
    the tables no longer have what they need. Several instants per contact are allowed, equal pairs are not.
    """
    sources = _sources(context, pairs, features)
    found = [one.feature for _, part in sources for one in part]
    if features is None:
        context.engine.run(f"create or replace temp table {_WIDE} as {_joined(pairs, sources, found)}")
        kept = _varying(context.engine, found)
        columns = ", ".join(["contact_id", "as_of", *(quoted(feature.name) for feature in kept)])
        context.engine.run(
            f"create or replace temp table {quoted(into)} as select {columns} from {_WIDE} "
            "order by contact_id, as_of"
        )
    else:
        kept = tuple(features)
        context.engine.run(
            f"create or replace temp table {quoted(into)} as {_joined(pairs, sources, kept)} "
            "order by p.contact_id, p.as_of"
        )
    _drop(context, sources)
    return kept


def read(context: Context, pairs: str, features: Sequence[Feature], *also: str) -> pa.Table:
    """The same as rows at hand: contact_id, as_of, the columns `also` of `pairs`, then these features; sorted by
    contact and instant."""
    sources = _sources(context, pairs, features)
    table = context.engine.fetch(f"{_joined(pairs, sources, features, also)} order by p.contact_id, p.as_of")
    _drop(context, sources)
    return table


def _sources(context: Context, pairs: str, features: Sequence[Feature] | None) -> list[tuple[str, list[Computed]]]:
    """One table per source, with a row per pair, and what is computed from it."""
    computed, _ = property_features.prepare(context, pairs, _of_properties(features))
    own = None if features is None else [feature for feature in features if feature.property is None]
    return [
        (behaviour_features.BEHAVIOUR, behaviour_features.prepare(context, pairs, own)),
        *account_features.prepare(context, pairs, own),
        (property_features.VALUES, computed),
    ]


def _drop(context: Context, sources: Sequence[tuple[str, list[Computed]]]) -> None:
    context.engine.drop(_WIDE, behaviour_features.EVENTS, *(table for table, _ in sources))


def left_out(context: Context, pairs: str) -> tuple[str, ...]:
    """Labels of properties that are not used because their values at a past instant are unknown."""
    _, missing = property_features.prepare(context, pairs, None)
    return missing


def _of_properties(features: Sequence[Feature] | None) -> list[Feature] | None:
    return None if features is None else [feature for feature in features if feature.property is not None]


def _joined(
    pairs: str,
    sources: Sequence[tuple[str, list[Computed]]],
    features: Sequence[Feature],
    also: Sequence[str] = (),
) -> str:
    """SQL: these features of all sources in one table. Each is named as rarely as can be: for a few contacts an
    engine takes longer to plan this than to carry it out."""
    joins: list[str] = []
    place: dict[str, str] = {}
    for number, (table, computed) in enumerate(sources):
        if computed:
            alias, rows = f"s{number}", table
            if table == property_features.VALUES:
                rows = f"(select contact_id, as_of, {select_list(computed)} from {table})"
            joins.append(
                f"left join {rows} {alias} on {alias}.contact_id = p.contact_id and {alias}.as_of = p.as_of"
            )
            place |= {one.feature.name: f"{alias}.{quoted(one.feature.name)}" for one in computed}
    columns = [
        place.get(one.name) or f"cast(null as {SQL_TYPES[one.kind]}) as {quoted(one.name)}" for one in features
    ]
    own = [f"p.{quoted(name)}" for name in ("contact_id", "as_of", *also)]
    return f"select {', '.join([*own, *columns])} from {quoted(pairs)} p {' '.join(joins)}"


def _varying(engine: Engine, found: Sequence[Feature]) -> tuple[Feature, ...]:
    """Features with at least two values on the pairs, where unknown is a value too."""
    if not found:
        return ()
    parts = [
        f"count({quoted(f.name)}), min({quoted(f.name)}) is distinct from max({quoted(f.name)})" for f in found
    ]
    row = [
        column[0].as_py() for column in engine.fetch(f"select count(*), {', '.join(parts)} from {_WIDE}").columns
    ]
    rows, facts = row[0], list(zip(row[1::2], row[2::2], strict=True))
    return tuple(
        feature for feature, (known, several) in zip(found, facts, strict=True) if several or 0 < known < rows
    )
