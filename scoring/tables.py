"""The canonical tables: the seam between connectors and predictors.

`scoring` knows no platform, no network and no clock. It reads these tables, at an instant, and gives tables
back. Times are UTC without a zone, whole seconds. Money is in the account's home currency; an unknown rate is
null, never summed raw.

`contacts` and `companies` carry, besides the columns below, one `p_<property>` column for each CRM property in
use, typed as `property_definitions.type` says: number -> DOUBLE, date -> TIMESTAMP, boolean -> BOOLEAN, all
else -> VARCHAR (a multi-select is its values joined by ';'). The column of a static goal is always VARCHAR,
with the text as it stands.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_ARROW = {
    "VARCHAR": pa.string(),
    "TIMESTAMP": pa.timestamp("us"),
    "DOUBLE": pa.float64(),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "BOOLEAN": pa.bool_(),
}

#: Event kinds, in the words of the field. `custom` is everything else; its name is in `properties`.
KINDS = (
    "email_sent",
    "email_delivered",
    "email_open",
    "email_click",
    "email_reply",
    "email_bounce",
    "email_unsubscribe",
    "email_spam",
    "page_view",
    "form_submit",
    "meeting",
    "call",
    "sms_sent",
    "sms_click",
    "push_sent",
    "push_open",
    "ad_impression",
    "ad_click",
    "product_view",
    "cart_add",
    "custom",
)

#: What a property's values are. `category` has few values (or options), `multi` several at once, `text` is free.
PROPERTY_TYPES = ("category", "multi", "text", "number", "date", "boolean")


@dataclass(frozen=True)
class Column:
    """A column: its name and its SQL type (one that DuckDB and Spark both have)."""

    name: str
    type: str

    @property
    def arrow(self) -> pa.DataType:
        return _ARROW[self.type]


def _columns(**types: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name, kind in types.items())


_T, _V, _D, _B = "TIMESTAMP", "VARCHAR", "DOUBLE", "BOOLEAN"

TABLES: Mapping[str, tuple[Column, ...]] = {
    "contacts": _columns(
        contact_id=_V,
        created_at=_T,
        updated_at=_T,
        email=_V,
        timezone=_V,  # an IANA name that this machine knows, or null
        country=_V,
        company_id=_V,
        owner_id=_V,
        lifecycle_stage=_V,
        deleted_at=_T,
        merged_into=_V,
        row_order="BIGINT",  # position in the source file, where rows stand in time order; else null
    ),
    "contact_addresses": _columns(contact_id=_V, email=_V, is_primary=_B),
    # purpose: marketing | profiling; status: granted | denied | unknown
    "consents": _columns(contact_id=_V, channel=_V, purpose=_V, status=_V, since=_T),
    # lists are named by the platform's id; added_at: null where it is not known
    "list_members": _columns(list_id=_V, contact_id=_V, added_at=_T),
    # object: contact | company | deal; source: the platform's word, or 'observed' when a pull saw the change
    "property_history": _columns(
        object=_V, object_id=_V, property=_V, value=_V, changed_at=_T, observed_at=_T, source=_V
    ),
    "companies": _columns(
        company_id=_V,
        created_at=_T,
        updated_at=_T,
        name=_V,
        domain=_V,
        industry=_V,
        employees=_D,
        annual_revenue=_D,
        country=_V,
    ),
    "deals": _columns(
        deal_id=_V,
        company_id=_V,
        created_at=_T,
        updated_at=_T,
        closed_at=_T,
        amount=_D,
        amount_original=_D,
        currency=_V,
        stage=_V,
        pipeline=_V,
        is_closed=_B,
        is_won=_B,
        deleted_at=_T,
    ),
    "deal_contacts": _columns(deal_id=_V, contact_id=_V, role=_V, is_primary=_B),
    "events": _columns(
        event_id=_V,
        contact_id=_V,
        company_id=_V,
        occurred_at=_T,
        utc_offset_min="INTEGER",
        ingested_at=_T,
        kind=_V,
        channel=_V,
        campaign_id=_V,
        url=_V,
        human=_D,  # 0-1: probability that a person did it
        source=_V,
        properties=_V,  # JSON, compact; with BY_DAY in it where occurred_at is a day's first second
    ),
    "purchases": _columns(purchase_id=_V, contact_id=_V, purchased_at=_T, amount=_D, currency=_V),
    "purchase_items": _columns(purchase_id=_V, product_id=_V, category=_V, quantity=_D, price=_D),
    "campaigns": _columns(campaign_id=_V, channel=_V, name=_V, subject=_V, sent_at=_T, cost=_D),
    # training groups by person, writing goes by contact; a contact without a row is a person of its own
    "identities": _columns(person_id=_V, platform=_V, account=_V, contact_id=_V, rule=_V),
    # object: contact | company; property: the platform's internal name; column_name: its p_ column;
    # type: one of PROPERTY_TYPES; options: JSON [{"value": …, "label": …}]; immutable: never changes once set
    "property_definitions": _columns(
        object=_V, property=_V, column_name=_V, label=_V, type=_V, options=_V, immutable=_B
    ),
}

#: What `properties` of an event hold that is known by its day alone: such an event says nothing of an hour.
BY_DAY: Mapping[str, str] = {"dated": "day"}

#: Arrow/SQL type of a `p_` column by `property_definitions.type`.
PROPERTY_SQL_TYPES: Mapping[str, str] = {"number": _D, "date": _T, "boolean": _B}


def schema(table: str) -> pa.Schema:
    """The Arrow schema of a canonical table, without `p_` columns."""
    return pa.schema([(column.name, column.arrow) for column in TABLES[table]])


def from_rows(table: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as dicts into a table of the canonical schema; what a row lacks is null."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema(table))


def empty(table: str) -> pa.Table:
    """The canonical table without rows."""
    return schema(table).empty_table()
