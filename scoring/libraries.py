"""The libraries that take longest to import, longer than most commands do: each is imported in the functions that
need it, so that a command which fits and scores nothing never waits for them."""

from importlib import import_module

SLOW = (
    *("scipy.optimize", "scipy.special", "scipy.stats"),
    *("sklearn.cluster", "sklearn.linear_model", "sklearn.metrics"),
    "lightgbm",
)


def load() -> None:
    """Import them now: before threads that would, of which one could meet what another has half imported, and
    in a service before the first webhook has to wait for it."""
    for name in SLOW:
        import_module(name)
