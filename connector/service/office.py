"""The dashboard's office: looks beside the worker, orders to it."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from connector.inbox import connect, entries, figures
from connector.jobs.run import Run
from connector.pages import office
from connector.pages.office import Busy, Work
from connector.service.orders import Order
from connector.service.state import State
from connector.service.worker import Worker

T = TypeVar("T")

#: Dead letters that a page shows.
_SHOWN = 100

_ORDERS: Mapping[str, Callable[[str | None], Order]] = {
    "sync": lambda _: Order("sync"),
    "dry-run": lambda _: Order("sync", {"dry_run": True}),
    "approve": lambda plan: Order("approve", {"plan": plan}),
    "rollback": lambda run: Order("rollback", {"run": run}),
}


class ServiceOffice:
    """`connector.pages.office.Office`."""

    def __init__(self, state: State, worker: Worker, *, inbox: bool) -> None:
        self._state, self._worker, self._inbox = state, worker, inbox

    def read(self, look: Callable[[Run], T]) -> T:
        """See `Office`; a job under way is no hindrance."""
        with self._state.stored("serve") as run:
            return look(run)

    def start(self, order: office.Order, who: str) -> None:
        """See `Office`."""
        made = _ORDERS[order.kind](order.subject)
        if self._worker.order_alone(Order(made.command, made.params, who)) is None:
            raise Busy("A run is at work already: wait for it to end.")

    def work(self) -> Work | None:
        """See `Office`."""
        ticket = self._worker.last
        if ticket is None:
            return None
        given = ticket.order
        kind = "dry-run" if given.command == "sync" and given.params.get("dry_run") else given.command
        order = office.Order(kind, given.params.get("plan") or given.params.get("run"))
        if not ticket.ended.done():
            return Work(order, ticket.order.who, ticket.stages)
        outcome = ticket.ended.result()
        return Work(order, ticket.order.who, ticket.stages, outcome.status, outcome.result, outcome.message)

    def version(self) -> object:
        """See `Office`."""
        return self._worker.changes

    def inbox(self) -> Mapping[str, Any] | None:
        """See `Office`."""
        if not self._inbox:
            return None
        connection = connect(self._state.folder)
        try:
            found = figures(connection)
            dead = [one for one in entries(connection, _SHOWN, dead_only=True) if one["state"] != "waiting"]
        finally:
            connection.close()
        return {
            "waiting": found["waiting"] + found["bodies"],
            "done": found["totals"].get("handled", 0),
            "dead": [
                {"id": one["id"], "received_at": one["received_at"], "why": f"{one['what']}: {one['reason']}"}
                for one in dead
            ],
        }
