"""Score: compute what should stand on every contact, with the models in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connector.jobs.eligibility import scoring_choices
from connector.jobs.run import Run, Task
from connector.jobs.train import Trained, train
from connector.mirror.sql import now
from scoring.decisions import decide
from scoring.predictors.base import Model


@dataclass
class Scored:
    """What was computed: `computed` has contact_id and one text column a property, all predictors that ran,
    those that a gate refuses too."""

    trained: Trained
    computed: pa.Table
    #: Contacts that were computed afresh in this run.
    contacts: int


def score(run: Run, *, everyone: bool = False) -> Scored:
    """Train where no model stands, then compute.

    Time alone is news once per UTC day: on the same day, with the same models, only contacts with new rows are
    computed afresh and all others keep their values.
    """
    began = now()
    with run.aside():
        trained = train(run, only_missing=True)
        versions = {key: model.version for key, model in sorted(trained.models.items())}
        versions["eligible"] = scoring_choices(run.options())
        day = run.as_of.date()
        news_only = not everyone and run.mirror.scored_day() == (day, versions)
        run.news = run.mirror.news_table()
        fresh = decide(_outputs(run, trained, run.news if news_only else None))
    run.mirror.save_predictions(run.id, run.as_of, versions, fresh, whole=not news_only, since=began)
    return Scored(trained, run.mirror.predictions(), _with_values(fresh))


def _outputs(run: Run, trained: Trained, only: str | None) -> dict[str, tuple[pa.Table, dict[str, str]]]:
    """By task key, what its predictor computes and the names that its properties have on the record."""
    outputs = {}
    for task in run.tasks():
        model = trained.models.get(task.key)
        if model is None:
            continue
        run.progress(f"Scoring {task.predictor.name.replace('_', ' ')}", 0, None)
        table = task.predictor.score(run.context(task.goal), model, only)
        outputs[task.key] = (table, task.names(run.settings.prefix))
    return outputs


def typed(run: Run, table: pa.Table, marks: Mapping[str, str]) -> pa.Table:
    """Computed values as their types in the manifest say, for a file that people calculate with: numbers as
    DOUBLE, booleans as BOOLEAN, the rest as texts; with the models and the instant that they come from."""
    kinds = {entry.name: _ARROW[entry.type] for entry in run.all_properties() if entry.type in _ARROW}
    for place, name in enumerate(table.column_names):
        if name in kinds:
            table = table.set_column(place, name, pc.cast(table[name], kinds[name]))
    for name, text in marks.items():
        table = table.append_column(name, pa.array([text] * table.num_rows, pa.string()))
    return table


def marks_of(run: Run, trained: Trained) -> dict[str, str]:
    """Which models values come from, and as of when: the properties that go along with every other one."""
    versions = "; ".join(model.version for _, model in sorted(trained.models.items()))
    return {f"{run.prefix}_model": versions, f"{run.prefix}_scored_at": f"{run.as_of:%Y-%m-%dT%H:%M:%SZ}"}


_ARROW = {"number": pa.float64(), "boolean": pa.bool_()}


def _with_values(table: pa.Table) -> int:
    values = [table[name] for name in table.column_names if name != "contact_id"]
    if not values:
        return 0
    return int(pc.sum(pc.is_valid(pc.coalesce(*values))).as_py() or 0)


def property_options(task: Task, models: Mapping[str, Model]) -> tuple[tuple[str, str], ...]:
    """Options that a model brings for its enumeration (segments: id and name)."""
    model = models.get(task.key)
    options: Any = () if model is None else model.meta.get("options", ())
    return tuple((str(value), str(label)) for value, label in options)
