"""Streams that an account may be without."""

import logging
from collections.abc import Iterator

from connector.errors import MissingScope
from connector.platform import Page, StreamOff

log = logging.getLogger(__name__)


def optional(stream: str, pages: Iterator[Page], *, quiet: bool = False) -> Iterator[Page | StreamOff]:
    """A stream that turns itself off where a right or the plan for it is missing; `quiet` where another one
    says so already."""
    try:
        yield from pages
    except MissingScope as error:
        log.info("stream %s is off: %s is missing", stream, error.scope)
        if not quiet:
            yield StreamOff(stream, error.scope, str(error))
