"""`make bench`: how long each stage takes, on a made-up market, as ratios that travel between machines.

The yardstick is a fixed piece of numpy work timed in the same run: a stage of `units` 40 takes forty times as
long, on any machine. Quote units, or the ratio of two runs side by side, never seconds.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from scoring.engine import DuckEngine
from scoring.features.build import build
from scoring.goals import Goal
from scoring.predictors import PREDICTORS
from scoring.predictors.base import Context
from scoring.snapshots import eligible, labelled
from scoring.synthetic.market import market
from tests.benchmarks import reasons

UNTIL = datetime(2026, 6, 30)


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
    for predictor in PREDICTORS:
        model = stage(f"{predictor.name}_train", lambda one=predictor: one.train(context))
        table: pa.Table = stage(
            f"{predictor.name}_score", lambda one=predictor, fit=model: one.score(context, fit), contacts
        )
        report[f"{predictor.name}_score"]["contacts"] = table.num_rows
    for name, rows, work in reasons.cases(seed):
        stage(name, work, rows)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--contacts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.stdout.write(json.dumps(measure(given.contacts, given.seed), indent=1) + "\n")


if __name__ == "__main__":
    main()
