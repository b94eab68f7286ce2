"""Lists that filters name: whether their members are known. Without them a filter would quietly take everyone, or
no one."""

from connector.errors import BadSetting, LeadlightError, MissingScope
from connector.jobs.eligibility import needed_lists
from connector.jobs.run import Run


def unread(run: Run, *, writing: bool = False) -> dict[str, str]:
    """Lists that the last pull could not read, each with the setting that names it; with `writing`, those alone
    that say whom to write to.

    Members that were read before the scope went, or the list did, are no longer known to be all.
    """
    cursor = run.mirror.known.cursor("lists")
    return {
        one: setting
        for one, setting in needed_lists(run.settings, writing=writing).items()
        if (one not in cursor["lists"] if cursor is not None else not _has_members(run, one))
    }


def _has_members(run: Run, list_id: str) -> bool:
    """A platform that reads no lists may bring members all the same: files do."""
    member = "select 1 from store.list_members where list_id = ? limit 1"
    return bool(run.mirror.connection.execute(member, [list_id]).fetchall())


def why(run: Run, list_id: str, setting: str) -> str:
    """What is wrong with a list that was not read, and what to do about it."""
    scope = _scope(run)
    cause = (
        f"a list that cannot be read: the scope {scope} is missing. Add it, or take the filter out"
        if scope is not None
        else f"a list that {run.platform.name} does not know or that was not read yet: give a list's id"
    )
    return f"{setting} names {list_id!r}, {cause}, then run `leadlight pull`."


def require(run: Run, *, writing: bool = False) -> None:
    """Raises MissingScope or BadSetting, naming the setting, when one of them was not read."""
    for one, setting in unread(run, writing=writing).items():
        raise _error(run, f"{why(run, one, setting)} Until then nothing is written.")


def _error(run: Run, message: str) -> LeadlightError:
    scope = _scope(run)
    return BadSetting(message) if scope is None else MissingScope(message, scope)


def _scope(run: Run) -> str | None:
    """The scope without which the last pull stopped reading lists."""
    scope = (run.mirror.known.cursor("lists") or {}).get("missing_scope")
    return None if scope is None else str(scope)
