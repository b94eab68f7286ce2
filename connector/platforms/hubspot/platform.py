"""HubSpot as a `connector.platform.Platform`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import manifests
from connector.platform import (
    Account,
    Allowance,
    Asked,
    Diagnosis,
    Outcome,
    Page,
    PropertyPlan,
    PullRequest,
    StreamOff,
    Wanted,
    Write,
    WrittenObject,
)
from connector.platform import Known as MirrorView
from connector.platforms.hubspot import afresh, definitions, install, uninstall, words, writing
from connector.platforms.hubspot import pull as pulling
from connector.platforms.hubspot.client import paths
from connector.platforms.hubspot.client.api import Api
from connector.platforms.hubspot.client.dialect import HubSpotDialect
from connector.platforms.hubspot.definitions import Definition
from connector.platforms.hubspot.doctor import Examination
from connector.platforms.hubspot.reading import Reading
from connector.transport import Secret, Transport, utc_now
from manifests import Property

#: Definitions asked for by an install are good enough for the pull that follows it.
_FRESH_SECONDS = 300.0

#: HubSpot's types -> the types that our texts are translated by; all else stands as it is.
_KINDS = {"number": "number", "datetime": "datetime", "bool": "boolean"}


class HubSpot:
    """One HubSpot account. `token` is a service key or a private app's token.

    `share` of every call limit is used, the rest is left to other integrations; `lookback_seconds` is how long
    before a cursor the search index is not trusted to have been complete.
    """

    name = "hubspot"
    objects: tuple[WrittenObject, ...] = ("contact", "company")

    def __init__(
        self,
        token: Secret,
        base_url: str = "https://api.hubapi.com",
        version: str = "2026-09",
        share: float = 0.9,
        lookback_seconds: int = 900,
        *,
        clock: Callable[[], datetime] = utc_now,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        limits = manifests.read_toml("hubspot", "limits.toml")
        self.batch_size: int = limits["pages"]["batch"]
        self.concurrency: int = limits["concurrency"]["calls"]
        self._transport = Transport(
            base_url,
            token,
            HubSpotDialect(),
            limits["budgets"],
            share=share,
            clock=clock,
            ticks=ticks,
            sleep=sleep,
        )
        self._api = Api(self._transport, version, limits)
        self._now, self._ticks, self._lookback = clock, ticks, lookback_seconds
        self._account: Account | None = None
        self._definitions: dict[str, tuple[float, Mapping[str, Definition]]] = {}
        self._kinds = {
            entry.name: entry.type for object_name in self.objects for entry in manifests.properties(object_name)
        }

    def batch_for(self, records: int) -> int:  # noqa: ARG002 - one way for all
        """See `connector.platform.Platform`."""
        return self.batch_size

    def account(self) -> Account:
        """Portal id, time zone and home currency. Raises BadCredentials."""
        if self._account is None:
            body = self._api.call(paths.ACCOUNT).body
            timezone = known_zone(body.get("timeZone"))
            self._account = Account(
                self.name, str(body["portalId"]), timezone, body.get("companyCurrency") or None
            )
            self._transport.budgets.settle_in(timezone)
        return self._account

    def pull(self, known: MirrorView, request: PullRequest) -> Iterator[Page | StreamOff]:
        """See `connector.platform.Platform` and `pull`."""
        yield from pulling.pull(self._reading(known, request))

    def read(self, known: MirrorView, request: PullRequest, asked: Sequence[Asked]) -> Iterator[Page]:
        """See `connector.platform.Readable` and `afresh`."""
        yield from afresh.read(self._reading(known, request), asked, self.concurrency)

    def _reading(self, known: MirrorView, request: PullRequest) -> Reading:
        account = self.account()
        present = self._present("contact")
        self._learn_kinds(present, request.ours)
        kinds = {name: self._kinds.get(name, "text") for name in (*request.ours, *request.company_ours)}
        return Reading(
            self._api,
            known,
            request,
            account,
            self._lookback,
            {"contacts": present},
            ours={name: kinds[name] for name in request.ours},
            company_ours={name: kinds[name] for name in request.company_ours},
        )

    def install(
        self, properties: Sequence[Property], *, dry_run: bool, repair: bool = False
    ) -> list[PropertyPlan]:
        """Create what is missing of our properties; with `repair`, put right what differs. Raises MissingScope."""
        self.account()
        self._kinds |= {entry.name: entry.type for entry in properties}
        plans = [
            plan
            for object_name in self.objects
            if (wanted := [entry for entry in properties if entry.object == object_name])
            for plan in install.install(
                self._api, self._present(object_name), wanted, dry_run=dry_run, repair=repair
            )
        ]
        if not dry_run and any(plan.action not in ("none", "conflict") for plan in plans):
            self._definitions.clear()
        return plans

    def uninstall(self, properties: Sequence[Property], *, dry_run: bool) -> list[PropertyPlan]:
        """See `connector.platform.Removable`. Raises MissingScope."""
        self.account()
        plans = [
            plan
            for object_name in self.objects
            if (wanted := [entry for entry in properties if entry.object == object_name])
            for plan in uninstall.uninstall(self._api, self._present(object_name), wanted, dry_run=dry_run)
        ]
        if not dry_run:
            self._definitions.clear()
        return plans

    def diagnose(self, wanted: Wanted) -> Diagnosis:
        """See `connector.platform.Diagnosable` and `doctor`."""
        return Examination(self._api, self._transport.budgets, self.concurrency, self._now, self._ticks).run(
            wanted
        )

    def write(self, batch: Sequence[Write]) -> list[Outcome]:
        """Write at most `batch_size` records of one object by id. Raises FixSetup, MissingScope, TryLater."""
        for object_name in {row.object for row in batch}:
            self._know(object_name, {name for row in batch for name in row.values})
        return writing.write(self._api, batch, self._kinds)

    def read_ours(
        self, record_ids: Sequence[str], properties: Sequence[str], object_name: WrittenObject = "contact"
    ) -> Mapping[str, Write | None]:
        """The present values of our properties, as canonical text."""
        self._know(object_name, properties)
        return writing.read_ours(self._api, record_ids, properties, self._kinds, object_name)

    def calls(self) -> Mapping[str, int]:
        """Calls made so far, repeats counted, by 'METHOD /path/template'."""
        return self._transport.calls()

    def calls_left(self) -> int | None:
        """Of our share of today's calls, as far as responses have told."""
        return self._transport.budgets.left_today("daily")

    def allowance(self) -> Allowance:
        """See `connector.platform.Rationed`; days end at midnight in the account's time zone."""
        budgets = self._transport.budgets
        return Allowance(budgets.a_day("daily"), budgets.midnight())

    def close(self) -> None:
        """Give up connections."""
        self._transport.close()

    def _present(self, object_name: WrittenObject) -> Mapping[str, Definition]:
        """The object's properties by name. Raises MissingScope."""
        asked, found = self._definitions.get(object_name, (-_FRESH_SECONDS, {}))
        if not found or self._ticks() - asked > _FRESH_SECONDS:
            asked = self._ticks()
            found = definitions.parse(self._api.call(paths.PROPERTIES, words.PATHS[object_name]).body)
            self._definitions[object_name] = asked, found
        return found

    def _know(self, object_name: WrittenObject, names: Sequence[str] | set[str]) -> None:
        """Learn the types of properties that neither the manifest nor an install named (another prefix)."""
        if not set(names) <= self._kinds.keys():
            self._learn_kinds(self._present(object_name), names)

    def _learn_kinds(self, present: Mapping[str, Definition], names: Sequence[str] | set[str]) -> None:
        for name in names:
            if name not in self._kinds and name in present:
                self._kinds[name] = _KINDS.get(present[name].type, "text")


def known_zone(name: object) -> str:
    """An account's time zone if this machine knows it, else UTC."""
    try:
        return ZoneInfo(str(name)).key
    except (KeyError, ValueError, OSError):
        return "UTC"
