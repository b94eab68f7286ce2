"""A company's score on its record, from outside on both platforms: what contacts make of it, and the way back."""

import math
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.connector.commands import inside, without_dates, workplace
from tests.connector.portal import Portal, portal, start, wait_for
from tests.made_up import write_companies

ROWS, COMPANIES = 640, 45
SCORE, REASONS = "leadlight_company_score", "leadlight_company_reasons"


@pytest.fixture(scope="module")
def leads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_companies(tmp_path_factory.mktemp("leads"), ROWS, COMPANIES)


@pytest.fixture(scope="module", params=["hubspot", "salesforce"])
def account(request: pytest.FixtureRequest, leads: Path) -> Iterator[Portal]:
    with portal("--from", str(leads), "--search-lag", "0", platform=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def synced(account: Portal, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of an account that was synced once, and what the sync said."""
    folder = workplace(tmp_path_factory.mktemp("work"), account=account)
    code, dry, err = inside(account, folder, "sync", "--dry-run")
    assert code == 0, err
    assert scores(account) == {}
    code, result, err = inside(account, folder, "sync")
    assert code == 0, err
    assert (dry["companies"]["changed"], dry["companies"]["values"]) == (
        result["companies"]["changed"],
        result["companies"]["values"],
    )
    assert f"{result['companies']['changed']:,} companies changed" in err
    return folder, result


def scores(account: Portal) -> dict[str, tuple[str, str]]:
    """Company -> its score and reasons, of those that have any."""
    found = {key: (one.get(SCORE, ""), one.get(REASONS, "")) for key, one in account.companies().items()}
    return {key: pair for key, pair in found.items() if any(pair)}


def expected(account: Portal, folder: Path) -> dict[str, tuple[str, str]]:
    """The same, worked out from the probabilities that stand on the contacts."""
    by_company: dict[str, list[tuple[float, str, str]]] = {}
    company_of = dict(rows(folder, "select contact_id, company_id from contacts where company_id is not null"))
    for key, one in account.contacts().items():
        if key in company_of and one.get("leadlight_probability"):
            member = (-float(one["leadlight_probability"]), key, one["leadlight_score"])
            by_company.setdefault(company_of[key], []).append(member)
    found = {}
    for company, members in by_company.items():
        chance = 1 - math.prod(1 - min(-negative, 0.9999) for negative, _, _ in members)
        named = ", ".join(f"contact {key}: {score}" for _, key, score in sorted(members)[:3])
        many = "1 open contact" if len(members) == 1 else f"{len(members)} open contacts"
        found[company] = (str(round(100 * min(chance, 0.99))), f"{many}; {named}")
    return found


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    [state] = (folder / "state").glob("*-*")
    with duckdb.connect(str(state / "mirror.duckdb"), read_only=True) as connection:
        connection.execute("set schema = 'store'")
        return connection.execute(query).fetchall()


def company_updates(account: Portal) -> int:
    """Write calls that reached companies: on Salesforce all write calls are of one path."""
    ending = ("companies/batch/update", "/composite/sobjects")
    return sum(count for name, count in account.calls().items() if name.endswith(ending))


def test_a_company_has_the_score_that_its_open_contacts_make(
    account: Portal, synced: tuple[Path, dict[str, Any]]
) -> None:
    folder, result = synced
    standing = scores(account)
    assert standing == expected(account, folder)
    assert len(standing) == result["companies"]["changed"] > COMPANIES / 3
    assert result["companies"]["values"] == 2 * len(standing)
    assert result["companies"]["off"] is None
    assert max(int(score) for score, _ in standing.values()) > 80


def test_the_same_sync_again_writes_nothing(account: Portal, synced: tuple[Path, dict[str, Any]]) -> None:
    folder, first = synced
    before = company_updates(account)
    code, result, err = inside(account, folder, "sync")
    assert code == 0, err
    assert (result["companies"]["changed"], result["companies"]["unchanged"]) == (0, first["companies"]["changed"])
    assert company_updates(account) == before
    assert result["scored"] == 0, "our own writes on companies are no news of their contacts"


def test_the_report_shows_the_same_number(account: Portal, synced: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = synced
    code, result, err = inside(account, folder, "report", "--out", str(folder / "r.html"))
    assert code == 0, err
    shown = {one["company_id"]: str(one["score"]) for one in result["who"][0]["companies"]}
    assert shown
    standing = scores(account)
    assert shown == {key: standing[key][0] for key in shown}


def test_rollback_puts_back_what_stood_and_keeps_what_a_person_edited(
    account: Portal, synced: tuple[Path, dict[str, Any]]
) -> None:
    folder, first = synced
    standing = scores(account)
    edited = min(standing)
    account.edit_company(edited, leadlight_company_score="7")
    code, result, err = inside(account, folder, "rollback", first["run_id"], "--yes")
    assert code == 0, err
    assert result["companies"]["restored"] == len(standing) - 1
    assert result["companies"]["skipped"] == {"edited_since": 1, "gone": 0}
    kept = {"company_id": edited, "property": SCORE, "value": "7", "by_run": None}
    assert result["kept_of_companies"] == [kept]
    assert scores(account) == {edited: ("7", "")}
    # held back like the contacts, until the rollback is itself rolled back
    code, held, err = inside(account, folder, "sync")
    assert code == 0, err
    assert held["companies"]["changed"] == 0
    assert held["companies"]["held"] == len(standing)
    _, shown, _ = inside(account, folder, "runs", result["run_id"])
    assert shown["companies"]["written"] == len(standing)
    listed = {entry["company_id"] for entry in shown["entries"] if "company_id" in entry}
    assert listed <= standing.keys()
    code, again, err = inside(account, folder, "rollback", result["run_id"], "--yes")
    assert code == 0, err
    assert again["companies"]["restored"] == len(standing)
    code, last, err = inside(account, folder, "sync")
    assert code == 0, err
    assert last["companies"]["changed"] == 1, "what the person edited is put right by the next sync"
    assert scores(account) == standing


def test_whoever_is_erased_is_named_by_no_company(account: Portal, synced: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = synced
    naming = {key: text for key, (_, text) in scores(account).items()}
    [(company, text), *_] = sorted(naming.items())
    person = text.split("contact ")[2 if "; contact" in text else 1].partition(":")[0]
    written = {key for key, told in naming.items() if f"contact {person}:" in told}
    assert company in written
    code, result, err = inside(account, folder, "erase", person, "--yes")
    assert code == 0, err
    assert result["proof"]["traces"] == []
    assert not any(f"contact {person}:" in told for _, told in scores(account).values())
    assert not written & scores(account).keys()
    texts = "from duckdb_columns() where schema_name = 'store' and data_type = 'VARCHAR'"
    for table, column in rows(folder, f"select table_name, column_name {texts}"):
        found = rows(folder, f'select count(*) from "{table}" where contains("{column}", \'contact {person}:\')')
        assert found == [(0,)], f"{table}.{column}"
    code, result, err = inside(account, folder, "sync")
    assert code == 0, err
    after = scores(account)
    assert written <= after.keys()
    assert not any(f"contact {person}:" in told for _, told in after.values())
    assert after == expected(account, folder)


def test_uninstall_leaves_nothing_of_ours_on_companies(
    account: Portal, synced: tuple[Path, dict[str, Any]]
) -> None:
    folder, _ = synced
    standing = len(scores(account))
    code, result, err = inside(account, folder, "uninstall", "--yes")
    # fields of Salesforce's go by metadata
    assert code == (4 if account.platform == "salesforce" else 0), err
    assert (result["companies"], result["companies_cleared"]["changed"]) == (standing, standing)
    assert scores(account) == {}
    actions = {entry["name"]: entry["action"] for entry in result["properties"]}
    assert actions[SCORE] == ("by_hand" if account.platform == "salesforce" else "archive")


def test_killed_while_companies_are_written_the_next_sync_ends_it(leads: Path, tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    with portal("--from", str(leads), "--search-lag", "0", "--fault", "hang-after=1000") as account:
        folder = workplace(calm, account=account)
        code, result, err = inside(account, folder, "sync")
        assert code == 0, err
        calls = sum(account.calls().values())
        whole = scores(account)
        contacts = without_scored_at(account)
    with portal("--from", str(leads), "--search-lag", "0", "--fault", f"hang-after={calls}") as account:
        folder = workplace(tmp_path / "killed", account=account)
        process = start(["sync", "--json"], account.environment(folder / "state"), folder)
        wait_for(lambda: scores(account) == whole, "the last batch, which is never answered")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert rows(folder, "select count(*) from outcomes where object = 'company'") == [(0,)]
        assert rows(folder, "select count(*) from attempts where object = 'company'") == [(len(whole),)]
        before = company_updates(account)
        code, result, err = inside(account, folder, "sync")
        assert code == 0, err
        assert (result["companies"]["changed"], result["companies"]["unchanged"]) == (0, len(whole))
        assert company_updates(account) == before
        assert scores(account) == whole
        assert without_scored_at(account) == contacts
        settled = "select count(*) from outcomes where object = 'company' and state = 'written'"
        assert rows(folder, settled) == [(len(whole),)]


def without_scored_at(account: Portal) -> dict[str, dict[str, Any]]:
    return {
        key: {name: value for name, value in one.items() if name not in ("leadlight_scored_at", "leadlight_model")}
        for key, one in without_dates(account.contacts()).items()
    }


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("crm.objects.companies.write", "crm.objects.companies.write"),
        ("crm.schemas.companies.write", "crm.schemas.companies.write"),
        ("crm.objects.companies.read", "No companies are known"),
    ],
)
def test_a_missing_scope_is_named_and_contacts_are_written_as_ever(
    leads: Path, tmp_path: Path, missing: str, said: str
) -> None:
    with portal("--from", str(leads), "--search-lag", "0", "--fault", f"missing-scope={missing}") as account:
        folder = workplace(tmp_path, account=account)
        for written in (True, False):
            code, result, err = inside(account, folder, "sync")
            assert code == 0, err
            assert (result["pushed"]["changed"] > 300) is written
            assert said in result["companies"]["off"]
            assert said in err
            assert result["companies"]["changed"] == 0
        assert scores(account) == {}
        code, result, err = inside(account, folder, "rollback", runs(account, folder)[-1], "--yes")
        assert code == 0, err
        assert result["restored"] > 300


def runs(account: Portal, folder: Path) -> list[str]:
    _, result, _ = inside(account, folder, "runs")
    return [row["run_id"] for row in result["runs"] if row["contacts"]["written"]]


def test_fields_that_are_not_there_stop_no_contact(leads: Path, tmp_path: Path) -> None:
    hidden = ("--fault", "hidden-field=Account.Leadlight_Company_Score__c")
    with portal("--from", str(leads), *hidden, platform="salesforce") as account:
        folder = workplace(tmp_path, account=account)
        code, result, err = inside(account, folder, "sync")
        assert code == 0, err
        assert result["pushed"]["changed"] > 300
        assert "Account.Leadlight_Company_Score__c" in result["companies"]["off"]
        assert "sf project deploy" in result["companies"]["off"]
        code, told, err = inside(account, folder, "doctor")
        assert code == 0, err
        [check] = [one for one in told["checks"] if one["name"] == "company score"]
        assert check["state"] == "off"
        assert "Account.Leadlight_Company_Score__c" in check["detail"]


def test_who_is_held_out_or_may_hold_no_value_does_not_count(leads: Path, tmp_path: Path) -> None:
    held_out = "max_grade_moves = 1.0\n[holdout]\nshare = 0.3\n"
    with portal("--from", str(leads), "--search-lag", "0") as account:
        folder = workplace(tmp_path, held_out, account)
        code, _, err = inside(account, folder, "sync")
        assert code == 0, err
        # a contact of the holdout holds no probability, so that the formula leaves it out too
        assert scores(account) == expected(account, folder)
        flagged = {key for key, one in account.contacts().items() if one.get("leadlight_holdout") == "true"}
        assert len(flagged) > 50
        assert not flagged & named(account)
        before = named(account)
        retail = {key for key, one in account.contacts().items() if one["industry"] == "Retail"}
        assert retail & before
        workplace(tmp_path, f'{held_out}[write.exclude.property]\nindustry = ["Retail"]\n', account)
        code, _, err = inside(account, folder, "sync")
        assert code == 0, err
        assert not retail & named(account)
        assert scores(account).keys() == expected(account, folder).keys()


def named(account: Portal) -> set[str]:
    """The contacts that companies' reasons name."""
    return {one for _, text in scores(account).values() for one in re.findall(r"contact (\w+):", text)}


def test_a_plan_that_is_approved_writes_companies_too(leads: Path, tmp_path: Path) -> None:
    with portal("--from", str(leads), "--search-lag", "0") as account:
        folder = workplace(tmp_path, "require_approval = true\n", account)
        code, result, err = inside(account, folder, "sync")
        assert code == 3, err
        assert "approved" in result["companies"]["off"]
        assert scores(account) == {}
        code, result, err = inside(account, folder, "approve", result["plan"])
        assert code == 0, err
        assert scores(account) == expected(account, folder)
        assert result["companies"]["changed"] == len(scores(account)) > 0
        (folder / "leadlight.toml").write_text(f"shadow = true\n{account.goal}", encoding="utf-8")
        code, result, err = inside(account, folder, "sync")
        assert code == 0, err
        assert result["companies"]["off"] == "Shadow mode writes nothing on companies."
        assert not any("shadow" in name for one in account.companies().values() for name in one)
