"""Setting an account up, and taking everything of ours away again."""

from connector import console
from connector.cli.answering import (
    Config,
    DryRun,
    Json,
    PlatformName,
    answering,
    chosen,
)
from connector.cli.asking import Yes, confirm, somebody_decides


def install(
    config: Config = None, platform: PlatformName = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """Create or repair our contact properties; never touches one that is somebody else's (then exit 2).

    Examples:

        leadlight install --dry-run

        leadlight install
    """
    from connector.jobs.install import install as job
    from connector.jobs.run import open_run

    with answering(json) as answer, open_run(chosen(config, platform, None), "install") as run:
        answer.result = job(run, dry_run=dry_run)
        run.done(answer.result)
        console.installed(answer.result)
        if answer.result["conflicts"]:
            console.problem(
                "Conflict",
                "Nothing was changed: a property of our name is somebody else's. Rename it on the platform, or "
                "choose another prefix = … in leadlight.toml.",
            )
            answer.exit_code = 2


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
    from connector.jobs.run import open_run
    from connector.jobs.uninstall import look
    from connector.jobs.uninstall import uninstall as job

    with answering(json) as answer, console.watching() as progress:
        settings = chosen(config, platform, None)
        if not dry_run:
            somebody_decides("This clears everything that Leadlight wrote on the platform.", yes=yes)
        with open_run(settings, "uninstall", progress=progress) as run:
            removal = look(run)
            console.removing(removal.to_json())
            if not dry_run:
                confirm("Clear these values and archive these properties?", yes=yes)
                job(removal)
                console.removed(removal.to_json())
            answer.result = removal.to_json()
            run.done(answer.result)
        answer.exit_code = 4 if removal.incomplete else 0
