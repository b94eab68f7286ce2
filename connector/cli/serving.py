"""The service."""

import sys
from typing import Annotated

import typer

from connector import console
from connector.cli.answering import Config, Json, Mapping, PlatformName, answering, chosen


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8321,
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    new_login_token: Annotated[
        bool,
        typer.Option(
            "--new-login-token", help="Make a new login token for the dashboard, print it once, and end."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Stay on: receive webhooks, rescore who changed, sync by schedule, show the dashboard.

    While it runs it has the state: other commands hand their job to it, and looks are answered at once. The
    schedule and alerts stand in leadlight.toml under [serve] and [alerts].

    Examples:

        leadlight serve

        leadlight serve --host 0.0.0.0 --port 8321

        leadlight serve --new-login-token
    """
    from connector.pages.login import new_token

    with answering(json) as answer:
        settings = chosen(config, platform, mapping)
        if new_login_token:
            answer.result = {"login_token": new_token(settings.state_dir)}
            console.say(f"Login token (it is shown this once): {answer.result['login_token']}")
            return
        from connector.service.logs import configure
        from connector.service.serving import Service

        configure()
        service = Service(settings, host, port)
        service.run(lambda: _greet(service.url))
        answer.result = {"stopped": True, "url": service.url}


def _greet(url: str) -> None:
    """At a terminal alone: a log holds JSON lines."""
    if sys.stderr.isatty():
        console.say(f"The dashboard is at {url}; stop with Ctrl-C.")
