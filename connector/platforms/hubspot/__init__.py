"""HubSpot: `platform.HubSpot` is what the rest of the program sees; `pull` tells how an account is read."""

from connector.platforms.hubspot.platform import HubSpot

__all__ = ["HubSpot"]
