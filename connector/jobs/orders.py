"""Every command on the state as an order: its name and its parameters, which go through JSON, in; its JSON out.

The command line carries them out on a state that it opens itself; where a service holds the state, the service
does, on the same functions. Parameters: dates as ISO text (UTC), paths as absolute text, absent or null for the
default.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connector.errors import BadSetting, Refused, StateMismatch
from connector.jobs.ended import Ask, Ended, Params, Result, agreed
from connector.jobs.run import Run
from connector.jobs.stored import Offline


@dataclass(frozen=True)
class Job:
    """A command that changes something; it runs one at a time, with a line in `runs`."""

    do: Callable[[Run, Params, Ask], Result]
    #: Its parameters.
    takes: Mapping[str, type]
    #: The parameter that names what it is about in the audit log; never a person.
    subject: str | None = None
    #: Whether input that could not be used is told, and ends the command with 4.
    rejects: bool = False
    #: What the command ends with, when it was not refused.
    exit_code: Callable[[Result], int] = lambda _: 0
    #: What tells what the job would do, before a person is asked elsewhere than where it is done: an order (with
    #: these parameters besides) or a look. None: nobody is asked.
    first: tuple[str, Params] | None = None


@dataclass(frozen=True)
class Look:
    """A command that reads the mirror only."""

    do: Callable[[Run, Params], Result]
    takes: Mapping[str, type]
    #: The command that it is a part of, as lock and audit log name it.
    command: str
    #: Whether it stands in `runs`, and what of its result does.
    recorded: bool = False
    kept: Callable[[Result], Result] = lambda result: result
    #: Whether it moves which model is in use, so that no job may be under way.
    alone: bool = False
    exit_code: Callable[[Params, Result], int] = lambda _params, _result: 0


def _pull(run: Run, params: Params, _ask: Ask) -> Result:
    from connector.jobs.pull import pull
    from connector.jobs.sync import spent

    pulled = pull(run, full=bool(params.get("full")))
    return {
        "run_id": run.id,
        "pulled": dict(pulled.rows),
        "streams_off": pulled.streams_off_json(),
        "lists_unread": pulled.lists_unread,
        "notes": pulled.notes,
        **({} if pulled.retention is None else {"retention": pulled.retention}),
        **spent(run),
    }


def _train(run: Run, _params: Params, _ask: Ask) -> Result:
    from connector.jobs.pull import ensure_pulled
    from connector.jobs.train import train

    ensure_pulled(run)
    trained = train(run)
    models = {key: model.version for key, model in trained.models.items()}
    return {"run_id": run.id, "gates": trained.gates, "models": models}


def _score(run: Run, params: Params, _ask: Ask) -> Result:
    from connector.jobs.outside import remember
    from connector.jobs.pull import ensure_pulled
    from connector.jobs.score import marks_of, score, typed
    from connector.platforms.files.results import write_table

    ensure_pulled(run)
    scored, out = score(run), params.get("out")
    if out is not None:
        write_table(Path(out), typed(run, scored.computed, marks_of(run, scored.trained)))
        remember(run.folder, Path(out))
    return {
        "run_id": run.id,
        "scored": scored.contacts,
        "rows": scored.computed.num_rows,
        "gates": scored.trained.gates,
        "upkeep": scored.trained.upkeep,
        "out": out,
    }


def _push(run: Run, params: Params, _ask: Ask) -> Result:
    from connector.jobs import lists
    from connector.jobs.push import push
    from connector.jobs.score import score
    from connector.jobs.sending import recover
    from connector.jobs.sync import spent

    options = _push_options(params)
    if not options.dry_run:
        recover(run)
    lists.require(run)
    scored = score(run)
    first = {"run_id": run.id, "gates": scored.trained.gates, "dry_run": options.dry_run}
    try:
        return {**first, **push(run, scored, options), **spent(run)}
    except Refused as refusal:
        refusal.result = {**first, **refusal.result, **spent(run)}
        raise


def _sync(run: Run, params: Params, _ask: Ask) -> Result:
    from connector.jobs.sync import sync

    options = _push_options(params)
    return {**sync(run, options), "dry_run": options.dry_run}


def _push_options(params: Params) -> Any:
    from connector.jobs.push import PushOptions

    names = ("limit", "max_changes", "max_grade_moves")
    given = {name: params[name] for name in names if params.get(name) is not None}
    out = params.get("out")
    return PushOptions(
        dry_run=bool(params.get("dry_run")),
        resume=bool(params.get("resume")),
        out=None if out is None else Path(out),
        **given,
    )


def _rollback(run: Run, params: Params, ask: Ask) -> Result:
    from connector.jobs.rollback import find_target, rollback
    from connector.jobs.sync import spent

    target = find_target(run, params["run"])
    ask(target.to_json())
    return {**rollback(run, target, dry_run=bool(params.get("dry_run"))), **spent(run)}


def _rollback_target(run: Run, params: Params) -> Result:
    from connector.jobs.rollback import look_up

    return look_up(run, params["run"]).to_json()


def _approve(run: Run, params: Params, _ask: Ask) -> Result:
    from connector.jobs.approve import approve
    from connector.jobs.sync import spent

    return {**approve(run, params["plan"]), **spent(run)}


def _erase(run: Run, params: Params, ask: Ask) -> Result:
    from connector.jobs.erase import erase, prepare

    erasure = prepare(run, params.get("contact"), params.get("email"))
    if not ask(erasure.to_json()):
        return {"run_id": run.id, "erased": False}
    return erase(run, erasure)


def _erase_exit(result: Result) -> int:
    """1 where a trace is left here, 4 where something is left on the platform."""
    if result.get("proof", {}).get("traces"):
        return 1
    return 4 if result.get("companies_off") else 0


def _erase_who(run: Run, params: Params) -> Result:
    from connector.jobs.erase import prepare

    return prepare(run, params.get("contact"), params.get("email")).to_json()


def _install(run: Run, params: Params, _ask: Ask) -> Result:
    from connector.jobs.install import install

    return install(run, dry_run=bool(params.get("dry_run")))


def _left_behind(result: Result) -> int:
    """4 where an uninstall was carried out and something of ours stands."""
    failed = result["cleared"]["failed"] or result["companies_cleared"]["failed"]
    left = failed or result["in_use"] or result["by_hand"]
    return 4 if left and not result["dry_run"] else 0


def _uninstall(run: Run, params: Params, ask: Ask) -> Result:
    from connector.jobs.uninstall import look, uninstall

    removal = look(run)
    if not params.get("dry_run"):
        ask(removal.to_json())
        uninstall(removal)
    return removal.to_json()


def _explain(run: Run, params: Params) -> Result:
    from connector.jobs.explain import explain

    return explain(run, params["contact"], days=params["days"])


def _report(run: Run, params: Params) -> Result:
    """`calls`: the text of the CSV file of leads to call, and how many, where asked for."""
    from connector.jobs.fairness import fairness
    from connector.jobs.report import report
    from connector.jobs.report.calls import calls_csv

    if params.get("fairness"):
        return {"fairness": fairness(run)}
    found = report(run)
    if params.get("calls"):
        text, listed = calls_csv(run)
        found["calls"] = {"csv": text, "listed": listed}
    return found


def _runs(run: Run, params: Params) -> Result:
    from connector.jobs.history import ENTRIES, RUNS, runs, show

    name, limit = params.get("name"), params.get("limit")
    return runs(run.mirror, limit or RUNS) if name is None else show(run.mirror, name, limit or ENTRIES)


def _models(run: Run, _params: Params) -> Result:
    from connector.jobs.models import listed

    return listed(run)


def _choose_model(run: Run, params: Params) -> Result:
    from connector.jobs.models import promote, rollback

    if params.get("version") is not None:
        return promote(run, params["version"], params["goal"])
    return rollback(run, params["predictor"], params["goal"])


def _measure(run: Run, params: Params) -> Result:
    from connector.jobs.measure import measure
    from connector.jobs.shadow import shadow_report

    _filled(run)
    if params.get("shadow"):
        return shadow_report(run)
    return measure(
        run, wanted_lift=params.get("lift"), base_rate=params.get("base_rate"), weekly=params.get("inflow")
    )


def _evaluate(run: Run, _params: Params) -> Result:
    from connector.jobs.evaluate import evaluate

    _filled(run)
    return dict(evaluate(run))


def _evaluate_exit(params: Params, result: Result) -> int:
    from connector.jobs.evaluate import refused

    return 3 if params.get("strict") and refused(result) else 0


def _filled(run: Run) -> None:
    """Pull where that is free or nothing was ever pulled; who looks without the platform needs a pull first."""
    from connector.jobs import lists
    from connector.jobs.pull import ensure_pulled

    if not isinstance(run.platform, Offline):
        ensure_pulled(run)
    elif not run.mirror.has_contacts():
        raise StateMismatch("Nothing was pulled yet: run `leadlight pull` first.")
    else:
        lists.require(run)


def _export(run: Run, params: Params) -> Result:
    from connector.jobs.export import export

    return export(run, params.get("contact"), params.get("email"))


def _exported(result: Result) -> Result:
    """Rows by table: what is known of a person stays out of `runs`."""
    return {"tables": {name: len(rows) for name, rows in result["tables"].items()}}


def _doctor(run: Run, _params: Params) -> Result:
    """Empty where nothing was pulled yet."""
    from connector.jobs.doctor import look_up

    found = look_up(run)
    return {} if found is None else found.to_json()


def _manifest(run: Run, _params: Params) -> Result:
    from connector.jobs.manifest.learnt import look_up

    return look_up(run).to_json()


def _some_failed(result: Result) -> int:
    return 4 if result["pushed"]["failed"] or result.get("companies", {}).get("failed") else 0


_AS_OF: Mapping[str, type] = {"as_of": str}
_PERSON: Mapping[str, type] = {"contact": str, "email": str}
_PUSH: Mapping[str, type] = {
    **_AS_OF,
    "dry_run": bool,
    "limit": int,
    "max_changes": int,
    "max_grade_moves": float,
    "resume": bool,
    "out": str,
}

JOBS: Mapping[str, Job] = {
    "pull": Job(_pull, {"full": bool}, rejects=True),
    "train": Job(_train, _AS_OF),
    "score": Job(_score, {**_AS_OF, "out": str}, rejects=True),
    "push": Job(_push, _PUSH, exit_code=_some_failed),
    "sync": Job(_sync, _PUSH, rejects=True, exit_code=_some_failed),
    "rollback": Job(
        _rollback,
        {"run": str, "dry_run": bool},
        subject="run",
        exit_code=lambda result: 4 if result["failed"] or result["companies"]["failed"] else 0,
        first=("rollback-target", {}),
    ),
    "approve": Job(_approve, {"plan": str}, subject="plan", exit_code=_some_failed),
    "erase": Job(
        _erase,
        _PERSON,
        exit_code=_erase_exit,
        first=("erase-who", {}),
    ),
    "install": Job(_install, {"dry_run": bool}, exit_code=lambda result: 2 if result["conflicts"] else 0),
    "uninstall": Job(
        _uninstall,
        {"dry_run": bool},
        exit_code=_left_behind,
        first=("uninstall", {"dry_run": True}),
    ),
}

#: Jobs that a service which ended before them takes up again at its next start. An erasure has a journal of its
#: own, which holds whom.
RESUMED = frozenset({"sync", "pull", "rollback", "approve", "uninstall"})

LOOKS: Mapping[str, Look] = {
    "explain": Look(_explain, {**_AS_OF, "contact": str, "days": int}, "explain"),
    "report": Look(_report, {**_AS_OF, "calls": bool, "fairness": bool}, "report"),
    "runs": Look(_runs, {"name": str, "limit": int}, "runs"),
    "models": Look(_models, {}, "models"),
    "models-choose": Look(_choose_model, {"version": str, "predictor": str, "goal": str}, "models", alone=True),
    "measure": Look(
        _measure,
        {**_AS_OF, "lift": float, "base_rate": float, "inflow": float, "shadow": bool},
        "measure",
        recorded=True,
    ),
    "evaluate": Look(_evaluate, {**_AS_OF, "strict": bool}, "evaluate", recorded=True, exit_code=_evaluate_exit),
    "export": Look(_export, _PERSON, "export", recorded=True, kept=_exported),
    "rollback-target": Look(_rollback_target, {"run": str}, "rollback"),
    "erase-who": Look(_erase_who, _PERSON, "erase"),
    "doctor": Look(_doctor, {}, "doctor"),
    "manifest": Look(_manifest, {}, "manifest"),
}


def check(command: str, params: Params) -> Job | Look:
    """The command's entry. Raises BadSetting for one that is not there, or parameters that it does not take."""
    entry = JOBS.get(command) or LOOKS.get(command)
    if entry is None:
        raise BadSetting(f"{command!r} is no command of this version of Leadlight.")
    for name, value in params.items():
        kind = entry.takes.get(name)
        if kind is None or not (value is None or isinstance(value, (float, int) if kind is float else kind)):
            raise BadSetting(f"{command} does not take {name} = {type(value).__name__}.")
    return entry


def takes(command: str) -> Mapping[str, type]:
    """The parameters of a command that is there, and their types."""
    return (JOBS.get(command) or LOOKS[command]).takes


def as_of(params: Params) -> datetime | None:
    """The instant that a run of these parameters computes at, UTC without a zone. Raises BadSetting."""
    text = params.get("as_of")
    if text is None:
        return None
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise BadSetting(
            f"--as-of {text}: write a date or an ISO instant, such as 2026-11-22T08:00:00Z."
        ) from None
    if given.tzinfo is not None:
        given = given.astimezone(UTC).replace(tzinfo=None)
    return given.replace(microsecond=0)


def subject_of(command: str, params: Params) -> str | None:
    """What a job's run is about: a run, a plan."""
    name = JOBS[command].subject if command in JOBS else None
    return None if name is None else params.get(name)


def goes_on(command: str, params: Params, folder: Path) -> bool:
    """Whether a service that ended before this job did takes it up again by itself; `folder`: its state."""
    from connector.jobs import erase

    if command == "erase":
        return (folder / erase.JOURNAL).exists()
    return command in RESUMED and not params.get("dry_run")


def as_given(command: str, params: Params) -> str:
    """What a person types for a job; of an erasure not whom."""
    words = ["leadlight", command]
    subject = subject_of(command, params)
    words += [] if subject is None else [subject]
    for name, value in params.items():
        if name in (JOBS[command].subject, *_PERSON) or value is None or value is False:
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


def carry_out(run: Run, command: str, params: Params, ask: Ask = agreed) -> Ended:
    """Do a job on its run, record how the run ended, and say how the command does.

    Raises what the job raises: `connector.jobs.ended.ended_by` makes the same of it.
    """
    entry = JOBS[command]
    result = entry.do(run, params, ask)
    run.done(result, "refused" if result.get("erased") is False else "done")
    rejected = run.rejected() if entry.rejects else []
    return Ended(plain(result), exit_code=4 if rejected else entry.exit_code(result), rejected=rejected)


def look(run: Run, command: str, params: Params) -> Ended:
    """Answer a look, on a run of `connector.jobs.stored.open_stored` or one that is recorded (`Look.recorded`)."""
    entry = LOOKS[command]
    result = entry.do(run, params)
    if run.id:
        run.done(entry.kept(result))
    return Ended(plain(result), exit_code=entry.exit_code(params, result))


def plain(result: Mapping[str, Any]) -> Result:
    """A result as JSON has it, whichever process it comes from."""
    read: Result = json.loads(json.dumps(result, default=str))
    return read
