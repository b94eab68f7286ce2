"""What a start of the service does about an erasure that another was stopped at."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from connector.service.orders import RESUMING, Order
from connector.service.serving import Service


@pytest.mark.parametrize(
    ("half", "whom"),
    [
        ({"contact_ids": ["7", "8"], "addresses": ["jane@example.org"]}, [{"contact": "7"}]),
        ({"contact_ids": [], "addresses": ["jane@example.org"]}, [{"email": "jane@example.org"}]),
        ({"contact_ids": [], "addresses": []}, []),
    ],
)
def test_an_erasure_that_was_stopped_half_way_is_ordered_anew(
    tmp_path: Path, half: dict[str, list[str]], whom: list[dict[str, str]]
) -> None:
    (tmp_path / "erasing.json").write_text(json.dumps(half), encoding="utf-8")
    asked: list[Order] = []
    service = SimpleNamespace(
        state=SimpleNamespace(folder=tmp_path), worker=SimpleNamespace(order_once=asked.append)
    )
    Service._finish_erasure(service)  # type: ignore[arg-type]
    assert [(one.command, one.who) for one in asked] == [("erase", RESUMING)] * len(whom)
    assert [one.params for one in asked] == whom
