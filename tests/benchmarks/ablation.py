"""`python -m tests.benchmarks.ablation [--mapping FILE]`: what each family of features is worth to the lead score.

Each family is left out in turn and the glass box fitted again on the rows that teach; the loss in AUC and in log
loss is taken on the rows that test, with a paired interval over people. What is worth nothing on one set may be
worth something on another: a family is dropped when it is worth nothing anywhere.
"""

import argparse
import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from scoring.engine import DuckEngine
from scoring.features.build import Feature
from scoring.goals import Goal
from scoring.learning import evaluation, training
from scoring.learning.coding import Coding, Floats
from scoring.predictors.base import Context, Options
from scoring.snapshots import labelled
from scoring.synthetic.market import market

UNTIL = datetime(2026, 6, 30)


def family(feature: Feature) -> str:
    """What job titles tell, what is decayed, CRM properties, or what a computed feature's group is."""
    if feature.name.endswith(("@seniority", "@department")):
        return "job titles"
    if feature.name.endswith("_decayed"):
        return "decay"
    return "CRM properties" if feature.property is not None else feature.group


def ablation(context: Context, only: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """The whole model first, then each family left out (or only those named), the dearest first."""
    rows = training.read(context, labelled(context))
    ready = training.prepare(context, rows)
    split, teach, test = training.held_out(rows)
    outcome = rows.outcome[test]
    people = np.unique(rows.people[test], return_inverse=True)[1].ravel()
    whole = _probabilities(context, ready.coding, ready, rows, teach, test, [])
    yield {"split": split, "rows": len(rows), "positives": int(rows.outcome.sum()), "auc": _auc(whole, outcome)}
    families: dict[str, list[int]] = {}
    for at, feature in enumerate(ready.coding.features):
        families.setdefault(family(feature), []).append(at)
    found = []
    for name, members in families.items():
        if only and name not in only:
            continue
        less = _probabilities(context, ready.coding, ready, rows, teach, test, members)
        report = evaluation.measure(whole, outcome, people, {"less": less}, context.options.seed)
        losses = evaluation.losses(less, outcome) - evaluation.losses(whole, outcome)
        gain = report.gains["less"].to_json()
        found.append(
            {
                "family": name,
                "features": len(members),
                "auc_lost": gain,
                "log_loss": round(float(losses.mean()), 5),
            }
        )
    yield from sorted(found, key=lambda one: -one["auc_lost"]["value"])


def _auc(probabilities: Floats, outcome: Floats) -> float:
    return round(evaluation.auc(probabilities, outcome), 4)


def _probabilities(
    context: Context, coding: Coding, ready: Any, rows: Any, teach: Any, test: Any, out: list[int]
) -> Floats:
    less = coding.without([coding.features[at].name for at in out])
    sample = ready.sample.without(out)
    fitted = training.fit_kind(sample.where(teach), less, context, "glass_box")
    return fitted.probabilities(sample.values[test], rows.fold[test])


def from_mapping(path: Path, goal: Goal) -> Context:
    """The files of a mapping, pulled into a mirror of their own."""
    import tempfile

    from connector.jobs.pull import pull
    from connector.jobs.run import open_run
    from connector.settings import Settings

    folder = Path(tempfile.mkdtemp(prefix="ablation"))
    settings = Settings(platform="files", mapping=path, state_dir=folder)
    with open_run(settings, "pull") as run:
        pull(run)
        tables = {
            name: run.engine().fetch(f"select * from {name}") for name in ("contacts", "events", "purchases")
        }
        until = run.as_of
    return Context(DuckEngine.in_memory(tables), until, goal)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ablation", description=__doc__)
    parser.add_argument("--contacts", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mapping", type=Path, default=None, help="files instead of the made-up market")
    parser.add_argument("--horizon", type=int, default=90)
    parser.add_argument("--event", default=None, help="the goal; a further purchase for files, else a deal won")
    parser.add_argument("--only", action="append", default=[], help="a family to leave out; all by default")
    parser.add_argument("--exclude", action="append", default=[], help="a property that nobody knows of")
    given = parser.parse_args()
    if given.mapping is not None:
        context = from_mapping(given.mapping, Goal(event=given.event or "purchase", horizon_days=given.horizon))
    else:
        engine = DuckEngine.in_memory(market(given.contacts, given.seed, UNTIL).tables)
        context = Context(engine, UNTIL, Goal(event=given.event or "deal_won", horizon_days=given.horizon))
    context = replace(context, options=Options(excluded=frozenset(given.exclude)))
    for line in ablation(context, given.only):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
