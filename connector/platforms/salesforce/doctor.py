"""Whether an org is ready: log-in, API version, objects and fields by name, our fields, calls left, clock."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connector.budgets import Budgets
from connector.errors import BadCredentials, BadSetting, MissingScope, PlatformDown, PlatformRefused
from connector.platform import Check, Diagnosis, Wanted
from connector.platforms.salesforce import costing, fields, install
from connector.platforms.salesforce.client import paths, soql
from connector.platforms.salesforce.client.api import Api
from connector.platforms.salesforce.client.auth import Session
from connector.platforms.salesforce.costing import Size
from connector.platforms.salesforce.fields import Definition
from connector.platforms.salesforce.words import ACCOUNT, CONTACT, LEAD

log = logging.getLogger(__name__)

#: Seconds by which this machine's clock may differ: an assertion lives for 150.
CLOCK = 20.0

#: Object -> what is lost without it.
_WORTH = {
    "Account": "firmographics are not used, companies get no score",
    "Opportunity": "goals and features of deals are not there",
    "OpportunityContactRole": "deals belong to nobody: no goal of deals, no features of them",
    "OpportunityHistory": "past amounts of deals are not known",
    "Campaign": "campaigns have no names and costs",
    "CampaignMember": "campaign responses are not used",
    "Task": "calls and tasks are not used",
    "Event": "meetings are not used",
    "EmailMessage": "e-mails and opens are not used, send time lacks its main source",
    "EmailMessageRelation": "e-mails belong to nobody and are not used",
    "Individual": "objections to profiling are not known",
    "LeadHistory": "past values of leads are known from the first pull on only",
    "ContactHistory": "past values of contacts are known from the first pull on only",
}


@dataclass
class Examination:
    """One look at an org. `clock` gives this machine's time (aware), `ticks` seconds that only grow."""

    api: Callable[[], Api]
    session: Session
    budgets: Callable[[], Budgets]
    clock: Callable[[], datetime]
    ticks: Callable[[], float]
    checks: list[Check] = field(default_factory=list)
    size: Size = field(default_factory=Size)
    people: dict[str, dict[str, Definition]] = field(default_factory=dict)

    def run(self, wanted: Wanted) -> Diagnosis:
        """All of it. Without a log-in nothing else is tried."""
        try:
            organization = self.session.organization
        except (BadCredentials, BadSetting) as error:
            self._say("token", "fail", str(error), "Do what the message says, then run doctor again.")
            return Diagnosis(tuple(self.checks))
        self._say("token", "ok", f"Logged in to organisation {organization}.")
        before = self.ticks()
        self._try("API version", self._version, needed=True)
        seconds = max(self.ticks() - before, 0.05)
        self._clock()
        for object_name in (LEAD, CONTACT):
            self._people(object_name)
        if not self.people:
            self._say("read contacts", "fail", "Neither leads nor contacts can be read.", _RIGHTS)
        for object_name in _WORTH:
            self._try(f"read {object_name}", self._counted(object_name))
        self._goal_columns(wanted)
        self._fields(wanted)
        if ACCOUNT in self.size.total and wanted.company_properties:
            self._company_score(wanted)
        people = tuple(self.people)
        limits = self.api().limits
        first = costing.plan(self.size, limits, seconds, people, first=True)
        self._limits(first.calls)
        return Diagnosis(tuple(self.checks), first, costing.plan(self.size, limits, seconds, people, first=False))

    def _version(self) -> str:
        self.api().call(paths.LIMITS)
        return f"The org answers as {self.api().version}."

    def _clock(self) -> None:
        ahead = (self.api().now() - self.clock()).total_seconds()
        if -CLOCK <= ahead <= CLOCK:
            self._say("clock", "ok", "This machine's clock agrees with Salesforce's.")
            return
        way = "behind" if ahead > 0 else "ahead of"
        self._say(
            "clock",
            "warn",
            f"This machine's clock is {abs(ahead):.0f} s {way} Salesforce's.",
            "Set it by NTP: log-ins are refused when it is more than some minutes off.",
        )

    def _people(self, object_name: str) -> None:
        def look() -> str:
            self.people[object_name] = fields.parse(self.api().describe(object_name))
            return self._count(object_name)

        self._try(f"read {object_name}", look)

    def _counted(self, object_name: str) -> Callable[[], str]:
        return lambda: self._count(object_name)

    def _count(self, object_name: str) -> str:
        total = self.api().count(soql.count(object_name), object_name)
        modified = "CreatedDate" if object_name.endswith("History") else "SystemModstamp"
        since = f"{modified} >= {soql.instant(self.api().now() - timedelta(days=1))}"
        changed = self.api().count(soql.count(object_name, [since]), object_name)
        self.size.total[object_name], self.size.changed[object_name] = total, changed
        return f"{total:,}, {changed:,} changed in the last 24 hours."

    def _goal_columns(self, wanted: Wanted) -> None:
        known = {name for definitions in self.people.values() for name in definitions}
        for column in wanted.goal_columns if self.people else ():
            if column in known:
                self._say("goal column", "ok", f"The goal's field {column} is there.")
            else:
                text = f"The goal's field {column!r} is none of Lead or Contact, or hidden from this user."
                self._say("goal column", "fail", text, "Name one that is there under [goal] column = …")

    def _fields(self, wanted: Wanted) -> None:
        if not self.people:
            return
        plans = install.install(self.people, wanted.properties, dry_run=True)
        for plan in plans:
            if plan.action == "conflict":
                remedy = "Rename it in Salesforce, or choose another prefix = … in leadlight.toml."
                self._say(f"property {plan.name}", "fail", f"It is not ours: {plan.detail}.", remedy)
        missing = [plan.detail for plan in plans if plan.action == "create"]
        if missing:
            text = f"{len(missing)} of our {len(plans)} fields can't be written: {missing[0]}."
            self._say("our properties", "fail", text, f"To mend it, {install.DEPLOY}")
        elif not any(plan.action == "conflict" for plan in plans):
            objects = " and ".join(self.people)
            self._say("our properties", "ok", f"All {len(plans)} are there on {objects} and can be written.")

    def _company_score(self, wanted: Wanted) -> None:
        """Whether accounts can be written; without that contacts are scored as ever."""
        known = {ACCOUNT: fields.parse(self.api().describe(ACCOUNT))}
        plans = install.install(known, wanted.company_properties, dry_run=True)
        if lacking := [plan.detail for plan in plans if plan.action != "none"]:
            text = f"Companies get no score: {lacking[0]}."
            self._say("company score", "off", text, f"To mend it, {install.DEPLOY}")
        else:
            self._say("company score", "ok", f"Our {len(plans)} fields are there on {ACCOUNT}.")

    def _limits(self, wanted: int) -> None:
        today = self.budgets().today("daily")
        if today is None:
            self._say("calls left today", "off", "Salesforce told no limit.")
            return
        text = f"{today.left:,} of {today.calls:,}, of which {today.ours:,} are for us (spare_calls)."
        if wanted > today.ours:
            text += f" The first sync takes {wanted:,}."
            self._say("calls left today", "warn", text, "Run it again the next day: it goes on where it was.")
        else:
            self._say("calls left today", "ok", text)

    def _try(self, name: str, look: Callable[[], str], *, needed: bool = False) -> None:
        """Run one look; what it returns is the detail."""
        try:
            detail = look()
        except MissingScope as error:
            worth = _WORTH.get(name.removeprefix("read "), "")
            text = f"The user lacks {error.scope}" + (f": {worth}." if worth else ".")
            self._say(name, "fail" if needed else "off", text, _RIGHTS)
        except (PlatformDown, PlatformRefused) as error:
            log.info("%s failed: %s", name, error)
            self._say(name, "fail" if needed else "warn", str(error), "Run doctor again in a few minutes.")
        else:
            self._say(name, "ok", detail)

    def _say(self, name: str, state: Any, detail: str, remedy: str = "") -> None:
        self.checks.append(Check(name, state, detail, remedy))


_RIGHTS = "Give it to the integration user by the permission set Leadlight_Integration (README, Salesforce)."
