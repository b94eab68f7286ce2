"""Segments: planted groups are found, named and kept; what is no structure is refused."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from sklearn.metrics import adjusted_rand_score

from scoring import snapshots
from scoring.engine import DuckEngine
from scoring.errors import ModelMismatch
from scoring.goals import Goal
from scoring.groups import behaviour
from scoring.predictors.base import Context, Evaluation, Model
from scoring.predictors.segments import Segmentation, Segments, _followed_up
from scoring.tables import from_rows

AS_OF = datetime.fromisoformat("2026-11-10")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "completejourney"
SEGMENTS = Segments()

#: name: days since the last act, acts, amount of each purchase (0: page views instead), channel of the others
PLANTED = {
    "loyal": (3, 60, 90.0, "page_view"),
    "lapsed": (200, 12, 80.0, "page_view"),
    "reader": (10, 30, 0.0, "email_click"),
    "browser": (20, 25, 0.0, "page_view"),
}


def made(each: int = 60, seed: int = 1, now: datetime = AS_OF) -> dict[str, pa.Table]:
    """Contacts of each planted kind, and as many of whom next to nothing is known."""
    random = np.random.default_rng(seed)
    events: list[dict[str, Any]] = []
    purchases: list[dict[str, Any]] = []
    contacts = [f"{kind}-{number:03}" for kind in (*PLANTED, "stranger") for number in range(each)]
    for contact in contacts:
        last, acts, amount, kind = PLANTED.get(contact.partition("-")[0], (50, 1, 0.0, "page_view"))
        for act in range(max(1, int(acts * random.uniform(0.7, 1.3)))):
            at = now - timedelta(days=last * float(random.uniform(0.8, 1.2)) + 2.5 * act, hours=1)
            row: dict[str, Any] = {"contact_id": contact}
            if amount and act % 2 == 0:
                row |= {"purchase_id": f"{contact}-{act}", "purchased_at": at, "amount": amount}
                purchases.append(row)
            else:
                events.append({**row, "event_id": f"{contact}-{act}", "occurred_at": at, "kind": kind})
    rows = [{"contact_id": contact, "created_at": now - timedelta(days=700)} for contact in contacts]
    return {
        "contacts": from_rows("contacts", rows),
        "events": from_rows("events", events),
        "purchases": from_rows("purchases", purchases),
    }


def context(tables: dict[str, pa.Table], as_of: datetime = AS_OF) -> Context:
    return Context(DuckEngine.in_memory(tables), as_of, Goal(event="purchase"))


def segments(context: Context, model: Model) -> dict[str, str]:
    scores = SEGMENTS.score(context, model)
    return dict(zip(scores["contact_id"].to_pylist(), scores["leadlight_segment"].to_pylist(), strict=True))


@cache
def trained() -> tuple[Context, Model]:
    here = context(made())
    return here, SEGMENTS.train(here)


def test_planted_kinds_are_found_and_strangers_are_a_group_of_their_own() -> None:
    here, model = trained()
    found = segments(here, model)
    known = [contact for contact in found if not contact.startswith("stranger")]
    assert {found[contact] for contact in found if contact.startswith("stranger")} == {"s0"}
    assert adjusted_rand_score([one.partition("-")[0] for one in known], [found[one] for one in known]) > 0.9


def test_figures_have_the_fixed_keys_and_sizes_add_up() -> None:
    here, model = trained()
    figures = model.meta["evaluation"]
    assert figures["passed"]
    assert figures["k"] == 4
    assert figures["stability"]["low"] <= figures["stability"]["value"] <= 1
    assert set(figures["sizes"]) == set(figures["names"]) == {"s0", "s1", "s2", "s3", "s4"}
    assert sum(figures["sizes"].values()) == len(segments(here, model))
    assert figures["sizes"]["s0"] == 60
    assert 0 < figures["separation"] <= 1


def test_names_say_what_sets_a_group_apart() -> None:
    here, model = trained()
    found, names = segments(here, model), dict(model.meta["options"])
    told = {kind: names[found[f"{kind}-001"]].lower() for kind in PLANTED}
    assert "frequent" in told["loyal"]
    assert "spenders" in told["loyal"]
    assert "lapsed" in told["lapsed"]
    assert "mail clickers" in told["reader"]
    assert "website visitors" in told["browser"]
    assert len(set(names.values())) == len(names)
    assert names["s0"] == "Too little known"


def test_ids_and_names_outlive_a_refit() -> None:
    _, model = trained()
    before = segments(*trained())
    # another thirty contacts of each kind, and everybody drawn anew
    grown = context(made(90, seed=2))
    refit = SEGMENTS.train(grown, model)
    after = segments(grown, refit)
    assert refit.meta["options"] == model.meta["options"]
    same = [after[contact] == before[contact] for contact in before]
    assert np.mean(same) > 0.97


def test_a_new_group_gets_a_new_id_and_a_gone_one_stays_known() -> None:
    here, model = trained()
    tables = made()
    # readers become daily repliers, so that centres must move
    events = tables["events"].to_pylist()
    for row in events:
        if row["contact_id"].startswith("reader"):
            row |= {"kind": "email_reply", "occurred_at": row["occurred_at"] - timedelta(days=240)}
    moved = context({**tables, "events": from_rows("events", events)})
    refit = SEGMENTS.train(moved, model)
    was, now = segments(here, model), segments(moved, refit)
    assert not refit.meta["kept_centres"]
    assert now["loyal-001"] == was["loyal-001"]
    assert now["browser-001"] == was["browser-001"]
    options = dict(refit.meta["options"])
    used = set(options) | set(refit.meta["retired"])
    assert set(dict(model.meta["options"])) <= used
    assert len(set(options.values())) == len(options)


def test_centres_stay_while_they_fit() -> None:
    here, model = trained()
    again = SEGMENTS.train(here, model)
    assert again.meta["kept_centres"]
    assert json.loads(again.files["segments.json"]) == json.loads(model.files["segments.json"])
    assert (again.meta["born"], again.meta["gone"]) == ([], [])


def test_a_month_of_silence_moves_few() -> None:
    here, model = trained()
    now = segments(here, model)
    later = segments(replace(here, as_of=AS_OF + timedelta(days=30)), model)
    assert np.mean([now[contact] == later[contact] for contact in now]) >= 0.8


def test_mere_activity_is_refused() -> None:
    random = np.random.default_rng(7)
    events = [
        {
            "event_id": f"{contact}-{act}",
            "contact_id": f"c{contact:03}",
            "kind": "page_view",
            "occurred_at": AS_OF
            - timedelta(days=float(random.uniform(1, 300)), hours=float(random.uniform(0, 24))),
        }
        for contact in range(300)
        for act in range(int(random.integers(3, 60)))
    ]
    rows = [{"contact_id": f"c{contact:03}"} for contact in range(300)]
    tables = {"contacts": from_rows("contacts", rows), "events": from_rows("events", events)}
    evaluation = SEGMENTS.evaluate(context(tables))
    assert not evaluation.passed
    assert any("active" in reason or "found again" in reason for reason in evaluation.reasons)


def test_without_any_activity_it_says_so() -> None:
    tables = made()
    silent = context({"contacts": tables["contacts"]})
    assert "there is none" in SEGMENTS.lacks(silent)[0]
    few = context({**made(3), "purchases": from_rows("purchases", [])})
    assert "80 contacts" in SEGMENTS.lacks(few)[0]
    assert SEGMENTS.lacks(context(tables)) == []


def test_who_objects_to_profiling_is_in_no_segment() -> None:
    tables = made()
    objection = {"contact_id": "loyal-001", "channel": "email", "purpose": "profiling", "status": "denied"}
    here = context({**tables, "consents": from_rows("consents", [objection])})
    assert "loyal-001" not in segments(here, SEGMENTS.train(here))


def test_a_spoilt_model_is_refused() -> None:
    here, model = trained()
    with pytest.raises(ModelMismatch):
        SEGMENTS.score(here, replace(model, files={"segments.json": "[]"}))


def households() -> Context | None:
    """Baskets of the households as purchases, their lines by department; None where the data are not there."""
    if not DATA.exists():
        return None
    engine = DuckEngine.in_memory()
    engine.put("lines", csv.read_csv(DATA / "transactions_sample.csv.gz"))
    engine.put("products", csv.read_csv(DATA / "products.csv.gz"))
    engine.run("insert into contacts (contact_id) select distinct cast(household_id as varchar) from lines")
    engine.run(
        "insert into purchases (purchase_id, contact_id, purchased_at, amount) "
        "select cast(basket_id as varchar), cast(household_id as varchar), max(transaction_timestamp), "
        "sum(sales_value) from lines group by basket_id, household_id"
    )
    engine.run(
        "insert into purchase_items (purchase_id, product_id, category, quantity, price) "
        "select cast(basket_id as varchar), cast(l.product_id as varchar), p.department, l.quantity, sales_value "
        "from lines l left join products p on l.product_id = p.product_id"
    )
    return Context(engine, datetime.fromisoformat("2018-01-01 12:00"), Goal(event="purchase"))


def test_more_on_record_is_not_more_done() -> None:
    """Records began 200 days ago, and everybody does every month what they did the month before."""
    events = [
        {
            "event_id": f"{contact}-{act}",
            "contact_id": f"c{contact:03}",
            "kind": "page_view" if contact % 2 else "email_click",
            "occurred_at": AS_OF - timedelta(days=act * (2 + contact % 7), hours=1 + contact % 23),
        }
        for contact in range(200)
        for act in range(200 // (2 + contact % 7))
    ]
    rows = [{"contact_id": f"c{contact:03}"} for contact in range(200)]
    now = context({"contacts": from_rows("contacts", rows), "events": from_rows("events", events)})
    model = SEGMENTS.train(replace(now, as_of=AS_OF - timedelta(days=62)))
    was, measures = [], Segmentation.from_model(model).measures
    for days in (62, 0):
        here = replace(now, as_of=AS_OF - timedelta(days=days))
        snapshots.population(here, "everybody")
        behaviour.gather(here, "everybody")
        here.engine.run("create or replace temp table pairs as select contact_id, as_of from everybody")
        found = behaviour.measure(here.engine, measures)
        was.append(found.values[:, list(measures.names).index("frequency")])
    assert measures.growth == pytest.approx(1, abs=0.1)
    assert np.median(was[1] / was[0]) == pytest.approx(1, abs=0.03)
    assert was[0].mean() == pytest.approx(365 * np.mean([1 / (2 + n % 7) for n in range(200)]), rel=0.05)


def test_who_has_fallen_silent_does_not_do_less_for_a_longer_record() -> None:
    """Nothing new on record is no more done, and no less either: counts stay what they are."""
    measures = behaviour.Measures((), (), False, begins=0, growth=0.0)
    assert measures.years(np.array([100.0, 200.0]) * 86400).tolist() == [1.0, 1.0]
    tables = made()
    for row in (events := tables["events"].to_pylist()):
        row["occurred_at"] -= timedelta(days=400)
    here = context({"contacts": tables["contacts"], "events": from_rows("events", events)})
    snapshots.population(here, "everybody")
    assert behaviour.learn(here, "everybody").growth == 0


def test_a_month_later_households_keep_their_segment_unless_they_changed() -> None:
    now = households() or trained()[0]
    then = replace(now, as_of=now.as_of - timedelta(days=31))
    segmentation = Segmentation.from_model(SEGMENTS.train(then))
    engine = DuckEngine.in_memory()
    engine.put("before", _followed_up(then, segmentation))
    engine.put("after", _followed_up(now, segmentation))
    [told] = engine.fetch(
        "select count(*) as known, sum(cast(b.nearest = a.nearest as integer)) as unchanged, "
        'avg(case when b.nearest = a.nearest then cast(b."group" = a."group" as integer) end) as kept, '
        'avg(cast(b."group" = a."group" as integer)) as stayed '
        'from before b join after a using (contact_id) where b."group" >= 0 and a."group" >= 0'
    ).to_pylist()
    assert told["unchanged"] > 0.7 * told["known"] > 0
    assert told["kept"] >= 0.9
    assert told["stayed"] >= 0.9


def test_groups_of_households_are_found_again() -> None:
    here = households()
    evaluation: Evaluation = SEGMENTS.evaluate(here or trained()[0])
    figures = evaluation.to_json()
    assert evaluation.passed
    assert figures["k"] >= 4
    assert figures["stability"]["value"] >= 0.85
    assert figures["stability"]["low"] >= 0.75
    assert sum(figures["sizes"].values()) == (2377 if here else 300)
