"""How many calls, and minutes, a first and a daily sync of an account take: counted before they are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from connector.platform import Cost, Plan
from connector.platforms.hubspot.activities import ACTIVITIES

#: The streams that searches count.
CONTACTS, COMPANIES, DEALS = "contacts", "companies", "deals"
_ACTIVITIES = frozenset(activity.name for activity in ACTIVITIES)

#: Records sampled to choose properties.
_SAMPLE = 300


@dataclass
class Size:
    """What is known of an account before it is read."""

    #: Records by stream, of those that can be read.
    total: dict[str, int] = field(default_factory=dict)
    #: Of them, those that changed in the last 24 hours.
    changed: dict[str, int] = field(default_factory=dict)
    #: Streams that can be read and that HubSpot does not count -> calls that they take at least.
    uncounted: dict[str, int] = field(default_factory=dict)
    #: Members of the lists that filters name, each of which is read wholly every time.
    lists: tuple[int, ...] = ()
    #: Calls to create what is missing of our properties.
    installing: int = 0
    #: Companies get a score.
    scored: bool = False
    #: Property history is read.
    history: bool = False
    #: A contact's properties fit into the URL of a list call.
    short: bool = True


@dataclass(frozen=True)
class Pace:
    """How fast calls may go and do go."""

    #: Calls a second that the limits leave us.
    burst: float
    search: float
    #: Seconds that one call takes, as measured.
    seconds: float
    #: Write calls that run at once.
    concurrency: int


def first(size: Size, pages: Mapping[str, int], pace: Pace) -> Plan:
    """The first sync: everything is read, everyone may be written."""
    parts = [Cost("set-up", 4 + size.installing)]
    if CONTACTS in size.total:
        count = size.total[CONTACTS]
        parts.append(Cost(CONTACTS, 3 + _calls(min(count, _SAMPLE), pages["batch"]) + _listed(size, pages), count))
    if COMPANIES in size.total:
        parts.append(Cost(COMPANIES, _pages(size.total[COMPANIES], pages["list"]), size.total[COMPANIES]))
    if DEALS in size.total:
        per_page = pages["list_with_history" if size.history else "list"]
        parts.append(Cost(DEALS, 1 + _pages(size.total[DEALS], per_page), size.total[DEALS]))
    parts += [
        Cost(name, _pages(count, pages["list"]), count)
        for name, count in size.total.items()
        if name in _ACTIVITIES
    ]
    parts += _members(size, pages)
    parts += [Cost(name, calls) for name, calls in size.uncounted.items()]
    written = _calls(size.total.get(CONTACTS, 0), pages["batch"])
    parts.append(Cost("writing", written, size.total.get(CONTACTS, 0)))
    parts += _companies(size, size.total, pages)
    return Plan(tuple(parts), _minutes(parts, pace, searches=2))


def daily(size: Size, pages: Mapping[str, int], pace: Pace) -> Plan:
    """A sync a day later, if as much changes as in the last 24 hours: what changed is read and written."""
    parts = [Cost("set-up", 4)]
    searches = 1
    for name in (CONTACTS, COMPANIES, DEALS):
        if name not in size.total:
            continue
        changed = size.changed.get(name, 0)
        found = _pages(changed, pages["search"])
        searches += found
        more = _calls(changed, pages["associations"]) * {CONTACTS: 1, COMPANIES: 0, DEALS: 2}[name]
        if size.history and name != COMPANIES:
            more += _calls(changed, pages["batch_with_history"])
        # One more for the list of archived records; contacts are counted off, deals need their pipelines.
        beside = {CONTACTS: 2, COMPANIES: 1, DEALS: 2}[name]
        parts.append(Cost(name, found + more + beside, changed))
    for name in sorted(size.total.keys() & _ACTIVITIES):
        changed = size.changed.get(name, 0)
        found = _pages(changed, pages["search"])
        searches += found
        parts.append(Cost(name, found + _calls(changed, pages["associations"]), changed))
    parts += _members(size, pages)
    parts += [Cost(name, calls) for name, calls in size.uncounted.items()]
    written = size.changed.get(CONTACTS, 0)
    parts.append(Cost("writing", _calls(written, pages["batch"]), written))
    parts += _companies(size, size.changed, pages)
    return Plan(tuple(parts), _minutes(parts, pace, searches=searches))


def _companies(size: Size, contacts: Mapping[str, int], pages: Mapping[str, int]) -> list[Cost]:
    """At most as many companies are written as contacts are."""
    if not size.scored:
        return []
    written = min(size.total.get(COMPANIES, 0), contacts.get(CONTACTS, 0))
    return [Cost("writing companies", _calls(written, pages["batch"]), written)]


def _members(size: Size, pages: Mapping[str, int]) -> list[Cost]:
    if not size.lists:
        return []
    return [Cost("lists", sum(_pages(one, pages["list_members"]) for one in size.lists), sum(size.lists))]


def _listed(size: Size, pages: Mapping[str, int]) -> int:
    count = size.total[CONTACTS]
    per_page = pages["list_with_history" if size.history else "list"]
    if size.short:
        return _pages(count, per_page)
    return _pages(count, pages["list"]) + _calls(count, pages["batch_with_history" if size.history else "batch"])


def _minutes(parts: list[Cost], pace: Pace, *, searches: int) -> float:
    """Reading is one call after the other; writes go several at once; nothing goes faster than the limits."""
    writing = sum(part.calls for part in parts if part.part.startswith("writing"))
    reading = sum(part.calls for part in parts) - writing - searches
    seconds = max(reading, 0) * max(pace.seconds, 1 / pace.burst)
    seconds += searches * max(pace.seconds, 1 / pace.search)
    seconds += writing * max(pace.seconds / pace.concurrency, 1 / pace.burst)
    return round(seconds / 60, 1)


def _calls(records: int, per_call: int) -> int:
    return -(-records // per_call)


def _pages(records: int, per_page: int) -> int:
    """At least one: an empty list is known only when it was asked for."""
    return max(1, _calls(records, per_page))
