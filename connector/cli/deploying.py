"""What an administrator deploys on the platform."""

from pathlib import Path
from typing import Annotated

import typer

from connector import console
from connector.cli.answering import Config, Json, answering
from connector.settings import load


def manifest(
    platform: Annotated[str, typer.Argument(help="hubspot or salesforce.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write the project to.")],
    config: Config = None,
    contact_email: Annotated[
        str | None, typer.Option("--contact-email", help="Whom users of the app may write to.")
    ] = None,
    outbound_user: Annotated[
        str | None,
        typer.Option("--outbound-user", help="Salesforce: add outbound messages, sent by this user."),
    ] = None,
    stale_days: Annotated[
        int | None,
        typer.Option("--stale-days", min=1, help="Days until a card calls a prediction run out (the horizon)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that holds something else.")] = False,
    json: Json = False,
) -> None:
    """Write the project that puts predictions on the record: app, webhooks, fields, permissions and card.

    Filled in from the settings and the models in use; deployed with the platform's own tools. Write it again after
    a training that looks at other properties.

    Examples:

        leadlight manifest hubspot --out hubspot-app

        leadlight manifest salesforce --out salesforce-app --contact-email ops@your-company.example --json
    """
    from connector.handing import deputy
    from connector.jobs.manifest import Order
    from connector.jobs.manifest import manifest as job

    with answering(json) as answer:
        order = Order(out, stale_days, contact_email, outbound_user, force)
        settings = load(config)
        # whose state it is, and with it who has it, depends on the platform that is asked for
        there = settings.model_copy(update={"platform": platform})
        answer.result = job(settings, platform, order, deputy(there, console.say))
        console.manifested(answer.result)
