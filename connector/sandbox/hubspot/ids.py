"""HubSpot's record ids are whole numbers; others are numbered."""

from collections.abc import Iterator, Mapping, Sequence


class Ids(Mapping[str, int]):
    """Original id -> record id."""

    def __init__(self, numbers: Mapping[str, int], *, renumbered: bool) -> None:
        self._numbers = numbers
        self.renumbered = renumbered

    def __getitem__(self, original: str) -> int:
        return self._numbers[original]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def ids_of(originals: Sequence[str]) -> Ids:
    """Kept where all are whole positive numbers as HubSpot writes them, else 1 to N in the given order."""
    if all(one.isascii() and one.isdigit() and not one.startswith("0") and len(one) < 16 for one in originals):
        return Ids({one: int(one) for one in originals}, renumbered=False)
    return Ids({one: place for place, one in enumerate(originals, start=1)}, renumbered=True)
