"""Setting an account up, and taking everything of ours away again."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector import console
from connector.cli.answering import (
    Config,
    DryRun,
    Json,
    Mapping,
    PlatformName,
    answering,
    chosen,
)
from connector.cli.asking import Yes, ask, at_terminal, confirm, somebody_decides
from connector.cli.performing import perform
from connector.errors import BadSetting
from connector.jobs.ended import agreed
from connector.settings import PLATFORM_NAMES

if TYPE_CHECKING:
    from connector.platforms.files.proposing import Proposal


def init(
    config: Annotated[Path, typer.Option("--config", help="Settings file to write.")] = Path("leadlight.toml"),
    platform: PlatformName = None,
    goal: Annotated[
        str | None,
        typer.Option(
            "--goal", help="deal_won, purchase, lifecycle_stage:customer, event:form_submit, or COLUMN=VALUE."
        ),
    ] = None,
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=1825, help="Days to reach the goal in.")] = 90,
    file: Annotated[Path | None, typer.Option("--file", help="CSV or Parquet file of contacts (files).")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Its column with the contact's id.")] = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", help="Mapping to write (default: mapping.toml beside the settings)."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is given, or likely.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    json: Json = False,
) -> None:
    """Write a commented leadlight.toml, and for files a mapping.toml; asks what is not given.

    Examples:

        leadlight init

        leadlight init --platform hubspot --goal deal_won --horizon 90 --yes

        leadlight init --platform files --file leads.csv --goal Converted=1 --yes --json
    """
    from connector.jobs.init import Choices, parse_goal
    from connector.jobs.init import init as job

    with answering(json) as answer:
        name = _platform(platform, file, yes=yes)
        proposal = _proposal(file, id, yes=yes) if name == "files" else None
        likely = "=".join(proposal.goal) if proposal is not None and proposal.goal else None
        text = _goal(goal, likely or ("deal_won" if proposal is None else ""), yes=yes)
        if text and "=" not in text and goal is None and not yes:
            horizon = _days(ask("Within how many days?", str(horizon)))
        chosen_goal = parse_goal(text, horizon) if text else None
        where = mapping or config.parent / "mapping.toml"
        choices = Choices(name, chosen_goal, config, where if proposal else None, proposal, force)  # type: ignore[arg-type]
        written = job(choices)
        answer.result = {
            "written": [str(path) for path in written.files],
            "platform": name,
            "goal": chosen_goal,
            "next": list(written.next),
        }
        console.begun(answer.result)


def _platform(given: str | None, file: Path | None, *, yes: bool) -> str:
    given = given or os.environ.get("LEADLIGHT_PLATFORM") or ("files" if file is not None else None)
    if given is None and not yes:
        if not at_terminal():
            raise BadSetting(
                "There is no terminal to ask at: add --platform hubspot, salesforce or files, or --yes."
            )
        given = ask("Where are your contacts? hubspot, salesforce or files", "hubspot")
    if given not in (None, *PLATFORM_NAMES):
        raise BadSetting(f"--platform {given}: known platforms are {', '.join(PLATFORM_NAMES)}.")
    return given or "hubspot"


def _proposal(file: Path | None, ident: str | None, *, yes: bool) -> "Proposal":
    from connector.platforms.files.proposing import propose

    if file is None:
        if yes or not at_terminal():
            raise BadSetting("The files platform needs a file of contacts: add --file leads.csv.")
        file = Path(ask("Which CSV or Parquet file holds the contacts?", "contacts.csv"))
    return propose(file.expanduser(), id=ident)


def _goal(given: str | None, likely: str, *, yes: bool) -> str:
    if given is not None or yes or not at_terminal():
        return given if given is not None else likely
    from connector.jobs.init import GOALS

    return ask(f"What do you want predicted? {GOALS}", likely or "COLUMN=VALUE")


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1825:
        raise BadSetting(f"{text} days: write a whole number from 1 to 1825.")
    return int(text)


def doctor(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Call nothing: judge settings and data only.")
    ] = False,
    json: Json = False,
) -> None:
    """Check token, scopes, plan, limits, clock, properties and data; say what to mend and what a sync will take.

    Changes nothing. Exit code 2 when something that is needed is missing.

    Examples:

        leadlight doctor

        leadlight doctor --platform files --mapping mapping.toml --json
    """
    from connector.handing import deputy
    from connector.jobs.doctor import doctor as job

    with answering(json) as answer:
        settings = chosen(config, platform, mapping)
        with console.watching() as progress:
            found = job(settings, offline=offline, progress=progress, deputy=deputy(settings, console.say))
        answer.result = found.to_json()
        answer.exit_code = 0 if found.ready else 2
        console.diagnosed(answer.result)


def install(
    config: Config = None, platform: PlatformName = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """Create or repair our contact properties; never touches one that is somebody else's (then exit 2).

    Examples:

        leadlight install --dry-run

        leadlight install
    """
    with answering(json) as answer, console.watching() as progress:
        ended = perform(chosen(config, platform, None), "install", {"dry_run": dry_run}, progress=progress)
        answer.result, answer.exit_code = ended.result, ended.exit_code
        console.installed(answer.result)
        if answer.result["conflicts"]:
            console.problem(
                "Conflict",
                "Nothing was changed: a property of our name is somebody else's. Rename it on the platform, or "
                "choose another prefix = … in leadlight.toml.",
            )


def uninstall(
    config: Config = None,
    platform: PlatformName = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Clear our values on every contact, then archive our properties and their group.

    The ledger keeps what stood there. A property that a segment or a workflow uses stays, and is named (exit 4).

    Examples:

        leadlight uninstall --dry-run

        leadlight uninstall --yes
    """

    def sure(removal: dict[str, Any]) -> bool:
        console.removing(removal)
        confirm("Clear these values and archive these properties?", yes=yes)
        return True

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, None)
        if not dry_run:
            somebody_decides("This clears everything that Leadlight wrote on the platform.", yes=yes)
        ended = perform(
            settings, "uninstall", {"dry_run": dry_run}, progress=progress, ask=agreed if dry_run else sure
        )
        answer.result, answer.exit_code = ended.result, ended.exit_code
        if dry_run:
            console.removing(answer.result)
        else:
            console.removed(answer.result)
