"""What is kept of one person: to be handed out, or erased."""

import sys
from typing import Annotated, Any

import typer

from connector import console
from connector.cli.answering import Config, Json, Mapping, PlatformName, answering, chosen
from connector.cli.asking import Yes, confirm, somebody_decides
from connector.cli.performing import perform
from connector.errors import BadSetting
from connector.jobs.ended import agreed

Contact = Annotated[str | None, typer.Argument(help="The contact's id on the platform.")]
Email = Annotated[
    str | None,
    typer.Option("--email", help="Only `-`: the address is read from stdin, where no other user sees it."),
]


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
    del json  # What was asked for is JSON, so it is printed either way.
    with answering(True) as answer:
        address = _address(contact, email)
        params = {"contact": contact, "email": address}
        answer.result = perform(chosen(config, platform, mapping), "export", params).result


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
    that no later pull brings the person back, and searches what is left. Exit 1 if a trace is found, 4 if
    companies that name the person could not be cleared.

    Examples:

        leadlight erase 30151

        leadlight erase --email - --yes --json < address.txt
    """
    with answering(json) as answer, console.watching() as progress:
        address = _address(contact, email)
        settings = chosen(config, platform, mapping)
        somebody_decides("Erasing cannot be undone.", yes=yes)
        params = {"contact": contact, "email": address}
        ended = perform(settings, "erase", params, progress=progress, ask=agreed if yes else _sure)
        answer.result, answer.exit_code = ended.result, ended.exit_code
        if ended.status == "refused":
            return
        console.erased(answer.result)


def _sure(whom: dict[str, Any]) -> bool:
    confirm(f"Erase {whom['contacts']} contact record(s) and {whom['addresses']} address(es) for good?", yes=False)
    return True


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
