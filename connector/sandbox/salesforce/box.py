"""A running Salesforce org."""

from collections.abc import Mapping

from connector.sandbox.faults import FaultPlan
from connector.sandbox.options import SandboxOptions
from connector.sandbox.salesforce import fill
from connector.sandbox.salesforce.app import Host, application
from connector.sandbox.salesforce.auth import CLIENT_ID, CLIENT_SECRET, USERNAME, Auth
from connector.sandbox.salesforce.limits import Limits
from connector.sandbox.salesforce.outbound import OutboundMessages
from connector.sandbox.salesforce.store import Org
from connector.sandbox.serving import Serving


class SalesforceSandbox(Serving):
    """`with SalesforceSandbox(SandboxOptions(platform="salesforce", contacts=500)) as box: … box.base_url`."""

    client_id, client_secret, username = CLIENT_ID, CLIENT_SECRET, USERNAME

    def __init__(self, options: SandboxOptions | None = None, org: Org | None = None) -> None:
        self.options = options or SandboxOptions(platform="salesforce")
        self.org = org or fill.org(self.options)
        self.auth = Auth(self.org.faults.session_calls)
        limits = Limits(self.options.daily, self.org.clock)
        plan = FaultPlan(self.org.faults, self.options.seed)
        self.host = Host(self.org, self.auth, limits, plan, self.options.latency_ms)
        super().__init__(self.options.port, application(self.host))
        self.private_key_file = self.auth.write_key()
        self.messages: OutboundMessages | None = None
        if self.options.webhooks:
            self.messages = OutboundMessages(self.options.webhooks, self.org, seed=self.options.seed)
            self.org.listeners.append(self.messages.hear)

    @property
    def calls(self) -> dict[str, int]:
        """Calls so far by 'METHOD /path/template'."""
        return dict(self.host.calls)

    def starting(self) -> None:
        """Messages go out from now on."""
        if self.messages is not None:
            self.messages.start()

    def stopping(self) -> None:
        """No more of them, and the key file is removed."""
        if self.messages is not None:
            self.messages.stop()
        self.auth.close()

    def ready(self) -> Mapping[str, object]:
        """What a caller has to know to connect."""
        return {
            "ready": True,
            "base_url": self.base_url,
            "token": None,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "username": self.username,
            "private_key_file": str(self.private_key_file),
        }
