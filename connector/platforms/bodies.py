"""Bodies of webhooks, which tell of many events."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from connector.errors import BadPayload
from connector.platform import Hint

_Event = TypeVar("_Event")


def each(events: Iterable[_Event], read: Callable[[_Event], Hint | None]) -> list[Hint]:
    """What every event says. One that cannot be read keeps none of the others: they ride on the BadPayload that
    tells of the first such."""
    found: list[Hint] = []
    trouble: BadPayload | None = None
    for event in events:
        try:
            hint = read(event)
        except BadPayload as error:
            trouble = trouble or error
            continue
        if hint is not None:
            found.append(hint)
    if trouble is not None:
        raise BadPayload(str(trouble), found)
    return found
