"""How many calls, and minutes, a first and a daily sync of an org take: counted before they are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.platform import Cost, Plan

#: Streams that a sync asks at least once, besides those that are counted: descriptions, deletions, objections.
_BESIDE = 14

#: Looks at a job's state, at least: the first one comes after a second.
_LOOKS = 4

#: Calls of a Bulk query besides its pages and looks, and of an ingest job (made, uploaded, closed, failed rows).
_QUERY_JOB, _INGEST_JOB = 1, 4


@dataclass
class Size:
    """What is known of an org before it is read."""

    #: Records by object.
    total: dict[str, int] = field(default_factory=dict)
    #: Of them, those that changed in the last 24 hours.
    changed: dict[str, int] = field(default_factory=dict)


def plan(size: Size, limits: Mapping[str, Any], seconds: float, people: tuple[str, ...], *, first: bool) -> Plan:
    """The first sync reads and writes everything, a later one what changed. `seconds` is what a call takes."""
    counts = size.total if first else size.changed
    parts = [Cost("set-up", _BESIDE)]
    parts += [Cost(name, reading(count, limits), count) for name, count in counts.items()]
    written = {name: counts.get(name, 0) for name in people}
    parts.append(Cost("writing", writing(written, limits), sum(written.values())))
    calls = sum(part.calls for part in parts)
    jobs = sum(1 for count in (*counts.values(), *written.values()) if count > limits["pages"]["rest"])
    waiting = jobs * sum(limits["bulk"]["first_poll"] * limits["bulk"]["slower"] ** look for look in range(_LOOKS))
    return Plan(tuple(parts), round((calls * seconds + waiting) / 60, 1))


def reading(records: int, limits: Mapping[str, Any]) -> int:
    """Calls to read so many records of one object."""
    pages: Mapping[str, int] = limits["pages"]
    if records <= pages["rest"]:
        return 1
    return 1 + _QUERY_JOB + _LOOKS + -(-records // pages["bulk"])


def writing(written: Mapping[str, int], limits: Mapping[str, Any]) -> int:
    """Calls to write so many records of each object."""
    calls = 0
    for count in written.values():
        if count > limits["pages"]["rest"]:
            calls += (_INGEST_JOB + _LOOKS) * -(-count // limits["ingest"]["rows"])
        else:
            calls += -(-count // limits["pages"]["collection"])
    return calls
