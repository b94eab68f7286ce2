"""An outbound message is followed up: its lead is read afresh, scored, written; our own write asks for nothing."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from connector.jobs.rescore import rescore
from connector.jobs.run import open_run
from connector.jobs.sync import sync
from connector.platform import Hint, Received
from connector.platforms.salesforce.webhooks import SalesforceReceiver
from connector.settings import load
from tests.connector.commands import workplace
from tests.connector.portal import portal
from tests.connector.test_salesforce_webhooks import PATH, message, notification
from tests.made_up import write_leads

ROWS = 640


def hints_of(record: str, key: str) -> list[Hint]:
    receiver = SalesforceReceiver(SecretStr(PATH), None)
    body = message(notification(key=key, record=record))
    target = f"/webhooks/salesforce/{PATH}"
    receiver.verify(Received("POST", target, {}, body, datetime.now(UTC).replace(tzinfo=None)))
    return receiver.hints(body)


def test_a_message_has_its_lead_scored_at_once_and_our_write_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = write_leads(tmp_path, ROWS)
    with portal("--from", str(leads), platform="salesforce") as account:
        folder = workplace(tmp_path / "work", account=account)
        for name, value in account.environment(folder / "state").items():
            monkeypatch.setenv(name, value)
        settings = load(folder / "leadlight.toml")
        with open_run(settings, "sync") as run:
            sync(run)
        with open_run(settings, "rescore") as run:
            before = account.contacts()
            lead = min(
                (key for key, values in before.items() if values.get("leadlight_score")),
                key=lambda key: (float(before[key]["leadlight_probability"]), key),
            )
            account.edit(lead, pricing_visits="14", industry="Software", employees="2000")
            calls = sum(run.platform.calls().values())
            result = rescore(run, hints_of(lead, "04l5A0000000001"))
            assert (result["contacts"], result["scored"], result["changed"]) == (1, 1, 1)
            assert result["left"] == []
            assert sum(run.platform.calls().values()) - calls <= 8
            after = account.contacts()[lead]
            assert float(after["leadlight_probability"]) > float(before[lead]["leadlight_probability"])
            # Salesforce tells of our own write too, unless the integration user sends no messages
            again = rescore(run, hints_of(lead, "04l5A0000000002"))
            assert (again["scored"], again["changed"]) == (0, 0)
            assert account.contacts()[lead] == after
