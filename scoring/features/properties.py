"""Features from CRM properties: typed by the platform's definitions, known only as far as they were known then.

For a static goal a property has its latest value. For a goal in time its value comes from `property_history`
(the last change at or before the instant), or from the record where the property is declared immutable; a
property with neither is unknown at a past instant and left out.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from scoring.context import Context
from scoring.engine import Engine, literal, quoted
from scoring.features import titles
from scoring.features.property_sources import Source, telling, usable
from scoring.features.property_sql import PART, SPELLED, expression, text_of, texts
from scoring.features.protected import topic_of
from scoring.features.sql import Computed, Feature, Unit

#: Categories kept of a property, and members kept of a multi-select.
MAX_LEVELS, MAX_MEMBERS = 50, 12
#: A property with more categories than kept counts as free text when those kept cover less than this.
MIN_COVER = 0.5

VALUES, HISTORY = "leadlight_values", "leadlight_history"


def prepare(
    context: Context, pairs: str, features: Sequence[Feature] | None
) -> tuple[list[Computed], tuple[str, ...]]:
    """Make VALUES (one row per pair, one column per usable property) and what is computed from it.

    Also returns the labels of properties left out because their values at a past instant are unknown.
    """
    sources = usable(context)
    if features is None:
        hidden = telling(context)
        sources = [source for source in sources if source not in hidden]
    else:
        needed = {feature.name.partition(PART)[0] for feature in features}
        sources = [source for source in sources if source.name in needed]
    recorded = _recorded(context, pairs, sources, training=features is None)
    known = [source for source in sources if not context.goal.in_time or source.immutable or source in recorded]
    left_out = tuple(source.label for source in sources if source not in known)
    _values(context, pairs, known, recorded)
    found = features if features is not None else _described(context, known)
    types = {source.name: "VARCHAR" if source in recorded else source.sql_type for source in known}
    return [Computed(feature, expression(feature, types)) for feature in found], left_out


def _recorded(context: Context, pairs: str, sources: Sequence[Source], *, training: bool) -> dict[Source, int]:
    """Properties whose values are read from their history.

    For training these are the properties whose history reaches back to the first instant. What was trained on
    and is not immutable came from there, so that a stored model needs no look at the whole history.
    """
    if not context.goal.in_time:
        return {}
    if not training:
        with_history = [source for source in sources if not source.immutable]
    else:
        rows = context.engine.fetch(
            "select object, property from property_history group by object, property "
            f"having min(changed_at) <= (select min(as_of) from {quoted(pairs)})"
        )
        found = set(zip(rows["object"].to_pylist(), rows["property"].to_pylist(), strict=True))
        with_history = [s for s in sources if any((s.object, name) in found for name in s.properties)]
    return {source: position for position, source in enumerate(with_history)}


def _values(context: Context, pairs: str, known: Sequence[Source], recorded: Mapping[Source, int]) -> None:
    engine, in_time = context.engine, context.goal.in_time
    for object_name in ("contact", "company"):
        _history(
            engine, pairs, object_name, [source for source in recorded if source.object == object_name], recorded
        )
    raw = {source: _raw(source, recorded, in_time) for source in known}
    columns = [f"{sql} as {quoted(source.name)}" for source, sql in raw.items()]
    columns += [
        f"{titles.spelled(text_of(sql))} as {quoted(f'{source.name}{PART}{SPELLED}')}"
        for source, sql in raw.items()
        if source.is_title
    ]
    engine.run(f"""
        create or replace temp table {VALUES} as
        select {", ".join(["p.contact_id", "p.as_of", *columns])}
        from {quoted(pairs)} p join contacts c on c.contact_id = p.contact_id
        left join companies m on m.company_id = c.company_id
        left join {HISTORY}_contact hc on hc.object_id = p.contact_id and hc.as_of = p.as_of
        left join {HISTORY}_company hm on hm.object_id = c.company_id and hm.as_of = p.as_of
    """)


def _raw(source: Source, recorded: Mapping[Source, int], in_time: bool) -> str:
    alias = "c" if source.table == "contacts" else "m"
    if source in recorded:
        return f"h{alias}.h{recorded[source]}"
    column = f"{alias}.{quoted(source.column)}"
    if in_time and source.sql_type == "TIMESTAMP":
        # Set once, but not yet: a date after the instant was not known then.
        return f"case when {column} <= p.as_of then {column} end"
    return column


def _history(
    engine: Engine, pairs: str, object_name: str, sources: Sequence[Source], positions: Mapping[Source, int]
) -> None:
    """The value of each property that stood at each instant: from its change until the next."""
    key = "p.contact_id" if object_name == "contact" else "c.company_id"
    names = sorted({name for source in sources for name in source.properties})
    pivot = "".join(
        f", max(case when h.property in ({texts(source.properties)}) then h.value end) as h{positions[source]}"
        for source in sources
    )
    engine.run(f"""
        create or replace temp table {HISTORY}_{object_name} as
        with spans as (
            select object_id, property, value, changed_at, lead(changed_at) over (
                partition by object_id, property
                order by changed_at, observed_at nulls first, source nulls first, value nulls first
            ) as until
            from property_history
            where object = {literal(object_name)} and property in ({texts(names) or "''"})
        ),
        wanted as (
            select distinct {key} as object_id, p.as_of
            from {quoted(pairs)} p join contacts c on c.contact_id = p.contact_id
        )
        select w.object_id, w.as_of{pivot}
        from wanted w join spans h on h.object_id = w.object_id
            and h.changed_at <= w.as_of and (h.until is null or h.until > w.as_of)
        group by w.object_id, w.as_of
    """)


def _described(context: Context, known: Sequence[Source]) -> list[Feature]:
    """The features that the properties give, with the categories found in VALUES."""
    engine = context.engine
    found: list[Feature] = []
    for source in known:
        if source.is_title:
            found.extend(_title(source))
        if source.type == "category" and (not source.is_title or _as_it_stands(context, source)):
            found.append(_category(engine, source))
        elif source.type == "multi":
            found.extend(_members(engine, source))
        elif source.type in ("text", "category"):
            found.append(_filled(source))
        elif source.type == "email":
            found.append(_EMAIL_KIND)
        else:
            found.append(_plain(source))
    return found


_EMAIL_KIND = Feature(
    f"email{PART}kind", "category", "kind of e-mail address", "email", "Kind of e-mail address", "text",
    "has {value} e-mail address", None, (),
    (("free", "a free"), ("business", "a business"), ("education", "a school or university"),
     ("government", "a government")),
)  # fmt: skip


def _plain(source: Source) -> Feature:
    unit: Unit = {"date": "days", "boolean": "flag"}.get(source.type, "number")  # type: ignore[assignment]
    link = {"days": " was", "flag": ":"}.get(unit, " is")
    phrase, none = f"{source.label}{link} {{value}}", f"{source.label} is not known"
    return Feature(source.name, "number", source.label, source.property, source.label, unit, phrase, none)


def _filled(source: Source) -> Feature:
    label = f"{source.label} filled in"
    return Feature(
        f"{source.name}{PART}filled",
        "number",
        source.label,
        source.property,
        label,
        "flag",
        f"{label}: {{value}}",
        None,
    )


def _as_it_stands(context: Context, source: Source) -> bool:
    """Whether the text of a title may be used: it may be a salutation, or the form for a woman or a man."""
    open_to_all = topic_of({"gender"}, context.options) is None
    trusted = {name.lower() for name in context.options.trusted}
    return source.type == "category" and (open_to_all or source.property.lower() in trusted)


def _title(source: Source) -> list[Feature]:
    parts = (
        ("seniority", "Seniority, from the job title", "is {value}, by the job title", titles.SENIORITY_WORDS),
        ("department", "Department, from the job title", "works in {value}, by the job title",
         titles.DEPARTMENT_WORDS),
    )  # fmt: skip
    return [
        Feature(
            f"{source.name}{PART}{part}", "category", label, source.property, label, "text", phrase, None, (),
            options,
        )
        for part, label, phrase, options in parts
    ]  # fmt: skip


def _category(engine: Engine, source: Source) -> Feature:
    text = text_of(quoted(source.name))
    rows = engine.fetch(
        f"select {text} as level, count(*) as n from {VALUES} where {text} is not null "
        "group by 1 order by n desc, level"
    )
    levels, counts = rows["level"].to_pylist(), rows["n"].to_pylist()
    capped = tuple(levels[:MAX_LEVELS]) if len(levels) > MAX_LEVELS else ()
    if capped and sum(counts[:MAX_LEVELS]) < MIN_COVER * sum(counts):
        return _filled(source)
    phrase = f"{source.label} is {{value}}"
    return Feature(
        source.name, "category", source.label, source.property, source.label, "text", phrase, None, capped,
        source.options,
    )  # fmt: skip


def _members(engine: Engine, source: Source) -> list[Feature]:
    text = text_of(quoted(source.name))
    rows = engine.fetch(
        f"select {text} as level, count(*) as n from {VALUES} where {text} is not null "
        "group by 1 order by n desc, level limit 10000"
    )
    counts: Counter[str] = Counter()
    for level, number in zip(rows["level"].to_pylist(), rows["n"].to_pylist(), strict=True):
        counts.update(dict.fromkeys({part.strip() for part in level.split(";")} - {""}, number))
    labels = dict(source.options)
    count = Feature(
        f"{source.name}{PART}number", "number", source.label, source.property, f"{source.label}, how many",
        "number", f"{source.label}: {{value}} chosen", f"{source.label} is not known",
    )  # fmt: skip
    flags = [
        Feature(
            f"{source.name}{PART}has_{slug(member)}", "number", source.label, source.property,
            f"{source.label} includes {labels.get(member, member)}", "flag",
            f"{source.label} includes {labels.get(member, member)}: {{value}}", None, (member,),
        )
        for member in sorted(sorted(counts), key=lambda name: -counts[name])[:MAX_MEMBERS]
    ]  # fmt: skip
    return [count, *flags]


def slug(member: str) -> str:
    """A member's name as the end of a column's name; distinct members stay distinct."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in member.lower())[:24]
    return f"{plain}_{hashlib.sha256(member.encode()).hexdigest()[:6]}"
