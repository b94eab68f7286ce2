"""Deal pipelines and stages, made from the deals that stand in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from connector.sandbox import times

#: Ids of stages that stand for a deal won are numbers, as in every pipeline but the first of an old account.
_FIRST_WON = 150_231_886


@dataclass(frozen=True)
class Stages:
    """Pipelines as served, and what a deal's stage says of it."""

    pipelines: list[dict[str, Any]]
    _ids: Mapping[tuple[str, str], str]
    _facts: Mapping[str, tuple[bool, float]]

    @property
    def ids(self) -> set[str]:
        """Ids of all stages."""
        return {stage["id"] for pipeline in self.pipelines for stage in pipeline["stages"]}

    def properties(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Pipeline, stage and what follows from them."""
        pipeline, stage = _place(row)
        id_ = self._ids[pipeline, stage]
        closed, probability = self._facts[id_]
        return {"pipeline": pipeline, "dealstage": id_, **_consequences(closed, probability)}

    def first_open(self, pipeline: str) -> dict[str, str]:
        """Stage properties of a deal that has just entered the pipeline."""
        listed = next(one["stages"] for one in self.pipelines if one["id"] == pipeline)
        stage = next(one["id"] for one in listed if one["metadata"]["isClosed"] == "false")
        return {"dealstage": stage, **_consequences(*self._facts[stage])}


def _consequences(closed: bool, probability: float) -> dict[str, str]:
    return {
        "hs_is_closed": str(closed).lower(),
        "hs_is_closed_won": str(closed and probability == 1.0).lower(),
        "hs_is_closed_lost": str(closed and probability == 0.0).lower(),
        "hs_deal_stage_probability": str(probability),
    }


def consequences(pipelines: Iterable[Mapping[str, Any]], stage_id: str) -> dict[str, str]:
    """What HubSpot sets by itself when a deal enters a stage."""
    for pipeline in pipelines:
        for stage in pipeline["stages"]:
            if stage["id"] == stage_id:
                facts = stage["metadata"]
                return _consequences(facts["isClosed"] == "true", float(facts["probability"]))
    return {}


def sales_pipelines(deals: Iterable[Mapping[str, Any]]) -> Stages:
    """The default pipeline, and every other that deals are in. Won is the stage with probability 1.0; its id is a
    number, never `closedwon`."""
    seen: dict[str, dict[str, tuple[bool, float]]] = {"default": {}}
    for row in deals:
        pipeline, stage = _place(row)
        closed, won = bool(row.get("is_closed")), bool(row.get("is_won"))
        seen.setdefault(pipeline, {})[stage] = (closed, 1.0 if won else 0.0 if closed else 0.4)
    for stages in seen.values():
        for stage, facts in (("open", (False, 0.2)), ("lost", (True, 0.0)), ("won", (True, 1.0))):
            if facts not in stages.values() and not (stage == "open" and any(not c for c, _ in stages.values())):
                stages.setdefault(stage, facts)
    return _served(seen)


def _served(seen: Mapping[str, Mapping[str, tuple[bool, float]]]) -> Stages:
    ids: dict[tuple[str, str], str] = {}
    facts: dict[str, tuple[bool, float]] = {}
    pipelines, next_won = [], _FIRST_WON
    for place, (pipeline, stages) in enumerate(seen.items()):
        listed: list[dict[str, Any]] = []
        for stage, (closed, probability) in sorted(stages.items(), key=lambda one: (one[1], one[0])):
            next_won += probability == 1.0
            id_ = str(next_won) if probability == 1.0 else stage if place == 0 else f"{pipeline}_{stage}"
            ids[pipeline, stage], facts[id_] = id_, (closed, probability)
            listed.append(_stage(id_, stage, len(listed), closed, probability))
        pipelines.append(_pipeline(pipeline, place, listed))
    return Stages(pipelines, ids, facts)


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
    won, closed = row.get("is_won"), row.get("is_closed")
    return str(row.get("pipeline") or "default"), str(
        row.get("stage") or ("won" if won else "lost" if closed else "open")
    )


def _stage(id_: str, label: str, order: int, closed: bool, probability: float) -> dict[str, Any]:
    return {
        "id": id_,
        "label": label.replace("_", " ").capitalize(),
        "displayOrder": order,
        # Both are texts, whatever they look like.
        "metadata": {"isClosed": str(closed).lower(), "probability": str(probability)},
        "archived": False,
        "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
        "createdAt": times.iso(0),
        "updatedAt": times.iso(0),
    }


def _pipeline(id_: str, order: int, stages: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": id_,
        "label": "Sales" if id_ == "default" else id_,
        "displayOrder": order,
        "archived": False,
        "stages": stages,
        "createdAt": times.iso(0),
        "updatedAt": times.iso(0),
    }
