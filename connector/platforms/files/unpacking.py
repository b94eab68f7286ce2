"""From the bytes of a user's file to clean UTF-8 text that begins at its first row.

What a file is, its content says: exports are often gzipped without saying so, or in UTF-16, or separated by
semicolons under the name .csv.
"""

import codecs
import csv
import gzip
import io
import logging
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from connector.platforms.files.dialect import Dialect, Head, find_dialect
from connector.platforms.files.mapping import Source

log = logging.getLogger(__name__)

_CHUNK = 1 << 20

#: Byte-order marks, longest first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Text:
    """A file's rows as UTF-8 text: no preamble, no header line."""

    path: Path
    columns: tuple[str, ...]
    dialect: Dialect
    #: Line of the user's file at which the text begins, from 1.
    first_line: int
    encoding: str


def is_parquet(file: Path) -> bool:
    """Whether the content is Parquet."""
    with file.open("rb") as opened:
        return opened.read(4) == b"PAR1"


def unpack(source: Source, to: Path) -> Text:
    """Decompress, decode and write the rows to `to`. Raises BadSetting for files that are no CSV at all."""
    failure: Exception | None = None
    for encoding in _candidates(source):
        try:
            return _write(source, to, encoding)
        except UnicodeDecodeError as error:
            failure = error
            if encoding == "utf-8" and _damaged_utf8(source):
                return _write(source, to, encoding, errors="replace")
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, OSError) as error:
            raise source.wrong("file", f"{source.file.name} is damaged or cannot be read: {error}.") from None
    raise source.wrong("file", f"{source.file.name} is in no known encoding; save it as UTF-8.") from failure


def _candidates(source: Source) -> tuple[str, ...]:
    """Encodings to try in order. Windows-1252 is what spreadsheets in the West write; Latin-1 never fails."""
    try:
        with _opened(source) as raw:
            start = raw.read(4096)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, OSError) as error:
        raise source.wrong("file", f"{source.file.name} is damaged or cannot be read: {error}.") from None
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return (encoding,)
    # Text of the West in UTF-16 without a mark has a zero in every second byte.
    if start[1::2].count(0) > len(start) // 4:
        return ("utf-16-le",)
    if start[0::2].count(0) > len(start) // 4:
        return ("utf-16-be",)
    return ("utf-8", "cp1252", "latin-1")


@contextmanager
def _opened(source: Source) -> Iterator[IO[bytes]]:
    with source.file.open("rb") as plain:
        start = plain.read(4)
        plain.seek(0)
        if start.startswith(b"\x1f\x8b"):
            with gzip.open(plain) as unzipped:
                yield cast(IO[bytes], unzipped)
        elif start == b"PK\x03\x04":
            with zipfile.ZipFile(plain) as archive, archive.open(_member(source, archive)) as member:
                yield member
        else:
            yield plain


def _member(source: Source, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    names = archive.namelist()
    if "[Content_Types].xml" in names:
        raise source.wrong("file", f"{source.file.name} is an Excel workbook; save the sheet as CSV.")
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        and not info.filename.endswith(".DS_Store")
    ]
    if len(members) != 1:
        raise source.wrong(
            "file", f"{source.file.name} holds {len(members)} files; a zip must hold exactly one CSV."
        )
    return members[0]


def _damaged_utf8(source: Source) -> bool:
    """Whether a file that does not decode is still UTF-8 with a few broken bytes, rather than another encoding:
    in that, few bytes beyond ASCII make a character by chance."""
    good = bad = 0
    with _opened(source) as raw, io.TextIOWrapper(raw, "utf-8", errors="surrogateescape", newline="") as text:
        while chunk := text.read(_CHUNK):
            broken = len(re.findall("[\udc80-\udcff]", chunk))
            bad += broken
            good += len(re.findall("[^\x00-\x7f]", chunk)) - broken
    if good <= bad:
        return False
    log.warning("%s is UTF-8 with %d broken bytes; they read as \ufffd", source.file.name, bad)
    return True


def _write(source: Source, to: Path, encoding: str, errors: str = "strict") -> Text:
    with _opened(source) as raw, io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="") as text:
        head = Head(_first(text))
        dialect, columns, consumed = find_dialect(source, head)
        tidy: Callable[[str], str] = _tabbed if dialect.whitespace else str
        with to.open("w", encoding="utf-8", newline="") as written:
            for chunk in _whole_lines(head.text[consumed:], text):
                written.write(tidy(chunk))
    if encoding in ("cp1252", "latin-1"):
        log.info("%s is not UTF-8; read as %s", source.file.name, encoding)
    return Text(to, columns, dialect, first_line=1 + _lines(head.text[:consumed]), encoding=encoding)


def _first(text: IO[str]) -> str:
    return text.read(_CHUNK) + text.readline()


def _whole_lines(start: str, text: IO[str]) -> Iterator[str]:
    """The text in pieces that end where lines end."""
    yield start
    while chunk := text.read(_CHUNK):
        yield chunk + text.readline()


def _lines(text: str) -> int:
    return len(re.findall(r"\r\n|\n|\r", text))


def _tabbed(chunk: str) -> str:
    """Columns aligned by runs of spaces, as columns between single tabs."""
    tabs = re.sub(r"[ \t]+", "\t", chunk)
    return re.sub(r"(?m)^\t|\t(?=\r?$)", "", tabs)


def parsed(lines: Iterator[str] | list[str], dialect: Dialect) -> Any:
    """The strict reader of the standard library, in this dialect."""
    if dialect.quote is None:
        return csv.reader(lines, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
