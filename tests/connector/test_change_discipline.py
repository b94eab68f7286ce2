"""Dry run, caps, budget and approval on a pretend account: what is refused writes nothing at all."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from connector.errors import BudgetSpent
from connector.platform import Outcome, Write
from connector.platforms.hubspot.platform import HubSpot
from connector.platforms.salesforce.platform import Salesforce
from tests.connector.commands import inside, without_dates, workplace, writes
from tests.connector.portal import Portal, portal
from tests.made_up import write_leads

#: So many that what changes takes three writes.
ROWS = {"hubspot": 640, "salesforce": 1160}
PLATFORMS: dict[str, type[HubSpot] | type[Salesforce]] = {"hubspot": HubSpot, "salesforce": Salesforce}
#: Contacts of one write.
BATCH = {"hubspot": 100, "salesforce": 200}


@pytest.fixture(scope="module", params=sorted(PLATFORMS))
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_leads(tmp_path_factory.mktemp("leads"), ROWS[request.param])
    # on Salesforce fields come by metadata: without them nothing goes
    bare = ["--bare"] if request.param == "hubspot" else []
    with portal("--from", str(leads), "--search-lag", "0", *bare, platform=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, account: Portal) -> Path:
    return workplace(tmp_path_factory.mktemp("work"), account=account)


@pytest.fixture(scope="module")
def dry(account: Portal, folder: Path) -> dict[str, Any]:
    code, result, err = inside(account, folder, "sync", "--dry-run", "--out", str(folder / "all.csv"))
    assert code == 0, err
    return {**result, "err": err}


def test_a_dry_run_tells_everything_and_writes_nothing(account: Portal, folder: Path, dry: dict[str, Any]) -> None:
    assert writes(account) == 0
    preview, changed = dry["preview"], dry["pushed"]["changed"]
    assert changed > ROWS[account.platform] / 2
    assert preview["by_property"]["leadlight_score"] == {
        "total": changed,
        "first": changed,
        "changed": 0,
        "cleared": 0,
    }
    assert sum(preview["grade_moves"].values()) == changed
    assert preview["calls"]["write"] == -(-changed // BATCH[account.platform])
    assert set(preview["properties"].values()) == ({"create"} if account.platform == "hubspot" else set())
    assert len(preview["sample"]) == 20
    for row in preview["sample"]:
        assert row["values"]["leadlight_reasons"]["after"]
        assert row["values"]["leadlight_score"]["before"] is None
    assert "write calls would be needed" in dry["err"]
    assert dry["gates"]["lead_score"]["passed"] is True
    table = pa_csv.read_csv(folder / "all.csv")
    assert (
        table.num_rows == dry["pushed"]["values"] == sum(row["total"] for row in preview["by_property"].values())
    )
    assert {"contact_id", "property", "value_before", "value_after", "model"} <= set(table.column_names)


@pytest.fixture(scope="module")
def planned(account: Portal, folder: Path, dry: dict[str, Any]) -> dict[str, Any]:
    code, result, err = inside(account, folder, "sync", require_approval="true")
    assert code == 3, err
    assert result["plan"] in err
    return result


def test_approval_is_awaited_and_the_same_plan_has_the_same_name(
    account: Portal, folder: Path, planned: dict[str, Any], dry: dict[str, Any]
) -> None:
    code, again, err = inside(account, folder, "push", require_approval="true")
    assert code == 3, err
    assert again["plan"] == planned["plan"]
    assert planned["planned"] == {"contacts": dry["pushed"]["changed"], "values": dry["pushed"]["values"]}
    assert planned["pushed"]["changed"] == 0
    code, shown, err = inside(account, folder, "runs", planned["plan"])
    assert code == 0, err
    assert shown["status"] == "open"
    assert shown["entries_total"] == dry["pushed"]["values"]
    code, _, err = inside(account, folder, "approve", "nonsense")
    assert code == 2
    assert planned["plan"] in err
    assert writes(account) == 0


@pytest.fixture(scope="module")
def approved(account: Portal, folder: Path, planned: dict[str, Any]) -> dict[str, Any]:
    code, result, err = inside(account, folder, "approve", planned["plan"][:8])
    assert code == 0, err
    return result


def test_what_was_approved_stands_and_nothing_else(
    account: Portal, folder: Path, planned: dict[str, Any], approved: dict[str, Any]
) -> None:
    assert approved["pushed"]["changed"] == planned["planned"]["contacts"]
    code, shown, err = inside(account, folder, "runs", "show", approved["run_id"], "--limit", "99999")
    assert code == 0, err
    contacts = account.contacts()
    assert len(shown["entries"]) == shown["entries_total"] == planned["planned"]["values"]
    for entry in shown["entries"]:
        assert entry["state"] == "written"
        assert entry["request_id"] or account.platform == "salesforce"
        assert entry["before"] is None
        if entry["property"] not in ("leadlight_scored_at",):
            assert contacts[entry["contact_id"]][entry["property"]] == entry["after"]
    done = writes(account)
    code, _, err = inside(account, folder, "approve", planned["plan"])
    assert code == 3
    assert approved["run_id"] in err
    assert writes(account) == done


@pytest.fixture(scope="module")
def upheaval(account: Portal, approved: dict[str, Any]) -> int:
    """60% of the graded contacts come to look like the best leads."""
    graded = [contact for contact, values in account.contacts().items() if values.get("leadlight_grade")]
    some = graded[: int(len(graded) * 0.6)]
    for contact_id in some:
        account.edit(contact_id, pricing_visits="14", industry="Software", employees="2000")
    return len(some)


def test_moving_most_grades_is_refused_before_the_first_write(
    account: Portal, folder: Path, upheaval: int, approved: dict[str, Any]
) -> None:
    done, stands = writes(account), without_dates(account.contacts())
    code, result, err = inside(account, folder, "sync", "--dry-run", "--out", str(folder / "moves.parquet"))
    assert code == 3
    assert result["preview"]["biggest_moves"]
    assert result["pushed"]["changed"] > 0
    assert pq.read_table(folder / "moves.parquet").num_rows == result["pushed"]["values"]
    code, result, err = inside(account, folder, "sync")
    assert code == 3
    moves = result["caps"]["grade_moves"]["lead_score"]
    assert moves["graded"] == approved["pushed"]["changed"]
    assert moves["share"] > 0.5
    assert result["pushed"]["changed"] == 0
    assert f"{moves['moved']:,} of {moves['graded']:,}" in err
    assert "max_grade_moves" in err
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PLATFORMS[account.platform], "calls_left", lambda self: 6)
        code, few, err = inside(account, folder, "push")
    assert code == 3
    assert few["caps"]["grade_moves"]["lead_score"]["moved"] == moves["moved"]
    code, _, err = inside(account, folder, "push", "--max-grade-moves", "1", "--max-changes", "10")
    assert code == 3
    assert "max_changes" in err
    assert writes(account) == done
    assert without_dates(account.contacts()) == stands


def test_a_plan_that_no_longer_holds_says_why_and_writes_nothing(
    account: Portal, folder: Path, upheaval: int
) -> None:
    code, result, err = inside(account, folder, "push", "--max-grade-moves", "1", require_approval="true")
    assert code == 3, err
    _, shown, _ = inside(account, folder, "runs", result["plan"])
    entry = next(entry for entry in shown["entries"] if entry["property"] == "leadlight_score")
    account.edit(entry["contact_id"], leadlight_score="1")
    done, stands = writes(account), without_dates(account.contacts())
    code, _, err = inside(account, folder, "approve", result["plan"])
    assert code == 3
    assert "no longer holds" in err
    assert entry["contact_id"] in err
    assert writes(account) == done
    assert without_dates(account.contacts()) == stands


def test_an_approval_killed_half_way_and_given_again_ends_the_same(
    account: Portal, folder: Path, upheaval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = without_dates(account.contacts())
    code, planned, err = inside(account, folder, "sync", "--max-grade-moves", "1", require_approval="true")
    assert code == 3, err
    write, sent, size = PLATFORMS[account.platform].write, [], BATCH[account.platform]

    def killed(self: Any, batch: list[Write]) -> list[Outcome]:
        sent.append(len(batch))
        if len(sent) > 1:
            raise KeyboardInterrupt
        return write(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(PLATFORMS[account.platform], "write", killed)
        code, _, _ = inside(account, folder, "approve", planned["plan"])
    assert code == 1
    # a day's calls for one batch: the rest stays in the plan
    with monkeypatch.context() as patched:
        patched.setattr(PLATFORMS[account.platform], "calls_left", lambda self: 6)
        code, part, err = inside(account, folder, "approve", planned["plan"])
    assert code == 0, err
    assert (part["status"], part["pushed"]["changed"]) == ("open", size)
    assert part["pushed"]["left"] == part["budget"]["contacts"] - size > 0
    assert f"leadlight approve {planned['plan']}" in err
    code, last, err = inside(account, folder, "approve", planned["plan"])
    assert code == 0, err
    assert last["status"] == "done"
    code, shown, err = inside(account, folder, "runs", "show", last["run_id"], "--limit", "99999")
    assert code == 0, err
    contacts = account.contacts()
    assert shown["entries_total"] == planned["planned"]["values"]
    assert {entry["state"] for entry in shown["entries"]} == {"written"}
    assert all(
        contacts[entry["contact_id"]].get(entry["property"]) == entry["after"]
        for entry in shown["entries"]
        if not entry["property"].endswith("scored_at")
    )
    # one rollback undoes the whole plan
    code, back, err = inside(account, folder, "rollback", last["run_id"], "--yes")
    assert code == 0, err
    assert back["restored"] == planned["planned"]["contacts"]
    assert without_dates(account.contacts()) == before


def test_the_rest_of_a_spent_budget_is_written_next_time_the_worthiest_first(
    account: Portal, folder: Path, upheaval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, size = account.contacts(), BATCH[account.platform]
    with monkeypatch.context() as patched:
        patched.setattr(PLATFORMS[account.platform], "calls_left", lambda self: 6)
        # what the test before put back is held
        code, first, err = inside(account, folder, "sync", "--max-grade-moves", "1", "--resume")
    assert code == 0, err
    assert first["pushed"]["changed"] == size
    assert first["pushed"]["left"] > size
    budget = first["budget"]
    assert (budget["fits"], budget["calls_today"], budget["contacts_today"]) == (False, 1, size)
    assert budget["contacts"] == size + first["pushed"]["left"]
    assert budget["days"] == 2
    assert budget["goes_on_at"] in err
    assert "left for the next run" in err
    after = account.contacts()
    changed = {
        contact
        for contact in after
        if after[contact].get("leadlight_scored_at") != before[contact].get("leadlight_scored_at")
    }
    write = PLATFORMS[account.platform].write
    calls: list[int] = []

    def spent(self: Any, batch: list[Write]) -> list[Outcome]:
        calls.append(len(batch))
        if len(calls) > 1:
            raise BudgetSpent("No calls left today.", datetime(2027, 1, 1, tzinfo=UTC))
        return write(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(PLATFORMS[account.platform], "write", spent)
        code, failure, err = inside(account, folder, "sync", "--max-grade-moves", "1")
    assert code == 1
    assert f"{size} of " in err
    assert failure["resume_at"] == "2027-01-01T00:00:00+00:00"
    code, last, err = inside(account, folder, "sync", "--max-grade-moves", "1")
    assert code == 0, err
    assert last["pushed"]["changed"] == first["pushed"]["left"] - size
    end = account.contacts()
    least = min(float(end[contact]["leadlight_score"]) for contact in changed)
    others = [
        float(end[contact]["leadlight_score"])
        for contact in end
        if contact not in changed and end[contact].get("leadlight_score") != before[contact].get("leadlight_score")
    ]
    assert max(others) <= least
    code, nothing, err = inside(account, folder, "sync")
    assert code == 0, err
    assert nothing["pushed"]["changed"] == 0


def test_the_audit_log_says_who_ran_what(account: Portal, folder: Path, approved: dict[str, Any]) -> None:
    code, result, err = inside(account, folder, "runs", "--audit", "--limit", "50")
    assert code == 0, err
    log = result["audit"]
    assert [row["at"] for row in log] == sorted((row["at"] for row in log), reverse=True)
    assert {row["run_id"]: row["command"] for row in log}[approved["run_id"]] == "approve"
    assert all(row["who"] for row in log)
    code, _, err = inside(account, folder, "runs", "show", "nonsense")
    assert code == 2
    assert "nonsense" in err
