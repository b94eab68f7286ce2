"""What an account is filled with: the files of a mapping, or the made-up market, as canonical tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from connector.platforms.files import load_tables, read_mapping
from connector.sandbox import times
from connector.sandbox.options import SandboxOptions
from scoring.synthetic.market import market

#: Contacts without dates were made, and last changed, so long before the start.
UNDATED_AGE_MS = 30 * times.DAY_MS


@dataclass(frozen=True)
class Contents:
    """Canonical tables and the account's own time zone and currency."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    timezone: str = "US/Eastern"
    currency: str = "USD"


def contents(options: SandboxOptions, now: int) -> Contents:
    """What the options describe, as of `now` (epoch ms). Raises BadSetting for a mapping that is wrong."""
    if options.mapping is not None:
        mapping = read_mapping(options.mapping)
        return Contents(load_tables(mapping), timezone=mapping.timezone)
    if not options.contacts:
        return Contents()
    made = market(options.contacts, options.seed, datetime.fromtimestamp(now // 1000, UTC).replace(tzinfo=None))
    return Contents(dict(made.tables), made.parameters.account_timezone, made.parameters.currency)
