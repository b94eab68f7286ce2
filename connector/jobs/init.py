"""Init: a commented `leadlight.toml`, for files a `mapping.toml` besides, and what to do next."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connector.errors import BadSetting
from connector.platforms.files.proposing import Proposal
from connector.settings import PlatformName
from scoring.goals import Goal

#: What a goal may look like on the command line.
GOALS = "deal_won, purchase, lifecycle_stage:customer, event:form_submit, or COLUMN=VALUE"


@dataclass(frozen=True)
class Choices:
    """What the user answered."""

    platform: PlatformName
    #: A `[goal]` table; None: the data decide.
    goal: Mapping[str, Any] | None
    #: Where the settings go.
    config: Path
    #: For files: where the mapping goes, and what it says.
    mapping: Path | None = None
    proposal: Proposal | None = None
    force: bool = False


@dataclass(frozen=True)
class Written:
    """What was written, and the commands that come next."""

    files: tuple[Path, ...]
    next: tuple[str, ...] = field(default_factory=tuple)


def parse_goal(text: str, horizon_days: int) -> dict[str, Any]:
    """A `[goal]` table from GOALS' short form. Raises UsageError for one that means nothing."""
    column, equals, value = text.partition("=")
    if equals:
        goal: dict[str, Any] = {"column": column.strip(), "equals": value.strip()}
    else:
        event, _, value = text.partition(":")
        goal = {"event": text if event == "event" else event, "horizon_days": horizon_days}
        if event == "lifecycle_stage":
            goal["value"] = value or "customer"
    Goal.from_settings(goal)
    return goal


def init(choices: Choices) -> Written:
    """Write the files. Raises BadSetting, with nothing written, where one is there already."""
    files = {choices.config: settings_text(choices)}
    if choices.mapping is not None and choices.proposal is not None:
        files[choices.mapping] = mapping_text(choices.proposal, choices.mapping, choices.goal)
    for path in files:
        if path.exists() and not choices.force:
            raise BadSetting(f"{path} is there already: add --force to write it anew. Nothing was written.")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Written(tuple(files), _next(choices))


_CREDENTIALS = {
    "hubspot": ("export LEADLIGHT_HUBSPOT_TOKEN_FILE=/path/to/a/file/with/the/key",),
    "salesforce": (
        "leadlight manifest salesforce --out salesforce-app --contact-email YOU",
        "(cd salesforce-app && sf project deploy start --manifest manifest/package.xml --target-org YOUR_ORG)",
        "export LEADLIGHT_SALESFORCE_PRIVATE_KEY_FILE=/path/to/the/key.pem",
    ),
}


def _next(choices: Choices) -> tuple[str, ...]:
    config = "" if choices.config == Path("leadlight.toml") else f" --config {choices.config}"
    if choices.platform == "files":
        return (
            f"leadlight doctor{config}",
            f"leadlight evaluate{config}",
            f"leadlight score{config} --out scores.csv",
        )
    return (
        *_CREDENTIALS[choices.platform],
        f"leadlight doctor{config}",
        f"leadlight evaluate{config}",
        f"leadlight sync{config} --dry-run",
    )


#: The settings that name the files of secrets.
_SECRETS = {
    "files": "LEADLIGHT_HUBSPOT_TOKEN_FILE",
    "hubspot": "LEADLIGHT_HUBSPOT_TOKEN_FILE",
    "salesforce": "LEADLIGHT_SALESFORCE_PRIVATE_KEY_FILE",
}

#: A property in which people keep a score of today.
_SCORES = {"files": "hubspotscore", "hubspot": "hubspotscore", "salesforce": "Lead_Score__c"}


def settings_text(choices: Choices) -> str:
    """`leadlight.toml`. A line that begins with `#` and a key is that key's default or an example."""
    lines = [
        "# Settings of Leadlight. LEADLIGHT_<KEY> in the environment wins over a line here.",
        "# Secrets never stand here: put each into a file that only you can read, and its path into",
        f"# {_SECRETS[choices.platform]}.",
        "",
        f"platform = {_toml(choices.platform)}",
    ]
    if choices.mapping is not None:
        lines += [f"mapping = {_toml(_relative(choices.mapping, choices.config.parent))}"]
    lines += [
        "# The mirror, the models and the ledger live here, one folder an account.",
        '#state_dir = ".leadlight"',
        "",
        "# A run that would change more contacts than this, or move more than this share of the grades that stand",
        "# (0.2 unless you say otherwise), writes nothing; of companies, none beyond the same number.",
        "#max_changes = 5000",
        "#max_grade_moves = 0.2",
        "# Nothing is written before a person has approved the plan (leadlight approve).",
        "#require_approval = true",
        "# Who objects to profiling is neither scored nor trained on: the property that says so.",
        '#consent = { profiling_property = "profiling_consent", denied_values = ["no"] }',
        "# Who gets no value: by lifecycle_stage, owner, country, email_domain, list, or property.",
        '#write = { exclude = { email_domain = ["your-company.example"] } }',
        "# A random tenth gets no score, so that `leadlight measure` can tell what acting on it brings.",
        "#holdout = { share = 0.1 }",
        "# Properties that must never be used, and those that only look like leaks.",
        "#excluded = []",
        "#trusted = []",
        "# The property that holds the score you use today: the model has to beat it.",
        f"#compare_to = {_toml(_SCORES[choices.platform])}",
        "# Zone of contacts whose record and country tell none (absent: the account's own, where it is known).",
        '#timezone = "UTC"',
    ]
    if choices.platform == "salesforce":
        lines += [
            "# The org: its My Domain host, the app's consumer key, and the integration user's name.",
            '#salesforce_base_url = "https://YOUR-DOMAIN.my.salesforce.com"',
            '#salesforce_client_id = "…"',
            '#salesforce_username = "leadlight@your-company.example"',
        ]
    if choices.platform != "files":
        names = {"hubspot": ("HubSpot", "leadlight_score"), "salesforce": ("Salesforce", "Leadlight_Score__c")}
        platform, score = names[choices.platform]
        lines += [
            f"# Share of {platform}'s call limits that is left to your other integrations.",
            "#spare_calls = 0.1",
            f"# Our properties are called {score} and so on.",
            '#prefix = "leadlight"',
        ]
        lines += ["", *_SERVICE]
        return "\n".join([*lines, "", *_goal_lines(choices.goal)]) + "\n"
    return "\n".join([*lines, "", "# What to predict stands in the mapping."]) + "\n"


#: Inline tables, so that a line that is let in does not swallow the keys after it.
_SERVICE = (
    "# The service (`leadlight serve`): when it syncs, as a cron expression in the account's time zone (empty:",
    "# never), and every how many minutes it looks for what webhooks cannot tell.",
    '#serve = { sync = "15 2 * * *", poll_minutes = 5 }',
    "# Where it tells that a run failed, was refused or did not come: mail, or a chat's incoming webhook",
    "# (LEADLIGHT_ALERTS_WEBHOOK_URL_FILE), or both.",
    '#alerts = { smtp_host = "smtp.your-company.example", mail_from = "leadlight@your-company.example", mail_to = '
    '"ops@your-company.example" }',
)


def mapping_text(proposal: Proposal, path: Path, goal: Mapping[str, Any] | None) -> str:
    """`mapping.toml` for one file of contacts."""
    lines = [
        f"# How to read {proposal.file.name}: {proposal.rows:,} rows, {len(proposal.found)} columns. Check it.",
        "# Columns that are not named here become properties; their types are found from the values.",
        '#timezone = "UTC"',
        "",
        "[contacts]",
        f"file = {_toml(_relative(proposal.file, path.parent))}",
    ]
    if proposal.id is not None:
        lines.append(f"id = {_toml(proposal.id)}")
    else:
        lines.append('#id = "…"   # no column looks like an id: contacts are known by their row number')
    if proposal.columns:
        pairs = ", ".join(f"{ours} = {_toml(theirs)}" for ours, theirs in proposal.columns.items())
        lines.append(f"columns = {{ {pairs} }}   # our name = the file's")
    if proposal.missing:
        lines.append(f"missing = {_list(['', *proposal.missing])}   # words that mean 'not known'")
    lines += [
        "# Columns that are known only when the outcome is, such as the length of the closing call:",
        "#drop = []",
        "# If the rows stand in the order of time, the last fifth tests the model:",
        '#order_by = "row"',
        "",
        *_goal_lines(goal),
    ]
    return "\n".join(lines) + "\n"


def _goal_lines(goal: Mapping[str, Any] | None) -> list[str]:
    if goal is None:
        return [
            "# What to predict. Left out: a deal won within 90 days, or else lifecycle stage customer.",
            "#[goal]",
            '#column = "…"',
            '#equals = "…"',
        ]
    head = ["# What to predict."]
    if "event" in goal:
        head = [
            "# What to predict: an event within so many days. event is deal_won, purchase, lifecycle_stage (with",
            '# value = "customer") or event:<kind>; or else a property: column = "…" and equals = "…".',
        ]
    if "column" in goal:
        head = ["# What to predict: this value of this column. Other values count as 'no', empty ones as unknown."]
    return [*head, "[goal]", *(f"{key} = {_toml(value)}" for key, value in goal.items())]


def _relative(path: Path, base: Path) -> str:
    """As seen from a folder, when it lies in or beside it; else absolute."""
    relative = os.path.relpath(path.resolve(), base.resolve())
    return str(path.resolve()) if Path(relative).parts[:2] == ("..", "..") else Path(relative).as_posix()


def _list(values: list[str]) -> str:
    return "[" + ", ".join(map(_toml, values)) + "]"


def _toml(value: str | int) -> str:
    """A TOML string is a JSON string, but for the one control character that JSON lets stand."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
