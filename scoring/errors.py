"""What can go wrong inside `scoring`, named by what the caller should do."""


class ScoringError(Exception):
    """Base of all errors that `scoring` raises on purpose."""


class UsageError(ScoringError):
    """The goal, a setting or a table is wrong: the message names it and what to change. Exit code 2."""


class ModelMismatch(ScoringError):
    """A stored model does not fit this program or these tables: train again."""
