"""What `measure` counts: arms, moments and windows on a made mirror, by a second, dumber count."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from connector.jobs.measure import measure
from connector.jobs.run import Run, silent
from connector.jobs.score import Scored
from connector.jobs.shadow import shadow_report
from connector.jobs.withhold import keep_arms, withhold
from connector.mirror import Mirror
from connector.platform import Platform
from connector.settings import Settings
from scoring.holdout import Arm, always_valid_quantile, difference, fixed_quantile, lift
from tests.connector.mirrored import commit, contact, definition, event, fetch, opened, page

START = datetime.fromisoformat("2026-03-02T08:00:00")
DAY = timedelta(days=1)
GOAL = {"event": "event:form_submit", "horizon_days": 30}
IDS = [str(number) for number in range(1, 1201)]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with opened(tmp_path) as mirror:
        old = START - 60 * DAY
        commit(mirror, old, contacts=[contact(key, created_at=old) for key in IDS])
        yield mirror


def at(mirror: Mirror, as_of: datetime, **settings: Any) -> Run:
    """A run of an account whose settings hold a fifth out, unless given otherwise."""
    chosen = Settings(**{"goal": GOAL, "holdout": {"share": 0.2}, **settings})
    platform = cast(Platform, SimpleNamespace(name="hubspot"))
    return Run("run", "test", chosen, platform, mirror, as_of, 0.0, silent)


def pushed(run: Run, grades: dict[str, str], probability: float = 0.1) -> dict[tuple[str, str], str | None]:
    """Decide what would stand, keep the arms, and return it by contact and property."""
    table = pa.table(
        {
            "contact_id": list(grades),
            "leadlight_score": ["60"] * len(grades),
            "leadlight_grade": list(grades.values()),
            "leadlight_probability": [str(probability)] * len(grades),
        }
    )
    run.mirror.save_predictions(run.id, run.as_of, {}, table, whole=True)
    run.mirror.connection.register("given", table)
    run.mirror.connection.execute(
        "create or replace temp table desired as select * from "
        "given unpivot (value for property in (leadlight_score, leadlight_grade, leadlight_probability))"
    )
    run.mirror.connection.unregister("given")
    scored = cast(Scored, SimpleNamespace(computed=table))
    withhold(run, scored)
    keep_arms(run)
    return {(key, name): value for key, name, value in fetch(run.mirror, "select * from desired")}


def arms(mirror: Mirror) -> dict[str, str]:
    return dict(fetch(mirror, "select contact_id, arm from store.holdout where ended_at is null"))


def submits(mirror: Mirror, times: dict[str, datetime], **more: Any) -> None:
    given = [event(f"e{key}", key, moment, kind="form_submit", **more) for key, moment in times.items()]
    mirror.commit(page("events", events=given), run_id="run", observed_at=START + 90 * DAY)


def graded(step: int = 2) -> dict[str, str]:
    return {key: "A" if int(key) % step == 0 else "C" for key in IDS}


def experiment(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = measure(run)["predictions"]["lead_score"]["experiment"]
    return found


def test_only_windows_that_are_over_count_and_only_what_happened_in_them(mirror: Mirror) -> None:
    pushed(at(mirror, START), graded())
    drawn = arms(mirror)
    acting = [key for key in IDS if int(key) % 2 == 0]
    early, on_the_edge, too_late = acting[:100], acting[100:150], acting[150:200]
    before, by_machine = acting[200:240], acting[240:280]
    submits(
        mirror,
        {
            **dict.fromkeys(early, START + 3 * DAY),
            **dict.fromkeys(on_the_edge, START + 30 * DAY),
            **dict.fromkeys(too_late, START + 30 * DAY + timedelta(seconds=1)),
            **dict.fromkeys(before, START),
            **dict.fromkeys([key for key in IDS if int(key) % 2], START + DAY),
        },
    )
    submits(mirror, dict.fromkeys(by_machine, START + DAY), human=0.1)

    almost = experiment(at(mirror, START + 30 * DAY - timedelta(seconds=1)))
    assert almost["rest"]["contacts"] == almost["holdout"]["contacts"] == 0
    assert sum(almost["waiting"].values()) == len(acting)
    assert almost["verdict"].startswith("Too early")

    found = experiment(at(mirror, START + 40 * DAY))
    counted = {*early, *on_the_edge}
    for arm in ("rest", "holdout"):
        inside = [key for key in acting if drawn[key] == arm]
        assert found[arm]["contacts"] == found["acted_on"][arm] == len(inside)
        assert found[arm]["outcomes"] == len(counted & set(inside))
    rest = Arm(found["rest"]["contacts"], found["rest"]["outcomes"])
    holdout = Arm(found["holdout"]["contacts"], found["holdout"]["outcomes"])
    [(planned,)] = fetch(mirror, "select contacts from store.holdout_plans")
    quantile = always_valid_quantile(len(acting), planned)
    assert found["lift"] == lift(rest, holdout, quantile).to_json()
    assert found["difference"] == difference(rest, holdout, quantile).to_json()
    assert found["may_look"] == {"any_time": True, "planned": False}
    assert found["sample_ratio"]["ok"] is True
    assert found["assigned"]["rest"] + found["assigned"]["holdout"] == len(IDS)


def test_a_contact_is_counted_from_its_first_acting_grade(mirror: Mirror) -> None:
    pushed(at(mirror, START), dict.fromkeys(IDS, "C"))
    later = START + 10 * DAY
    pushed(at(mirror, later), {**dict.fromkeys(IDS, "C"), **dict.fromkeys(IDS[:300], "B")})
    pushed(at(mirror, later + DAY), dict.fromkeys(IDS, "D"))
    submits(mirror, {**dict.fromkeys(IDS[:20], START + 5 * DAY), **dict.fromkeys(IDS[20:50], later + 29 * DAY)})
    found = experiment(at(mirror, START + 32 * DAY))
    assert sum(found["waiting"].values()) == 300
    found = experiment(at(mirror, later + 30 * DAY))
    assert found["rest"]["contacts"] + found["holdout"]["contacts"] == 300
    assert found["rest"]["outcomes"] + found["holdout"]["outcomes"] == 30


def test_arms_stick_whatever_the_share_and_newcomers_are_drawn(mirror: Mirror) -> None:
    some = dict.fromkeys(IDS[:400], "A")
    pushed(at(mirror, START), some)
    first = arms(mirror)
    desired = pushed(at(mirror, START + DAY, holdout={"share": 0.5}), graded())
    second = arms(mirror)
    flags = {key: "true" if arm == "holdout" else "false" for key, arm in second.items()}
    assert {key: value for (key, name), value in desired.items() if name == "leadlight_holdout"} == flags
    assert {key: second[key] for key in first} == first
    newcomers = [second[key] for key in IDS[400:]]
    assert abs(newcomers.count("holdout") - 400) < 60
    found = experiment(at(mirror, START + 2 * DAY, holdout={"share": 0.5, "act_on": ["A", "B", "C", "D"]}))
    assert found["sample_ratio"]["expected_share"] == pytest.approx((400 * 0.2 + 800 * 0.5) / 1200)
    assert found["sample_ratio"]["ok"] is True


def test_an_experiment_that_was_switched_off_ends_and_one_after_it_starts_anew(mirror: Mirror) -> None:
    pushed(at(mirror, START), graded(1))
    drawn = arms(mirror)
    ended = START + 10 * DAY
    desired = pushed(at(mirror, ended, holdout=None), graded(1))
    assert {value for (_, name), value in desired.items() if name == "leadlight_holdout"} == {None}
    assert {value for (_, name), value in desired.items() if name == "leadlight_grade"} == {"A"}
    submits(mirror, dict.fromkeys(IDS[:100], ended + DAY))
    over = experiment(at(mirror, START + 50 * DAY, holdout=None))
    assert over["ended"] == f"{ended:%Y-%m-%dT%H:%M:%SZ}"
    # its windows reach beyond its end: nobody's days were spent in it
    assert sum(over["waiting"].values()) == len(IDS)

    again = START + 20 * DAY
    pushed(at(mirror, again), graded(1))
    assert arms(mirror) == drawn
    assert sum(experiment(at(mirror, START + 40 * DAY))["waiting"].values()) == len(IDS)
    found = experiment(at(mirror, again + 30 * DAY))
    assert found["rest"]["contacts"] + found["holdout"]["contacts"] == len(IDS)
    assert found["rest"]["outcomes"] + found["holdout"]["outcomes"] == 0


def test_what_would_have_stood_is_kept(mirror: Mirror) -> None:
    desired = pushed(at(mirror, START), graded())
    for key, arm in arms(mirror).items():
        given = {name: desired[key, f"leadlight_{name}"] for name in ("score", "grade", "holdout")}
        grade = graded()[key]
        assert given == (
            {"score": None, "grade": None, "holdout": "true"}
            if arm == "holdout"
            else {"score": "60", "grade": grade, "holdout": "false"}
        )
    kept = fetch(mirror, "select contact_id, score, grade, assigned_at from store.holdout order by contact_id")
    assert kept == [(key, 60.0, graded()[key], START) for key in sorted(IDS)]


def test_arms_that_lose_contacts_are_reported(mirror: Mirror) -> None:
    pushed(at(mirror, START), graded(1))
    lost = [key for key, arm in arms(mirror).items() if arm == "holdout"][:80]
    gone = [{"object": "contact", "object_id": key, "deleted_at": START + DAY} for key in lost]
    mirror.commit(page("gone", removals=gone), run_id="run", observed_at=START + DAY)
    submits(mirror, dict.fromkeys(IDS[::10], START + DAY))
    found = experiment(at(mirror, START + 40 * DAY))
    assert found["sample_ratio"]["ok"] is False
    assert "cannot be trusted" in found["verdict"]


def test_the_planned_look_is_one_look(mirror: Mirror) -> None:
    """At a base rate of a half and a lift of 0.9 few contacts suffice; later ones don't change that look."""
    wanted = {"holdout": {"share": 0.2, "lift": 0.9}}
    pushed(at(mirror, START, **wanted), dict.fromkeys(IDS[:400], "A"), probability=0.5)
    pushed(at(mirror, START + 5 * DAY, **wanted), dict.fromkeys(IDS, "A"), probability=0.5)
    drawn = arms(mirror)
    submits(mirror, {key: START + 6 * DAY for key in IDS if int(key) % 3 == 0 or drawn[key] == "rest"})
    [(planned,)] = fetch(mirror, "select contacts from store.holdout_plans")
    assert planned < 400
    first = experiment(at(mirror, START + 30 * DAY, **wanted))
    assert first["planned_look"]["reached"] is True
    inside = [key for key in IDS[:400] if drawn[key] == "holdout"]
    expected = lift(
        Arm(400 - len(inside), 400 - len(inside)),
        Arm(len(inside), sum(1 for key in inside if int(key) % 3 == 0)),
        fixed_quantile(),
    )
    assert first["planned_look"]["lift"] == expected.to_json()
    second = experiment(at(mirror, START + 60 * DAY, **wanted))
    assert second["rest"]["contacts"] > first["rest"]["contacts"]
    assert second["planned_look"] == first["planned_look"]
    assert second["verdict"].startswith("Acting on the prediction brought more")


def test_the_plan_knows_stock_inflow_and_base_rate(mirror: Mirror) -> None:
    new = [contact(f"99000{key}", created_at=START - 7 * DAY) for key in IDS[:56]]
    mirror.commit(page("contacts", contacts=new), run_id="run", observed_at=START)
    run = at(mirror, START)
    pushed(run, {**graded(), **{row["contact_id"]: "B" for row in new}}, probability=0.2)
    found = measure(run)["predictions"]["lead_score"]["plan"]
    assert (found["stock"], found["contacts_per_week"], found["base_rate"]) == (656, 14.0, 0.2)
    assert found["weeks"] == pytest.approx((found["contacts"] - 656) / 14 + 30 / 7, abs=0.06)
    assert found["detectable_lift"]["4"] is None
    assert found["detectable_lift"]["12"] > found["detectable_lift"]["52"] > 0
    given = measure(run, wanted_lift=0.5, base_rate=0.05, weekly=0.0)["predictions"]["lead_score"]["plan"]
    assert (given["lift"], given["base_rate"], given["contacts_per_week"]) == (0.5, 0.05, 0.0)
    assert given["weeks"] is None
    assert "never reached" in given["why"]
    shorter = measure(at(mirror, START, holdout={"window_days": 10}))["predictions"]["lead_score"]["plan"]
    assert shorter["base_rate"] == pytest.approx(1 - 0.8 ** (1 / 3), abs=1e-6)


def test_without_predictions_the_plan_says_what_is_missing(mirror: Mirror) -> None:
    found = measure(at(mirror, START))["predictions"]["lead_score"]
    assert found["plan"]["contacts"] is None
    assert "score first" in found["plan"]["why"]
    assert found["experiment"] is None


def test_the_shadow_report_tells_which_score_was_right(mirror: Mirror) -> None:
    """The score in use is reversed: the shadow ranks outcomes well, the other one as badly."""
    rng = np.random.default_rng(3)
    chance = {key: float(value) for key, value in zip(IDS, rng.uniform(0.01, 0.9, len(IDS)), strict=True)}
    own = [contact(key, {"hubspotscore": f"{100 - 100 * chance[key]:.4f}"}, START) for key in IDS]
    mirror.commit(
        page("contacts", contacts=own, property_definitions=[definition("hubspotscore", "number")]),
        run_id="run",
        observed_at=START,
    )
    shadow = {"shadow_weeks": 2, "compare_to": "hubspotscore", "holdout": None}
    run = at(mirror, START, **shadow)
    table = pa.table(
        {
            "contact_id": IDS,
            "leadlight_score": ["50"] * len(IDS),
            "leadlight_grade": ["A" if chance[key] > 0.5 else "C" for key in IDS],
            "leadlight_probability": [str(chance[key]) for key in IDS],
        }
    )
    mirror.connection.execute("create temp table desired (contact_id varchar, property varchar, value varchar)")
    mirror.connection.execute("insert into desired values ('1', 'leadlight_score', '50')")
    withhold(run, cast(Scored, SimpleNamespace(computed=table)))
    keep_arms(run)
    assert fetch(mirror, "select property from desired") == [("leadlight_shadow_score",)]
    assert fetch(mirror, "select count(*) from store.holdout") == [(0,)]

    converted = [key for key in IDS if rng.random() < chance[key]]
    submits(mirror, dict.fromkeys(converted, START + DAY))
    report = shadow_report(at(mirror, START + 7 * DAY, **shadow))
    assert report["over"] is False
    found = report["predictions"]["lead_score"]
    assert found["agreement"] == {"contacts": len(IDS), "rank_correlation": -1.0, "top_overlap": 0.0}
    best = {key for key in IDS if chance[key] > 0.5}
    assert found["outcomes"]["A"]["contacts"] == len(best)
    assert found["outcomes"]["A"]["outcomes"] == len(best & set(converted))
    assert found["ranking"]["auc"]["low"] > 0.7
    assert found["ranking"]["present_auc"] == pytest.approx(1 - found["ranking"]["auc"]["value"], abs=1e-3)
    assert found["ranking"]["difference"]["low"] > 0
    assert shadow_report(at(mirror, START + 14 * DAY, **shadow))["over"] is True
