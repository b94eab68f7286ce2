"""Salesforce: `platform.Salesforce` is what the rest of the program sees; `pull` tells how an org is read."""

from connector.platforms.salesforce.platform import Salesforce

__all__ = ["Salesforce"]
