"""The settings that say who may be looked at: `consent`, `[include]`, `[exclude]` and `[write]`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from connector.errors import BadSetting
from connector.settings import Settings
from scoring.eligibility import EMAIL_DOMAIN, LIST, Consent, Filter
from scoring.predictors.base import Options

_MODES = ("opt_out", "opt_in")
_CONSENT_KEYS = {"mode", "profiling_property", "denied_values", "granted_values"}
_FIELDS = ("lifecycle_stage", "owner", "country", EMAIL_DOMAIN, LIST)


def read_consent(settings: Settings) -> Consent:
    """`consent = "opt_in"` or a `[consent]` table. Raises BadSetting naming the key."""
    given = settings.consent
    table = {"mode": given} if isinstance(given, str) else dict(given)
    if unknown := sorted(set(table) - _CONSENT_KEYS):
        raise BadSetting(f"[consent] {unknown[0]} is no key. Known are: {', '.join(sorted(_CONSENT_KEYS))}.")
    mode = table.get("mode", "opt_out")
    if mode not in _MODES:
        raise BadSetting(f"consent = {mode!r}: use opt_out (unknown means allowed) or opt_in (unknown means not).")
    name, denied = table.get("profiling_property"), _values("consent", "denied_values", table)
    granted = _values("consent", "granted_values", table)
    if (name is None) != (not denied and not granted):
        raise BadSetting('[consent] profiling_property goes with denied_values, such as denied_values = ["no"].')
    return Consent(mode == "opt_in", None if name is None else str(name), denied, granted)


def read_filters(settings: Settings) -> tuple[Filter, Filter]:
    """Whom to train on ([include], [exclude]), and whom to write to ([write.include], [write.exclude])."""
    if unknown := sorted(set(settings.write) - {"include", "exclude"}):
        raise BadSetting(f"[write] {unknown[0]} is no key: use [write.include] and [write.exclude].")
    writing = {key: settings.write.get(key, {}) for key in ("include", "exclude")}
    return (
        Filter(_conditions("include", settings.include), _conditions("exclude", settings.exclude)),
        Filter(*(_conditions(f"write.{key}", table) for key, table in writing.items())),
    )


def _conditions(where: str, table: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(table, Mapping):
        raise BadSetting(f"[{where}] must be a table of fields and values.")
    found = {}
    for key in table:
        if key == "property":
            continue
        if key not in _FIELDS:
            raise BadSetting(
                f"[{where}] {key} is no field. Known are: {', '.join(_FIELDS)}; any property under "
                f"[{where}.property]."
            )
        found[key] = _values(where, key, table)
    named = table.get("property", {})
    if not isinstance(named, Mapping):
        raise BadSetting(f'[{where}.property] must be a table, such as country = ["DE"].')
    return {**found, **{str(key): _values(f"{where}.property", key, named) for key in named}}


def _values(where: str, key: str, table: Mapping[str, Any]) -> tuple[str, ...]:
    given = table.get(key, ())
    values = [given] if isinstance(given, str | int | float) else given
    if not isinstance(values, list | tuple) or not all(isinstance(one, str | int | float) for one in values):
        raise BadSetting(f'[{where}] {key} must be a list of values, such as ["lead"].')
    if key in table and not values:
        raise BadSetting(f"[{where}] {key} lists no value.")
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in values)


def needed_properties(settings: Settings) -> tuple[str, ...]:
    """Properties of the platform that these settings read, to be pulled whatever their fill."""
    consent, filters = read_consent(settings), read_filters(settings)
    names = [name for chosen in filters for name in chosen.fields if name not in _FIELDS]
    return tuple(dict.fromkeys([*([] if consent.property is None else [consent.property]), *names]))


def needed_lists(settings: Settings, *, writing: bool = False) -> dict[str, str]:
    """Ids of the lists that filters name, each with the setting that names it first; with `writing`, those of
    `[write]` alone."""
    train, write = read_filters(settings)
    tables = {"write.include": write.include, "write.exclude": write.exclude}
    if not writing:
        tables = {"include": train.include, "exclude": train.exclude, **tables}
    found: dict[str, str] = {}
    for where, conditions in tables.items():
        for one in conditions.get(LIST, ()):
            found.setdefault(one.strip(), f"[{where}] list")
    return found


def training_choices(options: Options) -> dict[str, Any]:
    """What of the settings shapes a model, JSON-able, to see whether a standing one still fits them."""
    chosen = {
        "consent": asdict(options.consent),
        "train": asdict(options.train),
        "protected": sorted(options.protected),
        "unprotected": sorted(options.unprotected),
        "excluded": sorted(options.excluded),
        "trusted": sorted(options.trusted),
    }
    return dict(json.loads(json.dumps(chosen)))


def scoring_choices(options: Options) -> str:
    """A fingerprint of what of the settings decides who gets a value."""
    chosen = json.dumps([asdict(options.consent), asdict(options.write)], sort_keys=True)
    return hashlib.sha256(chosen.encode()).hexdigest()[:16]
