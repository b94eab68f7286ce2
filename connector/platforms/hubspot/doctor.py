"""Whether a HubSpot account is ready: token, scopes, plan, limits, clock, zone, our properties; one call each.

HubSpot tells a service key's scopes nowhere, so that each is tried: reading by a call for one record, writing by
a request that names nothing and is refused for that (400), if it was not refused for the scope before (403).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from connector.budgets import Budgets
from connector.errors import BadCredentials, MissingScope, PlatformDown, PlatformRefused
from connector.platform import Check, Diagnosis, Wanted
from connector.platforms.hubspot import costing, definitions, install, lists, owners, page_views, words
from connector.platforms.hubspot.activities import ACTIVITIES
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api
from connector.platforms.hubspot.costing import Pace, Size
from connector.platforms.hubspot.definitions import Definition

log = logging.getLogger(__name__)

#: Seconds by which this machine's clock may differ before it is said; webhooks are refused beyond 300.
CLOCK = 5.0

#: What turns on with a stream.
_WORTH = {
    "companies": "firmographics are not used, companies get no score",
    "write companies": "companies get no score",
    "write company properties": "companies get no score",
    "deals": "goals and features of deals are not there",
    "deal_pipelines": "deals cannot be told won or lost",
    "email_events": "opens and clicks are not used, send time lacks its main source",
    "form_submissions": "forms are not used",
    "page_views": "page views are not used",
    "calls": "calls are not used",
    "meetings": "meetings are not used",
    "emails": "one-to-one e-mails and replies are not used",
    "tasks": "tasks are not used",
    "communications": "text messages are not used",
}


@dataclass
class Examination:
    """One look at an account. `clock` gives this machine's time (aware), `ticks` seconds that only grow."""

    api: Api
    budgets: Budgets
    concurrency: int
    clock: Callable[[], datetime]
    ticks: Callable[[], float]
    checks: list[Check] = field(default_factory=list)
    size: Size = field(default_factory=Size)
    #: What reading a full page took.
    _page_seconds: float = 0.0

    def run(self, wanted: Wanted) -> Diagnosis:
        """All of it. With a bad token nothing else is tried."""
        self.size.history = wanted.history
        if not self._account():
            return Diagnosis(tuple(self.checks))
        self._clock()
        known = self._try("read contact_properties", self._definitions, needed=True)
        self._streams(wanted, known or {})
        self._writing(self._properties(wanted, known) if known is not None else True)
        if costing.COMPANIES in self.size.total and wanted.company_properties:
            self._company_score(wanted)
        first, daily = self._plans() if costing.CONTACTS in self.size.total else (None, None)
        self._limits(None if first is None else first.calls)
        return Diagnosis(tuple(self.checks), first, daily)

    def _account(self) -> bool:
        try:
            body = self.api.call(paths.ACCOUNT).body
        except BadCredentials:
            self._say("token", "fail", "HubSpot does not accept the token: wrong, expired or revoked.", _NEW_KEY)
            return False
        except MissingScope as error:
            self._say("token", "fail", f"The token may not read the account (scope {error.scope}).", _NEW_KEY)
            return False
        zone = str(body.get("timeZone") or "")
        self._say(
            "token", "ok", f"Account {body.get('portalId')}, currency {body.get('companyCurrency') or 'unknown'}."
        )
        try:
            there = self.clock().astimezone(ZoneInfo(zone))
        except (KeyError, ValueError, OSError):
            self._say(
                "time zone",
                "warn",
                f"This machine does not know the account's time zone {zone!r}: days are counted in UTC.",
                'Set timezone = "…" (an IANA name) in leadlight.toml.',
            )
        else:
            self._say("time zone", "ok", f"{zone}, where it is {there:%H:%M} now.")
        return True

    def _clock(self) -> None:
        ahead = (self.api.now() - self.clock()).total_seconds()
        # The Date header has whole seconds only, rounded down.
        if -CLOCK - 1 <= ahead <= CLOCK:
            self._say("clock", "ok", "This machine's clock agrees with HubSpot's.")
        else:
            way = "behind" if ahead > 0 else "ahead of"
            self._say(
                "clock",
                "warn",
                f"This machine's clock is {abs(ahead):.0f} s {way} HubSpot's.",
                "Set it by NTP: webhooks that seem older than 300 s are refused.",
            )

    def _definitions(self, object_name: str = "contacts") -> dict[str, Definition]:
        return definitions.parse(self.api.call(paths.PROPERTIES, object_name).body)

    def _streams(self, wanted: Wanted, known: dict[str, Definition]) -> None:
        for name in (costing.CONTACTS, costing.COMPANIES, costing.DEALS):
            self._try(f"read {name}", partial(self._counted, name), needed=name == costing.CONTACTS)
        if costing.CONTACTS in self.size.total:
            self._try_list(wanted, known)
        self._try("read deal_pipelines", self._pipelines)
        self._try("read owners", self._owners)
        self._try("read email_events", self._email_events)
        self._try("read form_submissions", self._forms)
        self._try("read page_views", self._page_views, plan="a Marketing Hub Enterprise plan")
        if wanted.lists:
            self._lists(wanted.lists)
        for activity in ACTIVITIES:
            self._try(f"read {activity.name}", partial(self._counted, activity.name))

    def _counted(self, name: str) -> str:
        """Searches for one record: their `total` is the number of all, and of those of the last day."""
        total = self._total(name, [])
        self.size.total[name] = total
        since = words.milliseconds(self.api.now() - timedelta(days=1))
        modified = words.MODIFIED.get(name, words.MODIFIED_ELSEWHERE)
        changed = self._total(name, [{"propertyName": modified, "operator": "GTE", "value": str(since)}])
        self.size.changed[name] = changed
        return f"{total:,} {name}, {changed:,} changed in the last 24 hours."

    def _total(self, name: str, filters: list[dict[str, str]]) -> int:
        body = {"filterGroups": [{"filters": filters}] if filters else [], "properties": [], "limit": 1}
        return int(self.api.call(paths.SEARCH, name, json=body).body.get("total") or 0)

    def _try_list(self, wanted: Wanted, known: dict[str, Definition]) -> None:
        """One full page, as the pull reads them: it shows how long a call takes."""
        own = [entry.name for entry in wanted.properties]
        names = [name for name in definitions.candidates(known, own) if known[name].custom]
        read = list(dict.fromkeys([*words.CONTACT_BASE, *names, *own]))
        self.size.short = self.api.fits_url(read, names if wanted.history else ())
        before = self.ticks()
        self.api.list_page("contacts", read if self.api.fits_url(read, ()) else ())
        self._page_seconds = self.ticks() - before

    def _pipelines(self) -> str:
        found = self.api.call(paths.PIPELINES, costing.DEALS).body.get("results") or ()
        return f"Pipelines: {len(found):,}."

    def _owners(self) -> str:
        return f"Names of owners: {len(owners.names(self.api)):,}."

    def _email_events(self) -> str:
        limit = self.api.sizes["email_events"]
        body = self.api.call(paths.EMAIL_EVENTS, params={"limit": limit}).body
        return self._uncounted("email_events", len(body.get("events") or ()), bool(body.get("hasMore")))

    def _page_views(self) -> str:
        params = {"objectType": "contact", "eventType": page_views.EVENT_TYPE, "limit": page_views.CAUTIOUS_LIMIT}
        body = self.api.call(paths.OCCURRENCES, params=params).body
        return self._uncounted("page_views", len(body.get("results") or ()), bool(body.get("paging")))

    def _uncounted(self, name: str, found: int, more: bool) -> str:
        self.size.uncounted[name] = 2 if more else 1
        number = f"more than {found:,}" if more else f"{found:,}"
        return f"{number} {name.replace('_', ' ')}" + ("; HubSpot does not count them." if more else ".")

    def _forms(self) -> str:
        forms = sum(1 for _ in self.api.forms())
        self.size.uncounted["form_submissions"] = 1 + forms
        return f"Forms: {forms:,}; HubSpot does not count their submissions."

    def _lists(self, wanted: tuple[str, ...]) -> None:
        def look() -> dict[str, int | None]:
            return {one: lists.count(self.api, one) for one in wanted}

        for list_id, size in (self._try("read lists", look, needed=True) or {}).items():
            if size is not None:
                self.size.lists += (size,)
                self._say(f"list {list_id}", "ok", f"{size:,} members.")
                continue
            self._say(
                f"list {list_id}",
                "fail",
                "A filter names this list, and HubSpot does not know it.",
                "Give the id of a list that is there under [include], [exclude] or [write].",
            )

    def _properties(self, wanted: Wanted, known: dict[str, Definition]) -> bool:
        """Compare ours with what stands; whether all is there."""
        for column in wanted.goal_columns:
            if column in known:
                self._say("goal column", "ok", f"The goal's property {column} is there.")
            else:
                self._say(
                    "goal column",
                    "fail",
                    f"The goal's property {column!r} is no contact property of this account.",
                    "Name one that is there under [goal] column = …",
                )
        plans = install.install(self.api, known, wanted.properties, dry_run=True, repair=True)
        for plan in plans:
            if plan.action == "conflict":
                self._say(
                    f"property {plan.name}",
                    "fail",
                    f"It is not ours: {plan.detail}.",
                    "Rename it in HubSpot, or choose another prefix = … in leadlight.toml.",
                )
        missing = [plan.name for plan in plans if plan.action in ("create", "restore")]
        differing = [plan.name for plan in plans if plan.action in ("add_options", "repair")]
        self.size.installing = len(missing) + 1 if missing else 0
        if missing:
            text = f"{len(missing)} of our {len(plans)} properties are not there yet."
            self._say("our properties", "warn", text, "Run `leadlight install`; the first sync does it too.")
        elif differing:
            text = f"Label, description or options differ: {', '.join(differing)}."
            self._say("our properties", "warn", text, "Run `leadlight install` to put them right.")
        elif all(plan.action == "none" for plan in plans):
            self._say("our properties", "ok", f"All {len(plans)} are there.")
        return not missing

    def _writing(self, installed: bool) -> None:
        self._try("write contacts", partial(self._refused, paths.BATCH_UPDATE, {"inputs": []}), needed=True)
        self._try("write properties", partial(self._refused, paths.PROPERTY_CREATE, {}), needed=not installed)

    def _company_score(self, wanted: Wanted) -> None:
        """What the scores of companies need besides; without it contacts are scored as ever."""
        name = "company properties"
        known = self._try(name, lambda: self._definitions(costing.COMPANIES), quiet=True)
        if known is None:
            return
        plans = install.install(self.api, known, wanted.company_properties, dry_run=True)
        missing = [plan.name for plan in plans if plan.action in ("create", "restore")]
        if conflicts := [plan for plan in plans if plan.action == "conflict"]:
            text = f"{conflicts[0].name} is not ours: {conflicts[0].detail}; companies get no score."
            self._say(name, "warn", text, "Rename it in HubSpot, or choose another prefix = … in leadlight.toml.")
        elif missing:
            text = f"{len(missing)} of our {len(plans)} company properties are not there yet."
            self._say(name, "warn", text, "Run `leadlight install`; the first sync does it too.")
        else:
            self._say(name, "ok", f"All {len(plans)} are there.")
        update = partial(self._refused, paths.BATCH_UPDATE, {"inputs": []}, costing.COMPANIES)
        create = partial(self._refused, paths.PROPERTY_CREATE, {}, costing.COMPANIES)
        self._try("write companies", update)
        self._try("write company properties", create)
        states = {check.name: check.state for check in self.checks}
        self.size.scored = states["write companies"] == "ok" and not conflicts

    def _refused(self, endpoint: paths.Endpoint, body: dict[str, Any], object_name: str = "contacts") -> str:
        """A request that names nothing: HubSpot looks at the scope first, then says 400."""
        self.api.call(endpoint, object_name, json=body, accept=(400,))
        return f"The scope {paths.scope_of(endpoint, object_name)} is granted."

    def _plans(self) -> tuple[Any, Any]:
        rates = self.budgets.rates()
        pace = Pace(rates["burst"], rates["search"], self._page_seconds, self.concurrency)
        return costing.first(self.size, self.api.sizes, pace), costing.daily(self.size, self.api.sizes, pace)

    def _limits(self, wanted: int | None) -> None:
        today = self.budgets.today("daily")
        if today is None:
            self._say("calls left today", "off", "HubSpot tells no daily limit to this kind of app.")
            return
        text = f"{today.left:,} of {today.calls:,}, of which {today.ours:,} are for us (spare_calls)."
        if wanted is not None and wanted > today.ours:
            days = 1 - (-(wanted - today.ours) // max(1, round(today.calls * today.share)))
            remedy = f"It goes on by itself the next day, about {days} days in all; run it again after midnight."
            self._say("calls left today", "warn", f"{text} The first sync takes {wanted:,}.", remedy)
        else:
            self._say("calls left today", "ok", text)

    def _try(
        self, name: str, look: Callable[[], Any], *, needed: bool = False, plan: str = "", quiet: bool = False
    ) -> Any:
        """Run one look; what it returns is the detail (text) or the result, of which `quiet` says nothing. None
        where it failed."""
        try:
            found = look()
        except MissingScope as error:
            self._missing(name, error.scope, needed=needed, plan=plan)
            return None
        except (PlatformDown, PlatformRefused) as error:
            log.info("%s failed: %s", name, error)
            self._say(name, "warn", str(error), "Run doctor again in a few minutes.")
            return None
        if not quiet:
            self._say(name, "ok", found if isinstance(found, str) else "Can be read.")
        return found

    def _missing(self, name: str, scope: str, *, needed: bool, plan: str) -> None:
        remedy = f"Add the scope {scope} to the service key or the app."
        if plan:
            self._say(name, "off", f"It needs {plan} ({scope}): {_WORTH['page_views']}.", f"Nothing, or {plan}.")
            return
        worth = _WORTH.get(name.removeprefix("read "), "")
        text = f"The scope {scope} is missing" + (f": {worth}." if worth and not needed else ".")
        self._say(name, "fail" if needed else "off", text, remedy)

    def _say(self, name: str, state: Any, detail: str, remedy: str = "") -> None:
        self.checks.append(Check(name, state, detail, remedy))


_NEW_KEY = (
    "Make a key in HubSpot (Development, Keys, Service keys) with the scopes that the README lists, or "
    "take the access token of your own app, and set LEADLIGHT_HUBSPOT_TOKEN or LEADLIGHT_HUBSPOT_TOKEN_FILE to it."
)
