"""What is kept of one person: to be handed out, or erased."""

import sys
from typing import Annotated

import typer

from connector import console
from connector.cli.answering import Config, Json, Mapping, PlatformName, answering, chosen
from connector.errors import BadSetting

Contact = Annotated[str | None, typer.Argument(help="The contact's id on the platform.")]
Email = Annotated[
    str | None,
    typer.Option("--email", help="Only `-`: the address is read from stdin, where no other user sees it."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def export(
    contact: Contact = None,
    email: Email = None,
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    json: Json = False,
) -> None:
    """Everything that is known about one contact, as JSON.

    Examples:

        leadlight export 30151

        leadlight export --email - < address.txt
    """
    from connector.jobs.export import export as job
    from connector.jobs.run import open_run

    del json  # What was asked for is JSON, so it is printed either way.
    with answering(True) as answer:
        address = _address(contact, email)
        with open_run(chosen(config, platform, mapping), "export") as run:
            answer.result = job(run, contact, address)
            run.done({"tables": {name: len(rows) for name, rows in answer.result["tables"].items()}})


def erase(
    contact: Contact = None,
    email: Email = None,
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take one person out of everything for good, and prove it. Cannot be undone.

    Clears our properties on the platform, removes the person from the state folder, keeps only a keyed hash, so
    that no later pull brings the person back, and searches what is left. Exit 1 if a trace is found.

    Examples:

        leadlight erase 30151

        leadlight erase --email - --yes --json < address.txt
    """
    from connector.jobs.erase import erase as job
    from connector.jobs.erase import prepare
    from connector.jobs.run import open_run

    with answering(json) as answer, console.watching() as progress:
        address = _address(contact, email)
        settings = chosen(config, platform, mapping)
        if not yes and not sys.stdin.isatty():
            raise BadSetting("Erasing cannot be undone: say --yes, as there is no terminal to ask at.")
        with open_run(settings, "erase", progress=progress) as run:
            erasure = prepare(run, contact, address)
            if not yes and not _sure(len(erasure.person.contact_ids), len(erasure.person.addresses)):
                answer.result = {"run_id": run.id, "erased": False}
                run.done(answer.result, "refused")
                return
            answer.result = job(run, erasure)
            run.done(answer.result)
        traces = answer.result["proof"]["traces"]
        answer.exit_code = 1 if traces else 0
        console.erased(answer.result)


def _sure(contacts: int, addresses: int) -> bool:
    asked = f"Erase {contacts} contact record(s) and {addresses} address(es) for good?"
    with console.still():
        return bool(typer.confirm(asked, default=False, err=True))


def _address(contact: str | None, email: str | None) -> str | None:
    """The address from stdin. Raises BadSetting for one given as an argument, which process lists would show."""
    if (contact is None) == (email is None):
        raise BadSetting("Name one contact: its id, or --email - with the address on stdin.")
    if email is None:
        return None
    if email != "-":
        raise BadSetting("--email takes only -, and the address on stdin: arguments are visible to other users.")
    address = sys.stdin.readline().strip()
    if "@" not in address:
        raise BadSetting("--email -: there is no e-mail address on stdin.")
    return address
