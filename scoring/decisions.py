"""From what predictors computed to what stands on a contact record: one text per property.

Texts are canonical, so that a value that did not change compares equal whatever the platform makes of it:
numbers without trailing zeros, booleans `true`/`false`, instants `2026-11-22T08:00:00Z`, null for a cleared
property.
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

#: Decimal places that a number keeps on a record.
PLACES = 4


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of values as canonical texts."""
    kind = column.type
    if pa.types.is_floating(kind):
        whole = pc.cast(pc.round(column, PLACES), pa.float64())
        text = pc.cast(whole, pa.string())
        return pc.replace_substring_regex(text, r"\.0+$", "")
    if pa.types.is_timestamp(kind):
        seconds = pc.cast(pc.floor_temporal(column, unit="second"), pa.timestamp("s"))
        return pc.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # an empty text cannot be told from a cleared property on any platform
        return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), pc.cast(column, pa.string()))
    return pc.cast(column, pa.string())


def decide(outputs: Mapping[str, tuple[pa.Table, Mapping[str, str]]]) -> pa.Table:
    """Join what predictors gave, by contact.

    `outputs`: for each predictor its table (`contact_id` and its properties) and its properties' names on the
    record ({"leadlight_score": "leadlight_score_renewal"}; those not named keep theirs). Returns `contact_id`
    and one text column a property, sorted by contact_id; a predictor without a row for a contact leaves its
    properties null: no value is not a zero.
    """
    joined: pa.Table | None = None
    for table, names in outputs.values():
        texts = pa.table(
            {
                "contact_id": pc.cast(table["contact_id"], pa.string()),
                **{names.get(name, name): as_text(table[name]) for name in _properties(table)},
            }
        )
        joined = texts if joined is None else joined.join(texts, "contact_id", join_type="full outer")
    if joined is None:
        return pa.table({"contact_id": pa.array([], pa.string())})
    return joined.sort_by("contact_id")


def _properties(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name != "contact_id"]
