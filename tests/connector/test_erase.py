"""A person taken out for good, from outside: no trace in any table or file, and no way back by a full pull."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.connector.portal import LEADLIGHT, Portal, clean_environment, leadlight, portal

#: So few contacts that a model learned again moves many grades: caps have tests of their own.
SETTINGS = 'max_grade_moves = 1.0\n[goal]\nevent = "deal_won"\nhorizon_days = 90\n'
ROOT = Path(__file__).resolve().parents[2]


#: Contacts who are one record of the platform (no lead that became a contact) and of whom all is kept that can be.
_ALONE = (
    "contact_id not in (select merged_into from contacts where merged_into is not null) "
    "and merged_into is null and contact_id in (select object_id from property_history)"
)


@pytest.fixture(scope="module", params=["hubspot", "salesforce"])
def account(request: pytest.FixtureRequest) -> Iterator[Portal]:
    options = ("--contacts", "400", "--seed", "3", "--search-lag", "0")
    with portal(*options, platform=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def folder(account: Portal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a state that has been synced once."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "leadlight.toml").write_text(SETTINGS, encoding="utf-8")
    code, result, err = run(account, folder, "sync")
    assert code == 0, err
    assert result["pushed"]["changed"] > 300
    return folder


def run(account: Portal, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    return leadlight([*arguments, "--json"], account.environment(folder / "state"), folder)


def state(folder: Path) -> Path:
    [found] = (folder / "state").glob("*-*")
    return found


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(state(folder) / "mirror.duckdb"), read_only=True) as connection:
        connection.execute("set schema = 'store'")
        return connection.execute(query).fetchall()


def addresses(folder: Path, contact: str) -> list[str]:
    return [row[0] for row in rows(folder, f"select email from contact_addresses where contact_id = '{contact}'")]


def columns_with(folder: Path, contact: str, texts: list[str]) -> dict[str, int]:
    """Text columns in which an address stands, or the id where contacts' ids do, with the number of rows."""
    found = {}
    with duckdb.connect(str(state(folder) / "mirror.duckdb"), read_only=True) as connection:
        columns = connection.execute(
            "select schema_name, table_name, column_name from duckdb_columns() where data_type = 'VARCHAR' "
            "and database_name = current_database()"
        ).fetchall()
        for schema, table, column in columns:
            named = " or ".join(f"contains(lower({column}), '{text}')" for text in texts)
            if column in ("contact_id", "object_id", "merged_into", "person_id"):
                named += f" or {column} = '{contact}'"
            if column == "object_id":
                named = f"({named}) and object = 'contact'"
            [(count,)] = connection.execute(f'select count(*) from {schema}."{table}" where {named}').fetchall()
            if count:
                found[f"{table}.{column}"] = count
    return found


def files_with(folder: Path, texts: list[str]) -> set[str]:
    found = set()
    for path in state(folder).rglob("*"):
        if path.is_file() and any(text.encode() in path.read_bytes().lower() for text in texts):
            found.add(path.name)
    return found


def _ours(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name.startswith("leadlight_")}


def batch_updates(account: Portal) -> int:
    writing = ("/batch/update", "/composite/sobjects", "/jobs/ingest")
    return sum(count for endpoint, count in account.calls().items() if endpoint.endswith(writing))


def test_everything_known_is_handed_out(account: Portal, folder: Path) -> None:
    busy = rows(
        folder,
        "select contact_id from deal_contacts join predictions using (contact_id) "
        f"join contacts using (contact_id) where ours <> '{{}}' and {_ALONE} "
        "group by 1 order by count(*) desc, 1 limit 1",
    )[0][0]
    code, found, err = run(account, folder, "export", busy)
    assert code == 0, err
    tables = found["tables"]
    assert found["contact_ids"] == [busy]
    assert found["addresses"] == sorted(addresses(folder, busy))
    expected = {
        "contacts": "contacts where contact_id = '{}'",
        "contact_addresses": "contact_addresses where contact_id = '{}'",
        "events": "events where contact_id = '{}'",
        "property_history": "property_history where object = 'contact' and object_id = '{}'",
        "deal_contacts": "deal_contacts where contact_id = '{}'",
        "deals": "deals where deal_id in (select deal_id from deal_contacts where contact_id = '{}')",
        "predictions": "predictions where contact_id = '{}'",
        "writes": "writes where object = 'contact' and object_id = '{}'",
    }
    for table, what in expected.items():
        [(count,)] = rows(folder, f"select count(*) from {what.format(busy)}")
        assert len(tables[table]) == count > 0, table
    # what is JSON in storage is JSON here, not a text of it
    assert tables["contacts"][0]["ours"]["leadlight_model"]
    assert isinstance(tables["contacts"][0]["properties"], dict)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["erase", "{contact}"], "--yes"),
        (["erase"], "Name one contact"),
        (["erase", "999999999", "--yes"], "No such contact"),
        (["erase", "--email", "contact1001@company8.example", "--yes"], "takes only -"),
        (["export", "999999999"], "No such contact"),
        (["export"], "Name one contact"),
    ],
)
def test_refusals_write_and_remove_nothing(account: Portal, folder: Path, arguments: list[str], said: str) -> None:
    before = batch_updates(account), rows(folder, "select count(*) from contacts")
    [(contact,)] = rows(folder, "select min(contact_id) from contacts")
    code, _, err = run(account, folder, *(one.format(contact=contact) for one in arguments))
    assert code == 2
    assert said in err
    assert (batch_updates(account), rows(folder, "select count(*) from contacts")) == before
    assert not (state(folder) / "erasing.json").exists()
    assert rows(folder, "select * from erased") == []


def test_an_erased_person_leaves_no_trace_and_does_not_come_back(account: Portal, folder: Path) -> None:
    # a record of Salesforce's has one address
    least = {"hubspot": 2, "salesforce": 1}[account.platform]
    [(contact,)] = rows(
        folder,
        "select contact_id from contact_addresses a join contacts c using (contact_id) "
        f"where ours <> '{{}}' and {_ALONE} and contact_id in (select contact_id from events) "
        f"group by 1 having count(distinct a.email) >= {least} order by 1 limit 1",
    )
    [(people,)] = rows(folder, "select count(*) from contacts")
    texts = addresses(folder, contact)
    assert len(texts) >= least
    # The search would find something if there was something.
    before = columns_with(folder, contact, texts)
    assert {"contacts.email", "contact_addresses.email", "events.contact_id", "writes.object_id"} <= set(before)
    assert {"property_history.object_id", "predictions.contact_id", "outcomes.object_id"} <= set(before)
    assert account.contacts()[contact]["leadlight_model"]

    code, result, err = run(account, folder, "erase", contact, "--yes")
    assert code == 0, err
    assert result["proof"]["traces"] == []
    assert result["proof"]["columns"] > 80
    assert result["proof"]["files"] >= 10
    assert (result["contacts"], result["addresses"]) == (1, len(texts))
    assert contact not in json.dumps({**result, "run_id": ""})
    assert all(text not in json.dumps(result) + err for text in texts)

    assert not any(_ours(account.contacts()[contact]).values())
    assert columns_with(folder, contact, texts) == {}
    assert files_with(folder, texts) == set()
    names = {path.name for path in state(folder).iterdir()}
    assert names <= {"mirror.duckdb", "models", "owner.lock", "erased.key", "budgets.json"}, names
    assert (state(folder) / "erased.key").stat().st_mode & 0o777 == 0o600
    assert (state(folder) / "mirror.duckdb").stat().st_mode & 0o777 == 0o600
    assert not any(f'"{contact}"' in path.read_text() for path in state(folder).glob("models/*/*/*/*"))
    assert {kind for _, kind, _ in rows(folder, "select * from erased")} == {"contact", "address"}

    code, _, err = run(account, folder, "pull", "--full")
    assert code == 0, err
    assert columns_with(folder, contact, texts) == {}
    assert files_with(folder, texts) == set()
    assert rows(folder, "select count(*) from contacts") == [(people - 1,)]
    account.edit(contact, favourite_colour="green")
    code, _, err = run(account, folder, "pull")
    assert code == 0, err
    assert columns_with(folder, contact, texts) == {}

    code, again, err = run(account, folder, "erase", contact, "--yes")
    assert code == 0, err
    assert (again["removed"], again["proof"]["traces"]) == ({}, [])


def test_an_address_on_stdin_names_the_contact(account: Portal, folder: Path) -> None:
    one = (
        f"select contact_id, email from contacts where email is not null and {_ALONE} order by contact_id limit 1"
    )
    [(contact, email)] = rows(folder, one)

    def with_address(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [*LEADLIGHT, *arguments, "--email", "-", "--json"],
            input=f"{email.upper()}\n",
            env=clean_environment({"PYTHONPATH": str(ROOT), **account.environment(folder / "state")}),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    code, found = with_address("export")
    assert (code, found["contact_ids"]) == (0, [contact])
    code, result = with_address("erase", "--yes")
    assert code == 0
    assert result["removed"]["contacts"] == 1
    assert columns_with(folder, contact, [email]) == {}


def test_who_objects_is_cleared_and_not_trained_on(account: Portal, folder: Path) -> None:
    """The setting comes after models and values stand: both go by it with the next sync, on the same day."""
    source = account.named("favourite_colour")
    counts = rows(
        folder,
        f"select properties->>'{source}', count(*), list(contact_id) from contacts "
        "where deleted_at is null group by 1 order by 2",
    )
    value, _, objectors = next(row for row in counts if row[0] and row[1] >= 5)
    contacts = account.contacts()
    assert any(contacts[key].get("leadlight_model") for key in objectors)
    (folder / "leadlight.toml").write_text(
        f'{SETTINGS}[consent]\nprofiling_property = "{source}"\ndenied_values = ["{value}"]\n', encoding="utf-8"
    )
    code, result, err = run(account, folder, "sync")
    assert code == 0, err
    values = {key: ours for key, ours in account.contacts().items() if any(_ours(ours).values())}
    assert not set(values) & set(objectors)
    assert len(values) > 200
    assert result["scored"] > 200
    rows_left = rows(folder, "select contact_id from predictions")
    assert not {row[0] for row in rows_left} & set(objectors)
    code, again, err = run(account, folder, "sync")
    assert (code, again["pushed"]["changed"], again["scored"]) == (0, 0, 0), err
