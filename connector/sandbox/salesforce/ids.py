"""Salesforce's record ids: 15 characters that tell case apart, and three more that make up for lost case."""

import string
from typing import Any

import numpy as np
import pyarrow as pa

_BASE62 = np.frombuffer((string.digits + string.ascii_uppercase + string.ascii_lowercase).encode(), np.uint8)
_CHECK = np.frombuffer((string.ascii_uppercase + "012345").encode(), np.uint8)
#: Object -> the first three characters of its ids.
PREFIXES = {
    **{"Lead": "00Q", "Contact": "003", "Account": "001", "Opportunity": "006", "User": "005"},
    **{"OpportunityContactRole": "00K", "OpportunityHistory": "008", "LeadHistory": "017"},
    **{"ContactHistory": "017", "Campaign": "701", "CampaignMember": "00v", "Task": "00T", "Event": "00U"},
    **{"EmailMessage": "02s", "EmailMessageRelation": "0CW", "Individual": "0PK", "Organization": "00D"},
}


def ids(prefix: str, numbers: "np.ndarray[Any, np.dtype[np.int64]]") -> pa.Array:
    """18-character ids for numbers; the same each time."""
    whole = np.empty((len(numbers), 18), np.uint8)
    whole[:, :6] = np.frombuffer(f"{prefix}5A0".encode(), np.uint8)
    left = numbers.copy()
    for place in range(14, 5, -1):
        left, digit = np.divmod(left, 62)
        whole[:, place] = _BASE62[digit]
    upper = (whole[:, :15] >= ord("A")) & (whole[:, :15] <= ord("Z"))
    for part in range(3):
        weights = upper[:, part * 5 : part * 5 + 5] @ np.array([1, 2, 4, 8, 16])
        whole[:, 15 + part] = _CHECK[weights]
    return pa.array([one.decode() for one in whole.view("S18").ravel().tolist()], pa.string())


def one_id(prefix: str, number: int) -> str:
    """A single id."""
    return str(ids(prefix, np.array([number], np.int64))[0].as_py())


def long_form(given: str) -> str | None:
    """The 18 characters of an id given in 15 or 18, None for what can be none."""
    if len(given) not in (15, 18) or not (given.isascii() and given.isalnum()):
        return None
    upper = [char in string.ascii_uppercase for char in given[:15]]
    check = "".join(
        chr(_CHECK[sum(flag << bit for bit, flag in enumerate(upper[part : part + 5]))]) for part in (0, 5, 10)
    )
    return given[:15] + check if given[15:].upper() in ("", check) else None
