"""Settings: `leadlight.toml` and the environment, checked at the start; the environment wins.

Every key stands in `leadlight.toml` in lower case and in the environment as `LEADLIGHT_<KEY>`. Secrets come
from the environment or, as `<key>_file` / `LEADLIGHT_<KEY>_FILE`, from a file that holds nothing else; they are
hidden in every repr.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from connector.errors import BadSetting

#: Where contacts may be.
PlatformName = Literal["hubspot", "salesforce", "files"]
PLATFORM_NAMES: tuple[str, ...] = get_args(PlatformName)

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


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


class Settings(BaseSettings):
    """What the user chose. Raises BadSetting (through `load`) naming the key that is wrong."""

    model_config = SettingsConfigDict(env_prefix="LEADLIGHT_", extra="forbid", frozen=True)

    platform: PlatformName | None = None
    state_dir: Path = Path(".leadlight")
    public_url: str | None = None
    #: mapping.toml of the files platform; its [goal] is used where leadlight.toml has none.
    mapping: Path | None = None

    hubspot_token: SecretStr | None = None
    hubspot_base_url: str = "https://api.hubapi.com"
    hubspot_client_secret: SecretStr | None = None
    hubspot_api_version: str = "2026-09"

    #: The org's My Domain host, https://….my.salesforce.com.
    salesforce_base_url: str | None = None
    salesforce_client_id: str | None = None
    salesforce_client_secret: SecretStr | None = None
    salesforce_api_version: str = Field(default="v68.0", pattern=r"^v(5[3-9]|[6-9][0-9])\.0$")
    salesforce_username: str | None = None
    salesforce_audience: str | None = None
    salesforce_private_key: SecretStr | None = None
    salesforce_webhook_secret: SecretStr | None = None
    salesforce_hmac_secret: SecretStr | None = None

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

    @field_validator("hubspot_base_url", "salesforce_base_url", "salesforce_audience")
    @classmethod
    def _https_beyond_loopback(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme == "https" and parts.hostname:
            return value.rstrip("/")
        if parts.scheme == "http" and parts.hostname in _LOOPBACK:
            return value.rstrip("/")
        raise ValueError("must start with https:// (plain http is accepted for loopback addresses only)")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (KeyError, ValueError, OSError) as error:
                raise ValueError("is no IANA time zone (Europe/Berlin, America/New_York, UTC)") from error
        return value

    @property
    def shadowed(self) -> bool:
        """Whether what is written goes to the shadow set of properties."""
        return self.shadow or self.shadow_weeks is not None

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
        if path and variable not in os.environ:
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
    for key in ("mapping", "state_dir"):
        if isinstance(given.get(key), str):
            given[key] = base / Path(given[key]).expanduser()
    try:
        settings = Settings(**_with_secret_files(given))
    except ValidationError as error:
        raise BadSetting(_explain(error, path)) from None
    chosen = {key: value for key, value in (overrides or {}).items() if value is not None}
    return settings.model_copy(update=chosen)


def _explain(error: ValidationError, path: Path) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "settings"
        if problem["type"] == "extra_forbidden":
            known = ", ".join(sorted(Settings.model_fields))
            lines.append(f"{key} is no setting. Known are: {known}.")
        else:
            lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}.")
    return f"Settings ({path} and LEADLIGHT_… in the environment): " + " ".join(lines)
