"""Holdout and shadow mode over real HTTP: what stands on a pretend HubSpot account, and what is kept."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connector.jobs.install import install
from connector.jobs.measure import measure
from connector.jobs.push import PushOptions, push
from connector.jobs.run import Run, open_run
from connector.jobs.score import score
from connector.jobs.shadow import shadow_report
from connector.jobs.stored import stored_run
from connector.jobs.sync import sync
from connector.jobs.withhold import present_score_sql
from connector.settings import Settings, load
from tests.connector.mirrored import commit, contact, fetch, opened
from tests.connector.portal import Portal, leadlight, portal
from tests.made_up import write_leads

ROWS = 600
GOAL = '[goal]\ncolumn = "y"\nequals = "yes"\n'
HOLDOUT = GOAL + '[holdout]\nshare = 0.2\nsalt = "spring"\n'
SHADOW = f'shadow = true\ncompare_to = "leadlight_score"\n{HOLDOUT}'
ACTING = ("score", "grade", "probability", "reasons", "confidence")


def push_alone(run: Run, **options: Any) -> dict[str, Any]:
    """Nothing changed on the platform since the last pull: searching it would take most of a test's time."""
    scored = score(run)
    return {**push(run, scored, PushOptions(**options)), "gates": scored.trained.gates}


JOBS = {"sync": sync, "push": push_alone, "measure": measure, "shadow": shadow_report, "install": install}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_leads(tmp_path_factory.mktemp("leads"), ROWS)
    with portal("--from", str(leads), "--search-lag", "0") as running:
        yield running


@pytest.fixture(scope="module")
def folder(account: Portal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state whose models are trained, after a sync without holdout or shadow."""
    folder = tmp_path_factory.mktemp("work")
    run(account, folder, GOAL, "sync")
    return folder


def run(account: Portal, folder: Path, settings: str, job: str, **options: Any) -> dict[str, Any]:
    """A job as the command would run it, in this process: training is what takes long, and it is done once."""
    (folder / "leadlight.toml").write_text(settings, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in account.environment(folder / "state").items():
            patch.setenv(name, value)
        with open_run(load(folder / "leadlight.toml"), job) as opened:
            result: dict[str, Any] = JOBS[job](opened, **options)  # type: ignore[operator]
            opened.done(result)
    return result


def held(account: Portal) -> set[str]:
    return {key for key, values in account.contacts().items() if values.get("leadlight_holdout") == "true"}


def standing(account: Portal, name: str) -> dict[str, str]:
    return {key: found[name] for key, found in account.contacts().items() if found.get(name)}


def written(account: Portal) -> int:
    return sum(count for endpoint, count in account.calls().items() if endpoint.endswith("/batch/update"))


def test_held_out_contacts_hold_no_acting_value(account: Portal, folder: Path) -> None:
    scored = set(standing(account, "leadlight_score"))
    before = written(account)
    dry = run(account, folder, HOLDOUT, "push", dry_run=True)
    assert dry["pushed"]["changed"] == len(scored)
    assert written(account) == before
    assert run(account, folder, HOLDOUT, "measure")["predictions"]["lead_score"]["experiment"] is None
    result = run(account, folder, HOLDOUT, "push")
    assert result["gates"]["lead_score"]["passed"] is True
    inside = held(account)
    assert 0.13 * len(scored) < len(inside) < 0.27 * len(scored)
    for key, found in account.contacts().items():
        has = [name for name in ACTING if found.get(f"leadlight_{name}")]
        if key in inside:
            assert has == [], key
        elif key in scored:
            assert has[:3] == list(ACTING[:3]), key
            assert found["leadlight_holdout"] == "false"
        else:
            assert found["y"] == "yes"
            assert not found.get("leadlight_holdout")

    found = run(account, folder, HOLDOUT, "measure", wanted_lift=0.5)["predictions"]["lead_score"]
    assert found["plan"]["lift"] == 0.5
    assert found["plan"]["contacts"] > 0
    experiment = found["experiment"]
    assert experiment["assigned"] == {"holdout": len(inside), "rest": len(scored) - len(inside)}
    assert 0 < sum(experiment["acted_on"].values()) < len(scored)
    assert experiment["waiting"] == experiment["acted_on"]
    assert experiment["may_look"] == {"any_time": False, "planned": False}


def test_arms_outlive_edits_and_end_with_the_setting(account: Portal, folder: Path) -> None:
    run(account, folder, HOLDOUT, "push")
    inside = held(account)
    someone = min(inside, key=int)
    account.edit(someone, pricing_visits="14", industry="Software")
    time.sleep(1.1)
    run(account, folder, HOLDOUT, "sync")
    assert held(account) == inside
    assert not account.contacts()[someone].get("leadlight_score")
    assert run(account, folder, HOLDOUT, "push")["pushed"]["changed"] == 0

    run(account, folder, HOLDOUT.replace("spring", "autumn"), "push")
    assert len(held(account) & inside) < 0.5 * len(inside)
    run(account, folder, HOLDOUT, "push")
    assert held(account) == inside

    run(account, folder, GOAL, "push")
    assert standing(account, "leadlight_holdout") == {}
    assert inside < set(standing(account, "leadlight_score"))
    over = run(account, folder, GOAL, "measure")
    assert over["on"] is False
    assert over["predictions"]["lead_score"]["experiment"]["ended"] is not None


def test_the_shadow_leaves_the_real_values_alone_until_promotion(account: Portal, folder: Path) -> None:
    run(account, folder, GOAL, "push")
    names = ("leadlight_score", "leadlight_grade", "leadlight_model", "leadlight_scored_at")
    real = {name: standing(account, name) for name in names}
    plans = run(account, folder, SHADOW, "install", dry_run=True)["properties"]
    assert {plan["name"] for plan in plans if plan["action"] == "create"} >= {"leadlight_shadow_score"}
    assert all(plan["name"].startswith("leadlight_shadow_") for plan in plans)
    run(account, folder, SHADOW, "push")
    assert {name: standing(account, name) for name in names} == real
    shadow = standing(account, "leadlight_shadow_score")
    assert set(shadow) == set(real["leadlight_score"])
    # the shadow's settings train afresh, on what the tests before changed
    moves = [abs(float(shadow[key]) - float(value)) for key, value in real["leadlight_score"].items()]
    assert sorted(moves)[len(moves) // 2] <= 2
    assert set(standing(account, "leadlight_shadow_model")) == set(real["leadlight_score"])
    assert standing(account, "leadlight_holdout") == standing(account, "leadlight_shadow_holdout") == {}

    converted, other, *_ = sorted(real["leadlight_score"], key=int, reverse=True)
    account.edit(converted, y="yes")
    time.sleep(1.1)
    run(account, folder, SHADOW, "sync")
    report = run(account, folder, SHADOW, "shadow")["predictions"]["lead_score"]
    assert report["contacts"] == len(real["leadlight_score"])
    assert report["agreement"]["rank_correlation"] > 0.95
    assert report["outcomes"][real["leadlight_grade"][converted]]["outcomes"] == 1
    assert sum(row["outcomes"] for row in report["outcomes"].values()) == 1
    assert report["ranking"] is None

    run(account, folder, GOAL, "push")
    assert standing(account, "leadlight_shadow_score") == standing(account, "leadlight_shadow_model") == {}
    promoted = standing(account, "leadlight_score")
    assert converted not in promoted
    assert abs(float(promoted[other]) - float(real["leadlight_score"][other])) <= 10


def test_a_report_on_no_shadow_names_the_setting(account: Portal, tmp_path: Path) -> None:
    (tmp_path / "leadlight.toml").write_text(GOAL, encoding="utf-8")
    code, result, _ = leadlight(["measure", "--shadow", "--json"], account.environment(tmp_path / "s"), tmp_path)
    assert code == 2
    assert "shadow = true" in result["error"]


@pytest.mark.parametrize("compare_to", [None, "own_score"])
def test_a_shadow_needs_no_score_to_be_compared_with(tmp_path: Path, compare_to: str | None) -> None:
    settings = Settings(shadow=True, compare_to=compare_to)
    with opened(tmp_path) as mirror:
        commit(mirror, contacts=[contact("1", {"own_score": "41.5"})])
        query = present_score_sql(stored_run(settings, "hubspot", mirror, "test"))
        assert fetch(mirror, query) == [("1", None if compare_to is None else 41.5)]
