"""Who asked to be forgotten on the platform: erased in whatever order it is told, and in nobody else's way."""

from collections.abc import Iterator, Sequence

import pytest

from connector.jobs.rescore import rescore
from connector.jobs.run import Run
from connector.platform import Outcome, Write
from tests.connector.rescoring import Portal, hint, portal, rows
from tests.made_up import write_leads


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    leads = write_leads(tmp_path_factory.mktemp("leads"), 320)
    with portal(leads, tmp_path_factory.mktemp("state")) as opened:
        yield opened


@pytest.mark.parametrize("order", [("deleted", "erased"), ("erased", "deleted")])
@pytest.mark.parametrize("together", [True, False])
def test_a_privacy_deletion_is_an_erasure_in_any_order(
    account: Portal, order: tuple[str, str], *, together: bool
) -> None:
    account.hints()
    person = account.open_leads()[-1]
    account.call("POST", "contacts/gdpr-delete", {"objectId": person})
    assert {one.kind for one in account.hints()} == {"deleted", "erased"}
    calls = [[hint(kind, person) for kind in order]] if together else [[hint(kind, person)] for kind in order]
    results = [account.rescore(hints) for hints in calls]
    assert sum(one["erased"] for one in results) == 1
    assert all(one["left"] == [] for one in results)
    erasure = next(one["erasure"] for one in results if one["erased"])
    assert erasure["proof"]["traces"] == []
    with account.running() as run:
        assert rows(run, "select 1 from store.contacts where contact_id = ?", person) == []
        assert run.mirror.erased.has_contact(person)


def test_an_erasure_that_the_platform_does_not_take_holds_nobody_else_up(
    account: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, other, lead = account.open_leads()[-5:-2]
    account.edit(lead, pricing_visits="14")
    account.hints()
    with account.running() as run:
        write = run.platform.write

        def refuse(batch: Sequence[Write]) -> list[Outcome]:
            if person not in {one.record_id for one in batch}:
                return write(batch)
            return [Outcome(one.record_id, "failed", error="NO") for one in batch]

        monkeypatch.setattr(run.platform, "write", refuse)
        result = rescore(run, [hint("erased", person, key="theirs"), hint("changed", lead, key="lead")])
        assert (result["erased"], result["left"], result["changed"]) == (0, ["theirs"], 1)
        assert any("Nothing was erased" in reason for reason in result["reasons"])
        # whose erasure comes next has nothing to finish of this one
        assert rescore(run, [hint("erased", other)])["erased"] == 1
        assert rows(run, "select 1 from store.contacts where contact_id = ?", person) == [(1,)]


def test_an_unknown_person_who_was_erased_there_stays_out(account: Portal) -> None:
    result = account.rescore([hint("erased", "987654321")])
    assert (result["erased"], result["changed"]) == (1, 0)
    with account.running() as run:
        assert run.mirror.erased.has_contact("987654321")


def test_beside_another_job_an_erasure_waits_and_the_person_is_suspended(account: Portal) -> None:
    person = account.open_leads()[-2]
    account.call("POST", "contacts/gdpr-delete", {"objectId": person})
    account.hints()
    asked = [hint("erased", person, key="later")]
    with account.running("sync") as run:
        beside = run.mirror.beside()
        other = Run(
            beside.begin_run("rescore"), "rescore", run.settings, run.platform, beside, None, 0.0, run.progress
        )
        result = rescore(other, asked)
        other.done({})
        beside.close()
        assert (result["erased"], result["left"], result["gone"]) == (0, ["later"], 1)
        assert rows(run, "select 1 from store.predictions where contact_id = ?", person) == []
    assert account.rescore(asked)["erased"] == 1
