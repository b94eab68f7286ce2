"""What one rescoring costs from hints to written properties, on a pretend HubSpot whose calls take 20 ms each."""

import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector.jobs.pull import request
from connector.jobs.rescore import rescore
from connector.jobs.run import Run, goal_json, run_on
from connector.jobs.train import _choices
from connector.mirror import Mirror
from connector.platform import Hint, Page
from connector.registry import connect
from connector.sandbox import Rate, Sandbox, SandboxOptions
from connector.sandbox.contents import contents
from connector.sandbox.hubspot.ids import ids_of
from connector.sandbox.hubspot.state import CRM_UI
from connector.sandbox.times import now_ms
from connector.settings import Settings
from scoring.predictors.base import Model
from scoring.versions import model_store

#: Streams that are pulled over the wire; events, many times as many, are put in as they are.
_PULLED = ("properties", "contacts", "companies", "deals")
LATENCY_MS, ROUNDS = 20.0, 5


def rounds(contacts: int, seed: int, batch: int, models: Mapping[str, Model]) -> dict[str, Any]:
    """Seconds of wall clock and of processor for a batch (the pretend account's work is among them), medians after
    one to warm up; milliseconds by step.

    `models`, by predictor, are put in use whatever their gates say.
    """
    options = SandboxOptions(contacts=contacts, seed=seed, search_lag=0.0, rate=Rate(1_000_000, 10.0))
    tables = contents(options, now_ms()).tables
    with ExitStack() as stack:
        box = stack.enter_context(Sandbox(options))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = Settings(
            platform="hubspot",
            hubspot_base_url=box.base_url,
            hubspot_token=box.token,  # type: ignore[arg-type]
            state_dir=folder,
            max_grade_moves=1.0,
        )
        platform = connect(settings)
        stack.callback(platform.close)
        mirror = stack.enter_context(Mirror.open(folder / "state", platform.account()))
        run = stack.enter_context(run_on(platform, mirror, settings, "rescore"))
        _fill(run, tables)
        _put_in_use(run, models)
        box.host.latency_ms = LATENCY_MS
        result = _measured(box, run, batch, random.Random(seed))
        run.done({})
        return result


def _fill(run: Run, tables: Mapping[str, pa.Table]) -> None:
    for page in run.platform.pull(run.mirror.known, request(run)):
        if isinstance(page, Page) and page.stream in _PULLED:
            run.mirror.commit(page, run_id=run.id, observed_at=datetime.now(UTC))
        elif isinstance(page, Page) and page.stream == "email_events":
            break
    ids = ids_of(tables["contacts"]["contact_id"].to_pylist())
    connection = run.mirror.connection
    named = pa.table({"theirs": list(ids), "contact_id": [str(number) for number in ids.values()]})
    connection.register("named", named)
    connection.register("made", tables["events"].drop_columns(["company_id"]))
    connection.execute(
        "insert into store.events by name select made.* replace (named.contact_id as contact_id) "
        "from made join named on named.theirs = made.contact_id order by occurred_at"
    )
    run.mirror.weigh_events()
    connection.execute("delete from store.news")


def _put_in_use(run: Run, models: Mapping[str, Model]) -> None:
    for task in run.tasks():
        model = models[task.predictor.name]
        meta = {
            **model.meta,
            "evaluation": {**model.meta["evaluation"], "passed": True},
            "goal": goal_json(task.goal),
            "choices": _choices(run),
        }
        version = model_store.version_of(model.predictor, run.as_of, meta, model.files)
        model_store.save(run.models, replace(model, meta=meta, version=version))


def _measured(box: Sandbox, run: Run, batch: int, chance: random.Random) -> dict[str, Any]:
    everyone = [row[0] for row in run.mirror.connection.execute(run.mirror.live_contacts_sql).fetchall()]
    took: list[dict[str, float]] = []
    for number in range(ROUNDS + 1):
        chosen = chance.sample(sorted(everyone), min(batch, len(everyone)))
        box.host.latency_ms = 0.0
        for one in chosen:
            box.state.contacts.write(box.state.contacts.records[int(one)], {"jobtitle": f"round {number}"}, CRM_UI)
        box.host.latency_ms = LATENCY_MS
        hints = [Hint("contact", one, "changed", datetime.now(UTC).replace(tzinfo=None), one) for one in chosen]
        wall, processor = time.perf_counter(), time.process_time()
        result = rescore(run, hints)
        took.append(
            {
                "seconds": time.perf_counter() - wall,
                "processor_seconds": time.process_time() - processor,
                **result["milliseconds"],
            }
        )
        if result["changed"] < len(chosen) // 2:
            raise RuntimeError(f"Only {result['changed']} of {len(chosen)} contacts were written: {result}")
    return {name: round(statistics.median(one[name] for one in took[1:]), 3) for name in took[0]}
