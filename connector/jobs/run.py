"""A run: one job at work on one account's state, from its first line in `runs` to its last."""

import getpass
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connector.errors import BadSetting, Refused, Stopped
from connector.jobs.eligibility import read_consent, read_filters
from connector.mirror import Mirror
from connector.mirror.sql import first
from connector.platform import Platform, WrittenObject
from connector.platforms.files.mapping import property_name, read_mapping
from connector.progress import Progress, silent
from connector.registry import connect
from connector.settings import Settings
from manifests import Property, platform_scores, properties
from scoring.engine import DuckEngine, literal
from scoring.errors import ScoringError
from scoring.goals import Goal
from scoring.predictors import PREDICTORS
from scoring.predictors.base import Context, Options, Predictor

#: Parts of a command's JSON that name contacts: printed, not kept.
_OF_CONTACTS = frozenset({"preview", "kept", "kept_of_companies"})


@dataclass(frozen=True)
class Task:
    """One predictor for one goal, and the names its properties have on the record."""

    predictor: Predictor
    goal: Goal

    @property
    def key(self) -> str:
        """Its key in JSON: the predictor's name, with the goal's where that is a further one."""
        return self.predictor.name if self.goal.name == "default" else f"{self.predictor.name}:{self.goal.name}"

    def names(self, prefix: str) -> dict[str, str]:
        """Property in the manifest -> its name on the record."""
        suffix = "" if self.goal.name == "default" else f"_{self.goal.name}"
        return {name: f"{prefix}{name.removeprefix('leadlight')}{suffix}" for name in self.predictor.properties}


@dataclass
class Run:
    """What a job works with. `as_of` is UTC without a zone, whole seconds."""

    id: str
    command: str
    settings: Settings
    platform: Platform
    mirror: Mirror
    as_of_given: datetime | None
    started: float
    progress: Progress
    #: Called wherever another job may be let in on the same mirror (`Mirror.beside`), and where this one may be
    #: stopped: between two pages of a pull, between two batches of writes. What it raises ends the job.
    pause: Callable[[], None] = lambda: None
    #: Entered around long computations that commit nothing to the mirror: another job may be at work beside this
    #: one, on a thread of its own, for as long as they take.
    aside: Callable[[], AbstractContextManager[None]] = nullcontext
    #: Calls that the platform had counted before.
    calls_before: Mapping[str, int] = field(default_factory=dict, repr=False)
    #: The table of contacts that had new rows when this run scored, None before.
    news: str | None = None
    #: The table of the contacts that this run is about, None: everyone.
    among: str | None = None
    #: What a job that is called again and again within one run keeps between its calls.
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    _as_of: datetime | None = field(default=None, repr=False)
    _goals: Sequence[Goal] | None = field(default=None, repr=False)
    _options: Options | None = field(default=None, repr=False)
    _ended: bool = field(default=False, repr=False)

    @property
    def folder(self) -> Path:
        return self.mirror.folder

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def as_of(self) -> datetime:
        """The instant that everything is computed at: as given; else for files just after the last time in the
        data, for platforms with an API the start of the run."""
        if self._as_of is None:
            last = getattr(self.platform, "last_time", lambda: None)()
            self._as_of = self.as_of_given or last or present()
        return self._as_of

    @property
    def contacts_sql(self) -> str:
        """SQL for the ids of the live contacts that this run is about."""
        live = self.mirror.live_contacts_sql
        return live if self.among is None else f"{live} and contact_id in (select contact_id from {self.among})"

    def calls(self) -> dict[str, int]:
        """Calls made since the run began, by 'METHOD /path/template', sorted."""
        counted = {name: n - self.calls_before.get(name, 0) for name, n in self.platform.calls().items()}
        return {name: n for name, n in sorted(counted.items()) if n > 0}

    def at(self, as_of: datetime, among: str) -> "Run":
        """The same run as of another instant, about the contacts of a table, all of whom have new rows."""
        return replace(self, as_of_given=as_of, _as_of=None, among=among, news=among)

    def settled(self) -> "Run":
        """The same run, with goals and choices as they are now: they are not worked out again at each question."""
        return replace(self, _goals=tuple(self.goals()), _options=self.options())

    def done(self, result: Mapping[str, Any], status: str = "done") -> None:
        """Record how the run ended, without what its result says of single contacts."""
        self._ended = True
        kept = {key: value for key, value in result.items() if key not in _OF_CONTACTS}
        self.mirror.end_run(self.id, status, kept)

    def goals(self) -> list[Goal]:
        """The goals of the settings, else of the mapping, else what the data allow. Raises BadSetting."""
        if self._goals is not None:
            return list(self._goals)
        given = declared_goals(self.settings)
        if self.platform.name == "files":
            given = {name: _as_property(table) for name, table in given.items()}
        try:
            goals = [Goal.from_settings(table, name) for name, table in given.items()]
        except ScoringError as error:
            raise BadSetting(str(error)) from None
        if any(goal.name == "default" for goal in goals):
            return goals
        if self.mirror.connection.execute("select 1 from deals limit 1").fetchall():
            return [Goal(event="deal_won"), *goals]
        return [Goal(event="lifecycle_stage", value="customer"), *goals]

    def tasks(self) -> list[Task]:
        """Every predictor for the first goal, and those that have a goal for the others too."""
        main, *others = self.goals()
        tasks = [Task(predictor, main) for predictor in PREDICTORS]
        tasks += [
            Task(predictor, goal) for goal in others for predictor in PREDICTORS if predictor.name == "lead_score"
        ]
        return tasks

    @property
    def prefix(self) -> str:
        """Prefix of the names that are written: the shadow set's in shadow mode."""
        return shadow_prefix(self.settings) if self.settings.shadowed else self.settings.prefix

    def properties(self, object_name: WrittenObject = "contact") -> list[Property]:
        """What is to be installed: our properties under the names they have on this account, those of further
        goals too; in shadow mode the shadow set, in which companies have none."""
        if self.settings.shadowed:
            shadow = [] if object_name == "company" else self._shadow_set()
            return [replace(entry, label=f"{entry.label} (shadow)") for entry in shadow]
        return self.company_properties() if object_name == "company" else self._named(self.settings.prefix)

    def company_properties(self) -> list[Property]:
        """Our properties of companies, in shadow mode too: what is ours stays ours."""
        return _prefixed(self.settings.prefix, "company")

    def all_properties(self) -> list[Property]:
        """Everything of contacts that is ours, whether installed now or not: the shadow set from the first time it
        is used, and what was written for goals that the settings no longer name."""
        shadow = self._shadow_set() if self.settings.shadowed or self.ever_shadowed() else []
        return [*self._named(self.settings.prefix, self._former_goals()), *shadow]

    def our_names(self) -> tuple[str, ...]:
        """Names of all properties of contacts that are ours: never features, never a goal."""
        return tuple(entry.name for entry in self.all_properties())

    def ever_shadowed(self) -> bool:
        """Whether a shadow set was ever written, or stands on somebody."""
        if "shadowed" not in self.kept:
            standing = literal(f'"{shadow_prefix(self.settings)}_')
            found = self.mirror.connection.execute(
                "select 1 where exists (from store.shadow) "
                f"or exists (from store.contacts where contains(ours, {standing}))"
            )
            self.kept["shadowed"] = bool(found.fetchall())
        shadowed: bool = self.kept["shadowed"]
        return shadowed

    def _shadow_set(self) -> list[Property]:
        """Nobody is held out of what nobody acts on."""
        return [entry for entry in self._named(shadow_prefix(self.settings)) if entry.predictor != "holdout"]

    def _former_goals(self) -> set[str]:
        """Names of further goals for which the ledger has scores."""
        if "former_goals" not in self.kept:
            begins = f"{self.settings.prefix}_score_"
            rows = self.mirror.connection.execute(
                "select distinct property from store.writes where starts_with(property, ?)", [begins]
            ).fetchall()
            self.kept["former_goals"] = {name.removeprefix(begins) for (name,) in rows}
        former: set[str] = self.kept["former_goals"]
        return former

    def _named(self, prefix: str, former: Set[str] = frozenset()) -> list[Property]:
        named = _prefixed(prefix, "contact")
        further = sorted({*declared_goals(self.settings), *former} - {"default"})
        per_goal = [entry for entry in named if entry.predictor in ("lead_score", "holdout")]
        return named + [
            replace(entry, name=f"{entry.name}_{goal}", label=f"{entry.label} ({goal})")
            for goal in further
            for entry in per_goal
        ]

    def context(self, goal: Goal) -> Context:
        """What a predictor may look at, for one goal. Raises BadSetting when the goal's column is not there."""
        return self.context_on(self.engine(), self.as_of, goal)

    def context_on(self, engine: DuckEngine, as_of: datetime, goal: Goal) -> Context:
        """The same for other tables than the mirror's, and another instant."""
        if goal.column is not None and not self._has_property(goal.column):
            raise BadSetting(
                f"The goal's column {goal.column!r} is no property of this account's contacts: "
                "name one that is there under [goal] column = …."
            )
        return Context(engine, as_of, goal, self.options())

    def _account_zone(self) -> str:
        """The zone that the account keeps on the platform; UTC where it tells none."""
        found = first(self.mirror.connection, "select timezone from store.account")
        return (found[0] if found is not None else None) or "UTC"

    def _never_features(self) -> frozenset[str]:
        """The user's choice, our own properties, and the platform's predictions but the one to compare with."""
        rivals = platform_scores(self.platform.name) - {self.settings.compare_to}
        named = self._named(self.settings.prefix, self._former_goals())
        ours = {entry.name for entry in [*named, *self._shadow_set()]}
        return frozenset(self.settings.excluded) | rivals | ours

    def _has_property(self, name: str) -> bool:
        found = self.mirror.connection.execute(
            "select 1 from property_definitions where object = 'contact' and property = ?", [name]
        )
        return bool(found.fetchall())

    def rejected(self) -> list[str]:
        """Input that this run could not use, one line each: which record, which field, why."""
        rows = self.mirror.rejects(self.id).to_pylist()
        return [f"{row['record']}{', ' + row['field'] if row['field'] else ''}: {row['reason']}" for row in rows]

    def engine(self) -> DuckEngine:
        return self.mirror.engine(text_columns=self.text_columns())

    def text_columns(self) -> list[str]:
        """Properties that the goals read as texts."""
        return [goal.column for goal in self.goals() if goal.column is not None]

    def options(self) -> Options:
        """The user's choices, from settings and mapping."""
        if self._options is not None:
            return self._options
        settings = self.settings
        mapping = read_mapping(settings.mapping) if settings.mapping is not None else None
        train, write = read_filters(settings)
        return Options(
            seed=settings.seed,
            order_by=mapping.contacts.order_by if mapping is not None and mapping.contacts is not None else None,
            excluded=self._never_features(),
            trusted=frozenset(settings.trusted),
            protected=frozenset(settings.protected),
            unprotected=frozenset(settings.unprotected),
            consent=read_consent(settings),
            train=train,
            write=write,
            timezone=settings.timezone or (mapping.timezone if mapping is not None else self._account_zone()),
            compare_to=settings.compare_to,
            live=self.platform.name != "files",
            gates=settings.gates,
        )


def _prefixed(prefix: str, object_name: WrittenObject) -> list[Property]:
    """The manifest's properties of an object, under the names that they have with a prefix."""
    return [
        replace(entry, name=f"{prefix}{entry.name.removeprefix('leadlight')}") for entry in properties(object_name)
    ]


def shadow_prefix(settings: Settings) -> str:
    """What the names of the shadow set begin with."""
    return f"{settings.prefix}_shadow"


def declared_goals(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """The `[goal]` and `[goals.<name>]` tables of the mapping; those of the settings outrank them by name."""
    given: dict[str, Mapping[str, Any]] = {}
    if settings.mapping is not None:
        mapping = read_mapping(settings.mapping)
        given.update({} if mapping.goal is None else {"default": mapping.goal}, **mapping.goals)
    given.update({} if settings.goal is None else {"default": settings.goal}, **settings.goals)
    return given


def _as_property(goal: Mapping[str, Any]) -> Mapping[str, Any]:
    """A goal of files may name its column as the file does."""
    column = goal.get("column")
    return goal if column is None else {**goal, "column": property_name(str(column))}


def present() -> datetime:
    """This instant: UTC without a zone, whole seconds."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def operator() -> str | None:
    """The operating system's user, who ran a command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


@contextmanager
def open_run(
    settings: Settings,
    command: str,
    *,
    as_of: datetime | None = None,
    progress: Progress = silent,
    subject: str | None = None,
    who: str | None = None,
) -> Iterator[Run]:
    """Connect, open the account's state, and record the run, who ran it (default: the operating system's user) on
    what (`subject`: a run, a plan; never a person), and how it ended."""
    _ = read_consent(settings), read_filters(settings)
    platform = connect(settings)
    try:
        account = platform.account()
        folder = settings.state_dir / f"{account.platform}-{account.id}"
        with (
            Mirror.open(folder, account, command=command) as mirror,
            run_on(
                platform, mirror, settings, command, as_of=as_of, progress=progress, subject=subject, who=who
            ) as run,
        ):
            yield run
    finally:
        platform.close()


@contextmanager
def run_on(
    platform: Platform,
    mirror: Mirror,
    settings: Settings,
    command: str,
    *,
    as_of: datetime | None = None,
    progress: Progress = silent,
    subject: str | None = None,
    who: str | None = None,
    pause: Callable[[], None] = lambda: None,
    aside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Run]:
    """A run on a state that is open already: for who holds it longer than one job."""
    started = time.monotonic()
    run_id = mirror.begin_run(command, as_of, who=who or operator(), subject=subject)
    run = Run(
        *(run_id, command, settings, platform, mirror, as_of, started, progress, pause, aside),
        calls_before=dict(platform.calls()),
    )
    try:
        yield run
    except Stopped:
        run.done({"error": "Stopped"}, "stopped")
        raise
    except Refused as refusal:
        run.done({**refusal.result, "refused": str(refusal)}, "refused")
        raise
    except BaseException as error:
        run.done({"error": type(error).__name__}, "failed")
        raise


def goal_json(goal: Goal) -> dict[str, Any]:
    """A goal as it stands in a model's meta, to see whether it is still the same."""
    return asdict(goal)
