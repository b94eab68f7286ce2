"""Salesforce as a `connector.platform.Platform`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property

import manifests
from connector.errors import MissingScope
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
from connector.platforms.salesforce import afresh, fields, install, words
from connector.platforms.salesforce import pull as pulling
from connector.platforms.salesforce.client.api import Api
from connector.platforms.salesforce.client.auth import Credentials, Session
from connector.platforms.salesforce.client.bulk import Bulk
from connector.platforms.salesforce.client.dialect import SalesforceDialect
from connector.platforms.salesforce.doctor import Examination
from connector.platforms.salesforce.fields import Definition
from connector.platforms.salesforce.reading import Reading
from connector.platforms.salesforce.writing import Writer, read_ours
from connector.transport import Transport, utc_now
from manifests import Property

#: Fields described a while ago are good enough for the push that follows.
_FRESH_SECONDS = 300.0


class Salesforce:
    """One Salesforce org. `base_url` is its My Domain host, to which the log-in goes; all else goes to the
    `instance_url` that the log-in tells.

    `share` of the daily calls is used, the rest is left to other integrations; `lookback_seconds` is how late a
    transaction may be committed. `flags`: a holdout is in use, so that an unticked checkbox of ours says no.
    """

    name = "salesforce"
    objects: tuple[WrittenObject, ...] = ("contact", "company")

    def __init__(
        self,
        credentials: Credentials,
        base_url: str,
        version: str = "v68.0",
        share: float = 0.9,
        lookback_seconds: int = 900,
        *,
        flags: bool = False,
        clock: Callable[[], datetime] = utc_now,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits = manifests.read_toml("salesforce", "limits.toml")
        self.batch_size: int = self._limits["pages"]["collection"]
        self.concurrency: int = self._limits["concurrency"]["calls"]
        self._version, self._share, self._lookback, self._flags = version, share, lookback_seconds, flags
        self._now, self._ticks, self._sleep = clock, ticks, sleep
        self._door = self._transport_to(base_url, None)
        self._session = Session(self._door, base_url, credentials, clock)
        self._described: dict[str, tuple[float, Mapping[str, Definition]]] = {}
        self._kinds = {entry.name: entry.type for of in self.objects for entry in manifests.properties(of)}

    def _transport_to(self, base_url: str, session: Session | None) -> Transport:
        return Transport(
            base_url,
            session,
            SalesforceDialect(),
            self._limits["budgets"],
            share=self._share,
            clock=self._now,
            ticks=self._ticks,
            sleep=self._sleep,
        )

    @cached_property
    def _transport(self) -> Transport:
        return self._transport_to(self._session.instance_url, self._session)

    @cached_property
    def _api(self) -> Api:
        return Api(self._transport, self._version, self._limits)

    @cached_property
    def _bulk(self) -> Bulk:
        return Bulk(self._api, self._sleep)

    def batch_for(self, records: int) -> int:
        """Few records go by Collections, many by one Bulk job."""
        few = records <= self._limits["pages"]["rest"]
        return self.batch_size if few else int(self._limits["ingest"]["rows"])

    def account(self) -> Account:
        """The organisation's id, as the log-in tells it. Raises BadCredentials."""
        return Account(self.name, self._session.organization)

    def pull(self, known: MirrorView, request: PullRequest) -> Iterator[Page | StreamOff]:
        """See `connector.platform.Platform` and `pull`."""
        self._described.clear()
        yield from pulling.pull(self._reading(known, request))

    def read(self, known: MirrorView, request: PullRequest, asked: Sequence[Asked]) -> Iterator[Page]:
        """See `connector.platform.Readable` and `afresh`."""
        yield from afresh.read(self._reading(known, request), asked)

    def _reading(self, known: MirrorView, request: PullRequest) -> Reading:
        self._learn(request.ours)
        return Reading(
            self._api,
            self._bulk,
            known,
            request,
            self.account(),
            self._lookback,
            dict(self._present()),
            ours={name: self._kinds[name] for name in request.ours},
            company_ours={name: self._kinds.get(name, "text") for name in request.company_ours},
            flags=self._flags,
        )

    def install(
        self,
        properties: Sequence[Property],
        *,
        dry_run: bool,
        repair: bool = False,  # noqa: ARG002 - labels go by metadata too
    ) -> list[PropertyPlan]:
        """What stands of our fields, freshly described. Raises FixSetup naming what is missing."""
        self._kinds |= {entry.name: entry.type for entry in properties}
        if dry_run:
            self._described.clear()
        return [
            plan
            for of in self.objects
            if (wanted := [entry for entry in properties if entry.object == of])
            for plan in install.install(self._present(of), wanted, dry_run=dry_run)
        ]

    def uninstall(self, properties: Sequence[Property], *, dry_run: bool) -> list[PropertyPlan]:  # noqa: ARG002
        """See `connector.platform.Removable`. Fields go by metadata, so that nothing is done here."""
        return [
            plan
            for of in self.objects
            if (wanted := [entry for entry in properties if entry.object == of])
            for plan in install.uninstall(self._present(of), wanted)
        ]

    def diagnose(self, wanted: Wanted) -> Diagnosis:
        """See `connector.platform.Diagnosable` and `doctor`."""
        return Examination(
            lambda: self._api, self._session, lambda: self._transport.budgets, self._now, self._ticks
        ).run(wanted)

    def write(self, batch: Sequence[Write]) -> list[Outcome]:
        """Write records of one object by id. Raises FixSetup, TryLater."""
        for of in {row.object for row in batch}:
            self._learn({name for row in batch for name in row.values}, of)
        return Writer(self._api, self._bulk, self._kinds, self._sleep).write(batch)

    def read_ours(
        self, record_ids: Sequence[str], properties: Sequence[str], object_name: WrittenObject = "contact"
    ) -> Mapping[str, Write | None]:
        """The present values of our properties, as canonical text."""
        self._learn(properties, object_name)
        there = {
            theirs: {name: field for name in properties if (field := words.field_name(name)) in definitions}
            for theirs, definitions in self._present(object_name).items()
        }
        found = read_ours(self._api, self._bulk, record_ids, there, object_name)
        return {
            record_id: None
            if values is None
            else Write(
                record_id, {name: self._canonical(name, values.get(name)) for name in properties}, object_name
            )
            for record_id, values in found.items()
        }

    def calls(self) -> Mapping[str, int]:
        """Calls made so far, repeats counted, by 'METHOD /path/template'."""
        made = dict(self._door.calls())
        return made | dict(self._transport.calls()) if "_transport" in self.__dict__ else made

    def calls_left(self) -> int | None:
        """Of our share of today's calls, as far as responses have told."""
        return self._transport.budgets.left_today("daily")

    def allowance(self) -> Allowance:
        """See `connector.platform.Rationed`. Salesforce counts a rolling day: midnight is a guess."""
        budgets = self._transport.budgets
        return Allowance(budgets.a_day("daily"), budgets.midnight())

    def close(self) -> None:
        """Give up connections."""
        self._door.close()
        if "_transport" in self.__dict__:
            self._transport.close()

    def _present(self, of: WrittenObject = "contact") -> dict[str, Mapping[str, Definition]]:
        """The fields of Salesforce's objects (Lead and Contact), of those that this user may see. Raises
        MissingScope where that is none."""
        found: dict[str, Mapping[str, Definition]] = {}
        hidden: MissingScope | None = None
        for object_name in words.WRITTEN[of].values():
            at, definitions = self._described.get(object_name, (0.0, {}))
            if not definitions or self._ticks() - at > _FRESH_SECONDS:
                try:
                    definitions = fields.parse(self._api.describe(object_name))
                except MissingScope as error:
                    hidden = error
                    continue
                self._described[object_name] = self._ticks(), definitions
            found[object_name] = definitions
        if not found and hidden is not None:
            raise hidden
        return found

    def _learn(self, names: Sequence[str] | set[str], of: WrittenObject = "contact") -> None:
        """Learn the types of properties that neither the manifest nor an install named (another prefix)."""
        unknown = [name for name in names if name not in self._kinds]
        if not unknown:
            return
        for name in unknown:
            field = words.field_name(name)
            held = next((found[field].type for found in self._present(of).values() if field in found), "string")
            kinds = [kind for kind, types in words.HELD_BY.items() if held in types]
            self._kinds[name] = kinds[0] if kinds else "text"

    def _canonical(self, name: str, value: object) -> str | None:
        text = words.from_salesforce(self._kinds[name], value)
        unsaid = self._kinds[name] == "boolean" and text == "false" and not self._flags
        return None if unsaid else text
