"""`make bench`: how long each stage takes, on a made-up market, as ratios that travel between machines.

The yardstick is a fixed piece of numpy work timed in the same run: a stage of `units` 40 takes forty times as
long, on any machine. Quote units, or the ratio of two runs side by side, never seconds.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from connector.mirror import Mirror
from connector.mirror.excerpt import OWN
from connector.platform import Account
from scoring.engine import DuckEngine
from scoring.features.build import build
from scoring.goals import Goal
from scoring.predictors import PREDICTORS
from scoring.predictors.base import Context, Model
from scoring.snapshots import eligible, labelled
from scoring.synthetic.market import market
from scoring.tables import schema
from tests.benchmarks import reasons, rescoring

UNTIL = datetime(2026, 6, 30)
#: Contacts of a rescoring.
BATCH = 100


def yardstick() -> float:
    """Seconds for sorting two million numbers, the best of three."""
    numbers = np.random.default_rng(0).random(2_000_000)
    return min(timed(lambda: np.sort(numbers))[0] for _ in range(3))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(contacts: int, seed: int) -> dict[str, Any]:
    unit = yardstick()
    report: dict[str, Any] = {"contacts": contacts, "yardstick_seconds": round(unit, 4)}

    def stage(name: str, work: Callable[[], Any], rows: int | None = None) -> Any:
        seconds, result = timed(work)
        report[name] = {"units": round(seconds / unit, 1), "seconds": round(seconds, 2)}
        if rows is not None:
            report[name]["rows_per_second"] = round(rows / seconds)
        sys.stderr.write(f"{name}: {report[name]}\n")
        return result

    made = stage("market", lambda: market(contacts, seed, UNTIL))
    engine = DuckEngine.in_memory(made.tables)
    context = Context(engine, UNTIL, Goal(event="deal_won"))
    report["events"] = made.tables["events"].num_rows
    snapshots = stage("labelled", lambda: labelled(context, "bench_labelled"))
    stage("features_to_train", lambda: build(context, "bench_labelled", "bench_training"), snapshots.rows)
    scored = eligible(context, "bench_eligible")
    stage("features_to_score", lambda: build(context, "bench_eligible", "bench_scoring"), scored)
    models: dict[str, Model] = {}
    for predictor in PREDICTORS:
        model = stage(f"{predictor.name}_train", lambda one=predictor: one.train(context))
        table: pa.Table = stage(
            f"{predictor.name}_score", lambda one=predictor, fit=model: one.score(context, fit), contacts
        )
        report[f"{predictor.name}_score"]["contacts"] = table.num_rows
        models[predictor.name] = model
    rescored(made.tables, models, report, stage)
    wire = rescoring.rounds(contacts, seed, BATCH, models)
    report["rescoring_over_the_wire"] = {
        "contacts": BATCH,
        "of": contacts,
        "units": round(wire["seconds"] / unit, 1),
        "processor_units": round(wire["processor_seconds"] / unit, 1),
        **wire,
    }
    sys.stderr.write(f"rescoring_over_the_wire: {report['rescoring_over_the_wire']}\n")
    for name, rows, work in reasons.cases(seed):
        stage(name, work, rows)
    return report


def rescored(
    tables: Mapping[str, pa.Table], models: Mapping[str, Model], report: dict[str, Any], stage: Callable[..., Any]
) -> None:
    """What a hundred contacts cost by themselves, in a mirror of all of them, beside all of them at once."""
    with tempfile.TemporaryDirectory() as folder, Mirror.open(Path(folder), Account("bench", "1")) as mirror:
        for table, rows in tables.items():
            mirror.connection.register("made", rows.select(schema(table).names))
            mirror.connection.execute(
                f"insert into store.{table} by name select *{_STORED.get(table, '')} from made"
            )
        ids = tables["contacts"]["contact_id"].to_pylist()[:: max(1, len(tables["contacts"]) // BATCH)][:BATCH]
        excerpt = stage("rescore_excerpt", lambda: mirror.excerpt(ids, UNTIL), len(ids))
        context = Context(excerpt.engine(), UNTIL, Goal(event="deal_won"))
        for predictor in PREDICTORS:
            model = models[predictor.name]
            stage(
                f"rescore_{predictor.name}", lambda one=predictor, fit=model: one.score(context, fit, OWN), BATCH
            )
        excerpt.close()
    batch = sum(report[name]["seconds"] for name in report if name.startswith("rescore_"))
    whole = sum(report[f"{predictor.name}_score"]["seconds"] for predictor in PREDICTORS)
    report["rescoring_a_batch"] = {"contacts": BATCH, "of_scoring_everyone": round(batch / whole, 3)}


#: What storage asks for beside canonical columns.
_SEEN = ", timestamp '2026-01-01' as first_seen_at, timestamp '2026-01-01' as seen_at"
_STORED = {
    **dict.fromkeys(("contacts", "companies", "deals"), _SEEN),
    "property_definitions": ", timestamp '2026-01-01' as known_since",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--contacts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.stdout.write(json.dumps(measure(given.contacts, given.seed), indent=1) + "\n")


if __name__ == "__main__":
    main()
