"""The job on an org whose sessions end and whose calls run out: it stops, and goes on where it was."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connector import registry
from connector.platforms.salesforce import Salesforce
from connector.platforms.salesforce.client.auth import Credentials
from connector.sandbox import SandboxOptions
from connector.sandbox.options import Faults
from connector.sandbox.salesforce import fill
from connector.sandbox.salesforce.box import SalesforceSandbox
from connector.sandbox.times import now_ms
from tests.connector.commands import inside, workplace
from tests.connector.portal import Portal
from tests.made_up import write_leads

ROWS = 640


class Days:
    """An org with the leads of `made_up`, on a clock that can be put forward."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.late = timedelta(0)
        chosen = SandboxOptions(platform="salesforce", mapping=write_leads(folder, ROWS), **options)
        org = fill.org(chosen)
        org.clock = lambda: now_ms() + self.late // timedelta(milliseconds=1)
        org.faults = Faults.of(chosen.faults)
        self.box = SalesforceSandbox(chosen, org)
        self.folder = folder

        def connect(_: Any) -> Salesforce:
            key = SecretStr(Path(str(self.box.ready()["private_key_file"])).read_text(encoding="utf-8"))
            credentials = Credentials(self.box.client_id, username=self.box.username, private_key=key)
            return Salesforce(credentials, self.box.base_url, clock=lambda: datetime.now(UTC) + self.late)

        monkeypatch.setattr(registry, "PLATFORMS", {**registry.PLATFORMS, "salesforce": connect})

    def run(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        account = Portal(self.box.base_url, None, "salesforce", dict(self.box.ready()))
        return inside(account, workplace(self.folder / "work", account=account), *arguments)

    def scores(self) -> dict[str, str]:
        account = Portal(self.box.base_url, None, "salesforce", dict(self.box.ready()))
        return {key: values["leadlight_score"] for key, values in account.contacts().items()
                if values.get("leadlight_score")}  # fmt: skip


@pytest.fixture
def days(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Days]:
    made = Days(tmp_path, monkeypatch, **request.param)
    with made.box:
        yield made


@pytest.mark.parametrize("days", [{"faults": (("session-calls", "4"),)}], indirect=True)
def test_a_session_that_ends_in_the_middle_is_renewed(days: Days) -> None:
    code, result, err = days.run("sync")
    assert code == 0, err
    assert len(days.scores()) == result["pushed"]["changed"] > 400
    assert result["pushed"]["failed"] == 0
    assert result["api_calls"]["by_endpoint"]["POST /services/oauth2/token"] > 3
    code, again, err = days.run("sync")
    assert code == 0, err
    assert again["pushed"]["changed"] == 0


@pytest.mark.parametrize("days", [{"daily": 100}], indirect=True)
@pytest.mark.parametrize("others", [75, 57], ids=["in the pull", "among the writes"])
def test_a_spent_day_stops_the_run_and_the_next_one_goes_on(days: Days, others: int) -> None:
    requests = days.box.host.limits.requests
    for _ in range(others):
        assert requests.take()
    code, result, err = days.run("sync")
    # a tenth is left to the others
    assert requests.used <= 91
    written = days.scores()
    if code != 0:
        assert (code, result["kind"]) == (1, "BudgetSpent"), err
        assert datetime.fromisoformat(result["resume_at"]) > datetime.now(UTC)
    else:
        assert result["pushed"]["left"] > 0
        assert written
    assert len(written) <= 400
    for _ in range(6):
        days.late += timedelta(days=1, minutes=1)
        code, result, err = days.run("sync")
        if code == 0 and not result["pushed"]["left"]:
            break
    assert code == 0, err
    scored = days.scores()
    assert len(scored) > 400
    assert written.items() <= scored.items()
    assert json.dumps(result["pushed"]["failed"]) == "0"
