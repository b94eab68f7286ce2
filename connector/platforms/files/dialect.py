"""How a text file separates its columns, judged by its beginning."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from connector.errors import BadSetting
from connector.platforms.files.mapping import Source

#: Candidates; of equally good ones the first.
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 500
#: Share of rows that must agree with the header for a dialect to be taken for it.
_CLEAR = 0.5


@dataclass(frozen=True)
class Dialect:
    """What separates and quotes fields. `whitespace`: runs of spaces, written as single tabs by `unpack`."""

    delimiter: str
    quote: str | None
    whitespace: bool = False


@dataclass(frozen=True)
class Head:
    """The beginning of a file, in whole lines."""

    text: str

    def after(self, lines: int) -> int:
        """Position after so many lines."""
        position = 0
        for _ in range(lines):
            found = re.compile(r"\r\n|\n|\r").search(self.text, position)
            if found is None:
                return len(self.text)
            position = found.end()
        return position


def find_dialect(source: Source, head: Head) -> tuple[Dialect, tuple[str, ...], int]:
    """(dialect, column names, position of the first row). Raises BadSetting when there is no header to read."""
    start = head.after(source.spec.skip_rows)
    body = head.text[start:]
    blank = re.match(r"(?:[ \t]*(?:\r\n|\n|\r))*", body)
    start += blank.end() if blank else 0
    body = head.text[start:]
    if not body.strip() and source.spec.names is None:
        raise source.wrong("file", f"{source.file.name} is empty: it has no header line.")
    names = source.spec.names
    dialect = _best(body, len(names) if names else None)
    if names is not None:
        return dialect, tuple(names), start
    header, length = _header(source, body, dialect)
    return dialect, _distinct(header), start + length


def _best(body: str, width: int | None) -> Dialect:
    """The dialect in which most of the sample's rows have as many fields as the header (or `names`)."""
    if width == 1:
        return Dialect(",", _quote(body, ","))
    candidates = [Dialect(delimiter, _quote(body, delimiter)) for delimiter in _DELIMITERS]
    candidates.append(Dialect("\t", None, whitespace=True))
    scores = [_agreement(body, dialect, width) for dialect in candidates]
    best = max(scores)
    if best >= _CLEAR:
        return candidates[scores.index(best)]
    # Nothing fits well: a wrong `names`, or a file full of broken rows. What splits most rows says so best.
    split = [_share_split(body, dialect) for dialect in candidates[:-1]]
    if max(split) > 0:
        return candidates[split.index(max(split))]
    return candidates[scores.index(best)] if best > 0 else Dialect(",", '"')


def _agreement(body: str, dialect: Dialect, width: int | None) -> float:
    widths = [len(record) for record in islice(_records(body, dialect), _SAMPLE)]
    if not widths:
        return 0.0
    expected = width or widths[0]
    rows = widths if width else widths[1:]
    if expected < 2:
        return 0.0
    # A header alone still says how it is separated.
    return sum(found == expected for found in rows) / len(rows) if rows else 1.0


def _share_split(body: str, dialect: Dialect) -> float:
    widths = [len(record) for record in islice(_records(body, dialect), _SAMPLE)]
    return sum(width > 1 for width in widths) / len(widths) if widths else 0.0


def _records(body: str, dialect: Dialect) -> Iterator[list[str]]:
    """Records of the sample, leniently read; blank lines left out."""
    if dialect.whitespace:
        yield from (line.split() for line in body.splitlines() if line.strip())
        return
    lines = body.splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote or '"')
    try:
        yield from (record for record in reader if any(field.strip() for field in record))
    except csv.Error:
        return


def _quote(body: str, delimiter: str) -> str:
    """The double quote, unless whole fields stand in single ones and none in double ones."""
    edge = re.escape(delimiter)
    double = re.search(rf'(?m)(?:^|{edge})"', body)
    single = re.search(rf"(?m)(?:^|{edge})'(?:[^'\r\n]|'')*'(?:{edge}|\r?$)", body)
    return "'" if single and not double else '"'


def _header(source: Source, body: str, dialect: Dialect) -> tuple[list[str], int]:
    """(names, length in characters of the header record, which may span lines)."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\n|\r|$)", body[:200_000])
    if dialect.whitespace:
        return lines[0].split(), len(lines[0])
    reader = csv.reader(iter(lines), delimiter=dialect.delimiter, quotechar=dialect.quote or '"')
    try:
        names = next(reader)
    except (csv.Error, StopIteration):
        raise BadSetting(f"{source.mapping}, {source.label}: {source.file.name} has no readable header.") from None
    return names, sum(len(line) for line in lines[: reader.line_num])


def _distinct(header: list[str]) -> tuple[str, ...]:
    """Header names stripped; a nameless column gets its position, a repeated name a number."""
    names: list[str] = []
    for place, raw in enumerate(header, start=1):
        name = raw.strip().lstrip("\ufeff") or f"column_{place}"
        repeat, plain = 1, name
        while name in names:
            repeat += 1
            name = f"{plain}_{repeat}"
        names.append(name)
    return tuple(names)
