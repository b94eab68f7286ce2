"""What a model is made of, as a fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

#: When and on what a model was fitted; two models that differ in nothing else compute the same.
_CIRCUMSTANCES = frozenset({"as_of", "until", "training", "trained_on", "evaluation", "libraries"})


def version_of(predictor: str, as_of: datetime, meta: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """`<predictor>-<as_of date>-<8 hex digits of the content>`: models that compute the same, fitted on one day,
    have equal versions, whatever the second they were fitted at."""
    lasting = {key: value for key, value in meta.items() if key not in _CIRCUMSTANCES}
    return f"{predictor}-{as_of:%Y-%m-%d}-{digest(lasting, files)[:8]}"


def digest(meta: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """SHA-256 of a model's description and files."""
    content = json.dumps([meta, dict(files)], sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()
