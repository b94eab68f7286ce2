"""What is missing before a predictor can say anything, in words that name the remedy."""

from typing import TYPE_CHECKING

from scoring.errors import UsageError
from scoring.goals import goal_text
from scoring.snapshots import Snapshots

if TYPE_CHECKING:
    from scoring.predictors.base import Context


#: Fewest conversions with which a regularised model is published at all.
POSITIVES = 30


def goal_lacks(context: "Context", snapshots: Snapshots) -> list[str]:
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
        return [f"None of {snapshots.rows:,} contacts reached the goal ({goal.words}): conversions to learn from."]
    if snapshots.positives == snapshots.rows:
        return [f"All {snapshots.rows:,} contacts reached the goal ({goal.words}): contacts that did not."]
    return []


def column_lacks(context: "Context") -> list[str]:
    """Why the goal's column cannot be read; empty for a goal in time."""
    if context.goal.in_time:
        return []
    try:
        goal_text(context.engine, context.goal)
    except UsageError as problem:
        return [str(problem)]
    return []


def more_conversions(context: "Context", positives: int, wanted: int) -> str:
    """What would mend too few conversions."""
    missing = max(1, wanted - positives)
    noun = "conversion" if missing == 1 else "conversions"
    if context.goal.in_time:
        return f"{missing} more {noun}, or a {context.goal.horizon_days * 2}-day horizon"
    return f"{missing} more {noun}"
