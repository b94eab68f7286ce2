"""Holdout and shadow mode, from outside: a pretend HubSpot over real HTTP, what stands there, what is kept."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.connector.portal import Portal, leadlight, portal
from tests.made_up import write_leads

ROWS = 600
GOAL = '[goal]\ncolumn = "y"\nequals = "yes"\n'
HOLDOUT = GOAL + '[holdout]\nshare = 0.2\nsalt = "spring"\n'
ACTING = ("score", "grade", "probability", "reasons", "confidence")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_leads(tmp_path_factory.mktemp("leads"), ROWS)
    with portal("--from", str(leads), "--search-lag", "0") as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def run(account: Portal, folder: Path, settings: str, *arguments: str) -> dict[str, Any]:
    (folder / "leadlight.toml").write_text(settings, encoding="utf-8")
    code, result, err = leadlight([*arguments, "--json"], account.environment(folder / "state"), folder)
    assert code == 0, err
    return result


def held(account: Portal) -> set[str]:
    return {key for key, values in account.contacts().items() if values.get("leadlight_holdout") == "true"}


def values(account: Portal, *names: str) -> dict[str, dict[str, str]]:
    return {
        key: {name: found[name] for name in names if found.get(name)} for key, found in account.contacts().items()
    }


def test_the_life_of_a_holdout(account: Portal, folder: Path) -> None:
    dry = run(account, folder, HOLDOUT, "sync", "--dry-run")
    assert dry["pushed"]["changed"] > 0
    assert not any(values(account, "leadlight_holdout").values())
    first = run(account, folder, HOLDOUT, "sync")
    assert first["gates"]["lead_score"]["passed"] is True
    contacts = account.contacts()
    open_ones = {key for key, found in contacts.items() if found["y"] == "no"}
    inside = held(account)
    assert 0.13 * len(open_ones) < len(inside) < 0.27 * len(open_ones)
    for key, found in contacts.items():
        if key in inside:
            assert not any(found.get(f"leadlight_{name}") for name in ACTING), key
        elif key in open_ones:
            assert all(found.get(f"leadlight_{name}") for name in ACTING[:2]), key
            assert found["leadlight_holdout"] == "false"
        else:
            assert not found.get("leadlight_holdout")

    plan = run(account, folder, HOLDOUT, "measure", "--lift", "0.5")["predictions"]["lead_score"]
    assert plan["plan"]["lift"] == 0.5
    assert plan["plan"]["contacts"] > 0
    experiment = plan["experiment"]
    assert experiment["assigned"] == {"holdout": len(inside), "rest": len(open_ones) - len(inside)}
    assert 0 < sum(experiment["acted_on"].values()) < len(open_ones)
    assert sum(experiment["waiting"].values()) == sum(experiment["acted_on"].values())
    assert experiment["may_look"] == {"any_time": False, "planned": False}

    # an edit moves scores, not arms; a second sync has nothing to write
    someone = min(inside, key=int)
    account.edit(someone, pricing_visits="14", industry="Software")
    time.sleep(1.1)
    run(account, folder, HOLDOUT, "sync")
    assert held(account) == inside
    assert not account.contacts()[someone].get("leadlight_score")
    time.sleep(1.1)
    assert run(account, folder, HOLDOUT, "sync")["pushed"]["changed"] == 0

    # another salt is another draw; the same one again is the same draw, in a state folder that knows nothing
    run(account, folder, HOLDOUT.replace("spring", "autumn"), "sync")
    other = held(account)
    assert len(other & inside) < 0.5 * len(inside)
    fresh = folder / "fresh"
    fresh.mkdir()
    run(account, fresh, HOLDOUT, "sync")
    assert held(account) == inside

    # off: nothing is held back, the flag is cleared
    run(account, fresh, GOAL, "sync")
    after = account.contacts()
    assert not any(found.get("leadlight_holdout") for found in after.values())
    assert {key for key, found in after.items() if found.get("leadlight_score")} == open_ones
    over = run(account, fresh, GOAL, "measure")
    assert over["on"] is False
    assert over["predictions"]["lead_score"]["experiment"]["ended"] is not None


def test_the_shadow_and_out_of_it(account: Portal, tmp_path: Path) -> None:
    run(account, tmp_path, GOAL, "sync")
    real = values(account, "leadlight_score", "leadlight_model", "leadlight_scored_at")
    shadowed = f'shadow = true\ncompare_to = "leadlight_score"\n{HOLDOUT}'
    plans = run(account, tmp_path, shadowed, "install", "--dry-run")["properties"]
    assert {plan["name"] for plan in plans if plan["action"] == "create"} >= {"leadlight_shadow_score"}
    assert all(plan["name"].startswith("leadlight_shadow_") for plan in plans)
    run(account, tmp_path, shadowed, "sync")
    assert values(account, *next(iter(real.values()))) == real
    now = account.contacts()
    for key, found in real.items():
        assert now[key].get("leadlight_shadow_score") == found.get("leadlight_score"), key
        assert not now[key].get("leadlight_holdout")
        assert not now[key].get("leadlight_shadow_holdout")
    scored = [key for key, found in now.items() if found.get("leadlight_shadow_grade")]
    assert now[scored[0]]["leadlight_shadow_model"]

    account.edit(scored[0], y="yes")
    time.sleep(1.1)
    run(account, tmp_path, shadowed, "sync")
    report = run(account, tmp_path, shadowed, "measure", "--shadow")["predictions"]["lead_score"]
    assert report["contacts"] == len(scored)
    assert report["agreement"]["rank_correlation"] > 0.99
    assert sum(row["outcomes"] for row in report["outcomes"].values()) == 1
    assert report["ranking"] is None

    # promotion: the real ones again, and nothing is left in the shadow
    run(account, tmp_path, GOAL, "sync")
    promoted = account.contacts()
    assert not any(found.get("leadlight_shadow_score") for found in promoted.values())
    assert not promoted[scored[0]].get("leadlight_score")
    assert promoted[scored[1]]["leadlight_score"] == real[scored[1]]["leadlight_score"]


def test_a_report_on_no_shadow_names_the_setting(account: Portal, tmp_path: Path) -> None:
    (tmp_path / "leadlight.toml").write_text(GOAL, encoding="utf-8")
    code, result, _ = leadlight(["measure", "--shadow", "--json"], account.environment(tmp_path / "s"), tmp_path)
    assert code == 2
    assert "shadow = true" in result["error"]
