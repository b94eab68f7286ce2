"""What counts as an outcome, and by when.

A goal is either a column of the source with a value that counts as positive (`column`/`equals`: no time
needed), or an event in time counted in `(as_of, as_of + horizon_days]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scoring.engine import Engine, literal, quoted
from scoring.errors import UsageError
from scoring.tables import KINDS

_EVENTS = ("deal_won", "purchase", "lifecycle_stage")
#: What platforms call the lifecycle stage in `property_history.property`.
LIFECYCLE_PROPERTIES = ("lifecyclestage", "lifecycle_stage")
#: An event counts as the goal when a person is more likely than a machine to have done it.
_BY_A_PERSON = "coalesce(human, 1.0e0) >= 0.5e0"
_KEYS = {"column", "equals", "event", "value", "horizon_days", "repeats"}


@dataclass(frozen=True)
class Goal:
    """An outcome to predict.

    Static: `column` and `equals`; rows whose text equals `equals` are positive, other non-empty values are
    negative and still open, empty is unknown: scored, never trained on.
    In time: `event` (`deal_won`, `purchase`, `lifecycle_stage` with `value`, or `event:<kind>`) within
    `horizon_days`.
    """

    name: str = "default"
    column: str | None = None
    equals: str | None = None
    event: str | None = None
    value: str | None = None
    horizon_days: int = 90
    repeats: bool | None = None

    @property
    def in_time(self) -> bool:
        """Whether the goal has a date, so that training can be split by time."""
        return self.event is not None

    @property
    def once(self) -> bool:
        """Whether it happens once: who has reached it leaves the training snapshots and gets no score."""
        if self.repeats is not None:
            return not self.repeats
        return self.event in (None, "deal_won", "lifecycle_stage")

    @property
    def words(self) -> str:
        """The goal as a marketer would say it."""
        if self.column is not None:
            return f"{self.column} is “{self.equals}”"
        what = {
            "deal_won": "a deal won",
            "purchase": "a purchase",
            "lifecycle_stage": f"lifecycle stage “{self.value}”",
        }.get(str(self.event), str(self.event).removeprefix("event:").replace("_", " "))
        return f"{what} within {self.horizon_days} days"

    @classmethod
    def from_settings(cls, given: Mapping[str, Any], name: str = "default") -> "Goal":
        """Read a `[goal]` table. Raises UsageError naming the key that is wrong."""
        where = "[goal]" if name == "default" else f"[goals.{name}]"
        unknown = sorted(set(given) - _KEYS)
        if unknown:
            raise UsageError(
                f"{where} has an unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}. "
                "What is no part of the goal stands above it in the file."
            )
        column, event = given.get("column"), given.get("event")
        if (column is None) == (event is None):
            raise UsageError(f"{where} needs either column and equals, or event (deal_won, purchase, …).")
        if column is not None and "equals" not in given:
            raise UsageError(f"{where} names column {column!r} but not the value that counts: add equals = …")
        if event is not None:
            _check_event(where, str(event), given.get("value"))
        days = given.get("horizon_days", 90)
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 1825:
            raise UsageError(f"{where} horizon_days must be a whole number from 1 to 1825, not {days!r}.")
        return cls(
            name=name,
            column=None if column is None else str(column),
            equals=None if column is None else str(given["equals"]),
            event=None if event is None else str(event),
            value=None if given.get("value") is None else str(given["value"]),
            horizon_days=days,
            repeats=given.get("repeats"),
        )


def _check_event(where: str, event: str, value: object) -> None:
    if event.startswith("event:"):
        kind = event.removeprefix("event:")
        if kind not in KINDS:
            raise UsageError(f"{where} event {event!r}: {kind!r} is no event kind; known are {', '.join(KINDS)}.")
    elif event not in _EVENTS:
        raise UsageError(
            f"{where} event {event!r} is unknown; use {', '.join(_EVENTS)} or event:<kind> (event:form_submit)."
        )
    if event == "lifecycle_stage" and value is None:
        raise UsageError(f'{where} event lifecycle_stage needs the stage that counts: add value = "customer".')


def goal_column(engine: Engine, goal: Goal) -> str:
    """The column of `contacts` that a static goal reads, found by the property's name, label or column.

    Raises UsageError when the source has no such column.
    """
    wanted = str(goal.column)
    columns = engine.columns("contacts")
    found = engine.fetch(
        "select column_name from property_definitions where object = 'contact' "
        f"and {literal(wanted)} in (property, column_name, label) "
        f"order by case {literal(wanted)} when property then 1 when column_name then 2 else 3 end, property"
    )["column_name"].to_pylist()
    canonical = "lifecycle_stage" if wanted in LIFECYCLE_PROPERTIES else wanted
    for name in (*found, f"p_{wanted}", canonical):
        if name in columns:
            return str(name)
    raise UsageError(f"The goal's column {wanted!r} is not among the contact properties of the source.")


def goal_text(engine: Engine, goal: Goal) -> str:
    """SQL for the text of a static goal's column of `contacts c`; null when it is empty, which means unknown."""
    column = f"cast(c.{quoted(goal_column(engine, goal))} as varchar)"
    return f"case when trim({column}) <> '' then {column} end"


def reached(engine: Engine, goal: Goal) -> str:
    """SQL of all outcomes of a goal in time: contact_id and happened_at (null where that is not known)."""
    if goal.event == "deal_won":
        return (
            "select dc.contact_id, d.closed_at as happened_at "
            "from deal_contacts dc join deals d on d.deal_id = dc.deal_id "
            "where d.is_won and d.deleted_at is null and dc.contact_id is not null"
        )
    if goal.event == "purchase":
        # A negative amount is a return, not a purchase; an unknown one still is.
        return (
            "select contact_id, purchased_at as happened_at from purchases "
            "where contact_id is not null and purchased_at is not null and coalesce(amount, 0) >= 0"
        )
    if goal.event == "lifecycle_stage":
        return _stage_reached(engine, str(goal.value))
    kind = literal(str(goal.event).removeprefix("event:"))
    return (
        "select contact_id, occurred_at as happened_at from events "
        f"where kind = {kind} and contact_id is not null and {_BY_A_PERSON}"
    )


def _stage_reached(engine: Engine, stage: str) -> str:
    names = ", ".join(literal(name) for name in LIFECYCLE_PROPERTIES)
    history = (
        "select object_id as contact_id, changed_at as happened_at from property_history "
        f"where object = 'contact' and property in ({names}) and value = {literal(stage)}"
    )
    at = "coalesce(" + ", ".join([*_entry_dates(engine, stage), "cast(null as timestamp)"]) + ")"
    # Who stands at the stage without a record of when: no label can be made, but it is reached.
    return (
        f"{history} union all select c.contact_id, {at} as happened_at from contacts c "
        f"where c.lifecycle_stage = {literal(stage)} and c.contact_id not in "
        f"(select contact_id from ({history}) h where contact_id is not null)"
    )


def _entry_dates(engine: Engine, stage: str) -> list[str]:
    """Date properties in which a platform keeps when a stage was entered (HubSpot's names)."""
    names = (f"p_hs_v2_date_entered_{stage}", f"p_hs_lifecyclestage_{stage}_date")
    columns = engine.columns("contacts")
    return [f"c.{quoted(name)}" for name in names if columns.get(name) == "TIMESTAMP"]
