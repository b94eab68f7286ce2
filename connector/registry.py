"""Which platform the settings mean, and who receives its webhooks. A new platform is one more function and one
more line here; one with webhooks another of each."""

from collections.abc import Callable, Mapping

from connector.errors import BadSetting
from connector.platform import Account, Platform, Receiver
from connector.platforms.files.platform import FilesPlatform
from connector.platforms.hubspot.platform import HubSpot
from connector.platforms.hubspot.webhooks import HubSpotReceiver
from connector.platforms.salesforce.client.auth import Credentials
from connector.platforms.salesforce.platform import Salesforce
from connector.platforms.salesforce.webhooks import SalesforceReceiver
from connector.settings import Settings


def _files(settings: Settings) -> Platform:
    if settings.mapping is None:
        raise BadSetting(
            "The files platform needs a mapping: add --mapping mapping.toml, or mapping = … in settings."
        )
    return FilesPlatform(settings.mapping, results=settings.state_dir / "results")


def _hubspot(settings: Settings) -> Platform:
    if settings.hubspot_token is None:
        raise BadSetting(
            "HubSpot needs a token: set LEADLIGHT_HUBSPOT_TOKEN (or LEADLIGHT_HUBSPOT_TOKEN_FILE) "
            "to a service key with the scopes that the README lists."
        )
    return HubSpot(
        settings.hubspot_token,
        base_url=settings.hubspot_base_url,
        version=settings.hubspot_api_version,
        share=1.0 - settings.spare_calls,
        lookback_seconds=60 * settings.lookback_minutes,
    )


def _salesforce(settings: Settings) -> Platform:
    key, secret = settings.salesforce_private_key, settings.salesforce_client_secret
    missing = [
        f"LEADLIGHT_SALESFORCE_{name}"
        for name, value in (
            ("BASE_URL (your My Domain host, https://….my.salesforce.com)", settings.salesforce_base_url),
            ("CLIENT_ID (the app's consumer key)", settings.salesforce_client_id),
            ("PRIVATE_KEY_FILE or LEADLIGHT_SALESFORCE_CLIENT_SECRET_FILE", key or secret),
            ("USERNAME (of the integration user, for the private key)", settings.salesforce_username or not key),
        )
        if not value
    ]
    if missing:
        raise BadSetting(f"Salesforce needs {', '.join(missing)}.")
    return Salesforce(
        Credentials(
            str(settings.salesforce_client_id),
            secret,
            settings.salesforce_username,
            key,
            settings.salesforce_audience,
        ),
        str(settings.salesforce_base_url),
        version=settings.salesforce_api_version,
        share=1.0 - settings.spare_calls,
        lookback_seconds=60 * settings.lookback_minutes,
        flags=settings.holdout is not None,
    )


PLATFORMS: Mapping[str, Callable[[Settings], Platform]] = {
    "files": _files,
    "hubspot": _hubspot,
    "salesforce": _salesforce,
}


def connect(settings: Settings) -> Platform:
    """The platform that the settings name. Raises BadSetting when they name none or miss something it needs."""
    name = settings.platform or ("files" if settings.mapping is not None else None)
    if name is None:
        raise BadSetting(
            'No platform is chosen: set platform = "hubspot" or "salesforce" in leadlight.toml (or '
            "LEADLIGHT_PLATFORM), or add --platform files --mapping mapping.toml. "
            "To look around first: leadlight demo."
        )
    return PLATFORMS[name](settings)


def _from_hubspot(settings: Settings, account: Account) -> Receiver | None:  # noqa: ARG001 - as receivers are made
    secrets = settings.hubspot_client_secrets
    if not secrets:
        return None
    return HubSpotReceiver(
        secrets, public_url=settings.public_url, versions=settings.hubspot_signatures, prefix=settings.prefix
    )


def _from_salesforce(settings: Settings, account: Account) -> Receiver | None:
    if settings.salesforce_webhook_secret is None and settings.salesforce_hmac_secret is None:
        return None
    return SalesforceReceiver(settings.salesforce_webhook_secret, settings.salesforce_hmac_secret, account.id)


RECEIVERS: Mapping[str, Callable[[Settings, Account], Receiver | None]] = {
    "hubspot": _from_hubspot,
    "salesforce": _from_salesforce,
}


def receiver(settings: Settings, account: Account) -> Receiver | None:
    """Who receives the webhooks of the account's platform; None where the settings hold no secret for it."""
    make = RECEIVERS.get(account.platform)
    return None if make is None else make(settings, account)


def reader(settings: Settings, account: Account) -> Receiver | None:
    """Who reads the webhooks of the account's platform that were taken already, whatever secrets the settings hold
    by now; None where it sends none."""
    if account.platform == "hubspot":
        return HubSpotReceiver((), prefix=settings.prefix)
    return SalesforceReceiver(None, None, account.id) if account.platform == "salesforce" else None
