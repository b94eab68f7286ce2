"""The one HTTP client: authorization, call budgets, retries, and errors that say what to do.

Whether a failed call is made again is `should_retry`, a pure function over the platform's table of rules;
waiting is tenacity's, jitter is `jittered`. Errors name the call by its template ('GET /crm/objects/…/{id}'),
the status and the platform's request id. They never hold a URL, a body or a token: any of these may hold
secrets or personal data.
"""

import email.utils
import ipaddress
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

import requests
import tenacity
from requests.adapters import HTTPAdapter

from connector.budgets import Budgets, Quota
from connector.errors import BadCredentials, BadSetting, BudgetSpent, MissingScope, PlatformDown, PlatformRefused

log = logging.getLogger(__name__)

#: Seconds to connect, and between two pieces of an answer.
TIMEOUT = (10.0, 60.0)

#: A longer wait than this is not slept through: the run ends and says when to come back.
LONGEST_WAIT = 300.0


class Secret(Protocol):
    """What shows itself only when asked (pydantic's SecretStr)."""

    def get_secret_value(self) -> str: ...


@runtime_checkable
class Renewable(Protocol):
    """A token that expires and can be had anew."""

    def refused(self, used: str) -> None:
        """The platform answered 401 to this token: the next `get_secret_value` gets another one."""


@dataclass(frozen=True)
class Call:
    """One request. `template` is what it is counted and named by, `path` where it goes."""

    method: str
    template: str
    path: str
    budgets: tuple[str, ...]
    #: Making it twice does no harm.
    repeatable: bool = True
    params: Mapping[str, Any] | None = None
    json: Any = None
    #: A body that is no JSON; its media type stands in `headers`.
    data: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The answer is no JSON either: `Reply.body` is bytes.
    raw: bool = False
    #: Error statuses that the caller reads itself.
    accept: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"


@dataclass(frozen=True)
class Reply:
    """An answer: parsed JSON, {} where there is no body."""

    status: int
    body: Any
    request_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """What an error body says, in the platform's codes; no text, which may hold personal data."""

    code: str | None = None
    #: The budget that a 429 speaks of, or what else the rules tell failures of one status apart by.
    policy: str | None = None
    scopes: tuple[str, ...] = ()
    #: A call limit is used up, whatever the status.
    spent: bool = False


@dataclass(frozen=True)
class Failure:
    """A call that failed, as `should_retry` sees it. `status` is None where no proper answer came."""

    trouble: Literal["status", "unsent", "connection", "garbled"]
    status: int | None = None
    policy: str | None = None
    retry_after: float | None = None
    repeatable: bool = True
    #: 1 for the first try.
    attempt: int = 1


@dataclass(frozen=True)
class Rule:
    """What to do about some failures. Waits grow with the attempt: `seconds`, twice, three times …"""

    on: tuple[int | str, ...]
    policy: str | None = None
    seconds: float = 0.0
    attempts: int = 1
    #: The platform says that it did nothing, so that any call may be made again.
    untouched: bool = False
    #: Every other caller waits too.
    everyone: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether to call again, after how many seconds, and whether everybody waits."""

    again: bool
    wait: float = 0.0
    everyone: bool = False


def should_retry(failure: Failure, rules: Iterable[Rule]) -> Decision:
    """Decide by the first rule that fits; without one, never.

    A Retry-After is honoured as it stands, unless it is longer than LONGEST_WAIT: then the answer is no.
    """
    key = failure.status if failure.trouble == "status" else failure.trouble
    for rule in rules:
        if key not in rule.on or rule.policy not in (None, failure.policy):
            continue
        if failure.attempt >= rule.attempts or not (failure.repeatable or rule.untouched):
            return Decision(again=False)
        wait = rule.seconds * failure.attempt if failure.retry_after is None else failure.retry_after
        return Decision(again=wait <= LONGEST_WAIT, wait=wait, everyone=rule.everyone)
    return Decision(again=False)


def jittered(seconds: float) -> float:
    """A little more than asked, so that callers who failed together do not come back together."""
    return seconds * (1 + 0.25 * random.random())  # noqa: S311 - no secret hangs on it


class Dialect(Protocol):
    """How one platform words its answers."""

    @property
    def name(self) -> str:
        """What the user calls the platform."""

    @property
    def credentials(self) -> str:
        """The settings that hold the credentials, for messages."""

    @property
    def rules(self) -> Sequence[Rule]:
        """What to do about failures; the first rule that fits decides."""

    def problem(self, body: Any) -> Problem:
        """Read an error body; {} where it was no JSON."""

    def quota(self, headers: Mapping[str, str]) -> Quota:
        """Read the rate-limit headers."""

    def request_id(self, headers: Mapping[str, str], body: Any) -> str | None:
        """The platform's own id of the request."""


class _Again(Exception):
    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait


@dataclass(frozen=True)
class _Answer:
    """A failure with what its error will need."""

    failure: Failure
    problem: Problem = field(default_factory=Problem)
    request_id: str | None = None


class _Bearer(requests.auth.AuthBase):
    """Sets the header itself, so that requests never looks into a .netrc file."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return request


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_base_url(url: str) -> str:
    """The URL without a slash at its end. Raises BadSetting: plain http is for loopback addresses only."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise BadSetting("A base URL holds no user name, password or query: give scheme, host and port only.")
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise BadSetting("A base URL must begin with https:// and name a host.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise BadSetting(
            f"Plain http is accepted for loopback addresses only, not for {parts.hostname}: use https."
        )
    return url.rstrip("/")


def utc_now() -> datetime:
    """The present instant, aware."""
    return datetime.now(UTC)


class Transport:
    """Calls to one account of one platform. Thread-safe: a call under way has a connection of its own, which the
    next call takes over, whatever thread it is on."""

    def __init__(
        self,
        base_url: str,
        token: Secret | None,
        dialect: Dialect,
        limits: Mapping[str, Mapping[str, Any]],
        *,
        share: float = 0.9,
        clock: Callable[[], datetime] = utc_now,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self._base_url = check_base_url(base_url)
        self._token, self._auth = token, None if token is None else _Bearer(token)
        self._dialect, self._clock, self._sleep, self._timeout = dialect, clock, sleep, timeout
        self.budgets = Budgets(limits, share=share, clock=clock, ticks=ticks, sleep=sleep)
        self._lock = threading.Lock()
        self._free: list[requests.Session] = []
        self._calls: Counter[str] = Counter()
        self._ahead = timedelta(0)

    def __repr__(self) -> str:
        return f"Transport({self._dialect.name}, {urlsplit(self._base_url).hostname})"

    def calls(self) -> Mapping[str, int]:
        """Calls made so far, each try counted, by 'METHOD /path/template'."""
        with self._lock:
            return dict(self._calls)

    def platform_now(self) -> datetime:
        """The present on the platform's clock (aware, UTC), at most a second and a call's duration early.

        Early is the safe side: a cursor taken from it repeats rather than loses.
        """
        return self._clock() + self._ahead

    def send(self, call: Call) -> Reply:
        """Make a call, waiting and repeating as the rules say.

        Raises BadCredentials, MissingScope, BudgetSpent, PlatformDown, PlatformRefused.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=lambda state: jittered(_wait_of(state)),
            stop=tenacity.stop_never,
            sleep=self._sleep,
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                return self._try(call, attempt.retry_state.attempt_number)
        raise AssertionError("unreachable: tenacity returns or raises")

    def _try(self, call: Call, attempt: int) -> Reply:
        self.budgets.take(call.budgets)
        with self._lock:
            self._calls[call.name] += 1
        outcome = self._exchange(call, attempt)
        if isinstance(outcome, Reply):
            return outcome
        decision = should_retry(outcome.failure, self._dialect.rules)
        if not decision.again:
            raise self._error(call, outcome)
        what = outcome.failure.status or outcome.failure.trouble
        log.info("%s failed (%s, request %s); %.1f s", call.name, what, outcome.request_id, decision.wait)
        if decision.everyone:
            self.budgets.hold_all(decision.wait)
        raise _Again(decision.wait)

    def _exchange(self, call: Call, attempt: int) -> Reply | _Answer:
        """One request: the reply, or the failure. Nothing that requests raises leaves here: it holds the URL."""
        try:
            with self._session() as session:
                response = session.request(
                    call.method,
                    self._base_url + call.path,
                    params=call.params,
                    json=call.json,
                    data=call.data,
                    headers=call.headers,
                    timeout=self._timeout,
                    allow_redirects=False,
                )
        except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError):
            return _Answer(Failure("unsent", repeatable=call.repeatable, attempt=attempt))
        except requests.exceptions.RequestException:
            return _Answer(Failure("connection", repeatable=call.repeatable, attempt=attempt))
        self._learn(call, response)
        if response.status_code == 401 and isinstance(self._token, Renewable):
            self._token.refused(response.request.headers.get("Authorization", "").removeprefix("Bearer "))
        return self._read(call, response, attempt)

    def _read(self, call: Call, response: requests.Response, attempt: int) -> Reply | _Answer:
        status = response.status_code
        if status < 300 and call.raw:
            return Reply(
                status, response.content, self._dialect.request_id(response.headers, {}), response.headers
            )
        body, garbled = _json(response)
        request_id = self._dialect.request_id(response.headers, body)
        if status < 300 and garbled:
            return _Answer(Failure("garbled", repeatable=call.repeatable, attempt=attempt), request_id=request_id)
        if status < 300 or status in call.accept:
            return Reply(status, body, request_id, response.headers)
        problem = self._dialect.problem(body)
        failure = Failure(
            "status", status, problem.policy, _retry_after(response.headers), call.repeatable, attempt
        )
        return _Answer(failure, problem, request_id)

    def _learn(self, call: Call, response: requests.Response) -> None:
        self.budgets.correct(call.budgets, self._dialect.quota(response.headers))
        try:
            there = email.utils.parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            return
        if there.tzinfo is not None:
            self._ahead = there - self._clock()

    def _error(self, call: Call, answer: _Answer) -> Exception:
        """The error that a failure ends in."""
        failure, problem, name = answer.failure, answer.problem, self._dialect.name
        what = f"{name}: {call.name} answered {failure.status}" + (f" {problem.code}" if problem.code else "")
        what += f" (request {answer.request_id})" if answer.request_id else ""
        if failure.status is None:
            why = {"unsent": "could not be reached", "connection": "broke the connection or did not answer"}
            text = f"{name} {why.get(failure.trouble, 'sent an answer that is no JSON')}: {call.name}."
            return PlatformDown(text, answer.request_id)
        if failure.status == 429 or failure.retry_after or problem.spent:
            return BudgetSpent(f"{what}; the run can go on later.", self._resume_at(failure))
        if failure.status in (401, 530):
            return BadCredentials(
                f"{what}: the token in {self._dialect.credentials} is wrong, expired or revoked."
            )
        if failure.status == 403:
            scope = " ".join(problem.scopes) or "unknown"
            return MissingScope(f"{what}: the token lacks the scope {scope}.", scope)
        if failure.status >= 500 or failure.status in (423, 477):
            return PlatformDown(f"{what} after {failure.attempt} tries.", answer.request_id)
        return PlatformRefused(what + ".", status=failure.status, code=problem.code, request_id=answer.request_id)

    def _resume_at(self, failure: Failure) -> datetime:
        if failure.policy == "DAILY":
            return self.budgets.midnight()
        return self._clock() + timedelta(seconds=failure.retry_after or 60)

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A session that nobody else has. Threads come and go with every batch: connections must not."""
        with self._lock:
            session = self._free.pop() if self._free else None
        session = session or self._new_session()
        try:
            yield session
        except BaseException:
            session.close()
            raise
        with self._lock:
            self._free.append(session)

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.auth = self._auth
        session.headers["Accept"] = "application/json"
        # Proxies of the environment are for the way out, not for this machine.
        session.trust_env = not is_loopback(urlsplit(self._base_url).hostname or "")
        session.mount(self._base_url, HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
        return session

    def close(self) -> None:
        """Give up all connections that are not in use."""
        with self._lock:
            while self._free:
                self._free.pop().close()


def _wait_of(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.wait if isinstance(error, _Again) else 0.0


def _json(response: requests.Response) -> tuple[Any, bool]:
    """(body, whether it should have been JSON and was not)."""
    if not response.content:
        return {}, False
    try:
        return response.json(), False
    except ValueError:
        return {}, True


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds; the date form is not used by the platforms that we know."""
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
