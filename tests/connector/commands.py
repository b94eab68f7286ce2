"""The `leadlight` command run inside this process: as `portal.leadlight`, without the start-up."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from connector.cli import app
from tests.connector.portal import Portal


def inside(
    account: Portal, folder: Path, *arguments: str, answers: str | None = None, **settings: str
) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON, stderr. `folder` holds leadlight.toml and the state; `settings` go into the environment;
    `answers` is what a person types."""
    environment = account.environment(folder / "state")
    environment |= {f"LEADLIGHT_{name.upper()}": value for name, value in settings.items()}
    given = [*arguments, "--json", "--config", str(folder / "leadlight.toml")]
    result = CliRunner().invoke(app, given, env=environment, input=answers)
    # Above the JSON stand the answers, which the runner types out where a terminal would have shown them.
    last = result.stdout.strip().splitlines()[-1:]
    return result.exit_code, json.loads(last[0]) if last else {}, result.stderr


def writes(account: Portal) -> int:
    """Calls so far that change anything in the account: contacts, properties, groups."""
    reading = ("/search", "/batch/read", "/oauth2/token", "/jobs/query", "/jobs/query/{id}")
    return sum(
        count
        for endpoint, count in account.calls().items()
        if not endpoint.startswith("GET ") and not endpoint.endswith(reading)
    )


def without_dates(contacts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Contacts without the dates that move by themselves and without empty values, which are no values."""
    dates = (
        *("createdate", "lastmodifieddate", "hs_lastmodifieddate"),
        *("CreatedDate", "LastModifiedDate", "LastModifiedById", "SystemModstamp"),
    )
    return {
        contact_id: {
            name: value for name, value in values.items() if name not in dates and value not in (None, "")
        }
        for contact_id, values in contacts.items()
    }


def workplace(folder: Path, more: str = "", account: Portal | None = None) -> Path:
    """A folder with a leadlight.toml for the goal of `made_up.write_leads`, by the name that it has there."""
    folder.mkdir(parents=True, exist_ok=True)
    goal = '[goal]\ncolumn = "y"\nequals = "yes"\n' if account is None else account.goal
    text = f"{more}\n{goal}"
    (folder / "leadlight.toml").write_text(text, encoding="utf-8")
    return folder
