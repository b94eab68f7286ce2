"""Small mappings with made files, and where larger real ones may lie."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector.platforms.files import load_tables, read_mapping

#: Real sets beside the repository; tests that use them have a made one where they are absent.
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def made(folder: Path, mapping: str, **files: str | bytes) -> Path:
    """Write files (`leads_csv` becomes leads.csv) and the mapping; its path."""
    for name, content in files.items():
        stem, _, ending = name.rpartition("_")
        path = folder / f"{stem}.{ending}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path = folder / "mapping.toml"
    path.write_text(mapping, encoding="utf-8")
    return path


def load(folder: Path, mapping: str, **files: str | bytes) -> dict[str, pa.Table]:
    """The canonical tables of made files."""
    return load_tables(read_mapping(made(folder, mapping, **files)))


def rows(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    """The named columns, row by row."""
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def at(text: str) -> datetime:
    """An instant, UTC without a zone."""
    return datetime.fromisoformat(text)
