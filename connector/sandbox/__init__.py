"""A pretend HubSpot account over real HTTP: for the demo, the tests, and trying before connecting.

It is a second, independent reading of the platform's documentation: it shares no code with the client that
`connector.platforms.hubspot` is, so that a misreading shows as a disagreement.
"""

from connector.sandbox.options import Rate, SandboxOptions, parse_fault, parse_rate
from connector.sandbox.server import Sandbox, run

__all__ = ["Rate", "Sandbox", "SandboxOptions", "parse_fault", "parse_rate", "run"]
