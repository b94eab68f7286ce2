"""CSV as Bulk API 2.0 gives and takes it: quoted, with newlines in values, '' for null on the way out, `#N/A` on
the way in."""

import csv
import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

#: What clears a field; an empty value leaves it as it is.
NULL = "#N/A"

#: A value may have 131,072 characters and more; rows are not cut into blocks.
_LONGEST = 2**31 - 1
csv.field_size_limit(_LONGEST)


def read_csv(body: bytes) -> pa.Table:
    """All columns as texts, empty values null. NUL bytes, which Salesforce lets through, are left out."""
    clean = body.replace(b"\x00", b"")
    header = next(csv.reader(io.StringIO(clean.partition(b"\n")[0].decode("utf-8-sig"))), [])
    if not header:
        return pa.table({})
    return pa_csv.read_csv(
        io.BytesIO(clean),
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=max(len(clean) + 1, 1 << 16)),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            null_values=[""],
        ),
    )


def write_csv(names: Sequence[str], rows: Sequence[Mapping[str, str | None]]) -> bytes:
    """Rows under a header, LF at the end of lines; None is `#N/A`, a name that a row lacks is left as it is."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row, name) for name in names])
    return text.getvalue().encode()


def _cell(row: Mapping[str, str | None], name: str) -> str:
    if name not in row:
        return ""
    value = row[name]
    return NULL if value in (None, "") else str(value)
