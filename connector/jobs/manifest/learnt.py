"""What a project needs to know of the models in use: their goal, the properties they look at, the segments."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from connector.errors import StateHeld
from connector.jobs.eligibility import needed_properties
from connector.jobs.run import Run
from connector.jobs.stored import Deputy, Offline, nobody, open_stored
from connector.platform import Platform
from connector.progress import silent
from connector.settings import Settings
from manifests import Property
from scoring.goals import LIFECYCLE_PROPERTIES, Goal
from scoring.predictors.base import Model
from scoring.versions import model_store

_COMPANY = "company."


@dataclass(frozen=True)
class Learnt:
    """Empty before the first training."""

    goal: str | None = None
    horizon_days: int | None = None
    models: tuple[str, ...] = ()
    #: contact, company -> names of the properties that models, goals, filters and consent look at.
    properties: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: Whether a change of a deal can change a prediction.
    deals: bool = False
    #: id -> (name, description)
    segments: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        properties = {name: sorted(given) for name, given in self.properties.items()}
        return {**vars(self), "properties": properties}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Learnt":
        return cls(
            given["goal"],
            given["horizon_days"],
            tuple(given["models"]),
            {name: frozenset(names) for name, names in given["properties"].items()},
            given["deals"],
            {key: (name, description) for key, (name, description) in given["segments"].items()},
        )


def learnt(settings: Settings, deputy: Deputy = nobody) -> Learnt:
    """Read the models in use from the account's state, or have whoever holds it do so. Raises StateMismatch where
    several accounts are there and none is named, ModelMismatch for a model of another program version."""
    if not any(settings.state_dir.glob(f"{settings.platform}-*")):
        return Learnt()
    try:
        with open_stored(settings, "manifest") as run:
            return look_up(run)
    except StateHeld as held:
        return Learnt.from_json(deputy(held, "manifest"))


def look_up(run: Run) -> Learnt:
    """The same, of a state that is open."""
    names: dict[str, set[str]] = {"contact": set(needed_properties(run.settings)), "company": set()}
    found, models, deals = Learnt(), [], False
    for task in run.tasks():
        model = model_store.load(run.models, task.goal.name, task.predictor.name)
        if model is None:
            continue
        models.append(model.version)
        if task.predictor.name == "lead_score":
            deals = _look(model, task.goal, names) or deals
        if task.predictor.name == "segments":
            found = replace(found, segments=_segments(model.meta))
        if task.predictor.name == "lead_score" and task.goal.name == "default":
            horizon = task.goal.horizon_days if task.goal.in_time else None
            found = replace(found, goal=task.goal.words, horizon_days=horizon)
    properties = {name: frozenset(given) for name, given in names.items()} if models else {}
    return replace(found, models=tuple(models), properties=properties, deals=deals)


def _look(model: Model, goal: Goal, names: dict[str, set[str]]) -> bool:
    """Add what a lead score and its goal look at; whether deals are among it."""
    deals = goal.event == "deal_won"
    for feature in json.loads(model.files["coding.json"])["features"]:
        given = feature["property"]
        if given is None:
            deals = deals or feature["group"].endswith(" deals")
        elif given.startswith(_COMPANY):
            names["company"].add(given.removeprefix(_COMPANY))
        else:
            names["contact"].add(given)
    if goal.column is not None:
        names["contact"].add(goal.column)
    if goal.event == "lifecycle_stage":
        names["contact"].add(LIFECYCLE_PROPERTIES[0])
    return deals


def _segments(meta: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    told = meta.get("descriptions", {})
    return {str(key): (str(name), str(told.get(key, ""))) for key, name in meta["options"]}


def our_properties(settings: Settings) -> list[Property]:
    """Everything that we write on this account, under its names there; no mirror is needed."""
    platform = cast(Platform, Offline(str(settings.platform), None))
    run = Run("", "manifest", settings, platform, None, None, time.monotonic(), silent)  # type: ignore[arg-type]
    return [*run.properties(), *run.properties("company")]
