"""What a sandbox can be told when it starts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from connector.errors import BadSetting

#: Faults that happen to a share of the requests: `--fault 503=0.02`.
CHANCE_FAULTS = (
    *("423", "429", "477", "500", "502", "503", "504", "521", "523", "524"),
    *("reset", "slow", "truncate", "commit-then-timeout"),
    # Salesforce: a session that ends, rows that are locked or break a validation rule, jobs that fail
    *("expired-session", "lock", "validation", "job-failed", "query-timeout", "concurrent-limit", "420"),
)
#: What befalls a share of the webhooks' events: sent twice, out of order, or seconds late.
WEBHOOK_FAULTS = ("webhook-repeat", "webhook-shuffle", "webhook-late")
#: Faults with a value of their own: a count, a scope, a property, a plan.
NAMED_FAULTS = (
    *("hang-after", "missing-scope", "required-property", "property-in-use", "plan"),
    # Salesforce: calls of a session, seconds, seconds, rows from which a query takes too long, Object.Field
    *("session-calls", "slow-jobs", "late-commit", "query-rows", "hidden-field"),
)
_COUNTS = ("hang-after", "session-calls", "slow-jobs", "late-commit", "query-rows")

PLANS = ("free", "starter", "professional", "enterprise")


@dataclass(frozen=True)
class Rate:
    """`calls` within any `seconds`."""

    calls: int
    seconds: float


def parse_rate(text: str) -> Rate:
    """Read `190/10s`. Raises BadSetting."""
    found = re.fullmatch(r"(\d+)/(\d+(?:\.\d+)?)s", text.strip())
    if not found or int(found[1]) < 1 or float(found[2]) <= 0:
        raise BadSetting(f"--rate {text!r}: write calls per seconds, as in 190/10s.")
    return Rate(int(found[1]), float(found[2]))


def parse_fault(text: str) -> tuple[str, str]:
    """Read `503=0.02`, `hang-after=17`, `missing-scope=forms`. Raises BadSetting."""
    name, equals, value = text.partition("=")
    if name not in CHANCE_FAULTS + WEBHOOK_FAULTS + NAMED_FAULTS or not equals:
        known = ", ".join(CHANCE_FAULTS + WEBHOOK_FAULTS + NAMED_FAULTS)
        raise BadSetting(f"--fault {text!r}: write NAME=VALUE; known names are {known}.")
    if name in CHANCE_FAULTS + WEBHOOK_FAULTS and not re.fullmatch(r"0?\.\d+|[01](\.0*)?", value):
        raise BadSetting(f"--fault {text!r}: {name} takes a probability from 0 to 1.")
    if name in _COUNTS and not re.fullmatch(r"[1-9]\d*", value):
        raise BadSetting(f"--fault {text!r}: {name} takes a whole number from 1 on.")
    if name == "plan" and value not in PLANS:
        raise BadSetting(f"--fault {text!r}: plan is one of {', '.join(PLANS)}.")
    if not value:
        raise BadSetting(f"--fault {text!r}: {name} needs a value.")
    return name, value


@dataclass(frozen=True)
class Faults:
    """What goes wrong on purpose."""

    chances: Mapping[str, float] = field(default_factory=dict)
    #: The same for events of webhooks.
    webhooks: Mapping[str, float] = field(default_factory=dict)
    hang_after: int | None = None
    missing_scopes: frozenset[str] = frozenset()
    required_properties: frozenset[str] = frozenset()
    plan: str = "enterprise"
    #: Properties that segments or workflows stand on, so that they cannot be archived.
    used_properties: frozenset[str] = frozenset()
    #: Salesforce: calls after which a session ends.
    session_calls: int | None = None
    #: Salesforce: seconds that every bulk job takes more.
    slow_jobs: int = 0
    #: Salesforce: seconds by which a person's edit is stamped before it can be seen.
    late_commit: int = 0
    #: Salesforce: rows that a REST query may find; one that finds more takes too long.
    query_rows: int | None = None
    #: Salesforce: fields ('Lead.Leadlight_Score__c') that field-level security hides.
    hidden_fields: frozenset[str] = frozenset()

    @classmethod
    def of(cls, faults: tuple[tuple[str, str], ...]) -> "Faults":
        """From pairs as `parse_fault` gives them; later ones win, scopes and properties add up."""
        last = dict(faults)
        return cls(
            chances={name: float(value) for name, value in faults if name in CHANCE_FAULTS},
            webhooks={name: float(value) for name, value in faults if name in WEBHOOK_FAULTS},
            hang_after=int(last["hang-after"]) if "hang-after" in last else None,
            missing_scopes=frozenset(value for name, value in faults if name == "missing-scope"),
            required_properties=frozenset(value for name, value in faults if name == "required-property"),
            plan=last.get("plan", "enterprise"),
            used_properties=frozenset(value for name, value in faults if name == "property-in-use"),
            session_calls=int(last["session-calls"]) if "session-calls" in last else None,
            slow_jobs=int(last.get("slow-jobs", 0)),
            late_commit=int(last.get("late-commit", 0)),
            query_rows=int(last["query-rows"]) if "query-rows" in last else None,
            hidden_fields=frozenset(value for name, value in faults if name == "hidden-field"),
        )


@dataclass(frozen=True)
class SandboxOptions:
    """Options of `leadlight sandbox`. `mapping` (`--from`) goes before `contacts` and `seed`."""

    platform: Literal["hubspot", "salesforce"] = "hubspot"
    #: 0 takes a free one.
    port: int = 0
    mapping: Path | None = None
    contacts: int = 0
    seed: int = 1
    latency_ms: float = 0.0
    rate: Rate = Rate(190, 10.0)
    #: Calls per day of the account, None for the plan's own.
    daily: int | None = None
    faults: tuple[tuple[str, str], ...] = ()
    webhooks: str | None = None
    #: Seconds by which the search index lags behind writes.
    search_lag: float = 10.0
    #: Without our properties; a HubSpot account has none at the start anyway.
    bare: bool = False
