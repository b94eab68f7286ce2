"""SQL from the raw values of a property to its features, whatever type the value is kept in."""

from collections.abc import Iterable, Mapping, Sequence

from scoring.engine import literal, quoted
from scoring.features import titles
from scoring.features.sql import OTHER, Feature, whole_days

#: Between a property's column and the part of it that a feature tells of; no column name holds it.
PART = "@"
#: The column of VALUES, after the property's own and PART, that holds a job title as words.
SPELLED = "words"

#: Providers of free mailboxes: the name before the public suffix (gmail.com, yahoo.co.uk, web.de).
_FREE_MAIL = (
    "gmail", "googlemail", "yahoo", "ymail", "rocketmail", "hotmail", "outlook", "live", "msn", "icloud", "me",
    "mac", "aol", "gmx", "web", "t-online", "freenet", "proton", "protonmail", "pm", "mail", "yandex", "inbox",
    "zoho", "orange", "wanadoo", "free", "laposte", "libero", "virgilio", "tiscali", "seznam", "wp", "onet", "o2",
    "interia", "qq", "163", "126", "sina", "naver", "hanmail", "daum", "rediffmail", "uol", "bol", "terra",
    "comcast", "verizon", "att", "sbcglobal", "bellsouth", "btinternet", "sky", "shaw", "bigpond", "fastmail",
    "tutanota", "hey", "duck", "mailinator", "bluewin",
)  # fmt: skip


def expression(feature: Feature, types: Mapping[str, str]) -> str:
    """SQL over VALUES; null where the source has the property no more."""
    base, _, part = feature.name.partition(PART)
    if base not in types:
        return "null"
    raw, sql_type = quoted(base), types[base]
    text = text_of(raw)
    if part == "kind":
        return _email_kind(text)
    if part == "seniority":
        return titles.level(quoted(f"{base}{PART}{SPELLED}"), titles.SENIORITY)
    if part == "department":
        return titles.level(quoted(f"{base}{PART}{SPELLED}"), titles.DEPARTMENT)
    if feature.kind == "category":
        return _capped(text, feature.levels) if feature.levels else text
    if part == "filled":
        return f"case when {text} is not null then 1 else 0 end"
    if part == "number":
        return f"length({text}) - length(replace({text}, ';', '')) + 1"
    if part.startswith("has_"):
        found = f"position({literal(f';{feature.levels[0]};')} in concat(';', {text}, ';')) > 0"
        return f"case when {text} is null then null when {found} then 1 else 0 end"
    if feature.unit == "days":
        return _age(raw, sql_type)
    return _truth(raw, sql_type) if feature.unit == "flag" else _number(raw, sql_type)


def _email_kind(address: str) -> str:
    domain = f"lower(substr({address}, position('@' in {address}) + 1))"
    provider = f"substr({domain}, 1, position('.' in {domain}) - 1)"
    return (
        f"case when {address} is null or {address} not like '%_@_%._%' then null "
        f"when {provider} in ({texts(_FREE_MAIL)}) then 'free' "
        f"when {domain} like '%.edu' or {domain} like '%.edu.%' or {domain} like '%.ac.__' then 'education' "
        f"when {domain} like '%.gov' or {domain} like '%.gov.__' or {domain} like '%.mil' then 'government' "
        "else 'business' end"
    )


def _capped(text: str, levels: Sequence[str]) -> str:
    kept = f"{text} in ({texts(levels)})"
    return f"case when {kept} then {text} when {text} is not null then {literal(OTHER)} end"


def text_of(raw: str) -> str:
    return f"nullif(trim(cast({raw} as varchar)), '')"


def _number(raw: str, sql_type: str) -> str:
    if sql_type == "BOOLEAN":
        return f"case when {raw} then 1 when not {raw} then 0 end"
    number = f"try_cast({raw} as double)"
    # Texts such as 'nan' and 'inf' are numbers to an engine; both sort above every number there is.
    return f"case when abs({number}) < 1.0e300 then {number} end"


def _truth(raw: str, sql_type: str) -> str:
    if sql_type == "BOOLEAN":
        return f"case when {raw} then 1 when not {raw} then 0 end"
    text = f"lower({text_of(raw)})"
    return f"case when {text} in ('true', 'yes', '1') then 1 when {text} in ('false', 'no', '0') then 0 end"


def _age(raw: str, sql_type: str) -> str:
    """Whole days from a date to the instant. Text is an ISO date or time, or milliseconds since 1970.

    A date after the instant, something planned, has a negative age.
    """
    if sql_type == "TIMESTAMP":
        return whole_days(f"secs_between({raw}, as_of)")
    milliseconds = f"try_cast({raw} as bigint)"
    since = f"secs_between(timestamp '1970-01-01 00:00:00', as_of) - floor({milliseconds} * 0.001e0)"
    plain = f"try_cast(replace(replace({raw}, 'T', ' '), 'Z', '') as timestamp)"
    return (
        f"case when {milliseconds} is not null then {whole_days(since)} "
        f"else {whole_days(f'secs_between({plain}, as_of)')} end"
    )


def texts(values: Iterable[str]) -> str:
    return ", ".join(literal(value) for value in values)
