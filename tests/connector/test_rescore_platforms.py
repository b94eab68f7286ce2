"""Each kind of hint on every platform that has webhooks: the same is done, whoever told of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import requests

from connector.jobs.rescore import rescore
from connector.jobs.run import Run, open_run
from connector.jobs.sync import sync
from connector.sandbox import SandboxOptions
from connector.sandbox.hubspot.state import CRM_UI
from connector.sandbox.salesforce.box import SalesforceSandbox
from connector.sandbox.salesforce.store import ADMIN_USER
from connector.settings import Settings
from tests.connector import rescoring
from tests.connector.rescoring import hint
from tests.made_up import write_leads

KEEN = {"pricing_visits": "14", "industry": "Software", "employees": "2000"}


class Account(Protocol):
    """A pretend account that was synced once."""

    def running(self) -> Any: ...
    def make(self) -> str: ...
    def edit(self, contact_id: str, **properties: str) -> None: ...
    def delete(self, contact_id: str) -> None: ...
    def restore(self, contact_id: str) -> None: ...
    def merge(self, loser: str) -> str:
        """Into a new contact; its id."""

    def probability(self, contact_id: str) -> float | None: ...


class OnHubSpot:
    def __init__(self, portal: rescoring.Portal) -> None:
        self._portal = portal
        self.running, self.edit = portal.running, portal.edit

    def make(self) -> str:
        body = {"properties": {"lastname": "New", "pricing_visits": "1", "age": "33"}}
        return str(self._portal.call("POST", "contacts", body)["id"])

    def delete(self, contact_id: str) -> None:
        self._portal.call("DELETE", f"contacts/{contact_id}")

    def restore(self, contact_id: str) -> None:
        contacts = self._portal.box.state.contacts
        contacts.restore(contacts.records[int(contact_id)], CRM_UI)

    def merge(self, loser: str) -> str:
        winner = self.make()
        self._portal.call("POST", "contacts/merge", {"primaryObjectId": winner, "objectIdToMerge": loser})
        return winner

    def probability(self, contact_id: str) -> float | None:
        found = self._portal.values(contact_id).get("leadlight_probability")
        return None if not found else float(found)


class OnSalesforce:
    def __init__(self, box: SalesforceSandbox, settings: Settings) -> None:
        self._box, self._settings = box, settings
        self._lead, self._contact = box.org.objects["lead"], box.org.objects["contact"]

    @contextmanager
    def running(self, command: str = "rescore") -> Iterator[Run]:
        with open_run(self._settings, command) as run:
            yield run
            run.done({})

    def make(self) -> str:
        [made] = self._box.org.insert(self._lead, [{"LastName": "New", "Company": "Acme"}], ADMIN_USER)
        self.edit(made, pricing_visits="1", age="33")
        return made

    def edit(self, contact_id: str, **properties: str) -> None:
        body = {"contact_id": contact_id, "properties": {f"{name}__c": properties[name] for name in properties}}
        requests.post(f"{self._box.base_url}/_sandbox/edit", json=body, timeout=60).raise_for_status()

    def delete(self, contact_id: str) -> None:
        self._box.org.delete(self._lead, [contact_id], ADMIN_USER)

    def restore(self, contact_id: str) -> None:
        org = self._box.org
        sets = f"IsDeleted = false, SystemModstamp = timestamp '{org.now()}'"
        org.engine.execute(f"update Lead set {sets} where Id = '{contact_id}'")

    def merge(self, loser: str) -> str:
        """A conversion: the lead goes on as a contact."""
        [winner] = self._box.org.insert(self._contact, [{"LastName": "New"}], ADMIN_USER)
        values = {"IsConverted": True, "ConvertedContactId": winner}
        self._box.org.update(self._lead, {loser: values}, ADMIN_USER)
        return winner

    def probability(self, contact_id: str) -> float | None:
        query = f"select Leadlight_Probability__c from Lead where Id = '{contact_id}'"
        [(found,)] = self._box.org.engine.sql(query).fetchall()
        return None if found is None else float(found)


@pytest.fixture(scope="module", params=["hubspot", "salesforce"])
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    leads, state = write_leads(tmp_path_factory.mktemp("leads"), 640), tmp_path_factory.mktemp("state")
    with ExitStack() as stack:
        if request.param == "hubspot":
            yield OnHubSpot(stack.enter_context(rescoring.portal(leads, state)))
            return
        box = stack.enter_context(SalesforceSandbox(SandboxOptions(platform="salesforce", mapping=leads)))
        opened = OnSalesforce(box, _settings(box, state))
        with opened.running("sync") as run:
            assert sync(run)["pushed"]["changed"] > 0
        yield opened


def _settings(box: SalesforceSandbox, state: Path) -> Settings:
    return Settings(
        platform="salesforce",
        salesforce_base_url=box.base_url,
        salesforce_client_id=box.client_id,
        salesforce_username=box.username,
        salesforce_private_key=box.private_key_file.read_text(),  # type: ignore[arg-type]
        state_dir=state,
        goal={"column": "y__c", "equals": "yes"},
        max_grade_moves=1.0,
    )


def follow(account: Account, *hints: Any) -> dict[str, Any]:
    with account.running() as run:
        return rescore(run, hints)


def stored(account: Account, query: str, contact_id: str) -> list[tuple[Any, ...]]:
    with account.running() as run:
        found: list[tuple[Any, ...]] = run.mirror.connection.execute(query, [contact_id]).fetchall()
        return found


@pytest.fixture
def made(account: Account) -> str:
    """A contact that a webhook told of, which has its values."""
    one = account.make()
    result = follow(account, hint("created", one))
    assert (result["scored"], result["changed"], result["left"], result["reasons"]) == (1, 1, [], [])
    assert account.probability(one) is not None
    return one


def test_a_change_is_scored_and_written(account: Account, made: str) -> None:
    before = account.probability(made)
    account.edit(made, **KEEN)
    result = follow(account, hint("changed", made))
    assert (result["scored"], result["changed"], result["left"]) == (1, 1, [])
    after = account.probability(made)
    assert after is not None
    assert before is not None
    assert after > before
    again = follow(account, hint("changed", made))
    assert (again["scored"], again["changed"]) == (0, 0)


def test_a_deletion_suspends_and_a_restore_brings_back(account: Account, made: str) -> None:
    predicted = "select count(*) from store.predictions where contact_id = ?"
    account.delete(made)
    result = follow(account, hint("deleted", made))
    assert (result["gone"], result["changed"], result["left"]) == (1, 0, [])
    assert stored(account, predicted, made) == [(0,)]
    account.restore(made)
    result = follow(account, hint("restored", made))
    assert (result["scored"], result["gone"]) == (1, 0)
    assert stored(account, predicted, made) == [(1,)]


def test_a_merge_leads_to_the_winner(account: Account, made: str) -> None:
    winner = account.merge(made)
    result = follow(account, hint("merged", winner, made))
    assert result["left"] == []
    assert stored(account, "select merged_into from store.contacts where contact_id = ?", made) == [(winner,)]
    assert stored(account, "select count(*) from store.predictions where contact_id = ?", made) == [(0,)]
    assert stored(account, "select count(*) from store.predictions where contact_id = ?", winner) == [(1,)]


def test_an_association_and_an_erasure_are_followed_up(account: Account, made: str) -> None:
    result = follow(account, hint("associated", made))
    assert (result["left"], result["gone"]) == ([], 0)
    account.delete(made)
    result = follow(account, hint("erased", made), hint("deleted", made))
    assert (result["erased"], result["left"]) == (1, [])
    assert stored(account, "select count(*) from store.contacts where contact_id = ?", made) == [(0,)]
