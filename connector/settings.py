"""Settings: `leadlight.toml` and the environment, checked at the start; the environment wins.

Every key stands in `leadlight.toml` in lower case and in the environment as `LEADLIGHT_<KEY>`. Secrets come
from the environment or, as `<key>_file` / `LEADLIGHT_<KEY>_FILE`, from a file that holds nothing else; they are
hidden in every repr. What is blank is absent.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from connector.cron import Cron
from connector.errors import BadSetting

#: Where contacts may be.
PlatformName = Literal["hubspot", "salesforce", "files"]
PLATFORM_NAMES: tuple[str, ...] = get_args(PlatformName)

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ADDRESS = re.compile(r"[^\s@,;<>\"]+@[^\s@,;<>\"]+")


class Holdout(BaseModel):
    """`[holdout]`: a random share of contacts that gets no acting value, so that the lift can be measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Of the contacts that a prediction can be made for; 0: nobody is held out.
    share: float = Field(default=0.1, ge=0.0, le=0.5)
    predictors: tuple[Literal["lead_score", "send_time", "segments"], ...] = ("lead_score",)
    #: Another salt is another draw, and a new experiment.
    salt: str = "1"
    #: Grades on which somebody acts; contacts that never had one are not compared.
    act_on: tuple[Literal["A", "B", "C", "D"], ...] = ("A", "B")
    #: Days after which a contact's outcome is counted; absent: the goal's horizon.
    window_days: int | None = Field(default=None, ge=1, le=1825)
    #: The lift that the holdout is planned to show: 0.1 is a tenth more outcomes.
    lift: float = Field(default=0.1, gt=0.0, le=10.0)


def _https(url: str) -> str:
    """The URL without a slash at its end, where it may carry secrets. Raises ValueError, without the URL."""
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        return url.rstrip("/")
    raise ValueError("must start with https:// (plain http is accepted for loopback addresses only)")


def _zone(name: str | None) -> str | None:
    if name is not None:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("is no IANA time zone (Europe/Berlin, America/New_York, UTC)") from error
    return name


class Serve(BaseModel):
    """`[serve]`: when `leadlight serve` does what, and what it takes in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Cron expression of the scheduled sync; empty: no schedule.
    sync: str = "15 2 * * *"
    #: Minutes between two looks at what webhooks cannot tell; 0: none.
    poll_minutes: int = Field(default=5, ge=0, le=1440)
    #: Zone of `sync`. Absent: the account's own, else `timezone`.
    timezone: str | None = None
    #: Webhook requests with a longer body (KiB) are refused.
    max_body_kb: int = Field(default=1024, ge=1, le=65_536)
    #: Hours without a successful sync after which an alert is sent; more where the schedule itself pauses longer.
    late_hours: float = Field(default=26.0, ge=1.0, le=2400.0)

    _known_zone = field_validator("timezone")(_zone)

    @field_validator("sync")
    @classmethod
    def _cron(cls, value: str) -> str:
        if value.strip():
            Cron(value, ZoneInfo("UTC"))
        return value.strip()


class Mail(BaseModel):
    """`[alerts]`: the SMTP server that alerts go out by, and between whom. Its password is
    `alerts_smtp_password`; a chat's address is `alerts_webhook_url`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    smtp_host: str | None = None
    smtp_port: int = Field(default=587, ge=1, le=65_535)
    #: none is for a server on this machine only.
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str | None = None
    mail_from: str | None = None
    mail_to: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _secrets_stand_elsewhere(cls, given: Any) -> Any:
        for key in ("webhook_url", "smtp_password"):
            if isinstance(given, Mapping) and key in given:
                raise ValueError(f"{key} is a secret: put it into LEADLIGHT_ALERTS_{key.upper()}_FILE instead")
        return given

    @field_validator("mail_to", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else value

    @field_validator("mail_from", "mail_to")
    @classmethod
    def _addresses(cls, value: Any) -> Any:
        for one in (value,) if isinstance(value, str) else value or ():
            if not _ADDRESS.fullmatch(one):
                raise ValueError("is no e-mail address (ops@your-company.example)")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.smtp_host is None:
            return self
        lacking = [key for key in ("mail_from", "mail_to") if not getattr(self, key)]
        if lacking:
            raise ValueError(f"smtp_host needs {' and '.join(lacking)}")
        if self.smtp_tls == "none" and self.smtp_host not in _LOOPBACK:
            raise ValueError('smtp_tls = "none" is for loopback addresses only: "starttls" or "tls"')
        return self


def _unless_blank(secret: SecretStr | None) -> SecretStr | None:
    return secret if secret is not None and secret.get_secret_value().strip() else None


#: Anybody can sign with an empty key, and that is what a variable of a compose file comes to when nobody set it.
Secret = Annotated[SecretStr | None, AfterValidator(_unless_blank)]


class Settings(BaseSettings):
    """What the user chose. Raises BadSetting (through `load`) naming the key that is wrong."""

    model_config = SettingsConfigDict(env_prefix="LEADLIGHT_", env_ignore_empty=True, extra="forbid", frozen=True)

    platform: PlatformName | None = None
    state_dir: Path = Path(".leadlight")
    public_url: str | None = None
    #: mapping.toml of the files platform; its [goal] is used where leadlight.toml has none.
    mapping: Path | None = None

    hubspot_token: Secret = None
    hubspot_base_url: str = "https://api.hubapi.com"
    #: Signs HubSpot's webhooks. While a new one is being rolled out: both, separated by spaces, commas or lines.
    hubspot_client_secret: Secret = None
    #: Signature versions that are accepted. v1 and v2 hold no time and can be replayed: only where named.
    hubspot_signatures: tuple[Literal["v1", "v2", "v3"], ...] = Field(default=("v3",), min_length=1)
    hubspot_api_version: str = "2026-09"
    #: The folder of `leadlight manifest hubspot`: doctor compares its webhooks with the models in use.
    hubspot_project: Path | None = None

    #: The org's My Domain host, https://….my.salesforce.com.
    salesforce_base_url: str | None = None
    salesforce_client_id: str | None = None
    salesforce_client_secret: Secret = None
    salesforce_api_version: str = Field(default="v68.0", pattern=r"^v(5[3-9]|[6-9][0-9])\.0$")
    salesforce_username: str | None = None
    salesforce_audience: str | None = None
    salesforce_private_key: Secret = None
    salesforce_webhook_secret: Secret = None
    salesforce_hmac_secret: Secret = None

    #: Share of the platform's call limits that is left to the customer's other integrations.
    spare_calls: float = Field(default=0.1, ge=0.0, le=0.9)
    #: How far back a pull looks for records that the platform's search index was late with.
    lookback_minutes: int = Field(default=15, ge=0, le=1440)

    #: Prefix of our properties' names.
    prefix: str = Field(default="leadlight", pattern=r"^[a-z][a-z0-9_]{1,30}$")
    goal: dict[str, Any] | None = None
    goals: dict[str, dict[str, Any]] = Field(default_factory=dict)
    #: Zone of contacts without one, and of naive times.
    timezone: str | None = None
    #: A property that holds the score the customer uses today: a further baseline.
    compare_to: str | None = None
    #: Properties that look like leaks and are none.
    trusted: tuple[str, ...] = ()
    #: Properties that are never features nor reasons.
    excluded: tuple[str, ...] = ()
    #: Topics or words whose properties are never features nor reasons, besides the default topics; and topics of
    #: those that are used after all.
    protected: tuple[str, ...] = ()
    unprotected: tuple[str, ...] = ()
    #: "opt_out" or "opt_in", or a table that also names the property in which people object to profiling.
    consent: str | dict[str, Any] = "opt_out"
    #: Whom to train on, and whom to write to.
    include: dict[str, Any] = Field(default_factory=dict)
    exclude: dict[str, Any] = Field(default_factory=dict)
    write: dict[str, Any] = Field(default_factory=dict)
    #: Events older than this are deleted after each pull. Absent: everything is kept.
    keep_events_days: int | None = Field(default=None, ge=1)
    #: Gate thresholds by name.
    gates: dict[str, float] = Field(default_factory=dict)
    seed: int = 20261123
    #: Days after which a sync trains again.
    retrain_days: int = Field(default=30, ge=1, le=3650)

    #: A run that would change more contacts than this stops before its first write. Absent: no cap.
    max_changes: int | None = Field(default=None, ge=0)
    #: The same for the share of graded contacts that would get another grade.
    max_grade_moves: float = Field(default=0.2, ge=0.0, le=1.0)
    #: A score that moved by fewer points stays as it stands, unless grade or reasons changed. 0: write every move.
    min_score_step: float = Field(default=2.0, ge=0.0, le=100.0)
    #: What was written and what stood before is kept so long, and can be rolled back.
    keep_ledger_days: int = Field(default=400, ge=1)
    #: Nothing is written before a person has approved the plan.
    require_approval: bool = False

    #: Absent: nobody is held out.
    holdout: Holdout | None = None
    #: Write to a second set of properties (`<prefix>_shadow_…`) and leave the real ones alone.
    shadow: bool = False
    #: The same, and the report gives its verdict after so many weeks.
    shadow_weeks: int | None = Field(default=None, ge=1, le=52)

    serve: Serve = Serve()
    #: Mail. Absent, and without `alerts_webhook_url`: alerts are only logged.
    alerts: Mail = Mail()
    #: A Slack-style incoming webhook: who knows the address can post.
    alerts_webhook_url: Secret = None
    alerts_smtp_password: Secret = None

    @field_validator("hubspot_base_url", "salesforce_base_url", "salesforce_audience")
    @classmethod
    def _https_beyond_loopback(cls, value: str | None) -> str | None:
        return None if value is None else _https(value)

    @field_validator("alerts_webhook_url")
    @classmethod
    def _secret_https(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _https(value.get_secret_value())
        return value

    _known_zone = field_validator("timezone")(_zone)

    @property
    def shadowed(self) -> bool:
        """Whether what is written goes to the shadow set of properties."""
        return self.shadow or self.shadow_weeks is not None

    @property
    def hubspot_client_secrets(self) -> tuple[str, ...]:
        """The app's client secrets, in the order given; empty where none is set. Never to be logged."""
        given = self.hubspot_client_secret
        return () if given is None else tuple(re.findall(r"[^\s,]+", given.get_secret_value()))

    @classmethod
    def settings_customise_sources(  # the signature is the library's
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The file's values arrive as init arguments (`load`); the environment outranks them.
        return env_settings, init_settings


def _secret_names() -> list[str]:
    return [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]


def _read_secret(path: str, key: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadSetting(f"{key} names {path}, which cannot be read ({error.strerror}).") from None


def _with_secret_files(given: dict[str, Any]) -> dict[str, Any]:
    for name in _secret_names():
        variable = f"LEADLIGHT_{name.upper()}"
        path = os.environ.get(f"{variable}_FILE") or given.pop(f"{name}_file", None)
        given.pop(f"{name}_file", None)
        if path and not os.environ.get(variable):
            given[name] = _read_secret(str(path), f"{variable}_FILE")
    return given


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSetting(f"There is no settings file {path}; name another with --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} is not valid TOML: {error}.") from None


def load(config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from `config` (default: leadlight.toml here, if there is one), the environment, and options given
    on the command line, which outrank both. Raises BadSetting."""
    given: dict[str, Any] = {}
    base = Path()
    path = config or Path("leadlight.toml")
    if config is not None or path.is_file():
        given = _read_toml(path)
        base = path.parent
    for key in ("mapping", "state_dir", "hubspot_project"):
        if isinstance(given.get(key), str):
            given[key] = base / Path(given[key]).expanduser()
    try:
        settings = Settings(**_with_secret_files(given))
    except ValidationError as error:
        raise BadSetting(_explain(error, path)) from None
    except SettingsError as error:  # its words name the key; what stands in it is in its cause
        named = re.search(r'"([a-z_]+)"', str(error))
        key = f"LEADLIGHT_{named[1].upper()}" if named else "LEADLIGHT_…"
        raise BadSetting(f"{key} is no JSON: write lists and tables as in '[\"v3\"]'.") from None
    chosen = {key: value for key, value in (overrides or {}).items() if value is not None}
    return settings.model_copy(update=chosen)


_TABLES: Mapping[str, type[BaseModel]] = {"holdout": Holdout, "serve": Serve, "alerts": Mail}


def _explain(error: ValidationError, path: Path) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "settings"
        if problem["type"] == "extra_forbidden":
            beside = _TABLES.get(str(problem["loc"][0]), Settings) if len(problem["loc"]) > 1 else Settings
            known = ", ".join(sorted(beside.model_fields))
            lines.append(f"{key} is no setting. Known are: {known}.")
        else:
            lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}.")
    return f"Settings ({path} and LEADLIGHT_… in the environment): " + " ".join(lines)
