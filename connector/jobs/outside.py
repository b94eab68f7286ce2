"""Files with contacts in them that commands wrote where the user said (`--out`, `--calls`): remembered in the
state folder, so that an erasure finds them.

Each is remembered with a hash of what was written. What somebody else has put in its place since is theirs: it is
searched for traces, but never changed.
"""

import csv
import hashlib
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connector.jobs import traces
from connector.jobs.people import Person
from connector.jobs.report.files import keep
from connector.platforms.files.results import write_table

FILE = "written-files.json"


@dataclass
class Taken:
    """What an erasure did outside the state folder: by path, rows taken out; reports that were deleted."""

    rows: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)


def remember(folder: Path, *paths: Path | None) -> None:
    """Note files that were just written, wherever they are."""
    known = _known(folder)
    for path in paths:
        if path is not None:
            known[str(path.absolute())] = _hash(path)
    _keep(folder, known)


def files(folder: Path) -> list[Path]:
    """Those that are still there."""
    return [Path(one) for one in _known(folder) if Path(one).is_file()]


def take_out(folder: Path, person: Person) -> Taken:
    """Take a person out of every file that still is as it was written: rows of tables; a report as a whole, which
    can be made anew. Files that are gone are forgotten."""
    taken, known = Taken(), _known(folder)
    for name, hash_ in list(known.items()):
        path = Path(name)
        if not path.is_file():
            del known[name]
        elif _hash(path) == hash_ and traces.in_file(path, person):
            if path.suffix.lower() not in _TABLES:
                path.unlink()
                taken.deleted.append(name)
                del known[name]
            else:
                taken.rows[name] = _TABLES[path.suffix.lower()](path, person)
                known[name] = _hash(path)
            # at once: whoever is killed here must know the file again
            _keep(folder, known)
    _keep(folder, known)
    return taken


def _without_csv(path: Path, person: Person) -> int:
    with path.open(encoding="utf-8", newline="") as opened:
        header, *rows = csv.reader(opened)
    kept = [row for row in rows if not _is_of(dict(zip(header, row, strict=False)), person)]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([header, *kept])
    keep(path, out.getvalue())
    return len(rows) - len(kept)


def _without_parquet(path: Path, person: Person) -> int:
    table = pq.read_table(path)
    mask = [not _is_of(row, person) for row in table.to_pylist()]
    write_table(path, table.filter(pa.array(mask, pa.bool_())))
    return mask.count(False)


_TABLES = {".csv": _without_csv, ".parquet": _without_parquet}


def _is_of(row: dict[str, Any], person: Person) -> bool:
    if str(row.get("contact_id")) in person.contact_ids:
        return True
    wanted = traces.searched(person)
    text = "\n".join(str(one) for one in row.values() if one is not None)
    return wanted is not None and re.search(wanted, text.lower().encode()) is not None


def _known(folder: Path) -> dict[str, str]:
    try:
        given = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(path): str(hash_) for path, hash_ in given.items()}


def _keep(folder: Path, known: dict[str, str]) -> None:
    if known or (folder / FILE).exists():
        keep(folder / FILE, json.dumps(known, indent=1, sort_keys=True) + "\n")


def _hash(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
