"""Spread: what of a run's writes fits into today's calls, and on how many days the rest goes out.

Worked out before the first write. The next runs need none of it: they find what still differs, the best first.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.jobs.run import Run
from connector.platform import Rationed

#: Calls that a push makes besides those that write: definitions, options, a read-back.
CALLS_BESIDE = 5


@dataclass(frozen=True)
class Spread:
    """Contacts to write in all, and how many of them today's calls allow."""

    contacts: int
    today: int
    batch_size: int
    #: Write calls on a day that is whole; None where the platform tells no such limit.
    a_day: int | None
    #: When the next day's calls begin (UTC, aware).
    goes_on_at: datetime | None

    @property
    def fits(self) -> bool:
        return self.today >= self.contacts

    @property
    def days(self) -> int | None:
        """Days on which something is written, today among them if anything is; None where nobody can tell."""
        later = math.ceil((self.contacts - self.today) / self.batch_size)
        if not later:
            return min(1, self.contacts)
        if not self.a_day:
            return None
        return min(1, self.today) + math.ceil(later / self.a_day)

    def to_json(self) -> dict[str, Any]:
        """Write calls and contacts, in all and today; `days` and `goes_on_at` where not all of it fits."""
        return {
            "fits": self.fits,
            "calls": math.ceil(self.contacts / self.batch_size),
            "calls_today": math.ceil(min(self.today, self.contacts) / self.batch_size),
            "contacts": self.contacts,
            "contacts_today": min(self.today, self.contacts),
            "days": self.days,
            "goes_on_at": None if self.fits or self.goes_on_at is None else self.goes_on_at.isoformat(),
        }


def spread(run: Run, contacts: int) -> Spread | None:
    """How so many contacts are spread over days; None where the platform limits no day's calls.

    Days that follow are taken as whole ones, less the calls beside the writing that a push makes; what their
    pulls will take is not known yet, so `days` is the least.
    """
    left = run.platform.calls_left()
    if left is None:
        return None
    size = run.platform.batch_size
    allowance = run.platform.allowance() if isinstance(run.platform, Rationed) else None
    return Spread(
        contacts,
        max(0, left - CALLS_BESIDE) * size,
        size,
        None if allowance is None else max(0, allowance.a_day - CALLS_BESIDE),
        None if allowance is None else allowance.renewed_at,
    )
