"""Pages for a mirror, made in a line each."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector.mirror import Mirror
from connector.platform import Account, Page, page_schema

ACCOUNT = Account("hubspot", "4711")
T0 = datetime.fromisoformat("2026-03-01T08:00:00.123456")
DAY = timedelta(days=1)


def rows(table: str, given: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in given], schema=page_schema(table))


def record_json(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def contact(
    contact_id: str, properties: Mapping[str, str] | None = None, at: datetime = T0, **more: Any
) -> dict[str, Any]:
    ours = record_json(more.pop("ours", {}))
    return {
        "contact_id": contact_id,
        "created_at": T0 - 10 * DAY,
        "updated_at": at,
        "email": f"c{contact_id}@example.com",
        "properties": record_json(properties or {}),
        "ours": ours,
        "modified_at": at,
        **more,
    }


def event(event_id: str, contact_id: str, at: datetime = T0, **more: Any) -> dict[str, Any]:
    return {"event_id": event_id, "contact_id": contact_id, "occurred_at": at, "kind": "email_open", **more}


def definition(name: str, kind: str, column: str | None = None) -> dict[str, Any]:
    return {
        "object": "contact",
        "property": name,
        "column_name": column or f"p_{name}",
        "label": name,
        "type": kind,
        "immutable": False,
    }


def page(stream: str = "s", cursor: Mapping[str, Any] | None = None, **given: Any) -> Page:
    """A page; `whole`, `replaces` and `echoes` go through, everything else is a table's rows."""
    beside = {name: given.pop(name) for name in ("whole", "replaces", "echoes") if name in given}
    return Page(stream, {table: rows(table, entries) for table, entries in given.items()}, cursor, **beside)


def commit(mirror: Mirror, at: datetime = T0, **given: Any) -> dict[str, int]:
    return mirror.commit(page(**given), run_id="run", observed_at=at)


def opened(folder: Path) -> Mirror:
    return Mirror.open(folder / "hubspot-4711", ACCOUNT, command="test")


def fetch(mirror: Mirror, query: str) -> list[tuple[Any, ...]]:
    return mirror.connection.execute(query).fetchall()


def news(mirror: Mirror) -> list[str]:
    return [row[0] for row in fetch(mirror, f"select contact_id from {mirror.news_table()} order by contact_id")]


def forget_news(mirror: Mirror) -> None:
    """As if everyone had just been scored."""
    mirror.engine()
    mirror.save_predictions("run", T0, {}, pa.table({"contact_id": pa.array([], pa.string())}), whole=True)
    assert mirror.news() == 0
