"""The sandbox on a port: as a process of its own, or in a thread beside its caller."""

import gc
import sys
from collections.abc import Callable

from connector.sandbox.faults import FaultPlan
from connector.sandbox.hubspot import account, market
from connector.sandbox.hubspot.app import Host, application
from connector.sandbox.hubspot.limits import DAILY, Limits
from connector.sandbox.hubspot.state import Portal
from connector.sandbox.hubspot.webhooks import Webhooks
from connector.sandbox.options import Faults, SandboxOptions
from connector.sandbox.serving import Serving


class Sandbox(Serving):
    """A running HubSpot: `with Sandbox(SandboxOptions(contacts=500)) as box: … box.base_url, box.token`."""

    token = account.TOKEN
    client_id = account.CLIENT_ID
    client_secret = account.CLIENT_SECRET
    refresh_token = account.REFRESH_TOKEN

    def __init__(self, options: SandboxOptions | None = None, portal: Portal | None = None) -> None:
        self.options = options or SandboxOptions()
        self.state = portal or market.portal(self.options)
        self.host = _host(self.options, self.state)
        super().__init__(self.options.port, application(self.host))
        self.webhooks: Webhooks | None = None
        if self.options.webhooks:
            self.webhooks = Webhooks(
                self.options.webhooks,
                account.CLIENT_SECRET,
                self.state.facts.id,
                faults=Faults.of(self.options.faults).webhooks,
                seed=self.options.seed,
            )
            self.state.listeners.append(self.webhooks.hear)

    def starting(self) -> None:
        """Webhooks go out from now on."""
        if self.webhooks is not None:
            self.webhooks.start()

    def stopping(self) -> None:
        """No more of them."""
        if self.webhooks is not None:
            self.webhooks.stop()

    @property
    def calls(self) -> dict[str, int]:
        """Calls so far by 'METHOD /path/template'."""
        return dict(self.host.calls)

    def change(self, options: SandboxOptions, portal: Portal) -> None:
        """Put another account behind the same address, with nothing called yet."""
        self.options, self.state = options, portal
        fresh = _host(options, portal)
        self.host.portal, self.host.limits, self.host.plan = fresh.portal, fresh.limits, fresh.plan
        self.host.latency_ms, self.host.calls = fresh.latency_ms, fresh.calls

    def ready(self) -> dict[str, object]:
        """What a caller has to know to connect."""
        return {
            "ready": True,
            "base_url": self.base_url,
            "token": self.token,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "username": None,
            "private_key_file": None,
        }


def run(options: SandboxOptions, announce: Callable[[str], object] | None = None) -> None:
    """Serve until stopped. The ready line, one JSON object, goes to `announce` (standard output)."""
    box: Serving
    if options.platform == "salesforce":
        # Its engine and cryptography take a while to import, which a HubSpot need not wait for.
        from connector.sandbox.salesforce.box import SalesforceSandbox

        box = SalesforceSandbox(options)
    else:
        box = Sandbox(options)
    # The account lives as long as the process: sweeping through it for garbage would only delay answers.
    gc.freeze()
    try:
        box.serve(announce or _to_stdout)
    except KeyboardInterrupt:
        return
    finally:
        gc.unfreeze()


def _to_stdout(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _host(options: SandboxOptions, portal: Portal) -> Host:
    chosen = Faults.of(options.faults)
    daily = DAILY[chosen.plan] if options.daily is None else options.daily
    limits = Limits(options.rate, daily, chosen.plan, portal.facts.timezone, portal.clock)
    return Host(portal, limits, FaultPlan(chosen, options.seed), options.latency_ms)
