"""Logging in: a signed assertion (JWT bearer), or client id and secret; the session that comes of it.

A session ends after the org's time-out, or when an administrator ends it. The next call is then answered 401,
and `Session.refused` lets exactly one thread log in again while the others wait for it.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode, urlsplit

import jwt

from connector.errors import BadCredentials, BadSetting, PlatformDown
from connector.platforms.salesforce.client.soql import long_id
from connector.transport import Call, Secret, Transport, check_base_url

TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 - a path

#: Seconds that an assertion lives: Salesforce takes at most 180.
ASSERTION_SECONDS = 150

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

#: Salesforce's `error`, and `error_description` where it matters -> what to do.
_REMEDIES: Mapping[tuple[str, str], str] = {
    ("invalid_grant", "user hasn't approved this consumer"): (
        "pre-authorise the app: permitted users 'Admin approved', its permission set assigned to the user, and "
        "the scopes api and refresh_token"
    ),
    ("invalid_grant", "user is not admin approved"): "assign the app's permission set to the integration user",
    ("invalid_grant", "audience is invalid"): (
        "set LEADLIGHT_SALESFORCE_AUDIENCE to https://login.salesforce.com, or https://test.salesforce.com for a "
        "sandbox org"
    ),
    ("invalid_grant", "expired authorization code"): "set this machine's clock (NTP)",
    ("invalid_grant", "invalid assertion"): "upload the certificate that belongs to the private key to the app",
    ("invalid_grant", "no client credentials user enabled"): "choose a run-as user in the app's policies",
    ("invalid_grant", "request not supported on this domain"): (
        "set LEADLIGHT_SALESFORCE_BASE_URL to your My Domain host, https://….my.salesforce.com"
    ),
    ("invalid_client_id", ""): "check LEADLIGHT_SALESFORCE_CLIENT_ID, the app's consumer key",
    ("invalid_client", ""): "check LEADLIGHT_SALESFORCE_CLIENT_SECRET, the app's consumer secret",
}


@dataclass(frozen=True)
class Credentials:
    """What the user gave: a private key with a user name, or else a client secret."""

    client_id: str
    client_secret: Secret | None = None
    username: str | None = None
    private_key: Secret | None = None
    audience: str | None = None

    def form(self, base_url: str, now: datetime) -> dict[str, str]:
        """The token request's fields. Raises BadSetting for a private key that is none."""
        if self.private_key is None:
            secret = "" if self.client_secret is None else self.client_secret.get_secret_value()
            return {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": secret}
        claims = {
            "iss": self.client_id,
            "sub": self.username,
            "aud": self.audience or default_audience(base_url),
            "exp": int(now.timestamp()) + ASSERTION_SECONDS,
        }
        try:
            assertion = jwt.encode(claims, self.private_key.get_secret_value(), algorithm="RS256")
        except (ValueError, TypeError, jwt.exceptions.PyJWTError):
            raise BadSetting(
                "LEADLIGHT_SALESFORCE_PRIVATE_KEY is no RSA private key in PEM form without a pass phrase."
            ) from None
        return {"grant_type": _JWT_BEARER, "assertion": assertion}


def default_audience(base_url: str) -> str:
    """Whom an assertion is for: the log-in host of production, or of sandbox orgs."""
    host = urlsplit(base_url).hostname or ""
    test = host == "test.salesforce.com" or ".sandbox." in host
    return "https://test.salesforce.com" if test else "https://login.salesforce.com"


class Session:
    """A log-in that is renewed when Salesforce ends it. Thread-safe; shows no secret in its repr."""

    def __init__(
        self, transport: Transport, base_url: str, credentials: Credentials, clock: Callable[[], datetime]
    ) -> None:
        self._transport, self._base_url = transport, base_url
        self._credentials, self._clock = credentials, clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._instance_url = ""
        self._organization = ""

    def __repr__(self) -> str:
        return f"Session({urlsplit(self._base_url).hostname})"

    def get_secret_value(self) -> str:
        """The access token; logs in where there is none. Raises BadCredentials, BadSetting, PlatformDown."""
        with self._lock:
            if self._token is None:
                self._log_in()
            return str(self._token)

    def refused(self, used: str) -> None:
        """See `connector.transport.Renewable`: a token that another thread has renewed meanwhile stays."""
        with self._lock:
            if self._token == used:
                self._token = None

    @property
    def instance_url(self) -> str:
        """Where the API is, as the log-in said. Logs in."""
        self.get_secret_value()
        return self._instance_url

    @property
    def organization(self) -> str:
        """The organisation's id (18 characters). Logs in."""
        self.get_secret_value()
        return self._organization

    def _log_in(self) -> None:
        form = self._credentials.form(self._base_url, self._clock())
        reply = self._transport.send(
            Call(
                "POST",
                TOKEN_PATH,
                TOKEN_PATH,
                (),
                data=urlencode(form).encode(),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                accept=(400, 401),
            )
        )
        if reply.status >= 400:
            raise BadCredentials(_why(reply.body))
        try:
            # …/id/<organisation>/<user>
            organization = long_id(str(reply.body["id"]).rstrip("/").split("/")[-2])
            self._token, self._organization = str(reply.body["access_token"]), organization
            self._instance_url = check_base_url(str(reply.body["instance_url"]))
        except (KeyError, IndexError, TypeError, ValueError):
            self._token = None
            raise PlatformDown("Salesforce: the answer to the log-in lacks what it should hold.") from None


def _why(body: object) -> str:
    given = body if isinstance(body, Mapping) else {}
    error, description = str(given.get("error") or "unknown"), str(given.get("error_description") or "").lower()
    for (known, words), remedy in _REMEDIES.items():
        if known == error and words in description:
            said = f"{error}, {words}" if words else error
            return f"Salesforce does not accept the credentials ({said}): {remedy}."
    return (
        f"Salesforce does not accept the credentials ({error}): check LEADLIGHT_SALESFORCE_CLIENT_ID, "
        "LEADLIGHT_SALESFORCE_USERNAME and the private key or client secret."
    )
