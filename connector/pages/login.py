"""Who may see the dashboard: anyone at this machine itself; from elsewhere only who has the login token."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from pathlib import Path

from starlette.requests import HTTPConnection

FILE = "login.json"
COOKIE = "leadlight_session"
#: Seconds that a session lasts.
LASTS = 12 * 3600
_LOCAL = {"127.0.0.1", "::1", "localhost"}
#: Seconds that a try waits for others.
TRYING = 1.0
#: scrypt's cost (RFC 7914): some 16 MB and a twentieth of a second a try.
_COST = {"n": 2**14, "r": 8, "p": 1}
_PROXIED = ("x-forwarded-for", "forwarded", "x-real-ip")


def new_token(folder: Path) -> str:
    """Make a login token and keep its salted hash alone; an earlier one is void from now on."""
    token, salt = secrets.token_urlsafe(24), secrets.token_bytes(16)
    kept = {"salt": base64.b64encode(salt).decode(), "hash": base64.b64encode(_hash(token, salt)).decode()}
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{FILE}"
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(kept, file)
    aside.replace(folder / FILE)
    return token


class Login:
    """Sessions are signed with a key of this process: a restart ends them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = secrets.token_bytes(32)
        self._trying = threading.Lock()

    @property
    def needed(self) -> bool:
        """Whether a login token was made."""
        return (self._folder / FILE).exists()

    def is_token(self, token: str) -> bool:
        """Whether this is the login token, in constant time. One is tried at a time, so that a flood of them takes
        one processor and little memory; who would wait for long is refused."""
        if not token or not self._trying.acquire(timeout=TRYING):
            return False
        try:
            return self._matches(token)
        finally:
            self._trying.release()

    def _matches(self, token: str) -> bool:
        try:
            kept = json.loads((self._folder / FILE).read_text(encoding="utf-8"))
            salt, known = base64.b64decode(kept["salt"]), base64.b64decode(kept["hash"])
        except (OSError, ValueError, KeyError):
            return False
        return hmac.compare_digest(_hash(token, salt), known)

    def open_session(self) -> str:
        """A new session's cookie."""
        named = f"{secrets.token_urlsafe(16)}.{int(time.time()) + LASTS}"
        return f"{named}.{self._sign('session', named)}"

    def session(self, cookie: str | None) -> str | None:
        """The session of a cookie; None for one that is not ours or is over."""
        named, _, signature = (cookie or "").rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", named).encode()):
            return None
        return named if int(named.rpartition(".")[2]) > time.time() else None

    def form_key(self, session: str) -> str:
        """What a form of this session carries, so that no other site can send it."""
        return self._sign("form", session)

    def is_form_key(self, session: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.form_key(session).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def local(connection: HTTPConnection) -> bool:
    """Whether a request comes from this machine and is meant for it: by address, by the host that it names (a page
    elsewhere may point its own name here), and through no proxy."""
    client = connection.client.host if connection.client is not None else ""
    proxied = any(name in connection.headers for name in _PROXIED)
    return client in _LOCAL and (connection.url.hostname or "") in _LOCAL and not proxied


def _hash(token: str, salt: bytes) -> bytes:
    return hashlib.scrypt(token.encode(), salt=salt, **_COST)
