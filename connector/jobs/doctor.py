"""Doctor: what works, what is missing and how to mend it, and what a sync will take. Changes nothing."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from connector.errors import BadCredentials, FixSetup, StateHeld, StateMismatch, TryLater
from connector.jobs import readiness
from connector.jobs.eligibility import needed_lists
from connector.jobs.manifest import hubspot
from connector.jobs.pull import ensure_pulled
from connector.jobs.readiness import Readiness
from connector.jobs.run import Run, declared_goals
from connector.jobs.stored import Deputy, nobody
from connector.mirror import Mirror
from connector.platform import Account, Check, Diagnosable, Diagnosis, Plan, Platform, Wanted
from connector.progress import Progress, silent
from connector.registry import connect
from connector.settings import Settings
from scoring.errors import ModelMismatch


@dataclass
class Findings:
    """All checks, in the order in which they matter, and the plan."""

    checks: list[Check] = field(default_factory=list)
    diagnosis: Diagnosis = field(default_factory=lambda: Diagnosis(()))
    data: Readiness | None = None

    @property
    def ready(self) -> bool:
        """Whether nothing needed is missing."""
        return not any(check.state == "fail" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        lacks = {} if self.data is None else self.data.lacks
        return {
            "ready": self.ready,
            "checks": [asdict(check) for check in self.checks],
            "plan": {
                "predictors": {key: {"can_run": not lacking, "lacks": lacking} for key, lacking in lacks.items()},
                "first_sync": _plan_json(self.diagnosis.first),
                "daily_sync": _plan_json(self.diagnosis.daily),
            },
            "data": {} if self.data is None else self.data.figures,
        }


def doctor(
    settings: Settings, *, offline: bool = False, progress: Progress = silent, deputy: Deputy = nobody
) -> Findings:
    """Look at everything; at data that another process holds, through `deputy`.

    Only what keeps it from looking at all is raised (TryLater, a Bug).
    """
    found = Findings()
    try:
        platform = connect(settings)
        wanted = _wanted(settings, platform)
    except FixSetup as error:
        name = "token" if "token" in str(error) else "set-up"
        found.checks.append(Check(name, "fail", str(error), "Set what the message names, then run doctor again."))
        return found
    try:
        account = _online(platform, wanted, found, offline=offline)
        _data(settings, platform, account, found, progress, deputy)
        if platform.name == "hubspot" and settings.hubspot_project is not None:
            found.checks.append(_webhooks(settings, deputy))
    finally:
        platform.close()
    return found


def _wanted(settings: Settings, platform: Platform) -> Wanted:
    """What the job ahead asks of the platform, as a pull would."""
    goals = declared_goals(settings).values()
    columns = tuple(str(goal["column"]) for goal in goals if goal.get("column") is not None)
    in_time = not goals or any(goal.get("event") is not None for goal in goals)
    run = _run(settings, platform, None, silent)
    lists = tuple(needed_lists(settings))
    return Wanted(tuple(run.properties()), in_time, columns, lists, tuple(run.properties("company")))


def _run(settings: Settings, platform: Platform, mirror: Mirror | None, progress: Progress) -> Run:
    """A run that is nowhere recorded; without a mirror it knows its settings only."""
    return Run("", "doctor", settings, platform, mirror, None, time.monotonic(), progress)  # type: ignore[arg-type]


def _online(platform: Platform, wanted: Wanted, found: Findings, *, offline: bool) -> Account | None:
    """Ask the platform; whose state to look at, None where that is not known."""
    if offline and platform.name != "files":
        found.checks.append(Check("platform", "off", "Not asked (--offline)."))
        return None
    if isinstance(platform, Diagnosable):
        found.diagnosis = platform.diagnose(wanted)
        found.checks += found.diagnosis.checks
    try:
        return platform.account()
    except BadCredentials:
        return None


def _data(
    settings: Settings,
    platform: Platform,
    account: Account | None,
    found: Findings,
    progress: Progress,
    deputy: Deputy,
) -> None:
    """Judge the mirror's data; files are read into one for the purpose."""
    if platform.name == "files" and not found.ready:
        return
    try:
        try:
            found.data = _judged(settings, platform, account, progress)
        except StateHeld as held:
            told = deputy(held, "doctor")
            found.data = Readiness.from_json(told) if told else None
        found.checks += [_NOTHING_PULLED] if found.data is None else found.data.checks
    except (StateMismatch, TryLater) as error:
        found.checks.append(Check("state", "warn", str(error), "Run doctor again afterwards."))
    except FixSetup as error:
        found.checks.append(Check("goal", "fail", str(error), "Correct what the message names."))


def _judged(
    settings: Settings, platform: Platform, account: Account | None, progress: Progress
) -> Readiness | None:
    """None where nothing was pulled yet. Raises StateHeld."""
    try:
        with _mirror(settings, platform, account) as mirror:
            run = _run(settings, platform, mirror, progress)
            if platform.name == "files":
                run.id = mirror.begin_run("doctor")
                ensure_pulled(run)
                return readiness.examine(run)
            return look_up(run)
    except FileNotFoundError:
        return None


def look_up(run: Run) -> Readiness | None:
    """What doctor says of the data in a state that is open, None where nothing was pulled yet."""
    return readiness.examine(run) if run.mirror.has_contacts() else None


def _webhooks(settings: Settings, deputy: Deputy) -> Check:
    try:
        return hubspot.compare(settings, deputy)
    except (FixSetup, ModelMismatch, TryLater) as error:
        return Check("webhooks", "warn", str(error), "Correct what the message names, or unset hubspot_project.")


_NOTHING_PULLED = Check(
    "data",
    "off",
    "Nothing was pulled yet, so that the data cannot be judged.",
    "Run `leadlight pull`, then doctor again.",
)


@contextmanager
def _mirror(settings: Settings, platform: Platform, account: Account | None) -> Iterator[Mirror]:
    """The account's mirror, read-only; for files a new one that ends with the look. Raises FileNotFoundError."""
    if platform.name == "files":
        with tempfile.TemporaryDirectory() as folder, Mirror.open(Path(folder), platform.account()) as mirror:
            yield mirror
        return
    account = account or _only_account(settings, platform)
    folder_of = settings.state_dir / f"{account.platform}-{account.id}"
    if not folder_of.is_dir():
        raise FileNotFoundError(folder_of)
    with Mirror.open(folder_of, account, command="doctor", read_only=True) as mirror:
        yield mirror


def _only_account(settings: Settings, platform: Platform) -> Account:
    """The account whose state is there, where the platform was not asked. Raises FileNotFoundError for none,
    StateMismatch for several."""
    prefix = f"{platform.name}-"
    folders = sorted(path for path in settings.state_dir.glob(f"{prefix}*") if path.is_dir())
    if not folders:
        raise FileNotFoundError(settings.state_dir)
    if len(folders) > 1:
        raise StateMismatch(
            f"{settings.state_dir} holds the state of {len(folders)} accounts: the token tells which one."
        )
    return Account(platform.name, folders[0].name.removeprefix(prefix))


def _plan_json(plan: Plan | None) -> dict[str, Any] | None:
    """Calls by part; `not_counted` are parts whose size the platform does not tell: there it may be more."""
    if plan is None:
        return None
    return {
        "calls": plan.calls,
        "minutes": plan.minutes,
        "parts": {part.part: part.calls for part in plan.parts},
        "not_counted": [part.part for part in plan.parts if part.records is None and part.part != "set-up"],
    }
