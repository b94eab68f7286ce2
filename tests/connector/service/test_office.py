"""What the dashboard shows of the worker's orders."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from connector.jobs.ended import Ended
from connector.pages.office import Order
from connector.service import orders
from connector.service.office import ServiceOffice
from connector.service.worker import Worker


def test_an_order_just_given_is_shown_and_not_the_one_before(tmp_path: Path) -> None:
    """Else a rollback would say "Done" of the approval that it takes back, until the worker begins it."""
    state: Any = SimpleNamespace(folder=tmp_path, account=SimpleNamespace(platform="hubspot"))
    worker = Worker(state, None, SimpleNamespace())  # type: ignore[arg-type]
    office = ServiceOffice(state, worker, inbox=False)
    before = orders.Ticket(orders.Order("approve", {"plan": "p"}))
    before.ended.set_result(Ended({}))
    worker._last = before
    office.start(Order("rollback", "r"), "dashboard")
    work = office.work()
    assert work is not None
    assert (work.order, work.state) == (Order("rollback", "r"), "running")
