"""The token endpoint and the sessions that it opens."""

import base64
import secrets
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, unquote

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connector.sandbox.salesforce.problems import Problem, TokenProblem
from connector.sandbox.salesforce.store import INTEGRATION_USER, ORGANIZATION

CLIENT_ID = "3MVG95A4DB0C5CA4D.leadlight.sandbox"
CLIENT_SECRET = "5A4D5EC2000000000000000000000000000000000000000000000000000000FF"  # noqa: S105 - pretend org only
USERNAME = "integration@leadlight-demo.example"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: Documentation says three minutes; who asks for a little more is let through.
_LONGEST_SECONDS = 600


@cache
def _key() -> rsa.RSAPrivateKey:
    """Drawn once a process: finding one takes as long as filling a small org."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Auth:
    """The org's one connected app: its key pair, secret, and open sessions."""

    def __init__(self, session_calls: int | None = None) -> None:
        self._key = _key()
        self._sessions: dict[str, int] = {}
        self._session_calls = session_calls
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def write_key(self) -> Path:
        """The private key in a file that its owner alone may read; `close` removes it."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="leadlight-sandbox-")
        path = Path(self._folder.name) / "server.key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(
                self._key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        return path

    def close(self) -> None:
        """Remove the key file."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def token(self, raw: bytes, authorization: str, base_url: str, now_seconds: float) -> dict[str, str]:
        """Answer of the token endpoint. Raises TokenProblem."""
        form = {name: values[0] for name, values in parse_qs(raw.decode("utf-8", "replace")).items()}
        grant = form.get("grant_type")
        if grant == JWT_GRANT:
            self._check_assertion(form.get("assertion", ""), base_url, now_seconds)
            return self._opened(base_url, scope="id api")
        if grant == "client_credentials":
            given = _basic(authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
            if given[0] != CLIENT_ID:
                raise TokenProblem(400, "invalid_client_id", "client identifier invalid")
            if given[1] != CLIENT_SECRET:
                raise TokenProblem(400, "invalid_client", "invalid client credentials")
            more = {"signature": secrets.token_urlsafe(32), "issued_at": str(int(now_seconds * 1000))}
            return self._opened(base_url, scope="api", **more)
        raise TokenProblem(400, "unsupported_grant_type", "grant type not supported")

    def admit(self, headers: Mapping[str, str]) -> None:
        """Raises Problem 401 without a live session."""
        given = headers.get("authorization", "")
        if given.startswith("OAuth "):
            given = "Bearer " + given[6:]
        if not given.startswith("Bearer "):
            raise Problem(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE")
        left = self._sessions.get(given[7:])
        if left is None or left <= 0:
            raise Problem(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self._sessions[given[7:]] = left - 1

    def open(self) -> str:
        """A session without the token endpoint, for tests that are about something else."""
        token = f"{ORGANIZATION[:15]}!{secrets.token_urlsafe(48)}"
        self._sessions[token] = self._session_calls or 10**9
        return token

    def expire_all(self) -> None:
        """No session is valid from now on."""
        self._sessions.clear()

    def _check_assertion(self, assertion: str, base_url: str, now_seconds: float) -> None:
        try:
            claims = jwt.decode(
                assertion,
                self._key.public_key(),
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_aud": False, "verify_iss": False, "verify_sub": False},
            )
            expires = int(claims["exp"])
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise TokenProblem(400, "invalid_grant", "invalid assertion") from None
        if claims.get("iss") != CLIENT_ID:
            raise TokenProblem(400, "invalid_client_id", "client identifier invalid")
        if claims.get("sub") != USERNAME:
            raise TokenProblem(400, "invalid_grant", "user hasn't approved this consumer")
        audiences = ("https://login.salesforce.com", "https://test.salesforce.com", base_url)
        if str(claims.get("aud")).rstrip("/") not in audiences:
            raise TokenProblem(400, "invalid_grant", "audience is invalid")
        if not now_seconds < expires <= now_seconds + _LONGEST_SECONDS:
            raise TokenProblem(400, "invalid_grant", "expired authorization code")

    def _opened(self, base_url: str, **more: str) -> dict[str, str]:
        identity = f"https://login.salesforce.com/id/{ORGANIZATION}/{INTEGRATION_USER}"
        opened = {"access_token": self.open(), "instance_url": base_url, "id": identity, "token_type": "Bearer"}
        return {**opened, **more}


def _basic(header: str) -> tuple[str, str] | None:
    if not header.startswith("Basic "):
        return None
    try:
        name, _, secret = base64.b64decode(header[6:]).decode().partition(":")
    except ValueError:
        return None
    return unquote(name), unquote(secret)
