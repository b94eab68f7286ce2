"""Which CRM properties may become features: those in use, but not the goal's own, ours, or excluded ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from scoring.context import Context
from scoring.engine import Engine, literal
from scoring.features.protected import Proxy, proxies, topic_of
from scoring.features.titles import is_title
from scoring.goals import LIFECYCLE_PROPERTIES, goal_column

#: Bookkeeping of platforms: says nothing of a contact, or moves with our own writes.
_NEVER = {
    "hs_object_id",
    "lastmodifieddate",
    "hs_lastmodifieddate",
    "hs_updated_by_user_id",
    "lastmodifiedbyid",
    "systemmodstamp",
    "notes_last_updated",
}
#: Canonical columns that are properties too: table, column, what platforms call it, label, type.
_CANONICAL = (
    ("contacts", "country", ("country", "hs_country_region_code"), "Country", "category"),
    ("contacts", "lifecycle_stage", LIFECYCLE_PROPERTIES, "Lifecycle stage", "category"),
    ("contacts", "email", ("email",), "E-mail address", "email"),
    ("companies", "industry", ("industry",), "Company industry", "category"),
    ("companies", "employees", ("employees", "numberofemployees"), "Company employees", "number"),
    ("companies", "annual_revenue", ("annual_revenue", "annualrevenue"), "Company annual revenue", "number"),
    ("companies", "country", ("country",), "Company country", "category"),
)


@dataclass(frozen=True)
class Source:
    """A property, and where its values are."""

    table: str  # contacts | companies
    column: str
    properties: tuple[str, ...]
    label: str
    type: str
    options: tuple[tuple[str, str], ...]
    immutable: bool
    sql_type: str

    @property
    def object(self) -> str:
        return "contact" if self.table == "contacts" else "company"

    @property
    def is_title(self) -> bool:
        """Whether it holds what contacts say that their job is."""
        return (
            self.table == "contacts"
            and self.type in ("text", "category")
            and is_title({*self.properties, self.label})
        )

    @property
    def name(self) -> str:
        """The start of the names of its features."""
        return self.column if self.table == "contacts" else f"company_{self.column}"

    @property
    def property(self) -> str:
        return self.properties[0] if self.table == "contacts" else f"company.{self.properties[0]}"


def usable(context: Context) -> list[Source]:
    """Every property that may become a feature, in a fixed order; those that tell a protected one are among them
    (`telling`)."""
    return [source for source in _offered(context) if _topic(context, source) is None]


def protected(context: Context) -> dict[Source, str]:
    """The properties that are left out because of what they say about a person, and the topic of each."""
    topics = {source: _topic(context, source) for source in _offered(context)}
    return {source: topic for source, topic in topics.items() if topic is not None}


def telling(context: Context) -> dict[Source, Proxy]:
    """The usable properties that tell a protected one nearly for sure: left out of training too."""
    return proxies(context, usable(context), list(protected(context)))


def _topic(context: Context, source: Source) -> str | None:
    return topic_of({source.label, *source.properties}, context.options)


def _offered(context: Context) -> list[Source]:
    found: list[Source] = []
    for table in ("contacts", "companies"):
        columns = context.engine.columns(table)
        definitions = _definitions(context.engine, "contact" if table == "contacts" else "company")
        found.extend(
            _defined(table, column, columns[column], definitions.get(column, {}))
            for column in sorted(columns)
            if column.startswith("p_")
        )
        for where, column, properties, label, kind in _CANONICAL:
            named = {"p_" + name for name in properties}
            if where == table and not (named | set(properties)) & {s.column for s in found if s.table == table}:
                # Whose address it is does not change with the contact's fortunes, and it came with the contact.
                given = [one for one in definitions.values() if one["property"] in properties]
                immutable = column == "email" or any(one["immutable"] for one in given)
                options = option_labels(given[0]["options"]) if given else ()
                found.append(Source(table, column, properties, label, kind, options, immutable, columns[column]))
    barred = _barred(context)
    return [source for source in found if not _is_barred(source, barred)]


def _defined(table: str, column: str, sql_type: str, definition: Mapping[str, object]) -> Source:
    name = str(definition.get("property") or column.removeprefix("p_"))
    label = str(definition.get("label") or "").strip() or name
    kind = definition.get("type") or _TYPE_OF_SQL.get(sql_type, "category")
    options = option_labels(definition.get("options"))
    return Source(
        table, column, (name,), _spoken_label(label, table), str(kind), options, bool(definition.get("immutable")),
        sql_type,
    )  # fmt: skip


_TYPE_OF_SQL = {
    "DOUBLE": "number",
    "BIGINT": "number",
    "INTEGER": "number",
    "TIMESTAMP": "date",
    "BOOLEAN": "boolean",
}


def _spoken_label(label: str, table: str) -> str:
    words = " ".join(label.replace("_", " ").split())
    if table == "contacts" or words.lower().startswith("company"):
        return words[:1].upper() + words[1:]
    acronym = words[:2].isupper()
    return f"Company {words if acronym else words[:1].lower() + words[1:]}"


def _definitions(engine: Engine, object_name: str) -> dict[str, dict[str, object]]:
    rows = engine.fetch(
        "select property, column_name, label, type, options, immutable from property_definitions "
        f"where object = {literal(object_name)} order by column_name, property"
    ).to_pylist()
    return {str(row["column_name"] or f"p_{row['property']}"): row for row in rows}


def option_labels(options: object) -> tuple[tuple[str, str], ...]:
    """(value, label) of a definition's options, as JSON, whose label says something else than the value."""
    if not options:
        return ()
    try:
        given = json.loads(str(options))
        pairs = [(str(o["value"]), str(o.get("label") or "").strip()) for o in given]
        return tuple((value, label) for value, label in pairs if label not in ("", value))
    except (ValueError, TypeError, KeyError):
        return ()


def _barred(context: Context) -> set[str]:
    """Names, lower case, that are never features: the goal's column, the user's choice, bookkeeping."""
    names = {name.lower() for name in context.options.excluded} | _NEVER
    if context.options.consent.property is not None:
        names.add(context.options.consent.property.lower())
    if not context.goal.in_time:
        names |= {str(context.goal.column).lower(), goal_column(context.engine, context.goal).lower()}
    elif context.goal.event == "lifecycle_stage":
        stage = str(context.goal.value)
        names |= {f"hs_v2_date_entered_{stage}", f"hs_lifecyclestage_{stage}_date"}
    return names


def _is_barred(source: Source, barred: set[str]) -> bool:
    own = {source.column, source.property, source.label, *source.properties}
    if source.table == "companies":
        own = {source.property, source.name}
    return any(name.lower() in barred or name.lower().startswith(("leadlight_", "p_leadlight_")) for name in own)
