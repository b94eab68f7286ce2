"""What is missing before a predictor can say anything, in words that name the remedy."""

from dataclasses import replace

from scoring.context import Context
from scoring.errors import UsageError
from scoring.goals import goal_text
from scoring.snapshots import Snapshots, labelled

#: Fewest conversions with which a regularised model is published at all.
POSITIVES = 30
#: Longer horizons that are tried as a remedy, as multiples of the goal's.
_LONGER = (2, 3, 4)


def goal_lacks(context: Context, snapshots: Snapshots) -> list[str]:
    """Why there is nothing to learn the goal from; empty when there is."""
    goal = context.goal
    if snapshots.rows == 0:
        if goal.in_time:
            return [
                f"No contact was known {goal.horizon_days} days before the last data, so no outcome can be "
                "counted: a longer history or a shorter horizon_days."
            ]
        return [f"No contact has a value in {goal.column}: fill it for contacts whose outcome is known."]
    if snapshots.positives == 0:
        return [
            f"None of {snapshots.contacts:,} contacts reached the goal ({goal.words}): conversions to learn from."
        ]
    if snapshots.positives == snapshots.rows:
        return [f"All {snapshots.contacts:,} contacts reached the goal ({goal.words}): contacts that did not."]
    return []


def column_lacks(context: Context) -> list[str]:
    """Why the goal's column cannot be read; empty for a goal in time."""
    if context.goal.in_time:
        return []
    try:
        goal_text(context.engine, context.goal)
    except UsageError as problem:
        return [str(problem)]
    return []


def more_conversions(context: Context, positives: int, wanted: int) -> str:
    """What would mend too few conversions: how many more, or the longer horizon with which there are enough."""
    missing = max(1, wanted - positives)
    words = f"{missing:,} more {'conversion' if missing == 1 else 'conversions'}"
    days = _enough_horizon(context, wanted)
    return words if days is None else f"{words}, or a {days}-day horizon"


def _enough_horizon(context: Context, wanted: int) -> int | None:
    """Days of the shortest longer horizon that would suffice on the data as they are.

    Counted, not guessed: a longer label window holds more conversions, but fewer contacts were known before it and
    fewer instants fit into the history.
    """
    if not context.goal.in_time:
        return None
    for times in _LONGER:
        goal = replace(context.goal, horizon_days=context.goal.horizon_days * times)
        if labelled(replace(context, goal=goal), "labelled_longer").positives >= wanted:
            return goal.horizon_days
    return None
