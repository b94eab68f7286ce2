"""Trying it without an account of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from connector import console
from connector.cli.answering import (
    Json,
    answering,
)
from connector.errors import BadSetting


def sandbox(
    platform: Annotated[str, typer.Argument(help="hubspot or salesforce")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    source: Annotated[Path | None, typer.Option("--from", help="Serve the contacts of this mapping.toml.")] = None,
    contacts: Annotated[int, typer.Option("--contacts", min=1, help="Size of the made-up market.")] = 2000,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    latency_ms: Annotated[int, typer.Option("--latency-ms", min=0)] = 0,
    rate: Annotated[str, typer.Option("--rate", help="Burst limit, calls/seconds.")] = "190/10s",
    daily: Annotated[int | None, typer.Option("--daily", min=1, help="Calls a day.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", help="NAME=P, any number of them; hang-after=N.")
    ] = None,
    webhooks: Annotated[str | None, typer.Option("--webhooks", help="Send signed webhooks there.")] = None,
    search_lag: Annotated[float, typer.Option("--search-lag", min=0, help="Seconds.")] = 10.0,
    bare: Annotated[bool, typer.Option("--bare", help="Without our properties.")] = False,
) -> None:
    """A pretend account over real HTTP on this machine, to try everything before you connect your own.

    Prints one JSON line with its address and token when it is ready.

    Examples:

        leadlight sandbox hubspot --port 8801 --contacts 5000 --seed 1

        leadlight sandbox hubspot --port 8801 --from mapping.toml --rate 190/10s --fault 503=0.01

        leadlight sandbox salesforce --port 8802 --contacts 5000 --fault lock=0.01
    """
    from connector.sandbox.options import SandboxOptions, parse_fault, parse_rate
    from connector.sandbox.server import run

    with answering(False):
        if platform not in ("hubspot", "salesforce"):
            raise BadSetting(f"sandbox {platform}: there is one for hubspot and one for salesforce.")
        run(
            SandboxOptions(
                platform="salesforce" if platform == "salesforce" else "hubspot",
                port=port,
                mapping=source,
                contacts=contacts,
                seed=seed,
                latency_ms=latency_ms,
                rate=parse_rate(rate),
                daily=daily,
                faults=tuple(parse_fault(text) for text in fault or ()),
                webhooks=webhooks,
                search_lag=search_lag,
                bare=bare,
            )
        )


def demo(
    contacts: Annotated[int, typer.Option("--contacts", min=2000, help="Size of the made-up market.")] = 5000,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    json: Json = False,
) -> None:
    """See the whole job in two minutes: a made-up market behind a pretend HubSpot, scored and written back.

    Examples:

        leadlight demo

        leadlight demo --contacts 2000 --json
    """
    from connector.demo import demo as job

    with answering(json) as answer, console.watching() as progress:
        answer.result = job(contacts=contacts, seed=seed, progress=progress)
