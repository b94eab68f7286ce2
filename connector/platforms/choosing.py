"""Which of an account's hundreds or thousands of properties are worth taking along."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

#: A property of the platform's own is taken when at least this share of a sample has it.
MIN_FILL = 0.02


class Choosable(Protocol):
    """A property as a platform defines it."""

    @property
    def kind(self) -> str | None:
        """Our type; None where we can't use its values."""

    @property
    def custom(self) -> bool:
        """The customer made it."""


def candidates(
    definitions: Mapping[str, Choosable], ours: Iterable[str], is_technical: Callable[[str], bool]
) -> list[str]:
    """Properties that could be taken, sorted: usable, not bookkeeping, not personal, not our own."""
    own = set(ours)
    return sorted(
        name
        for name, found in definitions.items()
        if found.kind and name not in own and (found.custom or not is_technical(name))
    )


def filled_enough(
    names: Sequence[str],
    definitions: Mapping[str, Choosable],
    sample: Sequence[Mapping[str, Any]],
    *,
    of_custom: int = 0,
) -> list[str]:
    """Of these names those that enough records of a sample have a value of; custom ones that `of_custom` have."""
    least = max(1, round(MIN_FILL * len(sample)))
    filled = {name: sum(1 for values in sample if values.get(name) not in (None, "")) for name in names}
    return [name for name in names if filled[name] >= (of_custom if definitions[name].custom else least)]


def options(entries: Iterable[Mapping[str, Any]] | None) -> tuple[tuple[str, str], ...]:
    """(value, label) pairs of a list's entries; one without a label is its own."""
    return tuple(
        (str(entry["value"]), str(entry.get("label") or entry["value"]))
        for entry in entries or ()
        if entry.get("value") is not None
    )
