"""What a model is made of, as a fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def version_of(predictor: str, as_of: datetime, meta: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """`<predictor>-<as_of date>-<8 hex digits of the content>`: equal models have equal versions."""
    return f"{predictor}-{as_of:%Y-%m-%d}-{digest(meta, files)[:8]}"


def digest(meta: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """SHA-256 of a model's description and files."""
    content = json.dumps([meta, dict(files)], sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()
