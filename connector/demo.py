"""The demo: a made-up market behind a pretend HubSpot on this machine, and the whole job on it, twice."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from pydantic import SecretStr

from connector import console, console_figures
from connector.errors import Bug
from connector.jobs.run import Run, open_run
from connector.jobs.sync import sync
from connector.jobs.train import standing_model
from connector.progress import Progress
from connector.settings import Settings


def demo(*, contacts: int, seed: int, progress: Progress) -> dict[str, Any]:
    """JSON of `leadlight demo`: {"first": <sync>, "second": <sync>, "evaluate": <evaluate>}. Leaves no files."""
    console.say(f"A made-up market of {contacts:,} contacts behind a pretend HubSpot, over real HTTP.")
    with (
        tempfile.TemporaryDirectory(prefix="leadlight-demo-") as folder,
        _pretend_hubspot(contacts, seed) as ready,
    ):
        settings = Settings.model_construct(
            platform="hubspot",
            hubspot_base_url=ready["base_url"],
            hubspot_token=SecretStr(ready["token"]),
            state_dir=Path(folder),
        )
        with open_run(settings, "sync", progress=progress) as run:
            first = sync(run)
            run.done(first)
            figures = _figures(run)
            console.heading("What was done")
            console.synced(first)
            console.heading("Can it be trusted? Measured on data the models had not seen")
            console_figures.evaluation(figures)
            console.heading("The ten best leads")
            console.leads(_best(run))
            console.heading("Best hour to send, in each contact's own time")
            console.hours(_hours(run))
            as_of = run.as_of
        console.heading("The same sync again")
        with open_run(settings, "sync", as_of=as_of, progress=progress) as run:
            second = sync(run)
            run.done(second)
            console.synced(second)
    console.say("Connect your own account: the README's five steps.")
    return {"first": first, "second": second, "evaluate": figures}


@contextmanager
def _pretend_hubspot(contacts: int, seed: int) -> Iterator[dict[str, Any]]:
    """A sandbox in a process of its own, as an account elsewhere would be; its ready line."""
    command = [sys.executable, "-c", "from connector.cli import main; main()", "sandbox", "hubspot", "--port", "0"]
    # a made-up account need not make a newcomer wait for a real account's burst limit
    command += ["--contacts", str(contacts), "--seed", str(seed), "--rate", "2000/10s", "--search-lag", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own command
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line:
                raise Bug("The sandbox did not start; its own message stands above.")
            yield json.loads(line)
        finally:
            process.terminate()


def _figures(run: Run) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for task in run.tasks():
        model = standing_model(run, task)
        if model is not None:
            figures[task.key] = {"ran": True, "goal": task.goal.words, **model.meta["evaluation"]}
    return figures


def _best(run: Run) -> list[dict[str, Any]]:
    """The ten most probable conversions, under the addresses that the made-up market gave them."""
    computed = run.mirror.predictions()
    if "leadlight_score" not in computed.column_names:
        return []
    engine = run.engine()
    engine.put("_demo_leads", computed)
    rows: list[dict[str, Any]] = engine.fetch("""
        select coalesce(email, contact_id) as name, leadlight_score, leadlight_grade,
               leadlight_probability, leadlight_reasons
        from _demo_leads join contacts using (contact_id)
        where leadlight_score is not null
        order by cast(leadlight_probability as double) desc, contact_id limit 10
    """).to_pylist()
    return rows


def _counts(run: Run, name: str) -> dict[str, int]:
    computed = run.mirror.predictions()
    if name not in computed.column_names:
        return {}
    pairs = pc.value_counts(computed[name].drop_null()).to_pylist()
    return {pair["values"]: pair["counts"] for pair in pairs}


def _hours(run: Run) -> dict[int, int]:
    return {int(value): count for value, count in _counts(run, "leadlight_send_hour").items()}
