"""How a job says how far it is."""

from collections.abc import Callable

#: What is under way, how far, of how many (None: unknown).
Progress = Callable[[str, int, int | None], None]


def silent(stage: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""
