"""The report: one file to look at, and the leads to call as CSV."""

from pathlib import Path
from typing import Annotated

import typer

from connector import console
from connector.cli.answering import AsOf, Config, Json, Mapping, PlatformName, answering, chosen
from connector.cli.fairness import print_fairness
from connector.cli.performing import perform
from connector.errors import BadSetting

_PAGE = Path("leadlight-report.html")


def report(
    config: Config = None,
    platform: PlatformName = None,
    mapping: Mapping = None,
    out: Annotated[
        Path | None, typer.Option("--out", help=f"HTML file to write.  [default: {_PAGE}]", show_default=False)
    ] = None,
    calls: Annotated[
        Path | None, typer.Option("--calls", help="Also each owner's twenty leads to call, to this CSV file.")
    ] = None,
    fairness: Annotated[
        bool,
        typer.Option("--fairness", help="How groups fare that the score must not look at, in the terminal only."),
    ] = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Can I trust it, what drives it, who, when: one HTML file that needs nothing else. Reads the mirror only.

    It holds names and addresses of contacts, and is readable by you alone.

    Examples:

        leadlight report

        leadlight report --out backtest.html --calls calls.csv

        leadlight report --fairness --json

        leadlight report --platform files --mapping mapping.toml --json
    """
    from connector.jobs.outside import remember
    from connector.jobs.report.files import keep
    from connector.pages.rendering import report_page

    with answering(json) as answer, console.watching() as progress:
        if fairness and (out is not None or calls is not None):
            raise BadSetting(
                "--fairness writes no file: it goes without --out and --calls. --json gives its figures."
            )
        page = out or _PAGE
        settings = chosen(config, platform, mapping)
        params = {"fairness": fairness, "calls": calls is not None}
        found = perform(settings, "report", params, progress=progress, as_of=as_of).result
        if fairness:
            answer.result = found
            print_fairness(found["fairness"])
            return
        listed = found.pop("calls", None)
        # what the page shows is what --json says, to the last digit
        keep(page, report_page(found))
        if calls is not None:
            keep(calls, listed["csv"])
        account = found["account"]
        remember(settings.state_dir / f"{account['platform']}-{account['id']}", page, calls)
        files = {"report": str(page), "calls": None if calls is None else str(calls)}
        answer.result = {**found, "files": files}
        console.say(found["verdict"]["headline"])
        for one in found["trust"]:
            console.say(f"  {one['title']}: {one['sentence']}")
        console.say(f"Written: {page}. It holds names and addresses: share it as you would share those.")
        if calls is not None:
            console.say(f"Written: {calls}, {listed['listed']:,} leads to call.")
