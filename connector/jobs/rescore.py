"""Rescore: contacts that changed are read again, computed by themselves, and what differs is written, in seconds.

Many calls belong to one run, so that a run is an hour of them and not one: it stands in `runs` once, is rolled
back as one, and shares its day's caps with the others (`day`). Who is rescored is the contact that changed; what
its change means for colleagues at the same company is for the next poll or sync to find.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa

from connector.errors import BadSetting, LeadlightError, NotTaken, Refused
from connector.jobs import day, discipline, lists
from connector.jobs.eligibility import scoring_choices
from connector.jobs.erase import erase_people
from connector.jobs.hinted import Hinted, sort
from connector.jobs.install import ensure_installed
from connector.jobs.objections import take_away
from connector.jobs.pull import pull, request
from connector.jobs.push import add_marks, differ, passed_names, planned_rows, stand_already, wanted_on
from connector.jobs.run import Run, present
from connector.jobs.score import Scored
from connector.jobs.sending import Pushed, chunks, recover, send
from connector.jobs.train import Trained, standing
from connector.jobs.withhold import keep_arms
from connector.mirror.excerpt import OWN, Excerpt
from connector.mirror.sql import count, first, naive, texts, transaction
from connector.platform import Asked, Hint, Page, PullRequest, Readable
from scoring.decisions import decide
from scoring.engine import literal
from scoring.snapshots import may_score

#: Contacts of a poll that are computed in one go.
POLL_BATCH = 1000

#: How far a platform's clock may be ahead of ours: what it dated later than our present counts all the same.
_AHEAD = timedelta(minutes=10)

_ABOUT, _FRESH = "rescored_about", "rescored_fresh"
_LIVE = "may_be_scored"


@dataclass
class Done:
    """What one call came to. `left`: contacts whose hints are to be tried again."""

    about: set[str] = field(default_factory=set)
    pushed: Pushed = field(default_factory=Pushed)
    gone: set[str] = field(default_factory=set)
    #: Somebody was found to be gone or merged who was not known to be.
    moved: bool = False
    left: list[str] = field(default_factory=list)
    scored: int = 0
    reasons: list[str] = field(default_factory=list)
    #: Milliseconds by step.
    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] = round(self.spent.get(name, 0.0) + 1000 * (time.perf_counter() - started), 1)

    def to_json(self) -> dict[str, Any]:
        return {
            "contacts": len(self.about),
            "scored": self.scored,
            "changed": self.pushed.changed,
            "values": self.pushed.values,
            "unchanged": self.pushed.unchanged,
            "held": self.pushed.held,
            "failed": self.pushed.failed,
            "gone": len(self.gone) + self.pushed.skipped,
            "reasons": list(dict.fromkeys(self.reasons)),
            "milliseconds": dict(self.spent),
        }


def rescore(run: Run, hints: Sequence[Hint]) -> dict[str, Any]:
    """Follow hints up. JSON: contacts, scored, changed, values, unchanged, held, failed, gone, erased; `left`:
    keys of hints to be tried again; `elsewhere`: hints that the next poll follows up; reasons; milliseconds by
    step.

    Stopped anywhere and called again with the same hints, it ends the same. Raises TryLater (all hints are to be
    tried again) when the platform cannot be reached, BadSetting for a platform that has no webhooks.
    """
    if not isinstance(run.platform, Readable):
        raise BadSetting(f"{run.platform.name} gives no single contacts: there is nothing to rescore.")
    told, done = sort(hints), Done()
    erased: dict[str, Any] = {"erased": 0}
    if _ready(run, done):
        asked = [one for key, one in told.asked.items() if not run.mirror.erased.has_contact(key)]
        with run.mirror.empty_excerpt() as excerpt:
            excerpt.look_ahead([one.contact_id for one in asked], naive(present()))
            with done.step("read"):
                _read(run, run.platform, asked, done)
            _renew(run, done, excerpt)
        erased = _erase(run, told, done)
    return {**done.to_json(), **erased, "left": told.keys_of(done.left), "elsewhere": told.elsewhere}


def poll(run: Run) -> dict[str, Any]:
    """What no webhook tells (calculated properties, forms, opens, page views, companies, deals), and the gap after
    an outage: pull what is new and rescore whom it concerns. JSON as `rescore`, with `pulled` (rows by table)."""
    total, pulled = Done(), {}
    if _ready(run, total):
        with total.step("read"):
            pulled = dict(pull(run, light=True).rows)
        news = run.mirror.connection.execute("select distinct contact_id from store.news order by 1").fetchall()
        for part in chunks([row[0] for row in news], POLL_BATCH):
            run.pause()
            total.about = set(part)
            try:
                _renew(run, total)
            except LeadlightError:
                # what was computed may not have been written: the next poll does both again
                run.mirror.note_news(part)
                raise
        total.about = {row[0] for row in news}
    return {**total.to_json(), "pulled": pulled}


def prepare(run: Run) -> Iterator[None]:
    """Read the models in use, into `run.kept["models"]` which runs may share, and give the steps, a second or so
    each, that make rescoring with them faster. The steps do not need the run any more."""
    settled = run.settled()
    models = standing(settled).models
    return chain.from_iterable(
        task.predictor.prepare(models[task.key]) for task in settled.tasks() if task.key in models
    )


def _ready(run: Run, done: Done) -> bool:
    """Settle what a run that died left open, or a call of this run that failed. Without a first sync there is
    nothing to go by."""
    if not run.mirror.has_contacts() or run.mirror.known.cursor("properties") is None:
        done.reasons.append("Nothing was pulled yet: run `leadlight sync` once.")
        return False
    if not run.kept.get("settled"):
        recover(run)
        run.kept["settled"] = True
    return True


def _read(run: Run, platform: Readable, asked: Sequence[Asked], done: Done) -> None:
    """Into the mirror with them. A merge that comes to light asks for its winner in turn."""
    done.about |= {one.contact_id for one in asked}
    missing = {one.contact_id for one in asked}
    for page in platform.read(run.mirror.known, _request(run), asked):
        missing -= _named(page)
        winners = _winners(page)
        done.gone |= _removed(page)
        observed_at = datetime.now(UTC).replace(tzinfo=None)
        done.moved |= "removals" in run.mirror.commit(page, run_id=run.id, observed_at=observed_at)
        unread = [Asked(one, associations=True) for one in sorted(winners - done.about)]
        if unread:
            _read(run, platform, unread, done)
    done.left += sorted(missing)


def _request(run: Run) -> PullRequest:
    if "request" not in run.kept:
        run.kept["request"] = request(run)
    asked: PullRequest = run.kept["request"]
    return asked


def _named(page: Page) -> set[str]:
    contacts = page.rows.get("contacts")
    named = _removed(page)
    for table in (contacts, page.echoes):
        named |= set() if table is None else set(table["contact_id"].to_pylist())
    return named


def _removed(page: Page) -> set[str]:
    removals = page.rows.get("removals")
    return set() if removals is None else set(removals["object_id"].to_pylist())


def _winners(page: Page) -> set[str]:
    removals = page.rows.get("removals")
    winners = set() if removals is None else {one for one in removals["merged_into"].to_pylist() if one}
    return winners - _named(page)


def _renew(run: Run, done: Done, ahead: Excerpt | None = None) -> None:
    """Compute those of `done.about` that have new rows, and write what differs on all of them; where nothing may
    be written, what stands on who objects to profiling is taken away all the same. `ahead`: of a webhook, an
    excerpt that looks ahead to them."""
    _table(run, _ABOUT, texts(done.about))
    if unread := lists.unread(run, writing=True):
        done.reasons += [f"{lists.why(run, *one)} Until then nothing is written." for one in unread.items()]
        _take_away(run, done)
        return
    run = run.settled()
    trained = standing(run)
    if not trained.models:
        done.reasons.append("No model fits the goal and the settings as they stand: the next sync trains one.")
        _take_away(run, done)
        return
    _table(run, _FRESH, f"select distinct contact_id from store.news where contact_id in (from {_ABOUT})")
    as_of = _instant(run)
    # values, plan and the note of the first attempts reach the disk in one go: each time takes as long as a query
    with ExitStack() as begun:
        begun.enter_context(transaction(run.mirror.connection))
        _follow_up(run, trained, as_of, done, ahead, begun)


def _follow_up(
    run: Run, trained: Trained, as_of: datetime, done: Done, ahead: Excerpt | None, begun: ExitStack
) -> None:
    """`_renew` with the models at hand, in the transaction `begun`, which ends before the platform is called."""
    with ExitStack() as alone:
        if ahead is not None:
            alone.enter_context(run.mirror.on_one_thread())
        with done.step("compute"):
            # the events of who was merged are the winner's now
            fresh = compute(run, trained, as_of, _FRESH, ahead, anew=done.moved)
            done.scored += fresh.contacts
        batch = run.at(as_of, _ABOUT)
        about = count(run.mirror.connection, _ABOUT)
        known = fresh.values if fresh.contacts == about else run.mirror.predictions(_ABOUT)
        scored = Scored(trained, _with_every_property(run, trained, known), 0)
        if scored.computed.num_rows < about:
            # somebody has nothing computed, as everybody who objects: first, to stand in nobody else's way
            begun.close()
            alone.close()
            _take_away(batch, done)
        try:
            names = passed_names(batch, scored)
        except Refused as refusal:
            done.reasons.append(str(refusal))
            return
        with done.step("plan"):
            rows = _plan(batch, scored, names, done, webhook=ahead is not None)
    if rows.num_rows:
        with done.step("write"):
            _write(batch, scored, rows, done, begun)


def _take_away(run: Run, done: Done) -> None:
    """Clear those of `done.about` that object to profiling."""
    run.kept["settled"] = False
    taken = take_away(replace(run, among=_ABOUT), done.left)
    run.kept["settled"] = True
    done.pushed.changed += taken.changed
    done.pushed.failed += taken.failed
    done.pushed.skipped += taken.skipped
    done.pushed.values += taken.values


def _with_every_property(run: Run, trained: Trained, found: pa.Table) -> pa.Table:
    """What was last computed for the contacts, with a column for every property of the models: one that nobody of
    them has is cleared where it stands."""
    for task in run.tasks():
        for name in task.names(run.settings.prefix).values() if task.key in trained.models else ():
            if name not in found.column_names:
                found = found.append_column(name, pa.nulls(found.num_rows, pa.string()))
    return found


def _table(run: Run, name: str, contacts: str) -> None:
    """A temporary table of contact ids: of a query, or of literals."""
    rows = contacts if contacts.startswith("select") else f"select unnest([{contacts}]::varchar[])"
    run.mirror.connection.execute(
        f"create or replace temp table {name} as select contact_id from ({rows}) found(contact_id) "
        "where contact_id is not null"
    )


def _instant(run: Run) -> datetime:
    """Now, or just after the last change of these contacts where the platform's clock is ahead of ours."""
    newest = first(
        run.mirror.connection,
        f"select max(read_modified_at) from store.contacts where contact_id in (from {_FRESH})",
    )
    now = present()
    if newest is None or newest[0] is None:
        return now
    latest: datetime = newest[0].replace(microsecond=0) + timedelta(seconds=1)
    return max(now, min(latest, now + _AHEAD))


@dataclass(frozen=True)
class Fresh:
    """So many contacts were computed, and what they came to: contact_id and one text column a property."""

    contacts: int
    values: pa.Table


def compute(
    run: Run, trained: Trained, as_of: datetime, among: str, ahead: Excerpt | None = None, *, anew: bool = False
) -> Fresh:
    """Compute the contacts of the table `among`, keep their values, take them off the news. `ahead`: an excerpt to
    be filled with them; `anew` as there."""
    ids = [row[0] for row in run.mirror.connection.execute(f"select contact_id from {among}").fetchall()]
    if not ids:
        return Fresh(0, decide({}))
    with ExitStack() as stack:
        excerpt = ahead or stack.enter_context(run.mirror.empty_excerpt())
        excerpt.fill(ids, naive(as_of), run.text_columns(), anew=anew)
        outputs = _outputs(run, trained, as_of, excerpt)
    versions = {key: model.version for key, model in sorted(trained.models.items())}
    versions["eligible"] = scoring_choices(run.options())
    values = decide(outputs)
    run.mirror.save_predictions(run.id, as_of, versions, values, among=among)
    return Fresh(len(ids), values)


def _outputs(
    run: Run, trained: Trained, as_of: datetime, excerpt: Excerpt
) -> dict[str, tuple[pa.Table, dict[str, str]]]:
    """What every model in use says of the contacts of an excerpt, and under which names, by task."""
    tasks = [task for task in run.tasks() if task.key in trained.models]
    with ExitStack() as stack:
        works: list[Callable[[], pa.Table]] = []
        for task in tasks:
            engine = excerpt.engine()
            stack.callback(engine.connection.close)
            context = run.context_on(engine, as_of, task.goal)
            if not works:
                # whatever the task, the same contacts may be scored
                excerpt.keep(_LIVE, may_score(context, OWN))
            context = replace(context, live=_LIVE)
            works.append(partial(task.predictor.score, context, trained.models[task.key], OWN))
        tables = excerpt.together(works)
    return {task.key: (table, task.names(run.settings.prefix)) for task, table in zip(tasks, tables, strict=True)}


def _plan(batch: Run, scored: Scored, names: list[str], done: Done, *, webhook: bool) -> pa.Table:
    """What is to be written on the contacts, as rows for the ledger; none where a cap or a person says no."""
    held = differ(batch, scored, names)
    done.pushed.held += held
    connection = batch.mirror.connection
    if batch.settings.require_approval:
        done.reasons.append(
            "Approval is awaited (require_approval): rescoring writes nothing, the next sync plans."
        )
        connection.execute("delete from planned")
    elif reasons := day.exceeded(batch, day.today(batch, batch.as_of)):
        done.reasons += [*reasons, "Rescoring writes nothing more of this; the next sync looks at it as a whole."]
        connection.execute("delete from planned")
    else:
        add_marks(batch, scored, _rescored(names) if webhook else None)
    discipline.rank(batch)
    planned = [row[0] for row in connection.execute("select distinct contact_id from planned").fetchall()]
    under_way = batch.mirror.ledger.supersede(batch.id, planned, sorted(batch.mirror.running))
    if under_way:
        connection.execute(f"delete from planned where contact_id in ({texts(under_way)})")
        done.left += under_way
    done.pushed.unchanged += max(0, stand_already(batch) - held - len(under_way))
    return planned_rows(batch, scored)


def _rescored(names: Collection[str]) -> str:
    """SQL: contacts that a webhook had computed afresh and that hold a value; a rollback's are left alone."""
    properties = ", ".join(map(literal, names)) or "null"
    return (
        f"select contact_id from desired where value is not null and property in ({properties}) "
        f"and contact_id in (from {_FRESH}) and contact_id not in "
        "(select object_id from store.holds where object = 'contact')"
    )


def _write(batch: Run, scored: Scored, rows: pa.Table, done: Done, begun: ExitStack) -> None:
    models = scored.trained.models
    versions = tuple(sorted(model.version for model in models.values()))
    keep_arms(batch)
    if batch.kept.get("installed") != versions:
        begun.close()
        ensure_installed(batch, wanted_on(batch, models))
        batch.kept["installed"] = versions
    start = batch.mirror.ledger.next_place(batch.id)
    batch.kept["settled"] = False
    batch.mirror.ledger.plan_writes(batch.id, rows)
    send(batch, done.pushed, "Rescoring", start, begun=begun)
    batch.kept["settled"] = True


def _erase(run: Run, told: Hinted, done: Done) -> dict[str, Any]:
    """Erase who asked for it; beside another job the file cannot be rewritten, so it waits: till then the person
    is suspended."""
    waiting = [one for one in told.erased if not run.mirror.erased.has_contact(one)]
    if not waiting:
        return {"erased": 0}
    if run.mirror.is_beside:
        done.left += waiting
        return {"erased": 0}
    try:
        with done.step("erase"):
            result = erase_people(run, waiting)
    except NotTaken as trouble:
        # of single people: the others and all that is to be rescored must not wait for them
        done.left += waiting
        done.reasons.append(str(trouble))
        return {"erased": 0}
    if result is not None and result["companies_off"]:
        done.reasons.append(result["companies_off"])
    if result is not None and result["proof"]["traces"]:
        places = ", ".join(sorted({trace["where"] for trace in result["proof"]["traces"]}))
        done.reasons.append(f"Traces of who was erased are left in {places}: run `leadlight erase` again.")
    for name in run.kept.keys() - {"models"}:
        del run.kept[name]
    return {"erased": len(waiting), "erasure": result}
