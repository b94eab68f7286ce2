"""Setting an account up."""

from connector import console
from connector.cli.answering import (
    Config,
    DryRun,
    Json,
    PlatformName,
    answering,
    chosen,
)


def install(
    config: Config = None, platform: PlatformName = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """Create those of our contact properties that the platform lacks; never changes one that is not ours.

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
