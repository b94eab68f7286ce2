"""Who may be looked at: consent to profiling, and the user's own filters for training and for writing.

An objection is a person's: it holds for all contacts of that person. What a filter asks of a contact is judged as
of the instant of the snapshot where history says what stood then; else by the present value.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scoring.engine import Engine, literal, quoted
from scoring.errors import UsageError
from scoring.goals import LIFECYCLE_PROPERTIES

#: Canonical columns that a filter may name, and what platforms call them in their history.
_CANONICAL = {
    "lifecycle_stage": LIFECYCLE_PROPERTIES,
    "owner": ("hubspot_owner_id", "ownerid", "owner_id"),
    "country": ("country",),
}
_COLUMNS = {"owner": "owner_id"}
#: Who an address belongs to does not change with the contact's fortunes: no history is asked.
EMAIL_DOMAIN = "email_domain"
#: A field whose values are ids of lists: `list_members` says who is on them.
LIST = "list"


@dataclass(frozen=True)
class Consent:
    """When profiling is allowed. `opt_in`: only where it was granted; else wherever it was not denied."""

    opt_in: bool = False
    #: A CRM property that says so too, whatever its case; None: the platform's own consents alone.
    property: str | None = None
    denied: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filter:
    """Contacts are in when every condition of `include` holds and none of `exclude`.

    A condition is a field (`lifecycle_stage`, `owner`, `country`, `email_domain`, `list`, or a property's name)
    and the values of which one must stand there, whatever their case.
    """

    include: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.include, *self.exclude]))

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)


@dataclass(frozen=True)
class Stance:
    """Where a field's values are: a column of `contacts c` and the names of its changes in history."""

    name: str
    column: str
    sql_type: str
    history: tuple[str, ...]


def objectors(engine: Engine, consent: Consent) -> str:
    """SQL of the `contact_id`s that must be neither scored nor trained on. Raises UsageError for a property that
    is not there, or whose type can never hold a value that is said to deny or to grant."""
    people = "select contact_id, min(person_id) as person_id from identities group by contact_id"
    return f"""
        with people as ({people}),
        stances as (
            select contact_id, status, row_number() over (
                partition by contact_id, channel order by since desc nulls last, status
            ) as age
            from consents where purpose = 'profiling'
        ),
        said as (
            select contact_id, status from stances where age = 1
            union all {_said_by_property(engine, consent)}
        ),
        persons as (
            select coalesce(p.person_id, s.contact_id) as person_id,
                max(case when s.status = 'denied' then 1 else 0 end) as denied,
                max(case when s.status = 'granted' then 1 else 0 end) as granted
            from said s left join people p on p.contact_id = s.contact_id
            group by coalesce(p.person_id, s.contact_id)
        )
        select c.contact_id from contacts c
        left join people p on p.contact_id = c.contact_id
        left join persons q on q.person_id = coalesce(p.person_id, c.contact_id)
        where coalesce(q.denied, 0) = 1{" or coalesce(q.granted, 0) = 0" if consent.opt_in else ""}
    """


def _said_by_property(engine: Engine, consent: Consent) -> str:
    if consent.property is None:
        return "select contact_id, status from stances where false"
    stance = found(engine, consent.property, "[consent] profiling_property")
    value = f"c.{quoted(stance.column)}"
    # An objection that is spelt another way than it stands would be overheard in silence.
    _refuse_alien(stance, consent.denied, "[consent] denied_values")
    _refuse_alien(stance, consent.granted, "[consent] granted_values")
    # Denied wins where a value stands in both lists.
    return f"""
        select c.contact_id, case when {_one_of(value, stance.sql_type, consent.denied)} then 'denied'
            when {_one_of(value, stance.sql_type, consent.granted)} then 'granted' else 'unknown' end as status
        from contacts c where {value} is not null
    """


def coverage(engine: Engine, consent: Consent) -> dict[str, int]:
    """Live contacts in all, and those that must not be profiled."""
    live = "deleted_at is null and merged_into is null"
    out = objectors(engine, consent)
    counts = engine.fetch(
        f"select count(*) as n, sum(case when o.contact_id is not null then 1 else 0 end) as k from contacts c "
        f"left join (select distinct contact_id from ({out}) x) o on o.contact_id = c.contact_id where {live}"
    ).to_pylist()[0]
    return {"contacts": int(counts["n"]), "not_profiled": int(counts["k"] or 0)}


def present(engine: Engine, chosen: Filter) -> str:
    """SQL condition on `contacts c` as they are now; `true` without a filter."""
    stances = _stances(engine, chosen)

    def holds(name: str, values: Sequence[str]) -> str:
        if name == LIST:
            return f"c.contact_id in (select contact_id from list_members where {_on(values)})"
        return _holds(stances[name], f"c.{quoted(stances[name].column)}", values)

    return _condition(chosen, holds)


def at_instants(engine: Engine, chosen: Filter, pairs: str, into: str) -> None:
    """Make `into` of the rows of `pairs` (contact_id, as_of, …) that were in at their instant.

    Who came to a list after the instant was not on it; who has left it since is not known to have been.
    """
    stances = _stances(engine, chosen)
    recorded = [name for name, stance in stances.items() if stance.history]
    joins = "".join(
        f" left join ({_then(stances[name].history, pairs)}) h{at} on h{at}.contact_id = p.contact_id "
        f"and h{at}.as_of = p.as_of"
        for at, name in enumerate(recorded)
    )

    def holds(name: str, values: Sequence[str]) -> str:
        if name == LIST:
            return (
                f"exists (select 1 from list_members m where m.contact_id = p.contact_id and {_on(values)} "
                "and (m.added_at is null or m.added_at <= p.as_of))"
            )
        stance = stances[name]
        now = _holds(stance, f"c.{quoted(stance.column)}", values)
        if name not in recorded:
            return now
        alias = f"h{recorded.index(name)}"
        then = _one_of(f"{alias}.value", stance.sql_type, values, text=True)
        return f"case when {alias}.contact_id is not null then {then} else {now} end"

    engine.run(
        f"create or replace temp table {quoted(into)} as select p.* from {quoted(pairs)} p "
        f"join contacts c on c.contact_id = p.contact_id{joins} where {_condition(chosen, holds)}"
    )


def _stances(engine: Engine, chosen: Filter) -> dict[str, Stance]:
    stances = {name: _stance(engine, name) for name in chosen.fields if name != LIST}
    for name, stance in stances.items():
        # of `include` it leaves everyone out, which shows; of `exclude` it lets everyone in
        _refuse_alien(stance, chosen.exclude.get(name, ()), "A filter ([exclude], [write.exclude])")
    return stances


def _on(lists: Sequence[str]) -> str:
    return f"list_id in ({', '.join(literal(one.strip()) for one in lists)})"


def found(engine: Engine, name: str, where: str) -> Stance:
    """The contact property of this name, label or column. Raises UsageError naming `where` when there is none."""
    columns = engine.columns("contacts")
    rows = engine.fetch(
        "select property, column_name from property_definitions where object = 'contact' "
        f"and {literal(name)} in (property, column_name, label) "
        f"order by case {literal(name)} when property then 1 when column_name then 2 else 3 end, property"
    ).to_pylist()
    for row in rows:
        if row["column_name"] in columns:
            return Stance(name, row["column_name"], columns[row["column_name"]], (str(row["property"]),))
    for column in (f"p_{name}", name):
        if column in columns:
            return Stance(name, column, columns[column], (name,))
    raise UsageError(f"{where} names {name!r}, which is no contact property of the source.")


def _stance(engine: Engine, name: str) -> Stance:
    if name == EMAIL_DOMAIN:
        return Stance(name, "email", "VARCHAR", ())
    if name in _CANONICAL:
        return Stance(name, _COLUMNS.get(name, name), "VARCHAR", _CANONICAL[name])
    return found(engine, name, "A filter ([include], [exclude], [write])")


def _condition(chosen: Filter, holds: Callable[[str, Sequence[str]], str]) -> str:
    parts = [f"coalesce({holds(name, values)}, false)" for name, values in chosen.include.items()]
    parts += [f"not coalesce({holds(name, values)}, false)" for name, values in chosen.exclude.items()]
    return " and ".join(parts) or "true"


def _holds(stance: Stance, value: str, values: Sequence[str]) -> str:
    if stance.name != EMAIL_DOMAIN:
        return _one_of(value, stance.sql_type, values)
    domain = f"lower(substr({value}, instr({value}, '@') + 1))"
    return f"({_one_of(domain, 'VARCHAR', [one.lstrip('@') for one in values])} and instr({value}, '@') > 0)"


def _one_of(value: str, sql_type: str, values: Sequence[str], *, text: bool = False) -> str:
    """SQL: the value is one of these; numbers compare as numbers, a multi-select holds several.

    `text`: the value is a text whatever the column's type is, as in history.
    """
    if not values:
        return "false"
    if sql_type in ("DOUBLE", "BIGINT", "INTEGER"):
        numbers = [repr(float(one)) for one in values if _is_number(one)]
        read = f"try_cast({value} as double)" if text else value
        return " or ".join(f"{read} = cast({literal(one)} as double)" for one in numbers) or "false"
    members = f"concat(';', lower(trim(cast({value} as varchar))), ';')"
    either = " or ".join(f"instr({members}, {literal(f';{one.strip().lower()};')}) > 0" for one in values)
    return f"({value} is not null and ({either}))"


_HELD = {
    **dict.fromkeys(("DOUBLE", "BIGINT", "INTEGER"), "numbers"),
    "BOOLEAN": "true or false",
}


def _refuse_alien(stance: Stance, values: Sequence[str], where: str) -> None:
    """Raises UsageError, naming `where`, for a value that the field can never hold: it would match nobody, in
    silence."""
    if alien := [one for one in values if not _can_hold(stance.sql_type, one)]:
        raise UsageError(
            f"{where} has {alien[0]!r}, which can never stand in {stance.name!r}: it holds "
            f"{_HELD[stance.sql_type]}. Write the values as the platform stores them."
        )


def _can_hold(sql_type: str, text: str) -> bool:
    """Whether a column of this type may have such a value; any text may stand in a text."""
    if sql_type == "BOOLEAN":
        return text.strip().lower() in ("true", "false")
    return _HELD.get(sql_type) is None or _is_number(text)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _then(properties: Sequence[str], pairs: str) -> str:
    """SQL: the value that stood at each pair's instant, where history knows it."""
    names = ", ".join(map(literal, properties))
    return f"""
        select contact_id, as_of, value from (
            select p.contact_id, p.as_of, h.value, row_number() over (
                partition by p.contact_id, p.as_of order by h.changed_at desc, h.property, h.value
            ) as age
            from {quoted(pairs)} p join property_history h on h.object_id = p.contact_id
            where h.object = 'contact' and h.property in ({names}) and h.changed_at <= p.as_of
        ) ranked where age = 1
    """
